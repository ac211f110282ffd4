"""The values that leave the program as JSON, taken apart for a page: their keys, kinds and explanations."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, UnsetType

_ATTRIBUTES: Final = re.compile(r"\n\s*(?:Attributes|Args):\n(.*?)(?:\n\n|\Z)", re.DOTALL)
_ENTRY: Final = re.compile(r"^ {4}(\w+): (.*?)(?=^ {4}\w+: |\Z)", re.MULTILINE | re.DOTALL)
_QUOTED: Final = re.compile(r"``([^`]+)``")


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a value: what kind of thing is there, when it is, and what its class says about it."""

    name: str
    kind: Any
    when: str
    text: str
    """Empty where the class's docstring explains it in its prose, or nobody does."""


def is_struct(kind: Any) -> bool:
    """Return whether a type is a value of ours."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


@cache
def keys(struct: type[msgspec.Struct]) -> tuple[Key, ...]:
    """Return the keys of a value in their order."""
    hints = get_type_hints(struct)
    explained = _explained(struct)
    omits = struct.__struct_config__.omit_defaults
    found = []
    for field in msgspec.structs.fields(struct):
        optional = field.default is not NODEFAULT or field.default_factory is not NODEFAULT
        may_be_unset = UnsetType in get_args(hints[field.name])
        when = "where there is one" if may_be_unset or (optional and omits) else "always"
        found.append(Key(field.encode_name, hints[field.name], when, explained.get(field.name, "")))
    return tuple(found)


@cache
def prose(struct: type[msgspec.Struct]) -> str:
    """Return what a value's docstring says, without its list of attributes, names as they are in JSON."""
    text = inspect.getdoc(struct) or ""
    text = _ATTRIBUTES.sub("", text)
    names = {field.name: field.encode_name for field in msgspec.structs.fields(struct)}
    return " ".join(_QUOTED.sub(lambda match: f"`{names.get(match[1], match[1])}`", text).split())


def _explained(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return what is said of each field: in the docstring's list, or in a string below the field."""
    found: dict[str, str] = {}
    for kind in reversed(struct.__mro__):
        if not is_struct(kind) or kind is msgspec.Struct:
            continue
        listed = _ATTRIBUTES.search("\n" + (inspect.getdoc(kind) or "") + "\n\n")
        if listed:
            for match in _ENTRY.finditer(listed[1] + "\n"):
                found[match[1]] = " ".join(match[2].split())
        found |= _below(kind)
    names = {field.name: field.encode_name for field in msgspec.structs.fields(struct)}
    return {name: _QUOTED.sub(lambda match: f"`{names.get(match[1], match[1])}`", text) for name, text in found.items()}


def _below(struct: type) -> dict[str, str]:
    """Return the strings that stand below fields in a class's source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(struct))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for one, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(following, ast.Expr):
            value = following.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[one.target.id] = " ".join(value.value.split())
    return found


def written(kind: Any) -> str:
    """Write a kind of thing for people."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if is_struct(kind):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        shown = [written(one) for one in arguments if one is not UnsetType]
        return " or ".join(dict.fromkeys(shown))
    if origin is Literal:
        return " \\| ".join(cell(one) for one in arguments)
    if origin is list:
        return f"list of {written(arguments[0])}"
    if origin is tuple:
        return f"[{', '.join(written(one) for one in arguments)}]"
    if origin is dict:
        return f"object of {written(arguments[1])}"
    raise AssertionError(f"no words for {kind}")


_PLAIN: Final[dict[Any, str]] = {
    str: "text",
    int: "number",
    float: "number",
    bool: "true, false",
    type(None): "null",
    Any: "any",
    dict[str, Any]: "object",
    list[Any]: "list",
}


def structs_in(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """Yield the values that a kind of thing has in it, itself first."""
    if is_struct(kind):
        yield kind
        return
    for one in get_args(kind):
        yield from structs_in(one)


def below(roots: list[type[msgspec.Struct]]) -> list[type[msgspec.Struct]]:
    """Return values and all that can be in them, each once, each after what it is first in."""
    found: dict[type[msgspec.Struct], None] = {}
    waiting = list(reversed(roots))
    while waiting:
        struct = waiting.pop()
        if struct in found:
            continue
        found[struct] = None
        inner = [one for key in keys(struct) for one in structs_in(key.kind)]
        waiting += reversed(inner)
    return list(found)


def cell(value: Any) -> str:
    """Write a value as code in a cell."""
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


def unknown_keys(document: Any, kind: Any, at: str = "") -> list[str]:
    """Return the places in a document that its kind does not have: what a page about the kind would not explain."""
    options = list(get_args(kind)) if get_origin(kind) in {Union, UnionType} else [kind]
    faults = [_unknown(document, one, at) for one in options if one is not UnsetType]
    return min(faults, key=len)


def _unknown(document: Any, kind: Any, at: str) -> list[str]:
    if kind is Any:
        return []
    if is_struct(kind):
        if not isinstance(document, dict):
            return [f"{at}: no object"]
        known = {key.name: key.kind for key in keys(kind)}
        faults = [f"{at}/{name}" for name in document if name not in known]
        lacking = [key.name for key in keys(kind) if key.when == "always" and key.name not in document]
        faults += [f"{at}: no {name}" for name in lacking]
        inner = [unknown_keys(value, known[name], f"{at}/{name}") for name, value in document.items() if name in known]
        return [*faults, *(fault for each in inner for fault in each)]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list and isinstance(document, list):
        return [fault for one in document for fault in unknown_keys(one, arguments[0], f"{at}/*")]
    if origin is dict and isinstance(document, dict):
        return [fault for one in document.values() for fault in unknown_keys(one, arguments[1], f"{at}/*")]
    if origin is tuple and isinstance(document, list):
        pairs = zip(document, arguments, strict=False)
        return [fault for one, inner in pairs for fault in unknown_keys(one, inner, f"{at}/*")]
    if origin is Literal:
        return [] if document in arguments else [f"{at}: {document!r}"]
    return [] if isinstance(document, _PYTHON.get(kind, ())) else [f"{at}: {document!r}"]


_PYTHON: Final[dict[Any, Any]] = {str: str, int: int, float: (int, float), bool: bool, type(None): type(None)}
