"""Where a value comes from and where it goes: the first answer that holds it, and every request that carries it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal

import msgspec

from wiretape.errors import UsageError
from wiretape.log.assembly import REQUEST, RESPONSE
from wiretape.model import ExchangeDetail, Filter, Lean
from wiretape.secrets.veil import Veil
from wiretape.session.answers.covered import UPGRADED, missing, ranges
from wiretape.session.answers.fields import json_leaves, place_of, request_fields, response_fields, veiled_at
from wiretape.session.answers.needles import ENCODINGS, Needles, Sighting, bare, sightings
from wiretape.session.answers.noise import starred
from wiretape.session.answers.parts import operation_of
from wiretape.session.messages import MessageLog
from wiretape.session.query.account import UNRECORDED
from wiretape.session.query.needles import needle_of
from wiretape.session.session import Session

Direction = Literal["origin", "uses", "both"]
MAX_BODY: Final = 1024 * 1024
_LOOKED_INTO: Final = 500
"""Exchanges in which the places of a value are looked for; that they hold it somewhere is known of more."""
_CARRIED: Final = 12
_NAMING: Final = 50
"""Places whose names are asked whether the value is a secret."""
_NEAR: Final = 3
_NEAR_BODIES: Final = 200
_NEAR_SIZE: Final = 4_096
_NEAR_NUMBERS: Final = 2_000
_SHOWN: Final = 24


class Origin(Lean, frozen=True):
    """Where a value was seen first, ``at`` seconds after the session began."""

    seq: int
    at: str
    where: str
    encoding: str = "plain"
    op: str = ""


class Carried(Lean, frozen=True):
    """A place in which a value travels, and the exchanges in which it does, such as ``6-28,30-32``."""

    where: str
    seqs: str
    encoding: str = "plain"


class Trace(Lean, frozen=True, kw_only=True):
    """Where a value comes from and goes to. ``near`` are sums and differences of earlier numbers: hints, no proof.

    ``searched`` are the encodings that were tried, told where an origin was found; they are always the same.
    """

    value: str
    origin: Origin | None
    first_sent: Origin | None = None
    carried: list[Carried] = msgspec.field(default_factory=list)
    left: int = 0
    near: list[str] = msgspec.field(default_factory=list)
    note: str = ""
    searched: list[str] = msgspec.field(default_factory=list)
    complete: bool
    missing: str = ""


def trace(
    session: Session,
    *,
    veil: Veil,
    seq: int | None = None,
    at: str | None = None,
    value: str | None = None,
    direction: Direction = "both",
) -> Trace:
    """Follow a value through a session.

    Args:
        session: the session.
        veil: hides secrets.
        seq: the exchange whose value is meant.
        at: its place there: ``request.header.NAME``, ``response.body/POINTER``, a pointer, or a header's name.
        value: the value itself, instead of a place.
        direction: what is asked for.

    Raises:
        UsageError: the place or the value means nothing. NotFoundError, StorageError: as ``Session.exchange``.
    """
    reach = session.follow()
    sent = value
    if sent is None:
        if seq is None or at is None:
            raise UsageError("trace needs a value, or an exchange and a place in it", hint=_WAYS)
        sent = value_at(session.exchange(seq, max_body=MAX_BODY), at)
    needles = Needles(sent)
    if len(needles.value) < (1 if needles.is_number else 3):
        raise UsageError(f"{needles.value[:20]!r} is too short to be followed", hint="give at least three characters")
    found, lacking, left = _search(session, needles)
    first = min(found, key=_order, default=None)
    origin = first if first is not None and first.part == "response" else None
    uses = [one for one in found if direction != "origin" and one != origin]
    lacking = [text for text in (missing(reach), *lacking, _unseen(session)) if text]
    near: list[str] = []
    note = ""
    if origin is None and first is not None:
        note = f"No answer before seq {first.seq} holds it, so the client made or computed it."
        if lacking:
            note = f"No searched answer before seq {first.seq} holds it."
        near = near_numbers(session, needles.value, first.seq, veil) if needles.is_number else []
    if origin is None and len(uses) == 1:
        uses = []  # said by firstSent
    carried, more = _carried(uses, veil)
    return Trace(
        value=shown(sent, veil, ["", at or "", *dict.fromkeys(one.where for one in found[:_NAMING])]),
        origin=_origin(session, origin, veil),
        first_sent=_origin(session, first, veil) if origin is None else None,
        carried=carried,
        left=left + more,
        near=near,
        note=note if first is not None else "No exchange holds it.",
        searched=ENCODINGS if origin is not None else [],
        complete=not lacking,
        missing=" ".join(lacking),
    )


_WAYS: Final = (
    "places are request.header.NAME, request.cookie.NAME, request.query.NAME, request.body/POINTER, response..."
)


def origin_of(session: Session, value: str, before: int) -> Sighting | None:
    """Return where an answer had a value first, if that was before an exchange and before any request carried it.

    A message of a WebSocket is no answer: no request that is sent again gets another.

    Raises:
        NotFoundError, StorageError: as ``Session.exchange``.
    """
    found, _, _ = _search(session, Needles(value))
    first = min(found, key=_order, default=None)
    if first is None or first.part != "response" or first.seq >= before or first.elapsed_ns:
        return None
    return first


def value_at(detail: ExchangeDetail, at: str) -> str:
    """Return the value in a place of an exchange.

    Raises:
        UsageError: there is no such place, or nothing in it that could be followed; the hint names places.
    """
    at = at.strip()
    part, dot, place = at.partition(".")
    parts = [part] if dot and part in {"request", "response"} else ["request", "response"]
    if not (dot and part in {"request", "response"}):
        place = at
    if place.startswith("body/"):
        place = place[4:]
    known: list[str] = []
    for name in parts:
        message = getattr(detail, name)
        if message is None:
            continue
        values = (request_fields if name == "request" else response_fields)(message).values
        if name == "request":
            values = {"url": message.url or "", **values}
        found = _named(values, place)
        if found is not None:
            return found
        known += [place_of(name, one) for one in values if not one.startswith("path.")]
    near = difflib.get_close_matches(at[:200], known[:2_000], 5, 0.5)
    raise UsageError(
        f"exchange {detail.seq} has nothing at {at[:200]!r}", hint=f"it has {', '.join(near)}" if near else _WAYS
    )


def _named(values: dict[str, Any], place: str) -> str | None:
    """Return the text in a place; header names in any case, and without ``header.`` in front."""
    wanted = {place.lower(), f"header.{place.lower()}"}
    if place.lower() in {"header.cookie", "cookie", "header.set-cookie", "set-cookie"}:
        cookies = [name for name in values if name.startswith("cookie.")]
        if len(cookies) == 1:
            return str(values[cookies[0]])
        if cookies:
            raise UsageError("a cookie header has several values", hint=f"name one: {', '.join(cookies[:8])}")
    for name, value in values.items():
        if name == place or (name.startswith(("header.", "url")) and name.lower() in wanted):
            if value is None or isinstance(value, (bool, dict, list, bytes)):
                raise UsageError(f"what is at {place[:200]!r} is not text or a number", hint="name a field below it")
            return value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return None


# -- searching -------------------------------------------------------------------------------------------------------


def _search(session: Session, needles: Needles) -> tuple[list[Sighting], list[str], int]:
    """Return where the value is, what could not be searched, and how many more exchanges hold it somewhere."""
    seqs: set[int] = set()
    lacking: list[str] = []
    # A filter on a text looks for its encodings, too: what is left are texts that the value is an encoding of.
    covered = needle_of(needles.value)
    others = (one.text for one in needles.forms if covered.find(one.text.encode("utf-8", "replace")) is None)
    texts = dict.fromkeys((needles.value, *others))
    if len(needles.value) >= 4:
        texts["eyJ"] = None  # claims of a JWT say what they hold only when decoded
    claims: set[int] = set()
    for text in texts:
        chosen = session.chosen(Filter(text=text[:4_000]))
        (claims if text == "eyJ" else seqs).update(chosen.seqs)
        lacking += [sentence for sentence in chosen.notes if UNRECORDED not in sentence]
    first = sorted(seqs)[:_LOOKED_INTO]
    looked = sorted({*first, *sorted(claims - seqs)[:_LOOKED_INTO]})
    found: list[Sighting] = []
    known: dict[str, bool] = {}
    log = MessageLog(session.index)
    with_messages = frozenset(log.between(looked[0], looked[-1]) if looked else ())
    for seq in looked:
        found += sightings(session.exchange(seq, max_body=MAX_BODY), needles, known)
        if seq in with_messages:
            found += _in_messages(log, seq, needles)
    return found, list(dict.fromkeys(lacking)), len(seqs) - len(first)


def _in_messages(log: MessageLog, seq: int, needles: Needles) -> Iterator[Sighting]:
    """Yield the places of an exchange's messages that hold the value; numbers count those of one side."""
    for side in (REQUEST, RESPONSE):
        for one in log.each(seq, side):
            text = one.data.decode("utf-8", "replace")
            encoding = needles.find(text)
            if not encoding:
                continue
            fields = json_leaves(text) if text[:1] in {"{", "["} else None
            when = max(1, one.elapsed_ns)
            places = [
                Sighting(seq, side, f"message.{one.number}{place}", inside, str(value) == needles.value, when)
                for place, value in (fields.values if fields is not None else {}).items()
                if (inside := needles.find_in_value(value))
            ]
            yield from places or [Sighting(seq, side, f"message.{one.number}", encoding, text == needles.value, when)]


def _order(one: Sighting) -> tuple[int, int, bool, bool, bool]:
    """Sort by time; in one message what is the value before what holds it, and plain before encoded."""
    return one.seq, one.elapsed_ns, one.part == "response", one.encoding != "plain", not one.whole


_UNSEEN: Final = (
    ("status = 101 AND seq NOT IN (SELECT seq FROM messages)", UPGRADED),
    (
        "ifnull(status, 0) <> 101 AND special AND (request_seen < request_size OR response_seen < response_size)",
        "not recorded whole",
    ),
)


def _unseen(session: Session) -> str:
    """Name the exchanges that have more than could be searched."""
    found = []
    for condition, why in _UNSEEN:
        rows = session.index.rows(f"SELECT seq FROM exchanges WHERE {condition} ORDER BY seq LIMIT 1000")  # noqa: S608
        if rows:
            found.append(f"{ranges(row[0] for row in rows)}: {why}.")
    return " ".join(found)


# -- what is shown -----------------------------------------------------------------------------------------------------


def shown(value: str, veil: Veil, places: Iterable[str]) -> str:
    """Return a value as the answer names it: its handle where it, or a place that has it, is secret, else shortened."""
    value = bare(value)
    for place in places:
        hidden = veiled_at(place, value, veil)
        if hidden != value:
            return hidden[:200]
    return value if len(value) <= _SHOWN else f"{value[:4]}…{value[-5:]} ({len(value)} chars)"


def _origin(session: Session, one: Sighting | None, veil: Veil) -> Origin | None:
    if one is None:
        return None
    row = session.index.one(
        "SELECT ts - (SELECT ts FROM exchanges ORDER BY seq LIMIT 1) FROM exchanges WHERE seq = ?", (one.seq,)
    )
    at = f"+{max(0, row[0]) / 1000:.3f}s" if row is not None else ""
    return Origin(one.seq, at, veil.text(one.where), one.encoding, veil.text(operation_of(session, one.seq)))


def _carried(uses: Iterable[Sighting], veil: Veil) -> tuple[list[Carried], int]:
    places: dict[tuple[str, str], list[int]] = {}
    for one in uses:
        seqs = places.setdefault((starred(one.where), one.encoding), [])
        if not seqs or seqs[-1] != one.seq:
            seqs.append(one.seq)
    # Requests first: they are what the value was for.
    order = sorted(places.items(), key=lambda item: (item[0][0].startswith("response"), -len(item[1]), item[1][0]))
    rows = [Carried(veil.text(where), ranges(seqs), encoding) for (where, encoding), seqs in order[:_CARRIED]]
    return rows, max(0, len(order) - _CARRIED)


# -- numbers that make a number --------------------------------------------------------------------------------------


def near_numbers(session: Session, value: str, before: int, veil: Veil) -> list[str]:
    """Return sums and differences of two numbers in small earlier answers that make ``value``; three at most.

    Only answers below 4 KB: over all numbers of a session such pairs fit by chance.
    """
    wanted = float(value)
    numbers: dict[float, str] = {}
    rows = session.index.rows(
        "SELECT seq FROM exchanges WHERE seq < ? AND response_size BETWEEN 2 AND ? AND content_type LIKE '%json%'"
        " ORDER BY seq DESC LIMIT ?",
        (before, _NEAR_SIZE, _NEAR_BODIES),
    )
    for (seq,) in reversed(rows):
        response = session.exchange(seq, max_body=64 * 1024).response
        if response is None or response.body is None or len(response.body) > _NEAR_SIZE:
            continue
        found = json_leaves(response.body)
        for place, one in (found.values if found is not None else {}).items():
            if isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) >= 1 and one != wanted:
                numbers.setdefault(
                    float(one), f"{seq}:{veil.text(place)} {veiled_at(place, msgspec.json.encode(one).decode(), veil)}"
                )
        if len(numbers) >= _NEAR_NUMBERS:
            break
    hints = []
    for one, name in numbers.items():
        rest = wanted - one
        if rest in numbers and rest <= one:
            hints.append(f"{name} + {numbers[rest]}")
        rest = one - wanted
        if rest in numbers and rest != one:
            hints.append(f"{name} - {numbers[rest]}")
    return hints[:_NEAR]
