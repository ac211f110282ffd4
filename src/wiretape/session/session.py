"""One session on disk: everything that can be asked of it. The log is only ever read."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from msgspec import UNSET

from wiretape.errors import NotFoundError, UsageError
from wiretape.log.assembly import RECEIVED_RESPONSE, REQUEST, RESPONSE, SENT_REQUEST, ExchangeTape
from wiretape.log.body_check import DeepCheck
from wiretape.log.locks import writer_alive
from wiretape.log.store import SegmentRef, fingerprint, list_segments
from wiretape.log.verify import verify_log
from wiretape.model import (
    Coverage,
    ExchangeDetail,
    ExchangeSummary,
    Filter,
    Groups,
    QueryPage,
    RecoveredSession,
    SessionSummary,
    VerifyReport,
)
from wiretape.secrets.veil import UNVEILED, Veil
from wiretape.session.bodies import MAX_INLINE, stream_body, timed_body
from wiretape.session.index.database import Index, Progress
from wiretape.session.index.exchanges import SORTED_AT_REST, sort_at_rest
from wiretape.session.lookup import Handshakes, Lookup
from wiretape.session.manifest import Manifest, read_manifest
from wiretape.session.metadata import new_manifest
from wiretape.session.pin import is_pinned
from wiretape.session.query.coverage import (
    Reach,
    count_errors,
    coverage,
    read_reach,
    recovery_state,
    unread_note,
    veiled_coverage,
)
from wiretape.session.query.grouping import check_by, grouped
from wiretape.session.query.moments import Mark, read_marks
from wiretape.session.query.needles import LITERAL, looks_like_expression
from wiretape.session.query.ordering import Cursor, check_page, decode_cursor, encode_cursor, query_checksum, read_order
from wiretape.session.query.recorded import summary
from wiretape.session.query.selection import COUNTED, Chosen, Place, Selection
from wiretape.session.query.sql import compared_numbers
from wiretape.session.query.text_index import TextIndex
from wiretape.session.query.wanted import tree_of
from wiretape.session.recovery.on_open import Settler
from wiretape.session.recovery.recover import recover_session, verify_report

_TOGETHER: Final = 256
"""Exchanges that are looked up in the index at once."""
_READ_FOR_A_LIST: Final = 64 * 1024 * 1024
"""Bytes of log that are read for a line of a list where there is neither a manifest that describes it nor an index."""


class Session:
    """Answers questions about one session, live or not. Close it, or use it in a ``with`` block.

    Every answer first follows the log to its end. A session that was left unclean is recovered before the first answer
    (P13), as far as ``patience`` allows, except by ``verify`` and ``recover(dry_run=True)``, which write nothing.

    Attributes:
        patience: seconds that a call may spend on bringing the index up to the log's end; what is not read then is said
            in the answer's coverage, and the next call goes on. None: as long as it takes.
        progress: called with (bytes read, bytes of the log) while the index is brought up.
    """

    patience: float | None = None
    progress: Progress | None = None

    def __init__(self, folder: Path, session_id: str, *, aside: bool = False) -> None:
        """Begin with a session's folder; nothing is read yet.

        Args:
            folder: the session's.
            session_id: its id.
            aside: write nothing into the folder: recover nothing, and make the index in a temporary place.
        """
        self.folder = folder
        self.session_id = session_id
        self.log_dir = folder / "log"
        self._index = Index(folder, session_id)
        self._index.private = self._aside = aside
        self._lookup = Lookup(self._index, session_id)
        self._settler = Settler(folder, session_id, self._index)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()

    @property
    def index(self) -> Index:
        """The session's index, for answers that are read from its tables; ``follow`` brings it up to date."""
        return self._index

    # -- state --------------------------------------------------------------------------------------------------

    def writer(self) -> dict[str, Any] | None:
        """Return who is writing the session (``pid``, ...), or None."""
        return writer_alive(self.log_dir)

    def follow(self, progress: Progress | None = None) -> Reach:
        """Bring the index to the end of the log and return what it knows.

        Args:
            progress: called with (bytes read, bytes of the log).

        Raises:
            NotFoundError: the session is gone. StorageError, LogVersionError: its log cannot be read.
        """
        until = self._until()
        self.settle(progress, until)
        end = self._index.follow(progress or self.progress, until)
        return read_reach(self._index, end=end)

    def follow_gently(self, frames: int, size: int) -> None:
        """Index in transactions of at most so many frames and bytes: others wait less long for their turn."""
        self._index.follow_gently(frames, size)

    def _until(self) -> float | None:
        return None if self.patience is None else time.monotonic() + self.patience

    def _check(self) -> None:
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(os.lstat(self.log_dir).st_mode):
                return  # asked for each exchange that is carried away
        if not self.folder.is_dir():
            raise NotFoundError(
                f"Session {self.session_id} does not exist any more", hint="`wiretape sessions` shows what there is"
            )
        if not self.log_dir.is_dir() or self.log_dir.is_symlink():
            raise NotFoundError(f"{self.folder} is not a session: it has no log folder", hint="delete the folder")

    def settle(self, progress: Progress | None = None, until: float | None = None) -> RecoveredSession | None:
        """Recover the session if it was left unclean, and write down what a finished one holds (P13).

        Args:
            progress: called with (bytes read, bytes to read).
            until: when to stop indexing, by ``time.monotonic``; the next call goes on.

        Returns:
            The report, if there was something to recover.

        Raises:
            NotFoundError: the session is gone. StorageError, LogVersionError: its log cannot be read.
        """
        self._check()
        return None if self._aside else self._settler.settle(progress or self.progress, until)

    def settle_in_background(self, progress: Progress | None = None) -> RecoveredSession | None:
        """Do the same when nobody waits: no index is made where there is none, one of an older version is made again.

        Raises:
            NotFoundError, StorageError, LogVersionError: as ``settle``.
        """
        self._check()
        if not self._index.exists():
            return self._settler.settle_without_index(progress)
        report = self._settler.settle(progress)
        if self._index.outdated():
            self._index.follow(progress)
        return report

    def index_more(self, most_bytes: int, pause: Callable[[], None]) -> None:
        """Bring on what no question waits for: what is sorted only at rest, and the index of substrings.

        A session without an index gets neither: nobody has asked anything of it. ``pause`` is called now and then;
        ``most_bytes`` of text are indexed.

        Raises:
            NotFoundError, StorageError, LogVersionError: as ``follow``.
        """
        self._check()
        if not self._index.exists() or self._index.outdated():
            return
        made = TextIndex(self._index, self.tape)
        live = self.writer() is not None
        if not live and self._index.at_end():
            self._index.run(lambda db: sort_at_rest(db, SORTED_AT_REST))
            pause()
        with contextlib.suppress(sqlite3.Error):  # a full disk, or another process at it: it is made later
            while not made.step(most_bytes, live=live):
                pause()

    def summary(self) -> SessionSummary:
        """Describe the session in one line of a list. Where it has no index, none is made for that.

        Raises:
            NotFoundError, StorageError, LogVersionError: as ``follow``.
        """
        self._check()
        segments, manifest = list_segments(self.log_dir), read_manifest(self.folder, self.session_id)
        if not self._describes(manifest, segments):
            if not self._index.exists():
                if sum(ref.size for ref in segments) > _READ_FOR_A_LIST:
                    return self._unread(manifest, segments)
                self._settler.settle_without_index(self.progress)
                reach = Reach(verify_log(self.log_dir, self.session_id, self.progress), 0, 0)
            else:
                reach = self.follow()
            segments, manifest = list_segments(self.log_dir), read_manifest(self.folder, self.session_id)
            if not self._describes(manifest, segments):
                return self._summary_of(reach, manifest or new_manifest(self.session_id, reach.log))
        assert manifest is not None
        return summary_of(manifest, sum(ref.size for ref in segments), pinned=is_pinned(self.folder))

    def _describes(self, manifest: Manifest | None, segments: list[SegmentRef]) -> bool:
        """Return whether the manifest says everything about the log as it is."""
        return manifest is not None and manifest.log == fingerprint(segments) and self.writer() is None

    def _unread(self, manifest: Manifest | None, segments: list[SegmentRef]) -> SessionSummary:
        """Describe a session that would have to be read from end to end for a line of a list."""
        known = manifest or Manifest(session_id=self.session_id, name=self.session_id, created_ns=0)
        size = sum(ref.size for ref in segments)
        summary = summary_of(known, size, pinned=is_pinned(self.folder))
        return msgspec.structs.replace(
            summary,
            status="active" if self.writer() is not None else "stopped",
            note=f"Its log ({size / 1_000_000:,.0f} MB) has not been read yet, so the counts are not of all of it."
            " Any question about the session reads it.",
        )

    def _summary_of(self, reach: Reach, known: Manifest) -> SessionSummary:
        """Describe a session of which the manifest does not say everything: it is being written, as a rule."""
        log, live = reach.log, self.writer() is not None
        return SessionSummary(
            session_id=self.session_id,
            name=known.name,
            status="active" if live else "stopped",
            recovery_state=recovery_state(log),
            exchanges=log.exchanges,
            interrupted=len(log.interrupted) + log.interrupted_unlisted,
            errors=count_errors(self._index) if self._index.exists() else UNSET,
            bytes=sum(ref.size for ref in list_segments(self.log_dir)),
            started_at=(log.begun_ns or known.created_ns) // 1_000_000,
            ended_at=None if live else (log.ended_ns // 1_000_000 or None),
            profile=known.profile,
            durability=known.durability,
            dropped=log.dropped,
            pinned=is_pinned(self.folder),
            note=unread_note(reach),
        )

    def coverage(self) -> Coverage:
        """Say up to where the log was read and what is not in it."""
        return coverage(self.follow())

    # -- queries ------------------------------------------------------------------------------------------------

    def query(
        self,
        wanted: Filter | None = None,
        sort: str = "desc",
        limit: int = 50,
        cursor: str | None = None,
        offset: int = 0,
        *,
        count: bool = False,
    ) -> QueryPage:
        """Return one page of the exchanges that a filter takes.

        Args:
            wanted: the filter; None takes all.
            sort: ``desc`` is newest first; or a column, as ``ordering.read_order`` takes it.
            limit: exchanges on the page, 1 to 10,000.
            cursor: ``next_cursor`` of the page before, with the same other arguments; exchanges that have arrived since
                the first page are not in the later ones.
            offset: exchanges to leave out first.
            count: count all matches, however many they are.

        Raises:
            UsageError: an argument means nothing. NotFoundError, StorageError: as ``follow``.
        """
        wanted = wanted or Filter()
        check_page(limit, offset)
        what = query_checksum(self.session_id, wanted, sort)
        begun = decode_cursor(cursor, what) if cursor else None
        now = begun.now if begun else _now()
        found, reach = self._selection(wanted, sort, now, begun)
        most = None if count else COUNTED + 1
        matched = begun.matched if begun and (begun.counted or not count) else None
        if found.takes_all and matched is None:
            matched = reach.log.exchanges
        if found.decided:
            matched = found.count(most) if matched is None else matched
            rows = found.rows(limit + 1, offset)
        else:
            rows, matched = found.matching(limit + 1, offset, matched, most)
        counted = begun.counted if begun and not count else found.takes_all or most is None or matched < most
        items = [summary(self.session_id, row) for row in rows[:limit]]
        next_cursor = None
        if len(rows) > limit:
            last = rows[limit - 1]
            next_cursor = encode_cursor(Cursor(last[0], found.through, matched, counted, what, now, last[-1]))
        notes = found.unsearched.notes()
        if not items and any(map(looks_like_expression, (wanted.text, wanted.url_contains, wanted.host_contains))):
            notes.append(LITERAL)
        return QueryPage(
            matched=matched if counted else UNSET,
            matched_at_least=UNSET if counted else COUNTED,
            returned=len(items),
            items=items,
            next_cursor=next_cursor,
            coverage=coverage(reach, empty=not items, notes=notes),
        )

    def iterate(
        self, wanted: Filter | None = None, sort: str = "asc", *, bodies: bool = True
    ) -> Iterator[ExchangeDetail]:
        """Yield every exchange that a filter takes, one at a time, in bounded memory.

        Exchanges that arrive while it runs are not in it.

        Raises:
            UsageError, NotFoundError, StorageError: as ``query``.
        """
        found, _ = self._selection(wanted or Filter(), sort, _now(), None)
        for seqs in _more_and_more(row[0] for row in found.every()):
            known: Handshakes = {}
            for seq, one in zip(seqs, self._lookup.several(seqs), strict=True):
                self._check()  # of a session deleted meanwhile some of the log is still in memory
                if one is None:
                    raise self._lookup.missing(seq, read_reach(self._index, end=self._index.at_end()))
                yield self._lookup.detail(*one, MAX_INLINE if bodies else 0, known)

    def summaries(self, wanted: Filter | None = None, sort: str = "asc") -> Iterator[ExchangeSummary]:
        """Yield a line for every exchange that a filter takes, in bounded memory; otherwise as ``iterate``.

        Raises:
            UsageError, NotFoundError, StorageError: as ``query``.
        """
        found, _ = self._selection(wanted or Filter(), sort, _now(), None)
        for row in found.every():
            yield summary(self.session_id, row)

    def chosen(self, wanted: Filter) -> Chosen:
        """Return the numbers of the exchanges that a filter takes, in their order, and what could not be decided.

        Raises:
            UsageError, NotFoundError, StorageError: as ``query``.
        """
        found, _ = self._selection(wanted, "asc", _now(), None)
        return Chosen(found.seqs(), found.unsearched.notes())

    def group(
        self, wanted: Filter | None = None, by: str = "host", limit: int = 50, *, veil: Veil = UNVEILED
    ) -> Groups:
        """Count the exchanges that a filter takes by what they have in common, the largest groups first.

        Args:
            wanted: the filter; None takes all.
            by: one of ``grouping.BY``.
            limit: groups to give; ``left`` says what the others hold.
            veil: hides secrets in what groups are called.

        Raises:
            UsageError, NotFoundError, StorageError: as ``query``.
        """
        check_by(by)
        check_page(limit, 0)
        found, reach = self._selection(wanted or Filter(), "asc", _now(), None)
        answer = grouped(found, by, limit, veil)
        notes = found.unsearched.notes()
        told = coverage(reach, empty=not answer.matched, notes=notes)
        return msgspec.structs.replace(answer, coverage=veiled_coverage(told, veil))

    def marks(self) -> list[Mark]:
        """Return the labelled points of the recording, the oldest first.

        Raises:
            NotFoundError, StorageError: as ``follow``.
        """
        self.follow()
        return read_marks(self._index)

    def _selection(self, wanted: Filter, sort: str, now: int, begun: Cursor | None) -> tuple[Selection, Reach]:
        """Prepare what a query reads; ``begun`` says where to go on."""
        order = read_order(sort)
        tree = tree_of(wanted, now, self.marks)
        reach = self.follow()
        if reach.log.holder is None and not reach.unread:
            asked = {order.column, *compared_numbers(tree)}
            self._index.run(lambda db: sort_at_rest(db, asked))
        through = begun.through if begun else reach.through_seq
        after = Place(begun.after, begun.value) if begun else None
        return Selection(self._index, self._tape_of, self._lookup.messages, tree, order, through, after), reach

    def newest(self, count: int) -> list[ExchangeSummary]:
        """Return the newest ``count`` exchanges, newest first."""
        return self.query(limit=count).items

    # -- single exchanges ---------------------------------------------------------------------------------------

    def exchange(self, seq: int, *, bodies: bool = True, max_body: int = MAX_INLINE) -> ExchangeDetail:
        """Return one exchange whole, read from the log and verified; what damage took is named, never an error.

        Args:
            bodies: with the bodies, content encoding removed.
            max_body: bytes of each body at most.

        Raises:
            NotFoundError: there is no such exchange (the message says whether it was lost).
        """
        self.follow()
        return self._detail(seq, max_body if bodies else 0)

    def raw_body(self, seq: int, side: str, decoded: bool = True, *, follow: bool = True) -> Iterator[bytes]:
        """Yield a body piece by piece, in bounded memory.

        Args:
            side: ``request`` or ``response``; ``sent request`` and ``received response`` are the server's, where a rule
                changed one.
            decoded: take content encodings off.
            follow: look for what is new in the log first; not needed right after another question.

        Raises:
            UsageError: ``side`` is neither. NotFoundError: no such exchange.
            DamagedError (while iterating): damage took a part; the rest has been given, zeros in its place.
            WiretapeError (while iterating): it does not decode.
        """
        if side not in {REQUEST, RESPONSE, SENT_REQUEST, RECEIVED_RESPONSE}:
            raise UsageError(f"A body is of the request or the response, not {side[:20]!r}", hint="give one of the two")
        if follow:
            self.follow()
        _, tape = self._find(seq)
        return stream_body(tape, side, decoded=decoded)

    def timed_body(self, seq: int, side: str) -> Iterator[tuple[bytes, int]]:
        """Yield a decoded body piece by piece, each with when it had come: ns from the exchange's beginning, or -1.

        Raises: as ``raw_body``.
        """
        if side not in {REQUEST, RESPONSE}:
            raise UsageError(f"A body is of the request or the response, not {side[:20]!r}", hint="give one of the two")
        self.follow()
        return timed_body(self._find(seq)[1], side)

    def _detail(self, seq: int, max_body: int) -> ExchangeDetail:
        row, tape = self._find(seq)
        return self._lookup.detail(row, tape, max_body)

    def _find(self, seq: int) -> tuple[dict[str, Any], ExchangeTape]:
        found = self._lookup.find(seq)
        if found is None:
            raise self._lookup.missing(seq, read_reach(self._index, end=self._index.at_end()))
        return found

    def tape(self, seq: int) -> ExchangeTape:
        """Return the frames of an exchange; ``follow`` comes before.

        Raises:
            NotFoundError: there is no such exchange.
        """
        return self._find(seq)[1]

    def _tape_of(self, seq: int) -> ExchangeTape:
        return self._find(seq)[1]

    # -- the log as a whole -------------------------------------------------------------------------------------

    def verify(self, progress: Progress | None = None, *, deep: bool = False) -> VerifyReport:
        """Check every byte of the log; writes nothing, also on a session that is being written.

        Args:
            progress: called with (bytes read, bytes of the log).
            deep: put every body together, too, and compare it with its digest.

        Raises:
            NotFoundError, StorageError, LogVersionError: the log cannot be read at all.
        """
        self._check()
        check = DeepCheck() if deep else None
        log = verify_log(self.log_dir, self.session_id, progress, watch=check.watch if check is not None else None)
        return verify_report(self.session_id, log, check)

    def recover(self, *, dry_run: bool = False, progress: Progress | None = None) -> RecoveredSession:
        """Make everything derived again from the log; the log itself is only read (P3).

        Raises:
            BusyError: it is being written. NotFoundError, StorageError, LogVersionError: the log cannot be read.
        """
        self._check()
        self._index.close()
        return recover_session(self.folder, self.session_id, dry_run=dry_run, progress=progress)


def _more_and_more(seqs: Iterable[int]) -> Iterator[list[int]]:
    """Yield numbers some at a time, first one alone: who reads only the beginning does not wait for more."""
    rest, size = iter(seqs), 1
    while taken := list(islice(rest, size)):
        yield taken
        size = min(2 * size, _TOGETHER)


def _now() -> int:
    return time.time_ns() // 1_000_000


def summary_of(manifest: Manifest, size: int, *, pinned: bool) -> SessionSummary:
    return SessionSummary(
        session_id=manifest.session_id,
        name=manifest.name,
        status="stopped",
        recovery_state=manifest.recovery_state,
        exchanges=manifest.exchanges,
        interrupted=manifest.interrupted,
        errors=UNSET if manifest.errors is None else manifest.errors,
        bytes=size,
        started_at=manifest.started_at or manifest.created_ns // 1_000_000,
        ended_at=manifest.ended_at,
        profile=manifest.profile,
        durability=manifest.durability,
        dropped=manifest.dropped,
        verified=manifest.verified,
        pinned=pinned,
    )
