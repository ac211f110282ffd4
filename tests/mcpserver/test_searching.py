"""The tools that search a session and ask it in SQL: seed-contract's Musts, and secrets that stay here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mcp.client import Client

from harness.logs import Recording, new_session
from tests.mcpserver.conftest import InProcess

PASSWORD = "hunter2-correct-horse"


def record(root: Path, exchanges: int = 6) -> None:
    recording = Recording(new_session(root, "shop"))
    for number in range(exchanges):
        body = json.dumps({"password": PASSWORD}).encode() if number == 0 else b""
        kind = "Content-Type: application/json\r\n"
        seq = recording.open(f"http://api.example/{number}", method="POST", headers=kind, body=body)
        binary = number == 1
        headers = "Content-Type: image/png\r\n" if binary else "Content-Type: application/json\r\n"
        recording.done(seq, b'{"item":"jacket"}' if number else b"", headers=headers)
    recording.close()


def call(in_process: InProcess, tool: str, **arguments: Any) -> dict[str, Any]:
    async def ask(client: Client) -> dict[str, Any]:
        result = await client.call_tool(tool, {"session_id": "shop", **arguments})
        return json.loads(result.content[0].text)  # type: ignore[union-attr,no-any-return]

    return in_process.run(ask)


def test_a_search_accounts_for_every_candidate(root: Path, in_process: InProcess) -> None:
    record(root)
    found = call(in_process, "proxy_search_session_bodies", text="JACKET", limit=2)
    assert found["matched"] == 4
    assert found["columns"] == ["seq", "method", "status", "url", "in", "snippet", "encoding", "also"]
    assert found["rows"][0] == [3, "POST", 200, "http://api.example/2", "response.body/item", '"jacket"']
    assert found["coverage"]["searched"] == 6
    assert found["coverage"]["notSearched"] == {"image, sound, font or archive": 1}
    more = call(in_process, "proxy_search_session_bodies", text="JACKET", limit=2, cursor=found["nextCursor"])
    assert [row[0] for row in more["rows"]] == [5, 6]
    assert "nextCursor" not in more


def test_a_bound_on_what_is_scanned_is_said(root: Path, in_process: InProcess) -> None:
    record(root)
    found = call(in_process, "proxy_search_session_bodies", text="jacket", max_scan=2, format="objects")
    assert found["coverage"]["searched"] == 2
    assert "complete" not in found["coverage"], "what is false is left out"
    assert found["nextCursor"]
    assert "items" not in found


def test_objects_have_the_keys_of_the_command_line(root: Path, in_process: InProcess) -> None:
    record(root)
    found = call(in_process, "proxy_search_session_bodies", text="jacket", format="objects", search_in="response")
    assert {"seq", "exchangeId", "url", "in", "snippet"} <= set(found["items"][0])


def test_p18_no_search_and_no_query_shows_a_password(root: Path, in_process: InProcess) -> None:
    record(root)
    for pattern, regex in ((PASSWORD, False), ("hunter2", False), ("password", False), ("hun.*", True)):
        found = call(in_process, "proxy_search_session_bodies", text=pattern, regex=regex)
        assert "hunter2" not in json.dumps(found)
    found = call(in_process, "proxy_search_session_bodies", text='"password"')
    assert found["matched"] == 1


def test_sql_answers_and_errors_name_the_views(root: Path, in_process: InProcess) -> None:
    record(root)
    found = call(in_process, "proxy_sql", query="SELECT status, count(*) FROM exchanges GROUP BY 1")
    assert found["rows"] == [[200, 6]]
    failed = call(in_process, "proxy_sql", query="DROP TABLE exchanges")
    assert failed["status"] == "error"
    assert "headers (seq, side, name, value)" in failed["hint"]
