"""What secrets and addresses are in a session: where, how often, and by which handle; never the values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from wiretape.errors import UsageError
from wiretape.filters.patterns import said_by_re2
from wiretape.log.assembly import REQUEST, RESPONSE
from wiretape.model import ExchangeDetail, Filter, Lean, Message
from wiretape.secrets.known import Known, without_percent
from wiretape.secrets.patterns import EMAIL
from wiretape.secrets.sightings import Sighting, body_text, in_message, not_searched, sightings
from wiretape.session.answers.covered import UPGRADED, called
from wiretape.session.answers.fields import body_bytes, media_type
from wiretape.session.messages import MessageLog
from wiretape.session.query.account import CUT
from wiretape.session.session import Session
from wiretape.views.json_text import write_json
from wiretape.views.limits import ViewError
from wiretape.views.protobuf import grpc_frames, message_value

_MAX_VALUES: Final = 20_000
"""Distinct values that are counted; of more, the rest is counted together."""
_PLACES: Final = 6
"""Places of one value that are named."""
_SEQS: Final = 20
_GROUP_FROM: Final = 4
"""Addresses of one domain from which on they are told together."""
_NUMBER: Final = re.compile(r"(/|\bmessage\.)[0-9]+(?=/|$)")
_SHORT: Final = 12
NOT_LOOKED_FOR: Final = "Names of people, addresses and phone numbers are not looked for."

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
    """The answer; ``complete`` is false where something of the session was not searched. ``note`` says which of the
    kinds asked for are not there."""

    session: str
    exchanges: int
    values: list[SecretValue]
    complete: bool
    grouped: list[AddressGroup] = msgspec.field(default_factory=list)
    not_searched: list[NotSearched] = msgspec.field(default_factory=list)
    left: dict[str, int] = msgspec.field(default_factory=dict)
    note: str = ""


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
    reach = session.follow()
    total, messages = reach.log.exchanges, _Messages(session, reach.through_seq)
    for exchange in session.iterate(wanted):
        search.take(exchange, messages)
        if progress is not None and search.exchanges % 50 == 0:
            progress(search.exchanges, max(total, search.exchanges))
    return search.answer(called(session), known, top)


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
                f"{expression[:200]!r} is not a regular expression: {said_by_re2(error)[:200]}",
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
        self._others: set[str] = set()

    def take(self, exchange: ExchangeDetail, messages: _Messages) -> None:
        """Search one exchange and its messages."""
        self.exchanges += 1
        seq = exchange.seq
        self._found(seq, sightings(exchange, personal=True))
        self._found(seq, self._matches(_texts(exchange)))
        for where, text in messages.of(exchange):
            self._found(seq, in_message(text, where, personal=True))
            self._found(seq, self._matches([(where, text)]))
        for why in messages.missing:
            self._skip(seq, why)
        for message in (exchange.request, exchange.response):
            unsearched = not_searched(message)
            read = UPGRADED in messages.missing or any(message is one for one in messages.read)
            if unsearched is not None and not read:
                self._skip(seq, unsearched)

    def _found(self, seq: int, sighted: Iterable[Sighting]) -> None:
        for kind, value, where in sighted:
            if self._kinds is None or kind in self._kinds:
                self._add(seq, kind, value, where)
            else:
                self._others.add(kind)

    def _add(self, seq: int, kind: str, value: str, where: str) -> None:
        meant = without_percent(value)
        found = self._values.get(meant)
        if found is None:
            if len(self._values) >= _MAX_VALUES:
                self._beyond += 1
                return
            found = self._values[meant] = _Value(kind, value, seq)
        if kind == EMAIL:
            self._domains.setdefault(value.rpartition("@")[2], set()).add(seq)
        found.add(seq, _NUMBER.sub(r"\1*", where))

    def _skip(self, seq: int, why: str) -> None:
        seqs = self._skipped.setdefault(why, [])
        if not seqs or seqs[-1] != seq:
            seqs.append(seq)

    def _matches(self, texts: Iterable[tuple[str, str]]) -> Iterator[Sighting]:
        for where, text in texts if self._custom else ():
            for expression in self._custom:
                for match in expression.finditer(text):
                    if match.group():
                        yield Sighting("custom", match.group(), where)

    def answer(self, name: str, known: Known, top: int) -> SecretsFound:
        """Return what was found."""
        grouped, single = self._grouped()
        single.sort(key=lambda one: (-one.exchanges, one.first, one.kind))
        left = {"values": len(single) - top} if len(single) > top else {}
        if self._beyond:
            left["notCounted"] = self._beyond
        return SecretsFound(
            session=name,
            exchanges=self.exchanges,
            values=[_told(one, known) for one in single[:top]],
            complete=not self._skipped,
            grouped=grouped,
            not_searched=[
                NotSearched(seq=seqs[:_SEQS], why=why, more=max(0, len(seqs) - _SEQS))
                for why, seqs in sorted(self._skipped.items())
            ],
            left=left,
            note=self._absent(),
        )

    def _absent(self) -> str:
        """Say which of the kinds asked for were not met, and which others were: a kind may be called otherwise."""
        absent = sorted((self._kinds or frozenset()) - {one.kind for one in self._values.values()})
        if not absent:
            return ""
        others = f" It has {', '.join(sorted(self._others))}." if self._others else ""
        return f"Nothing was found of {', '.join(absent)}.{others} {NOT_LOOKED_FOR}"

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


def _texts(exchange: ExchangeDetail) -> Iterator[tuple[str, str]]:
    """Yield the texts of an exchange with their places."""
    for side, message in (("request", exchange.request), ("response", exchange.response)):
        if message is not None:
            yield f"{side}.url", message.url or ""
            yield f"{side}.body", body_text(message)
            yield from ((f"{side}.header.{name}", value) for name, value in message.headers)


class _Messages:
    """The messages of a session's exchanges, as texts: of WebSockets, and of gRPC, whose fields become JSON.

    Attributes:
        missing: why some of the exchange that was read last could not be.
        read: its bodies that are messages, and need not be searched as bodies.
    """

    def __init__(self, session: Session, through: int) -> None:
        self.missing: list[str] = []
        self.read: list[Message] = []
        self._log = MessageLog(session.index)
        self._with = frozenset(self._log.between(1, through))

    def of(self, exchange: ExchangeDetail) -> Iterator[tuple[str, str]]:
        """Yield the messages of an exchange with their places."""
        self.missing, self.read = [], []
        response = exchange.response
        if exchange.seq in self._with:
            yield from self._recorded(exchange.seq)
        elif response is not None and response.status_code == 101:
            self.missing.append(UPGRADED)
        for message in (exchange.request, response):
            if message is not None and media_type(message).startswith("application/grpc"):
                yield from self._grpc(message)

    def _recorded(self, seq: int) -> Iterator[tuple[str, str]]:
        for side in (REQUEST, RESPONSE):
            for one in self._log.each(seq, side):
                if not one.whole and CUT not in self.missing:
                    self.missing.append(CUT)
                yield f"message.{one.number}", one.data.decode("utf-8", "replace")

    def _grpc(self, message: Message) -> Iterator[tuple[str, str]]:
        kind, number = media_type(message), 0
        try:
            for frame in grpc_frames(body_bytes(message), text="grpc-web-text" in kind):
                if frame.trailers is None:
                    number += 1
                    yield f"message.{number}", write_json(message_value(frame.data, as_json="+json" in kind))
        except ViewError:
            return
        self.read.append(message)
        if message.body_truncated:
            self.missing.append("not recorded whole")


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
