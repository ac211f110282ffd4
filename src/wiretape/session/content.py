"""Bodies for people: content codings taken off, in bounded memory and with a bound on what a bomb can grow to."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import brotli
import zstandard

MAX_DECODED: Final = 256 * 1024 * 1024
"""Decoded bytes of one body that are looked at; what a decompression bomb can cost in time."""
STEP: Final = 256 * 1024
"""Bytes that a decoder gives at once: what a decompression bomb can cost in memory."""
MAX_CODINGS: Final = 4
"""A body with more codings than this is left as it is: no honest server stacks them."""


_ZSTD_STEP: Final = 64


class ContentError(Exception):
    """A body does not decode; the message says why."""


class _Decoder(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]: ...
    def finish(self) -> Iterator[bytes]: ...


class _Inflate:
    """gzip, also of several members (RFC 1952 section 2.2)."""

    def __init__(self, wbits: int = zlib.MAX_WBITS | 16) -> None:
        self._wbits = wbits
        self._inflate = zlib.decompressobj(wbits)
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inflate.eof:
                # What follows the end of deflate, and zeros that pad gzip, are no content.
                if self._wbits <= zlib.MAX_WBITS or not data.strip(b"\0"):
                    return
                self._inflate = zlib.decompressobj(self._wbits)
            self._begun = True
            try:
                piece = self._inflate.decompress(data, STEP)
            except zlib.error as error:
                raise ContentError(str(error)) from error
            data = self._inflate.unconsumed_tail or self._inflate.unused_data
            if piece:
                yield piece

    def finish(self) -> Iterator[bytes]:
        if self._begun and not self._inflate.eof:
            raise ContentError("the compressed data ends too early")
        yield from ()


class _Deflate:
    """deflate in zlib's wrapper, or bare, as many servers send it (RFC 9110 section 8.4.1.2 notes it)."""

    def __init__(self) -> None:
        self._start = b""
        self._inner: _Inflate | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._inner is None:
            self._start += data
            if len(self._start) < 2:
                return
            data = self._start
            wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0  # RFC 1950 section 2.2
            self._inner = _Inflate(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
        yield from self._inner.feed(data)

    def finish(self) -> Iterator[bytes]:
        if self._inner is not None:
            yield from self._inner.finish()
        elif self._start:
            raise ContentError("the compressed data ends too early")


class _Brotli:
    def __init__(self) -> None:
        self._decoder = brotli.Decompressor()
        self._fed = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        if not data or self._decoder.is_finished():
            return
        self._fed = True
        try:
            piece = self._decoder.process(data, output_buffer_limit=STEP)
            while piece or not self._decoder.can_accept_more_data():
                if piece:
                    yield piece
                if self._decoder.is_finished():
                    return
                piece = self._decoder.process(b"", output_buffer_limit=STEP)
        except brotli.error as error:
            raise ContentError(str(error)) from error

    def finish(self) -> Iterator[bytes]:
        if self._fed and not self._decoder.is_finished():
            raise ContentError("the compressed data ends too early")
        yield from ()


class _Zstd:
    """zstd; RFC 9659 bounds the window to 8 MB, a little more is taken."""

    def __init__(self) -> None:
        self._new = zstandard.ZstdDecompressor(max_window_size=2**27)
        self._decoder = self._new.decompressobj()
        self._open = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        # zstandard gives all output of its input at once, so the input goes in small steps: zstd can hold 128 KB blocks
        # of 4 bytes each, which bounds one step to about 2 MB.
        view = memoryview(data)
        at = 0
        while at < len(view):
            part = bytes(view[at : at + _ZSTD_STEP])
            at += _ZSTD_STEP
            while part:
                if self._decoder.eof:
                    self._decoder = self._new.decompressobj()
                try:
                    piece = self._decoder.decompress(part)
                except zstandard.ZstdError as error:
                    raise ContentError(str(error)) from error
                self._open = not self._decoder.eof
                part = self._decoder.unused_data if self._decoder.eof else b""
                if piece:
                    yield piece

    def finish(self) -> Iterator[bytes]:
        if self._open:
            raise ContentError("the compressed data ends too early")
        yield from ()


def _decoder(coding: str) -> _Decoder | None:
    if coding in {"gzip", "x-gzip"}:
        return _Inflate()
    if coding == "deflate":
        return _Deflate()
    if coding == "br":
        return _Brotli()
    if coding == "zstd":
        return _Zstd()
    return None


def content_codings(values: Iterable[str]) -> list[str]:
    """Return the codings that Content-Encoding fields list, in the order they were applied, ``identity`` left out."""
    codings = [coding.strip().lower() for value in values for coding in value.split(",")]
    return [coding for coding in codings if coding and coding != "identity"]


def decode(pieces: Iterable[bytes], codings: list[str], *, limit: int = MAX_DECODED) -> Iterator[bytes]:
    """Take content codings off a body as it streams by.

    Args:
        pieces: the body as it was on the wire.
        codings: as content_codings gives them.
        limit: decoded bytes at most.

    Raises:
        ContentError: a coding is unknown, the data are corrupt or end too early, or there is more than ``limit``; what
            was decoded until then has been given.
    """
    if len(codings) > MAX_CODINGS:
        raise ContentError(f"{len(codings)} content codings on top of each other are not decoded")
    stream: Iterable[bytes] = pieces
    for coding in reversed(codings):
        decoder = _decoder(coding)
        if decoder is None:
            raise ContentError(f"the content coding {coding[:40]!r} is not known")
        stream = _through(decoder, stream)
    total = 0
    for piece in stream:
        total += len(piece)
        if codings and total > limit:
            raise ContentError(f"the decoded body is longer than {limit} bytes")
        yield piece


def _through(decoder: _Decoder, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from decoder.feed(piece)
    yield from decoder.finish()


def encode(data: bytes, codings: list[str]) -> bytes:
    """Put content codings on a body, in the order in which ``content_codings`` gives them.

    Raises:
        ContentError: a coding is unknown, or there are too many.
    """
    if len(codings) > MAX_CODINGS:
        raise ContentError(f"{len(codings)} content codings on top of each other are not made")
    for coding in codings:
        if coding in {"gzip", "x-gzip"}:
            data = gzip.compress(data, compresslevel=6, mtime=0)
        elif coding == "deflate":
            data = zlib.compress(data)
        elif coding == "br":
            data = brotli.compress(data, quality=5)
        elif coding == "zstd":
            data = zstandard.ZstdCompressor().compress(data)
        else:
            raise ContentError(f"the content coding {coding[:40]!r} is not known")
    return data


_NOT_TEXT: Final = frozenset({"unicode-escape", "raw-unicode-escape", "idna", "punycode", "undefined"})
_MARKS: Final = {
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}
_LONGEST_MARK: Final = 4
_CHARSET: Final = re.compile(r""";\s*charset\s*=\s*(?:"([^"]{1,40})"|([^\s;"]{1,40}))""", re.IGNORECASE)


def declared_charset(content_type: str | None) -> str | None:
    """Return the charset that a Content-Type declares, as Python names it; None when none or an unknown one."""
    match = _CHARSET.search(content_type or "")
    if match is None:
        return None
    try:
        info = codecs.lookup((match[1] or match[2]).strip())
    except (LookupError, ValueError):
        return None
    # Codecs such as "zlib" and "rot13" are transformations, not charsets; "unicode_escape" and "idna" change text.
    if not getattr(info, "_is_text_encoding", True) or info.name.replace("_", "-") in _NOT_TEXT:
        return None
    return info.name


def as_text(data: bytes, content_type: str | None, *, cut: bool = False) -> str | None:
    """Return a decoded body as text: in the charset that its header declares, else in UTF-8; None if it is neither.

    Bytes that are valid UTF-8 by chance (UTF-16 of ASCII, ISO-2022-JP) are read as declared: the client does so, too.

    Args:
        data: the bytes.
        content_type: the value of Content-Type, or None.
        cut: the end is missing; up to three bytes that are left of a character are then left out.
    """
    charset = declared_charset(content_type)
    for name in (charset, "utf-8") if charset else ("utf-8",):
        for spare in range(4 if cut else 1):
            try:
                text = data[: len(data) - spare].decode(name)
            except (UnicodeError, ValueError):
                continue
            # UTF-16 and UTF-7 decoders can give lone surrogates, which no JSON can carry.
            if name == "utf-8" or not any(0xD800 <= ord(char) < 0xE000 for char in text):
                return text
    return None


class Utf8Rewriter:
    """Rewrites a decoded body as it streams by from a declared charset to UTF-8; errors become U+FFFD."""

    def __init__(self, charset: str) -> None:
        self._charset = charset
        self._decoder: codecs.IncrementalDecoder | None = None
        self._start = b""

    def feed(self, piece: bytes) -> bytes:
        """Take bytes of the body and return what can be said of them."""
        if self._decoder is None:
            piece = self._start + piece
            if len(piece) < _LONGEST_MARK:
                self._start = piece
                return b""
            self._decoder = _incremental(self._charset, piece)
        return self._decoder.decode(piece).encode("utf-8", "replace")

    def finish(self) -> bytes:
        """Return what is left after the last piece."""
        decoder, rest = self._decoder, b""
        if decoder is None:
            decoder, rest = _incremental(self._charset, self._start), self._start
        return decoder.decode(rest, True).encode("utf-8", "replace")


def _incremental(charset: str, start: bytes) -> codecs.IncrementalDecoder:
    """Return a decoder; without a byte order mark that of UTF-16 and UTF-32 is little-endian, as in browsers."""
    marks = _MARKS.get(charset)
    if marks and not start.startswith(marks):
        charset = f"{charset}-le"
    return codecs.getincrementaldecoder(charset)("replace")
