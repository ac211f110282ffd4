"""``python -m bench.answers``: makes a session, indexes it, asks it, and writes how long that took.

The questions go through the tools of MCP, in this process: what is measured is the answer, not the pipe. Run it while
nothing else runs; the whole is a million exchanges and takes an hour, of which most is the index of substrings.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcp.client import Client

from bench.answers.session import FREQUENT, RARE, Made, make
from wiretape.daemon.service import Service
from wiretape.mcpserver.server import make_server
from wiretape.session.index.database import INDEX
from wiretape.session.query.text_index import TEXT
from wiretape.session.session import Session
from wiretape.settings import McpSettings, UpstreamSettings

_RESULTS = Path(__file__).parent.parent / "results"
FULL, QUICK = 1_000_000, 10_000
CALLS = 50


@dataclass(frozen=True, slots=True)
class Question:
    """A question: its line in the table, the tool and arguments that ask it, and ms within which p95 is to lie."""

    title: str
    tool: str
    arguments: dict[str, Any]
    goal: float


def questions(exchanges: int) -> list[Question]:
    """Return the questions of a session with so many exchanges."""

    def page(title: str, **arguments: Any) -> Question:
        return Question(f"first page, {title}", "proxy_query_session", {"limit": 20, **arguments}, 20)

    def bodies(title: str, text: str, goal: float, **arguments: Any) -> Question:
        found = {"text": text, "content_type_contains": "json", "limit": 20, **arguments}
        return Question(f"substring in bodies, {title}", "proxy_search_session_bodies", found, goal)

    return [
        page("newest"),
        page("method", method="DELETE"),
        page("status 5xx", status_code="5xx"),
        page("status 422", status_code=422),
        page("host", hostname_contains="pay.acme"),
        page("time", from_ts=0, to_ts=1_790_000_100_000, sort="asc"),
        Question("substring in URLs", "proxy_query_session", {"url_contains": "invoices/49999", "limit": 20}, 150),
        Question("one exchange by seq", "proxy_get_session_exchange", {"seq": exchanges // 2}, 3),
        bodies("rare, first 20", RARE, 200),
        bodies("frequent, first 20", FREQUENT, 200),
        bodies("none", "nowhere-to-be-found", 200),
        Question("overview", "proxy_session_overview", {}, 500),
        Question(
            "SQL, count by host", "proxy_sql", {"query": "SELECT host, count(*) FROM exchanges GROUP BY host"}, 500
        ),
    ]


@contextmanager
def _timed(figures: dict[str, float], name: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    figures[name] = time.perf_counter() - begun


def main() -> int:
    """Measure and write; 0."""
    options = _options()
    exchanges = options.exchanges or (QUICK if options.quick else FULL)
    folder = Path(options.root or tempfile.mkdtemp(prefix="wiretape-answers-"))
    try:
        result = measure(folder, exchanges, substrings=not options.no_substrings)
    finally:
        if options.root is None:
            shutil.rmtree(folder, ignore_errors=True)
    result["command"] = shlex.join(["python", "-m", "bench.answers", *sys.argv[1:]])
    name = options.name or ("answers-quick" if options.quick else "answers")
    results = Path(options.results)
    (results / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    page = table(result)
    (results / f"{name}.md").write_text(page)
    print(page)
    return 0


def measure(folder: Path, exchanges: int, *, substrings: bool) -> dict[str, Any]:
    """Make a session below ``folder`` and measure it."""
    seconds: dict[str, float] = {}
    with _timed(seconds, "made"):
        made = make(folder, exchanges)
    with Session(made.session.path, made.session.session_id) as session:
        with _timed(seconds, "followed"):
            session.follow()
        if substrings:
            with _timed(seconds, "substrings"):
                session.index_text(2**50, lambda: None)
    asked = asyncio.run(_ask(folder, questions(exchanges)))
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "exchanges": exchanges,
        "logBytes": made.log_bytes,
        "textBytes": made.text_bytes,
        "indexBytes": _size(made, INDEX),
        "substringBytes": _size(made, TEXT),
        "seconds": seconds,
        "questions": asked,
    }


def _size(made: Made, name: str) -> int:
    path = made.session.path / name
    return path.stat().st_size if path.exists() else 0


async def _ask(root: Path, asked: list[Question]) -> list[dict[str, Any]]:
    service = Service(root, UpstreamSettings())
    try:
        async with Client(make_server(service, McpSettings(toolsets=("all",), reveal=True))) as client:
            return [{**asdict(question), **await _times(_call(client, question))} for question in asked]
    finally:
        await service.close()


def _call(client: Client, question: Question) -> Callable[[], Awaitable[Any]]:
    async def call() -> Any:
        result = await client.call_tool(question.tool, {"session_id": "last", **question.arguments})
        assert not result.is_error, result.content
        return result

    return call


async def _times(call: Callable[[], Awaitable[Any]]) -> dict[str, float]:
    """Call CALLS times, after one that counts for itself; return milliseconds."""
    times = []
    for _ in range(CALLS + 1):
        begun = time.perf_counter()
        await call()
        times.append((time.perf_counter() - begun) * 1000)
    first, *rest = times
    rest.sort()
    return {"first": first, "p50": rest[len(rest) // 2], "p95": rest[int(len(rest) * 0.95)]}


def table(result: dict[str, Any]) -> str:
    """Return the figures as a page."""
    count, seconds = result["exchanges"], result["seconds"]
    size, text = result["logBytes"], result["textBytes"]
    made = f"{count:,} exchanges, a log of {size / 1e6:,.0f} MB, {text / 1e6:,.0f} MB of decoded text"
    lines = [
        "# How long answers take",
        "",
        f"`{result['command']}`, {result['date']}: {made}.",
        f"Milliseconds of {CALLS} calls through the tools of MCP.",
        "",
        "| | figure | goal |",
        "|---|---:|---:|",
        f"| index following, one core, exchanges a second | {count / seconds['followed']:,.0f} | 40,000 |",
        f"| index, of the log | {100 * result['indexBytes'] / size:.0f} % | 25 % |",
    ]
    if "substrings" in seconds:
        rate, share = text / 1e6 / seconds["substrings"], 100 * result["substringBytes"] / text
        lines += [
            f"| index of substrings, MB of text a second | {rate:.1f} | |",
            f"| index of substrings, of the text | {share:.0f} % | 90 % |",
        ]
    lines += ["", "| question | first call | p50 | p95 | goal |", "|---|---:|---:|---:|---:|"]
    lines += [
        f"| {one['title']} | {one['first']:.1f} | {one['p50']:.1f} | {one['p95']:.1f} | {one['goal']:g} |"
        for one in result["questions"]
    ]
    return "\n".join([*lines, ""])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.answers", description="how long answers take")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} exchanges instead of {FULL:,}")
    parser.add_argument("--exchanges", type=int, default=0, help="so many exchanges")
    parser.add_argument("--no-substrings", action="store_true", help="make no index of substrings")
    parser.add_argument("--root", help="folder for the session, which stays; default a temporary one")
    parser.add_argument("--results", default=str(_RESULTS), help="folder for the results")
    parser.add_argument("--name", help="what they are called there; answers, or answers-quick")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
