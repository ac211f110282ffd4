"""Real logs, written by the real writer: sessions that are closed, killed, still being written, damaged."""

from __future__ import annotations

import gzip
import itertools
import os
from pathlib import Path

from google_crc32c import value as crc32c

from wiretape.log.format import (
    SEGMENT_BYTES,
    BodyChunk,
    Done,
    EndState,
    Event,
    Flag,
    FrameType,
    Marked,
    MessageSeen,
    Opened,
    ResponseBegun,
    TlsSeen,
)
from wiretape.log.resume import resume_point
from wiretape.log.store import list_segments
from wiretape.log.stream_writer import StreamIdentity, StreamWriter
from wiretape.session.catalogue import Catalogue, SessionDir

WALL_MS = 1_800_000_000_000
"""Time of the first exchange; each further one is a second later."""
_runs = itertools.count(1)


class Recording:
    """One stream of one session, written as a recorder writes it; every exchange is one second after the one before."""

    def __init__(
        self, session: SessionDir, *, stream: int = 0, streams: int = 1, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        number, seq = resume_point(session.log_dir, stream, streams)
        self.session = session
        self.writer = StreamWriter(
            session.log_dir,
            StreamIdentity(session.session_id, stream, streams, next(_runs), os.getpid(), "boot", "test"),
            clock_ns=lambda: WALL_MS * 1_000_000,
            next_number=number,
            next_seq=seq,
            segment_bytes=segment_bytes,
        )

    def open(
        self,
        url: str = "http://example.com/",
        *,
        method: str = "GET",
        headers: str = "",
        body: bytes = b"",
        connection: int = 0,
        source: str = "explicit",
    ) -> int:
        """Begin an exchange; its request is whole. Gives the seq."""
        scheme, _, rest = url.partition("://")
        host, slash, path = rest.partition("/")
        name, _, port = host.partition(":")
        seq = self.writer.take_seq()
        head = f"{method} {slash}{path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode("latin-1")
        record = Opened(
            wall_ns=(WALL_MS + 1000 * seq) * 1_000_000,
            connection=connection,
            scheme=scheme,
            host=name,
            port=int(port or (443 if scheme == "https" else 80)),
            client="127.0.0.1:50000",
            head_size=len(head),
            source=source,
        )
        self.writer.append(FrameType.OPENED, seq, record, head + body, Flag.REQUEST_COMPLETE)
        self.writer.flush()
        return seq

    def chunk(self, seq: int, position: int, data: bytes, *, kind: FrameType = FrameType.RESPONSE_BODY) -> None:
        """Record a piece of a body."""
        self.writer.append(kind, seq, BodyChunk(position), data)
        self.writer.flush()

    def head(self, seq: int, status: int = 200, headers: str = "") -> None:
        """Record a response's head on its own."""
        raw = f"HTTP/1.1 {status} OK\r\n{headers}\r\n".encode("latin-1")
        self.writer.append(FrameType.RESPONSE_HEAD, seq, ResponseBegun(1000, status, len(raw)), raw)
        self.writer.flush()

    def done(
        self,
        seq: int,
        body: bytes = b"",
        *,
        status: int = 200,
        headers: str = "Content-Type: text/plain; charset=utf-8\r\n",
        state: EndState = EndState.COMPLETE,
        request: bytes = b"",
        inline: bool = True,
        size: int | None = None,
        error: str = "",
    ) -> None:
        """End an exchange; the response is in the same frame unless ``inline`` is false."""
        raw = f"HTTP/1.1 {status} OK\r\n{headers}\r\n".encode("latin-1") if inline else b""
        record = Done(
            elapsed_ns=12_345_678,
            state=int(state),
            status=status,
            head_size=len(raw),
            request_size=len(request),
            response_size=len(body) if size is None else size,
            request_recorded=len(request),
            response_recorded=len(body),
            request_crc=crc32c(request),
            response_crc=crc32c(body),
            connect_ns=2_000_000,
            wait_ns=5_000_000,
            server="127.0.0.1:80",
            error_code="refused" if error else "",
            error=error,
        )
        data = raw + body if inline else b""
        self.writer.append(FrameType.DONE, seq, record, data, Flag.HAS_RESPONSE if inline else 0)
        self.writer.flush()

    def exchange(
        self, url: str = "http://example.com/", answer: bytes = b"hello", *, method: str = "GET", status: int = 200
    ) -> int:
        """Record a small exchange whole."""
        seq = self.open(url, method=method)
        self.done(seq, answer, status=status)
        return seq

    def message(self, seq: int, number: int, data: bytes, *, response: bool = True) -> None:
        """Record a message of an upgraded connection in one frame."""
        flags = Flag.LAST | (Flag.RESPONSE if response else 0)
        self.writer.append(FrameType.MESSAGE, seq, MessageSeen(1_000, number, 1, "", len(data)), data, flags)
        self.writer.flush()

    def mark(self, label: str, *, at_ms: int = WALL_MS) -> None:
        """Record a mark, as the recorder of this stream does."""
        last = max(0, self.writer.next_seq - self.writer.step)
        self.writer.append(FrameType.MARKED, last, Marked(at_ms * 1_000_000, label))
        self.writer.flush()

    def zipped(self, url: str, answer: bytes) -> int:
        """Record an exchange whose answer is compressed."""
        seq = self.open(url)
        headers = "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n"
        self.done(seq, gzip.compress(answer, mtime=0), headers=headers)
        return seq

    def large(self, url: str, answer: bytes, *, piece: int = 64 * 1024) -> int:
        """Record an exchange whose answer has frames of its own."""
        seq = self.open(url)
        self.head(seq, headers="Content-Type: application/octet-stream\r\n")
        for at in range(0, len(answer), piece):
            self.chunk(seq, at, answer[at : at + piece])
        self.done(seq, answer, inline=False)
        return seq

    def tls(self, connection: int, *, side: str = "client", error: str = "") -> None:
        """Record a handshake."""
        record = TlsSeen(
            WALL_MS * 1_000_000,
            connection,
            side,
            "example.com",
            443,
            "example.com",
            "h2",
            "TLSv1.3",
            "AES",
            error,
            error,
        )
        self.writer.append(FrameType.TLS, 0, record)
        self.writer.flush()

    def dropped(self, exchanges: int, partial: list[int]) -> None:
        """Record that exchanges passed while nothing could be written."""
        self.writer.append(
            FrameType.EVENT, 0, Event(WALL_MS * 1_000_000, "dropped", {"exchanges": exchanges, "partial": partial})
        )
        self.writer.flush()

    def close(self) -> None:
        """End the stream cleanly."""
        self.writer.close()

    def kill(self, *, torn: bytes = b"") -> None:
        """End as SIGKILL does: nothing is sealed, the kernel drops the lock; ``torn`` is half a frame that was left."""
        if torn:
            os.write(self.writer.fd, torn)
        os.close(self.writer.fd)
        os.close(self.writer._lock_fd)


def new_session(root: Path, name: str | None = None) -> SessionDir:
    """Make an empty session."""
    return Catalogue(root).create(name)


def closed_session(root: Path, exchanges: int = 3, name: str | None = None) -> SessionDir:
    """Make a session with small exchanges, closed cleanly."""
    session = new_session(root, name)
    recording = Recording(session)
    for number in range(1, exchanges + 1):
        recording.exchange(f"http://example.com/{number}", f"answer {number}".encode())
    recording.close()
    return session


def segment(session: SessionDir, at: int = 0) -> Path:
    """Return one of the session's segments."""
    return list_segments(session.log_dir)[at].path


def flip(path: Path, offset: int) -> None:
    """Damage one byte."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x40
    path.write_bytes(data)


def flip_in(path: Path, text: bytes) -> int:
    """Damage the first byte of ``text`` in a file; give its offset."""
    at = path.read_bytes().index(text)
    flip(path, at)
    return at


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
