"""Logging in again: the requests that issued what another request carries are sent first, and it gets the new values.

A token, cookie or CSRF token of a request is found in the answer that had it first; that answer's request may carry
such values itself. All of them are sent in the order of the recording, each with what those before it got.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from wiretape.errors import UsageError, WiretapeError
from wiretape.model import ExchangeDetail
from wiretape.secrets.patterns import EMAIL
from wiretape.secrets.sightings import sightings
from wiretape.session.answers.resend import Changes, Outgoing, plan
from wiretape.session.answers.trace import origin_of, value_at
from wiretape.session.session import Session

MOST: Final = 5
"""Requests that are sent before the one that is meant."""
_SECRETS: Final = 20
"""Values of one request that are followed to their origin."""


class Issued(NamedTuple):
    """A value that a request carries, and the place in an answer that had it first."""

    value: str
    carried: str
    where: str
    encoded: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A request that is sent before: what its answer issued, and what it carries itself."""

    seq: int
    outgoing: Outgoing
    issued: tuple[Issued, ...]

    def told(self) -> str:
        """Say what it would get."""
        return f"would log in again by replaying {self.seq}: {self.places}"

    @property
    def places(self) -> str:
        """Where requests carry what it issued."""
        return ", ".join(dict.fromkeys(one.carried for one in self.issued))


@dataclass(slots=True)
class Renewal:
    """The values that were got anew, in the places of the recorded ones.

    Attributes:
        values: what was recorded, and what stands for it now.
        told: a sentence for each request that was sent.
    """

    values: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def learn(self, step: Step, answer: ExchangeDetail, called: str) -> None:
        """Take what the answer to a step has in the places of what the recorded one had.

        Raises:
            UsageError: it has nothing there: the login failed.
        """
        said = f"was answered with {answer.response.status_code}" if answer.response is not None else "had no answer"
        for one in step.issued:
            try:
                new = value_at(answer, one.where)
            except WiretapeError:
                raise UsageError(
                    f"Logging in again failed: exchange {step.seq}, sent again as {called}, {said},"
                    f" and nothing stands at {one.where}",
                    hint=f"look at {called}; a login that needs a person cannot be replayed",
                    code="login",
                ) from None
            self.values[one.value] = unquote(new) if one.encoded else new
        self.told.append(f"logged in again by replaying {step.seq} ({called}, {said}): {step.places}")

    def applied(self, outgoing: Outgoing) -> Outgoing:
        """Return a request with the new values in it."""
        values = self.values
        in_url = {form: quote(new, safe="") for old, new in values.items() for form in (old, quote(old, safe=""))}
        in_body = {_bytes_of(old): _bytes_of(new) for old, new in values.items()}
        headers = tuple((name, _replaced(value, values)) for name, value in outgoing.headers)
        body = _replaced(outgoing.body.decode("latin-1"), in_body).encode("latin-1")
        return Outgoing(outgoing.method, _replaced(outgoing.url, in_url), headers, body)


def _bytes_of(text: str) -> str:
    """Return the bytes of a text, each as a character."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def _replaced(text: str, values: Mapping[str, str]) -> str:
    """Put new values in the places of old ones, all at once: a new value may have an old one in it."""
    if not values:
        return text
    either = "|".join(map(re.escape, sorted(values, key=len, reverse=True)))
    return re.sub(either, lambda found: values[found[0]], text)


def steps_before(session: Session, seq: int, target: str | None = None) -> list[Step]:
    """Return what has to be sent again so that the secrets of a request are fresh, in the order of the recording.

    Args:
        session: the recording.
        seq: the request.
        target: another server, as for the request itself.

    Raises:
        UsageError: no answer issued any of them, or one of these requests cannot be sent again.
    """
    issued: dict[int, dict[str, Issued]] = {}
    left = [seq]
    while left:
        for origin, one in _carried(session, left.pop()):
            if origin not in issued and len(issued) < MOST:
                issued[origin] = {}
                left.append(origin)
            if origin in issued:
                issued[origin][one.value] = one
    if not issued:
        raise UsageError(
            f"Exchange {seq} carries no secret that an answer before it issued, so there is no login to replay",
            hint="leave login out, or give headers with a new value",
            code="login",
        )
    found = []
    for number in sorted(issued):
        outgoing, _ = plan(session, session.session_id, number, Changes(target=target))
        found.append(Step(number, outgoing, tuple(issued[number].values())))
    return found


def _carried(session: Session, seq: int) -> Iterable[tuple[int, Issued]]:
    """Yield the secrets of a request that an earlier answer had first, each with that answer."""
    seen: set[str] = set()
    for kind, value, carried in sightings(session.exchange(seq)):
        if kind == EMAIL or not carried.startswith("request.") or value in seen or len(seen) >= _SECRETS:
            continue
        seen.add(value)
        origin = origin_of(session, value, seq)
        if origin is None or origin.encoding not in {"plain", "percent"}:
            continue
        there = value_at(session.exchange(origin.seq), origin.where)
        if value in {there, unquote(there)}:  # else it is a part of something, of which nobody knows what else is new
            yield origin.seq, Issued(value, carried, origin.where, value != there)
