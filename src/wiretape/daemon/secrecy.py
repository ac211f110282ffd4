"""The secrets of the sessions that are asked about, so that none of them goes to a model (P18)."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec

from wiretape.errors import WiretapeError
from wiretape.model import Filter
from wiretape.secrets.find import in_header, in_text
from wiretape.secrets.handles import root_key
from wiretape.secrets.known import Known
from wiretape.secrets.masking import Masking
from wiretape.secrets.names import kind_of
from wiretape.secrets.sightings import sightings
from wiretape.session.session import Session

log = logging.getLogger(__name__)

PATIENCE: Final = 1.0
"""Seconds that one answer waits for the secrets of its session to be read; the rest is read beside it."""
WHOLE: Final = 5_000
"""Exchanges that are new and read whole at once; of more, all headers and URLs are, and the bodies that promise most.
The bodies of the others are read in the background, a little at a time, until all were."""
_ENDS: Final = 500
"""Exchanges at both ends of a large session whose bodies are read."""
_LOGINS: Final = 1_000
_URLS: Final = 20_000
_RUNNING: Final = 1_000
"""Exchanges that were running when they were read, and are read again."""
_SESSIONS: Final = 64
_WORK, _REST = 0.02, 0.06
"""Seconds of work and of rest in turn of what is read beside answers: they share one interpreter."""
_LONG_REST: Final = 0.18
"""The same for the bodies that promise little: a tenth of the time."""
_LOOK: Final = 0.1
"""Seconds of reading between two looks whether a handle that is looked for is known."""

_WORDS: Final = ("token", "key=", "secret", "passw", "pwd=", "sig", "auth", "sess", "sid=", "csrf", "://%:%@")
_NAMES: Final = "SELECT DISTINCT name FROM header_blocks"
_VALUES: Final = "SELECT found FROM header_blocks WHERE name = ? AND last > ?"
_WITH_SECRETS: Final = (
    f"SELECT url FROM exchanges WHERE seq > ? AND ({' OR '.join('url LIKE ?' for _ in _WORDS)}) LIMIT ?"  # noqa: S608
)
_LOGIN_WORDS: Final = ("auth", "login", "token", "session", "sign", "account", "password", "user", "key", "secret")
_LOGIN_SEQS: Final = (
    "SELECT seq FROM exchanges WHERE seq > ? AND method IN ('POST', 'PUT')"  # noqa: S608 - values are bound
    f" AND ({' OR '.join('url LIKE ?' for _ in _LOGIN_WORDS)}) LIMIT ?"
)
_ALWAYS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})


class _Progress:
    """How far one session was read for its secrets."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.columns = 0
        self.through = 0
        self.chosen: list[int] = []
        self.rest: list[tuple[int, int]] = []
        self.running: OrderedDict[int, None] = OrderedDict()
        self.behind = False
        self.stopped = False


class Secrecy:
    """What is known of the secrets of a root, learned from its sessions as they are asked about.

    Headers and URLs come first, from the index; then bodies, from the log.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sessions: OrderedDict[str, _Progress] = OrderedDict()
        self._lock = threading.Lock()

    @cached_property
    def veil(self) -> Masking:
        """The veil of everything that goes to a model; the first use makes the root's key if there is none."""
        return Masking(Known(root_key(self._root)))

    def learn(self, session: Session) -> None:
        """Read what is new in a session's log for its secrets; called in a thread, before the session answers."""
        progress = self._of(session.session_id)
        if not progress.lock.acquire(timeout=PATIENCE):
            return  # somebody reads it already
        try:
            finished = self._read(session, progress, time.monotonic() + PATIENCE)
        finally:
            progress.lock.release()
        if (progress.rest or not finished) and not progress.behind:
            progress.behind = True
            threading.Thread(target=self._read_on, args=(session, progress), name="secrets", daemon=True).start()

    def unread(self) -> list[str]:
        """Say of which sessions bodies are still to be read for their secrets, a sentence for each."""
        with self._lock:
            sessions = list(self._sessions.items())
        told = []
        for session_id, progress in sessions:
            count = len(progress.chosen) + sum(max(0, high - low + 1) for low, high in list(progress.rest))
            if count and not progress.stopped:
                told.append(
                    f"The bodies of {count:,} exchanges of {session_id} are still to be read for secrets: one that"
                    " stands only there may be shown elsewhere, where nothing says what it is"
                )
        return told

    def forget(self, session_id: str) -> None:
        """Read a session no further: it is about to be deleted or recovered."""
        with self._lock:
            progress = self._sessions.pop(session_id, None)
        if progress is not None:
            progress.stopped = True

    def close(self) -> None:
        """Read nothing any more."""
        with self._lock:
            for progress in self._sessions.values():
                progress.stopped = True

    def _of(self, session_id: str) -> _Progress:
        with self._lock:
            progress = self._sessions.setdefault(session_id, _Progress())
            self._sessions.move_to_end(session_id)
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)[1].stopped = True
            return progress

    def _read_on(self, session: Session, progress: _Progress) -> None:
        """Read the rest, with a connection of its own to the index, in small pieces with rests between."""
        finished = False
        try:
            with Session(session.folder, session.session_id) as own:
                while (progress.rest or not finished) and not progress.stopped:
                    time.sleep(_LONG_REST if finished else _REST)
                    with progress.lock:
                        until = time.monotonic() + _WORK
                        finished = self._read(own, progress, until)
                        if finished:
                            self._read_rest(own, progress, until)
        except (WiretapeError, OSError, sqlite3.Error) as error:  # it may be deleted meanwhile, with everything in it
            log.warning("the secrets of session %s could not all be read: %s", session.session_id, error)
        finally:
            progress.behind = False

    def _read(self, session: Session, progress: _Progress, until: float) -> bool:
        """Read on; return whether everything that is to be read was."""
        through = session.follow().through_seq
        if through > progress.columns:
            self._read_columns(session, progress.columns)
            progress.columns = through
        if through - progress.through > WHOLE:
            progress.chosen = _chosen(session, progress.through, through)
            progress.rest.append((progress.through + _ENDS + 1, through - _ENDS))
            progress.through = through - _ENDS
        for wanted in self._wanted(progress):
            for exchange in session.iterate(wanted):
                for kind, value, _ in sightings(exchange):
                    self.veil.known.handle_of(kind, value)
                self._note(progress, exchange.seq, running=exchange.state == "inFlight")
                if time.monotonic() > until or progress.stopped:
                    return False
        return True

    def _read_rest(self, session: Session, progress: _Progress, until: float) -> bool:
        """Read the bodies that promise little; return whether all were read."""
        while progress.rest:
            low, high = progress.rest[0]
            for exchange in session.iterate(Filter(since=str(low), until=str(high))):
                for kind, value, _ in sightings(exchange):
                    self.veil.known.handle_of(kind, value)
                progress.rest[0] = (exchange.seq + 1, high)
                if time.monotonic() > until or progress.stopped:
                    return False
            del progress.rest[0]
        return True

    def look_for(self, session: Session, handles: Collection[str], until: float) -> bool:
        """Read a session until handles are known.

        Args:
            session: the session.
            handles: the digits of the handles.
            until: on the monotonic clock; then it is given up.

        Returns:
            Whether they are known, or the session was read to its end.
        """
        progress, known = self._of(session.session_id), self.veil.known
        with progress.lock:
            while not all(known.has(digits) for digits in handles):
                if time.monotonic() > until:
                    return False
                step = min(until, time.monotonic() + _LOOK)
                if self._read(session, progress, step) and self._read_rest(session, progress, step):
                    return True
        return True

    @staticmethod
    def _wanted(progress: _Progress) -> Iterator[Filter]:
        if progress.running:
            yield Filter(seqs=list(progress.running))
        while progress.chosen:
            some = progress.chosen[:_ENDS]
            yield Filter(seqs=some)
            progress.chosen = [seq for seq in progress.chosen if seq not in some]
        yield Filter(from_seq=progress.through + 1)

    @staticmethod
    def _note(progress: _Progress, seq: int, *, running: bool) -> None:
        if seq in progress.chosen:
            progress.chosen.remove(seq)
        else:
            progress.through = max(progress.through, seq)
        if not running:
            progress.running.pop(seq, None)
            return
        progress.running[seq] = None
        if len(progress.running) > _RUNNING:
            progress.running.popitem(last=False)

    def _read_columns(self, session: Session, after: int) -> None:
        """Take the headers and URLs of what is new from the index, where each distinct value stands once."""
        known, decode = self.veil.known, msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        for (name,) in session.index.rows(_NAMES):
            if name not in _ALWAYS and kind_of(name.removeprefix("x-")) is None and kind_of(name) is None:
                continue
            for (found,) in session.index.rows(_VALUES, [name, after]):
                for value in decode(found):
                    for kind, start, end in in_header(name, value):
                        known.handle_of(kind, value[start:end])
        for (url,) in session.index.rows(_WITH_SECRETS, [after, *(f"%{word}%" for word in _WORDS), _URLS]):
            for kind, start, end in in_text(url):
                known.handle_of(kind, url[start:end])


def _chosen(session: Session, after: int, through: int) -> list[int]:
    """Return the exchanges of a large session whose bodies are read: the first, and what logs in."""
    logins = [
        seq for (seq,) in session.index.rows(_LOGIN_SEQS, [after, *(f"%{word}%" for word in _LOGIN_WORDS), _LOGINS])
    ]
    first = range(after + 1, min(after + _ENDS, through) + 1)
    return sorted({*first, *logins})
