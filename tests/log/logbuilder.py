"""Builds segments byte by byte, frame by frame, without the writer: what the reader's tests read and damage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from google_crc32c import value as crc32c

from wiretape.log.format import (
    BodyChunk,
    Done,
    EndState,
    Event,
    Flag,
    FrameType,
    Marked,
    Opened,
    Record,
    ResponseBegun,
    Seal,
    SegmentHead,
    TrailersSeen,
    segment_name,
)
from wiretape.log.frames import encode_frame

SESSION = "20260101-000000-abcdef"
WALL = 1_767_225_600_000_000_000
REQUEST = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"

_encode = msgspec.msgpack.Encoder().encode


@dataclass
class SegmentBuilder:
    """One segment in memory; ``frames`` keeps where each frame stands: (offset, size, kind, seq)."""

    stream: int = 0
    streams: int = 1
    number: int = 1
    first_seq: int = 1
    run: int = 7
    salt: int = 0x1122334455667788
    session: str = SESSION
    buffer: bytearray = field(default_factory=bytearray)
    frames: list[tuple[int, int, int, int]] = field(default_factory=list)
    opened_count: int = 0
    done_count: int = 0
    next_seq: int = 0

    def __post_init__(self) -> None:
        self.next_seq = self.first_seq
        self.add(
            FrameType.SEGMENT,
            0,
            SegmentHead(
                session_id=self.session,
                stream=self.stream,
                streams=self.streams,
                number=self.number,
                first_seq=self.first_seq,
                wall_ns=WALL,
                run=self.run,
                pid=4242,
                boot_id="boot",
                program="wiretape test",
            ),
        )

    @property
    def name(self) -> str:
        """The segment's file name."""
        return segment_name(self.stream, self.number)

    def add(self, kind: int, seq: int, record: Record, data: bytes = b"", flags: int = 0) -> int:
        """Append one frame; give its offset."""
        offset = len(self.buffer)
        frame = encode_frame(kind, flags, offset, seq, self.salt, _encode(record), data)
        self.buffer += frame
        self.frames.append((offset, len(frame), int(kind), seq))
        return offset

    def opened(self, seq: int, body: bytes = b"", *, head: bytes = REQUEST, complete: bool = True) -> int:
        """Append OPENED, with the body inline."""
        self.opened_count += 1
        self.next_seq = max(self.next_seq, seq + self.streams)
        record = Opened(WALL + seq, 1, "http", "example.com", 80, "127.0.0.1:5000", len(head))
        return self.add(FrameType.OPENED, seq, record, head + body, Flag.REQUEST_COMPLETE if complete else 0)

    def chunk(self, kind: FrameType, seq: int, position: int, data: bytes) -> int:
        """Append a body chunk."""
        return self.add(kind, seq, BodyChunk(position), data)

    def response_head(self, seq: int, *, status: int = 200, head: bytes = b"", body: bytes = b"") -> int:
        """Append RESPONSE_HEAD."""
        head = head or RESPONSE % len(body)
        flags = Flag.INTERIM if status < 200 else 0
        return self.add(FrameType.RESPONSE_HEAD, seq, ResponseBegun(5, status, len(head)), head + body, flags)

    def trailers(self, seq: int, data: bytes, *, response: bool = True) -> int:
        """Append TRAILERS."""
        return self.add(FrameType.TRAILERS, seq, TrailersSeen(1), data, Flag.RESPONSE if response else 0)

    def done(
        self,
        seq: int,
        *,
        request: bytes = b"",
        response: bytes = b"",
        inline: bool = True,
        state: EndState = EndState.COMPLETE,
    ) -> int:
        """Append DONE, with the response inline unless it was written before."""
        self.done_count += 1
        head = RESPONSE % len(response)
        record = Done(
            elapsed_ns=10,
            state=int(state),
            status=200,
            head_size=len(head),
            request_size=len(request),
            response_size=len(response),
            request_recorded=len(request),
            response_recorded=len(response),
            request_crc=crc32c(request),
            response_crc=crc32c(response),
        )
        data = head + response if inline else b""
        return self.add(FrameType.DONE, seq, record, data, Flag.HAS_RESPONSE if inline else 0)

    def small(self, seq: int, request: bytes = b"", response: bytes = b"hello") -> None:
        """Append a whole small exchange: two frames."""
        self.opened(seq, request)
        self.done(seq, request=request, response=response)

    def event(self, kind: str, **detail: object) -> int:
        """Append EVENT."""
        return self.add(FrameType.EVENT, 0, Event(WALL, kind, detail))

    def marked(self, seq: int, label: str) -> int:
        """Append MARKED."""
        return self.add(FrameType.MARKED, seq, Marked(WALL, label))

    def seal(self, *, final: bool = True) -> int:
        """Append SEAL."""
        record = Seal(
            wall_ns=WALL,
            frames=len(self.frames),
            opened=self.opened_count,
            done=self.done_count,
            first_seq=self.first_seq,
            next_seq=self.next_seq,
        )
        return self.add(FrameType.SEAL, 0, record, flags=Flag.FINAL if final else 0)

    def write(self, folder: Path, content: bytes | None = None, name: str = "") -> Path:
        """Write the segment, or other ``content`` under its name, into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (name or self.name)
        path.write_bytes(bytes(self.buffer) if content is None else content)
        return path
