"""Results as JSON for programs and as a table in Markdown for people, medians and ratios included."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import Measurement
from bench.peers.base import Peer
from bench.workloads import WORKLOADS, Extent

_US = "wiretape"
_QUIET = "wiretape-no-record"
_MEMORY_ROWS = {
    "idle": "Memory, idle",
    "load": "Memory, highest under load",
    "download": "Memory, highest during the big download",
    "after": "Memory, after it",
    "download-seconds": "The big download over HTTPS",
}
# What wiretape sets out to reach: name, workload, against whom, at least this ratio.
_TARGETS = (
    ("HTTP against mockttp", "http", "mockttp", 5.0),
    ("HTTP against mitmproxy", "http", "mitmproxy", 20.0),
    ("HTTPS against mockttp", "https", "mockttp", 4.0),
    ("HTTPS against mitmproxy", "https", "mitmproxy", 15.0),
    ("HTTP, recording against not recording", "http", _QUIET, 0.8),
    ("HTTPS, recording against not recording", "https", _QUIET, 0.8),
)


@dataclass(frozen=True, slots=True)
class Results:
    """All that one run found."""

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
            key = f"{workload.key}-{figure}" if figure else workload.key
            found.append(Row(key, title, workload.unit, workload.more_is_better, medians))
    for figure, title in _MEMORY_ROWS.items():
        unit = "s" if figure == "download-seconds" else "MiB"
        found.append(Row(f"memory-{figure}", title, unit, False, _medians(results, "memory", figure)))
    return [row for row in found if row.medians]


def write(results: Results, folder: Path, *, name: str) -> str:
    """Write ``name``.json and ``name``.md into ``folder``; return the latter's text."""
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(results)
    (folder / f"{name}.json").write_text(json.dumps(_document(results), indent=1, ensure_ascii=False) + "\n")
    (folder / f"{name}.md").write_text(text)
    return text


def markdown(results: Results) -> str:
    """The whole report for a reader."""
    parts = [
        _heading(results),
        _table(results),
        _ratios(results),
        _targets(results),
        _recorded(results),
        _limits(results),
    ]
    if results.failures:
        parts.append("## Not measured\n\n" + "".join(f"- {who}: {why}\n" for who, why in results.failures.items()))
    return "\n".join(part for part in parts if part)


def _medians(results: Results, workload: str, figure: str) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for measurement in results.measurements:
        if measurement.workload == workload:
            values.setdefault(measurement.peer, []).append(measurement.figures[figure])
    return {peer: median(found) for peer, found in values.items()}


def _heading(results: Results) -> str:
    machine, extent = results.machine, results.extent
    rounds = f"medians of {extent.rounds} rounds" if extent.rounds > 1 else "one round"
    method = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memoryGiB']} GiB; {machine['kernel']}, "
        f"{machine['python']}. Each proxy alone on one core, load and origin (nginx) together on another; peers take "
        f"turns; {rounds} of {extent.seconds:g} s. The big download is {extent.big >> 20} MiB. Memory is the "
        "proportional set size of the whole process tree."
    )
    lines = [f"# Benchmark of {results.date}", "", method, ""]
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
    if value is None:
        return "-"
    return f"{value:,.2f}" if row.unit in {"ms", "s"} else f"{value:,.0f}"


def _ratios(results: Results) -> str:
    others = [p for p in results.peers if p.key not in {_US, "direct"} and p.key in results.versions]
    lines = [_cells(["wiretape against", *(peer.title for peer in others)]), _rule(len(others) + 1)]
    added = []
    for row in rows(results):
        ratios = [_ratio(row, peer.key) for peer in others]
        if row.unit == "/s" and any(ratio is not None for ratio in ratios):
            lines.append(_cells([row.title, *("-" if r is None else f"{r:.2f} ×" for r in ratios)]))
        if row.unit == "ms" and "direct" in row.medians:
            added.append(_cells([row.title, *_added(row, [_US, *(peer.key for peer in others)])]))
    text = "\n".join([*lines, ""]) if len(lines) > 2 else ""
    if added and _US in results.versions:
        head = _cells(["Added by the proxy (ms)", "wiretape", *(peer.title for peer in others)])
        text += "\n" + "\n".join([head, _rule(len(others) + 2), *added, ""])
    return text


def _ratio(row: Row, other: str) -> float | None:
    ours, theirs = row.medians.get(_US), row.medians.get(other)
    return ours / theirs if ours and theirs else None


def _added(row: Row, peers: list[str]) -> list[str]:
    return [f"{row.medians[key] - row.medians['direct']:.2f}" if key in row.medians else "-" for key in peers]


def _targets(results: Results) -> str:
    by_key = {row.key: row for row in rows(results)}
    lines = []
    for title, workload, other, wanted in _TARGETS:
        ratio = _ratio(by_key[workload], other) if workload in by_key else None
        if ratio is not None:
            lines.append(_cells([title, f"{wanted:g} ×", f"{ratio:.2f} ×", "yes" if ratio >= wanted else "no"]))
    if not lines:
        return ""
    return "\n".join([_cells(["Target", "at least", "measured", "reached"]), _rule(4), *lines, ""])


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


def _document(results: Results) -> dict[str, Any]:
    return {
        "date": results.date,
        "machine": results.machine,
        "disturbance": round(results.disturbance, 3),
        "extent": asdict(results.extent),
        "peers": {p.key: {"version": results.versions.get(p.key), "note": p.note} for p in results.peers},
        "toolLimits": {name: round(rate) for name, rate in results.tool_limits.items()},
        "medians": {row.key: {"unit": row.unit, **_rounded(row.medians)} for row in rows(results)},
        "ratios": {row.key: _all_ratios(row) for row in rows(results) if row.unit == "/s"},
        "measurements": [_measurement(m) for m in results.measurements],
        "failures": results.failures,
        "sound": sound(results),
    }


def _all_ratios(row: Row) -> dict[str, float]:
    ratios = {other: _ratio(row, other) for other in row.medians if other != _US}
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
