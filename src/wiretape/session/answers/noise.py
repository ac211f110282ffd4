"""Differences that mean nothing: values that are new every time, and ids that are renamed everywhere alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import msgspec

_HEADERS: Final = frozenset(
    (
        *("date", "content-length", "age", "expires", "last-modified", "etag", "host", "connection", "keep-alive"),
        *("x-request-id", "x-correlation-id", "x-trace-id", "x-amzn-trace-id", "x-amz-cf-id", "cf-ray", "traceparent"),
        *("tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-runtime", "x-response-time", "server-timing", "via"),
        *("x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit-remaining", "ratelimit-reset", "report-to", "nel"),
        *("x-served-by", "x-timer", "x-cache-hits", "idempotency-key", "if-none-match", "if-modified-since"),
        *("sec-websocket-key", "sec-websocket-accept", "x-imported-content-encoding"),
    )
)
"""Headers whose values are new in every run, or follow from what else differs."""
_UUID: Final = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_JWT: Final = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*")
_TIME: Final = re.compile(
    r"[12][0-9]{3}-[01][0-9]-[0-3][0-9](?:[T ][0-2][0-9]:[0-5][0-9](?::[0-6][0-9](?:[.,][0-9]{1,9})?)?"
    r"(?:Z|[+-][0-2][0-9]:?[0-5][0-9])?)?"
    r"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3][0-9] [A-Z][a-z]{2} [12][0-9]{3} [0-2][0-9]:[0-5][0-9]:[0-6][0-9] GMT"
)
_HEX: Final = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{8,}(?![0-9A-Za-z])", re.IGNORECASE)
_ID: Final = re.compile(r"(?<=[A-Za-z][-_])(?:[0-9a-f]{6,}|(?=[A-Za-z]*[0-9])[A-Za-z0-9]{6,})", re.IGNORECASE)
"""Both only count where letters and digits are mixed in one of the two: 34790000 is a number."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9+/_.~-]{16,}={0,2}")
_ID_NAME: Final = re.compile(r"(?:^|[/._-])ids?$|[a-z]Ids?$|_ids?$|ID$")
_NUMBERED: Final = re.compile(r"/[0-9]+(?=/|$)")
_PLACEHOLDER: Final = "\N{REPLACEMENT CHARACTER}"
_LOOKED_AT: Final = 100_000
_SECONDS: Final = (946_684_800, 4_102_444_800)
"""2000 to 2100."""
_MIN_RENAMED: Final = 2
_MAX_RENAMES: Final = 2_000


class Difference(msgspec.Struct, frozen=True):
    """Two values in one place of two exchanges; ``ABSENT`` stands for none. ``part`` is request or response."""

    part: str
    place: str
    a: Any
    b: Any


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


ABSENT: Final = _Absent()


def starred(place: str) -> str:
    """Return a place with ``*`` for the positions in lists: a rule for all elements."""
    return _NUMBERED.sub("/*", place)


def kind_of(place: str, a: Any, b: Any) -> str:
    """Return by which kind two different values in one place mean nothing; empty when they do mean something."""
    name = place.partition(".")[2] if place.startswith(("header.", "cookie.")) else ""
    if place.startswith("header.") and name.split(".")[0].lower() in _HEADERS:
        return "header"
    if a is ABSENT or b is ABSENT:
        return ""
    if place.startswith("cookie."):
        return "cookie"
    if isinstance(a, bytes) and isinstance(b, bytes):
        kind = _kind_of_texts(a.decode("latin-1"), b.decode("latin-1")) if len(a) <= 65_536 else ""
        if kind:
            return kind
        return "bytes" if len(a) == len(b) and _is_noise(a) and _is_noise(b) else ""
    if _is_number(a) and _is_number(b):
        return "time" if _is_time(a) and _is_time(b) else ""
    if isinstance(a, str) and isinstance(b, str):
        if name.lower() == "content-type":
            cut = [re.sub(r"boundary=[^;]*", "boundary=", one) for one in (a, b)]
            return "boundary" if cut[0] == cut[1] else ""
        return _kind_of_texts(a, b)
    return ""


def _kind_of_texts(a: str, b: str) -> str:
    whole, kind = (a, b), ""
    a, b = a[:_LOOKED_AT], b[:_LOOKED_AT]
    for name, pattern in (("jwt", _JWT), ("uuid", _UUID), ("time", _TIME), ("id", _ID), ("hex", _HEX)):
        if name in {"id", "hex"} and not _is_mixed("".join((*pattern.findall(a), *pattern.findall(b)))):
            continue
        (a, in_a), (b, in_b) = pattern.subn(_PLACEHOLDER, a), pattern.subn(_PLACEHOLDER, b)
        kind = kind or (name if in_a and in_b else "")
        if kind and a == b:
            return kind
    a, b = whole
    if a.isascii() and a.isdigit() and b.isascii() and b.isdigit() and _is_time(int(a[:20])) and _is_time(int(b[:20])):
        return "time"
    tokens = _TOKEN.fullmatch(a) is not None and _TOKEN.fullmatch(b) is not None
    if tokens and _is_random(a) and _is_random(b) and abs(len(a) - len(b)) <= 8:
        return "token"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_time(value: float) -> bool:
    low, high = _SECONDS
    return any(low * scale <= value <= high * scale for scale in (1, 1_000, 1_000_000, 1_000_000_000))


def _is_mixed(text: str) -> bool:
    return any(char.isdigit() for char in text) and any(char.isalpha() for char in text)


def _is_random(text: str) -> bool:
    """Return whether a text has letters and digits so mixed as no name has."""
    changes = sum(1 for left, right in pairwise(text) if _class(left) != _class(right))
    return _is_mixed(text) and changes >= len(text) // 5


def _class(char: str) -> int:
    return 0 if char.isdigit() else 1 if char.islower() else 2 if char.isupper() else 3


def _is_noise(data: bytes) -> bool:
    """Return whether bytes look encrypted, compressed or random: nearly all values occur about equally often."""
    sample = data[:65_536]
    return len(sample) >= 512 and len(set(sample)) > 200 and max(Counter(sample).values()) < len(sample) / 16


class Renames:
    """Ids that are another in each run, and the same pair everywhere."""

    def __init__(self, differences: Iterable[Difference]) -> None:
        """Learn from what differs: pairs of values that occur at least twice, and never with another partner."""
        pairs: Counter[tuple[str, str]] = Counter()
        self.places: dict[str, str] = {}
        for one in differences:
            found = _candidates(one)
            pairs.update(found)
            for a, _ in found:
                self.places.setdefault(a, one.place)
        partners: dict[str, set[str]] = {}
        owners: dict[str, set[str]] = {}
        for a, b in pairs:
            partners.setdefault(a, set()).add(b)
            owners.setdefault(b, set()).add(a)
        self.pairs = {
            a: b
            for (a, b), n in pairs.most_common(_MAX_RENAMES)
            if n >= _MIN_RENAMED and len(partners[a]) == 1 and len(owners[b]) == 1
        }

    def explain(self, a: Any, b: Any) -> bool:
        """Return whether two values are the same once ids are renamed."""
        if isinstance(a, int) and isinstance(b, int) and not isinstance(a, bool):
            return self.pairs.get(str(a)) == str(b)
        if isinstance(a, bytes) and isinstance(b, bytes):
            a, b = a.decode("latin-1"), b.decode("latin-1")
        if not (isinstance(a, str) and isinstance(b, str)) or len(a) > 100_000:
            return False
        if self.pairs.get(a) == b:
            return True
        changed = a
        for old, new in self.pairs.items():
            if len(old) >= 4 and old in changed:
                changed = changed.replace(old, new)
        return changed != a and changed == b


def _candidates(one: Difference) -> list[tuple[str, str]]:
    """Return pairs of ids in two values: the same form around them, another id in each."""
    a, b = one.a, one.b
    if one.place.startswith("header.") and one.place[7:].lower() in _HEADERS:
        return []
    if isinstance(a, int) and isinstance(b, int) and not isinstance(a, bool):
        return [(str(a), str(b))] if _ID_NAME.search(one.place) else []
    if not (isinstance(a, str) and isinstance(b, str)) or len(a) > 4_000 or len(b) > 4_000:
        return []
    if _ID_NAME.search(one.place) and len(a) <= 100 and " " not in a:
        return [(a, b)]
    for pattern in (_UUID, _ID, _HEX):
        found, other = pattern.findall(a), pattern.findall(b)
        if found and len(found) == len(other) and pattern.sub("\0", a) == pattern.sub("\0", b):
            return [pair for pair in zip(found, other, strict=True) if pair[0] != pair[1]]
    return []
