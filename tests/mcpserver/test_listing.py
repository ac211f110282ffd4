"""Lists of exchanges: columns and rows, within the tokens that were allowed, complete or saying what is missing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from mcp.client import Client

from harness.logs import WALL_MS, Recording, closed_session, new_session
from tests.mcpserver.conftest import InProcess
from wiretape.log.format import EndState
from wiretape.mcpserver.lean import lean
from wiretape.mcpserver.listing import ExchangeTable, elided, exchanges_within, split_url
from wiretape.mcpserver.tool import compact
from wiretape.model import Coverage, ExchangeSummary, QueryPage, RefusedRequest, SessionSummary

ID = "20260101T000000-00000a"
SESSION = SessionSummary(
    session_id=ID,
    name="shop",
    status="stopped",
    recovery_state="clean",
    exchanges=0,
    interrupted=0,
    bytes=0,
    started_at=1_000_000,
    ended_at=2_000_000,
)
WHOLE = Coverage(through_seq=9, in_flight=0, dropped=0, damaged=0)


def item(seq: int, url: str = "https://a.test/x", **changes: Any) -> ExchangeSummary:
    fields: dict[str, Any] = {
        "seq": seq,
        "exchange_id": f"{ID}.{seq}",
        "timestamp": 1_000_000 + 1500 * seq,
        "method": "GET",
        "url": url,
        "status_code": 200,
        "state": "complete",
        "duration": 3.21,
        "request_body_size": 0,
        "response_body_size": 7,
        "response_content_type": "application/json; charset=utf-8",
    }
    return ExchangeSummary(**fields | changes)


def listed(items: list[ExchangeSummary], coverage: Coverage = WHOLE, **wishes: Any) -> Any:
    """List items, a page as the session would give it."""

    async def fetch(most: int) -> QueryPage:
        page = items[:most]
        more = f"after {page[-1].seq}" if most < len(items) else None
        return QueryPage(matched=len(items), returned=len(page), items=page, next_cursor=more, coverage=coverage)

    return asyncio.run(exchanges_within(fetch, SESSION, called="shop", limit=wishes.pop("limit", 1000), **wishes))


def test_a_row_says_its_host_and_its_columns_once() -> None:
    assert lean(listed([item(2), item(1, "https://a.test")])) == {
        "session": "shop",
        "start": "1970-01-01T00:16:40Z",
        "origin": "https://a.test",
        "columns": ["seq", "+s", "method", "path", "status", "ms", "bytes", "type"],
        "rows": [[2, 3.0, "GET", "/x", 200, 3.2, 7, "json"], [1, 1.5, "GET", "/", 200, 3.2, 7, "json"]],
        "matched": 2,
        "returned": 2,
        "complete": True,
    }


def test_several_hosts_get_a_column() -> None:
    table = listed([item(2, "http://b.test:81/y?q=1"), item(1)])
    assert table.origin is None
    assert table.columns[3] == "origin"
    assert [row[3:5] for row in table.rows] == [["http://b.test:81", "/y?q=1"], ["https://a.test", "/x"]]


def test_what_did_not_complete_says_so_where_its_status_stands_and_empty_cells_end_a_row() -> None:
    rows = listed(
        [
            item(
                4, status_code=None, state="inFlight", duration=None, response_body_size=0, response_content_type=None
            ),
            item(3, state="aborted"),
            item(5, error_in_body=True),
            item(2, status_code=None, state="failed", response_body_size=0, response_content_type=None),
            item(1, status_code=204, response_body_size=0, response_content_type=None),
        ]
    ).rows
    assert [row[4:] for row in rows] == [
        ["inFlight"],
        ["200 aborted", 3.2, 7, "json"],
        ["200+errors", 3.2, 7, "json"],
        ["failed", 3.2],
        [204, 3.2],
    ]


def test_thirty_two_exchanges_cost_fifteen_tokens_each() -> None:
    """answers.md 4.1: 32 exchanges took 9,843 bytes as objects, and 1,805 as columns and rows."""
    items = [item(seq, "https://localhost:29443/api/v2/checkout") for seq in range(32, 0, -1)]
    assert len(compact(lean(listed(items)))) < 2_300


@pytest.mark.parametrize("form", ["columns", "objects"])
@pytest.mark.parametrize("max_tokens", [200, 333, 1000, None])
@pytest.mark.parametrize("path", ["/x", "/" + "é" * 5000, "/" + '"' * 150])
def test_p11_a_list_is_never_over_its_tokens_and_says_what_is_left(
    form: str, max_tokens: int | None, path: str
) -> None:
    items = [item(seq, "https://a.test" + path) for seq in range(400, 0, -1)]
    answer = listed(items, form=form, max_tokens=max_tokens)
    size = len(compact({"status": "success", **lean(answer)}).encode())
    assert size <= 4 * (max_tokens or (2000 if form == "columns" else 6000))
    told = lean(answer)
    assert told["matched"] == 400
    assert told["returned"] == len(told.get("rows", told.get("items"))) < 400
    assert told["left"] == {"exchanges": 400 - told["returned"]}
    assert told["nextCursor"] == f"after {401 - told['returned']}"


def test_p11_a_full_page_uses_most_of_what_it_may_cost() -> None:
    answer = listed([item(seq) for seq in range(400, 0, -1)])
    assert 7000 < len(compact(lean(answer))) <= 8000


def test_p11_coverage_is_there_when_something_is_missing_and_is_bounded_itself() -> None:
    refused = [
        RefusedRequest(timestamp=1, client="c", code="bad", error="e" * 9000, request="GET " + "x" * 60000)
        for _ in range(10)
    ]
    hostile = Coverage(
        through_seq=9, in_flight=1, dropped=3, damaged=0, notes=["n" * 9000] * 50, refused=10, refused_requests=refused
    )
    told = lean(listed([item(1)], hostile))
    assert "complete" not in told
    assert told["inFlight"] == 1
    assert told["coverage"]["dropped"] == 3
    assert len(told["coverage"]["refusedRequests"]) == 3
    assert len(compact(told)) < 4000
    small = lean(listed([item(1)], hostile, max_tokens=200))
    assert len(compact(small)) <= 800
    assert small["coverage"]["dropped"] == 3


def test_objects_are_the_rows_of_the_command_line() -> None:
    told = lean(listed([item(1, "https://a.test/" + "y" * 900)], form="objects"))
    assert told["sessionId"] == ID
    (row,) = told["items"]
    assert row["exchangeId"] == f"{ID}.1"
    assert row["statusCode"] == 200
    assert len(row["url"]) == 200
    assert "proxy_get_session_exchange" in told["notes"][0]


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://a.test:8/p?q#f", ("https://a.test:8", "/p?q#f")),
        ("http://a.test", ("http://a.test", "/")),
        ("http://a.test?q", ("http://a.test", "?q")),
        ("example.com:443", ("", "example.com:443")),
        ("", ("", "")),
        ("http://[::1]:8/x", ("http://[::1]:8", "/x")),
    ],
)
def test_a_url_is_split_however_odd_it_is(url: str, parts: tuple[str, str]) -> None:
    assert split_url(url) == parts


def test_a_long_text_keeps_both_ends() -> None:
    assert elided("a" * 300 + "z" * 300, 100) == "a" * 66 + "…" + "z" * 33
    assert len(elided("x" * 1000)) == 200
    assert elided("short") == "short"


# -- through the tools ------------------------------------------------------------------------------------------------


def calls(in_process: InProcess, *wanted: tuple[str, dict[str, Any]]) -> list[Any]:
    """Call tools one after the other in one conversation; give what each answered."""

    async def ask(client: Client) -> list[Any]:
        return [await client.call_tool(name, arguments) for name, arguments in wanted]

    results = in_process.run(ask)
    for result in results:
        assert not result.is_error, result.content[0].text
        assert json.loads(result.content[0].text) == result.structured_content
    return [result.structured_content for result in results]


def call(in_process: InProcess, name: str, **arguments: Any) -> Any:
    return calls(in_process, (name, arguments))[0]


def test_both_families_take_the_arguments_of_the_other(in_process: InProcess) -> None:
    recording = Recording(new_session(in_process.root, "shop"))
    recording.exchange("http://a.test/one")
    recording.exchange("http://b.test/two", method="POST", status=422)
    recording.done(recording.open("http://b.test/three"), state=EndState.FAILED, status=0, inline=False)
    recording.close()
    lists: list[tuple[str, dict[str, Any]]] = [
        (name, {"session_id": "shop", **arguments})
        for name in ("proxy_list_traffic", "proxy_query_session")
        for arguments in (
            {"status_code": "4xx"},
            {"status_filter": 422},
            {"status_code": "422"},
            {"method": "post"},
            {"method_filter": "POST"},
            {"hostname_contains": "b.", "status_code": 422},
            {"hostname_filter": "b.", "url_contains": "two"},
            {"url_filter": "two", "from_ts": WALL_MS, "to_ts": WALL_MS + 60_000},
        )
    ]
    for one, found in zip(lists, calls(in_process, *lists), strict=True):
        assert [row[0] for row in found["rows"]] == [2], one
    exchanges: list[tuple[str, dict[str, Any]]] = [
        (name, arguments)
        for name in ("proxy_get_exchange", "proxy_get_session_exchange")
        for arguments in (
            {"exchange": "shop:2"},
            {"exchange": "last:2"},
            {"exchange": "2"},
            {"exchange_id": "shop:2"},
            {"session_id": "shop", "seq": 2},
            {"session_id": "shop", "exchange": "2"},
            {"session_id": "shop", "exchange": "shop:2"},
        )
    ]
    for one, found in zip(exchanges, calls(in_process, *exchanges), strict=True):
        assert found["seq"] == 2, one


def test_seq_wins_over_exchange_id(in_process: InProcess) -> None:
    session_id = closed_session(in_process.root, 3).session_id
    found = call(in_process, "proxy_get_session_exchange", session_id="last", seq=2, exchange_id=f"{session_id}.3")
    assert found["seq"] == 2


def test_live_traffic_after_a_restart_is_that_of_the_newest_session(in_process: InProcess) -> None:
    closed_session(in_process.root, 2, "before")
    found = call(in_process, "proxy_list_traffic")
    assert (found["session"], found["returned"]) == ("before", 2)
    assert call(in_process, "proxy_search_traffic", query="answer 2")["rows"][0][0] == 2


def test_where_nothing_was_recorded_yet_the_list_is_empty_and_names_the_next_call(in_process: InProcess) -> None:
    found = call(in_process, "proxy_list_traffic")
    assert found["rows"] == []
    assert found["next"] == "proxy_start"


def test_a_view_that_was_cleared_is_an_empty_success(in_process: InProcess) -> None:
    closed_session(in_process.root, 2)

    async def ask(client: Client) -> Any:
        await client.call_tool("proxy_clear_traffic", {})
        return (await client.call_tool("proxy_list_traffic", {})).structured_content

    found = in_process.run(ask)
    assert (found["status"], found["rows"], found["matched"]) == ("success", [], 0)
    assert found["next"] == "proxy_list_sessions"


def test_an_empty_table_keeps_its_columns() -> None:
    empty = listed([])
    assert isinstance(empty, ExchangeTable)
    assert lean(empty)["rows"] == []
