"""Lines of JSON of any length in bounded memory: what is long in them is base64, and waits in a temporary file.

A body of 100 MB is one string of 133 MB in one line. Such a line is read piece by piece: long strings of base64 are
moved to a spool and a short name stands in their place, so that what is left can be parsed as any other line.
"""

from __future__ import annotations

import base64
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

from wiretape.formats.foreign import Body

BLOCK: Final = 1024 * 1024
LONG_LINE: Final = 4 * BLOCK
"""Bytes up to which a line is held as it is; what remains of a longer one without its bodies may be as much."""
LONG_STRING: Final = 256 * 1024
_PIECE: Final = 64 * 1024
"""Groups of four characters that are decoded at a time."""
_NEWLINE: Final = 0x0A
_STRING_ENDS: Final = re.compile(rb'["\n\\](?:(?<=\\)[^\n](?:\\[^\n])*+)?+')
"""Escapes that follow each other are one piece: 8 MB of them, one by one, took 20 s. A set of bytes comes first: with
alternatives there, looking for it in 100 MB takes seconds."""
_OUTSIDE_ENDS: Final = re.compile(rb'["\n]')
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end: ``length`` bytes from ``offset`` on; ``text`` is None where it cannot be held."""

    offset: int
    length: int
    text: bytes | None


class Spool:
    """Long strings of the line that was read last, in a file without a name."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._name = secrets.token_hex(16)
        self._parts: list[tuple[int, int]] = []
        self._end = 0

    def clear(self) -> None:
        """Forget what is there: another line is read."""
        self._parts.clear()
        self._end = 0
        self._file.seek(0)
        self._file.truncate()

    def begin(self) -> bytes:
        """Begin a string; return the name that stands in its place."""
        self._parts.append((self._end, 0))
        return f"{self._name}:{len(self._parts) - 1}".encode()

    def add(self, data: bytes) -> None:
        """Go on with the string."""
        start, length = self._parts[-1]
        self._file.seek(start + length)
        self._file.write(data)
        self._parts[-1] = (start, length + len(data))
        self._end = start + length + len(data)

    def body(self, text: str) -> Body:
        """Return what a string of base64 means, whether it is here under a name or ``text`` itself.

        Raises:
            ValueError: it is no base64.
        """
        name, _, number = text.partition(":")
        if name != self._name:
            try:
                return Body.of(base64.b64decode(text, validate=True))
            except ValueError as error:
                raise ValueError("no base64") from error
        start, length = self._parts[int(number)]
        return Body(sum(len(piece) for piece in self._decoded(start, length)), lambda: self._decoded(start, length))

    def holds(self, text: str) -> bool:
        """Return whether a text is a name for something here."""
        return text.startswith(self._name)

    def _decoded(self, start: int, length: int) -> Iterator[bytes]:
        for at in range(0, length, 4 * _PIECE):
            self._file.seek(start + at)
            encoded = self._file.read(min(4 * _PIECE, length - at))
            if b"=" in encoded and at + 4 * _PIECE < length:
                raise ValueError("base64 goes on behind its end")
            try:
                yield base64.b64decode(encoded, validate=True)
            except ValueError as error:
                raise ValueError("no base64") from error


def _is_base64(data: bytes | bytearray) -> bool:
    """Whether there are no other characters; an eighth of the time of a search by an expression."""
    return not data.translate(None, _BASE64)


@contextmanager
def spool() -> Iterator[Spool]:
    """Open a spool; the file is gone when it is closed.

    Raises:
        OSError: there is no room for it.
    """
    with tempfile.TemporaryFile() as file:
        yield Spool(file)


def read_lines(file: BinaryIO, spooled: Spool) -> Iterator[Line]:
    """Yield the lines of a file, one at a time; long strings of the last one are in ``spooled``.

    Raises:
        OSError: it cannot be read, or there is no room for a long body.
    """
    offset, held = 0, b""
    while block := file.read(BLOCK):
        *lines, held = (held + block).split(b"\n")
        for line in lines:
            yield Line(offset, len(line), line)
            offset += len(line) + 1
        if len(held) >= LONG_LINE:
            reader = _LongLine(spooled, offset)
            rest = reader.feed(held)
            while rest is None and (block := file.read(BLOCK)):
                rest = reader.feed(block)
            yield reader.line()
            offset += reader.length + (rest is not None)
            held = rest or b""
    for line in held.removesuffix(b"\n").split(b"\n") if held else []:
        yield Line(offset, len(line), line)
        offset += len(line) + 1


class _LongLine:
    """A line that is fed block by block."""

    def __init__(self, spooled: Spool, offset: int) -> None:
        self.length = 0
        self._offset = offset
        self._spool = spooled
        self._kept = bytearray()
        self._string: bytearray | None = None
        self._moved = False
        self._escaped = False
        self._too_long = False
        spooled.clear()

    def feed(self, block: bytes) -> bytes | None:
        """Take bytes; return what stands behind the line's end, None before it."""
        at = 0
        while at < len(block):
            if self._too_long:  # only its end matters now
                end = block.find(b"\n", at)
                self.length += len(block) if end < 0 else end
                return None if end < 0 else block[end + 1 :]
            if self._escaped:
                self._escaped = False
                if block[at] != _NEWLINE:  # no string goes on behind its line: this one is torn
                    self._text(block[at : at + 1])
                    at += 1
                    continue
            ends = _OUTSIDE_ENDS if self._string is None else _STRING_ENDS
            found = ends.search(block, at)
            self._text(block[at : found.start() if found else len(block)])
            if found is None:
                break
            at = found.end()
            if found[0] == b"\n":
                self._end_string()
                self.length += found.start()
                return block[at:]
            self._mark(found[0])
        self.length += len(block)
        return None

    def line(self) -> Line:
        """Return the line, read to its end."""
        self._end_string()
        return Line(self._offset, self.length, None if self._too_long else bytes(self._kept))

    def _mark(self, mark: bytes) -> None:
        if mark[:1] == b"\\":
            self._text(mark)
            self._escaped = len(mark) == 1
        elif self._string is None:
            self._keep(mark)
            self._string, self._moved = bytearray(), False
        else:
            self._end_string()
            self._keep(mark)

    def _text(self, data: bytes) -> None:
        if self._string is None:
            self._keep(data)
        elif self._moved and _is_base64(data):
            self._spool.add(data)
        elif self._moved:
            self._too_long = True  # a long text that turned out to be no base64
        else:
            self._string += data
            if len(self._string) >= LONG_STRING and not self._too_long and _is_base64(self._string):
                self._keep(self._spool.begin())
                self._spool.add(bytes(self._string))
                self._string.clear()
                self._moved = True
            elif len(self._string) > LONG_LINE:
                self._too_long = True
                self._string.clear()

    def _end_string(self) -> None:
        if self._string is not None:
            self._keep(bytes(self._string))
            self._string = None

    def _keep(self, data: bytes) -> None:
        if len(self._kept) + len(data) > LONG_LINE:
            self._too_long = True
        elif not self._too_long:
            self._kept += data
