"""P18: in what goes to a model no secret appears, in no encoding; handles stand for them and can be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from harness.logs import Recording, new_session
from tests.mcpserver.conftest import InProcess
from tests.secrets.planting import encodings, planted, spellings

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


def plant(root: Path) -> str:
    """Record every secret once in its place, and each in one of the ten encodings somewhere else."""
    recording = Recording(new_session(root))
    for kind, value in SECRETS:
        _login(recording, kind, value)
    for at in range(0, len(SECRETS), 10):
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


def leaks(text: str) -> list[str]:
    """Name what of the secrets stands in a text."""
    return [
        f"{kind} in {name}: {form}"
        for kind, value in SECRETS
        for name, forms in encodings(value).items()
        for form in forms
        if form in text
    ]


def arguments_for(tool: Any, session: str, seq: int) -> dict[str, Any]:
    """Fill in what a tool needs, by the names of its arguments."""
    known: dict[str, Any] = {
        "session_id": session, "session": session, "seq": seq, "exchange": f"{session}:{seq}",
        "exchange_id": f"{session}.{seq}", "a": f"{session}:1", "b": f"{session}:{seq}", "query": "e", "pattern": "e",
        "text": "e", "sql": "SELECT * FROM exchanges", "what": "curl", "at": "request.header.Authorization",
        "since": 1, "label": "here", "uri": "proxy://status",
    }  # fmt: skip
    schema = tool.input_schema
    wanted = {name: known[name] for name in schema.get("required", []) if name in known}
    for name in ("session_id", "exchange", "seq", "exchange_id"):
        if name in schema["properties"] and name in known and not ({"exchange", "seq"} & wanted.keys()):
            wanted[name] = known[name]
    return wanted


async def everything_read(client: Client, session: str) -> dict[str, str]:
    """Call every reading tool and read every resource; give what they said."""
    said: dict[str, str] = {}
    tools = [tool for tool in (await client.list_tools()).tools if tool.annotations and tool.annotations.read_only_hint]
    for tool in tools:
        if tool.name == "proxy_wait_for":
            continue
        for seq in (1, 5, 7, 201, 209, 220):
            result = await client.call_tool(tool.name, arguments_for(tool, session, seq))
            said[f"{tool.name} {seq}"] = (
                result.model_dump_json()
                + json.dumps(result.structured_content, ensure_ascii=False)
                + "".join(getattr(block, "text", "") for block in result.content)
            )
    for resource in (await client.list_resources()).resources:
        said[str(resource.uri)] = (await client.read_resource(resource.uri)).model_dump_json()
    for template in (await client.list_resource_templates()).resource_templates:
        uri = template.uri_template.replace("{session_id}", session).replace("{seq}", "1")
        said[uri] = (await client.read_resource(uri)).model_dump_json()
    return said


def test_p18_none_of_200_planted_secrets_is_in_any_output_of_any_reading_tool(
    planted_root: tuple[Path, str],
) -> None:
    root, session = planted_root

    async def ask(client: Client) -> dict[str, str]:
        return await everything_read(client, session)

    said = InProcess(root).run(ask, toolsets=("all",))
    found = {call: leaks(text)[:3] for call, text in said.items()}
    assert {call: what for call, what in found.items() if what} == {}
    assert "{{jwt:" in said["proxy_get_session_exchange 1"]
    assert "{{password:" in said["proxy_get_session_exchange 5"]


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
    assert "{{jwt:000000}}" in said["message"]


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
    assert listed["sessions"][0]["sessionId"] == session
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
