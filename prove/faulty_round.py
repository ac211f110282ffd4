"""One round on a disk that fails: real clients through a real recorder, before, during and after the fault."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from prove.one_round import Stage
from wiretape.cli.demo.account import Witness, make_account
from wiretape.cli.demo.plan import Plan
from wiretape.cli.demo.show import session_lines
from wiretape.cli.demo.stage import Daemon, ask
from wiretape.cli.demo.waiting import wait_until
from wiretape.daemon.client import request
from wiretape.log.verify import verify_log

_THREADS = 6
_PATIENCE = 10.0
_SIZES = (0, 1, 300, 4_000, 17_000, 70_000, 300_000)
REFUSED = 507


class Fault(Protocol):
    """Something that goes wrong on the disk of a recorder that runs."""

    def begin(self, root: Path, pid: int) -> None:
        """Let it go wrong, for the recorder with this process id."""

    def end(self) -> None:
        """Let it be well again; nothing when it is."""


@dataclass(slots=True)
class Seen:
    """What clients saw: paths by outcome, each path used once."""

    answered: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """How a round is run.

    Args:
        name: of the round and its folder.
        root: the daemon's root, on the disk that will fail.
        fault: what goes wrong.
        refuses: ``--on-full refuse`` instead of ``pass``.
        at_the_end: the fault comes a second time and stays until the daemon has ended.
        requests: in each of the three phases.
    """

    name: str
    root: Path
    fault: Fault
    refuses: bool = False
    at_the_end: bool = False
    requests: int = 60


class Traffic:
    """Clients with a connection for each request, so that nothing is ever sent twice."""

    def __init__(self, daemon: Daemon, port: int, name: str) -> None:
        self.seen = Seen()
        self._proxy = daemon.address.rsplit(":", 1)
        self._port = port
        self._name = name
        self._chance = random.Random(name)
        self._count = 0
        self._pool = ThreadPoolExecutor(_THREADS)

    def begin(self, count: int) -> list[Future[None]]:
        """Begin so many requests."""
        return [self._pool.submit(self._one, self._draw()) for _ in range(count)]

    def run(self, count: int) -> None:
        """Send so many requests and wait for all answers."""
        for future in self.begin(count):
            future.result()

    def close(self) -> None:
        """Wait for what runs."""
        self._pool.shutdown()

    def _draw(self) -> Plan:
        self._count += 1
        method = self._chance.choice(("GET", "GET", "POST"))
        up = self._chance.choice(_SIZES) if method == "POST" else 0
        framing = self._chance.choice(("length", "chunked"))
        return Plan(f"{self._name}-{self._count}", method, up, self._chance.choice(_SIZES), framing)

    def _one(self, plan: Plan) -> None:
        seen = self.seen
        connection = http.client.HTTPConnection(self._proxy[0], int(self._proxy[1]), timeout=_PATIENCE)
        try:
            url = f"http://127.0.0.1:{self._port}{plan.path}"
            body = plan.request_body if plan.method == "POST" else None
            connection.request(plan.method, url, body=body, headers={"Connection": "close"})
            response = connection.getresponse()
            received = response.read()
        except (OSError, http.client.HTTPException):
            seen.failed.add(plan.path)
        else:
            if response.status == REFUSED:
                seen.refused.add(plan.path)
            elif response.status != 200:
                seen.failed.add(plan.path)
            else:
                (seen.answered if received == plan.response_body else seen.wrong).add(plan.path)
        finally:
            connection.close()


def run_round(stage: Stage, how: Round) -> dict[str, Any]:
    """Run a round and give its account: ``holds``, counts, and in ``wrong`` a sentence for what does not hold.

    Raises:
        DaemonError: a process did not come up or did not answer; nothing is left running.
    """
    wrong: list[str] = []
    messages = stage.folder / f"{how.name}.log"
    options = ["--session", how.name, "--durability", "always", "--on-full", "refuse" if how.refuses else "pass"]
    with contextlib.ExitStack() as stack:
        daemon = Daemon(how.root, "--upstream-ca", str(stage.authority), *options, messages=messages)
        stack.callback(daemon.close)
        stack.callback(how.fault.end)
        traffic = Traffic(daemon, stage.ports["http"], how.name)
        stack.callback(traffic.close)
        healthy = _phases(how, daemon, traffic)
        status = request(how.root, {"cmd": "status"})
        if status["recorderRestarts"] or status["recorderPids"] != daemon.recorder_pids:
            wrong.append(f"the recorder was replaced {status['recorderRestarts']} times")
        if ended := daemon.stop()[0]:
            wrong.append(f"the daemon ended with status {ended}")
        how.fault.end()
    seen, session_id = traffic.seen, str(daemon.ready["sessionId"])
    if "Traceback" in messages.read_text(errors="replace"):
        wrong.append(f"a traceback in {messages}")
    wrong += [f"wrong bytes were answered: {path}" for path in sorted(seen.wrong)]
    if seen.refused and not how.refuses:
        wrong.append(f"{len(seen.refused)} were refused at --on-full pass")
    account = read_account(how, seen, session_id)
    lost = healthy - account["whole"]
    missing = len(seen.answered | seen.refused) - len(account["whole"] & seen.answered)
    dropped = int(status["dropped"]) if not how.at_the_end else account["dropped"]["verify"]
    wrong += [f"{path} was answered on a healthy disk and is not there" for path in sorted(lost)[:5]]
    for who, count in {**account["dropped"], "status": dropped}.items():
        if count != missing:
            wrong.append(f"{who} counts {count} dropped, and {missing} are not there whole")
    wrong += account["wrong"]
    return {
        "name": how.name,
        "holds": not wrong,
        "answered": len(seen.answered),
        "refused": len(seen.refused),
        "failed": len(seen.failed),
        "lost": len(lost),
        "dropped": missing,
        "wrong": wrong,
    }


def _phases(how: Round, daemon: Daemon, traffic: Traffic) -> set[str]:
    """Run the traffic; gives the paths that were answered while nothing was wrong."""
    traffic.run(how.requests)
    healthy = set(traffic.seen.answered)
    running = traffic.begin(how.requests // 2)
    how.fault.begin(how.root, daemon.recorder_pids[0])
    for future in running:
        future.result()
    traffic.run(how.requests // 2)
    how.fault.end()
    _until_it_records(how.root, traffic)
    before = set(traffic.seen.answered)
    traffic.run(how.requests)
    healthy |= traffic.seen.answered - before
    if how.at_the_end:
        how.fault.begin(how.root, daemon.recorder_pids[0])
        traffic.run(how.requests // 4)
    return healthy


def _until_it_records(root: Path, traffic: Traffic) -> None:
    def goes_on() -> bool:
        dropped = request(root, {"cmd": "status"})["dropped"]
        traffic.run(1)
        status = request(root, {"cmd": "status"})
        if status["dropped"] > dropped or status["unreported"]:
            time.sleep(0.1)
            return False
        return True

    wait_until(goes_on, what="recording to go on", timeout=30)


def read_account(how: Round, seen: Seen, session_id: str) -> dict[str, Any]:
    """Read the session in every way there is, before and after its recovery."""
    wrong: list[str] = []
    root = ("--root", str(how.root))
    _, verified = ask("verify", session_id, "--deep", *root)
    _, page = ask("query", session_id, "--limit", "1", *root)
    _, recovered = ask("recover", session_id, *root)
    _, again = ask("verify", session_id, *root)
    sessions = ask("sessions", *root)[1]
    listed = next(one for one in sessions["sessions"] if one["sessionId"] == session_id)
    wrong += [
        f"verify finds gaps {report['gaps'][:3]}, disagreeing {report['disagreeing'][:3]}, notes {report['notes']}"
        for report in (verified, again)
        if report["gaps"] or report["lostExchanges"] or report["notes"] or report["disagreeing"]
    ]
    log = verify_log(how.root / "sessions" / session_id / "log", session_id)
    if not log.closed_cleanly or not set(log.interrupted) <= set(log.partial):
        wrong.append(f"the end is not in the log; {len(log.interrupted)} interrupted, {len(log.partial)} in part")
    if not recovered["recovered"]:
        wrong.append(f"recovery skipped the session: {recovered['skipped']}")
    everything = frozenset(seen.answered | seen.refused | seen.failed | seen.wrong)
    witness = Witness(everything, frozenset(seen.answered), frozenset(), frozenset(), frozenset())
    with session_lines(how.root, session_id) as lines:
        account = make_account(witness, lines)
    if account.twice:
        wrong.append(f"recorded twice: {account.twice[:3]}")
    if not verified["exchanges"] == again["exchanges"] == account.lines == page["matched"]:
        wrong.append(f"exchanges: {verified['exchanges']}, {again['exchanges']}, {account.lines}, {page['matched']}")
    return {
        "whole": seen.answered - set(account.lost),
        "dropped": {
            "verify": verified["dropped"],
            "verify after recovery": again["dropped"],
            "coverage": page["coverage"]["dropped"],
            "the list of sessions": listed["dropped"],
        },
        "wrong": wrong,
    }


class FullDisk:
    """The disk under the root is filled to the last byte, and stays so."""

    def __init__(self) -> None:
        self._file: Path | None = None

    def begin(self, root: Path, pid: int) -> None:
        """Write until there is no room."""
        del pid
        self._file = root.parent / "filler"
        with self._file.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    def end(self) -> None:
        """Remove what fills it."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)


class Limit:
    """A resource limit of the recorder's process.

    Args:
        limited: RLIMIT_FSIZE, RLIMIT_NOFILE.
        value: gives the limit for the process.
    """

    def __init__(self, limited: int, value: Callable[[int], int]) -> None:
        self._limited = limited
        self._value = value
        self._old: tuple[int, tuple[int, int]] | None = None

    def begin(self, root: Path, pid: int) -> None:
        """Set it."""
        del root
        old = resource.prlimit(pid, self._limited)
        self._old = (pid, old)
        resource.prlimit(pid, self._limited, (self._value(pid), old[1]))

    def end(self) -> None:
        """Take it back."""
        if self._old is not None:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(self._old[0], self._limited, self._old[1])


def few_descriptors(pid: int) -> int:
    """Return a limit that leaves a process what it has open, and too few for all clients."""
    return max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 6


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path | None]:
    """Mount a small file system; None where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "wiretape-prove", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
