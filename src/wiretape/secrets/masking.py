"""The veil of what goes to a model: handles in the place of secrets (P18).

Answers show recorded values through ``header``, ``field`` and ``text``, each whole: there secrets are found by their
names and looks. ``everything`` is the net below that: it knows no names, it looks for the secrets that were met.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from wiretape.secrets.find import Found, in_field, in_header, in_text
from wiretape.secrets.known import Known

_DEEP: Final = 64
_PIECE: Final = 4
"""Characters of a value that are taken for a piece of it."""


class Masking:
    """Hides the secrets that it finds, and those that are known wherever they stand."""

    __slots__ = ("known",)

    def __init__(self, known: Known) -> None:
        self.known = known

    def header(self, name: str, value: str) -> str:
        """Return a header's value with handles in it."""
        return self.known.hide(self._with_handles(value, in_header(name, value)))

    def field(self, name: str, value: str) -> str:
        """Return a named field's text with handles in it."""
        return self.known.hide(self._with_handles(value, in_field(name, value)))

    def text(self, text: str) -> str:
        """Return a text with handles in it."""
        return self.known.hide(self._with_handles(text, in_text(text)))

    def _with_handles(self, text: str, found: Sequence[Found]) -> str:
        if not found:
            return text
        pieces, at = [], 0
        for kind, start, end in found:
            if start < at:
                continue
            pieces += [text[at:start], self.known.handle_of(kind, text[start:end])]
            at = end
        pieces.append(text[at:])
        return "".join(pieces)

    def everything(self, value: Any) -> Any:
        """Return JSON with handles in the place of every secret that is known: the last look at an answer."""
        whole = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if not self.known.spans_in(whole.encode("utf-8", "surrogatepass")):
            return value  # nearly always: an answer hides what it shows itself
        return _each_string(value, self.known.hide, 0)


def without_pieces(text: str, value: str, name: str) -> str:
    """Return a text with a name in the place of a value and of every piece of it."""
    shown, at = [], 0
    while at < len(text):
        end = at + _PIECE
        if end > len(text) or text[at:end] not in value:
            shown.append(text[at])
            at += 1
            continue
        while end < len(text) and text[at : end + 1] in value:
            end += 1
        shown.append(name)
        at = end
    return "".join(shown)


def _each_string(value: Any, hide: Callable[[str], str], depth: int) -> Any:
    if isinstance(value, str):
        return hide(value)
    if depth > _DEEP:
        return value
    if isinstance(value, dict):
        return {hide(key): _each_string(one, hide, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_each_string(one, hide, depth + 1) for one in value]
    return value
