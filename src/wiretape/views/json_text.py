"""JSON as it is met: read fast where it is sound, leniently where it is nearly so."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

import msgspec

from wiretape.views.limits import ViewError, check_depth, check_size, too_deep

_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def read_json(data: bytes | str) -> Any:
    """Return the value of a JSON text. NaN, lone surrogates and a byte order mark are forgiven.

    Raises:
        ViewError: it is no JSON (the message says where), is nested too deep or too long.
    """
    raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    check_size(raw, "This JSON")
    try:
        value = msgspec.json.decode(raw)
    except RecursionError:
        raise too_deep("This JSON") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        value = _lenient(raw, error)
    return check_depth(value, "This JSON")


def _lenient(raw: bytes, first: Exception) -> Any:
    try:
        value = json.loads(raw.decode("utf-8"), parse_int=_integer)
    except RecursionError:
        raise too_deep("This JSON") from None
    except json.JSONDecodeError as error:
        near = error.doc[max(0, error.pos - 20) : error.pos + 20]
        raise ViewError(
            f"This is not JSON: {error.msg} at character {error.pos}, near {near!r}", hint="view text shows it as it is"
        ) from None
    except (ValueError, UnicodeDecodeError):
        raise ViewError(f"This is not JSON: {first}", hint="view text or hex shows it as it is") from None
    check_depth(value, "This JSON")
    return _sound(value)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= 4_000 else float(digits)


def _sound(value: Any) -> Any:
    """Return the value without what no JSON can carry: half pairs of surrogates, infinities."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_sound(key): _sound(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_sound(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def write_json(value: Any, *, indent: int = 0) -> str:
    """Return a value as JSON text, in one line or laid out."""
    text = msgspec.json.encode(value)
    return (msgspec.json.format(text, indent=indent) if indent else text).decode()
