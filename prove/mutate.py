"""Small recorded logs, and what a hostile or broken world makes of them.

Some changes are blind: bits, bytes, ranges, lengths, files. Others know the format and sign what they made with right
checksums, so that everything behind the checksums is reached too.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from google_crc32c import value as crc32c

from harness.disks.memory import MemoryDisk, MemoryFiles
from harness.specimen import LOG
from wiretape.log.format import (
    HEADER,
    HEADER_CRC,
    HEADER_SIZE,
    MAX_HEAD,
    BodyChunk,
    Done,
    EndState,
    Event,
    Flag,
    FrameType,
    Opened,
    ResponseBegun,
    TlsSeen,
    TrailersSeen,
    segment_name,
)
from wiretape.log.frames import decode_header, encode_frame
from wiretape.log.stream_writer import StreamIdentity, StreamWriter

SESSION = "20260101T000000-00000a"
Content = dict[str, bytes]
_NUMBERS = (0, 1, -1, 127, 2**31, 2**32 - 1, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 10**18)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    "",
    "x" * 70_000,
    "\x1b[2J\u202e",
    b"\xff",
    1.5,
    float("nan"),
    [],
    {},
    [[]] * 50,
)


@dataclass(slots=True)
class Part:
    """A frame taken apart."""

    kind: int
    flags: int
    seq: int
    head: bytes
    data: bytes


# -- recording ------------------------------------------------------------------------------------------------------


def make_log(chance: random.Random) -> Content:
    """Record a small session with everything that a recorder writes; some recorders are killed."""
    disk = MemoryDisk()
    disk.make_folder(LOG)
    streams = chance.choice((1, 1, 2))
    for stream in range(streams):
        _record(disk, stream, streams, chance)
    return {name: data for name, data in disk.content(LOG).items() if name.endswith(".wlog")}


def _record(disk: MemoryDisk, stream: int, streams: int, chance: random.Random) -> None:
    files = MemoryFiles(disk)
    identity = StreamIdentity(SESSION, stream, streams, chance.getrandbits(60), 1, "boot", "prove")
    writer = StreamWriter(
        LOG,
        identity,
        clock_ns=lambda: 1_790_000_000_000_000_000,
        next_number=1,
        next_seq=stream + 1,
        files=files,
        segment_bytes=chance.choice((1500, 6000, 10**7)),
    )
    running: list[int] = []
    for number in range(chance.randint(2, 20)):
        _something(writer, running, number, chance)
        writer.flush()
    if chance.random() < 0.5:
        for seq in running:
            _done(writer, seq, b"late", chance)
        writer.close()


def _something(writer: StreamWriter, running: list[int], number: int, chance: random.Random) -> None:
    what = chance.random()
    if what < 0.08:
        tls = TlsSeen(1, number, "client", "host", 443, "host", "http/1.1", "TLSv1.3", "cipher")
        writer.append(FrameType.TLS, 0, tls, chance.randbytes(30))
    elif what < 0.16:
        detail: dict[str, Any] = {"exchanges": 1, "bytes": 9, "partial": [1, 2]}
        writer.append(FrameType.EVENT, 0, Event(number, chance.choice(("dropped", "note", "facts")), detail))
    elif what < 0.3 and running:
        _done(writer, running.pop(chance.randrange(len(running))), b"", chance)
    else:
        seq = _opened(writer, number, chance)
        if what < 0.5:
            running.append(seq)
            _pieces(writer, seq, chance)
        else:
            _done(writer, seq, chance.randbytes(chance.choice((0, 9, 700))), chance)


def _opened(writer: StreamWriter, number: int, chance: random.Random) -> int:
    seq = writer.take_seq()
    head = f"POST /{number} HTTP/1.1\r\nHost: example.com\r\nX-A: {chance.random()}\r\n\r\n".encode()
    opened = Opened(10**18 + number, 1, "http", "example.com", 80, "127.0.0.1:5000", len(head))
    writer.append(FrameType.OPENED, seq, opened, head + b"body", Flag.REQUEST_COMPLETE)
    return seq


def _pieces(writer: StreamWriter, seq: int, chance: random.Random) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-16\r\nContent-Encoding: gzip\r\n\r\n"
    writer.append(FrameType.RESPONSE_HEAD, seq, ResponseBegun(5, 200, len(head)), head)
    body = gzip.compress(b"all of it " * 100)
    for position in range(0, len(body), 20):
        writer.append(FrameType.RESPONSE_BODY, seq, BodyChunk(position), body[position : position + 20])
    if chance.random() < 0.3:
        writer.append(FrameType.TRAILERS, seq, TrailersSeen(), b"X-Sum: 1\r\n", Flag.RESPONSE)


def _done(writer: StreamWriter, seq: int, body: bytes, chance: random.Random) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" if body else b""
    state = chance.choice((EndState.COMPLETE, EndState.COMPLETE, EndState.ABORTED, EndState.FAILED))
    done = Done(9, int(state), 200, len(head), 4, len(body), 4, len(body), 0, 0)
    writer.append(FrameType.DONE, seq, done, head + body, Flag.HAS_RESPONSE if body else 0)


# -- changes --------------------------------------------------------------------------------------------------------


def mutate(content: Content, chance: random.Random) -> tuple[Content, list[str], bool]:
    """Change a log in one to six ways; give it, the ways' names, and whether a segment lies about whose it is.

    What a segment that lies holds is a matter of taste: it is to be survived, and not to be agreed about.
    """
    changed, names, lies = dict(content), [], False
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        if not changed:
            break
        how = chance.choice(_FILES if chance.random() < 0.1 else _BLIND if chance.random() < 0.4 else _SIGNED)
        name = chance.choice(sorted(changed))
        how(changed, name, chance)
        names.append(f"{how.__name__.strip('_')} {name}")
        lies = lies or how in _LIES
    return changed, names, lies


def _flip(content: Content, name: str, chance: random.Random) -> None:
    data = bytearray(content[name])
    for _ in range(chance.choice((1, 1, 8, 64))):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    content[name] = bytes(data)


def _range(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randint(0, len(data))
    return start, min(len(data), start + chance.choice((1, 2, 40, 41, 300, 5000)))


def _cut_out(content: Content, name: str, chance: random.Random) -> None:
    start, end = _range(content[name], chance)
    content[name] = content[name][:start] + content[name][end:]


def _overwrite(content: Content, name: str, chance: random.Random) -> None:
    data = content[name]
    start, end = _range(data, chance)
    fill = chance.choice((bytes(end - start), b"\xff" * (end - start), chance.randbytes(end - start)))
    content[name] = data[:start] + fill + data[end:]


def _insert(content: Content, name: str, chance: random.Random) -> None:
    data = content[name]
    at = chance.randint(0, len(data))
    donor = content[chance.choice(sorted(content))]
    start, end = _range(donor, chance)
    content[name] = data[:at] + chance.choice((donor[start:end], b"\x89WT\x01" * 30, bytes(100))) + data[at:]


def _cut_short(content: Content, name: str, chance: random.Random) -> None:
    content[name] = content[name][: chance.randint(0, len(content[name]))]


def _remove(content: Content, name: str, _: random.Random) -> None:
    del content[name]


def _rename(content: Content, name: str, chance: random.Random) -> None:
    other = segment_name(chance.choice((0, 1, 7, 4095)), chance.choice((1, 2, 3, 9, 99_999_999)))
    content[other] = content.pop(name)


def _copy(content: Content, name: str, chance: random.Random) -> None:
    content[segment_name(chance.randint(0, 2), chance.randint(1, 12))] = content[name]


def _parts(data: bytes) -> tuple[list[Part], int]:
    """Take a segment's sound frames apart, up to the first that is not."""
    found, at, salt = [], 0, 0
    while (header := decode_header(data, at)) is not None and at + HEADER_SIZE + header.length <= len(data):
        body = at + HEADER_SIZE
        head = data[body : body + header.head_length]
        rest = data[body + header.head_length : body + header.length]
        if crc32c(head + rest) != header.payload_crc:
            break
        found.append(Part(header.type, header.flags, header.seq, head, rest))
        salt, at = header.salt, body + header.length
    return found, salt


def _sign(parts: list[Part], salt: int) -> bytes:
    made = bytearray()
    for part in parts:
        made += encode_frame(part.kind, part.flags, len(made), part.seq, salt, part.head, part.data)
    return bytes(made)


Change = Callable[[list[Part], random.Random], None]


def _signed(change: Change) -> Callable[[Content, str, random.Random], None]:
    def apply(content: Content, name: str, chance: random.Random) -> None:
        parts, salt = _parts(content[name])
        if parts[1:]:
            head, others = parts[0], parts[1:]
            change(others, chance)
            content[name] = _sign([head, *others], salt)

    apply.__name__ = change.__name__
    return apply


def _drop_frames(parts: list[Part], chance: random.Random) -> None:
    start = chance.randrange(len(parts))
    del parts[start : start + chance.choice((1, 1, 3))]


def _repeat_frame(parts: list[Part], chance: random.Random) -> None:
    part = chance.choice(parts)
    parts[chance.randint(0, len(parts)) : 0] = [part] * chance.choice((1, 1, 50))


def _swap_frames(parts: list[Part], chance: random.Random) -> None:
    one, other = chance.randrange(len(parts)), chance.randrange(len(parts))
    parts[one], parts[other] = parts[other], parts[one]


def _change_header(parts: list[Part], chance: random.Random) -> None:
    at = chance.randrange(len(parts))
    part = parts[at]
    which = chance.randrange(3)
    kind = chance.randrange(256) if which == 0 else part.kind
    flags = chance.randrange(256) if which == 1 else part.flags
    # Not one of another stream: whose it is then is a matter of taste.
    numbers = [number for number in (part.seq + 2, part.seq - 2, *_NUMBERS) if (number - part.seq) % 2 == 0]
    seq = chance.choice(numbers) % 2**64 if which == 2 else part.seq
    parts[at] = Part(kind, flags, seq, part.head, part.data)


def _change_record(parts: list[Part], chance: random.Random) -> None:
    at = chance.randrange(len(parts))
    part = parts[at]
    try:
        values = msgspec.msgpack.decode(part.head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        values = []
    if isinstance(values, list) and values:
        where = chance.randrange(len(values))
        how = chance.random()
        if how < 0.5 and isinstance(values[where], int):
            values[where] = chance.choice((values[where] + 1, values[where] - 1, *_NUMBERS))
        elif how < 0.8:
            values[where] = chance.choice((*_VALUES, *_NUMBERS))
        elif how < 0.9:
            del values[where:]
        else:
            values.insert(where, chance.choice(_VALUES))
    values = [max(-(2**63), min(2**64 - 1, value)) if isinstance(value, int) else value for value in values]
    head = msgspec.msgpack.encode(values)[:MAX_HEAD]
    parts[at] = Part(part.kind, part.flags, part.seq, head, part.data)


def _change_head_bytes(parts: list[Part], chance: random.Random) -> None:
    at = chance.randrange(len(parts))
    part = parts[at]
    head = bytearray(part.head or b"\x00")
    head[chance.randrange(len(head))] = chance.choice((0xDD, 0xDF, 0xC1, 0xFF, 0x91, chance.randrange(256)))
    deep = b"\x91" * 10_000 if chance.random() < 0.1 else b""
    parts[at] = Part(part.kind, part.flags, part.seq, (deep + bytes(head))[:MAX_HEAD], part.data)


def _change_data(parts: list[Part], chance: random.Random) -> None:
    at = chance.randrange(len(parts))
    part = parts[at]
    data = chance.choice(
        (b"", b"\r\n", b"A: b\r\n" * 2000, b"\x00" * 999, chance.randbytes(200), part.data * 3, part.data[:5], b"GET  ")
    )
    parts[at] = Part(part.kind, part.flags, part.seq, part.head, data)


def _newer(content: Content, name: str, _: random.Random) -> None:
    """Give the first frame another version, rightly signed."""
    data = bytearray(content[name])
    if len(data) >= HEADER_SIZE:
        data[3] = (data[3] + 1) % 256
        data[HEADER.size : HEADER_SIZE] = HEADER_CRC.pack(crc32c(bytes(data[: HEADER.size])))
        content[name] = bytes(data)


def _forge_head(content: Content, name: str, chance: random.Random) -> None:
    """Have a segment say of itself what is not so, or nothing."""
    parts, salt = _parts(content[name])
    if parts:
        first = parts[:1]
        chance.choice((_change_header, _change_record, _change_head_bytes, _drop_frames))(first, chance)
        content[name] = _sign([*first, *parts[1:]], salt)


def _nest(parts: list[Part], chance: random.Random) -> None:
    """Put a whole segment into a body."""
    at = chance.randrange(len(parts))
    part = parts[at]
    parts[at] = Part(part.kind, part.flags, part.seq, part.head, part.data + _sign(parts[:20], chance.getrandbits(60)))


_LIES = (_rename, _copy, _forge_head)
_BLIND = (_flip, _cut_out, _overwrite, _insert, _cut_short)
_FILES = (_remove, _newer, *_LIES)
_SIGNED = tuple(
    _signed(change)
    for change in (
        _drop_frames,
        _repeat_frame,
        _swap_frames,
        _change_header,
        _change_record,
        _change_record,
        _change_record,
        _change_head_bytes,
        _change_data,
        _nest,
    )
)


def write(content: Content, folder: Path) -> None:
    """Put a log on the disk."""
    folder.mkdir(parents=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)
