"""All sessions of one root: made, listed, found by what people call them, deleted, recovered."""

from __future__ import annotations

import builtins
import contextlib
import difflib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wiretape.errors import BusyError, NotFoundError, UsageError, WiretapeError
from wiretape.log.locks import writer_alive
from wiretape.model import RecoveredSession, RecoverReport, SessionSummary, SkippedSession
from wiretape.private_files import derived_lock, make_folder, storage_error, sync_folder
from wiretape.session.ids import LAST, MAX_NAME, check_name, is_session_id, new_session_id
from wiretape.session.index.database import Progress
from wiretape.session.manifest import Manifest, read_manifest, write_manifest
from wiretape.session.pin import is_pinned
from wiretape.session.roll import Roll, enrol, read_roll
from wiretape.session.session import Session
from wiretape.settings import Durability, Profile

SESSIONS: Final = "sessions"
_DELETED: Final = ".deleted-"
_CANDIDATES: Final = 8
_NEWEST: Final = frozenset({"latest", "newest", "current", "live", "recent"})
"""What people call the session that is ``last``."""
_GENTLE_FRAMES: Final = 4096
_GENTLE_BYTES: Final = 8 << 20
_PATIENCE: Final = 2.0
"""Seconds that one line of the list may wait for an index that is being made; the line then says so."""


@dataclass(frozen=True, slots=True)
class SessionDir:
    """A session just made: its id, its folder, and the folder for its log."""

    session_id: str
    name: str
    path: Path

    @property
    def log_dir(self) -> Path:
        """Where the recorders write."""
        return self.path / "log"


class Catalogue:
    """The sessions under ``<root>/sessions``. Real folders named as ids count, links do not (P14)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / SESSIONS

    # -- making -------------------------------------------------------------------------------------------------

    def create(
        self,
        name: str | None = None,
        *,
        profile: Profile = "full",
        durability: Durability = "group",
        max_disk: int | None = None,
    ) -> SessionDir:
        """Make an empty session.

        Args:
            name: what people call it; None calls it by its id.
            max_disk: bytes its log may take.

        Raises:
            UsageError: the name cannot be one. StorageError: the root cannot be written.
        """
        name = check_name(name) if name is not None else None
        make_folder(self.folder)
        while True:
            session_id = new_session_id()
            path = self.folder / session_id
            try:
                make_folder(path, exist_ok=False)
                break
            except FileExistsError:
                continue
        make_folder(path / "log")
        manifest = Manifest(
            session_id=session_id,
            name=name or session_id,
            created_ns=time.time_ns(),
            profile=profile,
            durability=durability,
            max_disk=max_disk,
        )
        with derived_lock(path):
            write_manifest(path, manifest)
        enrol(self.folder, session_id, manifest.name, manifest.created_ns)
        return SessionDir(session_id, manifest.name, path)

    # -- finding ------------------------------------------------------------------------------------------------

    def ids(self, after: str | None = None) -> list[str]:
        """Return the ids of all sessions, newest first.

        Args:
            after: only those that follow in that order the session whose ``mark`` this is, be it deleted meanwhile.

        Raises:
            UsageError: ``after`` is no mark. StorageError: the folder cannot be read.
        """
        mark = _read_mark(after) if after is not None else None
        found = self._folders()
        roll = read_roll(self.folder, found)
        order = [(_age(session_id, roll), session_id) for session_id in found if session_id != roll.newest]
        order.sort(reverse=True)
        if mark is not None and mark[2] != roll.newest:
            return [session_id for age, session_id in order if age < mark]
        first = [roll.newest] if roll.newest is not None and mark is None else []
        return first + [session_id for _, session_id in order]

    def _folders(self) -> builtins.list[str]:
        try:
            with os.scandir(self.folder) as entries:
                return [e.name for e in entries if is_session_id(e.name) and e.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise storage_error("read", self.folder, error) from error

    def names(self) -> dict[str, str | None]:
        """Return what each session is called, newest first; None where its manifest cannot be read.

        Raises:
            StorageError: the folder cannot be read.
        """
        ids = self.ids()
        sessions = read_roll(self.folder, ids).sessions
        return {session_id: sessions[session_id].name for session_id in ids}

    def mark(self, session_id: str) -> str:
        """Return what says a session's place in the list, for ``ids(after=...)``."""
        return f"{session_id}.{_age(session_id, read_roll(self.folder, [session_id]))[1]}"

    def resolve(self, ref: str) -> str:
        """Return the id of the session that ``ref`` means: an id, ``last``, a name, or an id's unambiguous beginning.

        ``last`` is the session that was made last, whatever the clock said then.

        Raises:
            NotFoundError: none is meant. UsageError: several are; the message names them.
        """
        if is_session_id(ref) and _is_folder(self.folder / ref):
            return ref
        found = self._folders()
        if ref == LAST:
            if not found:
                raise NotFoundError(f"There is no session in {self.folder}", hint="`wiretape serve` records one")
            return self.ids()[0]
        named = self._named(ref, found)
        found = named or sorted((one for one in found if ref and one.startswith(ref)), reverse=True)
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(found[:_CANDIDATES]) + (", ..." if len(found) > _CANDIDATES else "")
            raise UsageError(
                f"{ref[:80]!r} means {len(found)} sessions: {shown}", hint="give the whole id of one", code="ambiguous"
            )
        raise NotFoundError(f"There is no session {ref[:80]!r} in {self.folder}", hint=self._instead(ref))

    def _instead(self, ref: str) -> str:
        """Return what to do about a reference that means no session."""
        session, colon, seq = ref.rpartition(":")
        if colon and seq.isdigit():  # no name has a colon
            return f"SESSION:SEQ is one exchange of a session; a session is wanted here: {session[:80] or LAST!r}"
        near = self._near(ref)
        return f"did you mean {near!r}?" if near else "`wiretape sessions` lists ids and names; `last` is the newest"

    def called(self, session_id: str) -> str:
        """Return a session's name where it means this one alone, else its id."""
        name = self.names().get(session_id)
        if name is None:
            return session_id
        try:
            return name if self.resolve(name) == session_id else session_id
        except (NotFoundError, UsageError):
            return session_id

    def _near(self, ref: str) -> str | None:
        """Return the name that was probably meant."""
        if ref.lower() in _NEWEST:
            return LAST
        known = [name for name in self.names().values() if name is not None]
        lower = {name.lower(): name for name in [*known, LAST]}
        found = difflib.get_close_matches(ref.lower()[:MAX_NAME], lower, 1, 0.75)
        return lower[found[0]] if found else None

    def _named(self, name: str, ids: builtins.list[str]) -> builtins.list[str]:
        """Return the sessions of a name; what the roll says is only believed if the manifest says so, too."""
        roll = read_roll(self.folder, ids)
        found = [one for one in ids if roll.sessions[one].name == name]
        manifests = {one: read_manifest(self.folder / one, one) for one in found}
        return sorted((one for one, manifest in manifests.items() if manifest and manifest.name == name), reverse=True)

    def open(self, ref: str, *, aside: bool = False) -> Session:
        """Open the session that ``ref`` means (see ``resolve``). Nothing is read yet.

        Args:
            ref: as ``resolve`` takes it.
            aside: write nothing into the session's folder, whatever is asked.

        Raises:
            NotFoundError, UsageError: as ``resolve``.
        """
        session_id = self.resolve(ref)
        return Session(self.folder / session_id, session_id, aside=aside)

    def list(self, after: str | None = None, limit: int | None = None) -> builtins.list[SessionSummary]:
        """Describe sessions, newest first; one that cannot be read is listed with what is known of it.

        Args:
            after: as ``ids`` takes it.
            limit: how many at most; the others cost nothing.

        Raises:
            UsageError: ``after`` is no mark. StorageError: the folder cannot be read.
        """
        found: builtins.list[SessionSummary] = []
        for session_id in self.ids(after):
            if limit is not None and len(found) >= limit:
                break
            with contextlib.suppress(NotFoundError):  # deleted in this moment, or no session at all
                found.append(self._summary(session_id))
        return found

    def _summary(self, session_id: str) -> SessionSummary:
        folder = self.folder / session_id
        with Session(folder, session_id) as session:
            session.patience = _PATIENCE
            try:
                return session.summary()
            except NotFoundError:
                raise
            except WiretapeError:
                manifest = read_manifest(folder, session_id)
                return SessionSummary(
                    session_id=session_id,
                    name=manifest.name if manifest else session_id,
                    status="active" if writer_alive(folder / "log") else "stopped",
                    recovery_state="damaged",
                    exchanges=manifest.exchanges if manifest else 0,
                    interrupted=manifest.interrupted if manifest else 0,
                    bytes=_log_bytes(folder / "log"),
                    started_at=(manifest.started_at or manifest.created_ns // 1_000_000) if manifest else 0,
                    ended_at=manifest.ended_at if manifest else None,
                    pinned=is_pinned(folder),
                )

    # -- removing -----------------------------------------------------------------------------------------------

    def delete(self, ref: str, force: bool = False) -> str:
        """Delete a session with everything in it; return its id.

        Args:
            force: also one that is being written; what its recorder writes from then on goes nowhere.

        Raises:
            BusyError: it is being written, or pinned. NotFoundError, UsageError: as ``resolve``.
            StorageError: it cannot be removed.
        """
        session_id = self.resolve(ref)
        folder = self.folder / session_id
        holder = writer_alive(folder / "log")
        if holder is not None and not force:
            raise BusyError(
                f"Session {session_id} is being written by process {holder['pid']}",
                hint="stop the session first (`wiretape stop`, or proxy_session_stop)",
                pid=holder["pid"],
            )
        if is_pinned(folder):
            raise BusyError(
                f"Session {session_id} is pinned",
                hint=f"`wiretape pin {session_id} --off` takes the pin away",
                code="pinned",
            )
        # Renamed first: nobody can open what is half gone, and what a kill leaves behind is no session.
        doomed = self.folder / f"{_DELETED}{session_id}"
        try:
            if doomed.exists():
                shutil.rmtree(doomed)
            folder.rename(doomed)
            sync_folder(self.folder)
            shutil.rmtree(doomed)
        except OSError as error:
            raise storage_error("delete", folder, error) from error
        return session_id

    def _sweep(self) -> None:
        """Finish deletions that were killed."""
        with contextlib.suppress(OSError):
            for entry in list(os.scandir(self.folder)):
                name = entry.name.removeprefix(_DELETED)
                if name != entry.name and is_session_id(name) and entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)

    # -- recovering ---------------------------------------------------------------------------------------------

    def recover(
        self, ref: str | None = None, *, dry_run: bool = False, progress: Progress | None = None
    ) -> RecoverReport:
        """Recover one session, or all; one that cannot be recovered never stops the others.

        Args:
            ref: as ``resolve`` takes it; None means all.
            dry_run: write nothing; the report is the same.
            progress: called with (bytes done, bytes in all).

        Raises:
            NotFoundError, UsageError: as ``resolve``. StorageError: the folder cannot be read.
        """
        if not dry_run and ref is None:
            self._sweep()
        ids = self.ids() if ref is None else [self.resolve(ref)]
        recovered: builtins.list[RecoveredSession] = []
        skipped: builtins.list[SkippedSession] = []
        for session_id, report in self._each(ids, progress):
            with Session(self.folder / session_id, session_id) as session:
                try:
                    recovered.append(session.recover(dry_run=dry_run, progress=report))
                except WiretapeError as error:
                    skipped.append(SkippedSession(session_id=session_id, reason=str(error)))
        return RecoverReport(recovered=recovered, skipped=skipped)

    def _each(self, ids: builtins.list[str], progress: Progress | None) -> Iterator[tuple[str, Progress | None]]:
        """Yield each id with a progress of its own that counts on in ``progress``."""
        sizes = [_log_bytes(self.folder / session_id / "log") for session_id in ids]
        done, total = 0, max(1, sum(sizes))
        for session_id, size in zip(ids, sizes, strict=True):
            if progress is None:
                yield session_id, None
                continue
            begun = done

            def share(part: int, of: int, begun: int = begun, size: int = size) -> None:
                progress(begun + (size * min(part, of) // of if of else size), total)

            yield session_id, share
            done += size
            progress(done, total)

    def recover_unclean(
        self,
        *,
        progress: Progress | None = None,
        each: Callable[[RecoveredSession | SkippedSession], None] = lambda _: None,
    ) -> RecoverReport:
        """Recover the sessions that were left unclean since they were last looked at (P13), newest first.

        Args:
            progress: called with (bytes done, bytes in all).
            each: called with what became of each session, when that is known.
        """
        self._sweep()
        recovered: builtins.list[RecoveredSession] = []
        skipped: builtins.list[SkippedSession] = []
        for session_id, share in self._each(self.ids(), progress):
            with Session(self.folder / session_id, session_id) as session:
                # Small transactions: this runs while others ask, and when it is given little time.
                session.follow_gently(_GENTLE_FRAMES, _GENTLE_BYTES)
                try:
                    report = session.settle_in_background(share)
                except WiretapeError as error:
                    skipped.append(SkippedSession(session_id=session_id, reason=str(error)))
                    each(skipped[-1])
                    continue
            if report is not None:
                recovered.append(report)
                each(report)
        return RecoverReport(recovered=recovered, skipped=skipped)


def _age(session_id: str, roll: Roll) -> tuple[str, int, str]:
    """Return what orders sessions: ids do by the second; within one when the manifest was made does."""
    return session_id[:15], roll.sessions[session_id].created_ns, session_id


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _read_mark(mark: str) -> tuple[str, int, str]:
    """Read what ``Catalogue.mark`` gave."""
    session_id, _, created = mark.partition(".")
    if not is_session_id(session_id) or not created.isascii() or not created.isdigit() or len(created) > 20:
        raise UsageError(
            f"{mark[:80]!r} is not a cursor of the list of sessions", hint="pass nextCursor of the answer before"
        )
    return session_id[:15], int(created), session_id


def _log_bytes(log_dir: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(log_dir):
            with contextlib.suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_size
    return total
