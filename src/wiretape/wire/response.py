"""Response heads: parse, and rewrite for the client."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NoReturn

from wiretape.errors import ProtocolError
from wiretape.wire.fields import (
    CACHED_BLOCKS,
    CONNECTION,
    CONTENT_LENGTH,
    HOP_BY_HOP,
    MAX_CACHED,
    TRANSFER_ENCODING,
    UPGRADE,
    edit_fields,
    find_fields,
    read_connection,
    respell,
    scan_fields,
)
from wiretape.wire.grammar import (
    CHUNKED,
    END_OF_HEAD,
    LENGTH,
    MAX_HEAD,
    NO_BODY,
    UNTIL_CLOSE,
    check_size,
    check_unfinished,
    explain_fields,
    options,
    parse_length,
    show,
    split_fields,
)
from wiretape.wire.repair import SPACED, repair_head, without_spaces_before_colons

# RFC 9112 section 4; the space before an absent reason phrase is forgotten by enough servers to be optional here.
_START_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n").match

_CLOSE: Final = b"Connection: close\r\n"
_KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"
_CLOSE_END: Final = _CLOSE + b"\r\n"
_KEEP_ALIVE_END: Final = _KEEP_ALIVE + b"\r\n"
_FRAMING_FIELDS: Final = frozenset({b"transfer-encoding", b"content-length"})


class _ResponseFields:
    """What a header block says about its response; shared by all responses that have the same block."""

    __slots__ = ("coding", "end_to_end", "keep_alive", "length", "listed", "respelled", "upgrade")

    coding: bytes | None
    end_to_end: bytes  # the block without hop-by-hop fields
    keep_alive: bool
    length: int  # what Content-Length says, or -1
    listed: frozenset[bytes]  # further fields to remove
    respelled: dict[bytes, bytes]  # what stands for the fields that frame the message, where they are spelled oddly
    upgrade: bytes | None


class ResponseHead:
    """The head of one response, interim (1xx) or final.

    Attributes:
        raw: the exact bytes from the status line to the final empty line.
        consumed: how many bytes of the buffer it took.
        minor: 0 for HTTP/1.0, 1 for HTTP/1.1.
        status: 100 to 999.
        reason: the reason phrase as received, maybe empty.
        framing: NO_BODY, LENGTH, CHUNKED or UNTIL_CLOSE.
        content_length: bytes of body that follow; -1 when CHUNKED or UNTIL_CLOSE.
        keep_alive: the server leaves the connection open after this response, and where it ends is beyond doubt.
        upgrade: the value of Upgrade when Connection lists it, or None.
        faults: what was wrong with it, one phrase each; what forward() gives and what follows from it has been mended.
        strict: its body, too, is read strictly.
    """

    __slots__ = (
        "_block_at",
        "_clean",
        "_drop",
        "_fields",
        "consumed",
        "content_length",
        "faults",
        "framing",
        "keep_alive",
        "minor",
        "raw",
        "reason",
        "status",
        "strict",
        "upgrade",
    )

    raw: bytes
    consumed: int
    minor: int
    status: int
    reason: bytes
    framing: int
    content_length: int
    keep_alive: bool
    upgrade: bytes | None
    faults: tuple[str, ...]
    strict: bool
    _clean: bytes  # raw, or what stands for it where it was mended
    _block_at: int
    _drop: frozenset[bytes] | None
    _fields: _ResponseFields

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} {self.reason!r} HTTP/1.{self.minor}>"

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return all fields as (name, value): order, case and duplicates kept, no whitespace around the values."""
        return split_fields(self._clean[self._block_at :])

    def forward(self, *, close: bool | None = None, upgrade: bool = False, dechunk: bool = False) -> bytes:
        """Return the head to send to the client, hop-by-hop fields removed, everything else byte for byte.

        Args:
            close: True adds ``Connection: close``, False ``Connection: keep-alive`` (which an HTTP/1.0 client that
                asked for it waits for), None adds nothing.
            upgrade: pass the server's Upgrade on (101 and 426), if it sent one; ``close`` is then without effect.
            dechunk: leave Transfer-Encoding and Trailer out, for an HTTP/1.0 client; the body has to be sent without
                chunks and its end shown by closing.

        Returns:
            The head, HTTP/1.1.
        """
        fields = self._fields
        if self._drop is not None or dechunk or (upgrade and fields.upgrade is not None):
            return self._edit(close, upgrade and fields.upgrade is not None, dechunk)
        start = self._clean[8 : self._block_at]
        if close is None:
            return b"HTTP/1.1%b%b" % (start, fields.end_to_end)
        return b"HTTP/1.1%b%b%b" % (start, fields.end_to_end[:-2], _CLOSE_END if close else _KEEP_ALIVE_END)

    def _edit(self, close: bool | None, upgrade: bool, dechunk: bool) -> bytes:
        """Do what forward() does, for any head."""
        drop = HOP_BY_HOP | (self._drop or frozenset())
        if dechunk:
            drop |= {b"transfer-encoding", b"trailer"}
        replace = {name: line for name, line in self._fields.respelled.items() if name not in drop}
        last = b"" if close is None else _CLOSE if close else _KEEP_ALIVE
        if upgrade:
            drop -= {b"upgrade"}
            replace[b"connection"] = b"Connection: Upgrade\r\n"
            last = b""
        lines, _ = edit_fields(self._clean[self._block_at : -2], drop, replace)
        return b"HTTP/1.1%b%b%b\r\n" % (self._clean[8 : self._block_at], b"".join(lines), last)


def parse_response_head(buf: bytes, request_method: str, *, strict: bool = False) -> ResponseHead | None:
    """Parse the response head at the beginning of ``buf``.

    Args:
        buf: all bytes of the connection not consumed yet; what follows the head is not looked at.
        request_method: the method of the request that it answers, which decides whether there is a body.
        strict: refuse what RFC 9112 forbids; else what clients live with is mended and passed on (see repair.py).

    Returns:
        The head, or None when its end has not arrived.

    Raises:
        ProtocolError: the head is malformed, too long, or ambiguous about the length of its body; ``status`` is 502.
    """
    match = _START_LINE(buf)
    if match is not None:
        at = match.end()
        # From the LF of the status line: the block's first empty line may follow it at once.
        end = buf.find(END_OF_HEAD, at - 2) + 4
        if 4 <= end <= MAX_HEAD:
            minor, status, reason = match.groups(b"")
            block = minor + buf[at - 2 : end]
            fields = _read_cached(block) if len(block) <= MAX_CACHED else _read_fields(block)
            if fields is not None:
                raw = buf if end == len(buf) else buf[:end]
                return _make(raw, raw, at, minor, status, reason, fields, request_method, (), strict)
    return _parse_spaced(buf, request_method, strict) or (_check if strict else _parse_leniently)(buf, request_method)


def _make(
    raw: bytes,
    clean: bytes,
    block_at: int,
    minor: bytes,
    status: bytes,
    reason: bytes,
    fields: _ResponseFields,
    request_method: str,
    faults: tuple[str, ...],
    strict: bool,
) -> ResponseHead:
    head = ResponseHead()
    head.raw = raw
    head.consumed = len(raw)
    head.minor = 1 if minor == b"1" else 0
    head.status = int(status)
    head.reason = reason
    head.faults = faults
    head.strict = strict
    head._clean = clean
    head._block_at = block_at
    head._fields = fields
    head.upgrade = fields.upgrade
    head.keep_alive = fields.keep_alive
    head._drop = fields.listed if fields.listed or fields.respelled else None
    _set_framing(head, request_method)
    return head


def _parse_spaced(buf: bytes, request_method: str, strict: bool) -> ResponseHead | None:
    """Parse a head that has whitespace before colons, which a proxy must remove, and is well-formed otherwise.

    Returns:
        The head, or None when it is not that.
    """
    match = _START_LINE(buf)
    if match is None:
        return None
    at = match.end()
    end = buf.find(END_OF_HEAD, at - 2) + 4
    if not 4 <= end <= MAX_HEAD:
        return None
    minor, status, reason = match.groups(b"")
    block = without_spaces_before_colons(buf[at - 2 : end])
    fields = _read_fields(minor + block)
    if fields is None:
        return None
    clean = buf[: at - 2] + block
    return _make(buf[:end], clean, at, minor, status, reason, fields, request_method, (SPACED,), strict)


def _check(buf: bytes, _request_method: str) -> None:
    """Raise ProtocolError for a head that is not well-formed, unless it is an unfinished one."""
    match = _START_LINE(buf)
    if match is None:
        _check_start(buf)
        return
    at = match.end()
    end = buf.find(END_OF_HEAD, at - 2)
    if end < 0:
        check_unfinished(buf, "response", 502)
        return
    check_size(end + 4, "response", 502)
    explain_fields(without_spaces_before_colons(buf[at:end]), "response", 502)


def _parse_leniently(buf: bytes, request_method: str) -> ResponseHead | None:
    """Parse a head that is not well-formed: mend it, unless it is unfinished or its meaning is in doubt."""
    mended = repair_head(buf)
    if mended is None:
        return None
    reason = mended.reason or b""
    start = b"HTTP/1.%b %b%b\r\n" % (
        mended.minor,
        mended.status,
        b"" if mended.reason is None else b" " + mended.reason,
    )
    fields = _fields_of(find_fields(mended.minor + b"\r\n" + mended.fields + b"\r\n"), int(mended.minor))
    head = _make(
        buf[: mended.consumed],
        start + mended.fields + b"\r\n",
        len(start),
        mended.minor,
        mended.status,
        reason,
        fields,
        request_method,
        mended.faults,
        False,
    )
    head.keep_alive = False  # who cannot write a head is not trusted with where the next one begins
    return head


def response_faults(raw: bytes) -> tuple[str, ...]:
    """Return what is wrong with a response head that was recorded, one phrase each; nothing of a well-formed one.

    What is wrong with a head of HTTP/2 is refused, so what was recorded of one is in order.
    """
    if raw[:1] == b":":
        return ()
    try:
        head = parse_response_head(raw, "GET")
    except ProtocolError as error:
        return (error.message,)
    return ("it has no end",) if head is None else head.faults


def _read_fields(block: bytes) -> _ResponseFields | None:
    """Read a header block (see scan_fields); None when it is malformed, ProtocolError when it is ambiguous."""
    scanned = scan_fields(block)
    return None if scanned is None else _fields_of(scanned, block[0] - 48)


def _fields_of(scanned: tuple[dict[int, bytes], bytes, bool], minor: int) -> _ResponseFields:
    """Return what the fields that scan_fields found mean; raise ProtocolError when that is ambiguous."""
    seen, end_to_end, odd = scanned
    fields = _ResponseFields()
    fields.end_to_end = end_to_end
    fields.keep_alive, upgrades, fields.listed = read_connection(seen.get(CONNECTION), minor)
    fields.upgrade = seen.get(UPGRADE) if upgrades else None
    fields.coding = seen.get(TRANSFER_ENCODING)
    length = seen.get(CONTENT_LENGTH)
    fields.length = -1 if length is None else _read_length(length)
    fields.respelled = respell(odd, length, fields.length, fields.coding)
    return fields


_read_cached: Final = lru_cache(CACHED_BLOCKS)(_read_fields)


def _read_length(value: bytes) -> int:
    """Return the announced length. Identical repeated values are one (RFC 9112 section 6.3), and sent on as one."""
    size = parse_length(value)
    if size >= 0:
        return size
    sizes = {parse_length(item.strip(b" \t")) for item in value.split(b",")}
    if len(sizes) != 1 or -1 in sizes:
        _refuse(f"The response has a malformed Content-Length, or several that differ: {show(value)}")
    return sizes.pop()


def _set_framing(head: ResponseHead, request_method: str) -> None:
    """Set how long the body is, in the order of RFC 9112 section 6.3."""
    status = head.status
    fields = head._fields
    if fields.coding is not None and fields.length >= 0:
        # Transfer-Encoding wins; the length must not be sent on, nor the connection be used again (section 6.3).
        head.keep_alive = False
        head._drop = fields.listed | {b"content-length"}
    if request_method == "HEAD" or status == 304:
        head.framing, head.content_length = NO_BODY, 0
    elif status < 200 or status == 204 or (request_method == "CONNECT" and status < 300):
        head.framing, head.content_length = NO_BODY, 0
        # What such a response must not have; a client that heeds it would wait for a body (sections 6.1 and 6.2).
        if fields.length > 0 or fields.coding is not None:
            head._drop = fields.listed | _FRAMING_FIELDS
    elif fields.coding is not None:
        _set_coded(head, fields.coding)
    elif fields.length >= 0:
        head.framing, head.content_length = (LENGTH if fields.length else NO_BODY), fields.length
    else:
        head.framing, head.content_length, head.keep_alive = UNTIL_CLOSE, -1, False


def _set_coded(head: ResponseHead, coding: bytes) -> None:
    """Set the framing of a response with Transfer-Encoding; codings other than chunked are passed on as they are."""
    if not head.minor:
        _refuse("The HTTP/1.0 response has a Transfer-Encoding")
    codings = options(coding)
    if not codings or b"chunked" in codings[:-1]:
        _refuse(f"The response has a malformed Transfer-Encoding: {show(coding)}")
    head.content_length = -1
    if codings[-1] == b"chunked":
        head.framing = CHUNKED
    else:
        head.framing, head.keep_alive = UNTIL_CLOSE, False


def _check_start(buf: bytes) -> None:
    """Raise ProtocolError for what does not begin with a status line, unless it is an unfinished one.

    A server that speaks another protocol may never send an empty line, so its first bytes decide.
    """
    if not b"HTTP/1.".startswith(buf[:7]):
        _refuse(f"The server does not answer in HTTP/1: {show(buf, 20)}")
    end = buf.find(b"\r\n")
    if end >= 0:
        _refuse(f"The status line is malformed: {show(buf[:end])}")
    check_unfinished(buf, "response", 502)


def _refuse(message: str) -> NoReturn:
    raise ProtocolError(message, hint="The server's answer cannot be passed on safely.", status=502)
