"""Tools that carry recordings away: what they write, and where they may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from harness.logs import Recording, new_session
from tests.mcpserver.conftest import InProcess

TOKEN = "abcdefghijklmnop0123456789ABCDEF"


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one session, ``shop``: a login and a request with what it gave."""
    root = tmp_path_factory.mktemp("carried") / "root"
    recording = Recording(new_session(root, "shop"))
    kind = "Content-Type: application/json\r\n"
    body = b'{"email":"ada@example.com","password":"hunter2!x"}'
    seq = recording.open("https://shop.example/login", method="POST", headers=kind, body=body)
    recording.done(seq, json.dumps({"accessToken": TOKEN}).encode(), headers=kind, request=body)
    seq = recording.open("https://shop.example/items/17", headers=f"Authorization: Bearer {TOKEN}\r\n")
    recording.done(seq, b'{"ok":true}', headers=kind)
    recording.close()
    return root


def call(root: Path, tool: str, arguments: dict[str, Any], **wishes: Any) -> Any:
    async def ask(client: Client) -> Any:
        return await client.call_tool(tool, arguments)

    answer = InProcess(root).run(ask, **wishes)
    return json.loads(answer.content[0].text) | {"isError": bool(answer.is_error)}


def test_find_secrets_gives_handles_and_no_values(carried: Path) -> None:
    found = call(carried, "proxy_find_secrets", {"session_id": "shop"})
    assert {one["kind"] for one in found["values"]} == {"token", "password", "email"}
    assert all(one["handle"].startswith("{{" + one["kind"]) for one in found["values"])
    assert "ada@example.com" not in json.dumps(found)


def test_an_export_is_redacted_by_default_and_lies_in_the_roots_exports(carried: Path) -> None:
    found = call(carried, "proxy_export", {"what": "har", "session_id": "shop"})
    path = Path(found["file"])
    assert path.parent == carried / "exports"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert found["redacted"]["values"] == 3
    assert found["check"] == "no secret found in a second scan of the file"
    assert TOKEN not in path.read_text()
    again = call(carried, "proxy_export", {"what": "har", "session_id": "shop", "redact": False})
    assert again["file"] != found["file"]
    assert TOKEN in Path(again["file"]).read_text()


def test_one_exchange_as_curl_is_text_and_its_secrets_are_in_a_file_beside(carried: Path) -> None:
    found = call(carried, "proxy_export", {"what": "curl", "exchange": "shop:2"})
    assert found["text"] == 'curl https://shop.example/items/17 -H "Authorization: Bearer ${TOKEN}" -H Accept:'
    assert found["env"] == {"TOKEN": "seq 1 response.body/accessToken"}
    assert f"TOKEN='{TOKEN}'" in Path(found["envFile"]).read_text()
    assert Path(found["envFile"]).stat().st_mode & 0o777 == 0o600


def test_the_seeds_tool_gives_the_seeds_keys_and_takes_its_filters(carried: Path) -> None:
    found = call(carried, "proxy_export_har", {"session_id": "shop", "method": "post", "include_bodies": False})
    assert found["entries"] == 1
    entry = json.loads(Path(found["outputFile"]).read_text())["log"]["entries"][0]
    assert "text" not in entry["response"]["content"]
    assert entry["request"]["postData"] == {
        "mimeType": "application/json", "text": "", "comment": "Bodies were left out of this export."
    }  # fmt: skip


@pytest.mark.parametrize("wanted", ["/etc/x.har", "../x.har", "~/x.har", "exports/../../x.har", "link/x.har", "."])
def test_p14_a_model_names_no_file_outside_of_the_folders_it_was_given(
    carried: Path, tmp_path: Path, wanted: str
) -> None:
    (tmp_path / "outside").mkdir()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "link").symlink_to(tmp_path / "outside")
    arguments = {"what": "har", "session_id": "shop", "output_file": wanted}
    found = call(carried, "proxy_export", arguments, files=(mine,))
    assert (found["isError"], found["code"]) == (True, "outside")
    assert str(mine) in found["hint"]
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_file_goes_below_the_folder_that_the_client_was_started_in(carried: Path, tmp_path: Path) -> None:
    found = call(
        carried,
        "proxy_export",
        {"what": "ndjson", "session_id": "shop", "output_file": "x.ndjson"},
        files=(tmp_path,),
    )
    assert found["file"] == str(tmp_path / "x.ndjson")
    refused = call(
        carried,
        "proxy_export",
        {"what": "ndjson", "session_id": "shop", "output_file": "x.ndjson"},
        files=(tmp_path,),
    )
    assert refused["code"] == "exists"


def har(path: Path, *entries: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": list(entries)}}))
    return path


def har_entry(url: str, **rest: Any) -> dict[str, Any]:
    request = {"method": "get", "url": url, "httpVersion": "HTTP/1.1", "headers": [], "bodySize": 0}
    headers = [{"name": "X-Two", "value": "a"}, {"name": "x-two", "value": "b"}]
    content = {"size": 2, "mimeType": "text/plain", "text": "aGk=", "encoding": "base64"}
    response = {"status": 200, "statusText": "OK", "httpVersion": "HTTP/1.1", "headers": headers, "content": content}
    made = {"startedDateTime": "2026-11-27T10:00:00.000Z", "time": 12.5, "request": request, "response": response}
    return made | rest


def test_a_har_becomes_a_session_and_every_entry_is_accounted_for(root: Path, tmp_path: Path) -> None:
    unnamed = har_entry("no url at all")
    answerless = har_entry("https://a.example/2", response={"status": 0}, startedDateTime="2026-11-27T10:00:05.000Z")
    path = har(tmp_path / "big.har", har_entry("https://a.example/1"), unnamed, answerless)
    found = call(root, "proxy_import_har", {"har_file": str(path)})
    assert found["session"]["name"] == "har-import-big"
    assert (found["session"]["status"], found["session"]["profile"]) == ("stopped", "full")
    summary = found["importSummary"]
    assert (summary["totalEntries"], summary["importedEntries"], summary["skippedEntries"]) == (3, 2, 1)
    assert summary["errorCount"] == 1
    assert summary["lastTimestamp"] - summary["firstTimestamp"] == 5000
    assert "no url at all" in summary["warnings"][0]
    session = found["session"]["sessionId"]
    first = call(root, "proxy_get_session_exchange", {"session_id": session, "seq": 1})
    assert "request" in first, first
    assert first["request"]["method"] == "GET"
    assert ["X-Two", "a"] in first["response"]["headers"]
    assert ["x-two", "b"] in first["response"]["headers"]
    assert first["response"]["body"] == "hi"


def test_a_strict_import_leaves_nothing_and_a_har_that_is_none_says_so(root: Path, tmp_path: Path) -> None:
    path = har(tmp_path / "x.har", har_entry("https://a.example/1"), har_entry("nothing"))
    assert call(root, "proxy_import_har", {"har_file": str(path), "strict": True})["isError"]
    assert call(root, "proxy_list_sessions", {})["total"] == 0
    (tmp_path / "cut.har").write_bytes(path.read_bytes()[:-200])
    cut = call(root, "proxy_import_har", {"har_file": str(tmp_path / "cut.har"), "session_name": "cut"})
    assert cut["importSummary"]["importedEntries"] == 1
    (tmp_path / "none.har").write_text("%PDF-1.7")
    for name in ("none.har", "missing.har"):
        found = call(root, "proxy_import_har", {"har_file": str(tmp_path / name)})
        assert found["isError"]
        assert name in found["message"]
    large = call(root, "proxy_import_har", {"har_file": str(path), "max_disk_mb": 0.0001})
    assert large["code"] == "too-large"


def test_handshakes_of_an_import_are_said_not_to_be_there(carried: Path) -> None:
    found = call(carried, "proxy_get_session_handshakes", {"session_id": "shop", "url_contains": "items"})
    assert (found["total"], found["withTlsMetadata"], found["withoutTlsMetadata"]) == (1, 0, 1)
    assert found["unavailableReason"].startswith("No exchange came over TLS")


def test_openapi_of_several_sessions_is_one_document(carried: Path) -> None:
    found = call(carried, "proxy_export", {"what": "openapi", "session_id": "shop, last"})
    assert [row[:2] for row in found["operations"]["rows"]] == [["GET /items/{itemId}", 2], ["POST /login", 2]]
    missing = call(carried, "proxy_export", {"what": "openapi", "session_id": "nothing"})
    assert missing["code"] == "not-found"
