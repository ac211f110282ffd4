"""Edits of header fields: set, remove, add, replace within values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from wiretape.rules.regexes import LONGEST, MOST_MATCHES, NotAppliedError, expression, template, too_long
from wiretape.rules.values import Changes, HeaderValue, Replacement, wrong

Fields = list[tuple[str, str]]
"""Names and values as latin-1: each character a byte."""
Edit = Callable[[Fields], Fields]

TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}").fullmatch
"""A method, or the name of a field (RFC 9110 section 5.6.2)."""
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*").fullmatch
_FRAMING: Final = frozenset(
    {"content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "proxy-connection"}
)
_MAX_VALUE: Final = 16_384


def check_name(field: str, name: str) -> str:
    """Return the name of a field that a rule may change.

    Raises:
        UsageError: it is no name, or the field belongs to the connection or frames the message.
    """
    if TOKEN(name) is None:
        raise wrong(field, f"{name[:80]!r} is not the name of a header")
    if name.lower() in _FRAMING:
        raise wrong(field, f"{name} follows from the message and its connection and cannot be set")
    return name


def check_value(field: str, value: str) -> str:
    """Return the value of a field, as latin-1 has the bytes of its UTF-8.

    Raises:
        UsageError: it has a line end or another control character, which would make another message of it.
    """
    if _VALUE(value) is None or any("\ud800" <= char <= "\udfff" for char in value):
        raise wrong(field, "a value may have no line end and no other control character")
    if len(value) > _MAX_VALUE:
        raise wrong(field, f"the value is longer than {_MAX_VALUE} characters")
    return value.strip(" \t").encode().decode("latin-1")


def header_edits(field: str, changes: Changes) -> list[Edit]:
    """Compile what is done to fields, in the order of ``Changes``.

    Raises:
        UsageError: something means nothing; the message names the field of the rule.
    """
    edits: list[Edit] = []
    for name, value in (changes.update_headers or {}).items():
        where = f"{field}.updateHeaders.{name}"
        check_name(where, name)
        edits.append(_remove(name, None) if value is None else _set(name, check_value(where, value)))
    for number, one in enumerate(changes.remove_headers or ()):
        where = f"{field}.removeHeaders[{number}]"
        wanted = HeaderValue(name=one) if isinstance(one, str) else one
        check_name(where, wanted.name)
        edits.append(_remove(wanted.name, None if wanted.value is None else check_value(where, wanted.value)))
    for where, name, value in _added(field, changes):
        check_name(where, name)
        edits.append(_add(name, check_value(where, value)))
    for number, replacement in enumerate(changes.replace_in_headers or ()):
        where = f"{field}.replaceInHeaders[{number}]"
        check_name(where, replacement.name)
        check_value(f"{where}.replaceWith", replacement.replace_with)
        edits.append(_replace(replacement.name, replacing(where, replacement)))
    return edits


def _added(field: str, changes: Changes) -> Iterable[tuple[str, str, str]]:
    added = changes.add_headers or {}
    if isinstance(added, dict):
        for name, value in added.items():
            yield f"{field}.addHeaders.{name}", name, value
        return
    for number, one in enumerate(added):
        where = f"{field}.addHeaders[{number}]"
        if one.value is None:
            raise wrong(where, "it has no value")
        yield where, one.name, one.value


def replacing(field: str, replacement: Replacement) -> Callable[[str], str]:
    """Compile a replacement in a text; what is returned raises NotAppliedError where the text would be too long.

    Raises:
        UsageError: as ``header_edits``.
    """
    find, put, count = replacement.find, replacement.replace_with, 0 if replacement.all else 1
    if not find:
        raise wrong(f"{field}.find", "it is empty")
    if not replacement.regex:
        return lambda text: _replaced(text, find, put, count or -1)
    compiled = expression(f"{field}.find", find)
    made = template(f"{field}.replaceWith", put, compiled)

    def change(text: str) -> str:
        size, matches = len(text), 0

        def counted(match: Any) -> str:
            nonlocal size, matches
            matches += 1
            if matches > MOST_MATCHES:
                raise NotAppliedError(f"it has more than {MOST_MATCHES:,} matches: it stays as it was")
            found = made(match)
            size += len(found)
            if size > LONGEST:
                raise too_long()
            return found

        return str(compiled.sub(counted, text, count))

    return change


def _replaced(text: str, find: str, put: str, count: int) -> str:
    """Replace a literal text, unless the result would be too long."""
    more = len(put) - len(find)
    if more > 0 and len(text) + more * (1 if count == 1 else text.count(find)) > LONGEST:
        raise too_long()
    return text.replace(find, put, count)


def edited(lines: Fields, edits: Iterable[Edit]) -> tuple[Fields, str]:
    """Return fields after their edits, and what could not be done, in words."""
    notes: list[str] = []
    for edit in edits:
        try:
            lines = edit(lines)
        except NotAppliedError as error:
            notes.append(str(error))
    return lines, "; ".join(notes)


def _set(name: str, value: str) -> Edit:
    wanted = name.lower()

    def edit(fields: Fields) -> Fields:
        """Put the field where the first of its name stood, or at the end."""
        kept: Fields = []
        found = False
        for have, old in fields:
            if have.lower() != wanted:
                kept.append((have, old))
            elif not found:
                kept.append((have, value))
                found = True
        return kept if found else [*kept, (name, value)]

    return edit


def _remove(name: str, value: str | None) -> Edit:
    wanted = name.lower()
    return lambda fields: [one for one in fields if one[0].lower() != wanted or value not in (None, one[1])]


def _add(name: str, value: str) -> Edit:
    return lambda fields: [*fields, (name, value)]


def _replace(name: str, change: Callable[[str], str]) -> Edit:
    wanted = name.lower()

    def edit(fields: Fields) -> Fields:
        return [(have, _changed(old, change) if have.lower() == wanted else old) for have, old in fields]

    return edit


def _changed(value: str, change: Callable[[str], str]) -> str:
    text = _text(value)
    after = change(text)
    return value if after == text else _wire(after)


def _text(value: str) -> str:
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value


def _wire(value: str) -> str:
    """Return a value for the wire: what a rule was checked for holds, and groups are of one line already."""
    return value.encode().decode("latin-1")
