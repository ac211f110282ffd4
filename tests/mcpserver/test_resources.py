"""Resources, templates, completion and prompts: addresses and keys of proxy-mcp, and what is not there is not found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference, ResourceTemplateReference

from harness.logs import Recording, closed_session, new_session
from tests.mcpserver.conftest import InProcess
from wiretape.guide import guide, topics

INVALID_PARAMS = -32602


def read(in_process: InProcess, uri: str) -> Any:
    async def ask(client: Client) -> Any:
        (content,) = (await client.read_resource(uri)).contents
        return content

    return in_process.run(ask)


def refusal(in_process: InProcess, uri: str) -> MCPError:
    async def ask(client: Client) -> MCPError:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(uri)
        return refused.value

    return in_process.run(ask)


def told(in_process: InProcess, uri: str) -> Any:
    content = read(in_process, uri)
    assert content.mime_type == "application/json"
    return json.loads(content.text)


@pytest.fixture
def shop(in_process: InProcess) -> str:
    """A session of four exchanges on two hosts; gives its id."""
    session = new_session(in_process.root, "shop")
    recording = Recording(session)
    recording.exchange("https://a.test/one")
    recording.exchange("https://a.test/two", method="POST", status=422)
    recording.exchange("http://b.test/three", status=500)
    recording.exchange("http://b.test/four")
    recording.close()
    return session.session_id


STATUS = (
    "running port url certFingerprint globalUpstream hostUpstreams ruleCount trafficCount transparentProxy persistence"
)


def test_the_status_has_the_keys_of_proxy_mcp(in_process: InProcess) -> None:
    assert set(STATUS.split()) <= told(in_process, "proxy://status").keys()


def test_the_certificate_is_a_pem_file(in_process: InProcess) -> None:
    content = read(in_process, "proxy://ca-cert")
    assert content.mime_type == "application/x-pem-file"
    assert content.text.startswith("-----BEGIN CERTIFICATE-----")
    assert "PRIVATE" not in content.text


def test_live_traffic_is_summed_up(in_process: InProcess, shop: str) -> None:
    assert shop
    found = told(in_process, "proxy://traffic/summary")
    assert found["totalExchanges"] == 4
    assert found["methods"] == {"GET": 3, "POST": 1}
    assert found["statuses"] == {"200": 2, "422": 1, "500": 1}
    assert found["topHostnames"] == [{"host": "a.test", "count": 2}, {"host": "b.test", "count": 2}]
    assert found["avgDurationMs"] > 0
    assert found["tls"].keys() == {"exchangesWithTls", "topJa3", "topJa4"}


def test_before_anything_is_recorded_the_numbers_are_zero(in_process: InProcess) -> None:
    found = told(in_process, "proxy://traffic/summary")
    assert (found["totalExchanges"], found["methods"], found["avgDurationMs"]) == (0, {}, None)
    assert told(in_process, "proxy://sessions")["sessions"] == []


def test_interceptors_and_browsers_are_empty_lists(in_process: InProcess) -> None:
    assert told(in_process, "proxy://interceptors") == {"interceptors": [], "totalActive": 0}
    assert told(in_process, "proxy://browser/targets")["targets"] == []
    assert told(in_process, "proxy://browser/primary")["primary"] is None


def test_sessions_are_listed_with_what_is_recorded_now(in_process: InProcess, shop: str) -> None:
    found = told(in_process, "proxy://sessions")
    assert found["count"] == 1
    assert [one["sessionId"] for one in found["sessions"]] == [shop]
    assert {"enabled", "sessionId", "captureProfile"} <= found["runtime"].keys()


def test_a_session_can_be_read_in_numbers_over_time_and_for_what_stands_out(in_process: InProcess, shop: str) -> None:
    summary = told(in_process, f"proxy://sessions/{shop}/summary")
    assert summary["manifest"]["id"] == shop
    assert summary["totals"]["exchanges"] == 4
    assert summary["totals"]["topHostnames"][0] == {"hostname": "a.test", "count": 2}
    timeline = told(in_process, f"proxy://sessions/{shop}/timeline")
    assert timeline["bucketMs"] == 60_000
    assert sum(one["count"] for one in timeline["timeline"]) == 4
    assert sum(one["errorCount"] for one in timeline["timeline"]) == 2
    findings = told(in_process, f"proxy://sessions/{shop}/findings")["findings"]
    assert findings.keys() == {"highErrorEndpoints", "slowestExchanges", "hostErrorRates"}
    assert sum(one["errors"] for one in findings["highErrorEndpoints"]) == 2
    assert told(in_process, "wiretape://sessions/last/overview")["exchanges"] == 4


@pytest.mark.parametrize("session", ["nope", "%2e%2e", "20260101T000000-00000a"])
@pytest.mark.parametrize("view", ["summary", "timeline", "findings"])
def test_a_session_that_is_not_there_is_resource_not_found(in_process: InProcess, session: str, view: str) -> None:
    refused = refusal(in_process, f"proxy://sessions/{session}/{view}")
    assert refused.error.code == INVALID_PARAMS
    assert "Errno" not in refused.error.message


def test_an_unknown_address_is_resource_not_found(in_process: InProcess) -> None:
    assert refusal(in_process, "proxy://nowhere").error.code == INVALID_PARAMS


def test_the_newest_sessions_are_listed_and_the_templates_named(in_process: InProcess, shop: str) -> None:
    async def ask(client: Client) -> tuple[set[str], set[str]]:
        resources = {str(one.uri) for one in (await client.list_resources()).resources}
        templates = {one.uri_template for one in (await client.list_resource_templates()).resource_templates}
        return resources, templates

    resources, templates = in_process.run(ask)
    assert {
        "proxy://status",
        "proxy://ca-cert",
        "proxy://traffic/summary",
        "proxy://interceptors",
        "proxy://sessions",
        "proxy://browser/primary",
        "proxy://browser/targets",
        "wiretape://guide",
        f"proxy://sessions/{shop}/summary",
        f"proxy://sessions/{shop}/timeline",
        f"proxy://sessions/{shop}/findings",
    } <= resources
    assert {f"proxy://sessions/{{session_id}}/{view}" for view in ("summary", "timeline", "findings")} <= templates


def completed(in_process: InProcess, ref: Any, name: str, value: str) -> list[str]:
    async def ask(client: Client) -> list[str]:
        return (await client.complete(ref, {"name": name, "value": value})).completion.values

    return in_process.run(ask)


def test_sessions_are_completed_in_templates_and_prompts(in_process: InProcess, shop: str) -> None:
    closed_session(in_process.root, 1, "Shopping")
    template = ResourceTemplateReference(uri="proxy://sessions/{session_id}/summary")
    assert completed(in_process, template, "session_id", "sh") == ["Shopping", "shop"]
    assert shop in completed(in_process, template, "session_id", "2")
    assert completed(in_process, PromptReference(name="compare_runs"), "a", "la") == ["last"]
    assert completed(in_process, template, "other", "x") == []


def test_prompts_name_only_tools_that_there_are(in_process: InProcess) -> None:
    async def ask(client: Client) -> dict[str, str]:
        texts = {}
        for prompt in (await client.list_prompts()).prompts:
            given = {one.name: "bad" for one in prompt.arguments or []}
            (message,) = (await client.get_prompt(prompt.name, given)).messages
            texts[prompt.name] = str(message.content.text)  # type: ignore[union-attr]
        return texts

    texts = in_process.run(ask)
    assert texts.keys() == {"debug_failure", "compare_runs", "share_session", "recover_and_report"}
    assert all("'bad'" in text for text in texts.values())


def test_the_guide_is_a_resource(in_process: InProcess) -> None:
    assert read(in_process, "wiretape://guide").text == guide()
    assert len(topics()) >= 12
