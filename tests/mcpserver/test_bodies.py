"""Bodies over MCP: a part of one by its path, a whole one into a file where that is allowed, handles for secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp_types import TextContent

from harness.logs import Recording, new_session
from tests.mcpserver.conftest import InProcess

TOKEN = "s3cr3t-tok3n-9f8e7d6c5b4a"
BODY = {"data": [{"id": f"p_{number}", "price": number} for number in range(400)], "auth": {"password": TOKEN}}


@pytest.fixture
def made(root: Path) -> None:
    recording = Recording(new_session(root, "bad"))
    seq = recording.open("https://shop.example/products")
    recording.done(seq, json.dumps(BODY).encode(), headers="Content-Type: application/json\r\n")
    recording.close()


def call(in_process: InProcess, name: str, arguments: dict[str, Any], **wishes: Any) -> dict[str, Any]:
    async def ask(client: Client) -> dict[str, Any]:
        result = await client.call_tool(name, arguments)
        [block] = result.content
        assert isinstance(block, TextContent)
        found: dict[str, Any] = json.loads(block.text)
        assert result.is_error == (found["status"] == "error")
        return found

    return in_process.run(ask, **wishes)


@pytest.mark.usefixtures("made")
def test_one_field_of_a_body_is_read_by_its_path(in_process: InProcess) -> None:
    found = call(in_process, "proxy_read_body", {"exchange": "bad:1", "path": "/data/*[id=p_270]/price"})
    assert found["matches"] == [{"path": "/data/270/price", "value": 270}]
    assert call(in_process, "proxy_read_body", {"exchange": "1", "view": "shape"})["shape"].startswith("{data:[400 x")


@pytest.mark.usefixtures("made")
def test_p18_a_secret_in_a_body_is_a_handle_unless_the_server_reveals(in_process: InProcess) -> None:
    found = call(in_process, "proxy_read_body", {"exchange": "bad:1", "path": "/auth"})
    assert TOKEN not in json.dumps(found)
    assert found["matches"][0]["value"]["password"].startswith("{{password:")
    shown = call(in_process, "proxy_read_body", {"exchange": "bad:1", "path": "/auth"}, reveal=True)
    assert shown["matches"][0]["value"] == {"password": TOKEN}


@pytest.mark.usefixtures("made")
def test_p14_a_file_is_written_below_the_exports_of_the_root_and_nowhere_else(
    in_process: InProcess, tmp_path: Path
) -> None:
    found = call(in_process, "proxy_read_body", {"exchange": "bad:1", "output_file": "page.json"})
    file = in_process.root / "exports" / "page.json"
    assert json.loads(file.read_bytes()) == BODY
    assert (found["bytes"], file.stat().st_mode & 0o777) == (file.stat().st_size, 0o600)
    outside = {"exchange": "bad:1", "output_file": str(tmp_path / "x.json")}
    assert call(in_process, "proxy_read_body", outside)["code"] == "outside"
    assert "file" in call(in_process, "proxy_read_body", outside, files=(tmp_path,))
    again = call(in_process, "proxy_read_body", {"exchange": "bad:1", "output_file": "page.json"})
    assert "not written over" in again["message"]
    refused = call(in_process, "proxy_read_body", {"exchange": "bad:1", "output_file": "y"}, read_only=True)
    assert "only reads" in refused["message"]


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"exchange": "bad"}, "names no exchange"),
        ({"exchange": "bad:7"}, "does not exist"),
        ({"exchange": "worse:1"}, "worse"),
        ({"exchange": "bad:1", "path": "/data/*[id=x]"}, "of 400 values of id in /data none is x"),
        ({"exchange": "bad:1", "grep": "/(/"}, "not a regular expression"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(in_process: InProcess, arguments: dict[str, Any], said: str) -> None:
    found = call(in_process, "proxy_read_body", arguments)
    assert found["status"] == "error"
    assert said in found["message"]
    assert "\n" not in found["message"]


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("name", ["proxy_get_session_exchange", "proxy_get_exchange"])
def test_both_families_take_the_union_of_arguments(in_process: InProcess, name: str) -> None:
    found = call(in_process, name, {"exchange": "bad:1"})
    for arguments in (
        {"session_id": "bad", "seq": 1},
        {"session_id": "last", "seq": "1"},
        {"exchange_id": found["exchangeId"]},
        {"session_id": "bad", "seq": 1, "exchange_id": "20260101T000000-aaaaaa.9"},
        {"seq": 1},
    ):
        assert call(in_process, name, arguments) == found, arguments
    assert found["response"]["bodyShape"].startswith("{data:[400 x")
    assert found["next"] == 'proxy_read_body {"exchange":"bad:1","path":"/data/*[id=p_0]"}'
    other = call(in_process, name, {"exchange": "20260101T000000-aaaaaa.1"})
    assert "20260101T000000-aaaaaa" in other["message"]
    assert "no exchange is named" in call(in_process, name, {})["message"]


@pytest.mark.usefixtures("made")
def test_without_bodies_the_headers_are_still_there_in_their_case(in_process: InProcess) -> None:
    asked = {"exchange": "bad:1", "include_body": False, "format": "objects"}
    found = call(in_process, "proxy_get_session_exchange", asked)
    assert found["request"]["headers"] == [["Host", "shop.example"]]
    assert "body" not in found["response"]


@pytest.fixture
def talked(root: Path) -> None:
    recording = Recording(new_session(root, "talk"))
    seq = recording.open("https://shop.example/sse")
    events = b"".join(b'data: {"n":%d,"token":"%s"}\n\n' % (number, TOKEN.encode()) for number in range(300))
    recording.done(seq, events, headers="Content-Type: text/event-stream\r\n")
    asked = {"model": "gpt-shop", "messages": [{"role": "user", "content": f"my password: {TOKEN}"}], "password": TOKEN}
    body = json.dumps(asked).encode()
    seq = recording.open("https://api.openai.com/v1/chat/completions", method="POST", body=body)
    said = {"choices": [{"message": {"content": f"not {TOKEN}"}, "finish_reason": "stop"}]}
    recording.done(seq, json.dumps(said).encode(), headers="Content-Type: application/json\r\n", request=body)
    recording.close()


@pytest.mark.usefixtures("talked")
def test_messages_come_in_pages_and_p18_hide_what_is_secret(in_process: InProcess) -> None:
    found = call(in_process, "proxy_messages", {"session_id": "talk", "limit": 200})
    assert found["items"][0]["from"] == "server"
    assert TOKEN not in json.dumps(found)
    following = call(in_process, "proxy_messages", {"exchange": "talk:1", "limit": 500, "cursor": found["nextCursor"]})
    assert following["items"][0]["number"] == found["returned"] + 1
    assert len(json.dumps(following)) < 9_000
    assert "no messages" in call(in_process, "proxy_messages", {"exchange": "talk:2"})["message"]
    wrong = call(in_process, "proxy_messages", {"session_id": "talk", "cursor": "x"})
    assert "not a cursor" in wrong["message"]


@pytest.mark.usefixtures("talked")
def test_calls_of_language_models_are_listed_and_one_is_shown_with_handles(in_process: InProcess) -> None:
    found = call(in_process, "proxy_llm_calls", {"session_id": "talk", "filter": "~d openai.com"})
    assert found["calls"]["rows"] == [[2, "openai.chat", "gpt-shop", None, None, None, 12, None, "stop"]]
    one = call(in_process, "proxy_llm_calls", {"exchange": "talk:2"})
    assert one["output"]["text"].startswith("not {{")
    assert TOKEN not in json.dumps(one)
    assert "not a call of a language model" in call(in_process, "proxy_llm_calls", {"exchange": "talk:1"})["message"]
