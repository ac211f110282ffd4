"""Exchanges without their secrets and addresses, for others to read: other values of the same shape in their places."""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from msgspec import UNSET

from wiretape.model import ExchangeDetail, Message
from wiretape.secrets.find import Found, addresses, in_header, in_text
from wiretape.secrets.known import Known, replaced
from wiretape.secrets.patterns import EMAIL
from wiretape.secrets.sightings import body_text, sightings

_MARK: Final = "redacted"
_CHUNK: Final = 1 << 20
_OVERLAP: Final = 32 * 1024
"""Bytes that two pieces of a scan have in common: a secret is shorter."""
_CODED: Final = frozenset({"content-encoding", "x-imported-content-encoding", "x-imported-content-length"})


class Redaction:
    """Replaces secrets and e-mail addresses, each by one and the same other value.

    It learns first: ``learn`` is given every exchange before ``redacted`` is, as a password may stand in an earlier
    exchange than the one that shows what it is.

    Attributes:
        kinds: how many distinct values were replaced, by kind.
        places: how many places of each kind were replaced.
    """

    def __init__(self) -> None:
        self._numbers: Counter[str] = Counter()
        self._kind_of: dict[str, str] = {}
        self._known = Known(b"", self._pseudonym)
        self.places: Counter[str] = Counter()

    @property
    def kinds(self) -> dict[str, int]:
        """How many distinct values there were, by kind."""
        return dict(self._numbers)

    def learn(self, exchange: ExchangeDetail) -> None:
        """Take the secrets and addresses of an exchange into account."""
        for kind, value, _ in sightings(exchange, personal=True):
            self._known.handle_of(kind, value, alias=unquote(value))

    def learn_text(self, text: str) -> None:
        """Take the secrets and addresses of a text into account."""
        for kind, start, end in (*in_text(text), *addresses(text)):
            self._known.handle_of(kind, text[start:end])

    def _pseudonym(self, kind: str, _digits: str, value: str) -> str:
        self._numbers[kind] += 1
        name = _stand_in(kind, self._numbers[kind], value)
        self._kind_of[name] = kind
        return name

    def redacted(self, exchange: ExchangeDetail) -> ExchangeDetail:
        """Return an exchange without them, its lengths corrected."""
        error = exchange.error
        return msgspec.structs.replace(
            exchange,
            request=self._message(exchange.request),
            response=self._message(exchange.response),
            error=None if error is None else {key: self.text(value) for key, value in error.items()},
            notes=[self.text(note) for note in exchange.notes],
        )

    def text(self, text: str) -> str:
        """Return any text without them."""
        return self._hide(self._named(text, [*in_text(text), *addresses(text)]))

    def data(self, data: bytes) -> bytes:
        """Return bytes without them: as a text where they are one, else what is known."""
        try:
            return self.text(data.decode()).encode()
        except UnicodeDecodeError:
            return self._hide_bytes(data)

    def header(self, name: str, value: str) -> str:
        """Return a header's value without them."""
        return self._hide(self._named(value, [*in_header(name, value), *addresses(value)]))

    def _named(self, text: str, found: list[Found]) -> str:
        pieces: list[str] = []
        at = 0
        for kind, start, end in sorted(found, key=lambda one: (one.start, -one.end)):
            if start >= at and not is_stand_in(text[start:end]):
                pieces += [text[at:start], self._known.handle_of(kind, text[start:end])]
                self.places[kind] += 1
                at = end
        pieces.append(text[at:])
        return "".join(pieces)

    def _hide(self, text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        hidden = self._hide_bytes(data)
        return text if hidden is data else hidden.decode("utf-8", "surrogatepass")

    def _hide_bytes(self, data: bytes) -> bytes:
        found = self._known.spans_in(data)
        if not found:
            return data
        for one in {one.start: one for one in found}.values():
            self.places[self._kind_of.get(one.handle, "secret")] += 1
        return replaced(data, found)

    def _message(self, message: Message | None) -> Message | None:
        if message is None:
            return None
        changes: dict[str, Any] = {
            "headers": [(name, self.header(name, value)) for name, value in message.headers],
            "trailers": [(name, self.header(name, value)) for name, value in message.trailers],
        }
        if message.url is not None:
            changes["url"] = self.text(message.url)
        if message.raw is not UNSET or message.raw_base64 is not UNSET:
            changes.update(raw="(left out)", raw_base64=UNSET)
        changes.update(self._body(message, changes["headers"]))
        return msgspec.structs.replace(message, **changes)

    def _body(self, message: Message, headers: list[tuple[str, str]]) -> dict[str, Any]:
        if message.body_parts is not UNSET:
            return {"body_parts": UNSET, "body_note": "The parts that damage left of the body are left out."}
        if message.body is not None:
            text = self.text(message.body)
            return {} if text == message.body else _changed(text.encode("utf-8", "surrogatepass"), text, headers)
        if message.body_base64 is None:
            return {}
        if _undecoded(message):
            note = "The body is left out: it cannot be decoded, so nobody knows what is in it."
            return {"body_base64": None, "body_note": note}
        data = base64.b64decode(message.body_base64)
        text = body_text(message)
        named = self._named(text, in_text(text)).encode("latin-1", "replace") if text else data
        hidden = self._hide_bytes(named)
        return {} if hidden == data else _changed(hidden, None, headers)

    def leaks(self, pieces: Iterator[bytes]) -> list[str]:
        """Look through what was written once more; return the kinds of what is still there, none where all is well."""
        found: set[str] = set()
        tail = b""
        for piece in pieces:
            window = tail + piece
            spans = self._known.spans_in(window)
            found |= {self._kind_of.get(one.handle, "secret") for one in spans}
            text = window.decode("utf-8", "replace")
            found |= {one.kind for one in in_text(text) if self._is_known(text[one.start : one.end])}
            found |= {EMAIL for one in addresses(text) if self._is_known(text[one.start : one.end])}
            tail = window[-_OVERLAP:]
        return sorted(found)

    def _is_known(self, value: str) -> bool:
        """Return whether a value that was found by name or looks is one that was to be replaced."""
        return self._known.knows(value) and not is_stand_in(value)


def chunks(read: Any) -> Iterator[bytes]:
    """Yield a file's bytes in pieces."""
    while piece := read(_CHUNK):
        yield piece


def _changed(data: bytes, text: str | None, headers: list[tuple[str, str]]) -> dict[str, Any]:
    """Return what a message with another body has: no coding, the right length."""
    kept = [(name, value) for name, value in headers if name.lower() not in _CODED]
    kept = [(name, str(len(data)) if name.lower() == "content-length" else value) for name, value in kept]
    return {
        "headers": kept,
        "body": text,
        "body_base64": None if text is not None else base64.b64encode(data).decode(),
        "body_size": len(data),
        "body_recorded": len(data),
        "pieces": UNSET,
    }


def _undecoded(message: Message) -> bool:
    return "could not be removed" in (message.body_note or "")


def is_stand_in(value: str) -> bool:
    """Return whether a value was put in the place of another by a redaction."""
    if _MARK in value:
        return True
    parts = value.split(".")
    return len(parts) >= 2 and value.startswith("eyJ") and _MARK in _decoded(parts[1])


def _stand_in(kind: str, number: int, value: str) -> str:
    """Make another value of the same shape: letters that need no escape in JSON, URLs, headers and HTML."""
    if kind == EMAIL:
        return f"person-{number}@{_MARK}.invalid"
    if kind == "jwt":
        return _empty_token(value, number)
    if kind == "card":
        return f"{number:0{len(value)}d}"[-len(value) :]
    if kind == "basic":
        return base64.b64encode(f"{_MARK}-{number}:{_MARK}".encode()).decode()
    return f"{_MARK}-{kind}-{number}"


def _empty_token(value: str, number: int) -> str:
    """Make a JWT of the same shape: its header, its claims without their values, a signature of zeros."""
    parts = value.split(".")
    try:
        claims = json.loads(_decoded(parts[1]))
    except ValueError:
        claims = None
    if not isinstance(claims, dict) or len(parts) != 3:  # encrypted, or none: nothing of it is known
        header = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
        claims, parts = {}, [header, "", "A"]
    emptied = {key: _empty_claim(key, claim) for key, claim in claims.items()} | {_MARK: number}
    body = base64.urlsafe_b64encode(json.dumps(emptied, separators=(",", ":")).encode()).rstrip(b"=").decode()
    return f"{parts[0]}.{body}.{'A' * max(len(parts[2]), 1)}"


def _empty_claim(name: str, value: Any) -> Any:
    if name in {"exp", "iat", "nbf"}:  # when it was valid explains much and gives nothing away
        return value if isinstance(value, int | float) else 0
    if isinstance(value, str):
        return _MARK
    if isinstance(value, bool) or value is None:
        return value
    return 0 if isinstance(value, int | float) else {} if isinstance(value, dict) else []


def _decoded(part: str) -> str:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
