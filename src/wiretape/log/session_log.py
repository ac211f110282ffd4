"""A session's log opened for reading: its exchanges one after the other, and an account of what is not there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wiretape.errors import NotFoundError
from wiretape.log.assembly import LogFrames
from wiretape.log.audit import Account
from wiretape.log.exchange import Exchange, exchange_of
from wiretape.log.files import REAL, Files
from wiretape.log.gather import Gatherer
from wiretape.log.inventory import Inventory, Placed
from wiretape.log.items import OF_AN_EXCHANGE, Damage, Frame
from wiretape.log.losses import IMPOSSIBLE_SEQ_FROM
from wiretape.log.report import LogReport
from wiretape.log.scan import scan_segment, segment_info
from wiretape.log.store import list_segments
from wiretape.log.verify import is_written, settled

_OF_AN_EXCHANGE = frozenset(map(int, OF_AN_EXCHANGE))


def open_session(path: str | os.PathLike[str], *, files: Files = REAL) -> SessionLog:
    """Open a session's log for reading; nothing is written, locked or indexed.

    It may be written at the moment, or damaged in any way.

    Args:
        path: the session's folder, or the ``log`` folder in it.
        files: the file system.

    Raises:
        NotFoundError: there is no log.
        StorageError: it cannot be read.
        LogVersionError: it was written by a newer program.
    """
    folder = Path(path)
    log_dir = folder / "log"
    if files is REAL and log_dir.is_symlink():
        raise NotFoundError(f"{log_dir} is a link, not a log", hint="give the folder that it points to")
    try:
        segments = list_segments(log_dir, files)
    except NotFoundError:
        log_dir, segments = folder, list_segments(folder, files)
        if not segments:
            raise NotFoundError(
                f"{folder} is no session and no log", hint="give a folder of <root>/sessions, or the log in it"
            ) from None
    owners = Counter(head.session_id for ref in segments if (head := segment_info(ref.path, files).head) is not None)
    named = log_dir.absolute().parent.name
    session_id = named if named in owners or not owners else owners.most_common(1)[0][0]
    return SessionLog(log_dir, session_id, files)


class SessionLog:
    """The exchanges of one session's log. Each iteration reads the log anew, as it is then.

    Exchanges come in the order in which they ended, stream by stream (one recorder process writes one stream). Those
    that never ended or that damage touched come when their recorder's run is over, those that are still running at the
    very end; each once. Memory does not grow with the log or with a body.

    Attributes:
        session_id: the session's id.
        log_dir: the folder that is read.
        report: what the log holds and what it lacks, after an iteration that came to its end; None before.
    """

    def __init__(self, log_dir: Path, session_id: str, files: Files = REAL) -> None:
        self.log_dir = log_dir
        self.session_id = session_id
        self.report: LogReport | None = None
        self._files = files

    def __iter__(self) -> Iterator[Exchange]:
        """Give the exchanges.

        Raises (while iterating):
            NotFoundError, StorageError, LogVersionError: the log is gone, or cannot be read.
        """
        inventory, holders = settled(self.log_dir, self.session_id, self._files)
        return _Pass(self, inventory, holders, self._files).run()


class _Pass:
    """One reading of a whole log."""

    def __init__(self, log: SessionLog, inventory: Inventory, holders: dict[int, dict[str, Any]], files: Files) -> None:
        self._log = log
        self._inventory = inventory
        self._holders = holders
        self._files = files
        steps = [segment.head.streams for segment in inventory.segments if segment.head is not None]
        self._account = Account(max(1, steps[0]) if steps else 1, inventory.gaps, inventory.notes)
        self._frames = LogFrames(log.log_dir, files)

    def run(self) -> Iterator[Exchange]:
        """Read everything."""
        live: list[Gatherer] = []
        streams: dict[int, list[Placed]] = {}
        for segment in self._inventory.segments:
            streams.setdefault(segment.stream, []).append(segment)
        for stream, segments in streams.items():
            gatherer = Gatherer(self._frames)
            yield from self._read_stream(segments, gatherer)
            if is_written(segments[-1], self._holders):
                live.append(gatherer)
            else:
                yield from _interrupted(gatherer)
                self._account.end(stream)
        report = self._report()
        running = frozenset(report.in_flight)
        for gatherer in live:
            for tape in gatherer.end_run():
                yield exchange_of(tape, "inFlight" if tape.seq in running else "interrupted")
        self._log.report = report

    def _report(self) -> LogReport:
        segments = self._inventory.segments
        size = sum(segment.ref.size for segment in segments)
        holder = next(iter(self._holders.values()), None)
        return self._account.report(self._log.session_id, size=size, segments=len(segments), holder=holder)

    def _read_stream(self, segments: list[Placed], gatherer: Gatherer) -> Iterator[Exchange]:
        run: int | None = None
        for segment in segments:
            begun = segment.head.run if segment.head is not None else None
            if None not in (run, begun) and run != begun:
                yield from _interrupted(gatherer)
            run = begun  # without a head, the run may be the one before or the one behind
            missing = self._inventory.missing_before(segment)
            self._account.begin(segment, missing)
            live = segment is segments[-1] and is_written(segment, self._holders)
            yield from self._read_segment(segment, gatherer, live=live)

    def _read_segment(self, segment: Placed, gatherer: Gatherer, *, live: bool) -> Iterator[Exchange]:
        account, stream = self._account, segment.stream
        for item in scan_segment(segment.ref.path, live=live, salt=segment.salt, files=self._files):
            if isinstance(item, Damage):
                gatherer.take_damage(item)
            elif self._wanted(item, stream, gatherer):
                tape = gatherer.take(item)
                if tape is not None:
                    yield exchange_of(tape, "interrupted")
            account.read(stream, (item,))
        account.reached(stream, segment.ref.size)

    def _wanted(self, frame: Frame, stream: int, gatherer: Gatherer) -> bool:
        """Tell whether a frame is of an exchange that was not given yet.

        One of an exchange that was given is a copy, written after a failed sync.
        """
        if frame.kind not in _OF_AN_EXCHANGE or not 0 < frame.seq < IMPOSSIBLE_SEQ_FROM:
            return False
        return gatherer.follows(frame.seq) or not self._account.knows(stream, frame.seq)


def _interrupted(gatherer: Gatherer) -> Iterator[Exchange]:
    for tape in gatherer.end_run():
        yield exchange_of(tape, "interrupted")
