"""The entries of a HAR of any size, one at a time, and the ranges of the file that are none.

A HAR is one object; its list of entries is walked without reading the rest. Where an object cannot be read the next one
that begins as entries do is looked for: a quotation mark inside a string of JSON has a backslash before it, so what was
captured cannot be taken for one.
"""

from __future__ import annotations

import json
import os
import re
from bisect import bisect_right
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from wiretape.formats.foreign import Unreadable
from wiretape.formats.har_long import MOST_TIMES, TIME, LongObject
from wiretape.formats.har_text import Texts
from wiretape.formats.values import NO_TEXT, integer

_WINDOW: Final = 2 * 1024 * 1024
_OVERLAP: Final = 2048
_SLACK: Final = 16
"""Characters before the end of a window in which an error may be the window's."""
_LIST: Final = re.compile(r'"entries"\s{0,500}:\s{0,500}(?P<list>\[)|"request"\s{0,500}:\s{0,500}\{')
_CANDIDATE: Final = re.compile(
    r'\{\s{0,500}"(?:startedDateTime|pageref|time|request|response|cache|timings|serverIPAddress|connection|comment'
    r'|_[A-Za-z]{1,40})"\s{0,500}:'
)
_BETWEEN: Final = re.compile(r"[\s,]*+")
_TAIL: Final = re.compile(rb"\s*\]\s*\}\s*\}\s*$")
_BEGINNING: Final = re.compile(r"[\ufeff\s\[{,]*+")
_NO_ENTRY: Final = "no exchange that can be read"
_ENDS: Final = "the file ends before its list of entries does"


@dataclass(frozen=True, slots=True)
class Entry:
    """An object of the list: ``length`` bytes at ``offset``. ``sound`` tells whether all of it was UTF-8."""

    offset: int
    length: int
    value: dict[str, Any]
    sound: bool


class Scanner:
    """Walks one HAR. ``texts`` knows the long strings of the entry that was given last.

    ``window`` is how many bytes are held at a time; an entry that is longer is read another way.

    Attributes:
        texts: what strings of an entry mean that are too long to be in it.
        vain: bytes that may still be read in vain before what was read is no longer looked into.
    """

    def __init__(self, file: BinaryIO, window: int = _WINDOW) -> None:
        self.texts = Texts(file.fileno())
        self._file = file
        self._window = window
        self._size = os.fstat(file.fileno()).st_size
        self._decoder = json.JSONDecoder(strict=False)
        self._patient = json.JSONDecoder(strict=False, parse_int=integer)
        self._text = ""
        self._times: list[int] = []
        self._end = 0
        self._sound = self._window_sound = True
        self._resume = 0
        # A place in the window, as a character and as a byte of the file.
        self._place = (0, 0)
        # What reading in vain may cost in all, so that no file takes longer than a few readings of it.
        self.vain = 2 * self._size + 32 * window

    def items(self) -> Iterator[Entry | Unreadable]:
        """Yield everything in its order.

        Raises:
            OSError: the file cannot be read.
        """
        at = 0
        while found := self._search(_LIST, at):
            lost, at, in_list = at, found[1], found[2]
            search_from, mark = lost, ""
            while mark != "]":
                if not in_list:
                    at = yield from self._after_damage(lost, search_from)
                    if at >= self._size:
                        return
                at, mark = yield from self._list(at)
                if not mark:
                    yield Unreadable(offset=self._size, length=0, reason=_ENDS)
                    return
                in_list, lost, search_from, at = mark == "]", at, self._resume, at + 1

    def _list(self, at: int) -> Generator[Entry | Unreadable, None, tuple[int, str]]:
        """Read a list up to its end, or to what cannot be read: return where that is, and its first character."""
        while True:
            at, mark = self._next(at)
            if mark != "{":
                self._resume = at
                return at, mark
            value, end = self._object(at)
            if value is None:
                self._resume = self._after_vain(at, end)
                return at, mark
            yield self._entry(at, end, value) or Unreadable(offset=at, length=end - at, reason=_NO_ENTRY)
            at = end

    def _after_damage(self, lost: int, at: int) -> Generator[Entry | Unreadable, None, int]:
        """Look for an entry from ``at`` on and return it, and what is between it and ``lost``; return where it ends."""
        while found := self._search(_CANDIDATE, at):
            start = found[0]
            value, end = self._object(start)
            entry = self._entry(start, end, value)
            if entry is not None:
                if lost or not self._is_beginning(start):
                    yield Unreadable(offset=lost, length=start - lost, reason=_NO_ENTRY)
                yield entry
                return end
            at = self._after_vain(start, end)
        length = self._size - lost
        if tail := _TAIL.search(os.pread(self._file.fileno(), 64, max(lost, self._size - 64))):
            length -= len(tail[0])
        yield Unreadable(offset=lost, length=length, reason=_NO_ENTRY)
        return self._size

    def _after_vain(self, start: int, end: int) -> int:
        """Tell where to go on after reading in vain: inside of what was read, as long as that is not too costly."""
        self.vain -= end - start
        return start + 1 if self.vain > 0 else max(end, start + 1)

    def _is_beginning(self, end: int) -> bool:
        """Tell whether there is nothing before ``end`` but brackets, as in a list of entries that is the whole file."""
        before = os.pread(self._file.fileno(), end, 0) if end <= _OVERLAP else b"?"
        return _BEGINNING.fullmatch(before.decode("utf-8", "replace")) is not None

    def _entry(self, start: int, end: int, value: Any) -> Entry | None:
        if not isinstance(value, dict) or not isinstance(value.get("request"), dict):
            return None
        return Entry(start, end - start, value, self._sound)

    def _object(self, at: int) -> tuple[Any, int]:
        """Read an object; (None, where reading ended) when there is none."""
        index = self._index(at)
        self.texts.clear()
        limit = index
        for keys in (2, MOST_TIMES):
            limit = self._limit(index, keys)
            whole = limit == len(self._text)
            text, begin = (self._text, index) if whole else (self._text[index:limit], 0)
            try:
                value, stop = self._decoded(text, begin)
            except RecursionError:
                return None, at + self._window
            except json.JSONDecodeError as error:
                stop = index - begin + (len(text) if error.msg.startswith("Unterminated") else error.pos)
                if stop < limit - _SLACK or (whole and self._end >= self._size):
                    return None, self._byte(stop)
                if whole:
                    break
                continue
            stop += index - begin
            self._sound = self._window_sound or not NO_TEXT.search(self._text, index, stop)
            alone = "startedDateTime" in value and self._text.count("startedDateTime", index, stop) == 1
            return value if alone or not _holds_entries(value) else None, self._byte(stop)
        if limit < len(self._text):
            return None, self._byte(limit)
        if index:
            self._load(at)
            return self._object(at)
        return self._long(at)

    def _decoded(self, text: str, begin: int) -> tuple[Any, int]:
        """Read an object of JSON; a function for each number would cost an eighth of an import."""
        try:
            return self._decoder.raw_decode(text, begin)
        except json.JSONDecodeError:
            raise
        except ValueError:  # more digits than Python takes
            return self._patient.raw_decode(text, begin)

    def _limit(self, index: int, keys: int) -> int:
        """Tell where the ``keys``-th time of an entry stands from ``index`` on; the window's end where there is none.

        What reads so far has left its own entry, and is not to read the rest of the file for its own.
        """
        last = bisect_right(self._times, index) + keys - 1
        return self._times[last] if last < len(self._times) else len(self._text)

    def _long(self, at: int) -> tuple[Any, int]:
        long = LongObject(self._file.fileno(), at, self.texts, self._window)
        text = long.read()
        if text is None:
            return None, long.end
        try:
            decoded = text.decode("utf-8", "surrogateescape")
            value = self._patient.decode(decoded)
        except (json.JSONDecodeError, RecursionError):
            return None, long.end
        self._sound = long.sound
        return None if _holds_entries(value) else value, long.end

    def _search(self, pattern: re.Pattern[str], at: int) -> tuple[int, int, bool] | None:
        """Find a pattern: where it begins and ends, and whether it was a list."""
        while True:
            index = self._index(at)
            found = pattern.search(self._text, index)
            # What touches the end of the window may go on behind it.
            if found and (found.end() < len(self._text) or self._end >= self._size):
                start = self._byte(found.start())
                return start, self._byte(found.end()), found.lastgroup == "list"
            if self._end >= self._size:
                return None
            at = self._byte(max(index, len(self._text) - _OVERLAP))
            self._load(at)

    def _next(self, at: int) -> tuple[int, str]:
        """Skip what is between entries: where the next begins, and its first character; "" at the end."""
        while True:
            index = self._index(at)
            between = _BETWEEN.match(self._text, index)
            stop = between.end() if between else index
            at = self._byte(stop)
            if stop < len(self._text) or self._end >= self._size:
                return at, self._text[stop : stop + 1]
            self._load(at)

    def _load(self, at: int) -> None:
        self._file.seek(at)
        content = self._file.read(self._window)
        try:
            self._text, self._window_sound = content.decode("utf-8"), True
        except UnicodeDecodeError:  # of a character that the window cuts, too
            self._text, self._window_sound = content.decode("utf-8", "surrogateescape"), False
        self._times = list(_times_in(self._text))
        self._place, self._end = (0, at), at + len(content)

    def _index(self, at: int) -> int:
        """Return the character of the window that is the byte ``at`` of the file; load it where it is not there."""
        index, place = self._place
        if not place <= at < self._end:
            self._load(at)
            return 0
        if self._text.isascii():
            index += at - place
        elif at > place:
            passed = self._text[index : index + at - place].encode("utf-8", "surrogateescape")[: at - place]
            index += len(passed.decode("utf-8", "surrogateescape"))
        self._place = (index, at)
        return index

    def _byte(self, index: int) -> int:
        """Return the byte of the file that is the character ``index`` of the window."""
        known, place = self._place
        if self._text.isascii():
            return place + index - known
        if index >= known:
            return place + len(self._text[known:index].encode("utf-8", "surrogateescape"))
        return place - len(self._text[index:known].encode("utf-8", "surrogateescape"))


def _times_in(text: str) -> Iterator[int]:
    """Yield where the times of entries stand; an expression takes ten times as long to find them."""
    at = text.find(TIME)
    while at >= 0:
        if text[at - 1 : at] != "\\":
            yield at
        at = text.find(TIME, at + 1)


def _holds_entries(value: Any) -> bool:
    """Return whether there is an entry inside an entry: one that was torn and has taken the next ones for its own."""
    inner = [part for part in value.values() if isinstance(part, dict | list)] if isinstance(value, dict) else []
    while inner:
        part = inner.pop()
        if isinstance(part, dict):
            if "startedDateTime" in part and "request" in part:
                return True
            part = list(part.values())
        inner.extend(one for one in part if isinstance(one, dict | list))
    return False
