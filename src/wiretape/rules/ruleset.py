"""Rules compiled together. Compiling is the check: what compiles can do nothing unforeseen in live traffic.

Stages, in their order; in each the first rule that matches wins, lower priorities first, ties in order of creation:

    answer    who answers: mock, block, drop, forward, another URL
    request   what is changed in the request, and how long it waits
    response  what is changed in the response

A rule takes part in the stages for which its handler says something; a passthrough that says nothing takes part in all:
what it matches is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from wiretape.errors import UsageError
from wiretape.filters.exchange import Verdict
from wiretape.rules.body import BodyEdit, body_edits
from wiretape.rules.headers import TOKEN, Edit, check_name, check_value, header_edits
from wiretape.rules.matcher import CompiledMatcher
from wiretape.rules.seen import Seen
from wiretape.rules.url import Rewrite, forwarding, rewriting
from wiretape.rules.values import (
    MAX_DELAY_MS,
    MAX_RULES,
    MAX_SET_BYTES,
    STAGES,
    Changes,
    Handler,
    RequestChanges,
    ResponseChanges,
    Rule,
    Stage,
    to_json,
    wrong,
)

NO_BODY: Final = frozenset({204, 205, 304})
"""Statuses whose responses have no body (RFC 9110 section 15)."""
_FIELD_NAMES: Final = re.compile(rb"\n([^:\r\n]+):").findall
MAX_ANSWER_FIELDS: Final = 60_000
"""Bytes of a mock's fields: the head has room for its own, and clients take no longer ones either."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that no server gave.

    Attributes:
        status: its status.
        fields: names and values; without those that frame it.
        body: its bytes.
    """

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Edits:
    """What is done to a message, compiled.

    Attributes:
        headers, body: edits in their order; those of the body may raise ``body.NotAppliedError``.
        method: another method, or None.
        status: another status, or None.
    """

    headers: tuple[Edit, ...] = ()
    body: tuple[BodyEdit, ...] = ()
    method: str | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule that was checked.

    Attributes:
        rule: as it was written.
        matcher: which requests.
        stages: those in which it takes part.
        answer: what ``mock`` and ``block`` answer.
        rewrite: another URL.
        rewrite_host: Host follows the URL.
        request, response: what is changed.
        delay: seconds that the request waits.
    """

    rule: Rule
    matcher: CompiledMatcher
    stages: frozenset[Stage]
    answer: Answer | None
    rewrite: Rewrite | None
    rewrite_host: bool
    request: Edits | None
    response: Edits | None
    delay: float

    @property
    def blocks(self) -> bool:
        """Whether it answers with a refusal."""
        return self.rule.handler.type == "block"

    @property
    def drops(self) -> bool:
        """Whether it breaks the connection off."""
        return self.rule.handler.type == "drop"


def compiled(rule: Rule) -> CompiledRule:
    """Check a rule and compile it.

    Raises:
        UsageError: something means nothing, or would break a message; the message names the field.
    """
    handler = rule.handler
    _check_handler(handler)
    if rule.times is not None and rule.times < 1:
        raise wrong("times", "it counts exchanges and is at least 1", "enabled: false keeps a rule out of traffic")
    if not -1e9 < rule.priority < 1e9:
        raise wrong("priority", "it is not a number between -1,000,000,000 and 1,000,000,000")
    matcher = CompiledMatcher(rule.matcher)
    rewrite, follows = _rewrite(handler)
    request = None if handler.transform_request is None else _request_edits(handler.transform_request)
    response = None if handler.transform_response is None else _response_edits(handler.transform_response)
    stages = _stages(handler)
    if matcher.asks_for_response and stages != {"response"}:
        raise wrong(
            "matcher.filter",
            f"it asks for the response, and {handler.type} decides before there is one",
            "only transformResponse alone can depend on the response",
        )
    return CompiledRule(
        rule=rule,
        matcher=matcher,
        stages=stages,
        answer=_answer(rule),
        rewrite=rewrite,
        rewrite_host=follows,
        request=request,
        response=response,
        delay=(handler.delay_ms or 0) / 1000,
    )


def _stages(handler: Handler) -> frozenset[Stage]:
    found: set[Stage] = set()
    if handler.type != "passthrough" or handler.rewrite_url is not None:
        found.add("answer")
    if handler.transform_request is not None or (handler.delay_ms and not found):
        found.add("request")
    if handler.transform_response is not None:
        found.add("response")
    return frozenset(found or STAGES)


_FIELDS_OF: Final = {
    "passthrough": {"rewrite_url", "transform_request", "transform_response"},
    "forward": {"forward_to", "transform_request", "transform_response"},
    "mock": {"status", "body", "headers"},
    "block": {"status"},
    "drop": set[str](),
}


def _check_handler(handler: Handler) -> None:
    kind = handler.type
    for name in ("status", "body", "headers", "forward_to", "rewrite_url", "transform_request", "transform_response"):
        if getattr(handler, name) is not None and name not in _FIELDS_OF[kind]:
            first, *rest = name.split("_")
            key = first + "".join(part.title() for part in rest)
            raise wrong(f"handler.{key}", f"it means nothing for {kind}", _whose(name))
    if kind == "forward" and handler.forward_to is None:
        raise wrong("handler.forwardTo", "forward needs a server: host, host:port or scheme://host[:port]")
    if handler.delay_ms is not None and not 0 <= handler.delay_ms <= MAX_DELAY_MS:
        raise wrong("handler.delayMs", f"it is between 0 and {MAX_DELAY_MS:,}")


def _whose(name: str) -> str:
    kinds = [kind for kind, names in _FIELDS_OF.items() if name in names]
    return f"it belongs to {' and '.join(kinds)}"


def _rewrite(handler: Handler) -> tuple[Rewrite | None, bool]:
    if handler.forward_to is not None:
        return forwarding("handler.forwardTo", handler.forward_to), True
    if handler.rewrite_url is not None:
        return rewriting("handler.rewriteUrl", handler.rewrite_url), not handler.rewrite_url.keep_host
    return None, True


def _request_edits(changes: RequestChanges) -> Edits:
    field = "handler.transformRequest"
    method = changes.replace_method
    if method is not None and (TOKEN(method) is None or method.upper() in {"CONNECT", "HEAD"}):
        raise wrong(f"{field}.replaceMethod", f"{method[:80]!r} cannot take a method's place")
    return Edits(*_edits(field, changes), method=method)


def _response_edits(changes: ResponseChanges) -> Edits:
    field = "handler.transformResponse"
    status = changes.replace_status
    if status is not None and (not 200 <= status <= 599 or status in NO_BODY):
        raise wrong(f"{field}.replaceStatus", "it is 200 to 599, and none of 204, 205 and 304: they have no body")
    return Edits(*_edits(field, changes), status=status)


def _edits(field: str, changes: Changes) -> tuple[tuple[Edit, ...], tuple[BodyEdit, ...]]:
    for name in changes.update_headers or {}:
        if name.lower() == "host" and field.endswith("Response"):
            raise wrong(f"{field}.updateHeaders.{name}", "a response has no Host")
    return tuple(header_edits(field, changes)), tuple(body_edits(field, changes))


def _answer(rule: Rule) -> Answer | None:
    handler = rule.handler
    if handler.type == "block":
        status = handler.status or 403
        if not 400 <= status <= 599:
            raise wrong("handler.status", "block answers with 400 to 599", "mock takes any status")
        said = f"Blocked by {rule.id or 'a rule'}{': ' if rule.description else ''}{rule.description}\n"
        headers = (("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store"))
        return Answer(status, (*headers, ("Wiretape-Error", "blocked-by-rule")), said.encode())
    if handler.type != "mock":
        return None
    status = 200 if handler.status is None else handler.status
    if not 200 <= status <= 599:
        raise wrong("handler.status", "mock answers with 200 to 599")
    body = (handler.body or "").encode("utf-8", "replace")
    if body and status in NO_BODY:
        raise wrong("handler.body", f"a response with status {status} has no body")
    fields = []
    for name, value in (handler.headers or {}).items():
        where = f"handler.headers.{name}"
        if name.lower() == "content-length":
            continue  # it follows from the body
        fields.append((check_name(where, name), check_value(where, value)))
    if sum(len(name) + len(value) + 4 for name, value in fields) > MAX_ANSWER_FIELDS:
        raise wrong("handler.headers", f"together they are longer than {MAX_ANSWER_FIELDS:,} bytes")
    return Answer(status, tuple(fields), body)


def reason(status: int) -> str:
    """Return the usual reason phrase of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


class Ruleset:
    """Rules in the order in which they are tried; those that are not enabled are not there.

    Few rules match a request, mostly none. So what a rule asks for of host, URL and header names is kept in tables, and
    what is left of a hundred rules after a look at them is looked at one by one.
    """

    def __init__(self, rules: Iterable[CompiledRule]) -> None:
        self.rules = tuple(sorted((one for one in rules if one.rule.enabled), key=in_order))
        self._anywhere: list[int] = []
        self._by_host: dict[str, list[int]] = {}
        self._needles: list[tuple[str, int]] = []
        self._names: dict[bytes, list[int]] = {}
        for number, one in enumerate(self.rules):
            matcher = one.matcher
            if matcher.host is not None:
                self._by_host.setdefault(matcher.host, []).append(number)
            elif matcher.needle:
                self._needles.append((matcher.needle, number))
            elif matcher.header:
                self._names.setdefault(matcher.header.encode(), []).append(number)
            else:
                self._anywhere.append(number)

    def candidates(self, url: str, host: str, head: bytes) -> Sequence[CompiledRule]:
        """Return the rules that may match, in their order.

        Args:
            url: absolute, as ``url.plain_url`` has it.
            host: its host.
            head: the raw head of the request.
        """
        found = [*self._anywhere, *self._by_host.get(host, ())]
        if self._needles:
            lower = url.lower()
            found += [number for needle, number in self._needles if needle in lower]
        if self._names:
            # Twenty look-ups of names in a head take 12 µs, taking its names apart 1 µs.
            for name in self._names.keys() & _FIELD_NAMES(head.lower()):
                found += self._names[name]
        if not found:
            return ()
        found.sort()
        return [self.rules[number] for number in found]


def in_order(rule: CompiledRule) -> tuple[float, int]:
    """Return what rules are sorted by."""
    return rule.rule.priority, rule.rule.number


def checked(rules: Iterable[Rule]) -> list[CompiledRule]:
    """Check a whole set.

    Raises:
        UsageError: one means nothing, which is named; or there are too many.
    """
    found: list[CompiledRule] = []
    size = 0
    for rule in rules:
        try:
            found.append(compiled(rule))
        except UsageError as error:
            where = f"{rule.id}: " if rule.id else ""
            raise UsageError(f"{where}{error.message}", hint=error.hint, code=error.code) from None
        size += len(json.dumps(to_json(rule)))
        if len(found) > MAX_RULES or size > MAX_SET_BYTES:
            raise UsageError(
                f"there are more than {MAX_RULES:,} rules, or they take more than {MAX_SET_BYTES:,} bytes as JSON",
                hint="remove some first; one rule with a filter can stand for many",
            )
    return found


def first(rules: Iterable[CompiledRule], stage: Stage, seen: Seen) -> tuple[CompiledRule | None, Verdict]:
    """Return the first rule of a stage that matches.

    Returns:
        The rule with True, or None with False; a rule with None where it asks for what has not come yet: nothing can be
        said of those after it either.
    """
    for one in rules:
        if stage not in one.stages:
            continue
        seen.lacks.clear()
        verdict = one.matcher.matches(seen)
        if verdict or (verdict is None and seen.lacks):
            return one, verdict
    return None, False
