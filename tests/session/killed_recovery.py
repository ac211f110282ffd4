"""Run as a program: recovers copies of one session, each killed at another of its calls to the system, then once more.

Arguments: the session's folder (damaged, never recovered), an empty folder to work in, and how: ``recover`` all of it,
or ``open`` it. Prints one JSON object: how many calls there are to be killed at, at how many that was done, and where
the result was another.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import msgspec

from harness.logs import snapshot
from wiretape.session.recovery.recover import recover_session
from wiretape.session.session import Session

WATCHED = ("open", "os.", "shutil.", "sqlite3.", "fcntl.")
STEPS = 40


def recover_in_child(folder: Path, kill_at: int, how: str) -> int:
    """Recover in a child that kills itself at the given call (0: at none); give how many calls it made, 0 if killed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        calls = 0

        def watch(event: str, args: tuple[object, ...]) -> None:
            nonlocal calls
            if event.startswith(WATCHED):
                calls += 1
                if calls == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        if how == "recover":
            recover_session(folder, folder.name)
        else:
            with Session(folder, folder.name) as opened:
                opened.query()
        os.write(write, str(calls).encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        counted = pipe.read()
    os.waitpid(child, 0)
    return int(counted or 0)


def result(folder: Path) -> dict[str, bytes]:
    """Return what is to be the same: every answer, and every file but the index, which can be made again."""
    found = {name: data for name, data in snapshot(folder).items() if "index.sqlite" not in name}
    with Session(folder, folder.name) as opened:
        answers = [opened.query(limit=1000), opened.summary(), opened.coverage(), *opened.iterate(), opened.verify()]
    return {**found, "answers": msgspec.json.encode(answers)}


def main(session: Path, work: Path, how: str) -> None:
    """Try every call, or as many as STEPS allows."""
    folder = work / session.name

    def fresh() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(session, folder)

    fresh()
    total = recover_in_child(folder, 0, how)
    wanted = result(folder)
    killed, different = 0, []
    for kill_at in range(1, total + 1, max(1, total // STEPS)):
        fresh()
        killed += recover_in_child(folder, kill_at, how) == 0
        recover_in_child(folder, 0, how)
        if result(folder) != wanted:
            different.append(kill_at)
    print(json.dumps({"calls": total, "killed": killed, "different": different, "files": sorted(wanted)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
