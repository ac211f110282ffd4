"""Logs whose values are impossible: records, numbers, bodies, names, and the files beside the log."""

from __future__ import annotations

import gzip
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import brotli
import msgspec
import zstandard
from google_crc32c import value as crc32c

from tests.support.forger import LOGS, Forger, forged, small
from wiretape.log.format import (
    MAX_PAYLOAD,
    BodyChunk,
    Done,
    Event,
    Flag,
    FrameType,
    ResponseBegun,
    Seal,
    segment_name,
)

_encode = msgspec.msgpack.encode
_HUGE: Final = 2**32 - 1
_NESTED: Final = b"\x91" * 10_000 + b"\xc0"
VALUES: Final[dict[str, bytes]] = {
    "an array of 2^32 elements": b"\xdd\xff\xff\xff\xff",
    "a map of 2^32 elements": b"\x83\x01\xa1k\xdf\xff\xff\xff\xff",
    "a string of 4 GiB": b"\x91\xdb\xff\xff\xff\xff",
    "10,000 levels": _NESTED,
    "a detail of 10,000 levels": b"\x93\x01\xa7dropped\x81\xa1x" + _NESTED,
    "a detail of 900 levels": b"\x93\x01\xa7dropped\x81\xa1x" + b"\x91" * 900 + b"\xc0",
    "a detail of 200 levels": b"\x93\x01\xa7dropped\x81\xa1x" + b"\x91" * 200 + b"\xc0",
    "a detail with keys of all kinds": b"\x93\x01\xa7dropped\x81\xa1x\x85\xc0\x01\x02\x03\xc4\x01\xff\x04\xcb"
    + struct.pack(">d", float("nan"))
    + b"\x05\xc3\x06",
    "a detail with an extension": b"\x93\x01\xa7dropped\x81\xa1x\xd4\x05\x00",
    "a detail with a time": b"\x93\x01\xa7dropped\x81\xa1x\xd6\xff\x00\x00\x00\x01",
    "a detail with a time of no calendar": b"\x93\x01\xa7dropped\x81\xa1x\xc7\x0c\xff" + b"\xff" * 12,
    "a detail that is none": _encode([1, "dropped", {"exchanges": "x", "partial": {"a": 1}}]),
    "numbers of drops beyond all": _encode([1, "dropped", {"exchanges": 2**64 - 1, "partial": [-1, True, 2**63, 1.5]}]),
    "a detail with keys that are lists": b"\x93\x01\xa7dropped\x81\xa1x\x81\x91\x01\x02",
    "a name that is no text": b"\x93\x01\xa2\xff\xfe\x80",
    "numbers in place of texts": _encode([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    "texts in place of numbers": _encode(["x"] * 20),
    "nothing in place of everything": _encode([None] * 20),
    "numbers beyond 64 bits of a sign": _encode([2**64 - 1] * 20),
    "numbers below everything": _encode([-(2**63)] * 20),
}


def _values(name: str, value: bytes) -> None:
    def make(log: Path, session_id: str, size: int) -> None:
        with Forger(log, session_id) as forger:
            forger.opened(1)
            forger.done(1)
            while forger.at < size // 8:
                for kind in FrameType:
                    forger.add(kind, 3, value, b"data")

    LOGS[f"heads with {name}"] = make


for _name, _value in VALUES.items():
    _values(_name, _value)


@forged("numbers at the end of 64 bits")
def _numbers(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        while forger.at < size // 4:
            for seq in (2**64 - 1, 2**63, 2**63 - 1, 2**53, 2**53 - 1, 2**53 - 2):
                forger.opened(seq)
                forger.done(seq)


@forged("times of no calendar")
def _times(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id, wall_ns=2**64 - 1) as forger:
        seq = 0
        while forger.at < size // 4:
            for wall in (-(2**63), -1, 0, 2**63 - 1, 2**64 - 1, 300_000_000 * 10**9 * 40):
                seq += 1
                forger.opened(seq, wall_ns=wall)
                forger.done(seq, elapsed_ns=wall, dns_ns=wall, wait_ns=2**64 - 1)
        forger.add(FrameType.SEAL, 0, Seal(2**64 - 1, 1, 1, 1, 1, 2**53 - 1, 0), flags=Flag.FINAL)


@forged("sizes and statuses out of all range")
def _sizes(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        seq = 0
        while forger.at < size // 4:
            for number in (-(2**63), -1, 0, 1000, 2**31, 2**62, 2**63 - 1, 2**64 - 1):
                seq += 1
                forger.opened(seq, port=number, connection=number)
                forger.add(FrameType.RESPONSE_HEAD, seq, ResponseBegun(number, number, 0))
                forger.add(FrameType.RESPONSE_BODY, seq, BodyChunk(number), b"x")
                sizes: dict[str, Any] = {"response_size": number, "response_recorded": number, "request_size": number}
                forger.done(seq, status=number, state=number, request_recorded=number, request_crc=number, **sizes)


@forged("bodies that begin at 2^52")
def _positions(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        forger.opened(1)
        position = 2**52
        while forger.at < size // 4:
            forger.add(FrameType.RESPONSE_BODY, 1, BodyChunk(position), b"x")
            position += 2**40
        forger.done(1, response_size=2**53, response_recorded=2**53)


def _bomb(coding: str, packed: Callable[[int], bytes]) -> None:
    def make(log: Path, session_id: str, size: int) -> None:
        body = packed(min(size * 100, 1 << 30))
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: {coding}\r\n\r\n".encode()
        with Forger(log, session_id) as forger:
            for seq in range(1, 4):
                forger.opened(seq)
                position = 0
                forger.add(FrameType.RESPONSE_HEAD, seq, ResponseBegun(1, 200, len(head)), head)
                for at in range(0, len(body), 200_000):
                    forger.add(FrameType.RESPONSE_BODY, seq, BodyChunk(position), body[at : at + 200_000])
                    position += len(body[at : at + 200_000])
                record = Done(1, 0, 200, 0, 0, len(body), 0, len(body), 0, crc32c(body))
                forger.add(FrameType.DONE, seq, record)

    LOGS[f"a bomb in {coding}"] = make


def _chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // (1 << 20)):
        yield bytes(1 << 20)


def _deflated(size: int, wbits: int) -> bytes:
    packer = zlib.compressobj(9, wbits=wbits)
    return b"".join(packer.compress(chunk) for chunk in _chunks(size)) + packer.flush()


def _brotlied(size: int) -> bytes:
    packer = brotli.Compressor(quality=5)
    return bytes(b"".join(packer.process(chunk) for chunk in _chunks(size)) + packer.finish())


def _zstded(size: int) -> bytes:
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    return b"".join(packer.compress(chunk) for chunk in _chunks(size)) + packer.flush()


_bomb("gzip", lambda size: _deflated(size, 31))
_bomb("deflate", lambda size: _deflated(size, -15))
_bomb("br", _brotlied)
_bomb("zstd", _zstded)
_bomb("gzip, gzip, gzip", lambda size: gzip.compress(gzip.compress(_deflated(size, 31))))


@forged("a line of 2 MiB")
def _line(log: Path, session_id: str, size: int) -> None:
    line = b"x" * (MAX_PAYLOAD - 1_000)
    with Forger(log, session_id) as forger:
        seq = 0
        while forger.at < size:
            seq += 1
            forger.opened(seq, b"GET /" + line + b" HTTP/1.1\r\n\r\n")
            forger.done(seq, b"HTTP/1.1 200 OK\r\nX: " + line + b"\r\n\r\n")


@forged("a line of 2 MiB that is no ASCII")
def _wide(log: Path, session_id: str, size: int) -> None:
    line = "\U0001f600".encode() * ((MAX_PAYLOAD - 1_000) // 4)
    with Forger(log, session_id) as forger:
        seq = 0
        while forger.at < size:
            seq += 1
            forger.opened(seq, b"GET /" + line + b" HTTP/1.1\r\n\r\n")
            forger.done(seq, b"HTTP/1.1 200 OK\r\nContent-Type: " + line + b"\r\n\r\n")


@forged("a million header fields")
def _fields(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        seq = 0
        while forger.at < size:
            seq += 1
            forger.opened(seq, b"GET / HTTP/1.1\r\n" + b"a\n" * ((MAX_PAYLOAD - 1_000) // 2))
            forger.done(seq, b"HTTP/1.1 200 OK\r\n" + b"a:b\n" * ((MAX_PAYLOAD - 1_000) // 4))


@forged("a million folded lines")
def _folded(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        seq = 0
        while forger.at < size:
            seq += 1
            forger.opened(seq, b"GET / HTTP/1.1\r\na: b\n" + (b" " + b"c" * 90 + b"\n") * 20_000)
            forger.done(seq, b"HTTP/1.1 200 OK\r\na: b\n" + b" c\n" * 600_000)


@forged("many small exchanges and one far away")
def _far_away(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        for seq in (*range(1, max(600, size // 300)), 2**53 - 1):
            forger.opened(seq)
            forger.done(seq, body=b"needle")


@forged("damage told of every exchange")
def _told(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        seq = 0
        while forger.at < size:
            seq += 1
            for _ in range(10):
                forger.header(FrameType.OPENED, seq, 0, 0, 1)


@forged("drops with long lists")
def _drops(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        number = 0
        while forger.at < size:
            number += 1
            forger.add(
                FrameType.EVENT, 0, Event(number, "dropped", {"exchanges": 1, "partial": [number * 100] * 9_000})
            )
            many = [number * 10_000 + at for at in range(9_000)]
            forger.add(FrameType.EVENT, 0, Event(number, "dropped", {"exchanges": 1, "partial": many}))


@forged("events with long details")
def _events(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        number = 0
        while forger.at < size:
            number += 1
            forger.add(FrameType.EVENT, 0, Event(number, "note", {"x": [None] * 60_000}))
            forger.add(FrameType.EVENT, 0, Event(number, "session", {"name": "x" * 60_000}))


@forged("segments with long heads")
def _long_heads(log: Path, session_id: str, size: int) -> None:
    for number in range(1, max(2, size // 60_000)):
        text = f"{number}" + "x" * 20_000
        small(log, session_id, number=number, run=number, program=text, boot_id=text)


@forged("segments of other sessions with long names")
def _long_names(log: Path, session_id: str, size: int) -> None:
    for number in range(1, max(2, size // 60_000)):
        small(log, session_id + str(number) + "x" * 50_000, number=number)


@forged("segments far apart")
def _gaps(log: Path, session_id: str, size: int) -> None:
    for number in range(1, max(2, size // 10_000)):
        small(log, session_id, number=number * 100, first_seq=number * 1000)


@forged("as many streams as segments")
def _streams(log: Path, session_id: str, size: int) -> None:
    for stream in range(min(9_999, size // 10_000)):
        small(log, session_id, stream=stream, streams=2**63, first_seq=2**64 - 1)


@forged("names with strange numbers")
def _names(log: Path, session_id: str, size: int) -> None:
    del size
    small(log, session_id)
    content = (log / segment_name(0, 1)).read_bytes()
    for name in (
        "0-99999999999999.wlog",
        "0-" + "9" * 200 + ".wlog",
        "9999-18446744073709551616.wlog",
        "0-9223372036854775807.wlog",
        "0-9223372036854775808.wlog",
        "0-0000000.wlog",
        "0-00000000.wlog",
        "-1-00000001.wlog",
        "0-0x000001.wlog",
        "99999-00000001.wlog",
    ):
        (log / name).write_bytes(content)
    os.mkfifo(log / "0-00000002.wlog")
    (log / "0-00000003.wlog").symlink_to(log / "0-00000001.wlog")
    (log / "0-00000004.wlog").mkdir()
    (log / "0-00000005.wlog").symlink_to("/dev/zero")


@forged("a terabyte of nothing")
def _sparse(log: Path, session_id: str, size: int) -> None:
    del size
    small(log, session_id)
    os.truncate(log / segment_name(0, 1), 1 << 40)


@forged("a terabyte of nothing, and a frame")
def _sparse_end(log: Path, session_id: str, size: int) -> None:
    del size
    small(log, session_id)
    with open(log / segment_name(0, 1), "r+b") as file:
        file.seek((1 << 40) - 40)
        file.write(b"\x89WT\x01" + bytes(36))


@forged("a terabyte of nothing at all")
def _sparse_all(log: Path, session_id: str, size: int) -> None:
    del session_id, size
    with open(log / segment_name(0, 1), "wb") as file:
        file.truncate(1 << 40)


def _derived(name: str, content: bytes | None, link: str = "") -> None:
    def make(log: Path, session_id: str, size: int) -> None:
        del size
        small(log, session_id)
        for derived in ("manifest.json", "recovery.json", "scrub.json", "index.sqlite"):
            path = log.parent / derived
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
            elif link:
                path.symlink_to(link)
            else:
                path.mkdir()

    LOGS[f"derived files that are {name}"] = make


_derived("deep", b"[" * 100_000)
_derived("deep in the middle", b'{"sessionId":' + b'{"a":' * 100_000)
_derived("long", b'{"sessionId": "' + b"x" * 70_000_000 + b'"}')
_derived("of other types", json.dumps([1, {"sessionId": []}]).encode())
_derived("no text", b"\xff\xfe" * 1000)
_derived("empty", b"")
_derived("links to a device", None, "/dev/zero")
_derived("links to themselves", None, "manifest.json")
_derived("folders", None)
