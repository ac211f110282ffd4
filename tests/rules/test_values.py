"""Rules as they are written: what is refused, with which field named, and what is shown again."""

from __future__ import annotations

from typing import Any

import pytest

from wiretape.errors import UsageError
from wiretape.rules.ruleset import checked, compiled
from wiretape.rules.values import MAX_RULES, rule_from, to_json

MOCK = {"type": "mock"}
NESTED: Any = 1
for _ in range(5_000):
    NESTED = [NESTED]


def through(request: dict[str, Any] | None = None, response: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a rule that edits."""
    handler: dict[str, Any] = {"type": "passthrough"}
    if request is not None:
        handler["transformRequest"] = request
    if response is not None:
        handler["transformResponse"] = response
    return {"handler": handler}


WRONG: list[tuple[Any, str]] = [
    ({}, "no handler"),
    ([], "object"),
    ({"handler": {}}, "handler: .*type"),
    ({"handler": {"type": "teapot"}}, "handler.type"),
    ({"handler": MOCK, "color": 1}, "color"),
    ({"handler": {**MOCK, "color": 1}}, "handler: .*color"),
    ({"handler": MOCK, "matcher": {"urlpattern": "x"}}, "matcher: .*urlpattern"),
    ({"handler": MOCK, "priority": "high"}, "priority"),
    ({"handler": MOCK, "times": 0}, "times"),
    ({"handler": MOCK, "description": "x" * 1001}, "description"),
    ({"handler": {**MOCK, "status": "200"}}, "handler.status"),
    ({"handler": {**MOCK, "status": 101}}, "handler.status"),
    ({"handler": {**MOCK, "status": 204, "body": "x"}}, "handler.body"),
    ({"handler": {**MOCK, "headers": {"X": "a\r\nY: b"}}}, r"handler\.headers\.X"),
    ({"handler": {**MOCK, "headers": {"X\r\nY": "b"}}}, r"handler\.headers"),
    ({"handler": {**MOCK, "headers": {"Transfer-Encoding": "chunked"}}}, "Transfer-Encoding"),
    ({"handler": {**MOCK, "body": "x" * 5_000_000}}, "bytes as JSON"),
    ({"handler": {**MOCK, "delayMs": -1}}, "handler.delayMs"),
    ({"handler": {"type": "block", "status": 200}}, "handler.status"),
    ({"handler": {"type": "block", "body": "x"}}, "handler.body"),
    ({"handler": {"type": "drop", "status": 200}}, "handler.status"),
    ({"handler": {"type": "forward"}}, "handler.forwardTo"),
    ({"handler": {"type": "forward", "forwardTo": "http://h/path"}}, "handler.forwardTo"),
    ({"handler": {"type": "forward", "forwardTo": "h:99999"}}, "handler.forwardTo"),
    ({"handler": {"type": "forward", "forwardTo": "ftp://h"}}, "handler.forwardTo"),
    ({"handler": {"type": "passthrough", "forwardTo": "h"}}, "handler.forwardTo"),
    ({"handler": {"type": "passthrough", "rewriteUrl": {"match": "(", "replaceWith": ""}}}, r"rewriteUrl\.match"),
    (
        {"handler": {"type": "passthrough", "rewriteUrl": {"match": "a", "replaceWith": "$1"}}},
        r"rewriteUrl\.replaceWith",
    ),
    ({"handler": MOCK, "matcher": {"urlPattern": "("}}, r"matcher\.urlPattern"),
    ({"handler": {**MOCK, "body": "\ud800"}}, "half a character"),
    ({"handler": MOCK, "matcher": {"urlPattern": "\udfff"}}, "half a character"),
    ({"handler": {**MOCK, "headers": {f"X-{n}": "x" * 16_000 for n in range(20)}}}, r"handler\.headers"),
    (through(response={"jsonSet": {"/a": NESTED}}), "nested"),
    (through(request={"jsonPatch": [{"op": "add", "path": "", "value": NESTED}]}), "nested"),
    ({"handler": MOCK, "matcher": {"urlPattern": "(a)\\1"}}, "back-references"),
    ({"handler": MOCK, "matcher": {"pathPattern": "[z-a]"}}, r"matcher\.pathPattern"),
    ({"handler": MOCK, "matcher": {"hostname": "http://h/"}}, r"matcher\.hostname"),
    ({"handler": MOCK, "matcher": {"method": "GET POST"}}, r"matcher\.method"),
    ({"handler": MOCK, "matcher": {"headers": {"": "x"}}}, r"matcher\.headers"),
    ({"handler": MOCK, "matcher": {"filter": "~m"}}, r"matcher\.filter"),
    ({"handler": MOCK, "matcher": {"filter": "~c 500"}}, "asks for the response"),
    ({"handler": MOCK, "matcher": {"filter": "~ms >100"}}, "how the exchange ended"),
    (through({"updateHeaders": {"X": "a\nb"}}), r"transformRequest\.updateHeaders\.X"),
    (through({"updateHeaders": {"Content-Length": "3"}}), "Content-Length"),
    (through({"addHeaders": {"X": "\x00"}}), r"addHeaders\.X"),
    (through({"addHeaders": [{"name": "X"}]}), r"addHeaders\[0\]"),
    (through({"removeHeaders": ["a b"]}), r"removeHeaders\[0\]"),
    (through({"replaceInHeaders": [{"name": "X", "find": "", "replaceWith": "b"}]}), r"replaceInHeaders\[0\]\.find"),
    (through({"replaceInHeaders": [{"name": "X", "find": "a", "replaceWith": "\r\n"}]}), r"replaceInHeaders\[0\]"),
    (through({"replaceMethod": "CONNECT"}), r"transformRequest\.replaceMethod"),
    (through({"replaceStatus": 500}), "replaceStatus"),
    (through(response={"replaceStatus": 304}), r"transformResponse\.replaceStatus"),
    (through(response={"updateHeaders": {"Host": "x"}}), r"transformResponse\.updateHeaders\.Host"),
    (through({"matchReplaceBody": [["", "x"]]}), r"matchReplaceBody\[0\]"),
    (through({"matchReplaceBody": [["a"]]}), r"matchReplaceBody"),
    (through({"replaceBody": [{"find": "(", "regex": True}]}), r"replaceBody\[0\]\.find"),
    (through({"jsonSet": {"a": 1}}), "jsonSet"),
    (through({"jsonPatch": [{"op": "frobnicate", "path": "/a"}]}), r"jsonPatch\[0\]"),
    (through({"jsonPatch": [{"op": "add", "path": "/a"}]}), r"jsonPatch\[0\].*value"),
    (through({"jsonPatch": [{"op": "move", "path": "/a"}]}), r"jsonPatch\[0\].*from"),
]


@pytest.mark.parametrize(("fields", "named"), WRONG)
def test_a_rule_that_means_nothing_is_refused_and_the_field_is_named(fields: Any, named: str) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        compiled(rule_from(fields))
    assert caught.value.code == "usage"


def test_a_catastrophic_regular_expression_is_an_ordinary_one() -> None:
    rule = compiled(rule_from({"handler": MOCK, "matcher": {"urlPattern": "^(a+)+$"}}))
    assert rule.matcher.needle == ""


def test_more_rules_than_can_be_followed_are_refused_whole() -> None:
    rule = rule_from({"handler": {"type": "drop"}, "id": "rule_1"})
    assert len(checked([rule] * 100)) == 100
    with pytest.raises(UsageError, match="10,000 rules"):
        checked([rule] * (MAX_RULES + 1))


def test_a_set_with_one_wrong_rule_names_it() -> None:
    good, bad = (
        rule_from({"handler": MOCK, "id": "rule_1"}),
        rule_from({"handler": {"type": "forward"}, "id": "rule_2"}),
    )
    with pytest.raises(UsageError, match="rule_2: "):
        checked([good, bad])


def test_a_rule_is_shown_with_what_it_was_given_and_what_is_always_there() -> None:
    fields = {"handler": {"type": "mock", "headers": {"X": "1"}}, "matcher": {"urlPattern": "x"}, "id": "rule_4"}
    shown = to_json(rule_from(fields))
    assert shown == {**fields, "priority": 100, "enabled": True, "description": ""}
    assert rule_from(shown) == rule_from(fields)
