"""JSON schemas of tools: flat at the root, without what costs tokens and says nothing."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import BaseModel


def input_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a tool's arguments."""
    schema = _tidy(model.model_json_schema(by_alias=True), keep_descriptions=True)
    schema.setdefault("properties", {})
    return schema


def output_schema(result: Any) -> dict[str, Any]:
    """Return the schema of what a tool answers with: the value's own keys behind ``status``.

    Args:
        result: a ``model.Value`` class.
    """
    raw = msgspec.json.schema(result, ref_template="#/$defs/{name}")
    definitions = raw.get("$defs", {})
    root = dict(definitions.pop(raw["$ref"].rpartition("/")[2]))
    properties, required = dict(root["properties"]), set(root.get("required", ()))
    status = properties.pop("status", {"type": "string", "const": "success"})
    status.pop("default", None)
    schema = {
        "type": "object",
        "properties": {"status": status, **properties},
        # A key that has a default is always there; one that has none and is not required is there if it is told.
        "required": ["status", *(key for key in properties if key in required or "default" in properties[key])],
    }
    if definitions:
        schema["$defs"] = dict(sorted(definitions.items()))
    return _tidy(schema, keep_descriptions=False)


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
