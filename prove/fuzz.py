"""Logs that were changed in every way we can think of, read in every way there is.

None may crash, hang or cost memory, and all readers must say the same.

A case is repeated with ``python -m prove.fuzz SEED/NUMBER``; it says what it did and what did not hold.
"""

from __future__ import annotations

import random
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prove.mutate import SESSION, Content, make_log, mutate, write
from prove.part import Result, Task, all_cores
from wiretape.errors import DamagedError, LogVersionError, WiretapeError
from wiretape.log import open_session
from wiretape.log.verify import verify_log
from wiretape.session.catalogue import Catalogue
from wiretape.session.session import Session

CASES = 20_000
"""All of them take about ten minutes on two cores."""
MEMORY = 64
"""MiB over what a process has before its first case (P8)."""
SECONDS = 60
"""A case takes some milliseconds; one that takes so long hangs."""
DISAGREE = "they disagree: "
_SHARE = 100
_LISTED = 20
_TEMPLATES = 200
_SHOWN = 30


@dataclass(slots=True)
class Found:
    """What some cases gave."""

    counts: Counter[str] = field(default_factory=Counter)
    mib: float = 0.0
    failures: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Add what another has found."""
        self.counts += other.counts
        self.mib = max(self.mib, other.mib)
        self.failures += other.failures


class Case:
    """One changed log."""

    def __init__(self, name: str) -> None:
        self.name = name
        seed, _, number = name.rpartition("/")
        chance = random.Random(name)
        self.before = make_log(random.Random(f"{seed}:{int(number) % _TEMPLATES}"))
        self.content, self.changes, self.lies = mutate(self.before, chance)
        self.indexed = chance.random() < 0.3
        """An index was made of the log before it changed."""
        self.counts: Counter[str] = Counter()

    def run(self, folder: Path) -> list[str]:
        """Read it in every way; give a sentence for each thing that does not hold."""
        session = folder / "sessions" / SESSION
        if self.indexed:
            write(self.before, session / "log")
            with Session(session, SESSION) as opened:
                opened.query()
            shutil.rmtree(session / "log")
        write(self.content, session / "log")
        try:
            with _alarm():
                failures = self._read(session)
            return [failure for failure in failures if not (self.lies and failure.startswith(DISAGREE))]
        except TimeoutError:
            return [f"it took more than {SECONDS} s"]
        except Exception as error:  # noqa: BLE001 -- that is what is looked for
            frame = error.__traceback__
            while frame is not None and frame.tb_next is not None:
                frame = frame.tb_next
            place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame is not None else ""
            return [f"{type(error).__name__}: {error} in {place}"]

    def _read(self, session: Path) -> list[str]:
        failures: list[str] = []
        try:
            report = verify_log(session / "log", SESSION)
        except LogVersionError:
            self.counts["of a newer version"] += 1
            self._refused(session, failures)
            return failures
        exchanges = self._alone(session, failures, report)
        # What an index has read is not read again before it is asked to be: it is of the log as it was.
        self._by_session(session, [] if self.indexed else failures, exchanges)
        with Session(session, SESSION) as again:
            first = again.recover()
            if again.recover() != first:
                failures.append("a second recovery says something else")
            deep = again.verify(deep=True)
        self._by_session(session, failures, exchanges)
        if deep.exchanges != exchanges:
            failures.append(f"{DISAGREE}verify --deep counts {deep.exchanges} of {exchanges} exchanges")
        if _content(session / "log") != self.content:
            failures.append("the log was changed")
        return failures

    def _alone(self, session: Path, failures: list[str], report: object) -> int:
        log = open_session(session)
        seqs = []
        for exchange in log:
            seqs.append(exchange.seq)
            for message in (exchange.request, exchange.response):
                if message is not None:
                    _ = (message.headers, message.trailers)
                    self._drain(message.body)
        if log.report != report:
            failures.append(f"{DISAGREE}open_session reports something else than verify")
        if len(set(seqs)) != len(seqs):
            failures.append(f"{DISAGREE}an exchange is given twice")
        found = getattr(report, "exchanges", -1)
        if len(seqs) != found:
            failures.append(f"{DISAGREE}open_session gives {len(seqs)} of {found} exchanges")
        self.counts["exchanges"] += len(seqs)
        self.counts["damaged logs"] += bool(getattr(report, "gaps", ()))
        return len(seqs)

    def _drain(self, body: object) -> None:
        try:
            for _ in body:  # type: ignore[attr-defined]
                pass
        except DamagedError:
            self.counts["bodies with holes"] += 1

    def _by_session(self, session: Path, failures: list[str], exchanges: int) -> None:
        with Session(session, SESSION) as opened:
            page = opened.query(limit=_SHOWN)
            if page.matched != exchanges:
                failures.append(f"{DISAGREE}the index has {page.matched} of {exchanges} exchanges")
            opened.summary()
            for item in page.items:
                detail = opened.exchange(item.seq)
                if detail.state != item.state:
                    failures.append(f"{DISAGREE}exchange {item.seq} is {detail.state} and listed as {item.state}")
                for side in ("request", "response"):
                    try:
                        for _ in opened.raw_body(item.seq, side):
                            pass
                    except WiretapeError:
                        self.counts["bodies that are refused"] += 1
            found = sum(1 for _ in opened.iterate())
            if found != exchanges:
                failures.append(f"{DISAGREE}iterating gives {found} of {exchanges} exchanges")

    def _refused(self, session: Path, failures: list[str]) -> None:
        for what in ("query", "recover", "verify", "summary"):
            with Session(session, SESSION) as opened:
                try:
                    getattr(opened, what)()
                except WiretapeError:
                    continue
        Catalogue(session.parents[1]).list()
        if _content(session / "log") != self.content:
            failures.append("the log was changed")


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _content(folder: Path) -> Content:
    return {path.name: path.read_bytes() for path in folder.glob("*.wlog")}


def _mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def some(seed: str, numbers: range, folder: Path) -> Found:
    """Run cases; the logs of those that do not hold are kept in ``folder``."""
    found = Found()
    idle = _mib()
    for number in numbers:
        case = Case(f"{seed}/{number}")
        place = Path(tempfile.mkdtemp(dir=folder))
        failures = case.run(place)
        found.counts += case.counts
        found.counts["cases"] += 1
        found.failures += [f"{case.name} ({', '.join(case.changes)}): {failure}" for failure in failures]
        if failures:
            place.rename(folder / f"case-{number}")
        else:
            shutil.rmtree(place)
    found.mib = _mib() - idle
    return found


def run(task: Task) -> Result:
    """Run the cases on all cores."""
    cases = task.share(CASES, at_least=_SHARE)
    whole = Found()
    with all_cores() as pool:
        jobs = [
            pool.submit(some, task.seed, range(at, min(cases, at + _SHARE)), task.folder)
            for at in range(0, cases, _SHARE)
        ]
        for job in jobs:
            whole.add(job.result())
            task.report(whole.counts["cases"], cases, f"{whole.counts['cases']:,} logs")
    if whole.mib > MEMORY:
        whole.failures.append(f"reading them took {whole.mib:.0f} MiB over an idle process; {MEMORY} are promised")
    refused = whole.counts["bodies with holes"] + whole.counts["bodies that are refused"]
    figures = {
        "changed logs read": whole.counts["cases"],
        "of these with damage that checksums find": whole.counts["damaged logs"],
        "of a newer version, refused": whole.counts["of a newer version"],
        "exchanges read from them": whole.counts["exchanges"],
        "bodies refused or given with a hole": refused,
        "readers that disagreed, errors of our own, hangs": len(whole.failures),
        "memory over idle, MiB": round(whole.mib, 1),
    }
    return Result(figures=dict(figures), failures=whole.failures[:_LISTED])


def main(name: str) -> int:
    """Repeat one case."""
    case = Case(name)
    with tempfile.TemporaryDirectory() as folder:
        failures = case.run(Path(folder))
    print("\n".join([*case.changes, *failures]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
