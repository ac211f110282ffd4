"""A value in every form in which it may travel, and finding it in the fields of a message."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import quote, quote_plus, unquote

from wiretape.model import ExchangeDetail, Message
from wiretape.session.answers.fields import body_fields, head_fields, place_of
from wiretape.views.jwt import claims_of

ENCODINGS: Final = ["plain", "percent", "base64", "json", "jwt-payload", "hex"]
"""The forms that are looked for, as answers name them."""
_SCHEME: Final = re.compile(r"(?:Bearer|Token|token=|JWT|ApiKey|Apikey|OAuth)[ ]*(?=\S)(.+)", re.DOTALL)
_BASIC: Final = re.compile(r"Basic +([A-Za-z0-9+/_=-]+)\s*")
_JWT: Final = re.compile(r"eyJ[A-Za-z0-9_-]{5,20000}\.eyJ[A-Za-z0-9_-]{2,60000}\.[A-Za-z0-9_-]{0,10000}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?")
_SHORT: Final = 8
"""Characters below which a value counts only where it is not a part of a longer word."""
_MAX_VALUE: Final = 8_192


class Needle(NamedTuple):
    """One form of a value: what to look for, and which encoding it is of."""

    encoding: str
    text: str
    any_case: bool = False


class Sighting(NamedTuple):
    """Where a value was seen."""

    seq: int
    part: str
    where: str
    encoding: str
    whole: bool
    """It is all that is there."""
    elapsed_ns: int = 0
    """When it came, of messages: from the exchange's beginning."""


def bare(value: str) -> str:
    """Return a value without the scheme in front of it: ``Bearer``, ``token=``, ``Basic`` (whose base64 stays)."""
    value = value.strip()
    found = _BASIC.fullmatch(value) or _SCHEME.fullmatch(value)
    return found[1].strip() if found is not None else value


class Needles:
    """Every form of one value."""

    def __init__(self, value: str) -> None:
        value = bare(value)[:_MAX_VALUE]
        self.value = value
        self.is_number = _NUMBER.fullmatch(value) is not None
        self.forms = list(_forms(value))
        edge = r"(?<![0-9.])" if self.is_number else r"(?<![A-Za-z0-9])"
        end = r"(?![0-9]|\.[0-9])" if self.is_number else r"(?![A-Za-z0-9])"
        self._exact = re.compile(edge + re.escape(value) + end) if self.is_number or len(value) < _SHORT else None

    def find(self, text: str) -> str:
        """Return in which encoding the value is in a text; empty where it is not."""
        lower = ""
        for needle in self.forms:
            if needle.any_case:
                lower = lower or text.lower()
                if needle.text in lower:
                    return needle.encoding
            elif needle.text in text and (
                self._exact is None or needle.text != self.value or self._exact.search(text) is not None
            ):
                return needle.encoding
        return ""

    def find_in_value(self, value: Any) -> str:
        """Return in which encoding the value is in a field's value."""
        if isinstance(value, str):
            return self.find(value)
        if isinstance(value, bytes):
            return self.find(value.decode("latin-1"))
        if isinstance(value, bool) or value is None or isinstance(value, (dict, list)):
            return ""
        return "plain" if json.dumps(value) == self.value else ""

    def in_claims(self, text: str, known: dict[str, bool]) -> bool:
        """Return whether the value is in the claims of a JWT in a text; ``known`` keeps what was decoded before."""
        for match in _JWT.finditer(text):
            token = match[0]
            if token not in known:
                claims = claims_of(token)
                known[token] = claims is not None and self._among(claims)
            if known[token]:
                return True
        return False

    def _among(self, claims: dict[str, Any]) -> bool:
        return self.find(json.dumps(claims, ensure_ascii=False)) == "plain"


def _forms(value: str) -> Iterator[Needle]:
    yield Needle("plain", value)
    decoded = unquote(value)
    if decoded != value and len(decoded) >= 3:
        yield Needle("percent", decoded)
    for made in dict.fromkeys((quote(value, safe=""), quote_plus(value), quote(value))):
        if made != value:
            yield Needle("percent", made.lower(), any_case=True)
    escaped = json.dumps(value)[1:-1]
    for made in dict.fromkeys((escaped, escaped.replace("/", "\\/"), json.dumps(value, ensure_ascii=False)[1:-1])):
        if made != value:
            yield Needle("json", made)
    raw = value.encode("utf-8", "surrogatepass")
    if len(raw) >= 4:
        yield Needle("hex", raw.hex(), any_case=True)
        yield from (Needle("base64", made) for made in dict.fromkeys(_base64(raw)))
    inner = _decoded_base64(value)
    if inner is not None:
        yield Needle("base64", inner)


def _base64(raw: bytes) -> Iterator[str]:
    """Yield what of ``raw`` in base64 does not depend on what stands around it, for each of the three alignments."""
    for shift in range(3):
        made = base64.b64encode(bytes(shift) + raw).decode().rstrip("=")
        first = (shift * 8 + 5) // 6
        last = (shift + len(raw)) * 8 // 6
        stable = made[first:last]
        if len(stable) >= 6:
            yield stable
            yield stable.translate(str.maketrans("+/", "-_"))


def _decoded_base64(value: str) -> str | None:
    """Return the text that a value is in base64, if it is one."""
    if len(value) < 8 or not re.fullmatch(r"[A-Za-z0-9+/_-]+={0,2}", value):
        return None
    try:
        raw = base64.urlsafe_b64decode(
            value.rstrip("=").translate(str.maketrans("+/", "-_")) + "=" * (-len(value.rstrip("=")) % 4)
        )
        text = raw.decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return text if len(text) >= 4 and text.isprintable() else None


def sightings(detail: ExchangeDetail, needles: Needles, known: dict[str, bool]) -> Iterator[Sighting]:
    """Yield every place of an exchange that holds the value, the request's first."""
    for part in ("request", "response"):
        message: Message | None = getattr(detail, part)
        if message is None:
            continue
        fields = head_fields(message)
        body = message.body
        if body is None or needles.find(body) or "eyJ" in body:
            fields.update(body_fields(message).values)
        raw = f"{message.url or ''}\n{body or ''}"
        for place, value in fields.items():
            encoding = needles.find_in_value(value)
            if encoding == "plain" and _was_decoded(place, message) and needles.value not in raw:
                encoding = "percent"
            if encoding in {"", "base64"} and isinstance(value, str) and "eyJ" in value:
                encoding = "jwt-payload" if needles.in_claims(value, known) else encoding
            if encoding:
                whole = str(value) == needles.value
                yield Sighting(detail.seq, part, place_of(part, place), encoding, whole)


def _was_decoded(place: str, message: Message) -> bool:
    """Return whether percent-encoding was taken off a field's value when it was read."""
    if place.startswith(("path.", "query.")):
        return True
    kinds = (value for name, value in message.headers if name.lower() == "content-type")
    return place.startswith("/") and "x-www-form-urlencoded" in next(kinds, "")
