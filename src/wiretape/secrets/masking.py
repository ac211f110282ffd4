"""The veil of what goes to a model: handles in the place of secrets (P18)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from wiretape.secrets.find import Found, in_field, in_header, in_text
from wiretape.secrets.known import Known
from wiretape.secrets.names import kind_of

_OWN_ID: Final = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{6}", re.ASCII).fullmatch
"""The id of one of our sessions: it is named in answers, and nobody's secret."""
_OWN_KEYS: Final = frozenset({"session"})
"""Keys at the top of our own answers that would be names of secrets in what was recorded: there it is a recording."""
_DEEP: Final = 64
_OURS: Final = frozenset({"env", "kinds", "places"})
"""Objects of our own answers that tell something of secrets by their names, and hold none."""
_SAID: Final = frozenset({"hint", "next", "message", "note", "notes", "execute", "warnings", "code", "status"})
"""Keys under which our own sentences stand: what is known is hidden there, nothing looks like a secret."""
_SHORTEST: Final = 4
_PAIR: Final = 3
"""A name and its value, or what it is in two exchanges."""
_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})


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
            if start < at or _OWN_ID(text[start:end]):
                continue
            pieces += [text[at:start], self.known.handle_of(kind, text[start:end])]
            at = end
        pieces.append(text[at:])
        return "".join(pieces)

    def everything(self, value: Any) -> Any:
        """Return JSON with handles in every string of it: the last look at an answer."""
        value = self._by_name(value, "", 0)
        whole = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if not self.known.spans_in(whole.encode("utf-8", "surrogatepass")):
            return value  # nearly always: an answer hides what it shows itself
        return _each_string(value, self.known.hide, 0)

    def _by_name(self, value: Any, name: str, depth: int) -> Any:
        """Hide what is found by its name and its looks."""
        if isinstance(value, str):
            return value if len(value) < _SHORTEST else self._with_handles(value, _found_in(name, value))
        if depth > _DEEP:
            return value
        if isinstance(value, dict):
            named = value.get("name")
            if isinstance(named, str) and isinstance(value.get("value"), str):
                value = {**value, "value": self._by_name(value["value"], named, depth)}
            ours = name in _OURS
            return {
                key: one
                if key in _SAID and depth == 0
                else self._by_name(one, "" if ours or (depth == 0 and key in _OWN_KEYS) else key, depth + 1)
                for key, one in value.items()
            }
        if isinstance(value, list | tuple):
            if 2 <= len(value) <= _PAIR and isinstance(value[0], str) and _names(value[0]):
                of = value[0].rpartition("/")[2].rpartition(".")[2]
                return [value[0], *(self._by_name(one, of, depth + 1) for one in value[1:])]
            return [self._by_name(one, name, depth + 1) for one in value]
        return value


def _found_in(name: str, value: str) -> list[Found]:
    if not name:
        return in_text(value)
    return in_header(name, value) if name.lower() in _HEADERS else in_field(name, value)


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


def _names(text: str) -> bool:
    """Return whether a text is the name of a header or a pointer to a field that holds a secret.

    One with a space is a sentence of ours about a place ("request.cookie.sid x26"), with others after it.
    """
    if " " in text:
        return False
    last = text.rpartition("/")[2].rpartition(".")[2]
    return len(text) <= 200 and (last.lower() in _HEADERS or kind_of(last) is not None)
