"""One round: a fresh session, real traffic, a kill at a random moment, recovery, the account."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wiretape.cli.demo.account import make_account, read_witness
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.show import agreement, session_lines
from wiretape.cli.demo.stage import Daemon, Helper, ask, kill
from wiretape.cli.demo.waiting import wait_until

VICTIMS = ("recorder, daemon", "daemon", "both", "recorder, then daemon", "recorder, then stop")
"""What is killed, in order. After "then" the recorder has come back; "stop" ends the daemon cleanly."""

WRITER_DEADLINE = 20.0
"""Seconds that a recorder may go on after its daemon was killed: it finishes what runs, for two, and seals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What all rounds share: the origin's ports and log, the authority that signed its certificate."""

    folder: Path
    ports: dict[str, int]
    origin_log: Path
    authority: Path


@contextlib.contextmanager
def open_stage(folder: Path) -> Iterator[Stage]:
    """Start the origin that serves all rounds."""
    authority = OriginCA(folder)
    log = folder / "origin.log"
    log.touch()
    origin = Helper("wiretape.cli.demo.origin", "--log", str(log), *authority.issue().arguments())
    try:
        ports = origin.first_line()
        yield Stage(folder=folder, ports=ports, origin_log=log, authority=authority.pem)
    finally:
        origin.close()


def run_round(stage: Stage, number: int, seed: str, victim: str | None = None) -> dict[str, Any]:
    """Run round ``number`` and give its account: ``holds`` says whether every promise was kept.

    The round's folder is left to the caller. All that is drawn depends on ``seed`` and ``number`` alone; ``victim``,
    one of ``VICTIMS``, overrides what was drawn.

    Raises:
        DaemonError: a process did not come up or did not answer; nothing is left running.
    """
    chance = random.Random(f"{seed}/{number}")
    drawn = chance.choice(VICTIMS)
    victim = victim or drawn
    threads = chance.randint(4, 16)
    folder = stage.folder / f"round-{number}"
    folder.mkdir()
    client_log = folder / "client.log"
    client_log.touch()
    start_of_log = stage.origin_log.stat().st_size
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        arguments = ["--session", f"round-{number}", "--durability", chance.choice(("os", "group", "group", "always"))]
        arguments += ["--upstream-ca", str(stage.authority)]
        daemon = Daemon(folder / "root", *arguments, messages=folder / "daemon.log")
        stack.callback(daemon.close)
        client = Helper(
            "wiretape.cli.demo.client",
            *("--proxy", daemon.address, "--ca", str(daemon.ready["caCert"]), "--log", str(client_log)),
            *("--name", f"{seed}-{number}", "--seed", f"{seed}/{number}", "--threads", str(threads), "--rough"),
            *("--http", str(stage.ports["http"]), "--https", str(stage.ports["https"])),
        )
        stack.callback(client.close)
        wait_until(lambda: client_log.stat().st_size > 0, what="the first request")
        _strike(victim, daemon, chance, client_log)
    session_id = str(daemon.ready["sessionId"])
    result = {"round": number, "victim": victim, "threads": threads, "sessionId": session_id}
    result |= _settle(stage, folder, session_id, start_of_log)
    result["seconds"] = round(time.monotonic() - begun, 2)
    return result


def _strike(victim: str, daemon: Daemon, chance: random.Random, client_log: Path) -> None:
    """Let the traffic run for a random time, kill, and see that a recorder whose daemon lives has come back."""
    recorders = daemon.recorder_pids
    time.sleep(chance.uniform(0.02, 1.2))
    order = [kill_all(recorders), daemon.kill]
    if victim == "daemon":
        daemon.kill()
    elif victim == "both":
        chance.shuffle(order)
        for act in order:
            act()
    else:
        kill_all(recorders)()
        if "then" in victim:
            size = client_log.stat().st_size
            wait_until(lambda: client_log.stat().st_size > size + 2_000, what="traffic after the recorder was killed")
            time.sleep(chance.uniform(0.0, 0.4))
        if victim == "recorder, then daemon":
            daemon.kill()
        elif victim == "recorder, then stop" and (status := daemon.stop()[0]):
            raise AssertionError(f"a stopped daemon ended with status {status}")
    if daemon.process.poll() is None:
        daemon.kill()


def kill_all(pids: list[int]) -> Callable[[], None]:
    """Return what kills these processes."""

    def act() -> None:
        for pid in pids:
            kill(pid)

    return act


def _settle(stage: Stage, folder: Path, session_id: str, start_of_log: int) -> dict[str, Any]:
    """Wait until nobody writes, recover twice, verify, and hold everything against what client and origin saw."""
    root = ("--root", str(folder / "root"))
    verified: dict[str, Any] = {}

    def at_rest() -> bool:
        verified.clear()
        verified.update(ask("verify", session_id, *root)[1])
        return verified.get("state") != "live"

    wait_until(at_rest, what="the orphaned recorder's end", timeout=WRITER_DEADLINE)
    status, recovered = ask("recover", session_id, *root)
    status_after, verified_after = ask("verify", session_id, *root)
    with session_lines(folder / "root", session_id) as lines:
        account = make_account(read_witness(folder / "client.log", stage.origin_log, start=start_of_log), lines)
    wrong = agreement(account, recovered, verified)
    if verified_after != verified:
        wrong.append(f"verify says {verified_after} after recovery and said {verified} before")
    if status_after != (0 if verified_after["state"] == "clean" else 1):
        wrong.append(f"verify ended with status {status_after} and state {verified_after['state']}")
    if status != 0:
        wrong.append(f"recover ended with status {status}")
    return {
        "holds": account.holds and not wrong,
        **account.to_json(),
        "state": verified_after["state"],
        "tornTailBytes": verified_after["tornTailBytes"],
        "disagreements": wrong,
        "bytes": sum(entry.stat().st_size for entry in os.scandir(_log_folder(folder / "root", session_id))),
    }


def _log_folder(root: Path, session_id: str) -> Path:
    return root / "sessions" / session_id / "log"
