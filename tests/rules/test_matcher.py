"""The matcher: the table of the compatibility contract row by row, the filter language, and how it explains itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from wiretape.rules.matcher import CompiledMatcher
from wiretape.rules.ruleset import Ruleset, compiled, first
from wiretape.rules.seen import NO_BODY, Seen, SeenBody
from wiretape.rules.url import plain_url
from wiretape.rules.values import Matcher, rule_from

URL = "http://api.example.com/v1/items?x=1&y=%2f"


def seen(url: str = URL, method: str = "GET", fields: str = "", body: SeenBody = NO_BODY, **more: Any) -> Seen:
    """Return an exchange of which only the request has come."""
    head = f"{method} / HTTP/1.1\r\nHost: api.example.com\r\n{fields}\r\n".encode()
    return Seen(method, plain_url(url), head, lambda side: body, response_coming=True, **more)


def matcher(**fields: Any) -> CompiledMatcher:
    """Return a matcher."""
    return CompiledMatcher(msgspec.convert(fields, Matcher))


# What the seed's users are owed, one row of its table after the other (seed-contract.md 3): what matches, what not.
ROWS: list[tuple[dict[str, Any], Seen, bool]] = [
    ({}, seen(), True),
    ({"method": "get"}, seen(), True),
    ({"method": "PURGE"}, seen(method="purge"), True),
    ({"method": "PURGE", "urlPattern": "v2"}, seen(method="PURGE"), False),
    ({"method": "POST"}, seen(), False),
    ({"urlPattern": "x=1"}, seen(), True),
    ({"urlPattern": "^http://api.example.com/v1"}, seen("http://API.example.com:80/v1"), True),
    ({"urlPattern": "V1"}, seen(), False),
    ({"urlPattern": "/items$"}, seen(), False),
    ({"urlPattern": "^/v1/items"}, seen(), True),
    ({"urlPattern": "^/v1/items", "method": "GET"}, seen(), True),
    ({"urlPattern": "^/items"}, seen(), False),
    ({"hostname": "API.Example.COM"}, seen(), True),
    ({"hostname": "api.example.com"}, seen("https://api.example.com:8443/"), True),
    ({"hostname": "example.com"}, seen(), False),
    ({"hostname": "under_score"}, seen("http://under_score/"), True),
    ({"hostname": "::1"}, seen("http://[::1]:80/"), True),
    ({"hostname": "[::1]"}, seen("http://[::1]:8080/"), True),
    ({"pathPattern": r"^/v1/items\?x=1"}, seen(), True),
    ({"pathPattern": "^/$"}, seen("http://api.example.com"), True),
    ({"pathPattern": "example"}, seen(), False),
    ({"headers": {"X-One": "a"}}, seen(fields="x-one: b\r\nX-ONE: a\r\n"), True),
    ({"headers": {"X-One": "b, a"}}, seen(fields="x-one: b\r\nX-ONE: a\r\n"), True),
    ({"headers": {"X-One": "A"}}, seen(fields="x-one: a\r\n"), False),
    ({"headers": {"X-One": "a", "X-Two": "b"}}, seen(fields="x-one: a\r\n"), False),
    ({"bodyIncludes": "käse"}, seen(body=SeenBody("mit käse".encode())), True),
    ({"bodyIncludes": "Käse"}, seen(body=SeenBody("mit käse".encode())), False),
    ({"filter": "~m GET & ~d example & !~hq cookie"}, seen(), True),
    ({"filter": "~m POST | ~u nothing"}, seen(), False),
    ({"filter": "~bq token"}, seen(body=SeenBody(b"a token")), True),
    ({"filter": "~tq json"}, seen(fields="Content-Type: application/json\r\n"), True),
    ({"filter": "~json /a=1"}, seen(body=SeenBody(b'{"a": 1}')), True),
    ({"method": "GET", "filter": "items", "hostname": "api.example.com"}, seen(), True),
]


@pytest.mark.parametrize(("fields", "exchange", "expected"), ROWS)
def test_live_and_explained_a_row_of_the_table_comes_out_alike(
    fields: dict[str, Any], exchange: Seen, expected: bool
) -> None:
    one = matcher(**fields)
    assert one.matches(exchange) is expected
    checks = one.explain(exchange)
    assert all(check.passed for check in checks.values()) is expected
    assert {name for name, check in checks.items() if check.applies} == set(fields)


@pytest.mark.parametrize(("fields", "exchange", "expected"), ROWS)
def test_what_a_set_looks_at_first_leaves_no_rule_out_that_matches(
    fields: dict[str, Any], exchange: Seen, expected: bool
) -> None:
    ruleset = Ruleset([compiled(rule_from({"matcher": fields, "handler": {"type": "drop"}}))])
    found = ruleset.candidates(exchange.url, exchange.host, exchange.request_head)
    assert (first(found, "answer", exchange)[1] or False) is expected


def test_a_body_that_cannot_be_decoded_is_no_match_and_the_reason_is_said() -> None:
    exchange = seen(body=SeenBody(None, "the body cannot be decoded: no gzip"))
    one = matcher(bodyIncludes="x")
    assert one.matches(exchange) is None
    assert not exchange.lacks
    check = one.explain(exchange)["bodyIncludes"]
    assert (check.passed, check.reason) == (False, "the body cannot be decoded: no gzip")


def test_headers_that_differ_are_shown_one_by_one() -> None:
    check = matcher(headers={"A": "1", "B": "2"}).explain(seen(fields="a: 1\r\n"))["headers"]
    assert [(one.header, one.expected, one.actual) for one in check.mismatch] == [("B", "2", None)]


@pytest.mark.parametrize("text", ["~c 200", "!~c 200", "~hs x", "!~ts json", "~bs x", "!~q"])
def test_a_filter_on_the_response_is_undecided_until_there_is_one(text: str) -> None:
    exchange = seen()
    one = matcher(filter=text)
    assert one.asks_for_response
    assert one.matches(exchange) is None
    assert exchange.lacks == {"response"}


def test_a_rule_that_waits_for_the_body_holds_those_after_it_back() -> None:
    exchange = seen(body=SeenBody(None, "not whole", coming=True))
    waits = compiled(rule_from({"matcher": {"bodyIncludes": "x"}, "handler": {"type": "drop"}}))
    after = compiled(rule_from({"handler": {"type": "drop"}}))
    assert first([waits, after], "answer", exchange) == (waits, None)


def test_rules_are_tried_by_priority_then_in_order_of_creation_and_those_that_are_off_are_not() -> None:
    def rule(number: int, priority: float, enabled: bool = True) -> Any:
        fields = {"handler": {"type": "drop"}, "priority": priority, "number": number, "enabled": enabled}
        return compiled(rule_from(fields))

    rules = Ruleset([rule(1, 100), rule(2, 50), rule(3, 50.5), rule(4, 50), rule(5, 1, enabled=False)])
    assert [one.rule.number for one in rules.candidates(URL, "h", b"")] == [2, 4, 3, 1]
