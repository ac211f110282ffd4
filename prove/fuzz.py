"""Logs that were changed in every way we can think of, read in every way there is.

None may crash, hang or cost memory, and all readers must say the same.

A case is repeated with ``python -m prove.fuzz SEED/NUMBER``; it says what it did and what did not hold.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from traceback import extract_tb

from prove.mutate import SESSION, Content, make_log, mutate, write
from prove.part import Figure, Result, Task, all_cores
from prove.tally import Tally
from wiretape.errors import LogVersionError, WiretapeError
from wiretape.log import open_session
from wiretape.log.format import lock_name
from wiretape.log.locks import take_lock
from wiretape.log.scan import segment_info
from wiretape.log.store import list_segments
from wiretape.log.verify import LogReport, verify_log
from wiretape.session.catalogue import Catalogue
from wiretape.session.index.database import Index
from wiretape.session.session import Session

CASES = 20_000
"""All of them take about ten minutes on two cores."""
MEMORY = 64
"""MiB over what a process has before its first case (P8)."""
SECONDS = 60
"""A case takes some milliseconds; one that takes so long hangs."""
_SHARE = 100
_MOST_STREAMS = 10
_TEMPLATES = 200
_SHOWN = 30


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
        self._broken: list[str] = []
        self._differing: list[str] = []

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
                self._read(session)
        except TimeoutError:
            self._broken.append(f"it took more than {SECONDS} s")
        except Exception as error:  # noqa: BLE001 -- that is what is looked for
            where = extract_tb(error.__traceback__)[-1]
            self._broken.append(f"{type(error).__name__}: {error} in {where.filename}:{where.lineno}")
        if _content(session / "log") != self.content:
            self._broken.append("the log was changed")
        return self._broken if self.lies else [*self._broken, *self._differing]

    def _read(self, session: Path) -> None:
        try:
            report = verify_log(session / "log", SESSION)
        except LogVersionError:
            self.counts["of a newer version"] += 1
            self._refused(session)
            return
        self._alone(session, report)
        self._by_session(session, report.exchanges, trusted=not self.indexed)
        if not self.indexed:
            self._audited(session, report, "the index's audit reports something else than verify")
        self._live(session)
        with Session(session, SESSION) as again:
            first = again.recover()
            if again.recover() != first:
                self._broken.append("a second recovery says something else")
            self._same("verify --deep counts", again.verify(deep=True).exchanges, report.exchanges)
        self._audited(session, report, "the index's audit reports something else after a recovery")
        self._by_session(session, report.exchanges, trusted=True)

    def _same(self, what: str, found: int, expected: int) -> None:
        if found != expected:
            self._differing.append(f"{what} {found} of {expected} exchanges")

    def _audited(self, session: Path, report: LogReport, otherwise: str) -> None:
        index = Index(session, SESSION)
        try:
            index.follow()
            if index.report() != report:
                self._differing.append(otherwise)
        finally:
            index.close()

    def _live(self, session: Path) -> None:
        """While somebody holds a stream, an index that goes on in small steps and a check say the same."""
        log_dir = session / "log"
        segments = list_segments(log_dir)
        if not segments or segments[-1].stream > _MOST_STREAMS:
            return
        head = segment_info(segments[-1].path).head
        run = head.run if head is not None else 1
        note = {"pid": 1, "bootId": "prove", "nonce": run}
        fd = take_lock(log_dir, segments[-1].stream, note)
        try:
            index = Index(session, SESSION)
            index.restart()
            index.follow_gently(3, 1000)
            index.follow()
            if index.report() != verify_log(log_dir, SESSION):
                self._differing.append("the index's audit of a live log reports something else than verify")
            index.close()
        finally:
            os.close(fd)
            (log_dir / lock_name(segments[-1].stream)).unlink()

    def _alone(self, session: Path, report: LogReport) -> None:
        log = open_session(session)
        seqs = []
        for exchange in log:
            seqs.append(exchange.seq)
            for message in (exchange.request, exchange.response):
                if message is not None:
                    _ = (message.headers, message.trailers)
                    self._drain(message.body)
        if log.report != report:
            self._differing.append("open_session reports something else than verify")
        if len(set(seqs)) != len(seqs):
            self._differing.append("an exchange is given twice")
        self._same("open_session gives", len(seqs), report.exchanges)
        self.counts["exchanges"] += len(seqs)
        self.counts["damaged logs"] += bool(report.gaps)

    def _drain(self, pieces: Iterable[bytes]) -> None:
        try:
            for _ in pieces:
                pass
        except WiretapeError:
            self.counts["bodies refused"] += 1

    def _by_session(self, session: Path, exchanges: int, *, trusted: bool) -> None:
        """Ask the index; one that was made of the log as it was is not ``trusted`` before a recovery."""
        with Session(session, SESSION) as opened:
            page = opened.query(limit=_SHOWN)
            opened.summary()
            for item in page.items:
                detail = opened.exchange(item.seq)
                if detail.state != item.state and trusted:
                    self._differing.append(f"exchange {item.seq} is {detail.state} and listed as {item.state}")
                for side in ("request", "response"):
                    self._drain(opened.raw_body(item.seq, side))
            given = sum(1 for _ in opened.iterate())
        if trusted:
            self._same("the index has", page.total, exchanges)
            self._same("iterating gives", given, exchanges)

    def _refused(self, session: Path) -> None:
        for what in ("query", "recover", "verify", "summary"):
            with Session(session, SESSION) as opened, suppress(WiretapeError):
                getattr(opened, what)()
        Catalogue(session.parents[1]).list()


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


def some(seed: str, numbers: range, folder: Path, idle: float) -> Tally:
    """Run cases; the logs of those that do not hold are kept in ``folder``. ``idle`` is MiB before the first of all."""
    found = Tally()
    for number in numbers:
        case = Case(f"{seed}/{number}")
        place = Path(tempfile.mkdtemp(dir=folder))
        failures = case.run(place)
        found.counts += case.counts
        found.counts["cases"] += 1
        for failure in failures:
            found.expect(False, f"{case.name} ({', '.join(case.changes)}): {failure}")
        if failures:
            place.rename(folder / f"case-{number}")
        else:
            shutil.rmtree(place)
    found.most = _mib() - idle
    return found


def run(task: Task) -> Result:
    """Run the cases on all cores."""
    cases = task.share(CASES, at_least=_SHARE)
    whole, idle = Tally(), _mib()
    with all_cores() as pool:
        jobs = [
            pool.submit(some, task.seed, range(at, min(cases, at + _SHARE)), task.folder, idle)
            for at in range(0, cases, _SHARE)
        ]
        for job in jobs:
            whole.add(job.result())
            task.report(whole.counts["cases"], cases, f"{whole.counts['cases']:,} logs")
    figures: dict[str, Figure] = {
        "changed logs read": whole.counts["cases"],
        "of these with damage that checksums find": whole.counts["damaged logs"],
        "of a newer version, refused": whole.counts["of a newer version"],
        "exchanges read from them": whole.counts["exchanges"],
        "bodies refused or given with a hole": whole.counts["bodies refused"],
        "readers that disagreed, errors of our own, hangs": whole.counts["failures"],
        "memory over idle, MiB": round(whole.most, 1),
    }
    whole.expect(whole.most <= MEMORY, f"they took {whole.most:.0f} MiB over an idle process; {MEMORY} are promised")
    return Result(figures=figures, failures=whole.failures)


def main(name: str) -> int:
    """Repeat one case."""
    case = Case(name)
    with tempfile.TemporaryDirectory() as folder:
        failures = case.run(Path(folder))
    print("\n".join([*case.changes, *failures]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
