"""Reads the response to a request: from the bytes of an HTTP/1.1 connection to what an exchange hears. No sockets."""

from __future__ import annotations

from typing import Final

from wiretape.errors import ProtocolError
from wiretape.recorder.ports import AnyRequestHead, BytesFromServer, FromServer, Pieces
from wiretape.wire.connection_auth import challenges_connection
from wiretape.wire.http1 import (
    LENGTH,
    NO_BODY,
    BodyReader,
    ResponseHead,
    body_reader,
    parse_response_head,
)

MAX_INTERIM: Final = 100
"""1xx responses to one request; a server that sends more is broken or hostile."""

_NOTHING: Final[Pieces] = []


class ResponseReader:
    """Turns the bytes that answer a request into what a listener hears.

    Attributes:
        whole: the final response has been heard to its end.
        keep_alive: after it the connection may serve another exchange.
        touched: a byte has come.
        challenged: the server has begun to authenticate the connection, not the request (NTLM, Negotiate).
        unparsed: what came of a head that is not whole.
    """

    __slots__ = (
        "_body",
        "_interims",
        "_method",
        "_strict",
        "_upgrade",
        "challenged",
        "keep_alive",
        "touched",
        "unparsed",
        "whole",
    )

    def __init__(self, strict: bool = False) -> None:
        """``strict``: refuse responses that RFC 9112 forbids, instead of mending what clients live with."""
        self._strict = strict

    def begin(self, head: AnyRequestHead) -> None:
        """Expect the response to a request."""
        self._method = head.method
        self._upgrade = head.upgrade is not None
        self._body: BodyReader | None = None
        self._interims = 0
        self.challenged = False
        self.keep_alive = False
        self.touched = False
        self.unparsed = b""
        self.whole = False

    def feed(self, data: bytes, listener: FromServer) -> tuple[BytesFromServer, bytes] | None:
        """Take bytes and tell ``listener``.

        Returns:
            Who listens from now on and the first bytes for it, once another protocol is spoken; else None.
        """
        body = self._body
        if body is None:
            if self.whole:
                self.keep_alive = False  # nobody asked for these bytes
                return None
            self.touched = True
            return self._feed_head(self.unparsed + data if self.unparsed else data, listener)
        try:
            pieces = body.feed(data)
        except ProtocolError as error:
            listener.response_broken(error, None, b"")
            return None
        if body.finished:
            self._body = None
            self.whole = True
            self.keep_alive = self.keep_alive and not body.rest
        listener.response_data(pieces, body.finished, body.trailers)
        return None

    def _feed_head(self, data: bytes, listener: FromServer) -> tuple[BytesFromServer, bytes] | None:
        while True:
            try:
                head = parse_response_head(data, self._method, strict=self._strict)
                if head is None:
                    self.unparsed = data
                    return None
                rest = data[head.consumed :]
                if head.status >= 200:
                    self.unparsed = b""
                    self._feed_final(head, rest, listener)
                    return None
                self._check_interim(head)
            except ProtocolError as error:
                self.unparsed = b""
                listener.response_broken(error, None, data)
                return None
            self.unparsed = b""
            if head.status == 101:
                return listener.switched(head), rest
            listener.response_interim(head)
            if not rest:
                return None
            data = rest

    def _check_interim(self, head: ResponseHead) -> None:
        self._interims += 1
        if self._interims > MAX_INTERIM:
            raise ProtocolError(f"more than {MAX_INTERIM} interim responses", status=502)
        if head.status == 101 and not self._upgrade:
            raise ProtocolError("the server switched protocols unasked", status=502)

    def _feed_final(self, head: ResponseHead, data: bytes, listener: FromServer) -> None:
        framing = head.framing
        if head.status == 401:
            self.challenged = challenges_connection(head.raw)
        if framing == NO_BODY:
            self.whole = True
            self.keep_alive = head.keep_alive and not data
            listener.response(head, _NOTHING, True, b"")
            return
        if framing == LENGTH and head.content_length == len(data):
            self.whole = True
            self.keep_alive = head.keep_alive
            listener.response(head, [data], True, b"")
            return
        body = body_reader(head)
        pieces = _NOTHING
        if data:
            try:
                pieces = body.feed(data)
            except ProtocolError as error:
                listener.response_broken(error, head, b"")
                return
        if body.finished:
            self.whole = True
            self.keep_alive = head.keep_alive and not body.rest
        else:
            self._body = body
            self.keep_alive = head.keep_alive
        listener.response(head, pieces, body.finished, body.trailers)

    def end(self, listener: FromServer) -> bool:
        """Take note that the connection has ended in order; return whether that completes the response."""
        body = self._body
        if body is None or not body.eof():
            return False
        self._body = None
        self.whole = True
        self.keep_alive = False
        listener.response_data(_NOTHING, True, b"")
        return True
