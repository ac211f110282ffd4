"""HTTP/2 without sockets: the port to a library that does the framing, HPACK and flow control (RFC 9113, RFC 7541).

The recorder decides what goes where; the library is an *engine*: bytes in, calls of a listener out, and bytes again.
The product's engine is libnghttp2 (``h2_ngh2.py``); the tests hold a second one, python-hyper's h2, to the same suite.

    engine = make(client, limits, listener)
    engine.receive(data)      # calls the listener for what is in there
    engine.send_head(...)     # queues
    engine.output(limit)      # bytes for the peer; may call the listener, too

An engine is called by one connection alone and never from within a call of its listener, except where a method says so.
A call for a stream that is gone does nothing: the listener hears of its end, or has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

Fields = Sequence[tuple[bytes, bytes]]
"""A field section in its order, pseudo-header fields first, names in lower case."""


class ErrorCode(IntEnum):
    """Why a stream or a connection ends (RFC 9113 section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


def code_name(code: int) -> str:
    """Return an error code as the RFC calls it, or its number."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"error {code}"


def farewell(code: int, reason: bytes) -> bytes:
    """Return all that a server says to a client of HTTP/2 whom it does not serve: SETTINGS and GOAWAY."""
    return _frame(4, b"") + go_away_frame(code, reason)


def go_away_frame(code: int, reason: bytes) -> bytes:
    """Return a GOAWAY frame of a side that has taken no stream (RFC 9113 section 6.8)."""
    return _frame(7, (0).to_bytes(4, "big") + code.to_bytes(4, "big") + reason[:200])


def _frame(kind: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, 0, 0, 0, 0, 0]) + payload


class Limits(NamedTuple):
    """What a peer may ask of us. The defaults hold for both sides.

    Attributes:
        streams: requests that a client may have running at a time.
        stream_window: bytes of one body that may be on their way to us while whoever they are for does not read.
        connection_window: the same of a connection's bodies together: what a hostile peer can make us hold (P8).
        head: bytes of a field section, each field counted with 32 more (RFC 9113 section 6.5.2).
        fields: fields of a section.
        continuations: CONTINUATION frames after one HEADERS frame (the flood of CVE-2024-27316).
        settings: entries of a SETTINGS frame.
        replies: answers to SETTINGS and PING that may wait to be sent.
        resets: how many streams a client may break off at once, and how many a second after that (CVE-2023-44487).
        glitches: frames that mean nothing, the same two numbers (CVE-2023-35945, CVE-2025-8671).
    """

    streams: int = 128
    stream_window: int = 1024 * 1024
    connection_window: int = 32 * 1024 * 1024
    head: int = 256 * 1024
    fields: int = 2000
    continuations: int = 32
    settings: int = 32
    replies: int = 1000
    resets: tuple[int, int] = (1000, 100)
    glitches: tuple[int, int] = (10_000, 330)


class Listener(Protocol):
    """Who hears what an engine understood."""

    def head_came(self, stream: int, fields: Fields, end: bool) -> None:
        """Take the head of a request, or of a final response; ``end``: there is nothing after it."""

    def interim_came(self, stream: int, fields: Fields) -> None:
        """Take the head of a 1xx response."""

    def data_came(self, stream: int, data: bytes, end: bool) -> None:
        """Take a piece of a body, which may be empty where it is the end."""

    def trailers_came(self, stream: int, fields: Fields) -> None:
        """Take the trailer section; it is the end of its message."""

    def reset_came(self, stream: int, code: int) -> None:
        """Take note that the peer breaks the stream off; ``stream_closed`` follows."""

    def stream_closed(self, stream: int, code: int) -> None:
        """Take note that a stream is gone.

        ``code`` is 0 where both sides came to their end. Without ``reset_came`` before it any other code says what the
        peer did wrong, maybe in the head, of which nothing was heard then.
        """

    def settings_came(self, streams: int) -> None:
        """Take the peer's settings: how many streams it serves at a time."""

    def going_away(self, last: int, code: int, debug: bytes) -> None:
        """Take note that the peer takes no more streams, and has not looked at those above ``last``."""

    def broken(self, code: int, reason: str) -> None:
        """Take note that nothing can be received any more; ``output`` may still have a last word."""


class Engine(Protocol):
    """One connection's HTTP/2."""

    def start(self) -> None:
        """Queue our settings, and of a client the preface."""

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer and tell the listener."""

    def output(self, limit: int) -> bytes:
        """Return up to about ``limit`` bytes for the peer; b"" where nothing can be sent now."""

    @property
    def wants_output(self) -> bool:
        """Whether ``output`` has something for the peer, windows permitting."""

    def request(self, fields: Fields, end: bool) -> int:
        """Queue a request; return its stream's number, 0 where no further stream can be opened."""

    def send_head(self, stream: int, fields: Fields, end: bool) -> None:
        """Queue a final response's head."""

    def send_interim(self, stream: int, fields: Fields) -> None:
        """Queue a 1xx response's head."""

    def send_data(self, stream: int, data: bytes, end: bool) -> None:
        """Queue a piece of a body; it goes out as the peer's windows allow."""

    def send_trailers(self, stream: int, fields: Fields) -> None:
        """Queue a trailer section, the end of our message."""

    def reset(self, stream: int, code: int) -> None:
        """Queue the end of a stream; what was queued for it and not sent is dropped. Callable from the listener."""

    def acknowledge(self, stream: int, size: int) -> None:
        """Let the peer send ``size`` more bytes of the body. Callable from the listener."""

    def queued(self, stream: int = 0) -> int:
        """Return how many bytes of a stream's body, or of all, wait to be sent."""

    def go_away(self, code: int, reason: bytes = b"") -> None:
        """Queue GOAWAY: no new streams are taken, those that run go on."""


MakeEngine = Callable[[bool, Limits, Listener], Engine]
"""Makes an engine; True for the client's side of a connection."""
