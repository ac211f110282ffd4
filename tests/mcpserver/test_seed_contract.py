"""What users of proxy-mcp rely on: its contract's parts 0 (general), 1 (lifecycle), 2 (live), 3 (rules), 5, 7.

``MUSTS`` names the test of each line; those that were tested nowhere are below. Where our own contract fixes another
key or order (rows for items, newest first, no error at a second stop), that wins.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from harness.clients import RawClient
from harness.logs import Recording, new_session
from harness.origin import Origin
from tests.mcpserver.conftest import InProcess

TESTS = Path(__file__).parents[1]
MUSTS = (
    ("0: every failure is isError", "test_an_error_is_a_result_with_the_cause_and_the_next_step"),
    ("0: an unknown argument is named", "test_an_error_is_a_result_with_the_cause_and_the_next_step"),
    ("0: a status code may be a number or a text", "test_both_families_take_the_arguments_of_the_other"),
    (
        "0: an answer of any size is valid JSON",
        "test_p11_an_answer_never_grows_past_its_budget_and_says_what_it_leaves_out",
    ),
    (
        "0: loopback, and nobody without the token",
        "test_p14_without_a_token_nothing_is_answered_and_the_answer_says_what_to_do",
    ),
    ("0: the CA is kept", "test_the_ca_is_the_same_after_a_restart_and_its_key_never_given"),
    ("0: the typical flow", "test_over_http_an_agent_records_looks_and_clears"),
    ("0: over stdio, too", "test_over_stdio_sessions_change_while_traffic_flows_and_are_recovered_and_deleted"),
    ("1: port 0 is a free one, a second start an error", "test_over_http_an_agent_records_looks_and_clears"),
    ("1: what is not to be kept is dropped", "test_what_was_not_to_be_kept_is_dropped_when_the_proxy_stops"),
    ("1: no port is told of a proxy that does not run", "test_a_proxy_that_does_not_run_has_no_port"),
    ("1: the status has its keys", "test_a_status_is_told_in_sixty_tokens_and_whole_when_asked"),
    ("1: the certificate by format, never the key", "test_the_ca_is_the_same_after_a_restart_and_its_key_never_given"),
    ("2: filters by method, URL, host, status, source", "test_both_families_take_the_arguments_of_the_other"),
    (
        "2: headers as pairs in their order and case",
        "test_p12_all_headers_come_whole_in_their_order_and_case_with_tls_and_addresses_where_that_is_asked",
    ),
    ("2: an unknown exchange is named", "test_an_error_is_a_result_with_the_cause_and_the_next_step"),
    (
        "2: whole bodies are searched, what was found is counted",
        "test_a_search_of_live_traffic_looks_into_whole_bodies_and_counts_what_it_found",
    ),
    ("2: clearing forgets nothing that runs", "test_clearing_the_view_hides_what_has_ended_and_nothing_that_runs"),
    ("5: the transparent port, from its start to proxy_stop", "test_the_transparent_port_is_opened_counted_and_closed"),
    ("5: the original destination", "test_a_firewall_leads_clients_to_their_own_servers_through_the_recorder"),
    ("7: an exchange's fingerprints, null for plain HTTP", "test_plain_http_has_no_fingerprints_and_that_is_no_error"),
    ("7: fingerprints are counted, the most frequent first", "test_fingerprints_are_asked_for_by_filters_and_counted"),
    ("7: JA3S by the published definition", "test_ja3s_gives_the_published_fingerprints"),
    ("7: JA3S of the connection that was used", "test_fingerprints_are_asked_for_by_filters_and_counted"),
    ("7: the switch of proxy-mcp says what it does", "test_servers_tls_is_always_recorded_and_the_switch_says_so"),
    ("10: handshakes have ja3, ja4, ja3s", "test_handshakes_have_the_fingerprints_of_the_recorded_hello"),
    (
        "2: a server that cannot be reached is a 502 and an exchange",
        "test_a_server_that_cannot_be_reached_is_a_502_and_a_failed_exchange",
    ),
    ("3: the matcher's table, live and in the test tool", "test_live_and_explained_a_row_of_the_table_comes_out_alike"),
    (
        "3: a rule is checked before it is stored",
        "test_p16_a_rule_that_means_nothing_is_refused_and_the_field_is_named",
    ),
    ("3: a bad set leaves the listener alive", "test_p16_an_invalid_set_is_refused_whole_and_the_one_before_stays"),
    ("3: a change disturbs nothing in flight", "test_p16_a_change_of_rules_disturbs_no_byte_in_flight"),
    (
        "3: hits are counted, and which exchanges",
        "test_p16_rules_reach_a_recorder_that_runs_and_one_that_takes_its_place",
    ),
    (
        "3: a mock is framed and keeps the connection",
        "test_p15_a_mock_answers_without_the_server_keeps_the_connection_and_is_recorded",
    ),
    (
        "3: forward refuses a path when the rule is made",
        "test_a_rule_that_means_nothing_is_refused_and_the_field_is_named",
    ),
    ("3: what a rule drops appears", "test_p15_a_dropped_request_breaks_the_connection_and_appears"),
    (
        "3: matchReplaceBody is literal on both sides, the first occurrence",
        "test_pairs_replace_the_first_occurrence_literally_on_both_sides",
    ),
    (
        "3: a body that does not decode passes, and the exchange says so",
        "test_a_body_that_cannot_be_changed_goes_on_as_it_came_and_the_exchange_says_so",
    ),
    (
        "3: a URL is rewritten, both are recorded",
        "test_p15_a_rewritten_url_goes_to_another_server_and_the_log_has_both_urls",
    ),
    ("3: the test tool, made-up and recorded", "test_a_request_made_up_or_recorded_is_tried_rule_by_rule"),
    ("3: the shortcuts", "test_the_shortcuts_make_ordinary_rules"),
)
"""Later issues owe the rest: HTTP/2 and WebSockets through the proxy, interceptors in the flows."""


@pytest.mark.parametrize(("must", "test"), MUSTS)
def test_each_line_of_the_contract_has_its_test(must: str, test: str) -> None:
    wanted = f"def {test}("
    assert any(wanted in path.read_text() for path in TESTS.rglob("test_*.py")), must


def call(in_process: InProcess, name: str, **arguments: Any) -> Any:
    async def ask(client: Client) -> Any:
        result = await client.call_tool(name, arguments)
        assert not result.is_error, result.content
        return result.structured_content

    return in_process.run(ask)


def test_the_ca_is_the_same_after_a_restart_and_its_key_never_given(in_process: InProcess) -> None:
    first, second = call(in_process, "proxy_get_ca_cert"), call(in_process, "proxy_get_ca_cert")
    assert first == second
    assert first["certPem"].startswith("-----BEGIN CERTIFICATE-----")
    assert re.search("PRIVATE", json.dumps(first)) is None
    assert any("--cacert" in line for line in first["instructions"])
    assert "fingerprint" not in call(in_process, "proxy_get_ca_cert", format="pem")
    assert "certPem" not in call(in_process, "proxy_get_ca_cert", format="fingerprint")


def test_a_proxy_that_does_not_run_has_no_port(in_process: InProcess) -> None:
    call(in_process, "proxy_stop")
    status = call(in_process, "proxy_status", verbose=True)
    assert (status["running"], status["port"], status["url"]) == (False, None, None)


def test_a_search_of_live_traffic_looks_into_whole_bodies_and_counts_what_it_found(in_process: InProcess) -> None:
    recording = Recording(new_session(in_process.root, "live"))
    for number in range(3):
        seq = recording.open(f"http://a.test/{number}")
        recording.done(seq, b"x" * 9_000 + b" needle " + b"y" * 9_000, headers="Content-Type: text/plain\r\n")
    recording.close()
    found = call(in_process, "proxy_search_traffic", query="needle", limit=1)
    assert (found["matched"], found["returned"]) == (3, 1)


def test_plain_http_has_no_fingerprints_and_that_is_no_error(in_process: InProcess) -> None:
    recording = Recording(new_session(in_process.root, "live"))
    seq = recording.exchange("http://a.test/plain")
    recording.close()
    (row,) = call(in_process, "proxy_list_traffic", format="objects")["items"]
    found = call(in_process, "proxy_get_tls_fingerprints", exchange_id=row["exchangeId"])
    assert found["tls"] is None
    assert (found["hostname"], found["exchangeId"]) == ("a.test", row["exchangeId"])
    assert seq == 1
    listed = call(in_process, "proxy_list_tls_fingerprints")
    assert listed["totalExchangesWithTls"] == 0


def test_the_transparent_port_is_opened_counted_and_closed(in_process: InProcess, http_origin: Origin) -> None:
    async def ask(client: Client) -> None:
        async def done(name: str, **arguments: Any) -> Any:
            return json.loads((await client.call_tool(name, arguments)).content[0].text)  # type: ignore[union-attr]

        assert (await done("proxy_start_transparent", port=0))["code"] == "proxy-not-running"
        wrong = await done("proxy_start", port=0, reverse=["api.example.com"])
        assert "is not a server" in wrong["message"]
        proxy = await done("proxy_start", port=0, reverse=[http_origin.url("")])
        with RawClient.plain(("127.0.0.1", proxy["port"])) as straight:
            assert (await asyncio.to_thread(straight.get, "/bytes/3", host="elsewhere")).status == 200
        assert await done("proxy_transparent_status") == {
            "status": "success", "running": False, "port": None, "trafficCount": 0, "notes": []
        }  # fmt: skip
        started = await done("proxy_start_transparent", port=0)
        port = started["port"]
        assert len(started["instructions"]) == 2
        assert all(f"--to-ports {port}" in rule for rule in started["instructions"])
        assert (await done("proxy_start_transparent", port=0))["code"] == "transparent-running"
        with RawClient.plain(("127.0.0.1", port)) as direct:
            got = await asyncio.to_thread(direct.get, "/bytes/5", host=http_origin.authority)
        assert got.status == 200
        status = await done("proxy_transparent_status")
        assert (status["running"], status["port"], status["trafficCount"]) == (True, port, 1)
        assert (await done("proxy_status", verbose=True))["transparentProxy"]["trafficCount"] == 1
        listed = await done("proxy_list_traffic", filter="~source transparent", format="objects")
        assert listed["items"][0]["url"] == http_origin.url("/bytes/5")
        assert "closed" in (await done("proxy_stop_transparent"))["message"]
        assert (await done("proxy_stop_transparent"))["code"] == "transparent-stopped"
        await done("proxy_start_transparent", port=port)
        await done("proxy_stop")
        assert (await done("proxy_transparent_status"))["running"] is False
        with pytest.raises(ConnectionRefusedError):
            RawClient.plain(("127.0.0.1", port))

    in_process.run(ask)


def test_servers_tls_is_always_recorded_and_the_switch_says_so(in_process: InProcess) -> None:
    config = call(in_process, "proxy_get_tls_config")
    assert (config["serverTlsCaptureEnabled"], config["ja3SpoofConfig"]) == (True, None)
    for enabled in (True, False):
        switched = call(in_process, "proxy_enable_server_tls_capture", enabled=enabled)
        assert switched["serverTlsCaptureEnabled"] is True
        assert "always recorded" in switched["note"]


def test_clearing_the_view_hides_what_has_ended_and_nothing_that_runs(in_process: InProcess) -> None:
    recording = Recording(new_session(in_process.root, "live"))
    recording.exchange("http://a.test/ended")
    running = recording.open("http://a.test/running")
    recording.exchange("http://a.test/ended-too")

    async def ask(client: Client) -> None:
        async def listed(**arguments: Any) -> list[int]:
            answer = (await client.call_tool("proxy_list_traffic", arguments)).structured_content
            assert answer is not None
            return [row[0] for row in answer["rows"]]

        cleared = (await client.call_tool("proxy_clear_traffic", {})).structured_content
        assert cleared is not None
        assert (cleared["cleared"], cleared["hidden"], cleared["throughSeq"]) == (2, 2, 3)
        assert await listed() == [running]
        recording.done(running, b"late")
        recording.exchange("http://a.test/new")
        assert await listed() == [4, running]
        assert await listed(filter="~u running") == [running]

    in_process.run(ask)
    recording.close()
