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
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

_DEPTH: Final = 3
"""Encodings within each other that are taken off."""
_LEAST: Final = 6
"""Bytes of a secret at least."""
_PERCENT: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_FORM: Final = re.compile(rb"%[0-9A-Fa-f]{2}|\+")
_JSON: Final = re.compile(
    rb"\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\[\"'\\/bfnrt]"
)
_HTML: Final = re.compile(rb"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,8});")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{12,}")
_SPACED_HEX: Final = re.compile(rb"[0-9A-Fa-f]{2}(?:[ :][0-9A-Fa-f]{2}){5,}")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{10,}")
_BASE64_LINES: Final = re.compile(rb"[A-Za-z0-9+/]{60,}(?:(?:\r?\n|\\r\\n|\\n)[A-Za-z0-9+/]+)+")
_LINE_END: Final = re.compile(rb"\r?\n|\\r\\n|\\n")
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_SIMPLE: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


class Span(NamedTuple):
    """Bytes of a text that are a secret in some encoding, and what is to stand there."""

    start: int
    end: int
    handle: str


Back = Callable[[int, int], tuple[int, int]]
"""Says where bytes of a decoded text stand in the text itself."""

Plain = Callable[[bytes], list[Span]]
"""Finds the secrets that stand in bytes as they are."""


def spans(data: bytes, plain: Plain, depth: int = 0) -> list[Span]:
    """Return where secrets stand in ``data``, in any encoding; they may overlap."""
    found = plain(data)
    if depth >= _DEPTH:
        return found
    for decoded, back in _decoded(data, depth):
        if len(decoded) < _LEAST:
            continue
        for start, end, name in spans(decoded, plain, depth + 1):
            first, last = back(start, end)
            found.append(Span(first, last, name))
    return found


def _decoded(data: bytes, depth: int) -> Iterator[tuple[bytes, Back]]:
    """Yield the text with one encoding taken off, and what says where bytes of that stand in the text."""
    if b"%" in data:
        yield _unescaped(data, _PERCENT, _percent)
        if b"+" in data:
            yield _unescaped(data, _FORM, _percent)
    if b"\\" in data:
        yield _unescaped(data, _JSON, _json)
    if b"&" in data:
        yield _unescaped(data, _HTML, _html)
    for shift in (0, 1):
        yield _runs(data, _HEX, _hexadecimal, shift)
    for match in _SPACED_HEX.finditer(data):
        yield bytes.fromhex(match[0].replace(b":", b" ").decode()), _scaled(match.start(), 3, 1)
    for shift in range(4):
        yield _runs(data, _BASE64, _base64, shift)
    if not depth:
        for match in _BASE64_LINES.finditer(data):
            joined, back = _unescaped(match[0], _LINE_END, lambda _: b"")
            decoded, inner = _base64(joined)
            yield decoded, _both(inner, back, match.start())


def _unescaped(data: bytes, escape: re.Pattern[bytes], decode: Callable[[bytes], bytes]) -> tuple[bytes, Back]:
    """Take escapes off; everything else stays as it is."""
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

    return b"".join(pieces), back


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


def _runs(
    data: bytes, runs: re.Pattern[bytes], decode: Callable[[bytes], tuple[bytes, Back]], shift: int
) -> tuple[bytes, Back]:
    """Decode all runs of an alphabet, from their ``shift``-th character on, into one: a scan has its costs, too."""
    pieces: list[bytes] = []
    decoded_at: list[int] = []
    backs: list[tuple[int, Back]] = []
    size = 0
    for match in runs.finditer(data):
        piece, back = decode(match[0][shift:])
        pieces.append(piece)
        decoded_at.append(size)
        backs.append((match.start() + shift, back))
        size += len(piece) + 1

    def back_of_all(start: int, end: int) -> tuple[int, int]:
        at = bisect_right(decoded_at, start) - 1
        base, back = backs[at]
        first, last = back(start - decoded_at[at], end - decoded_at[at])
        return base + first, base + last

    return b"\0".join(pieces), back_of_all


def _hexadecimal(run: bytes) -> tuple[bytes, Back]:
    return bytes.fromhex(run[: len(run) - len(run) % 2].decode()), _scaled(0, 2, 0)


def _scaled(base: int, step: int, gap: int) -> Back:
    """Each byte takes ``step`` characters, the last ``gap`` of which are between it and the next."""
    return lambda start, end: (base + start * step, base + end * step - gap)


def _base64(run: bytes) -> tuple[bytes, Back]:
    run = run.translate(_URL_SAFE)
    spare = len(run) % 4
    run = run[: len(run) - 1] if spare == 1 else run + b"=" * (-len(run) % 4)
    size = len(run.rstrip(b"="))

    def back(start: int, end: int) -> tuple[int, int]:
        return start * 8 // 6, min(-(-end * 8 // 6), size)

    try:
        return binascii.a2b_base64(run), back
    except binascii.Error:
        return b"", back
