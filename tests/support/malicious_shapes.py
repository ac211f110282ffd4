"""Logs of a shape that costs memory or time: many of something, or something where nothing should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from tests.support.forger import LOGS, WALL, Forger, forged, small
from wiretape.log.format import (
    MAGIC,
    MARK,
    MAX_PAYLOAD,
    BodyChunk,
    Flag,
    FrameType,
    Marked,
    Opened,
    ResponseBegun,
    Seal,
    SegmentHead,
    TlsSeen,
    segment_name,
)
from wiretape.log.frames import encode_frame

_encode = msgspec.msgpack.encode
_HUGE: Final = 2**32 - 1


def _frames(name: str, kind: int, record: Any = b"", *, numbered: bool = True, flags: int = 0) -> None:
    def make(log: Path, session_id: str, size: int) -> None:
        with Forger(log, session_id) as forger:
            seq = 0
            while forger.at < size:
                seq += 1
                forger.add(kind, seq if numbered else 0, record, flags=flags)

    LOGS[name] = make


for _kind in (*FrameType, 200):
    _frames(f"nothing but empty frames of kind {int(_kind)}", _kind)
    _frames(f"nothing but empty frames of kind {int(_kind)} without a number", _kind, numbered=False)
_frames("exchanges that never end", FrameType.OPENED, Opened(WALL, 1, "http", "h", 80, "c", 0))
_frames("heads of bodies alone", FrameType.RESPONSE_HEAD, ResponseBegun(1, 200, 0))
_frames("interim answers", FrameType.RESPONSE_HEAD, ResponseBegun(1, 100, 0), flags=Flag.INTERIM)
_frames("handshakes", FrameType.TLS, TlsSeen(1, 1, "client", "h", 1, "", "", "", ""), numbered=False)
_frames("labels", FrameType.MARKED, Marked(1, "x"), numbered=False)
_frames("seals", FrameType.SEAL, Seal(1, 1, 1, 1, 1, 1, 0), numbered=False)
_frames("heads of another run", FrameType.SEGMENT, SegmentHead("x", 0, 1, 1, 1, 1, 9, 1, "", ""), numbered=False)


@forged("exchanges far apart")
def _far(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        seq = 1
        while forger.at < size:
            forger.opened(seq)
            forger.done(seq)
            seq += 1_000


@forged("exchanges that never end in runs without end")
def _runs(log: Path, session_id: str, size: int) -> None:
    number, seq = 0, 0
    while size > 0:
        number += 1
        with Forger(log, session_id, number=number, run=number, first_seq=seq + 1) as forger:
            while forger.at < min(size, 100_000):
                seq += 1
                forger.opened(seq)
            size -= forger.at


@forged("exchanges that end again and again")
def _again(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        while forger.at < size:
            forger.opened(1)
            forger.done(1)


@forged("one exchange of pieces of nothing")
def _pieces(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        forger.opened(1)
        while forger.at < size:
            forger.add(FrameType.RESPONSE_BODY, 1, BodyChunk(0), b"")
        forger.done(1)


@forged("one exchange of pieces of one byte, backwards")
def _backwards(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        forger.opened(1)
        for position in range(size // 50, 0, -1):
            forger.add(FrameType.RESPONSE_BODY, 1, BodyChunk(position), b"x")
        forger.done(1)


@forged("one exchange of heads, trailers and messages")
def _one(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        forger.opened(1)
        number = 0
        while forger.at < size:
            number += 1
            forger.add(FrameType.RESPONSE_HEAD, 1, ResponseBegun(number, 100, 0), b"", Flag.INTERIM)
            forger.add(FrameType.TRAILERS, 1, b"\x91\x01", b"a: b")
            forger.add(FrameType.MESSAGE, 1)


@forged("lengths of 4 GiB")
def _lengths(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        while forger.at < size:
            forger.header(FrameType.OPENED, 1, 0xFFFF, _HUGE)


@forged("lengths that are allowed and not there")
def _overlapping(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        while forger.at < size:
            forger.header(FrameType.OPENED, 1, 10, MAX_PAYLOAD)


@forged("lengths that are allowed and not there, between frames")
def _interleaved(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        while forger.at < size:
            forger.header(FrameType.OPENED, 1, 10, MAX_PAYLOAD)
            forger.add(FrameType.MARKED, 0, b"\x92\x01\xa0")


@forged("the same behind a damaged beginning")
def _headless(log: Path, session_id: str, size: int) -> None:
    _overlapping(log, session_id, size)
    path = next(log.glob("*.wlog"))
    with open(path, "r+b") as file:
        file.write(b"\0" * 8)


@forged("heads longer than payloads")
def _heads(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        while forger.at < size:
            forger.header(FrameType.OPENED, 1, 0xFFFF, 0)


@forged("nothing but marks")
def _marks(log: Path, session_id: str, size: int) -> None:
    del session_id
    (log / segment_name(0, 1)).write_bytes(MARK * (size // 3))


@forged("marks behind a beginning")
def _marks_behind(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        forger.raw(MAGIC * (size // 4))


@forged("a byte of damage behind every frame")
def _dotted(log: Path, session_id: str, size: int) -> None:
    with Forger(log, session_id) as forger:
        seq = 0
        while forger.at < size:
            seq += 2
            forger.opened(seq)
            forger.done(seq)
            forger.raw(b"!")


@forged("frames of other salts")
def _salts(log: Path, session_id: str, size: int) -> None:
    del session_id
    with open(log / segment_name(0, 1), "wb") as file:
        at = 0
        file.write(b"?")
        at += 1
        while at < size:
            at += file.write(encode_frame(FrameType.MARKED, 0, at, 0, at, b"\x92\x01\xa0"))


@forged("segments within segments")
def _within(log: Path, session_id: str, size: int) -> None:
    small(log, session_id, number=2)
    inner = (log / segment_name(0, 2)).read_bytes()
    with Forger(log, session_id) as forger:
        forger.opened(1)
        position = 0
        while forger.at < size:
            body = inner * 20
            forger.add(FrameType.RESPONSE_BODY, 1, BodyChunk(position), body)
            forger.raw(inner)
            position += len(body)
