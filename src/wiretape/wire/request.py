"""Request heads: parse, and rewrite for the next server. The hot path, with measurements in fields.py."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NoReturn

from wiretape.errors import ProtocolError
from wiretape.wire.connection_auth import authenticates_connection
from wiretape.wire.fields import (
    CACHED_BLOCKS,
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOP_BY_HOP,
    HOST,
    MAX_CACHED,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    edit_fields,
    read_connection,
    respell,
    scan_fields,
)
from wiretape.wire.grammar import (
    CHUNKED,
    END_OF_HEAD,
    HOST_VALUE,
    LENGTH,
    MAX_HEAD,
    NO_BODY,
    TOKEN,
    check_size,
    check_unfinished,
    explain_fields,
    options,
    parse_length,
    show,
    split_fields,
)

# RFC 9112 section 3. Targets are visible ASCII; obs-text is let through because clients send raw UTF-8 paths. The match
# ends before the last digit of the version, where the block begins that decides everything else.
_START_LINE: Final = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e\x80-\xff]++) HTTP/1\.(?=[01]\r\n)").match
_OTHER_VERSION: Final = re.compile(TOKEN + rb" [\x21-\x7e\x80-\xff]++ HTTP/[0-9]+(?:\.[0-9]+)?").fullmatch


class _RequestFields:
    """What a header block says about its request; shared by all requests that have the same block."""

    __slots__ = (
        "authenticates_connection",
        "content_length",
        "end_to_end",
        "expect_continue",
        "framing",
        "host",
        "keep_alive",
        "listed",
        "minor",
        "plain",
        "respelled",
        "te",
        "upgrade",
    )

    authenticates_connection: bool
    content_length: int
    end_to_end: bytes  # the block without hop-by-hop fields
    expect_continue: bool
    framing: int
    host: bytes | None
    keep_alive: bool
    listed: frozenset[bytes]  # further fields to remove
    minor: int
    plain: bool  # nothing has to be done to end_to_end before it is sent on
    respelled: dict[bytes, bytes]  # what stands for the fields that frame the message, where they are spelled oddly
    te: bytes | None
    upgrade: bytes | None


class RequestHead:
    """The head of one request.

    Attributes:
        raw: the exact bytes from the method to the final empty line.
        consumed: how many bytes of the buffer it took, empty lines before the request line included.
        method: as received (methods are case-sensitive).
        target: the request-target as received; bytes above 0x7F as latin-1.
        minor: 0 for HTTP/1.0, 1 for HTTP/1.1.
        framing: NO_BODY, LENGTH or CHUNKED; never UNTIL_CLOSE.
        content_length: bytes of body that follow; -1 when CHUNKED.
        keep_alive: the client wants the connection to stay open.
        expect_continue: the client waits for 100 (Continue) before it sends the body.
        upgrade: the value of Upgrade when Connection lists it and the request has no body, or None. ``h2c`` alone is
            None: it is obsolete (RFC 9113 section 3.1).
        host: the value of Host, or None.
        authenticates_connection: the server will hold the connection, not this request alone, for its user's (NTLM,
            Negotiate).
    """

    __slots__ = (
        "_block_at",
        "_fields",
        "_target_at",
        "authenticates_connection",
        "consumed",
        "content_length",
        "expect_continue",
        "framing",
        "host",
        "keep_alive",
        "method",
        "minor",
        "raw",
        "target",
        "upgrade",
    )

    raw: bytes
    consumed: int
    method: str
    target: str
    minor: int
    framing: int
    content_length: int
    keep_alive: bool
    expect_continue: bool
    upgrade: bytes | None
    host: bytes | None
    authenticates_connection: bool
    _target_at: int
    _block_at: int
    _fields: _RequestFields

    def __repr__(self) -> str:
        return f"<RequestHead {self.method} {self.target!r} HTTP/1.{self.minor}>"

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return all fields as (name, value): order, case and duplicates kept, no whitespace around the values."""
        return split_fields(self.raw[self._block_at + 3 :])

    def without(self, name: bytes) -> RequestHead:
        """Return this head without the fields of a name, in lower case; everything else byte for byte."""
        at = self._block_at + 3
        lines, _ = edit_fields(self.raw[at:-2], frozenset({name}), {})
        head = parse_request_head(b"%b%b\r\n" % (self.raw[:at], b"".join(lines)))
        assert head is not None
        return head

    def forward(self, target: bytes, *, upgrade: bool = False, host: bytes | None = None) -> bytes:
        """Return the head to send to the next server, hop-by-hop fields removed, everything else byte for byte.

        Args:
            target: the request-target to send; the caller vouches for it (split_target gives a safe one).
            upgrade: pass the client's Upgrade on, if it sent one.
            host: what Host has to say; the client's own line stays if it says this already. None leaves it alone.

        Returns:
            The head, HTTP/1.1. Transfer-Encoding is kept: the body has to be sent chunked again.
        """
        fields = self._fields
        if fields.plain and (host is None or host == fields.host) and not (upgrade and fields.upgrade is not None):
            return b"%b%b HTTP/1.1\r\n%b" % (self.raw[: self._target_at], target, fields.end_to_end)
        lines = self._edit(upgrade and fields.upgrade is not None, None if host == fields.host else host)
        return b"%b%b HTTP/1.1\r\n%b\r\n" % (self.raw[: self._target_at], target, b"".join(lines))

    def _edit(self, upgrade: bool, host: bytes | None) -> list[bytes]:
        """Return the field lines to send, for any head; ``host`` is None when Host stays as it is."""
        fields = self._fields
        drop = HOP_BY_HOP | fields.listed
        replace = dict(fields.respelled)
        kept_options: list[bytes] = []
        if upgrade:
            kept_options.append(b"Upgrade")
            drop -= {b"upgrade"}
        # Trailers are passed on, so a client that takes them may say so (RFC 9110 section 10.1.4); no other transfer
        # coding than chunked is understood here, so none may be asked for.
        if fields.te is not None and b"trailers" in options(fields.te):
            kept_options.append(b"TE")
            replace[b"te"] = b"TE: trailers\r\n"
        if kept_options:
            replace[b"connection"] = b"Connection: " + b", ".join(kept_options) + b"\r\n"
        if host is not None:
            replace[b"host"] = b"Host: " + host + b"\r\n"
        lines, found = edit_fields(self.raw[self._block_at + 3 : -2], drop, replace)
        if host is not None and b"host" not in found:
            lines.insert(0, replace[b"host"])
        return lines


def parse_request_head(buf: bytes) -> RequestHead | None:
    """Parse the request head at the beginning of ``buf``.

    Args:
        buf: all bytes of the connection not consumed yet; what follows the head is not looked at.

    Returns:
        The head, or None when its end has not arrived.

    Raises:
        ProtocolError: the head is malformed, too long, or ambiguous about the length of its body. ``status`` is what
            the client should be told; the connection cannot be used any further.
    """
    match = _START_LINE(buf)
    if match is None:
        return _parse_otherwise(buf)
    at = match.end()
    size = len(buf)
    fields = None
    # Mostly the buffer is one head and no more; then its end need not be searched. A block with another empty line
    # in it is not well-formed, so the guess cannot go wrong.
    if buf[-4:] == END_OF_HEAD and size - at <= MAX_CACHED and size <= MAX_HEAD:
        fields = _read_cached(buf[at:])
    if fields is None:
        end = buf.find(END_OF_HEAD, at)
        if end < 0:
            check_unfinished(buf, "request", 400)
            return None
        size = end + 4
        fields = _read_block(buf[at:size], size)
    head = RequestHead()
    head.raw = buf if size == len(buf) else buf[:size]
    head.consumed = size
    method, target = match.group(1, 2)
    head.method = method.decode("ascii")
    head.target = target.decode("latin-1")
    head.minor = fields.minor
    head.framing = fields.framing
    head.content_length = fields.content_length
    head.keep_alive = fields.keep_alive
    head.expect_continue = fields.expect_continue
    head.upgrade = fields.upgrade
    head.host = fields.host
    head.authenticates_connection = fields.authenticates_connection
    head._target_at = len(method) + 1
    head._block_at = at
    head._fields = fields
    if method == b"CONNECT":
        _check_connect(head)
    elif fields.host is None and fields.minor:
        _refuse("The HTTP/1.1 request has no Host header")
    return head


def _read_block(block: bytes, size: int) -> _RequestFields:
    """Read the header block of a head of ``size`` bytes; raise ProtocolError when it is malformed."""
    check_size(size, "request", 400)
    fields = _read_cached(block) if len(block) <= MAX_CACHED else _read_fields(block)
    if fields is None:
        explain_fields(block[3 : -len(END_OF_HEAD)], "request", 400)
    return fields


def _read_fields(block: bytes) -> _RequestFields | None:
    """Read a header block (see scan_fields); None when it is malformed, ProtocolError when it is ambiguous."""
    scanned = scan_fields(block)
    if scanned is None:
        return None
    seen, end_to_end, odd = scanned
    fields = _RequestFields()
    fields.minor = block[0] - 48
    fields.end_to_end = end_to_end
    fields.host = host = seen.get(HOST)
    if host is not None and HOST_VALUE(host) is None:
        _refuse(f"The request has a malformed or a repeated Host header: {show(host)}")
    expect = seen.get(EXPECT)
    fields.expect_continue = expect is not None and fields.minor == 1 and b"100-continue" in options(expect)
    fields.te = seen.get(TE)
    fields.keep_alive, upgrades, fields.listed = read_connection(seen.get(CONNECTION), fields.minor)
    length, coding = seen.get(CONTENT_LENGTH), seen.get(TRANSFER_ENCODING)
    _set_framing(fields, length, coding)
    fields.respelled = respell(odd, length, fields.content_length, coding)
    fields.upgrade = _read_upgrade(fields, seen.get(UPGRADE)) if upgrades else None
    fields.authenticates_connection = authenticates_connection(block)
    fields.plain = not fields.respelled and not fields.listed and fields.te is None
    return fields


_read_cached: Final = lru_cache(CACHED_BLOCKS)(_read_fields)


def _read_upgrade(fields: _RequestFields, value: bytes | None) -> bytes | None:
    """Return the upgrade that may be passed on, which a server is always free to ignore (RFC 9110 section 7.8)."""
    # Of a request with a body some servers take the body for the first bytes of the new protocol.
    if value is None or not fields.minor or fields.framing != NO_BODY:
        return None
    return None if value.lower() == b"h2c" else value


def _set_framing(fields: _RequestFields, length: bytes | None, coding: bytes | None) -> None:
    """Set how long the body is; refuse whatever two readers could see differently (RFC 9112 sections 6.1 to 6.3)."""
    if coding is None:
        size = 0 if length is None else parse_length(length)
        if size < 0:
            _refuse(f"The request has a malformed or a repeated Content-Length: {show(length or b'')}")
        fields.content_length = size
        fields.framing = LENGTH if size else NO_BODY
        return
    if length is not None:
        _refuse("The request has both Transfer-Encoding and Content-Length")
    if not fields.minor:
        _refuse("The HTTP/1.0 request has a Transfer-Encoding")
    codings = [c.strip(b" \t") for c in coding.lower().split(b",")]
    if codings != [b"chunked"]:
        good = codings[-1] == b"chunked" and codings.count(b"chunked") == 1 and b"" not in codings
        _refuse(f"The request has a Transfer-Encoding other than chunked: {show(coding)}", 501 if good else 400)
    fields.framing = CHUNKED
    fields.content_length = -1


def _check_connect(head: RequestHead) -> None:
    """Refuse a CONNECT with a body: what follows it would be read as the tunnel's first bytes by someone else.

    A missing Host is let pass, as old clients send none: the target says it all, and the head goes nowhere.
    """
    if head.framing != NO_BODY:
        _refuse("The CONNECT request announces a body")


def _parse_otherwise(buf: bytes) -> RequestHead | None:
    """Parse what does not begin with a whole request line: unfinished, malformed, or empty lines before it."""
    if buf[:2] == b"\r\n":
        # RFC 9112 section 2.2: empty lines before a request line are ignored.
        rest = buf.lstrip(b"\r\n")
        skipped = len(buf) - len(rest)
        check_size(skipped, "request", 400)
        if (b"\r\n" * (skipped // 2 + 1))[:skipped] != buf[:skipped] or (rest and skipped % 2):
            _refuse("There is a bare CR or LF before the request line")
        head = parse_request_head(rest)
        if head is not None:
            head.consumed += skipped
        return head
    end = buf.find(b"\r\n")
    if end >= 0:
        check_size(end, "request", 400)
        _refuse_line(buf[:end])
    check_unfinished(buf, "request", 400)
    return None


def _refuse_line(line: bytes) -> NoReturn:
    if _OTHER_VERSION(line):
        _refuse(f"The request line asks for a version of HTTP that is not spoken here: {show(line[-20:])}", 505)
    _refuse(f"The request line is malformed: {show(line)}")


def _refuse(message: str, status: int = 400) -> NoReturn:
    raise ProtocolError(
        message, hint="Nothing was sent on: another reader could understand it otherwise.", status=status
    )
