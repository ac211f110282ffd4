"""P18: in what goes to a model no secret appears, in no encoding; handles stand for them and can be used."""

from __future__ import annotations

import base64
import json
import random
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import re2
from mcp.client import Client
from mcp_types import ResourceTemplateReference

from harness.logs import Recording, new_session
from tests.mcpserver.conftest import InProcess
from tests.secrets.planting import encodings, planted, spellings
from wiretape.daemon.secrecy import Secrecy
from wiretape.log.format import Flag, FrameType, ResponseBegun
from wiretape.secrets.known import MAX_KNOWN, Known
from wiretape.secrets.masking import Masking
from wiretape.session.answers.export import export_file
from wiretape.session.answers.export_formats import Export
from wiretape.session.answers.sql import VIEWS
from wiretape.session.catalogue import Catalogue

SECRETS = planted(200, seed=20261127)
_URL = "https://shop.example"


def _login(recording: Recording, kind: str, value: str) -> int:
    """Record an exchange in which a secret stands where its kind stands."""
    headers, body, answer, answer_headers, path = "", b"", b"{}", "Content-Type: application/json\r\n", "/login"
    kind_json = "Content-Type: application/json\r\n"
    if kind in {"jwt", "bearer"}:
        headers = f"Authorization: Bearer {value}\r\n"
    elif kind == "cookie":
        answer_headers += f"Set-Cookie: sid={value}; Path=/; HttpOnly\r\n"
    elif kind == "csrf":
        headers = f"X-Csrf-Token: {value}\r\n"
    elif kind == "password":
        headers, body = kind_json, json.dumps({"email": "ada.byron@example.com", "password": value}).encode()
    elif kind == "refresh-token":
        answer = json.dumps({"data": {"session": {"refreshToken": value, "expiresIn": 3600}}}).encode()
    elif kind == "api-key":
        path = f"/search?api_key={value}&q=shoes"
    else:
        headers, body = "Content-Type: text/plain\r\n", f"my key is {value}, keep it".encode()
    seq = recording.open(_URL + path, method="POST", headers=headers, body=body)
    recording.done(seq, answer, headers=answer_headers, request=body)
    return seq


def plant(root: Path, *, echoes: bool = True) -> str:
    """Record every secret once in its place, and each in one of the ten encodings somewhere else."""
    recording = Recording(new_session(root))
    for kind, value in SECRETS:
        _login(recording, kind, value)
    for at in range(0, len(SECRETS) if echoes else 0, 10):
        echoed = [spellings(value, at // 10 + place) for place, (_, value) in enumerate(SECRETS[at : at + 10])]
        seq = recording.open(f"{_URL}/echo/{at}?back={spellings(SECRETS[at][1], 1).strip('<>')}")
        body = json.dumps({"error": {"message": f"what came: {' '.join(echoed)}"}, "seen": echoed}).encode()
        recording.done(seq, body, status=422, headers="Content-Type: application/json\r\n")
    recording.close()
    return recording.session.session_id


@pytest.fixture(scope="module")
def planted_root(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A root with one session that has them."""
    root = tmp_path_factory.mktemp("planted") / "root"
    return root, plant(root)


@lru_cache(maxsize=1)
def _any_form() -> Any:
    options = re2.Options()
    options.max_mem = 256 << 20
    forms = {form for _, value in SECRETS for forms in encodings(value).values() for form in forms}
    return re2.compile("|".join(re2.escape(form) for form in sorted(forms)), options)


def leaks(text: str) -> list[str]:
    """Name what of the secrets stands in a text."""
    if _any_form().search(text) is None:
        return []
    return [
        f"{kind} in {name}: {form}"
        for kind, value in SECRETS
        for name, forms in encodings(value).items()
        for form in forms
        if form in text
    ]


SEQS = (1, 2, 3, 4, 5, 6, 7, 10, 201, 209, 220)
"""One of each place where a secret stands first, and echoes."""
PRINTS = "import sys; [print(line) for line in sys.argv[1:]]"


def calls(session: str, spare: str, har: Path) -> dict[str, list[dict[str, Any]]]:
    """Return how each tool is called: a tool that is not here fails the test, so that none is forgotten."""
    one: dict[str, Any] = {"session_id": session}
    each: list[dict[str, Any]] = [{"exchange": f"{session}:{seq}"} for seq in SEQS]
    views = ("shape", "text", "json", "form", "multipart", "graphql", "protobuf", "sse", "jwt", "html", "hex")
    printed = [value for _, value in SECRETS[:10]] + [
        spellings(value, at) for at, (_, value) in enumerate(SECRETS[:10])
    ]
    return {
        "proxy_start": [{"session_name": "live"}],
        **_calls_about_tls(one, each),  # the transparent port needs the proxy
        "proxy_session_start": [{"session_name": "next"}],
        "proxy_mark": [{"label": "here"}],
        "proxy_status": [{}, {"verbose": True}],
        "proxy_session_status": [{}],
        "proxy_clear_traffic": [{}],
        "proxy_session_stop": [{}],
        "proxy_stop": [{}],
        "proxy_get_ca_cert": [{}],
        "proxy_list_sessions": [{}],
        "proxy_get_session": [one],
        "proxy_session_recover": [one],
        "proxy_delete_session": [{"session_id": spare}],
        "proxy_session_overview": [one, one | {"group": "path", "top": 200}, one | {"filter": "~c 422"}],
        "proxy_list_traffic": [one | {"limit": 1000, "max_tokens": 50_000}, one | {"group_by": "path"}],
        "proxy_query_session": [
            one | {"limit": 1000, "max_tokens": 50_000, "format": "objects"}, one | {"group_by": "path", "limit": 300},
            one | {"text": SECRETS[7][1]}, one | {"filter": "~q & ~bs session"},
        ],
        "proxy_search_traffic": [one | {"query": "e"}, one | {"query": "key", "format": "objects"}],
        "proxy_search_session_bodies": [
            one | {"text": "e", "limit": 100, "context_chars": 500},
            one | {"text": "[A-Za-z0-9]{9,}", "regex": True, "limit": 100, "format": "objects"},
        ],
        "proxy_get_session_exchange": [*each, *(one | {"headers": "all"} for one in each),
                                       *(one | {"format": "objects"} for one in each)],
        "proxy_get_exchange": each,
        "proxy_explain_exchange": each,
        "proxy_read_body": [
            *each, *(one | {"view": view} for one in each[-3:] for view in views), each[4] | {"side": "request"},
            each[4] | {"side": "request", "path": "/password"}, each[5] | {"path": "$..refreshToken"},
            *(one | {"grep": "e"} for one in each), *(one | {"offset": 20, "length": 33} for one in each[-3:]),
        ],
        "proxy_compare": [
            *({"a": f"{session}:{a}", "b": f"{session}:{b}", "detail": detail}
              for a, b in ((1, 11), (2, 12), (3, 13), (4, 14), (5, 15), (6, 16), (10, 20), (201, 202))
              for detail in ("all", "noise")),
            {"a": session, "b": spare, "detail": "noise"},
        ],
        "proxy_trace_value": [
            {"exchange": f"{session}:1", "at": "request.header.Authorization"},
            {"exchange": f"{session}:3", "at": "response.cookie.sid"},
            {"exchange": f"{session}:4", "at": "X-Csrf-Token"},
            {"exchange": f"{session}:5", "at": "request.body/password"},
            {"exchange": f"{session}:6", "at": "response.body/data/session/refreshToken"},
            {"exchange": f"{session}:10", "at": "request.query.api_key"},
            one | {"value": SECRETS[8][1]},
        ],
        "proxy_wait_for": [one | {"since": "1", "idle_ms": 0, "timeout_ms": 1}],
        "proxy_messages": [one],
        "proxy_llm_calls": [one],
        "proxy_find_secrets": [one, one | {"custom": ["key is [^,]+"]}],
        "proxy_get_session_handshakes": [one],
        "proxy_sql": [one | {"query": f"SELECT * FROM {view}", "limit": 1000} for view in VIEWS],
        "proxy_export": [
            *(one | {"what": what, "redact": False, "filter": "~seq 1..12"}
              for what in ("har", "ndjson", "curl", "httpx", "pytest", "openapi")),
            *(one | {"what": "curl"} for one in each),
        ],
        "proxy_export_har": [one | {"method": "GET"}],
        "proxy_import_har": [{"har_file": str(har)}],
        "proxy_send": [*each, each[0] | {"headers": {"Authorization": None, "X-Note": "{{note}}"}},
                       each[4] | {"set": {"/password": "another", "/email": "b@example.com"}}],
        "proxy_job": [{"job_id": "job-1"}],
        **_calls_about_rules(session, each),
        "proxy_run": [{"command": [sys.executable, "-c", PRINTS, *printed]}],
    }  # fmt: skip


def _calls_about_rules(session: str, each: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    edits = {
        "updateHeaders": {"Authorization": None, "Cookie": "sid=another"},
        "matchReplaceBody": [["session", "another"], ["e", "E"]],
        "replaceBody": [{"find": "[A-Za-z0-9]{9,}", "replaceWith": "<$0>", "regex": True, "all": True}],
        "jsonSet": {"/error/message": "another"},
    }
    answers = {"updateHeaders": {"Set-Cookie": None}, **{key: edits[key] for key in ("replaceBody", "jsonSet")}}
    handler = {"type": "passthrough", "transformRequest": edits, "transformResponse": answers}
    rule = {"matcher": {"hostname": "rules.example"}, "handler": handler}
    previewed: list[dict[str, Any]] = [
        {"rule": {"matcher": {}, "handler": handler}},
        {"rule": {"matcher": {}, "handler": {"type": "mock", "status": 404}}},
        {"rule": {"matcher": {}, "handler": {"type": "passthrough", "rewriteUrl": {"match": "=", "replaceWith": "-"}}}},
    ]
    matchers = [
        {"headers": {"Authorization": f"Bearer {SECRETS[0][1]}"}}, {"bodyIncludes": SECRETS[4][1]},
        {"urlPattern": "api_key=[A-Za-z0-9]+"}, {"filter": "~bq session"},
    ]  # fmt: skip
    return {
        "proxy_add_rule": [
            {"description": SECRETS[1][1], **rule},
            *({"description": "asks", "matcher": one, "handler": {"type": "block"}} for one in matchers),
        ],
        "proxy_update_rule": [{"rule_id": "rule_1", "description": SECRETS[3][1], **rule}],
        "proxy_disable_rule": [{"rule_id": "rule_2"}],
        "proxy_enable_rule": [{"rule_id": "rule_2"}],
        "proxy_inject_headers": [{"headers": {"X-Key": "another"}, "hostname": "rules.example"}],
        "proxy_mock_response": [{"status": 418, "body": "another", "hostname": "rules.example"}],
        "proxy_rewrite_url": [{"match_pattern": "^https://rules", "replace_with": "https://rules.example/other"}],
        "proxy_list_rules": [{}],
        "proxy_test_rule_match": [
            *({"mode": "exchange", "exchange_id": one["exchange"]} for one in each),
            {"request": {"url": f"{_URL}/?api_key={SECRETS[9][1]}", "method": "POST", "body": SECRETS[4][1],
                         "headers": {"Authorization": f"Bearer {SECRETS[0][1]}"}}},
        ],
        "proxy_preview_rule": [one | {"session_id": session, "limit": 200} for one in (*previewed, {})],
        "proxy_remove_rule": [{"rule_id": "rule_1"}],
    }  # fmt: skip


def _calls_about_tls(one: dict[str, Any], each: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    return {
        "proxy_start_transparent": [{"port": 0}],
        "proxy_transparent_status": [{}],
        "proxy_stop_transparent": [{}],
        "proxy_get_tls_config": [{}],
        "proxy_enable_server_tls_capture": [{"enabled": True}],
        "proxy_get_tls_fingerprints": [{"exchange_id": given["exchange"]} for given in each],
        "proxy_list_tls_fingerprints": [one],
    }


async def everything_said(client: Client, wanted: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    """Call every tool as wanted, read every resource, get every prompt, complete every argument: what was said."""
    offered = {tool.name for tool in (await client.list_tools()).tools}
    assert wanted.keys() == offered, "a tool without its calls here could leak what nobody looks at"
    said: dict[str, str] = {}
    refused: list[tuple[str, dict[str, Any], str]] = []
    for name, arguments in wanted.items():
        for given in arguments:
            result = await client.call_tool(name, given)
            text = json.dumps(result.structured_content, ensure_ascii=False)
            text += "".join(getattr(block, "text", "") for block in result.content)
            said[f"{name} {given}"] = text
            if result.is_error and "view" not in given:
                refused.append((name, given, text))
    assert refused == [], "a call that is refused shows nothing, and so proves nothing"
    session = wanted["proxy_get_session"][0]["session_id"]
    for resource in (await client.list_resources()).resources:
        said[str(resource.uri)] = (await client.read_resource(resource.uri)).model_dump_json()
    for template in (await client.list_resource_templates()).resource_templates:
        uri = template.uri_template.replace("{session_id}", session)
        assert "{" not in uri, "a template whose argument has no value here"
        said[uri] = (await client.read_resource(uri)).model_dump_json()
        for name in ("session_id", "host"):
            reference = ResourceTemplateReference(type="ref/resource", uri=template.uri_template)
            said[f"{uri} {name}"] = (await client.complete(reference, {"name": name, "value": ""})).model_dump_json()
    for prompt in (await client.list_prompts()).prompts:
        filled = {argument.name: session for argument in prompt.arguments or []}
        said[prompt.name] = (await client.get_prompt(prompt.name, filled)).model_dump_json()
    return said


@pytest.mark.timeout(900)
def test_p18_none_of_200_planted_secrets_is_in_any_output_of_any_tool_resource_prompt_or_completion(
    planted_root: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, session = planted_root
    spare = plant(root)
    with Catalogue(root).open(session) as opened:
        export_file([opened], Export("har", None, redact=False), tmp_path / "planted.har")
    wanted = calls(session, spare, tmp_path / "planted.har")
    find_secrets = wanted["proxy_find_secrets"][0]

    async def ask(client: Client) -> dict[str, str]:
        with monkeypatch.context() as hurried:
            hurried.setattr("wiretape.mcpserver.tool.PATIENCE", 0.0)
            begun = await client.call_tool("proxy_find_secrets", find_secrets)
        assert begun.structured_content is not None
        assert begun.structured_content["job"] == "job-1"
        return await everything_said(client, wanted)

    said = InProcess(root).run(ask, files=(tmp_path,))
    found = {call: leaks(text)[:3] for call, text in said.items()}
    assert [f"{call[:150]} {what}" for call, what in found.items() if what] == []
    shown = "".join(text for call, text in said.items() if call.startswith("proxy_get_session_exchange"))
    assert "{{jwt:" in shown
    assert "{{password:" in shown


def test_p18_what_is_not_known_yet_is_hidden_where_an_answer_shows_it(root: Path) -> None:
    """The answers hide what they show themselves: the net below them, which needs to know, is taken away here."""
    session = plant(root, echoes=False)

    async def ask(client: Client) -> dict[str, str]:
        said = {}
        for name, arguments in calls(session, session, root).items():
            for given in arguments if name in ANSWERS else ():
                if "request" in given or "rewriteUrl" in str(given):
                    continue  # what a caller made up, and what a rule makes of a value, only the net can know
                said[f"{name} {given}"] = (await client.call_tool(name, given)).model_dump_json()
        return said

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Secrecy, "learn", lambda *_: None)
        patch.setattr(Masking, "everything", lambda _, value: value)
        patch.setattr(Known, "hide", lambda _, text: text)
        said = InProcess(root).run(ask)
    found = {call: leaks(text)[:2] for call, text in said.items()}
    assert [f"{call[:150]} {what}" for call, what in found.items() if what] == []


ANSWERS = (
    "proxy_session_overview", "proxy_list_traffic", "proxy_get_session_exchange", "proxy_explain_exchange",
    "proxy_compare", "proxy_read_body", "proxy_trace_value", "proxy_send", "proxy_sql", "proxy_test_rule_match",
    "proxy_preview_rule",
)  # fmt: skip
"""What is shown of exchanges in which a secret stands by its name or looks."""


def test_p18_the_last_look_at_an_answer_costs_milliseconds_however_many_secrets_are_known() -> None:
    known = Known(b"k" * 32)
    source = random.Random(7)
    for _ in range(MAX_KNOWN):
        known.handle_of("token", f"{source.getrandbits(160):040x}")
    rows = [[at, "GET", f"/items/{at}?page=2&sort=name", 200, 12.5, 4_096, "json"] for at in range(250)]
    answer = {"status": "success", "columns": ["seq"], "rows": rows}
    veil = Masking(known)
    begun = time.process_time()
    for _ in range(20):
        assert veil.everything(answer) is answer
    assert (time.process_time() - begun) / 20 < 0.015, "12 KB of JSON"


def test_p18_who_started_the_server_with_reveal_sees_values(planted_root: tuple[Path, str]) -> None:
    root, session = planted_root

    async def ask(client: Client) -> str:
        answer = await client.call_tool("proxy_get_session_exchange", {"session_id": session, "seq": 8})
        return json.dumps(answer.structured_content)

    assert SECRETS[7][1] in InProcess(root).run(ask, reveal=True)


def test_p18_a_handle_can_be_used_as_an_argument_also_by_a_daemon_that_never_gave_it(
    planted_root: tuple[Path, str],
) -> None:
    root, session = planted_root

    async def first(client: Client) -> str:
        answer = await client.call_tool("proxy_get_session_exchange", {"session_id": session, "seq": 9})
        assert answer.structured_content is not None
        return str(answer.structured_content["request"]["body"])

    async def later(client: Client) -> Any:
        answer = await client.call_tool("proxy_query_session", {"session_id": session, "text": handle})
        return answer.structured_content

    told = InProcess(root).run(first)
    handle = told[told.index("{{") : told.index("}}") + 2]
    assert handle.startswith("{{aws-key-id:")
    found = InProcess(root).run(later)
    assert found["matched"] >= 1


def test_p18_a_handle_that_does_not_exist_is_a_clear_error(planted_root: tuple[Path, str]) -> None:
    root, session = planted_root

    async def ask(client: Client) -> Any:
        return await client.call_tool("proxy_query_session", {"session_id": session, "text": "{{jwt:000000}}"})

    answer = InProcess(root).run(ask)
    assert answer.is_error
    said = json.loads(answer.content[0].text)
    assert said["code"] == "no-such-handle"
    assert f"{{{{jwt:000000}}}}: it was looked for in session {session}" in said["message"]


def test_p18_handles_are_the_same_for_every_daemon_of_a_root(planted_root: tuple[Path, str]) -> None:
    root, session = planted_root

    async def ask(client: Client) -> Any:
        answer = await client.call_tool("proxy_get_session_exchange", {"session_id": session, "seq": 1})
        assert answer.structured_content is not None
        return answer.structured_content["request"]["headers"]

    assert InProcess(root).run(ask) == InProcess(root).run(ask)
    assert (root / "secrets.key").stat().st_mode & 0o777 == 0o600


def test_p18_what_wiretape_says_itself_is_no_secret(planted_root: tuple[Path, str]) -> None:
    root, session = planted_root

    async def ask(client: Client) -> list[Any]:
        listed = await client.call_tool("proxy_list_sessions", {})
        refused = await client.call_tool("proxy_get_session_exchange", {"session_id": "checkout-of-monday", "seq": 1})
        return [listed.structured_content, refused.content[0]]

    listed, refused = InProcess(root).run(ask)
    assert session in {one["sessionId"] for one in listed["sessions"]}
    assert "'checkout-of-monday'" in refused.text


def test_p18_no_cut_leaves_a_part_of_a_secret(root: Path) -> None:
    """Wherever an answer cuts a body, a secret stands across the cut."""
    secret = "Zq7" + "k1Lm9Xw2Rt5Yb8Nc4Vd6" * 2
    recording = Recording(new_session(root))
    seq = recording.open(f"{_URL}/first", headers=f"Authorization: Bearer {secret}\r\n")
    recording.done(seq)
    seq = recording.open(f"{_URL}/second")
    recording.done(seq, f"{secret} ".encode() * 2_000)
    recording.close()
    calls: list[tuple[str, dict[str, Any]]] = [("proxy_get_session_exchange", {"session_id": "last", "seq": 2})]
    for offset, length in ((0, 1_000), (17, 301), (5_003, 777)):
        calls.append(("proxy_read_body", {"exchange": "last:2", "offset": offset, "length": length}))
    calls.append(("proxy_read_body", {"exchange": "last:2", "grep": "Zq7"}))
    calls.append(("proxy_read_body", {"exchange": "last:2", "view": "hex", "length": 500}))

    async def ask(client: Client) -> list[str]:
        return [(await client.call_tool(name, arguments)).model_dump_json() for name, arguments in calls]

    parts = [secret[at : at + 9] for at in range(len(secret) - 8)]
    for (name, arguments), text in zip(calls, InProcess(root).run(ask), strict=True):
        found = [part for part in parts if part in text or part.encode().hex(" ") in text]
        assert found == [], (name, arguments)


def test_p18_an_error_that_quotes_an_argument_and_cuts_it_shows_nothing_of_what_a_handle_stands_for(root: Path) -> None:
    """A handle after some other characters ends beyond the cut: all but the secret's end would be told."""
    secret = "Zq7k1Lm9Xw2Rt5Yb8Nc4Vd6Ej3Hs0PgUfTiOaQz"
    recording = Recording(new_session(root, "one"))
    recording.done(recording.open(f"{_URL}/first", headers=f"Authorization: Bearer {secret}\r\n"))
    recording.close()
    parts = [secret[at : at + 6] for at in range(len(secret) - 5)]

    async def ask(client: Client) -> tuple[int, dict[str, str]]:
        told = (await client.call_tool("proxy_find_secrets", {"session_id": "one"})).structured_content
        assert told is not None
        handle = told["values"][0]["handle"]
        refused, leaking = 0, {}
        for tool in (await client.list_tools()).tools:
            if tool.name in {"proxy_start", "proxy_session_start", "proxy_run"}:
                continue  # what they are given is a name, and a command, that a person wanted
            schema = tool.input_schema
            needed = dict.fromkeys(schema.get("required", ()), "one") | {"exchange": "one:1", "what": "har"}
            fixed = {key: one for key, one in needed.items() if key in schema["properties"]}
            for name in [name for name, one in schema["properties"].items() if "string" in json.dumps(one)]:
                for value in ("x" * 10 + handle, "x" * 50 + handle):
                    given = fixed | ({"timeout_ms": 0} if tool.name == "proxy_wait_for" else {}) | {name: value}
                    answer = await client.call_tool(tool.name, given)
                    text = answer.model_dump_json()
                    refused += handle in text and answer.is_error is True
                    if any(part in text for part in parts):
                        leaking[f"{tool.name} {name}"] = text
        return refused, leaking

    refused, leaking = InProcess(root).run(ask)
    assert leaking == {}
    assert refused > 50, "errors that name the handle"


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("proxy_compare", {"a": "good", "b": "bad"}), ("proxy_explain_exchange", {"exchange": "bad:1"})],
)
def test_p18_an_answer_about_several_sessions_knows_the_secrets_of_all_of_them(
    root: Path, tool: str, arguments: dict[str, str]
) -> None:
    """It is the first that this daemon gives, and the secret stands where no name says that it is one."""
    secret = "Zq7k1Lm9Xw2Rt5Yb8Nc4Vd6"
    for name, status, note in (("good", 200, f"after {secret}"), ("bad", 500, "after nothing")):
        recording = Recording(new_session(root, name))
        if name == "good":
            recording.done(recording.open(f"{_URL}/me", headers=f"Authorization: Bearer {secret}\r\n"))
        body, kind = json.dumps({"note": note}).encode(), "Content-Type: application/json\r\n"
        seq = recording.open(f"{_URL}/pay", method="POST", headers=kind, body=body)
        recording.done(seq, b"{}", status=status, request=body)
        recording.close()
    with Catalogue(root).open("good") as session:
        session.follow()

    async def ask(client: Client) -> str:
        answer = await client.call_tool(tool, arguments)
        assert not answer.is_error
        return answer.model_dump_json()

    told = InProcess(root).run(ask)
    assert secret not in told
    assert "after {{token:" in told


def test_p18_secrets_where_few_look_are_hidden_where_an_answer_shows_them(root: Path) -> None:
    """In interim responses, heads that could not be read, errors, types of events, keys of JSON, hosts, tool names."""
    key = "ghp_" + "Zq7k1Lm9Xw2Rt5Yb8Nc4Vd6Ej3Hs0PgUfTi1"
    recording = Recording(new_session(root, "one"))
    seq = recording.open(f"https://{key}.example/early")
    early = f"HTTP/1.1 103 {key}\r\nSet-Cookie: sid={key}\r\n\r\n".encode()
    recording.writer.append(FrameType.RESPONSE_HEAD, seq, ResponseBegun(1, 103, len(early)), early, Flag.INTERIM)
    recording.done(seq, f"event: {key}\ndata: x\n\n".encode(), headers="Content-Type: text/event-stream\r\n")
    seq = recording.open(f"{_URL}/unread")
    came = b"HTTP/1.1 200 OK\r\nX \xff\x00Y: " + key.encode() + b"\r\nContent-"
    recording.writer.append(FrameType.RESPONSE_HEAD, seq, ResponseBegun(1000, 0, len(came)), came, Flag.UNPARSED)
    recording.done(seq, inline=False, status=0, error=f"the response is malformed: {key}")
    for value in (1, 2):
        seq = recording.open(f"{_URL}/keys")
        recording.done(seq, json.dumps({key: f"value {value}"}).encode(), headers="Content-Type: application/json\r\n")
    call = {"model": key, "messages": [{"role": "user", "content": "hello"}]}
    wants = {"id": key, "type": "function", "function": {"name": key, "arguments": "{}"}}
    said = {"model": key, "choices": [{"message": {"content": None, "tool_calls": [wants]}, "finish_reason": key}]}
    body, kind = json.dumps(call).encode(), "Content-Type: application/json\r\n"
    seq = recording.open(f"{_URL}/v1/chat/completions", method="POST", headers=kind, body=body)
    recording.done(seq, json.dumps(said).encode(), headers=kind, request=body)
    recording.close()
    calls: list[tuple[str, dict[str, Any]]] = [
        *(("proxy_get_session_exchange", {"exchange": f"one:{seq}", "headers": "all"}) for seq in (1, 2)),
        ("proxy_explain_exchange", {"exchange": "one:2"}),
        ("proxy_messages", {"exchange": "one:1"}),
        ("proxy_compare", {"a": "one:3", "b": "one:4", "detail": "noise"}),
        ("proxy_session_overview", {"session_id": "one"}),
        ("proxy_get_session_handshakes", {"session_id": "one"}),
        ("proxy_llm_calls", {"exchange": "one:5"}),
        ("proxy_llm_calls", {"session_id": "one"}),
    ]

    async def ask(client: Client) -> dict[str, str]:
        said = {f"{name} {given}": (await client.call_tool(name, given)).model_dump_json() for name, given in calls}
        for view in ("summary", "findings", "timeline"):
            said[view] = (await client.read_resource(f"proxy://sessions/one/{view}")).model_dump_json()
        said["traffic"] = (await client.read_resource("proxy://traffic/summary")).model_dump_json()
        return said

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Secrecy, "learn", lambda *_: None)
        patch.setattr(Masking, "everything", lambda _, value: value)
        patch.setattr(Known, "hide", lambda _, text: text)
        told = InProcess(root).run(ask)
    forms = {key, *(base64.b64encode(pad + key.encode()).decode()[8:-8] for pad in (b"123", b"1234", b"12345"))}
    assert {name: text for name, text in told.items() if any(form in text for form in forms)} == {}
    assert {name for name, text in told.items() if "{{" not in text} == {"timeline"}, "each shows what stands there"


def test_a_body_that_is_no_text_is_shown_to_a_model_byte_by_byte(root: Path) -> None:
    recording = Recording(new_session(root, "one"))
    seq = recording.open(f"{_URL}/bytes")
    recording.done(seq, bytes(range(0xF0, 0x100)), headers="Content-Type: application/octet-stream\r\n")
    recording.close()

    async def ask(client: Client) -> Any:
        return (await client.call_tool("proxy_read_body", {"exchange": "one:1", "view": "hex"})).structured_content

    assert "f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 fa fb fc fd fe ff" in InProcess(root).run(ask)["text"]
