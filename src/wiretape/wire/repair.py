"""Responses that break the grammar in ways that clients live with, made well-formed.

A debugging proxy is there to show such responses, not to hide them, so by default a response is passed on if its
meaning is beyond doubt. It is never passed on as it came: what is sent has CRLF after every line, one space between the
parts of its status line, no folded line, no whitespace before a colon, and no NUL or bare CR, so that no reader behind
us can see the end of a line, or of the message, where we saw none. What could make a difference to that is refused: a
line without a colon, an oddly spelled name of a field that frames the message, a control character in its value.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, NoReturn

from wiretape.errors import ProtocolError
from wiretape.wire.grammar import FIELD_LINES, TOKEN, check_size, show

_EMPTY_LINE: Final = re.compile(rb"\n\r?\n")
# RFC 9112 section 4 lets a recipient split the line at any whitespace. A server that writes another version here (2, or
# lower case) speaks HTTP/1 all the same: it has answered an HTTP/1 request in text.
_STATUS_LINE: Final = re.compile(
    rb"[Hh][Tt][Tt][Pp]/([1-9])(?:\.([0-9]))?[\t ]+([1-9][0-9][0-9])(?:[\t ]([^\n]*))?"
).fullmatch
_STATUS_LINE_FORM: Final = re.compile(rb"HTTP/1\.[01] [1-9][0-9][0-9](?: [\t\x20-\x7e\x80-\xff]*+)?").fullmatch
_NAME: Final = re.compile(TOKEN).fullmatch
_FIELDS: Final = re.compile(FIELD_LINES).fullmatch
_SPACED_NAME: Final = re.compile(rb"(?m)^(" + TOKEN + rb")[ \t]++:")
_LINE_BREAKING: Final = re.compile(rb"[\x00\r]")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NO_LETTER: Final = re.compile(rb"[^a-z]+")
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_LOOKS_LIKE_FRAMING: Final = frozenset({b"contentlength", b"transferencoding"})

SPACED: Final = "a header name has a space before its colon"
"""The one fault that a proxy has to mend, whatever it thinks of the rest (RFC 9112 section 5.1)."""


class Repaired(NamedTuple):
    """A head that was made well-formed.

    ``consumed`` bytes were read for it; ``minor`` is the digit of its version; ``fields`` are its field lines, each
    with its CRLF; ``faults`` say what was wrong, one phrase each.
    """

    consumed: int
    minor: bytes
    status: bytes
    reason: bytes | None
    fields: bytes
    faults: tuple[str, ...]


def without_spaces_before_colons(block: bytes) -> bytes:
    """Return a header block with the whitespace between names and colons removed."""
    return _SPACED_NAME.sub(rb"\1:", block)


def repair_head(buf: bytes) -> Repaired | None:
    """Read the response head at the beginning of ``buf``, as clients do that take what they get.

    Returns:
        The head, or None when its end has not arrived.

    Raises:
        ProtocolError: it is no response, too long, or its meaning is in doubt; ``status`` is 502.
    """
    end = buf.find(b"\n")
    if end < 0:
        if not b"http/".startswith(buf[:5].lower()):
            _refuse(0, "The server does not answer in HTTP/1", buf[:20])
        check_size(len(buf) + 1, "response", 502)
        return None
    line = _without_cr(buf[:end])
    parts = _STATUS_LINE(line)
    if parts is None:
        is_http = line[:5].lower() == b"http/"
        _refuse(0, "The status line is malformed" if is_http else "The server does not answer in HTTP/1", line[:60])
    empty = _EMPTY_LINE.search(buf, end)
    if empty is None:
        check_size(len(buf) + 1, "response", 502)
        return None
    check_size(empty.end(), "response", 502)
    faults: dict[str, None] = {}  # in the order in which they are found
    if _STATUS_LINE_FORM(line) is None:
        faults["the status line is not in the form of RFC 9112 section 4"] = None
    if buf.count(b"\n", 0, empty.end()) != buf.count(b"\r\n", 0, empty.end()):
        faults["lines end with LF alone"] = None
    fields = _repair_lines(buf[end + 1 : empty.start() + 1], 2, faults)
    minor = b"0" if parts[1] == b"1" and parts[2] == b"0" else b"1"
    reason = None if parts[4] is None else _CONTROL.sub(b" ", parts[4])
    return Repaired(empty.end(), minor, parts[3], reason, fields, tuple(faults))


def repair_trailers(section: bytes) -> bytes:
    """Return the lines of a trailer section, well-formed, each with its CRLF.

    Raises:
        ProtocolError: the meaning of one is in doubt; ``status`` is 502.
    """
    return section if _FIELDS(section) else _repair_lines(section, 1, {})


def _repair_lines(section: bytes, first: int, faults: dict[str, None]) -> bytes:
    """Return field lines made well-formed; add to ``faults`` what was wrong with them."""
    fields: list[tuple[int, list[bytes]]] = []
    for number, raw in enumerate(section.split(b"\n")[:-1], first):
        line = _without_cr(raw)
        if line[:1] not in (b" ", b"\t"):
            fields.append((number, [line]))
            continue
        if not fields:
            _refuse(number, "is folded, and there is none before it", line)
        # RFC 9112 section 5.2: a proxy may replace the fold by spaces.
        fields[-1][1].append(line.strip(b" \t"))
        faults["a line is folded"] = None
    return b"".join(_repair_line(number, b" ".join(parts), faults) for number, parts in fields)


def _repair_line(number: int, line: bytes, faults: dict[str, None]) -> bytes:
    name, colon, value = line.partition(b":")
    if not colon:
        _refuse(number, "has no colon", line)
    bare = name.rstrip(b" \t")
    if bare != name:
        faults[SPACED] = None
    if _NAME(bare) is None:
        if _LINE_BREAKING.search(bare) or _NO_LETTER.sub(b"", bare.lower()) in _LOOKS_LIKE_FRAMING:
            _refuse(number, "has a header name that is no token", line)
        faults["a header name is no token"] = None
    if _CONTROL.search(value):
        if bare.lower() in _FRAMING:
            _refuse(number, "has a control character in its value", line)
        faults["a header value has a control character"] = None
        # RFC 9110 section 5.5: these are replaced; others may be kept.
        value = _LINE_BREAKING.sub(b" ", value)
    return bare + b":" + value + b"\r\n"


def _without_cr(line: bytes) -> bytes:
    return line[:-1] if line[-1:] == b"\r" else line


def _refuse(number: int, what: str, line: bytes) -> NoReturn:
    message = f"Line {number} of the response head {what}: {show(line)}" if number else f"{what}: {show(line)}"
    raise ProtocolError(message, hint="The server's answer cannot be passed on safely.", status=502)
