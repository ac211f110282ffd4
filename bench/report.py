"""Results as JSON for programs and as a table in Markdown for people, medians and ratios included."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.goals import outcomes
from bench.measure import Measurement
from bench.peers.base import THIS, Peer
from bench.workloads import LATENCY_STRETCH, WORKLOADS, Extent

# Step and figure, title, unit, whether more is better: the rows that are no load's.
_OTHER_ROWS = (
    ("memory", "idle", "Memory, idle", "MiB", False),
    ("memory", "mcp", "Memory, idle, after the first MCP client", "MiB", False),
    ("memory", "load", "Memory, highest under load", "MiB", False),
    ("download", "rate", "The big download over HTTPS", "MB/s", True),
    ("download", "highest", "Memory, highest during it", "MiB", False),
    ("download", "after", "Memory, after it", "MiB", False),
)
_DIGITS = {"ms": 2, "×": 2, "%": 1}


@dataclass(frozen=True, slots=True)
class Results:
    """All that one run found."""

    command: str
    date: str
    machine: dict[str, str | int]
    disturbance: float
    extent: Extent
    peers: list[Peer]
    versions: dict[str, str]
    tool_limits: dict[str, float]
    measurements: list[Measurement]
    failures: dict[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a figure's medians, by peer."""

    key: str
    title: str
    unit: str
    more_is_better: bool
    medians: dict[str, float]


def sound(results: Results) -> bool:
    """Whether everything was measured and everything answered was recorded."""
    accounts = [m.account for m in results.measurements if m.account is not None]
    return not results.failures and all(account.holds for account in accounts)


def rows(results: Results) -> list[Row]:
    """The table's lines, each peer's median over the rounds."""
    found = []
    for workload in WORKLOADS:
        for figure in workload.figures:
            medians = _medians(results, workload.key, figure)
            title = f"{workload.title}, {figure}" if figure else workload.title
            row = Row(_row(workload.key, figure), title, workload.unit, workload.more_is_better, medians)
            found.append(row)
    for step, figure, title, unit, more_is_better in _OTHER_ROWS:
        found.append(Row(_row(step, figure), title, unit, more_is_better, _medians(results, step, figure)))
    return [row for row in found if row.medians]


def goals(results: Results) -> list[dict[str, Any]]:
    """What came of the goals that were measured, ready for JSON."""
    rounds: dict[int, dict[tuple[str, str, str], float]] = {}
    for m in results.measurements:
        for figure, value in m.figures.items():
            rounds.setdefault(m.round, {})[m.peer, m.workload, figure] = value
    return [
        {
            "title": outcome.goal.title,
            "unit": outcome.goal.unit,
            "goal": outcome.goal.bound,
            "before": outcome.before and asdict(outcome.before),
            "now": asdict(outcome.now),
            "reached": outcome.reached,
        }
        for outcome in outcomes(rounds.values())
    ]


def write(results: Results, folder: Path, *, name: str) -> str:
    """Write ``name``.json and ``name``.md into ``folder``; return the latter's text."""
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(results)
    (folder / f"{name}.json").write_text(json.dumps(document(results), indent=1, ensure_ascii=False) + "\n")
    (folder / f"{name}.md").write_text(text)
    return text


def markdown(results: Results) -> str:
    """The whole report for a reader."""
    parts = [
        f"# Benchmark of {results.date}\n",
        "```\n" + results.command + "\n```\n",
        method(document(results)),
        _peers(results),
        goal_table(goals(results)),
        _table(results),
        _ratios(results),
        _recorded(results),
        _limits(results),
    ]
    if results.failures:
        parts.append("## Not measured\n\n" + "".join(f"- {who}: {why}\n" for who, why in results.failures.items()))
    return "\n".join(part for part in parts if part)


def method(run: dict[str, Any]) -> str:
    """How a run, as it is kept in JSON, was measured."""
    machine, extent = run["machine"], run["extent"]
    rounds = f"medians of {extent['rounds']} rounds" if extent["rounds"] > 1 else "one round"
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memoryGiB']} GiB; {machine['kernel']}, "
        f"{machine['python']}. Each proxy alone on one core, load and origin (nginx) together on another; peers take "
        f"turns; {rounds} of {extent['seconds']:g} s, latency of {LATENCY_STRETCH * extent['seconds']:g} s. The big "
        f"download is {extent['big'] >> 20} MiB. Memory is the proportional set size of the whole process tree.\n"
    )


def goal_table(found: list[dict[str, Any]]) -> str:
    """The goals of a run, as they are kept in JSON: medians, lowest and highest of the rounds."""
    if not found:
        return ""
    lines = [_cells(["Goal", "", "before", "now", "reached"]), _rule(5)]
    for goal in found:
        verdict = {True: "yes", False: "no", None: "-"}[goal["reached"]]
        title = f"{goal['title']} ({goal['unit']})"
        lines.append(_cells([title, goal["goal"], _spread(goal, "before"), _spread(goal, "now"), verdict]))
    return "\n".join([*lines, ""])


def _spread(goal: dict[str, Any], side: str) -> str:
    spread = goal[side]
    if spread is None:
        return "-"
    middle, low, high = (_number(spread[name], goal["unit"]) for name in ("median", "low", "high"))
    return f"{middle} ({low} to {high})"


def _row(step: str, figure: str) -> str:
    return f"{step}-{figure}" if figure else step


def _medians(results: Results, workload: str, figure: str) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for measurement in results.measurements:
        if measurement.workload == workload and figure in measurement.figures:
            values.setdefault(measurement.peer, []).append(measurement.figures[figure])
    return {peer: median(found) for peer, found in values.items()}


def _peers(results: Results) -> str:
    lines = []
    for peer in results.peers:
        version = results.versions.get(peer.key, "not available")
        lines.append(f"- **{peer.title}** {version}: {peer.note}")
    return "\n".join([*lines, ""])


def _table(results: Results) -> str:
    columns = [peer for peer in results.peers if peer.key in results.versions]
    lines = [_cells(["", *(peer.title for peer in columns)]), _rule(len(columns) + 1)]
    for row in rows(results):
        figures = [_figure(row, row.medians.get(peer.key)) for peer in columns]
        lines.append(_cells([f"{row.title} ({row.unit})", *figures]))
    return "\n".join([*lines, ""])


def _figure(row: Row, value: float | None) -> str:
    return "-" if value is None else _number(value, row.unit)


def _number(value: float, unit: str) -> str:
    return f"{value:,.{_DIGITS.get(unit, 0)}f}"


def _ratios(results: Results) -> str:
    others = [p for p in results.peers if p.key not in {THIS, "direct"} and p.key in results.versions]
    lines = [_cells(["wiretape against", *(peer.title for peer in others)]), _rule(len(others) + 1)]
    added = []
    for row in rows(results):
        ratios = [_ratio(row, peer.key) for peer in others]
        if row.unit == "/s" and any(ratio is not None for ratio in ratios):
            lines.append(_cells([row.title, *("-" if r is None else f"{r:.2f} ×" for r in ratios)]))
        if row.unit == "ms" and "direct" in row.medians:
            added.append(_cells([row.title, *_added(row, [THIS, *(peer.key for peer in others)])]))
    text = "\n".join([*lines, ""]) if len(lines) > 2 else ""
    if added and THIS in results.versions:
        head = _cells(["Added by the proxy (ms)", "wiretape", *(peer.title for peer in others)])
        text += "\n" + "\n".join([head, _rule(len(others) + 2), *added, ""])
    return text


def _ratio(row: Row, other: str) -> float | None:
    ours, theirs = row.medians.get(THIS), row.medians.get(other)
    return ours / theirs if ours and theirs else None


def _added(row: Row, peers: list[str]) -> list[str]:
    return [f"{row.medians[key] - row.medians['direct']:.2f}" if key in row.medians else "-" for key in peers]


def _recorded(results: Results) -> str:
    accounts = [m.account for m in results.measurements if m.account is not None]
    if not accounts:
        return ""
    answered, recorded = sum(a.answered for a in accounts), sum(a.recorded for a in accounts)
    broken = [m for m in results.measurements if m.account is not None and not m.account.holds]
    verdict = "all that was answered was recorded" if not broken else "NOT ALL THAT WAS ANSWERED WAS RECORDED"
    text = f"{answered:,} answered, {recorded:,} recorded, in {len(accounts)} sessions: {verdict}.\n"
    for m in broken:
        text += f"- {m.workload}, round {m.round}: {m.account}\n"
    return text


def _limits(results: Results) -> str:
    busy = _busy_side(results)
    tools = ", ".join(f"{name} {rate:,.0f}/s" for name, rate in results.tool_limits.items())
    text = ""
    if results.disturbance > 0.05:
        text += f"Other programs used {results.disturbance:.0%} of the machine just before: trust the ratios only.\n\n"
    text += 'The column "no proxy" is what load and origin reach together on their one core.'
    text += f" Other tools there: {tools}.\n" if tools else "\n"
    if busy:
        text += "\nLimited by the load's core rather than the proxy's, so that the proxy could do more: " + busy + ".\n"
    return text


def _busy_side(results: Results) -> str:
    """Where the load's core was the busier one and had nothing left."""
    found: dict[str, None] = {}
    for m in results.measurements:
        load, proxy = m.busy.get("load", 0.0), m.busy.get("proxy", 1.0)
        if m.peer != "direct" and "" in m.figures and load > 0.97 and proxy < 0.95:
            found[f"{m.peer} {m.workload}"] = None
    return ", ".join(found)


def document(results: Results) -> dict[str, Any]:
    """All of it, ready for JSON."""
    return {
        "command": results.command,
        "date": results.date,
        "machine": results.machine,
        "disturbance": round(results.disturbance, 3),
        "extent": asdict(results.extent),
        "peers": {p.key: {"version": results.versions.get(p.key), "note": p.note} for p in results.peers},
        "toolLimits": {name: round(rate) for name, rate in results.tool_limits.items()},
        "medians": {row.key: {"unit": row.unit, **_rounded(row.medians)} for row in rows(results)},
        "goals": goals(results),
        "ratios": {row.key: _all_ratios(row) for row in rows(results) if row.unit == "/s"},
        "measurements": [_measurement(m) for m in results.measurements],
        "failures": results.failures,
        "sound": sound(results),
    }


def _all_ratios(row: Row) -> dict[str, float]:
    ratios = {other: _ratio(row, other) for other in row.medians if other != THIS}
    return {other: round(ratio, 3) for other, ratio in ratios.items() if ratio is not None}


def _measurement(m: Measurement) -> dict[str, Any]:
    account = {**asdict(m.account), "holds": m.account.holds} if m.account is not None else None
    return {
        "workload": m.workload,
        "peer": m.peer,
        "round": m.round,
        "figures": _rounded(m.figures),
        "errors": m.errors,
        "busy": _rounded(m.busy),
        "account": account,
    }


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}


def _cells(texts: list[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _rule(columns: int) -> str:
    return "|---|" + "---:|" * (columns - 1)
