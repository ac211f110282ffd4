"""Heads of HTTP/2: how they are recorded, and how they become heads of HTTP/1.1 and the other way round (RFC 9113
section 8).

A head here answers the same questions as one of HTTP/1.1 (``request.py``, ``response.py``), so that nothing above has
to know what is spoken on the other side. ``raw`` is the form that the log has (FORMAT.md): lines ``name: value``.

What a client puts into a field of HTTP/2 must not become a second field, or a second request, in HTTP/1.1. The library
checks that, too; here it is checked again, because two readers that differ is all that a smuggler needs.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final, NoReturn

from wiretape.errors import ProtocolError
from wiretape.wire.connection_auth import authenticates_connection
from wiretape.wire.fields import HOP_BY_HOP
from wiretape.wire.grammar import (
    CHUNKED,
    HOST_VALUE,
    LENGTH,
    MAX_HEAD,
    NO_BODY,
    parse_length,
    show,
    split_fields,
)
from wiretape.wire.h2 import Fields
from wiretape.wire.request import RequestHead
from wiretape.wire.response import ResponseHead

_COLON: Final = 0x3A
# RFC 9113 section 8.2.1: no control characters in values, and a name is a token without upper-case letters.
_NAME: Final = rb"[!#$%&'*+\-.^_`|~0-9a-z]++"
_VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]*+"
_BLOCK: Final = re.compile(
    rb"(?::[a-z]++: " + _VALUE + rb"\r\n)*+(?:" + _NAME + rb": " + _VALUE + rb"\r\n)*+"
).fullmatch
_PSEUDO: Final = frozenset({b":method", b":scheme", b":authority", b":path", b":protocol"})
_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++").fullmatch
_PATH: Final = re.compile(rb"(?:/[\x21-\x7e\x80-\xff]*+|\*)").fullmatch
_NONE: Final[list[bytes]] = []
_LENGTH: Final = re.compile(rb"\ncontent-length: ([^\r]*+)\r").findall
_HOST: Final = re.compile(rb"\nhost: ([^\r]*+)\r").findall

# Fields that belong to one connection of HTTP/1.1, or to how it frames messages; not sent over HTTP/2, nor taken from
# there (RFC 9113 section 8.2.2). TE may be, if it says no more than ``trailers``.
_NOT_IN_H2: Final = HOP_BY_HOP - {b"te"} | {b"transfer-encoding"}
_NOT_IN_TRAILERS: Final = _NOT_IN_H2 | {b"te", b"content-length", b"host"}
_NO_BODY_STATUS: Final = frozenset({204, 304})


class H2RequestHead:
    """The head of one request that came over HTTP/2.

    Attributes:
        raw: as it is recorded.
        fields: as it came.
        method: as received.
        target: ``:path``; empty for CONNECT.
        host: ``:authority``, or the Host field where that is missing.
        framing: NO_BODY, LENGTH or CHUNKED: how a server of HTTP/1.1 is to be told where the body ends.
        content_length: bytes of body that follow; -1 when CHUNKED.
    """

    __slots__ = (
        "content_length",
        "fields",
        "framing",
        "host",
        "method",
        "raw",
        "target",
    )

    upgrade: Final = None

    raw: bytes
    fields: Fields
    method: str
    target: str
    host: bytes
    framing: int
    content_length: int

    def __repr__(self) -> str:
        return f"<H2RequestHead {self.method} {self.target!r}>"

    @property
    def expect_continue(self) -> bool:
        """Whether the client waits for 100 (Continue) before it sends the body."""
        return any(name == b"expect" and value.lower() == b"100-continue" for name, value in self.fields)

    @property
    def authenticates_connection(self) -> bool:
        """Whether the server will hold the connection, not this request alone, for its user's (NTLM, Negotiate)."""
        return authenticates_connection(self.raw)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return all fields as (name, value), order and duplicates kept, without the pseudo-header fields."""
        return [field for field in self.fields if field[0][0] != _COLON]

    def forward(self, target: bytes, *, upgrade: bool = False, host: bytes | None = None) -> bytes:  # noqa: ARG002
        """Return the head to send to a server of HTTP/1.1; see ``RequestHead.forward``.

        Cookies that came in several fields become one, as HTTP/1.1 has it (RFC 9113 section 8.2.3).
        """
        lines = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (self.method.encode("ascii"), target, host or self.host)]
        cookies: list[bytes] = []
        for name, value in self.headers():
            if name == b"cookie":
                cookies.append(value)
            elif name == b"te":
                if value == b"trailers":
                    lines.append(b"TE: trailers\r\nConnection: TE\r\n")
            elif name not in _NOT_IN_H2 and name not in (b"host", b"content-length"):
                lines.append(b"%b: %b\r\n" % (name, value))
        if cookies:
            lines.append(b"cookie: %b\r\n" % b"; ".join(cookies))
        if self.framing == CHUNKED:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        elif self.framing == LENGTH or b"\ncontent-length: 0\r" in self.raw or self.method in ("POST", "PUT", "PATCH"):
            lines.append(b"Content-Length: %d\r\n" % self.content_length)
        lines.append(b"\r\n")
        return b"".join(lines)


class H2ResponseHead:
    """The head of one response, interim (1xx) or final, that came over HTTP/2.

    Attributes:
        raw: as it is recorded.
        fields: as it came.
        status: 100 to 999.
        framing: NO_BODY, LENGTH or CHUNKED: how a client of HTTP/1.1 is to be told where the body ends.
        content_length: bytes of body that follow; -1 when CHUNKED.
    """

    __slots__ = ("_announce", "content_length", "fields", "framing", "raw", "status")

    upgrade: Final = None
    reason: Final = b""

    raw: bytes
    fields: Fields
    status: int
    framing: int
    content_length: int
    _announce: bool  # that there is no body has to be said in HTTP/1.1

    def __repr__(self) -> str:
        return f"<H2ResponseHead {self.status}>"

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return all fields as (name, value), order and duplicates kept, without the pseudo-header field."""
        return [field for field in self.fields if field[0][0] != _COLON]

    def forward(self, *, close: bool | None = None, upgrade: bool = False, dechunk: bool = False) -> bytes:  # noqa: ARG002
        """Return the head to send to a client of HTTP/1.1; see ``ResponseHead.forward``."""
        lines = [b"HTTP/1.1 %d %b\r\n" % (self.status, _phrase(self.status))]
        lines += [b"%b: %b\r\n" % field for field in self.headers() if field[0] not in _NOT_IN_H2]
        if self.framing == CHUNKED and not dechunk:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        elif self._announce:
            lines.append(b"Content-Length: 0\r\n")
        if close is not None:
            lines.append(b"Connection: close\r\n" if close else b"Connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)


def h2_request_head(fields: Fields, end: bool) -> H2RequestHead:
    """Make the head of a request from its fields; ``end``: it has no body.

    Raises:
        ProtocolError: RFC 9113 forbids it, or it could be understood otherwise by a server of HTTP/1.1.
    """
    head = H2RequestHead()
    head.fields = fields
    head.raw = raw = field_lines(fields, "request") + b"\r\n"
    leading = [field for field in fields if field[0][0] == _COLON]
    pseudo = dict(leading)
    if len(pseudo) != len(leading) or not pseudo.keys() <= _PSEUDO:
        _refuse("The request has an unknown or a repeated pseudo-header field")
    method = pseudo.get(b":method", b"")
    authority = pseudo.get(b":authority", b"")
    path = pseudo.get(b":path", b"")
    if _METHOD(method) is None:
        _refuse(f"The request's :method is no token: {show(method)}")
    if method == b"CONNECT" and b":protocol" not in pseudo:
        if path or b":scheme" in pseudo or not authority:
            _refuse("The CONNECT request has a :path or a :scheme, or no :authority")
    elif _PATH(path) is None or (path == b"*" and method != b"OPTIONS"):
        _refuse(f"The request's :path is no path: {show(path)}")
    head.method = method.decode("ascii")
    head.target = path.decode("latin-1")
    head.host = _host(raw, authority)
    _set_framing(head, raw, end, "request")
    return head


def h2_response_head(fields: Fields, method: str, end: bool) -> H2ResponseHead:
    """Make the head of a response to a ``method`` request from its fields; ``end``: it has no body.

    Raises:
        ProtocolError: RFC 9113 forbids it, or it could be understood otherwise by a client of HTTP/1.1.
    """
    head = H2ResponseHead()
    head.fields = fields
    head.raw = raw = field_lines(fields, "response") + b"\r\n"
    name, value = fields[0] if fields else (b"", b"")
    if raw.count(b"\n:") or name != b":status" or len(value) != 3 or not value.isdigit() or value < b"100":
        _refuse(f"The response's :status is no status code: {show(value)}", 502)
    head.status = int(value)
    head._announce = False
    bodiless = method == "HEAD" or head.status in _NO_BODY_STATUS or head.status < 200
    if bodiless:
        head.framing, head.content_length = NO_BODY, 0
        return head
    _set_framing(head, raw, end, "response")
    head._announce = head.framing == NO_BODY and b"\ncontent-length: " not in raw
    return head


def field_lines(fields: Fields, where: str = "trailers") -> bytes:
    """Return a field section as it is recorded: a line for each field, without the empty line at the end.

    Raises:
        ProtocolError: a name or a value could not be told from several in such a line.
    """
    raw = b"".join([b"%b: %b\r\n" % field for field in fields])
    # The lines are well-formed, as many as there are fields, and no colon in a name makes a value begin too early.
    names = b"".join([name for name, _ in fields])
    if (
        _BLOCK(raw) is None
        or raw.count(b"\n") != len(fields)
        or (b":" in names and names.count(b":") != sum([name[0] == _COLON for name, _ in fields]))
    ):
        status = 502 if where == "response" else 400
        _refuse(f"The {where} has a field that RFC 9113 section 8.2.1 forbids: {show(_odd_field(fields))}", status)
    if len(raw) > MAX_HEAD:
        _refuse(f"The {where} head is longer than {MAX_HEAD} bytes", 502 if where == "response" else 431)
    return raw


def _odd_field(fields: Fields) -> bytes:
    for name, value in fields:
        line = b"%b: %b\r\n" % (name, value)
        if _BLOCK(line) is None or line.count(b"\n") != 1 or b":" in name[1:]:
            return line[:-2]
    return b"a pseudo-header field behind another field"


def _host(raw: bytes, authority: bytes) -> bytes:
    """Return which host is meant; two that differ are refused (RFC 9113 section 8.3.1)."""
    host = authority
    if b"\nhost: " in raw:
        hosts = _HOST(raw)
        host = authority or hosts[0]
        if any(other.lower() != host.lower() for other in hosts):
            _refuse(f"The request names more than one host: {show(b', '.join([authority, *hosts]))}")
    if HOST_VALUE(host) is None:
        _refuse(f"The request has a malformed :authority or Host: {show(host)}")
    return host


def _set_framing(head: H2RequestHead | H2ResponseHead, raw: bytes, end: bool, where: str) -> None:
    lengths = _LENGTH(raw) if b"\ncontent-length: " in raw else _NONE
    length = parse_length(lengths[0]) if lengths else -1
    if lengths and (length < 0 or len(set(lengths)) > 1):
        _refuse(f"The {where} has a malformed or a repeated content-length", 502 if where == "response" else 400)
    if end:
        if length > 0:
            _refuse(f"The {where} has no body and announces one of {length} bytes", 502 if where == "response" else 400)
        head.framing, head.content_length = NO_BODY, 0
    elif length > 0:
        head.framing, head.content_length = LENGTH, length
    elif length == 0:
        head.framing, head.content_length = NO_BODY, 0
    else:
        head.framing, head.content_length = CHUNKED, -1


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


# -- from HTTP/1.1 ---------------------------------------------------------------------------------------------------


def h2_request_fields(head: RequestHead | H2RequestHead, scheme: str, target: bytes, authority: bytes | None) -> Fields:
    """Return the fields of a request for a server of HTTP/2.

    Args:
        head: as it came.
        scheme: ``https`` or ``http``.
        target: the request-target to send.
        authority: the server's name where it is not to be the client's, or None.
    """
    if isinstance(head, H2RequestHead):
        if authority is None and target == head.target.encode("latin-1"):
            return head.fields
        return [_replaced(name, value, target, authority) for name, value in head.fields]
    lines = split_fields(head.forward(target, host=authority).partition(b"\r\n")[2])
    fields = [
        (b":method", head.method.encode("ascii")),
        (b":scheme", scheme.encode("ascii")),
        (b":authority", authority or head.host or b""),
        (b":path", target),
    ]
    return fields + _plain(lines, _NOT_IN_H2 | {b"host"})


def _replaced(name: bytes, value: bytes, target: bytes, authority: bytes | None) -> tuple[bytes, bytes]:
    if name == b":path":
        return name, target
    if name in (b":authority", b"host") and authority is not None:
        return name, authority
    return name, value


def h2_response_fields(head: ResponseHead | H2ResponseHead) -> Fields:
    """Return the fields of a response for a client of HTTP/2."""
    if isinstance(head, H2ResponseHead):
        return head.fields
    lines = split_fields(head.forward().partition(b"\r\n")[2])
    return [(b":status", b"%d" % head.status), *_plain(lines, _NOT_IN_H2 | {b"te"})]


def h2_trailer_fields(trailers: bytes) -> Fields:
    """Return the fields of a trailer section; those that belong to a connection or frame a message are left out."""
    return _plain(split_fields(trailers), _NOT_IN_TRAILERS)


def _plain(lines: list[tuple[bytes, bytes]], drop: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    return [(lower, value) for name, value in lines if (lower := name.lower()) not in drop]


def _refuse(message: str, status: int = 400) -> NoReturn:
    raise ProtocolError(
        message, hint="Nothing was sent on: another reader could understand it otherwise.", status=status
    )
