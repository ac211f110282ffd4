"""Other people's HTTP/1.1 parsers, all asked the same question: what is the first message in these bytes?"""

from __future__ import annotations

from dataclasses import dataclass, field

import h11
import httptools

from wiretape.errors import ProtocolError
from wiretape.wire.http1 import (
    ChunkedDecoder,
    RequestHead,
    body_reader,
    encode_chunk,
    encode_last_chunk,
    parse_request_head,
    parse_response_head,
)


@dataclass
class Message:
    """The first message as one parser understands it.

    ``head`` is the start line in parts, ``body`` what has been read of it, ``complete`` whether the parser is done.
    """

    head: tuple[object, ...] = ()
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False


def sent_on(data: bytes, method: str | None = None) -> bytes | None:
    """Give what wiretape sends on for the first message in ``data``; None: refused, or not finished and never can be.

    Args:
        data: the bytes.
        method: None for a request; for a response that of its request.
    """
    try:
        head = parse_request_head(data) if method is None else parse_response_head(data, method)
        if head is None:
            return None
        reader = body_reader(head)
        pieces = reader.feed(data[head.consumed :])
    except ProtocolError:
        return None
    if not reader.eof():
        return None
    if isinstance(head, RequestHead):
        start = head.forward(b"/", upgrade=True, host=b"h")
    else:
        start = head.forward(close=None if head.keep_alive else True)
    if isinstance(reader, ChunkedDecoder):
        return start + encode_chunk(pieces) + encode_last_chunk(reader.trailers)
    return start + b"".join(pieces)


def by_wiretape(data: bytes, method: str | None = None) -> Message | None:
    """Ask wiretape. None: refused, or no head.

    Args:
        data: the bytes.
        method: None for a request; for a response that of its request.
    """
    try:
        if method is None:
            request = parse_request_head(data)
            if request is None:
                return None
            message = Message((request.method.encode(), request.target.encode("latin-1")), request.headers())
            reader, consumed = body_reader(request), request.consumed
        else:
            response = parse_response_head(data, method)
            if response is None:
                return None
            message = Message((response.status, response.reason), response.headers())
            reader, consumed = body_reader(response), response.consumed
        message.body = b"".join(reader.feed(data[consumed:]))
        message.complete = reader.finished
    except ProtocolError:
        return None
    return message


FRAMING = frozenset({b"content-length", b"transfer-encoding"})
ODD_ENDS = (b"\t", b",", b" ")


class _Callbacks:
    """Collects the first message that httptools reports."""

    parser: httptools.HttpRequestParser | httptools.HttpResponseParser

    def __init__(self) -> None:
        self.message = Message()
        self.target = b""
        self.reason = b""
        self.in_head = True

    def on_url(self, url: bytes) -> None:
        if not self.message.complete:
            self.target += url

    def on_status(self, status: bytes) -> None:
        if not self.message.complete:
            self.reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:
            self.message.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.in_head = False
        if self.parser.should_upgrade() and any(name.lower() in FRAMING for name, _ in self.message.fields):
            # By its own choice httptools takes no body of a request that asks for an upgrade; wiretape reads the body
            # and does not pass the upgrade on.
            raise httptools.HttpParserError
        if any(
            name.lower() == b"transfer-encoding" and value.endswith(ODD_ENDS) for name, value in self.message.fields
        ):
            # In a response it takes such a value for another coding than chunked, against RFC 9110 sections 5.5 and
            # 5.6.1; wiretape reads it as the RFC says, and sends it on plainly.
            raise httptools.HttpParserError
        if isinstance(self.parser, httptools.HttpResponseParser):
            self.message.head = (self.parser.get_status_code(), self.reason)
        else:
            self.message.head = (self.parser.get_method(), self.target)

    def on_body(self, body: bytes) -> None:
        if not self.message.complete:
            self.message.body += body

    def on_message_complete(self) -> None:
        self.message.complete = True


def by_httptools(data: bytes, *, response: bool = False) -> Message | None:
    """Ask httptools. None: refused, or no head."""
    callbacks = _Callbacks()
    parser = httptools.HttpResponseParser(callbacks) if response else httptools.HttpRequestParser(callbacks)
    callbacks.parser = parser
    try:
        # Byte by byte, to stop at the end of the first message.
        for at in range(len(data)):
            parser.feed_data(data[at : at + 1])
            if callbacks.message.complete:
                break
    except httptools.HttpParserUpgrade:
        pass  # It is raised at the message's end, which has been reported.
    except httptools.HttpParserError:
        return None
    return callbacks.message if callbacks.message.head else None


def by_h11(data: bytes, method: str | None = None) -> Message | None:
    """Ask h11; ``method`` as for by_wiretape. None: refused, or no head."""
    connection = h11.Connection(h11.SERVER if method is None else h11.CLIENT, max_incomplete_event_size=1 << 20)
    try:
        if method is not None:
            connection.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
            connection.send(h11.EndOfMessage())
        connection.receive_data(data)
        return _from_h11(connection)
    except h11.RemoteProtocolError:
        return None


def _from_h11(connection: h11.Connection) -> Message | None:
    message = Message()
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            message.head = (event.method, event.target)
            message.fields = list(event.headers.raw_items())
        elif isinstance(event, h11.Response):
            message.head = (event.status_code, event.reason)
            message.fields = list(event.headers.raw_items())
        elif isinstance(event, h11.Data):
            message.body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            message.complete = True
            return message
        else:
            return message if message.head else None
