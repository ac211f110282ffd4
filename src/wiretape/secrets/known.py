"""The secrets that were met so far: their handles, the way back from those, and finding them in any text."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote, unquote_plus

from wiretape.errors import NotFoundError
from wiretape.secrets.encodings import Span, spans
from wiretape.secrets.handles import DIGITS, HANDLE, digest, handle

MAX_KNOWN: Final = 100_000
"""Values that are remembered; of more, the rest is hidden where it is found, but not looked for elsewhere."""
_WINDOW: Final = 8
"""Bytes of a secret by which it is looked up."""
_SHORT: Final = 6
_FEW: Final = 1_000
"""Secrets of less than eight bytes that are looked for, one after the other."""
_MIN_DISTINCT: Final = 4
_ALIKE: Final = 50
"""Secrets that may have the bytes in common by which they are looked up."""
_WHOLE_FIELDS: Final = frozenset(
    {"password", "secret", "csrf", "session", "token", "refresh-token", "api-key", "basic"}
)


class Known:
    """Secrets by handle and by their bytes. Threads may share it."""

    def __init__(self, key: bytes, name: Callable[[str, str, str], str] | None = None) -> None:
        """Know nothing yet.

        Args:
            key: of the handles.
            name: makes what stands for a secret of its kind, its digits and its value; None makes handles.
        """
        self._key = key
        self._name = name or (lambda kind, digits, _: handle(kind, digits))
        self._lock = threading.Lock()
        self._handles: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._meant: dict[str, str] = {}
        """By digits: what they were made of."""
        self._encoded: dict[str, tuple[str, str]] = {}
        """By what they mean: name and digits of values that were met in percent-encoding only."""
        self._windows: dict[int, list[tuple[bytes, int, str]]] = {}
        self._short: list[tuple[bytes, str]] = []
        self.overflowed = 0

    def __len__(self) -> int:
        return len(self._handles)

    def handle_of(self, kind: str, value: str, *, alias: str = "") -> str:
        """Return the handle of a secret, and remember it; an alias is given the same one.

        A value and its percent-encoded form are one secret. The handle means the plain form once that was met.
        """
        found = self._handles.get(value)
        if found is None:
            with self._lock:
                found = self._handles.get(value) or self._learn(kind, value)
        if alias and alias not in self._handles:
            self._handles[alias] = found
        return found

    def _learn(self, kind: str, value: str) -> str:
        meant = without_percent(value)
        again = self._again(value, meant)
        if again is not None:
            return again
        whole = digest(self._key, meant)
        digits = next(
            (whole[:size] for size in range(DIGITS, len(whole)) if self._meant.get(whole[:size], meant) == meant),
            whole,
        )
        name = self._name(kind, digits, value)
        if len(self._handles) >= MAX_KNOWN:
            self.overflowed += 1
            return name
        self._handles[value] = name
        self._values[digits] = value
        self._meant[digits] = meant
        if meant != value:
            self._encoded[meant] = name, digits
        for form in forms(kind, value):
            self._look_for(form.encode("utf-8", "surrogatepass"), name)
        return name

    def _again(self, value: str, meant: str) -> str | None:
        """Return the name of a value that is known in another form, and remember that it is this one's, too."""
        name, digits = self._encoded.get(meant) or (self._handles.get(meant), "")
        if name is None or len(self._handles) >= MAX_KNOWN:
            return name
        self._handles[value] = name
        if value == meant and digits:
            self._values[digits] = value
        return name

    def _look_for(self, secret: bytes, name: str) -> None:
        if len(secret) < _WINDOW:
            if len(self._short) < _FEW:
                self._short.append((secret, name))
            return
        # Beginnings are alike (those of JWTs for example), and so are the ends of padded base64.
        for at in (max(0, len(secret) - _WINDOW - 4), len(secret) - _WINDOW, len(secret) // 2 - 4, 0):
            window = int.from_bytes(secret[at : at + _WINDOW], "little")
            alike = self._windows.setdefault(window, [])
            if len(alike) < _ALIKE:
                alike.append((secret, at, name))
                return

    def resolve(self, text: str) -> str:
        """Put values in the place of the handles in a text.

        Raises:
            NotFoundError: no secret has such a handle.
        """
        if "{{" not in text:
            return text
        return HANDLE.sub(lambda match: self._value(match[1], match[2]), text)

    def _value(self, kind: str, digits: str) -> str:
        value = self._values.get(digits)
        if value is None:
            raise NotFoundError(
                f"No secret has the handle {handle(kind[:40], digits)}",
                hint="proxy_find_secrets lists the handles of a session",
                code="no-such-handle",
            )
        return value

    def knows(self, value: str) -> bool:
        """Return whether a value is a secret that was met."""
        return value in self._handles

    def has(self, digits: str) -> bool:
        """Return whether a handle with these digits is known."""
        return digits in self._values

    def hide(self, text: str) -> str:
        """Put handles in the place of every known secret, in whatever encoding it stands in the text."""
        if not self._windows and not self._short:
            return text
        data = text.encode("utf-8", "surrogatepass")
        found = self.spans_in(data)
        if not found:
            return text
        return replaced(data, found).decode("utf-8", "surrogatepass")

    def spans_in(self, data: bytes) -> list[Span]:
        """Return where known secrets stand in bytes, in any encoding."""
        if len(data) < _SHORT:
            return []
        return spans(data, self._plain)

    def _plain(self, data: bytes) -> list[Span]:
        found: list[Span] = []
        windows = self._windows
        if windows and len(data) >= _WINDOW:
            known = windows.keys()
            view = memoryview(data)
            for shift in range(min(_WINDOW, len(data) - _WINDOW + 1)):
                words = view[shift : shift + (len(data) - shift) // _WINDOW * _WINDOW].cast("Q")
                if known.isdisjoint(words):
                    continue
                for number, word in enumerate(words):
                    if word in windows:
                        self._whole(data, shift + number * _WINDOW, windows[word], found)
        for secret, name in self._short:
            at = data.find(secret)
            while at >= 0:
                found.append(Span(at, at + len(secret), name))
                at = data.find(secret, at + len(secret))
        return found

    @staticmethod
    def _whole(data: bytes, at: int, alike: list[tuple[bytes, int, str]], found: list[Span]) -> None:
        for secret, offset, name in alike:
            start = at - offset
            if start >= 0 and data.startswith(secret, start):
                found.append(Span(start, start + len(secret), name))


def replaced(data: bytes, found: list[Span]) -> bytes:
    """Return bytes with what was found replaced; of what overlaps, the one that begins first and is longest counts."""
    pieces: list[bytes] = []
    at = 0
    for start, end, name in sorted(found, key=lambda one: (one.start, -one.end)):
        if start < at:
            at = max(at, end)
            continue
        pieces += [data[at:start], name.encode()]
        at = end
    pieces.append(data[at:])
    return b"".join(pieces)


def without_percent(value: str) -> str:
    """Return a value as it was before it was percent-encoded; one that was not is returned as it is."""
    if "%" not in value:
        return value
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        return value


def forms(kind: str, value: str) -> set[str]:
    """Return what of a secret is looked for everywhere: itself, decoded where it is percent-encoded, and its parts.

    What a person may have meant otherwise is hidden only where it was found: short words, numbers, one letter often.
    """
    found = {value}
    if "%" in value:
        found |= {unquote(value), unquote_plus(value)}
    if kind == "jwt":
        found.add(value.rpartition(".")[2])  # the signature makes the rest valid
    if kind == "basic":
        found |= set(_basic(value))
    return {one for one in found if _distinct(kind, one)}


def _basic(value: str) -> list[str]:
    import base64  # noqa: PLC0415
    import binascii  # noqa: PLC0415

    try:
        login = base64.b64decode(value + "=" * (-len(value) % 4)).decode()
    except (binascii.Error, ValueError):
        return []
    return [login.partition(":")[2]]


def _distinct(kind: str, value: str) -> bool:
    size = len(value.encode("utf-8", "surrogatepass"))
    if size < _SHORT or len(set(value)) < _MIN_DISTINCT:
        return False
    if size < 12 and value.isdigit():
        return False
    if kind in _WHOLE_FIELDS:
        # "password" and "changeme" stand in many texts where they are words.
        return not (value.isalpha() and size < 10) and (size >= _WINDOW or not value.isalnum() or kind == "password")
    if kind == "cookie" and (size < 12 or value.isalpha()):
        return False
    return size >= _WINDOW
