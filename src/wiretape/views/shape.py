"""The shape of a JSON value: its keys and types in one short line, arrays folded to what their elements have."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

SHAPE_CHARACTERS: Final = 420
"""Characters of a shape: a hundred tokens, which a model reads at a glance."""
_SAMPLE: Final = 1_000
"""Elements of an array that are looked at."""
_KEYS: Final = 300
_LOOKED_AT: Final = 50_000
"""Values that are looked at in all; the first elements of an array are mostly like the others."""
_FITS: Final = [(depth, keys) for keys in (60, 24, 12, 8, 5, 3, 2) for depth in (9, 7, 5, 4, 3)]
_SCALARS: Final = {str: "str", bool: "bool", int: "int", float: "float", type(None): "null"}


class _Shape:
    """What was seen at one place: types of single values, keys of objects, elements of arrays."""

    __slots__ = ("count", "elements", "keys", "left", "lengths", "scalars", "seen")

    def __init__(self) -> None:
        self.scalars: dict[str, None] = {}
        self.keys: dict[str, _Shape] | None = None
        self.elements: _Shape | None = None
        self.lengths: list[int] = []
        self.count = 0
        """How many objects were seen here."""
        self.seen = 0
        """How often this place was there at all."""
        self.left = 0
        """Keys of objects that are not listed."""

    def add(self, value: Any, room: list[int]) -> None:
        room[0] -= 1
        if room[0] < 0:
            return
        self.seen += 1
        if isinstance(value, dict):
            self.count += 1
            self.keys = {} if self.keys is None else self.keys
            for key, inner in islice(value.items(), _KEYS):
                if key not in self.keys and len(self.keys) >= _KEYS:
                    self.left += 1
                    continue
                known = self.keys.get(key)
                if known is None:
                    known = self.keys[key] = _Shape()
                known.add(inner, room)
            self.left += max(0, len(value) - _KEYS)
        elif isinstance(value, list):
            self.elements = self.elements or _Shape()
            self.lengths.append(len(value))
            for inner in islice(value, _SAMPLE):
                self.elements.add(inner, room)
        else:
            self.scalars[_SCALARS.get(type(value), "str")] = None

    def text(self, depth: int, keys: int, room: list[int]) -> str:
        parts = []
        if self.keys is not None:
            parts.append(self._object(depth, keys, room))
        if self.elements is not None:
            parts.append(self._array(depth, keys, room))
        scalars = list(self.scalars)
        if len(parts) + len(scalars) > 1 and "null" in scalars:
            scalars.remove("null")
            return "|".join([*parts, *scalars]) + "|null"
        return "|".join([*parts, *scalars])

    def _object(self, depth: int, keys: int, room: list[int]) -> str:
        assert self.keys is not None
        if not self.keys:
            return "{}"
        if depth <= 1:
            return "{…}"
        # Nested values first in what is kept: a path goes through them, and scalars are the likelier to be alike.
        shown = list(islice(self.keys.items(), keys))
        if len(self.keys) > keys:
            nested = [item for item in self.keys.items() if item[1].keys is not None or item[1].elements is not None]
            first = shown[: max(1, keys - len(nested))]
            taken = {key for key, _ in first} | {key for key, _ in nested[: max(0, keys - len(first))]}
            shown = [(key, inner) for key, inner in self.keys.items() if key in taken]
        inside = []
        for key, inner in shown:
            room[0] -= len(key) + 2
            if room[0] < 0:
                return "…"  # too long in any case: the one who asked measures it
            optional = "?" if inner.seen < self.count else ""
            inside.append(f"{_key(key)}{optional}:{inner.text(depth - 1, keys, room)}")
        more = len(self.keys) - len(shown) + self.left
        if more:
            inside.append(f"…{more} more" if more > 20 else "…")
        return "{" + ",".join(inside) + "}"

    def _array(self, depth: int, keys: int, room: list[int]) -> str:
        assert self.elements is not None
        low, high = min(self.lengths), max(self.lengths)
        length = str(low) if low == high else f"{low}-{high}"
        if high == 0:
            return "[]"
        return f"[{length} x {self.elements.text(depth, keys, room)}]"


def _key(key: str) -> str:
    plain = key.replace("_", "").replace("-", "").isalnum()
    text = key if plain else f'"{key}"'
    return text if len(text) <= 60 else text[:57] + "…"


def shape_of(value: Any, *, characters: int = SHAPE_CHARACTERS) -> str:
    """Return a value's shape: ``{meta:{page:int},data:[150 x {id:str,…}]}``, ``key?`` where not every object has it.

    Args:
        value: of JSON types, nested at most ``MAX_DEPTH`` deep.
        characters: how long the shape may be; keys and depth are left out until it fits, ``…`` stands for them.
    """
    found = _Shape()
    found.add(value, [_LOOKED_AT])
    text = ""
    best = ""
    for depth, keys in _FITS:
        room = [characters]
        text = found.text(depth, keys, room)
        if room[0] >= 0 and len(text) <= characters and len(text) > len(best):
            best = text
    return best or found.text(1, 1, [characters])


def try_path(value: Any) -> str | None:
    """Return a path that would give something of this value, as an example; None where there is nothing to choose."""
    at: list[str] = []
    for _ in range(6):
        if isinstance(value, dict) and value:
            key = max(value, key=lambda one: _weight(value[one]))
            at.append(_escaped(key))
            value = value[key]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            named = _identity(value[0])
            at.append(f"*[{named}={value[0][named]}]" if named else "0")
            inner = next((key for key, one in value[0].items() if isinstance(one, dict | list)), None)
            return "/" + "/".join([*at, *([_escaped(inner)] if inner else [])])
        else:
            break
    return "/" + "/".join(at) if at else None


def _weight(value: Any) -> int:
    if isinstance(value, list):
        return 2 + len(value)
    return 1 + len(value) if isinstance(value, dict) else 0


def _identity(element: dict[str, Any]) -> str | None:
    for key in ("id", "name", "key", "code", "slug", "type"):
        if isinstance(element.get(key), str | int) and len(str(element[key])) <= 60 and "]" not in str(element[key]):
            return key
    return None


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def keys_of(value: Any, most: int = 40) -> list[str]:
    """Return the keys of an object, or what says how long an array is."""
    if isinstance(value, dict):
        shown = [str(key)[:80] for key in islice(value, most)]
        return [*shown, f"… {len(value) - most} more"] if len(value) > most else shown
    return [f"0..{len(value) - 1}"] if isinstance(value, list) and value else []
