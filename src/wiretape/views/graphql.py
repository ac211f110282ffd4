"""GraphQL requests: which operation is asked for. A small lexer, not a parser: names and braces are enough."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from wiretape.views.limits import ViewError

_MAX_QUERY: Final = 1024 * 1024
_TOKEN: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+"""|"(?:[^"\\\n]|\\.)*+"|#[^\n\r]*+|(?P<word>[_A-Za-z][_0-9A-Za-z]*+)|(?P<mark>[{}()\[\]@$:!=|&]|\.\.\.)',
    re.DOTALL,
)
_KINDS: Final = frozenset({"query", "mutation", "subscription"})
_MAX_FIELDS: Final = 50


class Operation(NamedTuple):
    """One operation of a document: its kind, its name (None where it has none), and the fields it asks for."""

    kind: str
    name: str | None
    fields: tuple[str, ...]


class _Lexer:
    """Goes through a document token by token; what is in parentheses is of no interest."""

    def __init__(self) -> None:
        self.found: list[Operation] = []
        self._depth = 0
        self._before = ""
        self._begin()

    def _begin(self) -> None:
        self._definition = ""
        """What the definition is that is being read: ``query``, ``fragment`` ..."""
        self._name: str | None = None
        self._fields: list[str] = []

    def word(self, word: str) -> None:
        """Take a name."""
        if self._depth == 0:
            if not self._definition:
                self._definition = word
            elif self._before == self._definition and self._name is None:
                self._name = word
        elif self._depth == 1 and self._definition in _KINDS and self._before not in {"@", "...", "on"}:
            if self._before == ":" and self._fields:
                self._fields[-1] = word  # what stood before the colon was its alias
            elif len(self._fields) < _MAX_FIELDS:
                self._fields.append(word)
        self._before = word

    def mark(self, mark: str) -> None:
        """Take a mark outside of parentheses."""
        self._before = mark
        if mark == "{":
            self._definition = self._definition or "query"
            self._depth += 1
        elif mark == "}" and self._depth:
            self._depth -= 1
            if self._depth == 0:
                if self._definition in _KINDS:
                    self.found.append(Operation(self._definition, self._name, tuple(self._fields)))
                self._begin()


def operations(query: str) -> list[Operation]:
    """Return the operations of a GraphQL document, in order; none where it is no such document."""
    lexer, parentheses = _Lexer(), 0
    for token in _TOKEN.finditer(query[:_MAX_QUERY]):
        word, mark = token["word"], token["mark"]
        if mark == "(":
            parentheses += 1
        elif mark == ")":
            parentheses = max(0, parentheses - 1)
        elif parentheses:
            continue
        elif word is not None:
            lexer.word(word)
        elif mark is not None:
            lexer.mark(mark)
    return lexer.found


def is_graphql(value: Any) -> bool:
    """Return whether a value of JSON is a request of GraphQL, or a list of them."""
    one = value[0] if isinstance(value, list) and value else value
    if not isinstance(one, dict):
        return False
    if isinstance(one.get("query"), str):
        return bool(operations(one["query"]))
    return isinstance(one.get("operationName"), str) and ("variables" in one or "extensions" in one)


def describe(value: Any) -> dict[str, Any] | list[Any]:
    """Return what a request of GraphQL asks for: ``operation``, ``name``, ``fields``, ``variables``, ``query``.

    Args:
        value: the request, a list of them, or the document alone as text.

    Raises:
        ViewError: it is none.
    """
    if isinstance(value, list):
        return [describe(one) for one in value]
    if isinstance(value, str):
        value = {"query": value}
    if not is_graphql(value):
        raise ViewError("This is not a GraphQL request: it has neither a query nor an operationName", hint="view json")
    query = value.get("query")
    listed = operations(query) if isinstance(query, str) else []
    wanted = value.get("operationName")
    chosen = next((one for one in listed if one.name == wanted), listed[0] if listed else None)
    found: dict[str, Any] = {"operation": chosen.kind if chosen else "unknown"}
    name = wanted if isinstance(wanted, str) and wanted else chosen.name if chosen else None
    if name:
        found["name"] = name
    if chosen and chosen.fields:
        found["fields"] = list(chosen.fields)
    for key in ("variables", "extensions", "query"):
        if value.get(key):
            found[key] = value[key]
    return found


def operation_name(value: Any) -> str | None:
    """Return the name by which a request of GraphQL is known: its operation's, or else its first field."""
    one = value[0] if isinstance(value, list) and value else value
    if not is_graphql(one):
        return None
    found = describe(one)
    assert isinstance(found, dict)
    name = found.get("name") or next(iter(found.get("fields", ())), None)
    return name if isinstance(name, str) else None
