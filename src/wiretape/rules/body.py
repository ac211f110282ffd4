"""Edits of decoded bodies: texts, and values of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from wiretape.rules.headers import replacing
from wiretape.rules.regexes import LONGEST, NotAppliedError, too_long
from wiretape.rules.values import Changes, wrong

BodyEdit = Callable[[str], str]
_OPERATIONS: Final = frozenset({"add", "remove", "replace", "move", "copy", "test"})


def body_edits(field: str, changes: Changes) -> list[BodyEdit]:
    """Compile what is done to a body, in the order of ``Changes``; each edit may raise NotAppliedError.

    Raises:
        UsageError: something means nothing; the message names the field of the rule.
    """
    edits: list[BodyEdit] = []
    for number, (find, put) in enumerate(changes.match_replace_body or ()):
        if not find:
            raise wrong(f"{field}.matchReplaceBody[{number}]", "the text that is searched for is empty")
        edits.append(_first(find, put))
    for number, replacement in enumerate(changes.replace_body or ()):
        edits.append(replacing(f"{field}.replaceBody[{number}]", replacement))
    operations = [{"op": "set", "path": pointer, "value": value} for pointer, value in (changes.json_set or {}).items()]
    for operation in operations:
        if operation["path"] and not operation["path"].startswith("/"):
            raise wrong(f"{field}.jsonSet", f"{operation['path']!r} is not a JSON Pointer: it begins with a slash")
    for number, operation in enumerate(changes.json_patch or ()):
        _check(f"{field}.jsonPatch[{number}]", operation)
    if operations or changes.json_patch:
        edits.append(_patched([*operations, *(changes.json_patch or ())]))
    return edits


def _first(find: str, put: str) -> BodyEdit:
    return lambda text: text.replace(find, put, 1)


def _check(field: str, operation: dict[str, Any]) -> None:
    kind = operation.get("op")
    if kind not in _OPERATIONS:
        raise wrong(field, f"op is {kind!r}; it is one of {', '.join(sorted(_OPERATIONS))} (RFC 6902)")
    for key in ("path", *(("from",) if kind in {"move", "copy"} else ())):
        pointer = operation.get(key)
        if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
            raise wrong(field, f"{key} has to be a JSON Pointer, such as /items/0/price")
    if kind in {"add", "replace", "test"} and "value" not in operation:
        raise wrong(field, f"{kind} needs a value")


def _patched(operations: list[dict[str, Any]]) -> BodyEdit:
    def edit(text: str) -> str:
        try:
            document = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise NotAppliedError("the body is not JSON") from None
        copy = _Copies()
        try:
            for operation in operations:
                document = _apply(document, operation, copy)
            return _json(document)
        except RecursionError:
            raise NotAppliedError("the body is nested too deeply") from None
        except ValueError:
            raise NotAppliedError("the body has a number that is too large") from None

    return edit


class _Copies:
    """Copies values into a document. Two places never share one: what is put into it next would be in both.

    A value of the rule would carry it to the next exchange; a copy of the whole into itself doubles what there is.
    """

    def __init__(self) -> None:
        self._left = LONGEST

    def __call__(self, value: Any) -> Any:
        text = json.dumps(value)
        self._left -= len(text)
        if self._left < 0:
            raise too_long()
        return json.loads(text)


def _json(document: Any) -> str:
    """Return a document as JSON; with a lone surrogate, which no charset has, in ASCII."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(document, allow_nan=False, separators=(",", ":"))
    return text


def _refuse(name: str) -> None:
    raise ValueError(name)


def _apply(document: Any, operation: dict[str, Any], copy: _Copies) -> Any:
    """Apply one operation of RFC 6902, or ``set``: replace what is there, or add it to what is around."""
    kind, path = operation["op"], operation["path"]
    steps = _steps(path)
    if kind in {"move", "copy"}:
        source = _steps(operation["from"])
        value = _get(document, source, operation["from"])
        if kind == "move":
            if steps[: len(source)] == source and steps != source:
                raise NotAppliedError(f"{operation['from']} cannot be moved into itself")
            document = _remove(document, source, operation["from"])
        return _put(document, steps, value if kind == "move" else copy(value), path, insert=True)
    if kind == "remove":
        return _remove(document, steps, path)
    if kind == "test":
        if _get(document, steps, path) != operation["value"]:
            raise NotAppliedError(f"the value at {path or 'the whole'} is another than the patch's test says")
        return document
    if kind == "replace":
        _get(document, steps, path)
    return _put(document, steps, copy(operation["value"]), path, insert=kind == "add")


def _steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _get(document: Any, steps: list[str], path: str) -> Any:
    for step in steps:
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list):
            document = document[_index(step, len(document) - 1, path)]
        else:
            raise _missing(path)
    return document


def _put(document: Any, steps: list[str], value: Any, path: str, *, insert: bool) -> Any:
    if not steps:
        return value
    around, last = _get(document, steps[:-1], path), steps[-1]
    if isinstance(around, dict):
        around[last] = value
    elif isinstance(around, list) and (last == "-" or insert):
        around.insert(len(around) if last == "-" else _index(last, len(around), path), value)
    elif isinstance(around, list):
        around[_index(last, len(around) - 1, path)] = value
    else:
        raise _missing(path)
    return document


def _remove(document: Any, steps: list[str], path: str) -> Any:
    if not steps:
        return None
    _get(document, steps, path)
    around = _get(document, steps[:-1], path)
    del around[steps[-1] if isinstance(around, dict) else int(steps[-1])]
    return document


def _index(step: str, most: int, path: str) -> int:
    if step.isascii() and step.isdigit() and len(step) < 10 and int(step) <= most and (step == "0" or step[0] != "0"):
        return int(step)
    raise _missing(path)


def _missing(path: str) -> NotAppliedError:
    return NotAppliedError(f"the body has no value at {path}")
