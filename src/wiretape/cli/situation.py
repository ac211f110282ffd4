"""What is going on, in sentences: for ``wiretape status`` and for who types ``wiretape`` alone."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wiretape.cli.output import many, shorten, size_text
from wiretape.cli.session_lines import when_text
from wiretape.daemon.client import request
from wiretape.errors import NotFoundError, WiretapeError

if TYPE_CHECKING:
    from wiretape.model import SessionSummary


def daemon_status(root: Path) -> dict[str, Any] | None:
    """Return what the root's daemon says of itself, None where none runs.

    Raises:
        DaemonError: it does not answer.
    """
    try:
        return request(root, {"cmd": "status"})
    except NotFoundError as error:
        if error.code != "no-daemon":
            raise
        return None


def sentences(root: Path, status: dict[str, Any] | None) -> list[str]:
    """Return what is going on, a sentence a line; warnings last."""
    if status is None:
        return [f"No daemon runs for {root}.", _sessions(root)]
    pid = status.get("pid")
    lines = [f"A daemon runs (pid {pid}){_proxy(status)}"]
    if status.get("recording"):
        flight = f", {status['inFlight']} in flight" if status.get("inFlight") else ""
        lines.append(
            f"It records session {status['sessionId']}: {many(status['exchanges'], 'exchange')} so far{flight}."
        )
        refused = status.get("refused", 0)
        if refused:
            lines.append(
                f"{many(refused, 'request')} {'was' if refused == 1 else 'were'} refused before there was an exchange;"
                " `wiretape query last` says which."
            )
    elif status.get("running"):
        lines.append("It does not record: traffic passes.")
    if status.get("mcp"):
        lines.append(f"MCP is at {status['mcp']}; clients trust {status['caCert']}.")
    free = status.get("diskFree")
    lines.append(_sessions(root, free if isinstance(free, int) else None))
    background = status.get("background") or {}
    if background.get("total"):
        done = 100 * background["done"] // background["total"]
        lines.append(f"In the background it recovers sessions: {done} % done.")
    lines += [str(warning) for warning in status.get("warnings", [])]
    return lines


def _proxy(status: dict[str, Any]) -> str:
    return f"; its proxy is {status['url']}." if status.get("url") else "; no proxy."


def _sessions(root: Path, free: int | None = None) -> str:
    """Say what is recorded; a root that cannot be read holds nothing that could be told."""
    found: list[SessionSummary] = []
    count = 0
    if (root / "sessions").is_dir():
        from wiretape.session.catalogue import Catalogue  # noqa: PLC0415  it brings the index and the log with it

        with contextlib.suppress(WiretapeError):
            catalogue = Catalogue(root)
            count = len(catalogue.ids())
            found = catalogue.list(limit=1)
    tail = f"; {size_text(free)} free." if free is not None else "."
    if not count:
        return f"Nothing is recorded yet{tail}"
    said = many(count, "session")
    if found:
        last = found[0]
        when = when_text(last.started_at, datetime.now().astimezone())
        said += f", the last one {shorten(last.name, 32)!r} ({when}, {many(last.exchanges, 'exchange')})"
    return said + tail


def three_lines(root: Path) -> list[str]:
    """Return what is being recorded, what was recorded last, and what to type."""
    try:
        status = daemon_status(root)
    except WiretapeError as error:
        return [error.message, _sessions(root), f"Try: {error.hint}" if error.hint else "Try: wiretape doctor"]
    if status is None:
        now, next_step = "Nothing is being recorded.", "wiretape run -- CMD records one command; wiretape serve a proxy"
    elif status.get("recording"):
        now = f"Recording at {status['url']}: {many(status['exchanges'], 'exchange')} in {status['sessionId']}."
        next_step = "wiretape show last; wiretape query last"
    else:
        now = "A daemon runs, and nothing is being recorded."
        next_step = "wiretape serve in a terminal, or an agent's proxy_start"
    last = _sessions(root)
    if status is None and not last.startswith("Nothing"):
        next_step = f"wiretape show last; {next_step}"
    return [now, last, f"Try: {next_step}."]
