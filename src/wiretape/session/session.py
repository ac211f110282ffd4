"""One session on disk: everything that can be asked of it. The log is only ever read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from wiretape.errors import BusyError, DamagedError, NotFoundError, StorageError, UsageError
from wiretape.log.format import FrameType, TlsSeen
from wiretape.log.locks import writer_alive
from wiretape.log.segments import list_segments
from wiretape.log.verify import verify_log
from wiretape.model import (
    Coverage,
    ExchangeDetail,
    ExchangeSummary,
    Filter,
    QueryPage,
    RecoveredSession,
    SessionSummary,
    VerifyReport,
)
from wiretape.session import query as q
from wiretape.session.detail import MAX_INLINE, exchange_detail, handshake, stream_body
from wiretape.session.files import derived_lock
from wiretape.session.health import Health, coverage, fingerprint, read_health
from wiretape.session.index import Index, Progress
from wiretape.session.manifest import Manifest, read_manifest, write_manifest
from wiretape.session.recover import recover_session, verify_report
from wiretape.session.schema import EXCHANGE_COLUMNS
from wiretape.session.search import TextSearch
from wiretape.session.selection import Selection
from wiretape.session.tape import REQUEST, RESPONSE, ExchangeTape, LogFrames, Place

_EXCHANGE: Final = (
    f"SELECT {', '.join(f'e.{name}' for name in EXCHANGE_COLUMNS)}, o.name, d.name FROM exchanges AS e "  # noqa: S608
    "LEFT JOIN segments AS o ON o.id = e.opened_in LEFT JOIN segments AS d ON d.id = e.done_in WHERE e.seq = ?"
)
_PLACES: Final = (
    "SELECT s.name, p.offset, p.kind FROM pieces AS p JOIN segments AS s ON s.id = p.segment "
    "WHERE p.seq = ? ORDER BY p.position, s.stream, s.number, p.offset"
)


class Session:
    """Answers questions about one session, live or not. Close it, or use it in a ``with`` block.

    Every answer first follows the log to its end. A session that was left unclean is recovered before the first answer
    (P13), except by ``verify`` and ``recover(dry_run=True)``, which write nothing.
    """

    def __init__(self, folder: Path, session_id: str) -> None:
        self.folder = folder
        self.session_id = session_id
        self.log_dir = folder / "log"
        self._index = Index(folder, session_id)
        self._frames = LogFrames(self.log_dir)
        self._settled: str | None = None
        self._lost: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()

    # -- state --------------------------------------------------------------------------------------------------

    def writer(self) -> dict[str, Any] | None:
        """Give who is writing the session (``pid``, ...), or None."""
        return writer_alive(self.log_dir)

    def follow(self, progress: Progress | None = None) -> Health:
        """Bring the index to the end of the log and give the counts.

        Args:
            progress: called with (bytes read, bytes of the log).

        Raises:
            NotFoundError: the session is gone. StorageError, LogVersionError: its log cannot be read.
        """
        self.settle()
        self._index.follow(progress)
        return self._health()

    def _health(self) -> Health:
        health = read_health(self._index)
        if self._lost is not None:
            # What recovery found by reading the whole log is exact; the index knows lost numbers only roughly.
            health = msgspec.structs.replace(health, found_lost=self._lost)
        return health

    def _check(self) -> None:
        if not self.folder.is_dir():
            raise NotFoundError(
                f"Session {self.session_id} does not exist any more", hint="`wiretape sessions` shows what there is"
            )
        if not self.log_dir.is_dir() or self.log_dir.is_symlink():
            raise NotFoundError(f"{self.folder} is no session: it has no log folder", hint="delete the folder")

    def settle(self, progress: Progress | None = None) -> RecoveredSession | None:
        """Recover the session if it was left unclean, and write down what a finished one holds (P13).

        Args:
            progress: called with (bytes read, bytes to read).

        Returns:
            The report, if there was something to recover.

        Raises:
            NotFoundError: the session is gone. StorageError, LogVersionError: its log cannot be read.
        """
        self._check()
        segments = list_segments(self.log_dir)
        state = fingerprint(segments)
        if self.writer() is not None:
            self._lost = None
            return None
        if state == self._settled:
            return None
        manifest = read_manifest(self.folder, self.session_id)
        report = None
        if manifest is None or manifest.log != state:
            self._index.follow()
            health = read_health(self._index)
            if manifest is None or health.recovery_state(live=0) != "clean":
                # Recovery replaces the index, which it may only while nobody has it open.
                self._index.close()
                # A writer that begins meanwhile, or a disk that takes no writes, is no reason not to answer.
                with contextlib.suppress(StorageError, BusyError):
                    report = recover_session(self.folder, self.session_id, progress=progress)
            else:
                self._write_manifest(manifest, health, state)
        manifest = read_manifest(self.folder, self.session_id)
        self._lost = manifest.lost if manifest is not None and manifest.log == state else None
        self._settled = state
        return report

    def _write_manifest(self, manifest: Manifest, health: Health, state: str) -> None:
        begun, ended, interrupted = self._index.times()
        new = msgspec.structs.replace(
            manifest,
            started_at=begun or manifest.started_at,
            ended_at=ended or manifest.ended_at,
            exchanges=health.exchanges,
            interrupted=interrupted,
            dropped=health.dropped,
            lost=0,
            recovery_state="clean",
            log=state,
        )
        with contextlib.suppress(StorageError), derived_lock(self.folder):
            write_manifest(self.folder, new)

    def summary(self) -> SessionSummary:
        """Describe the session in one line of a list.

        Raises:
            NotFoundError, StorageError, LogVersionError: as ``follow``.
        """
        self.settle()
        segments = list_segments(self.log_dir)
        size = sum(ref.size for ref in segments)
        live = self.writer() is not None
        manifest = read_manifest(self.folder, self.session_id)
        if manifest is not None and not live and manifest.log == fingerprint(segments):
            return _summary(manifest, size)
        health = self.follow()
        begun, ended, interrupted = self._index.times()
        known = manifest or Manifest(session_id=self.session_id, name=self.session_id, created_ns=begun * 1_000_000)
        streams = len({ref.stream for ref in segments})
        return SessionSummary(
            session_id=self.session_id,
            name=known.name,
            status="active" if live else "stopped",
            recovery_state=health.recovery_state(live=streams if live else 0),
            exchanges=health.exchanges,
            interrupted=interrupted,
            bytes=size,
            started_at=begun or known.created_ns // 1_000_000,
            ended_at=None if live else (ended or None),
            profile=known.profile,
            durability=known.durability,
            dropped=health.dropped,
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
    ) -> QueryPage:
        """Give one page of the exchanges that a filter takes.

        Args:
            wanted: the filter; None takes all.
            sort: ``desc`` is newest first.
            limit: exchanges on the page, 1 to 10,000.
            cursor: ``next_cursor`` of the page before, with the same other arguments; exchanges that have arrived since
                the first page are not in the later ones.
            offset: exchanges to leave out first.

        Raises:
            UsageError: an argument means nothing. NotFoundError, StorageError: as ``follow``.
        """
        wanted = wanted or Filter()
        q.check_page(sort, limit, offset)
        condition = q.where(wanted)
        what = q.fingerprint(self.session_id, wanted, sort)
        begun = q.decode_cursor(cursor, what) if cursor else None
        health = self.follow()
        through = begun.through if begun else health.through_seq
        finder = TextSearch(wanted.text) if wanted.text is not None else None
        found = Selection(self._index, self._tape_of, condition, sort, through, begun.after if begun else None, finder)
        if finder is None:
            whole = wanted == Filter()
            matched = begun.matched if begun else health.exchanges if whole else found.count()
            rows = found.rows(limit + 1, offset)
        else:
            rows, matched = found.matching(limit + 1, offset, begun.matched if begun else None)
        items = [q.summary(self.session_id, row) for row in rows[:limit]]
        more = len(rows) > limit
        next_cursor = q.encode_cursor(q.Cursor(items[-1].seq, through, matched, what)) if more else None
        notes = finder.notes() if finder else []
        return QueryPage(
            matched=matched,
            returned=len(items),
            items=items,
            next_cursor=next_cursor,
            coverage=coverage(health, empty=not items, notes=notes),
        )

    def iterate(
        self, wanted: Filter | None = None, sort: str = "asc", *, bodies: bool = True
    ) -> Iterator[ExchangeDetail]:
        """Give every exchange that a filter takes, one at a time, in bounded memory.

        Exchanges that arrive while it runs are not in it.

        Raises:
            UsageError, NotFoundError, StorageError: as ``query``.
        """
        wanted = wanted or Filter()
        q.check_page(sort, 1, 0)
        condition = q.where(wanted)
        health = self.follow()
        finder = TextSearch(wanted.text) if wanted.text is not None else None
        found = Selection(self._index, self._tape_of, condition, sort, health.through_seq, None, finder)
        for row in found.every():
            yield self._detail(row[0], MAX_INLINE if bodies else 0)

    def newest(self, count: int) -> list[ExchangeSummary]:
        """Give the newest ``count`` exchanges, newest first."""
        return self.query(limit=count).items

    # -- single exchanges ---------------------------------------------------------------------------------------

    def exchange(self, seq: int, *, bodies: bool = True, max_body: int = MAX_INLINE) -> ExchangeDetail:
        """Give one exchange whole, read from the log and verified; what damage took is named, never an error.

        Args:
            bodies: give the bodies, content encoding removed.
            max_body: bytes of each body at most.

        Raises:
            NotFoundError: there is no such exchange (the message says whether it was lost).
        """
        self.follow()
        return self._detail(seq, max_body if bodies else 0)

    def raw_body(self, seq: int, side: str, decoded: bool = True) -> Iterator[bytes]:
        """Give a body piece by piece, in bounded memory.

        Args:
            side: ``request`` or ``response``.
            decoded: take content encodings off.

        Raises:
            UsageError: ``side`` is neither. NotFoundError: no such exchange.
            DamagedError (while iterating): damage took a part; the rest has been given, zeros in its place.
            WiretapeError (while iterating): it does not decode.
        """
        if side not in {REQUEST, RESPONSE}:
            raise UsageError(f"A body is of the request or the response, not {side[:20]!r}", hint="give one of the two")
        self.follow()
        _, tape = self._tape(seq)
        return stream_body(tape, side, decoded=decoded)

    def _detail(self, seq: int, max_body: int) -> ExchangeDetail:
        row, tape = self._tape(seq)
        return exchange_detail(self.session_id, tape, row, self._tls(row), max_body=max_body)

    def _tape(self, seq: int) -> tuple[dict[str, Any], ExchangeTape]:
        found = self._index.one(_EXCHANGE, (seq,)) if 0 < seq < 2**53 else None
        if found is None:
            raise self._missing(seq)
        *values, opened_in, done_in = found
        row = dict(zip(EXCHANGE_COLUMNS, values, strict=True))
        places = [Place(*place) for place in self._index.rows(_PLACES, (seq,))]
        if done_in is not None:
            places.insert(0, Place(done_in, row["done_at"], FrameType.DONE))
        if opened_in is not None:
            places.insert(0, Place(opened_in, row["opened_at"], FrameType.OPENED))
        return row, ExchangeTape(self._frames, seq, places)

    def _tape_of(self, seq: int) -> ExchangeTape:
        return self._tape(seq)[1]

    def _missing(self, seq: int) -> NotFoundError:
        health = self._health()
        if 0 < seq < 2**53 and self._index.one("SELECT 1 FROM unrecorded WHERE seq = ?", (seq,)):
            why = "passed while the log could not be written"
        elif 0 < seq <= health.through_seq:
            why = "is lost to damage" if health.lost else "is not in the log"
        else:
            why = f"does not exist: the log goes to {health.through_seq}"
        return NotFoundError(
            f"Exchange {seq} of session {self.session_id} {why}", hint="`wiretape query` lists what there is"
        )

    def _tls(self, row: dict[str, Any]) -> dict[str, Any] | None:
        found: dict[str, Any] = {}
        for side, connection in (("client", row["connection"]), ("server", row["upstream"])):
            if not connection:
                continue
            place = self._index.one(
                "SELECT s.name, h.offset FROM handshakes AS h JOIN segments AS s ON s.id = h.segment"
                " WHERE h.run = ? AND h.connection = ? AND h.side = ? ORDER BY s.number DESC, h.offset DESC LIMIT 1",
                (row["run"], connection, side),
            )
            if place is None:
                continue
            with contextlib.suppress(DamagedError):
                record = self._frames.frame(Place(place[0], place[1], FrameType.TLS)).record()
                if isinstance(record, TlsSeen):
                    found[side] = handshake(record)
        return found or None

    # -- the log as a whole -------------------------------------------------------------------------------------

    def verify(self, progress: Progress | None = None) -> VerifyReport:
        """Check every byte of the log; writes nothing, also on a session that is being written.

        Raises:
            NotFoundError, StorageError, LogVersionError: the log cannot be read at all.
        """
        self._check()
        return verify_report(self.session_id, verify_log(self.log_dir, self.session_id, progress))

    def recover(self, *, dry_run: bool = False, progress: Progress | None = None) -> RecoveredSession:
        """Make everything derived again from the log; the log itself is only read (P3).

        Raises:
            BusyError: it is being written. NotFoundError, StorageError, LogVersionError: the log cannot be read.
        """
        self._check()
        self._index.close()
        return recover_session(self.folder, self.session_id, dry_run=dry_run, progress=progress)


def _summary(manifest: Manifest, size: int) -> SessionSummary:
    return SessionSummary(
        session_id=manifest.session_id,
        name=manifest.name,
        status="stopped",
        recovery_state=manifest.recovery_state,
        exchanges=manifest.exchanges,
        interrupted=manifest.interrupted,
        bytes=size,
        started_at=manifest.started_at or manifest.created_ns // 1_000_000,
        ended_at=manifest.ended_at,
        profile=manifest.profile,
        durability=manifest.durability,
        dropped=manifest.dropped,
    )
