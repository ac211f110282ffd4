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
