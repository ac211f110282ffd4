"""Texts to look for: regular expressions of RE2, in linear time whatever they are, and literal texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

Kind = Literal["regex", "contains", "equals"]

_MAX_MEMORY: Final = 8 * 1024 * 1024
"""Bytes that one compiled expression may take; RE2 refuses one that needs more."""
_META: Final = frozenset("\\^$.|?*+()[]{}")
_DEPTH: Final = 100
"""Brackets in brackets up to which a needle is looked for."""
_CLASS_ESCAPES: Final = frozenset("dDwWsSbBAz")
_LITERAL_ESCAPES: Final = frozenset("\\^$.|?*+()[]{}-/:=&%#@!,;<>\"'_~` ")
_UNJOINABLE: Final = re.compile(r"\\[AzCQ]|\(\?[^:P]")
"""Anchors of the whole text, and flags that change what others mean."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text or a regular expression; unanchored unless it ``equals``, and upper or lower case is the same.

    Attributes:
        text: as it was given.
        kind: what it is.
    """

    text: str
    kind: Kind = "regex"

    def in_text(self, text: str, *, lines: bool = False) -> bool:
        """Return whether ``text`` has it; ``lines`` lets ``^`` and ``$`` stand at lines, too."""
        return _compiled(self, "lines" if lines else "text").search(text) is not None

    def in_bytes(self, data: bytes) -> bool:
        """Return whether ``data`` has it; a dot stands for any byte."""
        return _compiled(self, "bytes").search(data) is not None

    def lines_in(self, data: bytes) -> Iterator[int]:
        """Yield the numbers, from 0 on, of the lines of ``data`` that may have it, and of all that have it.

        The time is linear in ``data``: what matches never goes on in the next line.

        Args:
            data: a text in UTF-8 in which letters of ASCII are in lower case. A pattern that is not ``joinable`` says
                nothing of its lines.
        """
        find = self._finder()
        line = counted = 0
        at = find(data, 0)
        while at >= 0:
            line += data.count(b"\n", counted, at)
            yield line
            counted = at
            end = data.find(b"\n", at)
            at = find(data, end + 1) if end >= 0 else -1

    def _finder(self) -> Callable[[bytes, int], int]:
        """Return what finds the pattern in bytes from a line's beginning on; -1 where there is none."""
        needle = self.needle.lower().encode() if self.needle.isascii() else b""
        if needle and self.kind == "contains":
            return lambda data, start: data.find(needle, start)
        search = _compiled(self, "utf8-lines").search

        def find(data: bytes, start: int) -> int:
            found = search(data, start)
            return -1 if found is None else int(found.start())

        def find_needle_first(data: bytes, start: int) -> int:
            at = data.find(needle, start)
            while at >= 0:
                end = data.find(b"\n", at)
                end = len(data) if end < 0 else end
                if search(data[data.rfind(b"\n", 0, at) + 1 : end]) is not None:
                    return at
                at = data.find(needle, end)
            return -1

        return find_needle_first if needle else find

    @property
    def joinable(self) -> bool:
        """Whether what matches a line matches in lines that are joined, too."""
        return self.kind == "contains" or (self.kind == "regex" and _UNJOINABLE.search(self.text) is None)

    @property
    def needle(self) -> str:
        """A text that stands in everything that matches, in its case or another; empty where none is known."""
        return self.text if self.kind != "regex" else _needle(self.text)


class PatternError(Exception):
    """A regular expression that RE2 does not take; the text says why, in words."""


def compile_pattern(pattern: Pattern) -> None:
    """Compile a pattern, so that what is wrong with it is found where it is written.

    Raises:
        PatternError: it is no regular expression, or too large a one.
    """
    for form in ("text", "lines", "bytes"):
        _compiled(pattern, form)


@lru_cache(maxsize=256)
def _compiled(pattern: Pattern, form: str) -> Any:
    import re2  # noqa: PLC0415 - 5 ms, and most commands filter nothing

    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _MAX_MEMORY
    source = pattern.text if pattern.kind == "regex" else re2.escape(pattern.text)
    if pattern.kind == "equals":
        source = rf"\A(?:{source})\z"
    if form in {"lines", "utf8-lines"}:
        source = "(?m)" + source
        options.never_nl = form == "utf8-lines"
    elif form == "bytes":
        options.dot_nl = True
        if source.isascii():
            # Each byte a character: what is no UTF-8 is searched as well.
            options.encoding = re2.Options.Encoding.LATIN1
    try:
        return re2.compile(source if form in {"text", "lines"} else source.encode(), options)
    except re2.error as error:
        raise PatternError(_reason(pattern.text, error)) from None


def said_by_re2(error: Exception) -> str:
    """Return what RE2 says is wrong with an expression; it says it in bytes."""
    detail = error.args[0] if error.args else ""
    return detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)


def _reason(text: str, error: Exception) -> str:
    said = said_by_re2(error)
    if re.search(r"(?<!\\)(?:\\\\)*\\[1-9]|\(\?P=", text):
        return "back-references are not supported: regular expressions are RE2's, so that none can take for ever"
    if re.search(r"\(\?<?[=!]", text):
        return "look-around is not supported: regular expressions are RE2's, so that none can take for ever"
    if "too large" in said:
        return "the regular expression is too large when its repetitions are written out"
    return f"not a regular expression: {said[:200]}"


def _needle(regex: str) -> str:
    """Return the longest run of plain characters that every match has; empty where it is not plain to see."""
    runs, at = [""], 0
    while at < len(regex):
        char = regex[at]
        if char == "\\":
            at += 1
            escaped = regex[at : at + 1]
            if escaped and escaped in _LITERAL_ESCAPES:
                runs[-1] += escaped
            elif escaped and escaped in _CLASS_ESCAPES:
                runs.append("")
            else:
                return ""
        elif char == "|" or regex.startswith("(?", at):
            return ""
        elif char in "([{":
            end = _closing(regex, at)
            if end < 0:
                return ""
            if char == "{":  # it may say that what stands before is not there at all
                runs[-1] = runs[-1][:-1]
            runs.append("")
            at = end
        elif char in "?*":
            # What stands before is not always there.
            runs[-1] = runs[-1][:-1]
            runs.append("")
        elif char in _META:
            runs.append("")
        else:
            runs[-1] += char
        at += 1
    return max(runs, key=len)


def _closing(regex: str, at: int, depth: int = 0) -> int:
    """Return where the bracket at ``at`` is closed, -1 where that is not plain to see."""
    if regex[at] == "{":
        return regex.find("}", at)
    if regex[at] == "[":
        begin = at + 2 if regex[at + 1 : at + 2] == "^" else at + 1
        here = begin
        while here < len(regex):
            if regex[here] == "]" and here > begin:
                return here
            if regex.startswith("[:", here):
                return -1
            here += 2 if regex[here] == "\\" else 1
        return -1
    here = at + 1
    while here < len(regex):
        char = regex[here]
        if char == ")":
            return here
        if char in "([":
            here = _closing(regex, here, depth + 1) if depth < _DEPTH else -1
            if here < 0:
                return -1
        here += 2 if char == "\\" else 1
    return -1
