"""Finding known secrets in a text in whatever encoding they stand there.

The text is decoded, not the secrets encoded: the work does not grow with their number, and mixtures are found, too.
Ten encodings: plain; percent, of upper and of lower case, with ``+`` for a space; escapes of JSON (also in JSON in
JSON); entities of HTML, named, decimal and hexadecimal; hexadecimal digits of upper and of lower case; base64 and
base64url, at any of their alignments, with or without padding; each also within another.
"""

from __future__ import annotations

import binascii
import html
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

_DEPTH: Final = 3
"""Encodings within each other that are taken off."""
_LEAST: Final = 6
"""Bytes of a secret at least."""
_REACH: Final = 8 * 1024
"""Bytes on either side of an escape within which a secret with that escape in it is found: more than a key has."""
_PERCENT: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_FORM: Final = re.compile(rb"%[0-9A-Fa-f]{2}|\+")
_JSON: Final = re.compile(
    rb"\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\[\"'\\/bfnrt]"
)
_HTML: Final = re.compile(rb"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,8});")
_SPACED_HEX: Final = re.compile(rb"[0-9A-Fa-f]{2}(?:[ :][0-9A-Fa-f]{2}){5,}")
_LONG_HEX: Final = re.compile(rb"[0-9A-Fa-f]{12}")
_LONG_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{10}")
_BASE64_LINES: Final = re.compile(rb"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{60,}+(?:(?:\r?\n|\\r\\n|\\n)[A-Za-z0-9+/]++)+")
"""Possessive, from where letters begin: a picture of 100 KB in one line took minutes otherwise."""
_LINE_END: Final = re.compile(rb"\r?\n|\\r\\n|\\n")
_TEXT: Final = re.compile(rb"[\t\r\n\x20-\x7e]{12,}")
"""What random bytes hardly ever have: only there can decoded base64 have a text with another encoding in it."""
_SIMPLE: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_AS_BASE64: Final = bytes(
    byte if byte in _ALPHABET else {45: 43, 95: 47}.get(byte, 65)  # "-" is "+", "_" is "/", the rest is "A"
    for byte in range(256)
)
_AS_HEX: Final = bytes(byte if byte in b"0123456789abcdefABCDEF" else 48 for byte in range(256))
_WITHIN: Final[dict[str, frozenset[str]]] = {
    "": frozenset({"percent", "form", "json", "html", "hex", "base64"}),
    "percent": frozenset({"percent", "json", "hex", "base64"}),
    "form": frozenset({"json"}),
    "json": frozenset({"percent", "form", "json", "html", "hex", "base64"}),
    "html": frozenset({"percent", "json", "base64"}),
    "hex": frozenset({"percent", "json"}),
    "base64": frozenset({"percent", "form", "json", "html", "base64"}),
}
"""Which encodings are looked for within which."""


class Span(NamedTuple):
    """Bytes of a text that are a secret in some encoding, and what is to stand there."""

    start: int
    end: int
    handle: str


Back = Callable[[int, int], tuple[int, int]]
"""Says where bytes of a decoded text stand in the text itself."""

Plain = Callable[[bytes], list[Span]]
"""Finds the secrets that stand in bytes as they are."""


def spans(data: bytes, plain: Plain, outer: str = "", depth: int = 0) -> list[Span]:
    """Return where secrets stand in ``data``, in any encoding; they may overlap.

    Args:
        data: the text.
        plain: finds secrets as they are.
        outer: the encoding that was taken off last.
        depth: how many were.
    """
    found = plain(data)
    if depth >= _DEPTH:
        return found
    for name, decoded, back, parts in _decoded(data, _WITHIN[outer]):
        if len(decoded) < _LEAST:
            continue
        inner = plain(decoded) if name in {"hex", "base64"} else []
        for first, last in parts:
            for start, end, handle in spans(decoded[first:last], plain, name, depth + 1):
                inner.append(Span(first + start, first + end, handle))
        found += [Span(*back(start, end), handle) for start, end, handle in inner]
    return found


def _texts(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where texts are among decoded bytes, most of which are none."""
    return (match.span() for match in _TEXT.finditer(data))


def _around(places: Iterable[int], size: int) -> Iterator[tuple[int, int]]:
    """Yield the stretches of a decoded text in which an escape was; all else was looked at as it stood."""
    first = last = -1
    for place in places:
        if last < 0:
            first = max(0, place - _REACH)
        elif place - _REACH > last:
            yield first, last
            first = place - _REACH
        last = min(size, place + _REACH)
    if last >= 0:
        yield first, last


Parts = Iterator[tuple[int, int]]
"""Stretches of a decoded text in which another encoding may be."""


def _decoded(data: bytes, wanted: frozenset[str]) -> Iterator[tuple[str, bytes, Back, Parts]]:
    """Yield the text with one encoding off, what says where bytes of that stand in the text, and its stretches."""
    if b"%" in data:
        if "percent" in wanted:
            yield "percent", *_unescaped(data, _PERCENT, _percent)
        if "form" in wanted and b"+" in data:
            yield "form", *_unescaped(data, _FORM, _percent)
    if "json" in wanted and b"\\" in data:
        yield "json", *_unescaped(data, _JSON, _json)
    if "html" in wanted and b"&" in data:
        yield "html", *_unescaped(data, _HTML, _html)
    if "hex" in wanted and _LONG_HEX.search(data) is not None:
        yield from _hexadecimal(data)
    if "base64" in wanted and _LONG_BASE64.search(data) is not None:
        yield from _base64(data)


def _hexadecimal(data: bytes) -> Iterator[tuple[str, bytes, Back, Parts]]:
    """Decode the whole text as hexadecimal digits, at both alignments; what is none decodes to zeros."""
    digits = data.translate(_AS_HEX)
    for shift in (0, 1):
        end = len(digits) - (len(digits) - shift) % 2
        decoded = binascii.unhexlify(digits[shift:end])
        yield "hex", decoded, _scaled(shift, 2, 0), _texts(decoded)
    for match in _SPACED_HEX.finditer(data):
        decoded = bytes.fromhex(match[0].replace(b":", b" ").decode())
        yield "hex", decoded, _scaled(match.start(), 3, 1), _texts(decoded)


def _base64(data: bytes) -> Iterator[tuple[str, bytes, Back, Parts]]:
    """Decode the whole text as base64, at each alignment; what is none decodes to something."""
    letters = data.translate(_AS_BASE64)
    for shift in range(4):
        whole = letters[shift:] + b"A" * (-(len(letters) - shift) % 4)
        decoded = binascii.a2b_base64(whole)
        yield "base64", decoded, _sixths(shift), _texts(decoded)
    for match in _BASE64_LINES.finditer(data):
        joined, back, _ = _unescaped(match[0], _LINE_END, lambda _: b"")
        decoded = binascii.a2b_base64(joined[: len(joined) - len(joined) % 4])
        yield "base64", decoded, _both(_sixths(0), back, match.start()), _texts(decoded)


def _sixths(base: int) -> Back:
    """Four characters are three bytes."""
    return lambda start, end: (base + start * 8 // 6, base - (-end * 8 // 6))


def _scaled(base: int, step: int, gap: int) -> Back:
    """Each byte takes ``step`` characters, the last ``gap`` of which are between it and the next."""
    return lambda start, end: (base + start * step, base + end * step - gap)


def _unescaped(data: bytes, escape: re.Pattern[bytes], decode: Callable[[bytes], bytes]) -> tuple[bytes, Back, Parts]:
    """Take escapes off; everything else stays as it is, and is none of the stretches."""
    pieces: list[bytes] = []
    decoded_at: list[int] = [0]
    source_at: list[int] = [0]
    literal: list[bool] = [True]
    last = size = 0
    for match in escape.finditer(data):
        start, end = match.span()
        if start > last:
            pieces.append(data[last:start])
            size += start - last
        decoded_at.append(size)
        source_at.append(start)
        literal.append(False)
        piece = decode(match[0])
        pieces.append(piece)
        size += len(piece)
        decoded_at.append(size)
        source_at.append(end)
        literal.append(True)
        last = end
    pieces.append(data[last:])

    def back(start: int, end: int) -> tuple[int, int]:
        at = bisect_right(decoded_at, start) - 1
        first = source_at[at] + (start - decoded_at[at] if literal[at] else 0)
        at = bisect_right(decoded_at, end - 1) - 1
        last = source_at[at] + (end - decoded_at[at]) if literal[at] else source_at[at + 1]
        return first, last

    decoded = b"".join(pieces)
    return decoded, back, _around(decoded_at[1::2], len(decoded))


def _both(inner: Back, outer: Back, base: int) -> Back:
    def back(start: int, end: int) -> tuple[int, int]:
        first, last = outer(*inner(start, end))
        return base + first, base + last

    return back


def _percent(escape: bytes) -> bytes:
    return b" " if escape == b"+" else bytes.fromhex(escape[1:].decode())


def _json(escape: bytes) -> bytes:
    if escape[1:2] != b"u":
        return _SIMPLE.get(escape[1:], escape[1:])
    units = b"".join(bytes.fromhex(one.decode()) for one in escape.split(b"\\u")[1:])
    return units.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")


def _html(escape: bytes) -> bytes:
    return html.unescape(escape.decode()).encode("utf-8", "surrogatepass")
