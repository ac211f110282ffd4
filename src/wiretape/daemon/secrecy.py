"""The secrets of the sessions that are asked about, so that none of them goes to a model (P18)."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Final

from wiretape.errors import WiretapeError
from wiretape.model import Filter
from wiretape.secrets.handles import root_key
from wiretape.secrets.known import Known
from wiretape.secrets.masking import Masking
from wiretape.secrets.sightings import sightings
from wiretape.session.session import Session

log = logging.getLogger(__name__)

PATIENCE: Final = 1.0
"""Seconds that one answer waits for the secrets of its session to be read; the rest is read beside it."""
_RUNNING: Final = 1_000
"""Exchanges that were running when they were read, and are read again."""
_SESSIONS: Final = 64


class _Progress:
    """How far one session was read for its secrets."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.through = 0
        self.running: OrderedDict[int, None] = OrderedDict()
        self.behind = False


class Secrecy:
    """What is known of the secrets of a root, learned from its sessions as they are asked about."""

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
        if not finished and not progress.behind:
            progress.behind = True
            threading.Thread(target=self._read_on, args=(session, progress), name="secrets", daemon=True).start()

    def complete(self, session_id: str) -> bool:
        """Return whether a session's log was read for its secrets up to where it was when it was asked about last."""
        return not self._of(session_id).behind

    def _of(self, session_id: str) -> _Progress:
        with self._lock:
            progress = self._sessions.setdefault(session_id, _Progress())
            self._sessions.move_to_end(session_id)
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
            return progress

    def _read_on(self, session: Session, progress: _Progress) -> None:
        """Read the rest, with a connection of its own to the index, a second at a time."""
        finished = False
        try:
            with Session(session.folder, session.session_id) as own:
                while not finished:
                    with progress.lock:
                        finished = self._read(own, progress, time.monotonic() + PATIENCE)
        except WiretapeError as error:
            log.warning("the secrets of session %s could not all be read: %s", session.session_id, error)
        finally:
            progress.behind = False

    def _read(self, session: Session, progress: _Progress, until: float) -> bool:
        known = self.veil.known
        wanted = [Filter(seqs=list(progress.running))] if progress.running else []
        for condition in [*wanted, Filter(from_seq=progress.through + 1)]:
            for exchange in session.iterate(condition):
                for kind, value, _ in sightings(exchange):
                    known.handle_of(kind, value)
                progress.through = max(progress.through, exchange.seq)
                if exchange.state == "inFlight":
                    progress.running[exchange.seq] = None
                    if len(progress.running) > _RUNNING:
                        progress.running.popitem(last=False)
                else:
                    progress.running.pop(exchange.seq, None)
                if time.monotonic() > until:
                    return False
        return True
