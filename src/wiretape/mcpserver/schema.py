"""JSON schemas of tools: flat at the root, without what costs tokens and says nothing."""

from __future__ import annotations

from typing import Any, Final, get_args

import msgspec
from pydantic import BaseModel

HIDDEN: Final = "x-hidden"
"""The mark of an argument that is accepted and not listed (see ``arguments.hidden``)."""


def input_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a tool's arguments, those that may be left out as what they are when they are given."""
    schema = _tidy(model.model_json_schema(by_alias=True), keep_descriptions=True)
    listed = {name: part for name, part in schema.get("properties", {}).items() if HIDDEN not in part}
    # That nothing else is taken is for us to say, in an answer that names what was meant; here it would cost more than
    # many an argument, and forbid those that are taken without being listed.
    schema.pop("additionalProperties", None)
    return {**schema, "properties": {name: _when_given(part) for name, part in listed.items()}}


def _when_given(schema: dict[str, Any]) -> dict[str, Any]:
    """Leave out that an argument may be null, which is to leave it out."""
    if schema.get("default", ...) is None:
        schema = {key: part for key, part in schema.items() if key != "default"}
    kinds = schema.get("anyOf", [])
    given = [kind for kind in kinds if kind != {"type": "null"}]
    if len(given) == 1 and len(kinds) == 2:
        return {**given[0]} | {key: part for key, part in schema.items() if key != "anyOf"}
    return schema


def output_schema(result: Any) -> dict[str, Any]:
    """Return the schema of what a tool answers with: the value's own keys behind ``status``.

    Args:
        result: a ``model.Value`` class, or a union of such: then a key is required that all of them have.
    """
    kinds = get_args(result) or (result,)
    properties: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    required: set[str] | None = None
    for kind in kinds:
        raw = msgspec.json.schema(kind, ref_template="#/$defs/{name}")
        definitions |= raw.get("$defs", {})
        root = _told(definitions.pop(raw["$ref"].rpartition("/")[2]))
        properties = {**root["properties"], **properties}
        required = set(root["required"]) if required is None else required & set(root["required"])
    status = dict(properties.pop("status", {"type": "string", "const": "success"}))
    status.pop("default", None)
    schema = {
        "type": "object",
        "properties": {"status": status, **properties},
        "required": ["status", *(key for key in properties if key in (required or ()))],
    }
    if definitions:
        schema["$defs"] = {name: _told(part) for name, part in sorted(definitions.items())}
    return _tidy(schema, keep_descriptions=False)


def _told(schema: dict[str, Any]) -> dict[str, Any]:
    """Require of a struct's keys those that ``lean`` always tells."""
    if "properties" not in schema:
        return schema
    nullable = {name for name, part in schema["properties"].items() if {"type": "null"} in part.get("anyOf", ())}
    return {**schema, "required": [name for name in schema.get("required", ()) if name not in nullable]}


def _tidy(schema: dict[str, Any], *, keep_descriptions: bool) -> dict[str, Any]:
    """Drop generated titles everywhere, and class docstrings from results."""
    tidy: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" or (key == "description" and not keep_descriptions):
            continue
        if key in {"properties", "$defs"}:
            # The keys below are names, not keywords.
            tidy[key] = {name: _tidy(part, keep_descriptions=keep_descriptions) for name, part in value.items()}
        elif isinstance(value, dict):
            tidy[key] = _tidy(value, keep_descriptions=keep_descriptions)
        elif isinstance(value, list):
            tidy[key] = [
                _tidy(part, keep_descriptions=keep_descriptions) if isinstance(part, dict) else part for part in value
            ]
        else:
            tidy[key] = value
    return tidy
