"""What a search looks for: a text in every encoding in which it may stand somewhere, or a regular expression.

One expression of RE2 has all forms, so everything is read once, and no expression takes more than linear time.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import quote, quote_plus

from wiretape.errors import UsageError
from wiretape.filters.patterns import Pattern, said_by_re2

ENCODINGS: Final = ("plain", "percent", "base64", "json", "jwt-payload", "hex")
"""In which a text is looked for."""
MAX_PATTERN: Final = 8 * 1024
_LEAST_ENCODED: Final = 4
"""Bytes from which a text is looked for in base64 and hexadecimal: shorter ones stand in any of them by accident."""
_MAX_MEMORY: Final = 32 * 1024 * 1024
_FOLDED: Final = 3
"""Bytes that a letter can take in another case of it, of one byte as a rule."""
_BLANKS: Final = "[ \\t\\r\\n]*"
"""What a blank of a field can be in a head: nothing behind a colon, or a line end (RFC 9112 sections 5.1 and 5.2)."""
_LONGEST_BLANKS: Final = 4 * 1024
_LATIN1: Final = re.compile("[\x80-\xff]")

_EXPRESSION: Final = re.compile(r"\.[*+]|\\[dDwWsSbB.]|\[[^\]]+\][*+?{]|\(.*\|.*\)|^\^|\$$|\(\?[:i]")
LITERAL: Final = (
    "The text was looked for as it stands; as a regular expression it goes into a filter (~u, ~h or ~b REGEX) or into a"
    " search with regex."
)


def looks_like_expression(text: str | None) -> bool:
    """Return whether a text has what regular expressions have and other texts hardly ever."""
    return text is not None and _EXPRESSION.search(text[:MAX_PATTERN]) is not None


class Hit(NamedTuple):
    """Where in some bytes something was found, and in which encoding."""

    start: int
    end: int
    encoding: str


class Needle:
    """A compiled search.

    Attributes:
        text: what was asked for.
        regex: whether it is a regular expression.
        forms: the bytes that are looked for, by encoding, and whether their case counts; none of a regular expression.
        by_bytes: whether what it finds in a field it also finds in bytes that hold more than the field.
        raw: return where the first place may be, from an offset on, in bytes that have heads as they were sent, or -1.
            A field is searched as ``name: value``, a line in UTF-8; it may be sent with other blanks or in ISO 8859-1.
    """

    def __init__(self, text: str, *, regex: bool = False, case_sensitive: bool = False) -> None:
        """Compile it.

        Raises:
            UsageError: it is empty, too long, or no regular expression.
        """
        if not text or len(text) > MAX_PATTERN:
            raise UsageError(f"a pattern has 1 to {MAX_PATTERN} characters, not {len(text)}", hint="shorten it")
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise UsageError("the pattern is not valid text", hint="give it as UTF-8")
        self.text = text
        self.regex = regex
        self._case_sensitive = case_sensitive
        self.forms: dict[str, list[tuple[bytes, bool]]] = {}
        self.by_bytes = not regex or not any(mark in text for mark in ("^", "$", "\\A", "\\z"))
        if regex:
            self._find = _compiled(f"(?m:{text})", case_sensitive=case_sensitive, shown=text)
            self.raw = [_starts(self._find)]
        else:
            for name, form, exact in _forms(text):
                self.forms.setdefault(name, []).append((form, exact or case_sensitive))
            forms = [_source(form, exact=exact) for forms in self.forms.values() for form, exact in forms]
            union = "|".join(dict.fromkeys(forms))
            self._find = _compiled(union, case_sensitive=True, shown=text)
            sent = union.replace("\\ ", _BLANKS)
            self.raw = [_starts(self._find if sent == union else _compiled(sent, case_sensitive=True, shown=text))]
            if "\x7f" < max(text) <= "\xff":
                plain = _LATIN1.sub(_in_both_cases, _source(text.encode(), exact=case_sensitive))
                plain = plain.replace("\\ ", _BLANKS)
                self.raw.append(_starts(_compiled(plain, case_sensitive=True, shown=text, encoding="latin-1")))

    @property
    def longest(self) -> int:
        """Return how many bytes what ``raw`` finds takes at most; 0 where nobody knows, of a regular expression."""
        longest = max((len(form) for forms in self.forms.values() for form, _ in forms), default=0)
        return _FOLDED * longest + (_LONGEST_BLANKS if " " in self.text else 0)

    @property
    def key(self) -> list[str | bool]:
        """What tells this search from others."""
        return [self.text, self.regex, self._case_sensitive]

    @property
    def encodings(self) -> list[str]:
        """In which encodings it is looked for; none are named of a regular expression."""
        short = len(self.text.encode()) < _LEAST_ENCODED
        return [] if self.regex else [name for name in ENCODINGS if not short or name in {"plain", "percent", "json"}]

    def plain_forms(self) -> list[str]:
        """Return texts one of which stands in whatever is found, in any case; none where none is known."""
        if not self.regex:
            return [form.decode() for forms in self.forms.values() for form, _ in forms]
        needle = Pattern(self.text, "regex").needle
        return [needle] if needle else []

    def find(self, data: bytes, start: int = 0) -> Hit | None:
        """Return the first place in ``data`` from ``start`` on."""
        found = self._find.search(data, start) if start else self._find.search(data)
        if found is None or found.end() == found.start():
            return None
        return Hit(found.start(), found.end(), self._encoding(data, found.start(), found.end()))

    def all(self, data: bytes, most: int) -> Iterator[Hit]:
        """Yield the first ``most`` places in ``data``."""
        for count, found in enumerate(self._find.finditer(data)):
            if count >= most:
                return
            if found.end() > found.start():
                yield Hit(found.start(), found.end(), self._encoding(data, found.start(), found.end()))

    def _encoding(self, data: bytes, start: int, end: int) -> str:
        if self.regex:
            return "plain"
        matched = data[start:end]
        for name, forms in self.forms.items():
            for form, exact in forms:
                if matched == form or (not exact and matched.lower() == form.lower()):
                    return "jwt-payload" if name == "base64" and _in_token(data, start) else name
        return "plain"


@lru_cache(maxsize=64)
def needle_of(text: str) -> Needle:
    """Return a text's needle; it is compiled once.

    Raises:
        UsageError: as ``Needle``.
    """
    return Needle(text)


def _forms(text: str) -> Iterator[tuple[str, bytes, bool]]:
    """Yield (encoding, bytes, whether case counts): the plain text first."""
    data = text.encode()
    yield "plain", data, False
    for form in (quote(text, safe=""), quote_plus(text, safe=""), quote(text)):
        if form.encode() != data:
            yield "percent", form.encode(), False
    for ascii_only in (True, False):
        escaped = json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()
        for form_ in (escaped, escaped.replace(b"/", b"\\/")):
            if form_ != data:
                yield "json", form_, False
    if len(data) < _LEAST_ENCODED:
        return
    yield "hex", data.hex().encode(), False
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data)
        # The first characters also have bits of what stands before, the last ones of what follows.
        first = (before * 8 + 5) // 6
        last = (before + len(data)) * 8 // 6
        middle = encoded[first:last]
        for code in {middle, middle.translate(_URL_SAFE)}:
            yield "base64", code, True


_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_TOKEN_BYTES: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def _in_token(data: bytes, at: int) -> bool:
    """Return whether what begins before ``at`` is a JWT, and ``at`` is in its second part."""
    begin = at
    while begin > 0 and at - begin < 16_384 and data[begin - 1] in _TOKEN_BYTES:
        begin -= 1
    if begin == 0 or data[begin - 1] != ord("."):
        return False
    end = begin - 1
    begin = end
    while begin > 0 and end - begin < 4_096 and data[begin - 1] in _TOKEN_BYTES:
        begin -= 1
    return data[begin : begin + 3] == b"eyJ"


def _source(form: bytes, *, exact: bool) -> str:
    import re2  # noqa: PLC0415 - 5 ms, and most commands search nothing

    text = re2.escape(form.decode())
    return text if exact else f"(?i:{text})"


def _in_both_cases(found: re.Match[str]) -> str:
    """Return a letter of ISO 8859-1 as an expression; RE2 knows cases of ASCII letters alone where it takes bytes."""
    return "[" + "".join(case for case in (found[0], found[0].lower(), found[0].upper()) if case <= "\xff") + "]"


def _starts(expression: Any) -> Callable[[bytes, int], int]:
    def find(data: bytes, start: int) -> int:
        found = expression.search(data, start)
        return -1 if found is None else int(found.start())

    return find


def _compiled(source: str, *, case_sensitive: bool, shown: str, encoding: str = "utf-8") -> Any:
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.case_sensitive = case_sensitive
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _MAX_MEMORY
    if encoding == "latin-1":
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        return re2.compile(source.encode(encoding), options)
    except re2.error as error:
        raise UsageError(
            f"{shown[:80]!r} is not a regular expression that can be searched: {said_by_re2(error)[:200]}",
            hint="the syntax is RE2's: linear time, so no back-references and no look-around",
            code="regex",
        ) from None
