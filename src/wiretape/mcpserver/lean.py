"""Values as a model reads them: absent means nothing, so that nothing is paid for keys that say nothing."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import NODEFAULT, UNSET

from wiretape.model import Value, to_json


class Whole(Value, frozen=True):
    """Base of values of which every key is told, also one that is null: users of proxy-mcp read them so."""


def lean(value: Any) -> Any:
    """Turn a value into plain JSON types without the keys that say nothing.

    Left out are null everywhere, and an empty list or object and false where that is the default. Numbers always stay,
    unless their struct omits defaults. What was recorded (in dicts and lists) is not touched: there null is a value.
    """
    if isinstance(value, msgspec.Struct) and not isinstance(value, Whole):
        return _keys(value)
    if isinstance(value, list | tuple):
        return [lean(item) for item in value]
    if isinstance(value, dict):
        return {key: lean(item) for key, item in value.items()}
    return to_json(value)


def _keys(value: msgspec.Struct) -> dict[str, Any]:
    omits = value.__struct_config__.omit_defaults
    told: dict[str, Any] = {}
    for field in msgspec.structs.fields(value):
        item = getattr(value, field.name)
        if item is UNSET or item is None:
            continue
        optional = field.default is not NODEFAULT or field.default_factory is not NODEFAULT
        if optional and (item is False or item in ([], {}) or (omits and item == field.default)):
            continue
        told[field.encode_name] = lean(item)
    return told
