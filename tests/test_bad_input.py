"""Bad input through both faces: a clear error that names the thing, no half-written file, nothing lost."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from harness.logs import Recording, closed_session, new_session, snapshot
from tests.cli.support import wiretape
from tests.mcpserver.conftest import InProcess
from wiretape.errors import NotFoundError
from wiretape.session.catalogue import Catalogue

JSON = "Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with two sessions; ``shop`` has a deep body, one with equal keys, and a bomb."""
    root = tmp_path_factory.mktemp("bad") / "root"
    closed_session(root, 30, "other")
    recording = Recording(new_session(root, "shop"))
    for body in (b"[" * 100_000 + b"]" * 100_000, b'{"a":1,"a":2}'):
        recording.done(recording.open("http://a.example/json"), body, headers=JSON)
    bomb = gzip.compress(bytes(80_000_000), mtime=0)
    recording.done(recording.open("http://a.example/bomb"), bomb, headers=f"{JSON}Content-Encoding: gzip\r\n")
    for number in range(30):
        recording.exchange(f"http://a.example/{number}")
    recording.close()
    return root


@pytest.fixture(autouse=True)
def unharmed(root: Path) -> Iterator[None]:
    """Whatever is asked, the logs stay as they are and no export is left half-written."""
    logs = {path: snapshot(path) for path in (root / "sessions").glob("*/log")}
    yield
    assert {path: snapshot(path) for path in (root / "sessions").glob("*/log")} == logs
    assert not list((root / "exports").glob("*"))


COMMAND_LINE = {
    "a filter with an error": (["query", "shop", "~c abc & ("], ["~c abc & (", "^"]),
    "an operator that is none": (["query", "shop", "~zz 1"], ["~zz"]),
    "an expression that does not end": (["query", "shop", "~u '(a'"], ["(a"]),
    "a path with an error": (["body", "shop:2", "--path", "/a/[x"], ["[x"]),
    "a path that leads nowhere": (["body", "shop:2", "--path", "/b"], ["/b", "a"]),
    "SQL with an error": (["sql", "shop", "SELEC 1"], ["SELEC"]),
    "SQL that writes": (["sql", "shop", "DELETE FROM exchanges"], ["exchanges", "view"]),
    "an expression that would take all memory": (["grep", "shop", "--regex", "(a{1000}){1000}"], ["a{1000}"]),
    "a cursor that is none": (["query", "shop", "--cursor", "xx"], ["cursor"]),
    "a body nested 100,000 deep": (["body", "shop:1", "--path", "/0/0"], ["nested"]),
    "a time that is none": (["query", "shop", "--since", "yesterdayish"], ["yesterdayish"]),
    "a status that is none": (["query", "shop", "--status", "42"], ["42", "404"]),
    "a session that is none": (["query", "shap"], ["shap", "shop"]),
    "a path of a session": (["query", "../shop"], ["../shop"]),
    "an exchange that is none": (["exchange", "shop:99"], ["99", "33"]),
    "a file that is there": (["export", "shop", "-o", "/dev/null"], ["/dev/null"]),
    "a folder that is not there": (["export", "shop", "-o", "/nowhere/x.har"], ["/nowhere"]),
}


@pytest.mark.parametrize("what", COMMAND_LINE)
def test_on_the_command_line_it_is_a_sentence_that_names_the_thing(root: Path, what: str) -> None:
    arguments, named = COMMAND_LINE[what]
    done = wiretape(*arguments, "--root", root)
    said = done.stderr.decode()
    assert done.returncode in {1, 2}, said
    assert said.startswith("wiretape: ")
    assert "Traceback" not in said
    assert "bug" not in said
    for part in named:
        assert part in said, said
    assert done.stdout == b""


OVER_MCP: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "a filter with an error": ("proxy_query_session", {"session_id": "shop", "filter": "~c abc & ("}, ["~c abc & ("]),
    "a path with an error": ("proxy_read_body", {"exchange": "shop:2", "path": "/a/[x"}, ["[x"]),
    "SQL with an error": ("proxy_sql", {"session_id": "shop", "query": "SELEC 1"}, ["SELEC"]),
    "an exploding expression": (
        "proxy_search_session_bodies",
        {"session_id": "shop", "text": "(a{1000}){1000}", "regex": True},
        ["a{1000}"],
    ),
    "a session that is none": ("proxy_session_overview", {"session_id": "shap"}, ["shap", "shop"]),
    "a path of a session": ("proxy_delete_session", {"session_id": "../shop"}, ["../shop"]),
    "a file outside": (
        "proxy_export",
        {"what": "har", "session_id": "shop", "output_file": "../../x.har"},
        ["x.har"],
    ),
    "a handle that is none": (
        "proxy_trace_value",
        {"session_id": "shop", "value": "{{jwt:000000}}"},
        ["{{jwt:000000}}"],
    ),
    "a HAR that is not there": ("proxy_import_har", {"har_file": "/nowhere/x.har"}, ["/nowhere/x.har"]),
}


def test_over_mcp_it_is_an_error_that_names_the_thing(root: Path) -> None:
    async def ask(client: Client) -> dict[str, Any]:
        return {name: await client.call_tool(tool, given) for name, (tool, given, _) in OVER_MCP.items()}

    answers = InProcess(root).run(ask)
    for name, (_, _, named) in OVER_MCP.items():
        answer = answers[name]
        assert answer.is_error, name
        told = json.loads(answer.content[0].text)
        assert told["status"] == "error"
        for part in named:
            assert part in told["message"] + told.get("hint", ""), (name, told)


@pytest.mark.parametrize("words", [["query", "{}"], ["grep", "{}", "answer"]])
def test_a_cursor_of_another_session_is_refused(root: Path, words: list[str]) -> None:
    first = [word.format("other") for word in words]
    cursor = json.loads(wiretape(*first, "--limit", "5", "--json", "--root", root).stdout)["nextCursor"]
    second = [word.format("shop") for word in words]
    done = wiretape(*second, "--limit", "5", "--cursor", cursor, "--root", root)
    assert done.returncode == 2
    assert b"another" in done.stderr


def test_a_session_that_is_being_deleted_is_a_clear_error(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "root")
    with Catalogue(tmp_path / "root").open("shop") as session:
        every = session.iterate()
        next(every)
        Catalogue(tmp_path / "root").delete("shop")
        with pytest.raises(NotFoundError, match="does not exist any more"):
            list(every)
        with pytest.raises(NotFoundError, match="does not exist any more"):
            session.query()


def test_a_bomb_ends_in_a_sentence_and_is_accounted_for(root: Path) -> None:
    done = wiretape("body", "shop:3", "--path", "/a", "--root", root)
    assert done.returncode == 2
    assert b"This is not JSON" in done.stderr
    found = json.loads(wiretape("grep", "shop", "needle", "--json", "--root", root).stdout)
    assert found["coverage"]["missing"]["content coding could not be removed"] == [3]


def entry(url: str = "https://a.example/", text: str = "hi") -> dict[str, Any]:
    request = {"method": "GET", "url": url, "httpVersion": "HTTP/1.1", "headers": [], "bodySize": 0}
    content = {"size": len(text), "mimeType": "text/plain", "text": text}
    response = {"status": 200, "statusText": "OK", "httpVersion": "HTTP/1.1", "headers": [], "content": content}
    return {"startedDateTime": "2026-11-27T10:00:00.000Z", "time": 1, "request": request, "response": response}


def har(*entries: str) -> bytes:
    return ('{"log":{"version":"1.2","entries":[' + ",".join(entries) + "]}}").encode()


GOOD = json.dumps(entry())
DEEP = "[" * 100_000 + "]" * 100_000
HARS = {
    "truncated": (har(GOOD, GOOD)[:-200], 1, "bytes at 365: no exchange that can be read"),
    "another type": (b"%PDF-1.7 nothing of the kind", 0, "x.har"),
    "an array": (b"[1,2,3]", 0, "x.har"),
    "nested 100,000 deep": (har(GOOD, GOOD[:-1] + f',"x":{DEEP}}}', GOOD), 2, "bytes at 365: no exchange"),
    "equal keys": (har(GOOD[:-1] + ',"time":2,"request":{}}', GOOD), 1, "bytes at 35: no exchange that can be read"),
}


@pytest.mark.parametrize("kind", HARS)
def test_a_har_that_is_broken_or_hostile_costs_what_is_broken(root: Path, tmp_path: Path, kind: str) -> None:
    data, imported, named = HARS[kind]
    path = tmp_path / "x.har"
    path.write_bytes(data)
    done = wiretape("import", path, "--json", "--root", tmp_path / "root")
    told = json.loads(done.stdout)
    assert b"Traceback" not in done.stderr
    assert done.returncode == (1 if imported else 2)
    if imported:
        assert told["imported"] == imported, told
        assert named in json.dumps(told["warnings"]), told
        assert json.loads(wiretape("verify", "last", "--json", "--root", tmp_path / "root").stdout)["state"] == "clean"
    else:
        assert told["status"] == "error"
        assert named in told["message"]
        assert not list((tmp_path / "root" / "sessions").glob("*"))
    assert path.read_bytes() == data
