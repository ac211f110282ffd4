"""Secrets of every kind, made anew in each run, and the encodings in which they must not leave."""

from __future__ import annotations

import base64
import html
import json
import random
import string
from collections.abc import Callable
from urllib.parse import quote

_ALNUM = string.ascii_letters + string.digits


def _word(source: random.Random, size: int, alphabet: str = _ALNUM) -> str:
    return "".join(source.choice(alphabet) for _ in range(size))


def jwt(source: random.Random) -> str:
    """Make a token whose claims have an address."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"sub": _word(source, 6), "email": "ada.byron@example.com", "exp": 1_900_000_000}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{_word(source, 43)}"


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "jwt": jwt,
    "bearer": lambda source: _word(source, 32),
    "cookie": lambda source: _word(source, 24),
    "csrf": lambda source: base64.b64encode(source.randbytes(24)).decode(),
    "password": lambda source: _word(source, 9) + source.choice('!"&%+ü€ \\'),
    "refresh-token": lambda source: "rt_" + _word(source, 24),
    "stripe-key": lambda source: "sk_live_" + _word(source, 24),
    "github-token": lambda source: "ghp_" + _word(source, 36),
    "aws-key-id": lambda source: "AKIA" + _word(source, 16, string.ascii_uppercase + "234567"),
    "api-key": lambda source: _word(source, 40, "0123456789abcdef"),
}


def planted(count: int, seed: int) -> list[tuple[str, str]]:
    """Make secrets: (kind, value), of every kind equally many."""
    source = random.Random(seed)
    kinds = list(MAKERS)
    return [(kinds[at % len(kinds)], MAKERS[kinds[at % len(kinds)]](source)) for at in range(count)]


def encodings(value: str) -> dict[str, list[str]]:
    """Write a secret in ten encodings; in base64 what of it is the same whatever stands before and behind."""
    raw = value.encode()
    percent = "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}" for byte in raw)
    return {
        "plain": [value],
        "percent": [percent, quote(value, safe="")],
        "percent, lower case": [_lower_percent(percent)],
        "form": [percent.replace("%20", "+")],
        "json": [json.dumps(value)[1:-1], "".join(f"\\u{ord(char):04x}" for char in value)],
        "html": [html.escape(value), "".join(f"&#{ord(char)};" for char in value)],
        "hex": [raw.hex()],
        "hex, upper case": [raw.hex().upper()],
        "base64": [_core(base64.b64encode, raw, at) for at in range(3)],
        "base64url": [_core(base64.urlsafe_b64encode, raw, at) for at in range(3)],
    }


def _lower_percent(text: str) -> str:
    parts = text.split("%")
    return parts[0] + "".join(f"%{part[:2].lower()}{part[2:]}" for part in parts[1:])


def _core(encode: Callable[[bytes], bytes], raw: bytes, shift: int) -> str:
    """Return the characters that depend on the secret alone."""
    whole = encode(b"x" * shift + raw + b"x" * (-(shift + len(raw)) % 3)).decode()
    first, last = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
    return whole[first:last]


def spellings(value: str, at: int) -> str:
    """Write a secret in one of the ten encodings as a server might echo it, something before and behind."""
    raw = value.encode()
    name = list(encodings(value))[at % 10]
    if name.startswith("base64"):
        encode = base64.b64encode if name == "base64" else base64.urlsafe_b64encode
        return encode(b"id:"[: at % 3] + raw + b"/end").decode()
    return f"<{encodings(value)[name][-1]}>"
