"""What a daemon does behind everything else, as a process of its own: recover unclean sessions, then follow the log.

Run as ``python -m wiretape.daemon.background ROOT``. It is a process because this work is pure computing: in the daemon
it would take turns with the answers, and on a machine with one core it must not take the recorder's time. So it runs at
the lowest priority and follows only while the log is quiet: an index transaction that the scheduler starves would hold
up a query that wants the same index. Nobody depends on it; a query follows the log itself before it answers.

Commands on stdin, one JSON object per line: ``{"follow": sessionId | null}``; it ends with stdin. On stdout, one JSON
object per line: ``{"doing", "done", "total"}``, ``{"recovered": [...]}``, ``{"problem": "..."}``.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from wiretape.errors import WiretapeError
from wiretape.session.catalogue import Catalogue

TICK = 0.5
"""Seconds between two looks at the log."""

QUIET = 1 << 20
"""Bytes per second of growth up to which a log counts as quiet: some hundred exchanges, a few percent of a core."""

REPORT_EVERY = 0.2
"""Seconds between two reports of progress."""


def main(argv: list[str]) -> int:
    """Work until stdin ends."""
    with suppress(OSError):
        os.nice(19)
    catalogue = Catalogue(Path(argv[1]))
    tell = _Teller()
    _recover(catalogue, tell)
    tell({"doing": "following"})
    Follower(catalogue, tell).run()
    return 0


def _recover(catalogue: Catalogue, tell: _Teller) -> None:
    """Recover every session that was left unclean (P13); what fails is reported and stops nothing."""
    try:
        report = catalogue.recover_unclean(progress=tell.progress)
    except WiretapeError as error:
        tell({"problem": str(error)})
        return
    tell({"recovered": [session.session_id for session in report.recovered]})
    for skipped in report.skipped:
        tell({"problem": f"session {skipped.session_id} was not recovered: {skipped.reason}"})


class _Teller:
    """Writes messages to the daemon; one that is gone is no reason to fail."""

    def __init__(self) -> None:
        self._reported = 0.0

    def __call__(self, message: dict[str, Any]) -> None:
        try:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            os._exit(0)

    def progress(self, done: int, total: int) -> None:
        """Report bytes done and in all, not more often than somebody can look."""
        now = time.monotonic()
        if now - self._reported >= REPORT_EVERY:
            self._reported = now
            self({"doing": "recovering", "done": done, "total": total})


class Follower:
    """Keeps the index of the session being recorded close to its log's end."""

    def __init__(self, catalogue: Catalogue, tell: Callable[[dict[str, Any]], None]) -> None:
        self._catalogue = catalogue
        self._tell = tell
        self._session_id: str | None = None
        self._size = 0
        self._behind = False
        self._input = b""

    def run(self) -> None:
        """Follow until stdin ends."""
        while self._read_commands():
            if self._session_id is not None:
                self.look(self._session_id)

    def look(self, session_id: str) -> None:
        """Follow a session if its log has hardly grown since the last look, and if there is anything to follow."""
        size = self._log_size(session_id)
        grown, self._size = size - self._size, size
        self._behind = self._behind or grown != 0
        if not self._behind or grown > QUIET * TICK:
            return
        try:
            with self._catalogue.open(session_id) as session:
                session.follow()
            self._behind = False
        except WiretapeError as error:
            self._tell({"problem": f"the index of {session_id} could not be kept up: {error}"})
            self._session_id = None

    def _read_commands(self) -> bool:
        """Wait for a command or the next tick; False when stdin has ended."""
        ready, _, _ = select.select([0], [], [], TICK)
        if not ready:
            return True
        block = os.read(0, 65536)
        *lines, self._input = (self._input + block).split(b"\n")
        for line in lines:
            self._session_id = json.loads(line)["follow"]
            self._size = 0
        return bool(block)

    def _log_size(self, session_id: str) -> int:
        size = 0
        with suppress(OSError), os.scandir(self._catalogue.root / "sessions" / session_id / "log") as entries:
            for entry in entries:
                with suppress(OSError):
                    size += entry.stat().st_size
        return size


if __name__ == "__main__":
    sys.exit(main(sys.argv))
