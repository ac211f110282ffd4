"""A session's log opened for reading: its exchanges one after the other, and an audit of what is not there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from wiretape.errors import NotFoundError
from wiretape.log.assembly import Assembler, LogFrames
from wiretape.log.audit import Audit
from wiretape.log.exchange import Exchange, exchange_of
from wiretape.log.files import REAL, Files
from wiretape.log.inventory import Inventory, Placed
from wiretape.log.items import IMPOSSIBLE_FROM, OF_AN_EXCHANGE, Damage, Frame
from wiretape.log.report import LogReport
from wiretape.log.scan import scan_segment, segment_info
from wiretape.log.store import list_segments
from wiretape.log.verify import settled, written_streams

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
                f"{folder} is neither a session nor a log", hint="give a folder of <root>/sessions, or the log in it"
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
        """Yield the exchanges.

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
        self._live = written_streams(inventory, holders)
        self._holder = next(iter(holders.values()), None)
        self._files = files
        self._audit = Audit(inventory.step)
        self._frames = LogFrames(log.log_dir, files)

    def run(self) -> Iterator[Exchange]:
        """Read everything."""
        live: list[Assembler] = []
        streams: dict[int, list[Placed]] = {}
        for segment in self._inventory.segments:
            streams.setdefault(segment.stream, []).append(segment)
        for stream, segments in streams.items():
            assembler = Assembler(self._frames)
            yield from self._read_stream(segments, assembler)
            if stream in self._live:
                live.append(assembler)
            else:
                yield from _interrupted(assembler)
        report = self._audit.report(self._log.session_id, self._inventory, live=self._live, holder=self._holder)
        running = frozenset(report.in_flight)
        for assembler in live:
            for tape in assembler.end_run():
                yield exchange_of(tape, "inFlight" if tape.seq in running else "interrupted")
        self._log.report = report

    def _read_stream(self, segments: list[Placed], assembler: Assembler) -> Iterator[Exchange]:
        run: int | None = None
        for segment in segments:
            begun = segment.head.run if segment.head is not None else None
            if None not in (run, begun) and run != begun:
                yield from _interrupted(assembler)
            run = begun  # without a head, the run may be the one before or the one behind
            live = segment is segments[-1] and segment.stream in self._live
            yield from self._read_segment(segment, assembler, live=live)

    def _read_segment(self, segment: Placed, assembler: Assembler, *, live: bool) -> Iterator[Exchange]:
        audit, stream = self._audit, segment.stream
        items = iter(scan_segment(segment.ref.path, live=live, salt=segment.salt, files=self._files))
        first = next(items, None)
        if first is None and live:
            return  # just made: whose it is is not yet written
        audit.begin(segment, self._inventory.missing_before(segment))
        for item in chain([first] if first is not None else [], items):
            if isinstance(item, Damage):
                assembler.take_damage(item)
            elif self._wanted(item, stream, assembler):
                tape = assembler.take(item)
                if tape is not None:
                    yield exchange_of(tape, "interrupted")
            audit.read(stream, (item,))
        audit.reached(stream, segment.ref.size)

    def _wanted(self, frame: Frame, stream: int, assembler: Assembler) -> bool:
        """Return whether a frame is of an exchange that was not given yet.

        One of an exchange that was given is a copy, written after a failed sync.
        """
        if frame.kind not in _OF_AN_EXCHANGE or not 0 < frame.seq < IMPOSSIBLE_FROM:
            return False
        return assembler.follows(frame.seq) or not self._audit.knows(stream, frame.seq)


def _interrupted(assembler: Assembler) -> Iterator[Exchange]:
    for tape in assembler.end_run():
        yield exchange_of(tape, "interrupted")
