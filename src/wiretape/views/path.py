"""Paths into a value: JSON Pointer (RFC 6901) with ``*`` and ``[key=value]``; JSONPath is understood as well."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from wiretape.views.limits import ViewError
from wiretape.views.shape import keys_of

MAX_MATCHES: Final = 100_000
"""Matches that are counted; what goes beyond is said."""
_EXAMPLE: Final = "a path is /data/0/name, /data/*/id, /data/*[id=p_1]/price or a JSONPath such as $.data[0].name"
_SEGMENT: Final = re.compile(r"(?P<name>[^\[\]]*)(?P<tests>(?:\[[^\]]*\])*)", re.DOTALL)
_TEST: Final = re.compile(r"\[([^\]=]+)=([^\]]*)\]", re.DOTALL)
_INDEX: Final = re.compile(r"\[(-?\d{1,9})\]")
_UNSAFE: Final = re.compile(r"=~|\bmatch\s*\(|\bsearch\s*\(")
_MAX_PATH: Final = 2_000
_SHOWN: Final = 5
"""Values that are given as examples where none is the one that was asked for."""


class Match(NamedTuple):
    """One place: its JSON Pointer, and what stands there."""

    pointer: str
    value: Any


class NoMatchError(ViewError):
    """Nothing is at a path. ``prefix`` is the longest beginning of it that exists, ``keys`` what there is below it."""

    code = "no-match"

    def __init__(self, path: str, prefix: str, keys: list[str], detail: str = "") -> None:
        there = (
            f"{prefix or '/'} exists and has {', '.join(keys)}"
            if keys
            else f"{prefix or '/'} exists and has nothing below it"
        )
        super().__init__(f"Nothing is at {path[:200]}: {detail or there}", hint=_EXAMPLE)
        self.prefix = prefix
        self.keys = keys


class _Segment(NamedTuple):
    name: str
    tests: list[tuple[str, str]]
    source: str


def find(value: Any, path: str) -> Iterator[Match]:
    """Yield what is at a path, in the value's order.

    Raises:
        ViewError: the path means nothing. NoMatchError: nothing is there.
    """
    if len(path) > _MAX_PATH:
        raise ViewError(f"A path of {len(path)} characters is none", hint=_EXAMPLE)
    path = path.strip()
    if path.startswith(("$", ".", "[")):
        return _jsonpath(value, path)
    return _pointer(value, path)


# -- JSON Pointer -------------------------------------------------------------------------------------------------


def _pointer(value: Any, path: str) -> Iterator[Match]:
    segments = [_segment(part) for part in _split(path)]
    found = _walk(value, "", segments, 0)
    first = next(found, None)
    if first is None:
        raise _nothing(value, path, segments)
    yield first
    yield from found


def _split(path: str) -> list[str]:
    """Split at slashes outside of brackets."""
    if path in {"", "/"}:
        return []
    parts, depth, begun = [], 0, 1 if path.startswith("/") else 0
    for at, char in enumerate(path):
        if char == "[":
            depth += 1
        elif char == "]":
            depth = max(0, depth - 1)
        elif char == "/" and not depth and at >= begun:
            parts.append(path[begun:at])
            begun = at + 1
    if depth:
        raise ViewError(f"The path {path[:200]} has a [ without its ]", hint=_EXAMPLE)
    return [*parts, path[begun:]]


def _segment(part: str) -> _Segment:
    found = _SEGMENT.fullmatch(part)
    tests = _TEST.findall(found["tests"]) if found else []
    if found is None or "".join(f"[{key}={value}]" for key, value in tests) != found["tests"]:
        number = _INDEX.fullmatch(found["tests"]) if found else None
        if found is not None and number is not None and not found["name"]:
            return _Segment(number[1], [], part)
        # Brackets are no syntax where they are part of a key: /items[]/x, as forms have them.
        return _Segment(_unescaped(part), [], part)
    name = found["name"] or ("*" if tests else "")
    return _Segment(_unescaped(name), [(key.strip(), _unquoted(wanted)) for key, wanted in tests], part)


def _unescaped(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~")


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'" else text


def _walk(value: Any, at: str, segments: list[_Segment], number: int) -> Iterator[Match]:
    if number == len(segments):
        yield Match(at, value)
        return
    for name, inner in _children(value, segments[number]):
        yield from _walk(inner, f"{at}/{name}", segments, number + 1)


def _children(value: Any, segment: _Segment) -> Iterator[tuple[str, Any]]:
    name, tests, _ = segment
    found: Iterator[tuple[str, Any]]
    if name == "*" and not (isinstance(value, dict) and "*" in value):
        found = _all(value)
    elif isinstance(value, dict):
        found = iter([(escaped(name), value[name])] if name in value else [])
    elif isinstance(value, list) and re.fullmatch(r"-?\d{1,9}", name, re.ASCII):
        place = int(name) + (len(value) if name.startswith("-") else 0)
        found = iter([(str(place), value[place])] if 0 <= place < len(value) else [])
    else:
        return
    for key, inner in found:
        if tests and isinstance(inner, list) and name != "*":
            # /data[id=x] means an element of data, as XPath has it.
            yield from ((f"{key}/{place}", one) for place, one in enumerate(inner) if _passes(one, tests))
        elif not tests or _passes(inner, tests):
            yield key, inner


def _all(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        return ((escaped(key), inner) for key, inner in value.items())
    return ((str(place), inner) for place, inner in enumerate(value)) if isinstance(value, list) else iter(())


def _passes(value: Any, tests: list[tuple[str, str]]) -> bool:
    for key, wanted in tests:
        inner = value
        for part in key.strip("/").split("/"):
            if isinstance(inner, dict) and part in inner:
                inner = inner[part]
            else:
                return False
        if _plain(inner) != wanted:
            return False
    return True


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def escaped(key: str) -> str:
    """Return a key as it stands in a JSON Pointer."""
    return str(key).replace("~", "~0").replace("/", "~1")


def _nothing(value: Any, path: str, segments: list[_Segment]) -> NoMatchError:
    """Return the error that says how far the path goes."""
    for length in range(len(segments) - 1, -1, -1):
        last = next(_walk(value, "", segments[:length], 0), None)
        if last is None:
            continue
        detail = ""
        tests = segments[length].tests
        inside = last.value
        if tests:
            target = inside.get(segments[length].name) if isinstance(inside, dict) else inside
            inside = target if isinstance(target, dict | list) else inside
            key = tests[0][0]
            there = [_plain(one[key])[:60] for one in _elements(inside) if isinstance(one, dict) and key in one]
            listed = ", ".join(dict.fromkeys(islice(there, _SHOWN)))
            detail = (
                f"of {len(there)} values of {key} in {last.pointer or '/'} none is {tests[0][1][:80]}; "
                f"they are {listed}{', …' if len(there) > _SHOWN else ''}"
                if there
                else ""
            )
        return NoMatchError(path, last.pointer, keys_of(last.value), detail)
    return NoMatchError(path, "", keys_of(value))


def _elements(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


# -- JSONPath -----------------------------------------------------------------------------------------------------


def _jsonpath(value: Any, path: str) -> Iterator[Match]:
    import jsonpath  # noqa: PLC0415 - a tenth of a second, for those who write JSONPath

    if _UNSAFE.search(path):
        raise ViewError(
            f"The path {path[:200]} has a regular expression, which paths do not take", hint="grep takes one"
        )
    query = path if path.startswith("$") else f"${path if path.startswith(('.', '[')) else '.' + path}"
    query = query.replace("[]", "[*]").rstrip(".") or "$"
    if query.count("..") > 1:
        raise ViewError(f"The path {path[:200]} descends everywhere more than once", hint="write one .. at most")
    try:
        compiled = jsonpath.compile(query)
    except (jsonpath.JSONPathError, RecursionError) as error:
        raise ViewError(
            f"The path {path[:200]} cannot be read: {str(error).splitlines()[0][:200]}", hint=_EXAMPLE
        ) from None
    try:
        found = compiled.finditer(value) if isinstance(value, dict | list) else iter(())
        first = next(iter(islice(found, 1)), None)
        if first is None:
            raise NoMatchError(path, "", keys_of(value))
        yield Match(str(first.pointer()), first.obj)
        for one in found:
            yield Match(str(one.pointer()), one.obj)
    except (jsonpath.JSONPathError, RecursionError) as error:
        raise ViewError(
            f"The path {path[:200]} cannot be followed: {str(error).splitlines()[0][:200]}", hint=_EXAMPLE
        ) from None
