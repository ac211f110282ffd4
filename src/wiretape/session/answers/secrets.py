"""What secrets and addresses are in a session: where, how often, and by which handle; never the values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from wiretape.errors import UsageError
from wiretape.model import ExchangeDetail, Filter, Lean
from wiretape.secrets.known import Known
from wiretape.secrets.patterns import EMAIL
from wiretape.secrets.sightings import Sighting, body_text, not_searched, sightings
from wiretape.session.session import Session

_MAX_VALUES: Final = 20_000
"""Distinct values that are counted; of more, the rest is counted together."""
_PLACES: Final = 6
"""Places of one value that are named."""
_SEQS: Final = 20
_GROUP_FROM: Final = 4
"""Addresses of one domain from which on they are told together."""
_NUMBER: Final = re.compile(r"/[0-9]+(?=/|$)")
_SHORT: Final = 12

Progress = Callable[[int, int], None]


class SecretValue(Lean, frozen=True):
    """One value: ``value`` hints at it, ``first`` is the seq where it is first, ``where`` are its places."""

    kind: str
    value: str
    handle: str
    exchanges: int
    first: int
    where: list[str]


class AddressGroup(Lean, frozen=True):
    """E-mail addresses of one domain."""

    kind: str
    domain: str
    distinct: int
    exchanges: int
    where: list[str]


class NotSearched(Lean, frozen=True):
    """Exchanges of which a body could not be searched, and why."""

    seq: list[int]
    why: str
    more: int = 0


class SecretsFound(Lean, frozen=True):
    """The answer; ``complete`` is false where something of the session was not searched."""

    session: str
    exchanges: int
    values: list[SecretValue]
    complete: bool
    grouped: list[AddressGroup] = msgspec.field(default_factory=list)
    not_searched: list[NotSearched] = msgspec.field(default_factory=list)
    left: dict[str, int] = msgspec.field(default_factory=dict)


class _Value:
    def __init__(self, kind: str, value: str, first: int) -> None:
        self.kind = kind
        self.value = value
        self.first = first
        self.last = 0
        self.exchanges = 0
        self.where: Counter[str] = Counter()

    def add(self, seq: int, where: str) -> None:
        self.where[where] += 1
        if seq != self.last:
            self.exchanges += 1
            self.last = seq


def find_secrets(
    session: Session,
    known: Known,
    wanted: Filter | None = None,
    *,
    kinds: Sequence[str] | None = None,
    custom: Sequence[str] = (),
    top: int = 25,
    progress: Progress | None = None,
) -> SecretsFound:
    """Find the secrets and e-mail addresses of a session.

    Args:
        session: the session.
        known: gives the handles, and remembers the values.
        wanted: only these exchanges.
        kinds: only these kinds.
        custom: further regular expressions (RE2), whose matches are of the kind ``custom``.
        top: values that are told at most; the most frequent ones.
        progress: called with (exchanges searched, exchanges in all).

    Raises:
        UsageError: a regular expression is none.
    """
    search = _Search(_compiled(custom), None if kinds is None else frozenset(kinds))
    total = session.follow().log.exchanges
    for exchange in session.iterate(wanted):
        search.take(exchange)
        if progress is not None and search.exchanges % 50 == 0:
            progress(search.exchanges, max(total, search.exchanges))
    return search.answer(session.session_id, known, top)


def _compiled(custom: Sequence[str]) -> list[Any]:
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.log_errors = False
    found = []
    for expression in custom:
        try:
            found.append(re2.compile(expression, options))
        except re2.error as error:
            raise UsageError(
                f"{expression[:200]!r} is no regular expression: {str(error)[:200]}",
                hint="RE2 syntax: no look-around, no back-references",
            ) from None
    return found


class _Search:
    def __init__(self, custom: list[Any], kinds: frozenset[str] | None) -> None:
        self.exchanges = 0
        self._custom = custom
        self._kinds = kinds
        self._values: dict[str, _Value] = {}
        self._beyond = 0
        self._domains: dict[str, set[int]] = {}
        self._skipped: dict[str, list[int]] = {}

    def take(self, exchange: ExchangeDetail) -> None:
        """Search one exchange."""
        self.exchanges += 1
        for kind, value, where in (*sightings(exchange, personal=True), *self._matches(exchange)):
            if self._kinds is None or kind in self._kinds:
                self._add(exchange.seq, kind, value, where)
        for message in (exchange.request, exchange.response):
            why = not_searched(message)
            if why is not None:
                self._skip(exchange.seq, why)
        if exchange.response is not None and exchange.response.status_code == 101:
            self._skip(exchange.seq, "messages of WebSockets are not searched")

    def _add(self, seq: int, kind: str, value: str, where: str) -> None:
        found = self._values.get(value)
        if found is None:
            if len(self._values) >= _MAX_VALUES:
                self._beyond += 1
                return
            found = self._values[value] = _Value(kind, value, seq)
        if kind == EMAIL:
            self._domains.setdefault(value.rpartition("@")[2], set()).add(seq)
        found.add(seq, _NUMBER.sub("/*", where))

    def _skip(self, seq: int, why: str) -> None:
        seqs = self._skipped.setdefault(why, [])
        if not seqs or seqs[-1] != seq:
            seqs.append(seq)

    def _matches(self, exchange: ExchangeDetail) -> list[Sighting]:
        found: list[Sighting] = []
        for expression in self._custom:
            for side, message in (("request", exchange.request), ("response", exchange.response)):
                if message is None:
                    continue
                texts = [(f"{side}.url", message.url or ""), (f"{side}.body", body_text(message))]
                texts += [(f"{side}.header.{name}", value) for name, value in message.headers]
                found += [
                    Sighting("custom", match.group(), where)
                    for where, text in texts
                    for match in expression.finditer(text)
                    if match.group()
                ]
        return found

    def answer(self, session_id: str, known: Known, top: int) -> SecretsFound:
        """Return what was found."""
        grouped, single = self._grouped()
        single.sort(key=lambda one: (-one.exchanges, one.first, one.kind))
        left = {"values": len(single) - top} if len(single) > top else {}
        if self._beyond:
            left["notCounted"] = self._beyond
        return SecretsFound(
            session=session_id,
            exchanges=self.exchanges,
            values=[_told(one, known) for one in single[:top]],
            complete=not self._skipped,
            grouped=grouped,
            not_searched=[
                NotSearched(seq=seqs[:_SEQS], why=why, more=max(0, len(seqs) - _SEQS))
                for why, seqs in sorted(self._skipped.items())
            ],
            left=left,
        )

    def _grouped(self) -> tuple[list[AddressGroup], list[_Value]]:
        """Tell the addresses of a domain together where there are many that stand nowhere else than the others."""
        domains: dict[str, list[_Value]] = {}
        for one in self._values.values():
            if one.kind == EMAIL:
                domains.setdefault(one.value.rpartition("@")[2], []).append(one)
        groups = {domain: values for domain, values in domains.items() if len(values) >= _GROUP_FROM}
        single = [
            one for one in self._values.values() if one.kind != EMAIL or one.value.rpartition("@")[2] not in groups
        ]
        grouped = []
        for domain, values in sorted(groups.items(), key=lambda item: -len(item[1])):
            where: Counter[str] = Counter()
            for one in values:
                where.update(one.where)
            grouped.append(
                AddressGroup(
                    kind=EMAIL,
                    domain=domain,
                    distinct=len(values),
                    exchanges=len(self._domains[domain]),
                    where=[place for place, _ in where.most_common(_PLACES)],
                )
            )
        return grouped, single


def _told(one: _Value, known: Known) -> SecretValue:
    where = [f"{place} x{count}" for place, count in one.where.most_common(_PLACES)]
    if len(one.where) > _PLACES:
        where.append(f"{len(one.where) - _PLACES} places more")
    return SecretValue(
        kind=one.kind,
        value=hinted(one.value),
        handle=known.handle_of(one.kind, one.value),
        exchanges=one.exchanges,
        first=one.first,
        where=where,
    )


def hinted(value: str) -> str:
    """Return so much of a value that who knows it knows which one it is: less of short ones."""
    if len(value) < 6:
        return "***"
    begin, end = (3, 2) if len(value) >= _SHORT else (1, 1)
    return f"{value[:begin]}***{value[-end:]}"
