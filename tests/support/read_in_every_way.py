"""Reads a session in every way there is, in a process of its own, and says what that took and what went wrong."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.support.unmeasured import unmeasured_environment
from wiretape.cli.main import TRACEBACK_VARIABLE
from wiretape.cli.main import run as wiretape
from wiretape.errors import WiretapeError
from wiretape.log.session_log import open_session
from wiretape.model import Filter
from wiretape.session.catalogue import Catalogue
from wiretape.session.session import Session

_SHOWN = 5
"""Exchanges that are looked at whole."""


def _exhaust(pieces: Iterable[object]) -> None:
    with contextlib.suppress(WiretapeError):
        for _ in pieces:
            pass


def _verify(folder: Path) -> None:
    with Session(folder, folder.name) as session:
        session.verify()


def _deep(folder: Path) -> None:
    with Session(folder, folder.name) as session:
        session.verify(deep=True)


def _dry_run(folder: Path) -> None:
    with Session(folder, folder.name) as session:
        session.recover(dry_run=True)


def _recover(folder: Path) -> None:
    with Session(folder, folder.name) as session:
        session.recover()
        session.recover()


def _open(folder: Path) -> None:
    for number, exchange in enumerate(open_session(folder)):
        if number < _SHOWN:
            _ = (exchange.request.headers, exchange.request.url, exchange.duration_ns)
            _exhaust(exchange.request.body.parts())
            if exchange.response is not None:
                _ = (exchange.response.headers, exchange.response.trailers)
                _exhaust(exchange.response.body)


def _query(folder: Path) -> None:
    with Session(folder, folder.name) as session:
        session.query(limit=50)
        session.query(Filter(status="2xx", host="h"), sort="asc", limit=50)
        session.summary()


def _list(folder: Path) -> None:
    Catalogue(folder.parent.parent).list()


def _detail(folder: Path) -> None:
    with Session(folder, folder.name) as session:
        for item in session.query(sort="asc", limit=_SHOWN).items:
            session.exchange(item.seq)
            for side in ("request", "response"):
                _exhaust(session.raw_body(item.seq, side, decoded=False))


def _search(folder: Path) -> None:
    with Session(folder, folder.name) as session:
        session.query(Filter(text="needle"), limit=50)


def _cli(*arguments: str) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        wiretape([*arguments, "--root", str(folder.parent.parent)])

    return run


WAYS: dict[str, Callable[[Path], None]] = {
    "verify": _verify,
    "verify --deep": _deep,
    "recover --dry-run": _dry_run,
    "open_session": _open,
    "query": _query,
    "list": _list,
    "detail": _detail,
    "search": _search,
    "recover": _recover,
    "$ sessions": _cli("sessions"),
    "$ query": _cli("query", "last"),
    "$ exchange": _cli("exchange", "last", "1"),
    "$ verify": _cli("verify", "last"),
}


def _memory(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))


def run(folder: Path, ways: Iterable[str]) -> dict[str, Any]:
    """Read; gives memory, seconds and faults."""
    idle = _memory("VmRSS")
    seconds, grown, faults = {}, {}, {}
    for way in ways:
        begun = time.process_time()
        try:
            WAYS[way](folder)
        except WiretapeError:
            pass
        except BaseException:  # noqa: BLE001 - it is what is looked for
            faults[way] = traceback.format_exc()
        seconds[way] = round(time.process_time() - begun, 3)
        grown[way] = _memory("VmHWM") - idle
    return {"memory": max(grown.values()), "grown": grown, "seconds": seconds, "faults": faults}


def _serve() -> None:
    """Read the sessions that stdin names, each in a process of its own that begins idle."""
    out = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.environ[TRACEBACK_VARIABLE] = "1"
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (asked["cpu"], asked["cpu"]))
            print(json.dumps(run(Path(asked["folder"]), asked["ways"])), file=out, flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            print(json.dumps({"faults": {"all": f"ended with status {status}"}, "memory": 0}), file=out, flush=True)


class Reader:
    """A process that reads sessions in every way, and outlives what kills the reading."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.read_in_every_way"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=unmeasured_environment(),
        )

    def read(self, folder: Path, *, cpu: int, ways: Iterable[str] = tuple(WAYS)) -> dict[str, Any]:
        """Read a session in at most ``cpu`` seconds.

        Gives ``memory`` (KiB above the idle process), ``faults`` and ``seconds`` by the way of reading.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"folder": str(folder), "cpu": cpu, "ways": list(ways)}) + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


if __name__ == "__main__":
    _serve()
