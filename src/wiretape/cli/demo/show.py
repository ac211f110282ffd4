"""The demonstration from start to end."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from wiretape.cli.demo.account import Account, make_account, read_witness
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.stage import Daemon, Helper, ask, kill
from wiretape.cli.demo.waiting import wait_until
from wiretape.cli.output import note, write_line
from wiretape.daemon.client import request
from wiretape.errors import DaemonError

BEFORE_FIRST = 600
"""Answers that the client has received when the recorder is killed."""

BEFORE_SECOND = 600
"""Further answers, given by the recorder's successor, when everything is killed."""

Say = Callable[[str], None]


def show(root: Path | None, *, quiet: bool) -> dict[str, Any]:
    """Run the demonstration and return the account as one document.

    Args:
        root: where to record and leave everything, or None for a folder that is removed.
        quiet: print nothing on the way; the caller prints the document.

    Raises:
        DaemonError: a process did not come up, or the traffic stopped; nothing is left running.
    """
    start = time.monotonic()

    def say(text: str) -> None:
        if not quiet:
            write_line(f"{time.monotonic() - start:6.1f} s  {text}")

    with tempfile.TemporaryDirectory(prefix="wiretape-demo-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        kept = folder / "root" if root is None else root
        session_id, back = _traffic(kept, folder, say)
        result = _settle(kept, session_id, folder, say)
    result |= {"seconds": round(time.monotonic() - start, 1), "backAfterSeconds": round(back, 3)}
    if root is not None:
        result |= {"root": str(root), "sessionId": session_id}
    if not quiet:
        _print(result)
    return result


def _traffic(root: Path, folder: Path, say: Say) -> tuple[str, float]:
    """Record, kill the recorder, let it come back, kill everything; return the session and the seconds of the gap."""
    client_log, origin_log = folder / "client.log", folder / "origin.log"
    client_log.touch()
    authority = OriginCA(folder)
    with contextlib.ExitStack() as stack:
        origin = Helper("wiretape.cli.demo.origin", "--log", str(origin_log), *authority.issue().arguments())
        stack.callback(origin.close)
        ports = origin.first_line()
        options = ("--session", "demo", "--upstream-ca", str(authority.pem))
        daemon = Daemon(root, *options, messages=folder / "daemon.log")
        stack.callback(daemon.close)
        ready = daemon.ready
        say(f"recording on {daemon.address}, session {ready['sessionId']}")
        client = Helper(
            "wiretape.cli.demo.client",
            *("--proxy", daemon.address, "--ca", str(ready["caCert"]), "--log", str(client_log), "--name", "demo"),
            *("--http", str(ports["http"]), "--https", str(ports["https"])),
        )
        stack.callback(client.close)
        counter = AnswerCounter(client_log)
        wait_until(lambda: counter.count() >= BEFORE_FIRST, what="the first answers")
        victims = daemon.recorder_pids
        for pid in victims:
            kill(pid)
        at_kill = counter.count()
        say(f"SIGKILL to the recorder, process {victims[0]}, after {at_kill} answers")
        # What was on its way to the client at the kill may still be counted: a successor's answers are later ones.
        successors = _successors(root, victims)
        begun = time.monotonic()
        wait_until(lambda: counter.count() > at_kill + 20, what="answers from the recorder's successor")
        back = time.monotonic() - begun
        say(f"the successor, process {successors[0]}, answers on the same port")
        wait_until(lambda: counter.count() >= at_kill + BEFORE_SECOND, what="further answers")
        kill(daemon.process.pid)
        for pid in successors:
            kill(pid)
        say(f"SIGKILL to daemon and recorder at once, after {counter.count()} answers")
    return str(ready["sessionId"]), back


def _successors(root: Path, before: list[int]) -> list[int]:
    """Wait for the recorders that took the place of those that were killed, and return their process ids."""
    found: list[int] = []

    def look() -> bool:
        found[:] = [int(pid) for pid in request(root, {"cmd": "status"}).get("recorderPids", [])]
        return bool(found) and not set(found) & set(before)

    wait_until(look, what="a new recorder")
    return found


def _settle(root: Path, session_id: str, folder: Path, say: Say) -> dict[str, Any]:
    """Recover and hold the session against what client and servers saw."""
    status, recovered = ask("recover", session_id, "--root", str(root))
    say(f"recovered (exit status {status})")
    _, verified = ask("verify", session_id, "--root", str(root))
    with session_lines(root, session_id) as lines:
        account = make_account(read_witness(folder / "client.log", folder / "origin.log"), lines)
    say("compared every exchange and every body byte with what client and servers saw")
    agrees = agreement(account, recovered, verified)
    return {"holds": account.holds and not agrees, **account.to_json(), "disagreements": agrees}


class AnswerCounter:
    """Counts the answers in a client's log as it grows, reading only what is new."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._count = 0

    def count(self) -> int:
        """Return the number of answers so far."""
        with self._path.open("rb") as file:
            file.seek(self._position)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        self._count += sum(line.startswith(b"answered ") for line in whole.splitlines())
        return self._count


@contextlib.contextmanager
def session_lines(root: Path, session_id: str) -> Iterator[Iterable[bytes]]:
    """Run ``wiretape cat`` and return its lines.

    Raises:
        DaemonError: it failed.
    """
    command = [sys.executable, "-m", "wiretape", "cat", session_id, "--root", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout
    if process.returncode:
        raise DaemonError(f"wiretape cat {session_id} ended with status {process.returncode}")


def agreement(account: Account, recovered: dict[str, Any], verified: dict[str, Any]) -> list[str]:
    """Say where recover, verify and the list of exchanges contradict each other; nothing when they agree."""
    report: dict[str, Any] = next(iter(recovered.get("recovered", [])), {})
    counted = {
        "recover exchanges": (report.get("exchanges"), account.lines),
        "verify exchanges": (verified.get("exchanges"), account.lines),
        "recover interrupted": (report.get("interrupted"), account.interrupted),
        "verify interrupted": (verified.get("interrupted"), account.interrupted),
        "recover lost": (report.get("lostExchanges"), 0),
        "verify lost": (verified.get("lostExchanges"), 0),
        "recover gaps": (len(report.get("gaps", ())), 0),
        "verify gaps": (len(verified.get("gaps", ())), 0),
    }
    return [f"{what}: {said} instead of {found}" for what, (said, found) in counted.items() if said != found]


def _print(result: dict[str, Any]) -> None:
    rows = [
        ("requests sent", result["sent"]),
        ("answered", result["answered"]),
        ("reached the servers", result["reachedServer"]),
        ("recorded", result["recorded"]),
        ("  complete", result["complete"]),
        ("  interrupted", result["interrupted"]),
        ("  aborted, failed", result["aborted"] + result["failed"]),
        ("lost", result["lost"]),
        ("seen by a server, not recorded", result["unseen"]),
        ("recorded twice", result["twice"]),
        ("wrong bytes", result["wrong"]),
        ("seconds", result["seconds"]),
    ]
    write_line()
    for name, value in rows:
        write_line(f"  {name:<32}{value:>10}")
    write_line()
    for sentence in result["disagreements"]:
        note(sentence)
    for kind, examples in result["faults"].items():
        for example in examples:
            note(f"{kind}: {example} {examples[example] if isinstance(examples, dict) else ''}")
