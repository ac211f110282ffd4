"""Schemas that stand in several places of an OpenAPI document are written once, as components with names."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

Schema = dict[str, Any]
_LEAST: Final = 100
"""Characters of a schema from which on a name for it is shorter."""


def shared(paths: dict[str, dict[str, Any]]) -> dict[str, Schema]:
    """Put references in the place of objects that stand in several places; return what they refer to, by name.

    Args:
        paths: the paths of a document, whose schemas are changed.
    """
    counts: Counter[str] = Counter()
    for _, holder in _bodies(paths):
        _count(holder["schema"], counts)
    names = _Names({text for text, count in counts.items() if count > 1})
    for name, holder in _bodies(paths):
        holder["schema"] = names.referred(holder["schema"], name)
    return names.components


def _bodies(paths: dict[str, dict[str, Any]]) -> Iterator[tuple[str, Schema]]:
    """Yield what has the schema of a body, and what a schema could be called that is a whole body."""
    for operations in paths.values():
        for operation in operations.values():
            own = str(operation["operationId"]).partition("_")[2]
            bodies = [(f"{own}_request", operation.get("requestBody", {}))]
            bodies += [(f"{own}_answer", answer) for answer in operation["responses"].values()]
            for name, body in bodies:
                for kind, holder in body.get("content", {}).items():
                    yield "problem" if "problem+json" in kind else name, holder


def _inner(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield the schemas within a schema, and the names of their fields; items have that of their list, ``""``."""
    yield from schema.get("properties", {}).items()
    if isinstance(schema.get("items"), dict):
        yield "", schema["items"]
    for one in schema.get("anyOf", []):
        yield "", one


def _text(schema: Schema) -> str:
    """Return what is the same for equal objects; nothing for what is never shared."""
    if schema.get("type") != "object" or "properties" not in schema:
        return ""
    text = json.dumps(schema, sort_keys=True, separators=(",", ":"))
    return text if len(text) >= _LEAST else ""


def _count(schema: Schema, counts: Counter[str]) -> None:
    """Count objects; what is within one that was met before is not counted again: it will stand there once."""
    text = _text(schema)
    if text:
        counts[text] += 1
        if counts[text] > 1:
            return
    for _, inner in _inner(schema):
        _count(inner, counts)


class _Names:
    """Gives names to schemas.

    Attributes:
        components: the schemas by name.
    """

    def __init__(self, wanted: set[str]) -> None:
        self.components: dict[str, Schema] = {}
        self._wanted = wanted
        self._names: dict[str, str] = {}

    def referred(self, schema: Schema, field: str) -> Schema:
        """Return a reference to a schema that is shared, else the schema with references in it."""
        text = _text(schema)
        if text not in self._wanted:
            return self._within(schema, field)
        name = self._names.get(text)
        if name is None:
            name = self._names[text] = self._free(field)
            self.components[name] = {}  # the name is taken before those within it
            self.components[name] = self._within(schema, field)
        return {"$ref": f"#/components/schemas/{name}"}

    def _within(self, schema: Schema, field: str) -> Schema:
        changed = dict(schema)
        if "properties" in schema:
            changed["properties"] = {key: self.referred(one, key) for key, one in schema["properties"].items()}
        if isinstance(schema.get("items"), dict):
            changed["items"] = self.referred(schema["items"], _singular(field))
        if "anyOf" in schema:
            changed["anyOf"] = [self.referred(one, field) for one in schema["anyOf"]]
        return changed

    def _free(self, field: str) -> str:
        words = re.findall(r"[A-Za-z0-9]+", field)
        name = "".join(word[:1].upper() + word[1:] for word in words)[:60] or "Object"
        free, number = name, 2
        while free in self.components:
            free, number = f"{name}{number}", number + 1
        return free


def _singular(word: str) -> str:
    if word.lower().endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.lower().endswith("s") and not word.lower().endswith("ss") and len(word) > 2 else word
