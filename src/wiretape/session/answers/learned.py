"""What of answers is another in each run, learned from further runs of the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from wiretape.formats.openapi import template
from wiretape.model import ExchangeDetail, Filter, Message
from wiretape.session.answers.noise import starred
from wiretape.session.session import Session

_EXCHANGES: Final = 5_000
_LEAVES: Final = 5_000
_MAX_JSON: Final = 64 * 1024
_ALIKE: Final = 20
_LONG: Final = 4_000
"""Characters of a URL that others are looked for by, fewer than a filter takes."""

Key = tuple[str, str, int]
"""Method, path with its ids folded, and how many of these came before it."""


def learned_noise(first: Session, others: list[Session], wanted: Filter | None) -> dict[int, frozenset[str]]:
    """Return the JSON pointers in the answers of a session whose values other runs have otherwise, by seq."""
    runs = [dict(_answers(session, wanted)) for session in others]
    noise: dict[int, frozenset[str]] = {}
    for key, (seq, leaves) in _answers(first, wanted):
        differing = {
            pointer
            for run in runs
            if key in run
            for pointer, value in leaves.items()
            if run[key][1].get(pointer, value) != value
        }
        if differing:
            noise[seq] = frozenset(differing)
    return noise


def noise_of(session: Session, seq: int) -> frozenset[str]:
    """Return the places in an answer whose values are others in further answers to the very same request.

    Places are JSON pointers with ``*`` for positions.
    """
    own = session.exchange(seq)
    request = own.request
    if request is None or not request.url or own.response is None:
        return frozenset()
    mine = dict(_leaves(own))
    status = None if own.response.status_code is None else str(own.response.status_code)
    found: set[str] = set()
    for item in session.query(
        Filter(method=request.method, url_contains=request.url[:_LONG], status=status), limit=_ALIKE
    ).items:
        if item.seq == seq or item.url != request.url:
            continue
        other = session.exchange(item.seq)
        if other.request is not None and _body(other.request) == _body(request):
            found |= {starred(pointer) for pointer, value in _leaves(other) if mine.get(pointer, value) != value}
    return frozenset(found)


def _body(message: Message) -> tuple[str | None, str | None]:
    """Return a body in the one form that it has, as text or in base64."""
    return message.body, message.body_base64


def _answers(session: Session, wanted: Filter | None) -> Iterator[tuple[Key, tuple[int, dict[str, Any]]]]:
    seen: Counter[tuple[str, str]] = Counter()
    for number, exchange in enumerate(session.iterate(wanted)):
        if number >= _EXCHANGES:
            return
        operation = _operation(exchange)
        seen[operation] += 1
        leaves = dict(_leaves(exchange))
        if leaves:
            yield (*operation, seen[operation]), (exchange.seq, leaves)


def _operation(exchange: ExchangeDetail) -> tuple[str, str]:
    request = exchange.request
    if request is None:
        return "", ""
    try:
        path = urlsplit(request.url or "").path
    except ValueError:
        path = ""
    return request.method or "", template(path)[0]


def _leaves(exchange: ExchangeDetail) -> Iterator[tuple[str, Any]]:
    response = exchange.response
    if response is None or not response.body or len(response.body) > _MAX_JSON:
        return
    try:
        left: list[tuple[str, Any]] = [("", json.loads(response.body))]
    except (ValueError, RecursionError):
        return
    looked = 0
    while left and looked < _LEAVES:
        pointer, one = left.pop()
        looked += 1
        if isinstance(one, dict):
            left.extend((f"{pointer}/{key}", item) for key, item in one.items())
        elif isinstance(one, list):
            left.extend((f"{pointer}/{at}", item) for at, item in enumerate(one))
        else:
            yield pointer, one
