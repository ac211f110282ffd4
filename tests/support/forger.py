"""Writes segments whose checksums agree and whose content no recorder wrote; and the list of what was forged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from google_crc32c import value as crc32c

from wiretape.log.format import (
    HEADER,
    HEADER_CRC,
    MAGIC,
    Done,
    Flag,
    FrameType,
    Opened,
    SegmentHead,
    segment_name,
)
from wiretape.log.frames import encode_frame

SALT: Final = 0x0123456789ABCDEF
WALL: Final = 1_800_000_000_000_000_000
REQUEST: Final = b"GET / HTTP/1.1\r\n\r\n"
_encode = msgspec.msgpack.encode
_HUGE: Final = 2**32 - 1


class Forger:
    """Writes one segment, frame by frame; ``at`` is where the next one stands."""

    def __init__(
        self, log: Path, session_id: str, *, number: int = 1, stream: int = 0, run: int = 7, **head: Any
    ) -> None:
        self.file = open(log / segment_name(stream, number), "wb", buffering=1 << 20)  # noqa: SIM115 - closed by __exit__
        self.at = 0
        values = {"streams": 1, "first_seq": 1, "wall_ns": WALL, "pid": 1, "boot_id": "boot", "program": "forger"}
        record = SegmentHead(session_id=session_id, stream=stream, number=number, run=run, **{**values, **head})
        self.add(FrameType.SEGMENT, 0, record)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.file.close()

    def raw(self, data: bytes) -> None:
        """Write bytes."""
        self.file.write(data)
        self.at += len(data)

    def add(self, kind: int, seq: int, record: Any = b"", data: bytes = b"", flags: int = 0) -> None:
        """Write a frame; ``record`` is one, or bytes in its place."""
        head = record if isinstance(record, bytes) else _encode(record)
        self.raw(encode_frame(kind, flags, self.at, seq, SALT, head, data))

    def header(self, kind: int, seq: int, head: int, length: int, payload_crc: int = 0) -> None:
        """Write a frame's header, and no payload."""
        raw = HEADER.pack(MAGIC, kind, 0, head, length, self.at, seq, SALT, payload_crc)
        self.raw(raw + HEADER_CRC.pack(crc32c(raw)))

    def opened(self, seq: int, head: bytes = REQUEST, **fields: Any) -> None:
        """Write an OPENED frame."""
        values = {"wall_ns": WALL, "connection": 1, "scheme": "http", "host": "h", "port": 80, "client": "c"}
        self.add(FrameType.OPENED, seq, Opened(head_size=len(head), **{**values, **fields}), head)

    def done(self, seq: int, head: bytes = b"HTTP/1.1 200 OK\r\n\r\n", body: bytes = b"", **fields: Any) -> None:
        """Write a DONE frame with its response."""
        values = {"elapsed_ns": 1, "state": 0, "status": 200, "request_size": 0, "response_size": len(body)}
        values |= {
            "request_recorded": 0,
            "response_recorded": len(body),
            "request_crc": 0,
            "response_crc": crc32c(body),
        }
        record = Done(**{**values, "head_size": len(head), **fields})
        self.add(FrameType.DONE, seq, record, head + body, Flag.HAS_RESPONSE)


Make = Callable[[Path, str, int], None]
"""Fills a log's folder: the folder, the session's id, bytes to write, roughly."""
LOGS: Final[dict[str, Make]] = {}


def forged(name: str) -> Callable[[Make], Make]:
    def add(make: Make) -> Make:
        LOGS[name] = make
        return make

    return add


def small(log: Path, session_id: str, **head: Any) -> None:
    """Write a segment with one small exchange."""
    with Forger(log, session_id, **head) as forger:
        forger.opened(1)
        forger.done(1, body=b"answer")
