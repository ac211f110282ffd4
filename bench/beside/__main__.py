"""``python -m bench.beside``: wiretape, proxy-mcp's method, mitmproxy's reader and DuckDB on Parquet, side by side.

All four are asked the same questions about the same recording, each in a process of its own that asks nothing else, and
their answers are compared: a time of a wrong answer counts for nothing. Run it while nothing else runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench import install
from bench.answers.asking import call, client_of, times
from bench.answers.session import RARE, make
from bench.beside.flat import write_flat
from bench.errors import BenchError
from bench.pages import command_of, write_page
from wiretape.model import Filter
from wiretape.secrets.veil import UNVEILED
from wiretape.session.answers.search import search
from wiretape.session.answers.timeline import timeline, totals
from wiretape.session.session import Session

_HERE: Final = Path(__file__).parent
_RESULTS: Final = _HERE.parent / "results"
EXCHANGES: Final = 100_000
_CALLS: Final = {"wiretape": 20, "proxy-mcp": 3, "mitmproxy": 1, "DuckDB": 10}
_ASKED: Final = {"mitmproxy": ("status", "text")}
"""Who is asked only some questions: mitmproxy reads the whole file for each, which takes a minute."""
_TITLES: Final = {
    "status": "newest page of 5xx",
    "url": "substring in URLs, newest page",
    "one": "one exchange by seq",
    "text": "substring in bodies, rare, first 20",
    "overview": "overview",
    "timeline": "timeline",
    "endpoints": "endpoints, the most frequent",
}


def questions(exchanges: int) -> list[dict[str, Any]]:
    """Return the questions as the peers' programs take them."""
    return [
        {"key": "status", "ask": "page", "status": 5},
        {"key": "url", "ask": "page", "url": "invoices/4999"},
        {"key": "one", "ask": "one", "seq": exchanges // 2},
        {"key": "text", "ask": "text", "text": RARE},
        {"key": "overview", "ask": "overview"},
        {"key": "timeline", "ask": "timeline"},
        {"key": "endpoints", "ask": "endpoints"},
    ]


def main() -> int:
    """Measure and write; 0."""
    options = _options()
    folder = Path(options.root or tempfile.mkdtemp(prefix="wiretape-beside-"))
    try:
        result = measure(folder, options.exchanges, options.only)
    finally:
        if options.root is None:
            shutil.rmtree(folder, ignore_errors=True)
    result["command"] = command_of("bench.beside")
    page = f"# Side by side\n\n{table(result)}"
    write_page(Path(options.results), options.name, result, page)
    return 0


def measure(folder: Path, exchanges: int, only: list[str] | None = None) -> dict[str, Any]:
    """Make a recording below ``folder`` and ask it of everyone, or of those in ``only``.

    Raises:
        BenchError: a peer's program failed.
    """
    asked = questions(exchanges)
    made = make(folder / "root", exchanges)
    flat = folder / "flat.ndjson"
    with Session(made.session.path, made.session.session_id) as session:
        session.follow()
        session.index_more(2**50, lambda: None)
        write_flat(session, flat)
        answers = {one["key"]: _answer(session, one) for one in asked}
    found = {"wiretape": asyncio.run(_ask_us(folder / "root", made.session.session_id, asked))}
    left: dict[str, str] = {}
    for name, command in _peers().items():
        if only is not None and name not in only:
            continue
        try:
            some = [one for one in asked if one["key"] in _ASKED.get(name, _TITLES)]
            found[name] = _ask_peer(command(), flat, folder / name.lower(), some, _CALLS[name])
        except BenchError as error:
            left[name] = str(error)
    flat.unlink()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "exchanges": exchanges,
        "textBytes": made.text_bytes,
        "times": {name: {key: median(one["times"]) for key, one in peer.items()} for name, peer in found.items()},
        "wrong": {
            name: [key for key, one in peer.items() if "answer" in one and not _agrees(answers[key], one["answer"])]
            for name, peer in found.items()
        },
        "left": left,
    }


def _agrees(ours: Any, theirs: Any) -> bool:
    """Return whether two answers are the same; which paths are one endpoint is everyone's own matter."""
    return ours is None or json.loads(json.dumps(ours)) == theirs


# -- wiretape ------------------------------------------------------------------------------------------------------


def _answer(session: Session, question: dict[str, Any]) -> Any:
    """Return our answer in the form of the peers' answers."""
    match question["ask"]:
        case "page":
            wanted = (
                Filter(status=f"{question['status']}xx")
                if "status" in question
                else Filter(url_contains=question["url"])
            )
            return [item.seq for item in session.query(wanted, limit=20).items]
        case "one":
            return [session.exchange(question["seq"]).seq]
        case "text":
            return [one.seq for one in search(session, question["text"], veil=UNVEILED, bodies_only=True).items]
        case "overview":
            return sorted([one.hostname, one.count] for one in totals(session, veil=UNVEILED).top_hostnames)
        case "timeline":
            return [[one.bucket_start, one.count] for one in timeline(session).timeline]
    return None


async def _ask_us(root: Path, session_id: str, asked: list[dict[str, Any]]) -> dict[str, Any]:
    tools: dict[str, tuple[str, dict[str, Any]]] = {
        "status": ("proxy_query_session", {"status_code": "5xx", "limit": 20}),
        "url": ("proxy_query_session", {"url_contains": "invoices/4999", "limit": 20}),
        "one": ("proxy_get_session_exchange", {"seq": next(one["seq"] for one in asked if one["key"] == "one")}),
        "text": ("proxy_search_session_bodies", {"text": RARE, "content_type_contains": "json", "limit": 20}),
        "overview": ("proxy_session_overview", {}),
        "timeline": (f"proxy://sessions/{session_id}/timeline", {}),
        "endpoints": ("proxy_session_overview", {"top": 50}),
    }
    async with client_of(root) as client:
        return {
            key: {"times": (await times(call(client, tool, arguments), _CALLS["wiretape"]))[1:]}
            for key, (tool, arguments) in tools.items()
        }


# -- the others ----------------------------------------------------------------------------------------------------


def _peers() -> dict[str, Callable[[], list[str]]]:
    """Return what starts each peer's program; calling it installs what it needs."""
    return {
        "proxy-mcp": lambda: [install.node(), "--max-old-space-size=8192", str(_HERE / "proxy_mcp.mjs")],
        "mitmproxy": lambda: [str(install.mitmdump().with_name("python")), "-m", "bench.beside.mitmproxy_reader"],
        "DuckDB": lambda: [str(install.duckdb()), "-m", "bench.beside.duckdb_parquet"],
    }


def _ask_peer(command: list[str], flat: Path, folder: Path, asked: list[dict[str, Any]], calls: int) -> Any:
    folder.mkdir()
    _run([*command, "make", str(flat), str(folder)])
    return json.loads(_run([*command, "ask", str(folder), str(calls), json.dumps(asked)]))


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3600, cwd=_HERE.parents[1])
    if done.returncode:
        raise BenchError(f"{command[-3]} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


# -- the table -----------------------------------------------------------------------------------------------------


def table(result: dict[str, Any]) -> str:
    """Return the figures as a table."""
    measured = list(result["times"])
    lines = [
        (
            f"`{result['command']}`, {result['date']}: {result['exchanges']:,} exchanges,"
            f" {result['textBytes'] / 1e6:,.0f} MB of text. Milliseconds, medians; in brackets how many times as long."
        ),
        "",
        f"| | {' | '.join(measured)} |",
        f"|---|{'---:|' * len(measured)}",
    ]
    for key, title in _TITLES.items():
        ours = result["times"]["wiretape"][key]
        cells = [_cell(result, name, key, ours) for name in measured]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines += ["", *(f"{name} was left out: {why}" for name, why in result["left"].items())]
    return "\n".join(lines).rstrip() + "\n"


def _cell(result: dict[str, Any], name: str, key: str, ours: float) -> str:
    if key not in result["times"][name]:
        return ""
    if key in result["wrong"][name]:
        return "another answer"
    took = result["times"][name][key]
    return f"{took:,.1f}" if name == "wiretape" else f"{took:,.1f} ({took / ours:,.1f})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.beside", description="wiretape and others, side by side")
    parser.add_argument("--exchanges", type=int, default=EXCHANGES, help=f"so many exchanges [default: {EXCHANGES:,}]")
    parser.add_argument("--only", action="append", help="this peer alone; may be given again")
    parser.add_argument("--root", help="folder for everything, which stays; default a temporary one")
    parser.add_argument("--results", default=str(_RESULTS), help="folder for the results")
    parser.add_argument("--name", default="beside", help="what they are called there")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
