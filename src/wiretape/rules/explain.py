"""What rules say of one exchange, one by one: the test tool's answer. The matcher is that of live traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from wiretape.errors import UsageError
from wiretape.rules.matcher import Check
from wiretape.rules.ruleset import CompiledRule
from wiretape.rules.seen import Seen, SeenBody
from wiretape.rules.url import is_url, path_of, plain_url
from wiretape.rules.values import STAGES


class RuleOutcome(msgspec.Struct, frozen=True, rename="camel"):
    """How a rule came out: ``enabled``, ``priority`` and ``description`` are the rule's.

    Attributes:
        rule_id, enabled, priority, description: of the rule.
        matched: the matcher takes the exchange.
        eligible: and the rule is enabled.
        stages: those in which it takes part.
        checks: how each field of the matcher came out.
    """

    rule_id: str
    enabled: bool
    priority: float
    description: str
    matched: bool
    eligible: bool
    stages: list[str]
    checks: dict[str, Check]


class Winner(msgspec.Struct, frozen=True, rename="camel"):
    """The rule that decides: ``rule_id``, ``priority`` and ``description``; ``handler_type`` is what it does."""

    rule_id: str
    priority: float
    description: str
    handler_type: str


class Explained(msgspec.Struct, frozen=True, rename="camel"):
    """What all rules say.

    Attributes:
        request: as it was matched.
        include_disabled: whether those were looked at, too, that are not enabled; they never win.
        evaluated_count: rules that were looked at, of ``total_rules``.
        total_rules: how many there are.
        results: one of each rule, in the order in which they are tried.
        matched_count: rules that match; ``effective_match_count`` of them are enabled.
        effective_match_count: those that match and are enabled.
        effective_winner: the first that matched and is enabled.
        winners: for each stage the rule that wins it.
    """

    request: dict[str, Any]
    include_disabled: bool
    evaluated_count: int
    total_rules: int
    results: list[RuleOutcome]
    matched_count: int
    effective_match_count: int
    effective_winner: Winner | None
    winners: dict[str, str]


def explain(
    rules: Sequence[CompiledRule], seen: Seen, *, include_disabled: bool = True, limit: int | None = None
) -> Explained:
    """Try rules on an exchange.

    Args:
        rules: in their order, also those that are not enabled.
        seen: the exchange.
        include_disabled: look at those too that are not enabled; they never win.
        limit: look at the first so many only.
    """
    tried = [one for one in rules if include_disabled or one.rule.enabled][:limit]
    results: list[RuleOutcome] = []
    winners: dict[str, CompiledRule] = {}
    for one in tried:
        checks = one.matcher.explain(seen)
        matched = all(check.passed for check in checks.values())
        eligible = matched and one.rule.enabled
        stages = [stage for stage in STAGES if stage in one.stages]
        results.append(
            RuleOutcome(
                rule_id=one.rule.id,
                enabled=one.rule.enabled,
                priority=one.rule.priority,
                description=one.rule.description,
                matched=matched,
                eligible=eligible,
                stages=list(stages),
                checks=checks,
            )
        )
        for stage in stages if eligible else ():
            winners.setdefault(stage, one)
    first = next((one for one, found in zip(tried, results, strict=True) if found.eligible), None)
    return Explained(
        request={"method": seen.method, "url": seen.url, "hostname": seen.host, "path": seen.path},
        include_disabled=include_disabled,
        evaluated_count=len(tried),
        total_rules=len(rules),
        results=results,
        matched_count=sum(found.matched for found in results),
        effective_match_count=sum(found.eligible for found in results),
        effective_winner=None if first is None else _winner(first),
        winners={stage: winners[stage].rule.id for stage in STAGES if stage in winners},
    )


def _winner(one: CompiledRule) -> Winner:
    return Winner(one.rule.id, one.rule.priority, one.rule.description, one.rule.handler.type)


_PARTS: Final = ("method", "url", "hostname", "path", "headers", "body")


def simulated(request: Mapping[str, Any]) -> Seen:
    """Return a made-up request as matchers see it.

    Args:
        request: ``url``, absolute; ``method``, ``headers`` (name to value), ``body``; ``hostname`` and ``path`` follow
            from the URL unless they are given.

    Raises:
        UsageError: it is no request; the message names the part.
    """
    for name in request:
        if name not in _PARTS:
            raise _no_request(str(name)[:80], f"a request has {', '.join(_PARTS)}")
    url, method = request.get("url"), request.get("method", "GET")
    if not isinstance(url, str) or not is_url(url):
        raise _no_request("url", "it has to be an absolute URL of HTTP, such as http://example.com/path")
    headers, body = request.get("headers") or {}, request.get("body") or ""
    if not isinstance(method, str) or not isinstance(body, str) or not isinstance(headers, Mapping):
        raise _no_request("method, headers, body", "method and body are texts, headers a map of them")
    lines = [f"{method} {path_of(url)} HTTP/1.1"]
    for name, value in headers.items():
        if not isinstance(value, str) or any(char in f"{name}{value}" for char in "\r\n"):
            raise _no_request(f"headers.{str(name)[:80]}", "a value is a text of one line")
        lines.append(f"{name}: {value}")
    head = "\r\n".join([*lines, "", ""]).encode("utf-8", "replace")
    data = body.encode("utf-8", "replace")
    host, path = request.get("hostname"), request.get("path")
    return Seen(
        method,
        plain_url(url),
        head,
        lambda side: SeenBody(data if side == "request" else b""),
        response_coming=True,
        hostname=host if isinstance(host, str) else None,
        path_and_query=path if isinstance(path, str) else None,
    )


def _no_request(part: str, why: str) -> UsageError:
    return UsageError(f"the request's {part}: {why}", hint='for example {"url": "http://example.com/"}')
