"""What a request asks for, apart from its values: ``GET /users/{id}/orders``, ``POST /graphql#Feed``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

MAX_PATH: Final = 500
"""Characters of a path of which a template is made; what follows is dropped."""
ANY: Final = "{*}"
"""Stands in a template for what has many values in that position."""
FOLDED_FROM: Final = 9
"""Different values in one position of a path from which on they are taken for values of one thing."""
LOOKED_AT: Final = 16 * 1024
"""Bytes of a request's body in which the name of an operation is looked for."""

_VALUE: Final = re.compile(
    r"""-?[0-9]+(?:[-_.,:][0-9]+)*                                    # numbers, dates
      | [0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}          # UUIDs
      | (?=[0-9A-Fa-f]*[0-9])[0-9A-Fa-f]{6,}                          # hexadecimal digits; "facade" is a word
      | [A-Za-z]{1,6}_(?:[0-9]+(?:_[0-9]+)*|(?=[A-Za-z]*[0-9])[A-Za-z0-9]{5,})   # v_0151_1, cus_9s6XKzkNRiz8i3
      | [A-Z]{2,6}-(?=[A-Z]*[0-9])[A-Z0-9]{3,}                        # ORD-1A2B3C4D
      | (?=[^0-9]{0,200}[0-9])(?=[^A-Za-z]{0,200}[A-Za-z])[A-Za-z0-9_~-]{20,}=*  # tokens
      | [^@]{1,100}(?:@|%40)[^@]{1,100}\.[A-Za-z]{2,20}               # addresses
    """,
    re.VERBOSE | re.ASCII,
).fullmatch
_ENDING: Final = re.compile(r"\.[A-Za-z0-9]{1,5}", re.ASCII).fullmatch
_MAY_HOLD_VALUE: Final = re.compile(r"[0-9@%]").search
_GRAPHQL: Final = re.compile(r"/(?:[Gg]raph(?:ql|QL)|gql)(?=/|$)|[Gg]raph(?:ql|QL)$")
_MANIFOLD: Final = re.compile(rf"{_GRAPHQL.pattern}|/(?:mcp|rpc|jsonrpc)/?$", re.IGNORECASE)
_GRAPHQL_NAME: Final = re.compile(rb'"operationName"\s{0,8}:\s{0,8}"([A-Za-z_][A-Za-z0-9_]{0,99})"')
_GRAPHQL_QUERY: Final = re.compile(
    rb'"query"\s{0,8}:\s{0,8}"(?:\s|\\n){0,40}(?:query|mutation|subscription)(?:\s|\\n){1,8}([A-Za-z_][A-Za-z0-9_]{0,99})'
)
_RPC_NAME: Final = re.compile(rb'"method"\s{0,8}:\s{0,8}"([A-Za-z0-9_./:$-]{1,100})"')
_IN_QUERY: Final = re.compile(r"[?&]operationName=([A-Za-z_][A-Za-z0-9_]{0,99})(?:&|$)")
_WORD: Final = re.compile(r"[A-Za-z]+(?:[-_][A-Za-z]+)?", re.ASCII).fullmatch
_ROOM: Final = re.compile(r"api|rest|rpc|v[0-9]{1,3}(?:\.[0-9]+)?|internal|public", re.IGNORECASE).fullmatch


def template(path: str) -> str:
    """Put ``{id}`` in the place of what looks like a value: numbers, UUIDs, hexadecimal digits, ``x_123``, tokens."""
    path = path[:MAX_PATH]
    if ";" in path:
        path = re.sub(r";[^/]*", "", path)  # parameters, RFC 3986 section 3.3
    parts = path.split("/")
    for at, part in enumerate(parts):
        if part and not part.isalpha() and (part.isdigit() or _is_value(part)):
            parts[at] = "{id}"
    if "." in parts[-1]:
        name, dot, ending = parts[-1].rpartition(".")
        if name and _ENDING(dot + ending) is not None and _is_value(name):
            parts[-1] = "{id}" + dot + ending
    return "/".join(parts) or "/"


def _is_value(part: str) -> bool:
    if part.isdigit():
        return True
    return len(part) > 2 and _MAY_HOLD_VALUE(part) is not None and _VALUE(part) is not None


def is_graphql(path: str) -> bool:
    """Return whether requests to this path are GraphQL by its name."""
    return _GRAPHQL.search(path) is not None


def serves_many(path: str) -> bool:
    """Return whether a path, by its name, serves many operations, whose names are in the requests' bodies."""
    return _MANIFOLD.search(path) is not None


def operation_name(path: str, query: str, body: bytes) -> str:
    """Return the name of the operation that a request to one path for many asks for; empty when it is none.

    Args:
        path: of the URL.
        query: of the URL.
        body: as much of the request's body as there is; it may be cut.
    """
    if ("ql" in path or "QL" in path) and is_graphql(path):
        body = body[:LOOKED_AT]
        found = _GRAPHQL_NAME.search(body) or _GRAPHQL_QUERY.search(body)
        if found is not None:
            return found[1].decode("ascii")
        named = _IN_QUERY.search("?" + query) if query else None
        return named[1] if named is not None else ""
    if body[:1] in {b"{", b"["} and b'"jsonrpc"' in body[:LOOKED_AT]:
        found = _RPC_NAME.search(body[:LOOKED_AT])
        return found[1].decode("ascii") if found is not None else ""
    return ""


def split_url(url: str) -> tuple[str, str]:
    """Return path and query of a URL; of CONNECT, where the URL is ``host:port``, that stands for the path."""
    start = url.find("://")
    if start < 0:
        return url[:MAX_PATH], ""
    rest, _, query = url[start + 3 :].split("#", 1)[0].partition("?")
    slash = rest.find("/")
    return (rest[slash:] if slash >= 0 else "/"), query


def operation(method: str, url: str, body: bytes = b"") -> str:
    """Return what a request asks for: ``METHOD /template``, with ``#name`` where one path serves many operations."""
    path, query = split_url(url)
    name = operation_name(path, query, body)
    return f"{method} {template(path)}" + (f"#{name}" if name else "")


def is_word(part: str) -> bool:
    """Return whether a part of a path is a word of letters, or two with a dash between."""
    return _WORD(part) is not None


# -- folding by siblings -------------------------------------------------------------------------------------------


class _Node:
    __slots__ = ("children", "ends")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.ends: list[str] = []


def folded(templates: Iterable[str]) -> dict[str, str]:
    """Put ``{*}`` in the place of what has more than eight different values in one position of a path.

    Words of letters right below the root, ``/api`` or ``/v2`` are names of resources and stay.

    Args:
        templates: the templates of one host, with or without ``#name``.

    Returns:
        Each of them with what it becomes.
    """
    root = _Node()
    for one in templates:
        node = root
        path, _, _ = one.partition("#")
        for part in path.split("/")[1:]:
            node = node.children.setdefault(part, _Node())
        node.ends.append(one)
    found: dict[str, str] = {}
    _fold(root, "", None, found.__setitem__)
    return found


def _fold(node: _Node, path: str, name: str | None, put: Callable[[str, str], None]) -> None:
    """Walk a tree of paths, folding as it goes; deep paths are cut when templates are made, so recursion is bounded."""
    for end in node.ends:
        _, mark, operation_ = end.partition("#")
        put(end, (path or "/") + mark + operation_)
    children = node.children
    resources = name is None or _ROOM(name) is not None
    values = [part for part in children if part and part[0] != "{" and not (resources and _WORD(part))]
    if len(values) >= FOLDED_FROM:
        merged = children.get(ANY, _Node())
        for part in values:
            _merge(merged, children[part])
        chosen = set(values)
        children = {part: child for part, child in children.items() if part not in chosen}
        children[ANY] = merged
    for part, child in children.items():
        _fold(child, f"{path}/{part}", part, put)


def _merge(into: _Node, other: _Node) -> None:
    into.ends += other.ends
    for part, child in other.children.items():
        known = into.children.get(part)
        if known is None:
            into.children[part] = child
        else:
            _merge(known, child)
