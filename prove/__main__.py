"""``python -m prove``: run the parts of the proof, print the account; exit status 0 when everything held."""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import signal
import sys
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from prove.account import Account
from prove.part import Part, Result, Task
from prove.parts import PARTS


def main() -> int:
    """Run the parts that are left, print the account."""
    options = _options()
    account = _begin(options)
    console = Console(stderr=True)
    wanted = [part for part in PARTS if options.only is None or part.name in options.only]
    console.print(f"prove: {', '.join(part.name for part in wanted)}; seed {account.seed}, effort {account.effort:g}")
    folder = Path(tempfile.mkdtemp(prefix="wiretape-prove-"))
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    try:
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
            for part in wanted:
                if not account.parts.get(part.name, {}).get("holds"):
                    _run(part, account, folder / part.name, bar, options.json)
    finally:
        if not account.holds:
            console.print(f"what does not hold is left in {folder}", markup=False, soft_wrap=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    account.show(Console())
    print("everything holds" if account.holds else "NOT everything holds")
    return 0 if account.holds else 1


def _run(part: Part, account: Account, folder: Path, bar: Progress, file: Path | None) -> None:
    """Run one part; one that fails in itself is one that does not hold, and the others are still to be run."""
    folder.mkdir()
    task = Task(
        folder=folder,
        seed=account.seed,
        effort=account.effort,
        report=partial(_show, bar, bar.add_task(part.name, total=None), part.name),
        rounds=account.rounds,
        kept=account.kept.get(part.name),
        keep=partial(_keep, account, part.name, file),
    )
    begun = time.monotonic()
    try:
        result = part.run(task)
    except Exception as error:  # noqa: BLE001 - whatever it is, the account has to say so
        bar.console.print(traceback.format_exc(), markup=False, soft_wrap=True)
        result = Result(figures={}, failures=[f"{type(error).__name__}: {error}"])
    for failure in result.failures[:5]:
        bar.console.print(f"{part.name} does not hold: {failure[:2000]}", markup=False, soft_wrap=True)
    account.take(part, result, time.monotonic() - begun)
    if result.holds:
        shutil.rmtree(folder, ignore_errors=True)
    if file is not None:
        account.save(file)


def _show(bar: Progress, shown: TaskID, name: str, done: int, total: int, words: str) -> None:
    bar.update(shown, completed=done, total=total, description=f"{name}: {words}" if words else name)


def _keep(account: Account, name: str, file: Path | None, state: dict[str, Any]) -> None:
    account.kept[name] = state
    if file is not None:
        account.save(file)


def _options() -> argparse.Namespace:
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(
        prog="python -m prove",
        description="Injects every fault that a disk, a kernel or a crash can produce and counts what is lost.",
        epilog="parts: " + "; ".join(f"{part.name} ({part.says})" for part in PARTS),
    )
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="PART[,PART]", help="only these parts")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="rounds of kills (default 20)")
    parser.add_argument("--effort", type=float, default=1.0, metavar="F", help="share of the other parts' work (1.0)")
    parser.add_argument("--seed", help="draw the same faults again (default: a new seed, which is printed)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the account there")
    parser.add_argument("--resume", action="store_true", help="go on with the proof in the --json file")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds takes a number from 1")
    if options.effort <= 0:
        parser.error("--effort takes a number above 0")
    for name in options.only or ():
        if name not in names:
            parser.error(f"there is no part {name!r}; the parts are {', '.join(names)}")
    if options.resume and options.json is None:
        parser.error("--resume needs --json FILE")
    return options


def _begin(options: argparse.Namespace) -> Account:
    if options.resume and options.json.exists():
        account = Account.from_json(json.loads(options.json.read_text()))
        if options.rounds > account.rounds:
            account.parts.pop("kills", None)
            account.rounds = options.rounds
        return account
    return Account(seed=options.seed or secrets.token_hex(4), effort=options.effort, rounds=options.rounds)


if __name__ == "__main__":
    # However it is ended, what it started ends with it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("prove: interrupted; --resume with the same --json FILE goes on", file=sys.stderr)
        sys.exit(130)
