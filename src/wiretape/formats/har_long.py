"""An object of JSON that is too long to be held: what is long in it are strings, and they stay in the file."""

from __future__ import annotations

import codecs
import os
import re
from typing import Final

from wiretape.formats.har_text import Texts

BLOCK: Final = 1024 * 1024
LONG_STRING: Final = 256 * 1024
TIME: Final = '"startedDateTime"'
MOST_TIMES: Final = 6
"""Keys of this name in one entry. Each has one; where there are more it is torn and runs into the next ones."""
_MAX_DEPTH: Final = 200
_OUTSIDE: Final = re.compile(rb'["{}\[\]]')
_INSIDE: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_QUOTE: Final = 0x22
_TIME: Final = TIME.strip('"').encode()


class LongObject:
    """Reads the object at ``start``; ``kept`` is how many bytes it may have without its long strings.

    Attributes:
        end: where it ends, or where it turned out to be none.
        sound: all of it is UTF-8.
    """

    def __init__(self, fd: int, start: int, texts: Texts, kept: int) -> None:
        self.end = start
        self.sound = True
        self._fd = fd
        self._texts = texts
        self._limit = kept
        self._kept = bytearray()
        self._depth = 0
        self._string: int | None = None
        """Where the string that is open begins."""
        self._begun = bytearray()
        self._times = 0

    def read(self) -> bytes | None:
        """Return it with names in place of its long strings; None when it is none, or too long all the same.

        Raises:
            OSError: the file cannot be read.
        """
        decoder = codecs.getincrementaldecoder("utf-8")()
        while block := os.pread(self._fd, BLOCK, self.end):
            passed = self._block(block)
            try:
                decoder.decode(block[:passed])
            except UnicodeDecodeError:
                self.sound = False
                decoder.reset()
            self.end += passed
            if not self._depth:
                return bytes(self._kept)
            if not passed or self._is_none():
                return None
        return None

    def _block(self, block: bytes) -> int:
        """Take bytes; return how many: not half an escape at the end, nor what stands behind the object."""
        at = 0
        while at < len(block):
            if self._string is not None:
                end = self._inside(block, at)
                if end < len(block) and block[end] != _QUOTE:
                    return end
                at = end + (end < len(block))
                continue
            found = _OUTSIDE.search(block, at)
            end = found.end() if found else len(block)
            self._kept += block[at:end]
            at = end
            if found is None or self._is_none():
                break
            if found[0] == b'"':
                self._string = self.end + at
            else:
                self._depth += 1 if found[0] in b"{[" else -1
                if not self._depth:
                    break
        return at

    def _inside(self, block: bytes, at: int) -> int:
        """Take what goes on with a string; return where it stops in the block."""
        inside = _INSIDE.match(block, at)
        end = inside.end() if inside else at
        if len(self._begun) <= LONG_STRING:
            self._begun += block[at:end]
        if end < len(block) and block[end] == _QUOTE and self._string is not None:
            length = self.end + end - self._string
            self._kept += (self._texts.add(self._string, length) if length > LONG_STRING else self._begun) + b'"'
            self._times += self._begun == _TIME
            self._string = None
            self._begun.clear()
        return end

    def _is_none(self) -> bool:
        return len(self._kept) > self._limit or self._depth > _MAX_DEPTH or self._times >= MOST_TIMES
