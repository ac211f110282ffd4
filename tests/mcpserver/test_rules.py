"""The tools of rules, as a client calls them: part 3 of the seed's contract."""

from __future__ import annotations

import asyncio
from typing import Any

from mcp.client import Client

from harness.logs import Recording, new_session
from tests.mcpserver.conftest import InProcess
from wiretape.daemon.rules import Rules

MOCK = {"type": "mock", "status": 503, "body": "{}", "headers": {"content-type": "application/json"}}


async def ask(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that works."""
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    found: dict[str, Any] | None = result.structured_content
    assert found is not None
    return found


async def refused(client: Client, name: str, **arguments: Any) -> str:
    """Call a tool that refuses, and return what it says."""
    result = await client.call_tool(name, arguments)
    assert result.is_error
    return str(result.content)


def test_rules_are_added_changed_listed_and_removed(in_process: InProcess) -> None:
    async def talk(client: Client) -> None:
        added = await ask(client, "proxy_add_rule", description="one", matcher={}, handler=MOCK)
        assert (added["rule"]["id"], added["rule"]["priority"], added["rule"]["hitCount"]) == ("rule_1", 100, 0)
        await ask(client, "proxy_add_rule", description="two", matcher={}, handler={"type": "drop"}, priority=5)
        changed = await ask(client, "proxy_update_rule", rule_id="rule_1", matcher={"method": "POST"}, priority=1)
        assert (changed["rule"]["matcher"], changed["rule"]["description"]) == ({"method": "POST"}, "one")
        listed = await ask(client, "proxy_list_rules")
        assert (listed["count"], [rule["id"] for rule in listed["rules"]]) == (2, ["rule_1", "rule_2"])
        for _ in range(2):
            assert "rule_2" in (await ask(client, "proxy_disable_rule", rule_id="rule_2"))["message"]
        assert (await ask(client, "proxy_list_rules"))["rules"][1]["enabled"] is False
        assert "rule_2" in (await ask(client, "proxy_enable_rule", rule_id="rule_2"))["message"]
        assert (await ask(client, "proxy_status", verbose=True))["ruleCount"] == 2
        await ask(client, "proxy_remove_rule", rule_id="rule_1")
        assert (await ask(client, "proxy_list_rules"))["count"] == 1

    in_process.run(talk)


def test_p16_a_rule_that_means_nothing_is_refused_and_the_field_is_named(in_process: InProcess) -> None:
    async def talk(client: Client) -> None:
        bad: list[tuple[dict[str, Any], dict[str, Any], str]] = [
            ({"urlPattern": "("}, MOCK, "matcher.urlPattern"),
            ({}, {"type": "forward", "forwardTo": "http://h/path"}, "handler.forwardTo"),
            ({}, {**MOCK, "headers": {"X": "a\r\nb"}}, "handler.headers.X"),
            ({"colour": "red"}, MOCK, "colour"),
            ({}, {"type": "teapot"}, "handler.type"),
        ]
        for matcher, handler, named in bad:
            said = await refused(client, "proxy_add_rule", description="", matcher=matcher, handler=handler)
            assert named in said
        for tool in ("proxy_update_rule", "proxy_remove_rule", "proxy_enable_rule", "proxy_disable_rule"):
            more = {"priority": 1} if tool == "proxy_update_rule" else {}
            assert "rule_7" in await refused(client, tool, rule_id="rule_7", **more)
        assert (await ask(client, "proxy_list_rules"))["count"] == 0

    in_process.run(talk)


def test_p18_a_model_sends_requests_only_where_the_server_was_told_that_it_may(in_process: InProcess) -> None:
    async def talk(client: Client) -> None:
        forward = {"type": "forward", "forwardTo": "https://elsewhere.example"}
        said = await refused(client, "proxy_add_rule", description="", matcher={}, handler=forward)
        assert "--allow-target" in said
        for target in ("127.0.0.1:3000", "http://localhost", "https://friend.example:8443"):
            await ask(client, "proxy_add_rule", description="", matcher={}, handler={**forward, "forwardTo": target})

    in_process.run(talk, allow_targets=("friend.example",))


def test_p18_a_model_does_not_widen_a_rule_of_a_person_that_sends_elsewhere(in_process: InProcess) -> None:
    narrow = {"hostname": "a.example"}
    forward = {"type": "forward", "forwardTo": "https://elsewhere.example"}
    in_process.root.mkdir(mode=0o700)
    asyncio.run(Rules(in_process.root).add({"matcher": narrow, "handler": forward, "persist": True}))

    async def talk(client: Client) -> None:
        assert "elsewhere.example" in await refused(client, "proxy_update_rule", rule_id="rule_1", matcher={})
        changed = await ask(client, "proxy_update_rule", rule_id="rule_1", description="seen", priority=7)
        assert (changed["rule"]["matcher"], changed["rule"]["priority"]) == (narrow, 7)

    in_process.run(talk)
    assert Rules(in_process.root).find("rule_1").targets is None


def test_the_shortcuts_make_ordinary_rules(in_process: InProcess) -> None:
    async def talk(client: Client) -> None:
        await ask(client, "proxy_inject_headers", headers={"X-A": "1", "X-B": None}, direction="both", hostname="h")
        await ask(client, "proxy_mock_response", status=201, body="[]", method="POST", url_pattern="/v1")
        made = await ask(client, "proxy_rewrite_url", match_pattern="^http://a/(.*)", replace_with="http://b/$1")
        assert made["rule_id" if "rule_id" in made else "ruleId"] == "rule_3"
        assert made["description"]
        first, second, third = (await ask(client, "proxy_list_rules"))["rules"]
        assert (first["id"], first["priority"], first["matcher"]) == (
            "rule_2",
            10,
            {"method": "POST", "urlPattern": "/v1"},
        )
        assert first["handler"]["headers"] == {"content-type": "application/json"}
        assert (second["id"], second["priority"]) == ("rule_1", 50)
        assert second["handler"]["transformResponse"] == {"updateHeaders": {"X-A": "1", "X-B": None}}
        assert third["handler"]["rewriteUrl"]["replaceWith"] == "http://b/$1"

    in_process.run(talk)


def test_a_request_made_up_or_recorded_is_tried_rule_by_rule(in_process: InProcess) -> None:
    recording = Recording(new_session(in_process.root, "past"))
    recording.exchange("http://a.test/one")
    recording.close()

    async def talk(client: Client) -> None:
        await ask(client, "proxy_add_rule", description="", matcher={"headers": {"X-A": "1"}}, handler=MOCK)
        await ask(client, "proxy_add_rule", description="", matcher={"pathPattern": "^/one$"}, handler={"type": "drop"})
        found = (await ask(client, "proxy_test_rule_match", request={"url": "http://a.test/one"}))["result"]
        assert (found["matchedCount"], found["effectiveMatchCount"], found["totalRules"]) == (1, 1, 2)
        assert found["effectiveWinner"]["ruleId"] == "rule_2"
        assert found["effectiveWinner"]["handlerType"] == "drop"
        mismatch = found["results"][0]["checks"]["headers"]["mismatch"]
        assert mismatch[0]["header"] == "X-A"
        recorded = await ask(client, "proxy_test_rule_match", mode="exchange", exchange_id="past:1")
        assert recorded["result"]["effectiveWinner"]["ruleId"] == "rule_2"
        assert "request" in await refused(client, "proxy_test_rule_match")
        assert "exchange_id" in await refused(client, "proxy_test_rule_match", mode="exchange")
        assert "url" in await refused(client, "proxy_test_rule_match", request={"url": "/one"})
        unknown = await refused(client, "proxy_test_rule_match", mode="exchange", exchange_id="past:7")
        assert "Exchange 7" in unknown
        preview = await ask(client, "proxy_preview_rule", session_id="past")
        assert (preview["matched"], preview["exchanges"][0]["would"]) == (1, "dropped")

    in_process.run(talk)
