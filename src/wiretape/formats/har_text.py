"""Texts of a HAR and the bytes they stand for, of any length: long ones stay in the file and are read in pieces."""

from __future__ import annotations

import base64
import codecs
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from wiretape.formats.foreign import Body

_PIECE: Final = 48 * 1024
"""Bytes of the file that are read at a time; as bytes of a body they are at most four times as many."""
_WHOLE: Final = re.compile(r"(?:[^\\]++|\\u[0-9A-Fa-f]{4}|\\[^u])*+", re.DOTALL)
_CHARSETS: Final = re.compile(
    r"us-ascii|iso-?8859-\d{1,2}|latin-?1|windows-12\d\d|cp12\d\d|koi8-[ru]|shift[_-]jis|euc-(jp|kr)|gb(k|2312|18030)|big5"
)
"""Those that have no state, so that a text can be encoded piece by piece."""
_BYTES: Final = "iso-8859-1"


class Texts:
    """The strings of the entry that was read last: themselves, or a name for a range of the file."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._name = secrets.token_hex(16)
        self._ranges: list[tuple[int, int]] = []

    def clear(self) -> None:
        """Forget the ranges: another entry is read."""
        self._ranges.clear()

    def add(self, offset: int, length: int) -> bytes:
        """Take a range of the file, the inside of a JSON string; return the name that stands in its place."""
        self._ranges.append((offset, length))
        return f"{self._name}:{len(self._ranges) - 1}".encode()

    def holds(self, text: str) -> bool:
        """Return whether a text is a name for something in the file."""
        return text.startswith(self._name)

    def pieces(self, text: str) -> Iterator[str]:
        """Yield a text in pieces.

        Raises:
            ValueError: it is no JSON string. OSError: it cannot be read.
        """
        if not self.holds(text):
            yield text
            return
        offset, length = self._ranges[int(text.partition(":")[2])]
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        held = half = ""
        for at in range(offset, offset + length, _PIECE):
            last = at + _PIECE >= offset + length
            held += decoder.decode(os.pread(self._fd, min(_PIECE, offset + length - at), at), last)
            end = _whole(held)
            piece = _joined(half, _unescaped(held[:end]))
            held, half = held[end:], ""
            if not last and "\ud800" <= piece[-1:] <= "\udbff":
                piece, half = piece[:-1], piece[-1]
            yield piece
        if held:
            raise ValueError("no JSON string")


def base64_body(texts: Texts, text: str) -> Body:
    """Return what a text of base64 means.

    Raises:
        ValueError: it is no base64. OSError: it cannot be read.
    """
    return _body(partial(_decoded, texts, text))


def text_body(texts: Texts, text: str, charset: str, sizes: frozenset[int]) -> Body | None:
    """Return the bytes that a text was made of; None where they cannot be known.

    ``sizes`` are how many bytes there may have been. A text with characters that stand for bytes that were none is
    the body only if it has such a size. Without a ``charset`` it may be bytes shown as characters one by one, which its
    size tells.

    Raises:
        ValueError: it is no text. OSError: it cannot be read.
    """
    found = None
    charset = charset or _BYTES
    for name in ("utf-8", charset) if _CHARSETS.fullmatch(charset) else ("utf-8",):
        try:
            body = _body(partial(_encoded, texts, text, name))
        except (UnicodeEncodeError, LookupError):
            continue
        if body.size in sizes:
            return body
        found = found or body
    return None if any("\ufffd" in piece for piece in texts.pieces(text)) else found


def _body(pieces: Callable[[], Iterator[bytes]]) -> Body:
    """Make a body of pieces; small ones are held."""
    size, held = 0, b""
    for piece in pieces():
        size += len(piece)
        if size == len(held) + len(piece) <= 2 * _PIECE:
            held += piece
    return Body.of(held) if len(held) == size else Body(size, partial(_again, pieces, size))


def _again(pieces: Callable[[], Iterator[bytes]], size: int) -> Iterator[bytes]:
    """Yield a body that has been read before, in pieces of at most 192 KiB.

    Raises:
        OSError: it is no longer what it was.
    """
    passed = 0
    try:
        for piece in pieces():
            for at in range(0, min(len(piece), size - passed), 4 * _PIECE):
                yield piece[at : at + 4 * _PIECE]
            passed += len(piece)
    except ValueError as error:
        raise OSError("it was changed while it was read") from error
    if passed != size:
        raise OSError("it was changed while it was read")


def _whole(text: str) -> int:
    """Return how much of the inside of a JSON string ends behind an escape, not within one."""
    if "\\" not in text:
        return len(text)
    found = _WHOLE.match(text)
    return found.end() if found else 0


def _joined(half: str, text: str) -> str:
    """Put half of a surrogate pair before a text that may begin with the other half."""
    if half and "\udc00" <= text[:1] <= "\udfff":
        return chr(0x10000 + ((ord(half) - 0xD800) << 10) + ord(text[0]) - 0xDC00) + text[1:]
    return half + text


def _unescaped(text: str) -> str:
    value: str = json.loads(f'"{text}"', strict=False)
    return value


def _decoded(texts: Texts, text: str) -> Iterator[bytes]:
    held = ""
    for piece in texts.pieces(text):
        held += "".join(piece.split())
        end = len(held) // 4 * 4
        if "=" in held[:-4]:
            raise ValueError("base64 goes on behind its end")
        # The last group may be one that is to be padded: it waits.
        end = max(0, end - 4)
        yield _of_base64(held[:end])
        held = held[end:]
    yield _of_base64(held.rstrip("=") + "=" * (-len(held.rstrip("=")) % 4))


def _of_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError("no base64") from error


def _encoded(texts: Texts, text: str, charset: str) -> Iterator[bytes]:
    for piece in texts.pieces(text):
        yield piece.encode(charset, "surrogateescape")
