"""``python -m bench.answers``: makes a session, indexes it, asks it, carries it away, and writes how long that took.

The questions go through the tools of MCP, in this process: what is measured is the answer, not the pipe. Run it while
nothing else runs. ``--no-substrings`` leaves out the index of substrings, which takes most of the time at a million,
and the questions that it answers.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.answers import asking
from bench.answers.carrying import EXCHANGES, carry
from bench.answers.session import FREQUENT, RARE, Made, make
from bench.pages import command_of, write_page
from wiretape.secrets.veil import UNVEILED
from wiretape.session.answers.search import Search
from wiretape.session.index.database import INDEX
from wiretape.session.query.needles import Needle
from wiretape.session.query.text_index import TEXT
from wiretape.session.session import Session

_RESULTS = Path(__file__).parent.parent / "results"
FULL, QUICK = 1_000_000, 10_000
CALLS = 50
_REGEX = r"wa[rt]er[a-z]+ nowhere-\d+"
"""Of the searches that read every body: it stands in none."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question: its line in the table, the tool and arguments that ask it, and ms within which p95 is to lie."""

    title: str
    tool: str
    arguments: dict[str, Any]
    goal: float


def questions(exchanges: int, session_id: str) -> list[Question]:
    """Return the questions of a session with so many exchanges."""

    def page(title: str, goal: float = 20, **arguments: Any) -> Question:
        return Question(f"first page, {title}", "proxy_query_session", {"limit": 20, **arguments}, goal)

    def bodies(title: str, text: str, goal: float, **arguments: Any) -> Question:
        found = {"text": text, "content_type_contains": "json", "limit": 20, **arguments}
        return Question(f"substring in bodies, {title}", "proxy_search_session_bodies", found, goal)

    def resource(name: str) -> Question:
        return Question(name, f"proxy://sessions/{session_id}/{name}", {}, 500)

    return [
        page("newest"),
        page("method", method="DELETE"),
        page("status 5xx", status_code="5xx"),
        page("status 422", status_code=422),
        page("host", hostname_contains="pay.acme"),
        page("time", from_ts=0, to_ts=1_790_000_100_000, sort="asc"),
        page("a header", filter="~hq x-served-by:nobody | ~hs 'x-served-by: node-7$'"),
        page("substring in URLs, rare", 150, url_contains="invoices/49999"),
        page("substring in URLs, none", 150, url_contains="nowhere-to-be-found"),
        page("substring in URLs, frequent", 150, url_contains="invoices"),
        page("regex on URLs", 150, filter=r"~u invoices/4999[0-9]\?.*page=7&"),
        Question("one exchange by seq", "proxy_get_session_exchange", {"seq": exchanges // 2}, 3),
        bodies("rare, first 20", RARE, 200),
        bodies("frequent, first 20", FREQUENT, 200),
        bodies("none", "nowhere-to-be-found", 200),
        Question("overview", "proxy_session_overview", {}, 500),
        resource("timeline"),
        resource("findings"),
        Question(
            "SQL, count by host", "proxy_sql", {"query": "SELECT host, count(*) FROM exchanges GROUP BY host"}, 500
        ),
    ]


@contextmanager
def _timed(figures: dict[str, float], name: str) -> Iterator[None]:
    begun, cpu = time.perf_counter(), time.process_time()
    yield
    figures[name] = time.perf_counter() - begun
    figures[f"{name}Cpu"] = time.process_time() - cpu


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
    name = options.name or ("answers-quick" if options.quick else "answers")
    result["command"] = command_of("bench.answers")
    page = f"# How long answers take\n\n{table(result)}"
    write_page(Path(options.results), name, result, page)
    return 0


def measure(folder: Path, exchanges: int, *, substrings: bool) -> dict[str, Any]:
    """Make a session below ``folder`` and measure it."""
    seconds: dict[str, float] = {}
    carried = carry(folder / "carried", min(exchanges, EXCHANGES))
    root = folder / "asked"
    bodies = "proxy_search_session_bodies"
    with _timed(seconds, "made"):
        made = make(root, exchanges)
    with Session(made.session.path, made.session.session_id) as session:
        with _timed(seconds, "followed"):
            session.follow()
        scanned = _scan(session, made)
        if substrings:
            with _timed(seconds, "substrings"):
                session.index_more(2**50, lambda: None)
            with _timed(seconds, "total"):
                _count(session, FREQUENT)
    asked = [one for one in questions(exchanges, made.session.session_id) if substrings or one.tool != bodies]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "exchanges": exchanges,
        "logBytes": made.log_bytes,
        "textBytes": made.text_bytes,
        "indexBytes": _size(made, INDEX),
        "substringBytes": _size(made, TEXT),
        "seconds": seconds,
        "scan": scanned,
        "carried": carried,
        "questions": asyncio.run(_ask(root, asked)),
    }


def _scan(session: Session, made: Made) -> dict[str, float]:
    """Look for an expression in every body, without an index: MB of text a second, and ms to the first hit."""
    begun = time.perf_counter()
    next(Search(session, Needle(FREQUENT + ".{0,3}", regex=True), veil=UNVEILED, bodies_only=True).items())
    first = time.perf_counter() - begun
    begun, cpu = time.perf_counter(), time.process_time()
    for _ in Search(session, Needle(_REGEX, regex=True), veil=UNVEILED, bodies_only=True).items():
        pass
    took, used = time.perf_counter() - begun, time.process_time() - cpu
    megabytes = made.text_bytes / 1e6
    return {"firstMs": first * 1000, "rate": megabytes / took, "cpuRate": megabytes / used}


def _count(session: Session, text: str) -> None:
    job = Search(session, Needle(text), veil=UNVEILED, bodies_only=True)
    job.brief = True
    for _ in job.items():
        pass


def _size(made: Made, name: str) -> int:
    path = made.session.path / name
    return path.stat().st_size if path.exists() else 0


async def _ask(root: Path, asked: list[Question]) -> list[dict[str, Any]]:
    async with asking.client_of(root) as client:
        found = []
        for question in asked:
            first, *rest = await asking.times(asking.call(client, question.tool, question.arguments), CALLS)
            rest.sort()
            figures = {"first": first, "p50": rest[len(rest) // 2], "p95": rest[int(len(rest) * 0.95)]}
            found.append({**asdict(question), **figures})
        return found


def table(result: dict[str, Any]) -> str:
    """Return the figures as a table."""
    count, seconds = result["exchanges"], result["seconds"]
    size, text, scan, carried = result["logBytes"], result["textBytes"], result["scan"], result["carried"]
    made = f"{count:,} exchanges, a log of {size / 1e6:,.0f} MB, {text / 1e6:,.0f} MB of decoded text"
    lines = [
        f"`{result['command']}`, {result['date']}: {made}.",
        f"Milliseconds of {CALLS} calls through the tools of MCP.",
        "",
        "| | figure | goal |",
        "|---|---:|---:|",
        f"| index following, exchanges a second of one core | {count / seconds['followedCpu']:,.0f} | 40,000 |",
        f"| rebuild without the index of substrings, s | {seconds['followed']:,.1f} | 30 at a million |",
        f"| index, of the log | {100 * result['indexBytes'] / size:.0f} % | 25 % |",
        f"| regex over all bodies, unindexed, MB a second of one core | {scan['cpuRate']:,.0f} | 100 |",
        f"| the same, first hit, ms | {scan['firstMs']:,.0f} | 200 |",
    ]
    if "substrings" in seconds:
        rate, share = text / 1e6 / seconds["substrings"], 100 * result["substringBytes"] / text
        lines += [
            f"| index of substrings, MB of text a second | {rate:.1f} | |",
            f"| index of substrings, of the text | {share:.0f} % | 90 % |",
            f"| exact total of a frequent substring, s | {seconds['total']:.1f} | 1 |",
        ]
    for name in ("export", "import"):
        one = carried[name]
        lines += [
            f"| HAR {name} of {carried['exchanges']:,}, exchanges a second | {one['rate']:,.0f} | 20,000 |",
            f"| the same, memory of the process, MiB | {one['mib']:,.0f} | 200 |",
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
    parser.add_argument("--root", help="folder for the sessions, which stays; default a temporary one")
    parser.add_argument("--results", default=str(_RESULTS), help="folder for the results")
    parser.add_argument("--name", help="what they are called there; answers, or answers-quick")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
