"""What a daemon does besides everything else, as a process of its own: recover unclean sessions, follow the log that is
being recorded, and read again what was written long ago.

Run as ``python -m wiretape.maintenance.background ROOT``. It is a process because this work is pure computing: in the
daemon it would take turns with the answers, and on a machine with one core it must not take the recorder's time. So
it runs at the lowest priority and rests between small transactions, longer the less time it is given: an index
transaction that the scheduler starves would hold up a query that wants the same index. Nobody depends on it; a query
follows the log itself before it answers.

Stdin and stdout are a channel (see wiretape.channel). Commands: ``configure`` first, with the settings, then ``follow``
with ``sessionId`` or null; it ends with stdin. Events: ``doing`` (``doing``, ``done``, ``total``), ``recovered`` and
``damage`` (``items``, at most a hundred at a time), ``pruned`` and ``problem`` (``sentence``).
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from wiretape.channel.messages import Lines, decode, encode
from wiretape.errors import NotFoundError, WiretapeError
from wiretape.model import Gap, RecoveredSession, SkippedSession
from wiretape.session.catalogue import Catalogue
from wiretape.session.index.database import INDEX
from wiretape.session.prune import PruneRules, prune
from wiretape.session.recovery.heal import protect_session, unprotected, want_parity, wants_parity
from wiretape.session.recovery.scrub import Scrubber
from wiretape.session.session import Session
from wiretape.settings import MaintenanceSettings, from_wire

TICK = 2.0
TICK_FAR = 0.5
"""Seconds between two looks at the log; the second where a look found much. A query follows the log itself before it
answers, so the steps only say how much is left to it, and each wakes this process on the recorder's core."""
MUCH = 4 << 20
"""Bytes that a log has grown by from which it is looked at sooner."""

FOLLOW_SHARE = 0.8
SCRUB_SHARE = 0.2
TEXT_SHARE = 0.5
"""Of the time that the process is given: the rest it rests, so that others get the index, or the disk."""

GENTLE_FRAMES = 1024
GENTLE_BYTES = 4 << 20
"""What one transaction reads while a session is recorded: 20 ms of work."""

BREATH = 0.002
SLICE = 0.02
LONGEST_REST = 2.0
REPORT_EVERY = 0.2

LOOK_EVERY = 60.0
PROTECT_EVERY = 5.0
TEXT_EVERY = 5.0
RETAIN_EVERY = 600.0
ITEMS = 100
"""Names or sentences in one event at most."""
SENTENCE = 1000
"""Characters of one sentence at most."""
BIG = 64 << 20
"""Bytes to read from which the status says that it scrubs."""

Tell = Callable[[dict[str, Any]], None]


def main(argv: list[str]) -> int:
    """Work on the root ``argv[1]`` until stdin ends."""
    commands = Commands()
    with suppress(_Ended):
        settings = commands.settings()
        if not settings.eager:
            give_way()
        work = Work(Catalogue(Path(argv[1])), _tell, settings, commands)
        for problem in settings.problems:
            work.problem(problem)
        work.run()
    return 0


def give_way() -> None:
    """Run only where nobody else wants to: Linux knows that as a policy, elsewhere the lowest priority comes close.

    That policy gives way at once only within one group of the scheduler, and Linux may group processes by session
    (autogroup). So background and recorder stay in the daemon's session: in one of its own the background kept a
    recorder that was woken on its core waiting for 1 to 5 ms, the rest of its slice; now for 0.09 ms at most.
    """
    with suppress(OSError):
        os.nice(19)
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


class _Ended(Exception):  # noqa: N818 -- the end of the input is no error
    """The daemon is gone."""


def _tell(event: dict[str, Any]) -> None:
    """Write an event to the daemon; one that is gone is no reason to fail."""
    try:
        sys.stdout.buffer.write(encode(event))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(0)


class Commands:
    """What the daemon says on stdin.

    Attributes:
        follow: the session whose log is to be followed, None for none.
    """

    def __init__(self) -> None:
        self._lines = Lines()
        self._settings: MaintenanceSettings | None = None
        self.follow: str | None = None

    def settings(self) -> MaintenanceSettings:
        """Wait for the settings, which come first."""
        while self._settings is None:
            self._read()
        return self._settings

    def wait(self, seconds: float) -> None:
        """Take the commands that come in this time; the end of the input ends the work."""
        until = time.monotonic() + seconds
        while select.select([0], [], [], max(0.0, until - time.monotonic()))[0]:
            self._read()

    def _read(self) -> None:
        block = os.read(0, 65536)
        if not block:
            raise _Ended
        for line in self._lines.feed(block):
            message = decode(line or b"")
            if message.get("cmd") == "configure":
                self._settings = from_wire(MaintenanceSettings, message["settings"])
            elif message.get("cmd") == "follow":
                self.follow = message["sessionId"]


class Pace:
    """Rests after every few milliseconds of work, in proportion."""

    def __init__(self, rest: Callable[[float], None], share: float) -> None:
        self._rest = rest
        self._factor = 1 / share - 1
        self._since = time.monotonic()

    def begin(self) -> None:
        """Work begins now."""
        self._since = time.monotonic()

    def __call__(self, *_: int) -> None:
        """Rest if it is time."""
        worked = time.monotonic() - self._since
        if worked >= SLICE:
            self._rest(min(LONGEST_REST, worked * self._factor))
            self._since = time.monotonic()


class Work:
    """Everything that the process does, in turns."""

    def __init__(
        self, catalogue: Catalogue, tell: Tell, settings: MaintenanceSettings, commands: Commands | None = None
    ) -> None:
        self._catalogue = catalogue
        self._tell = tell
        self._settings = settings
        self._scrub_every = settings.scrub_seconds
        self._commands = commands or Commands()
        self._reported = 0.0
        self._looked = 0.0
        self._tick = TICK
        self._follower = LiveFollower(catalogue, self.problem, self._commands.wait)
        self._failed: set[tuple[str, str]] = set()
        self._damaged: set[tuple[str, str, int]] = set()
        self._recovered: list[str] = []
        self._texts: dict[str, tuple[int, bool]] = {}
        """How large the log of each session was whose index of substrings had come to its end, and whether there was
        an index at all."""
        self._rules = PruneRules(older_than=settings.retain_seconds, max_total=settings.retain_total)

    def problem(self, sentence: str) -> None:
        """Tell what did not work."""
        self._tell({"event": "problem", "sentence": sentence[:SENTENCE]})

    def _doing(self, what: str, done: int = 0, total: int = 0) -> None:
        self._tell({"event": "doing", "doing": what, "done": done, "total": total})

    def _tell_all(self, event: str, items: Sequence[str]) -> None:
        """Tell many things in events of a bounded size."""
        for start in range(0, len(items), ITEMS):
            self._tell({"event": event, "items": [item[:SENTENCE] for item in items[start : start + ITEMS]]})

    def run(self) -> None:
        """Work until stdin ends, which raises ``_Ended``."""
        self.recover()
        self._doing("following")
        scrub_at = retain_at = protect_at = text_at = 0.0
        while True:
            self._turn(self._tick)
            if time.monotonic() >= retain_at:
                self.retain()
                retain_at = time.monotonic() + RETAIN_EVERY
            if time.monotonic() >= protect_at:
                self.protect()
                protect_at = time.monotonic() + PROTECT_EVERY
            if self._settings.text_bytes and time.monotonic() >= text_at:
                self.index_more()
                text_at = time.monotonic() + TEXT_EVERY
            if self._scrub_every and time.monotonic() >= scrub_at:
                self.scrub()
                scrub_at = time.monotonic() + min(LOOK_EVERY, self._scrub_every / 2)

    # -- turns --------------------------------------------------------------------------------------------------

    def _turn(self, seconds: float) -> None:
        """Give other work its turn: commands, and the log that is being recorded."""
        self._commands.wait(seconds)
        if self._commands.follow is not None and time.monotonic() - self._looked >= self._tick:
            self._tick = TICK_FAR if self._follower.look(self._commands.follow) >= MUCH else TICK
            self._looked = time.monotonic()

    # -- recovery -----------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Recover every session that was left unclean (P13); what fails is reported and stops nothing."""
        try:
            self._catalogue.recover_unclean(progress=self._progress, each=self._settled)
        except WiretapeError as error:
            self.problem(str(error))
        self._name_recovered()

    def _settled(self, session: RecoveredSession | SkippedSession) -> None:
        if isinstance(session, SkippedSession):
            self.problem(f"session {session.session_id} was not recovered: {session.reason}")
            return
        self._recovered.append(session.session_id)
        if len(self._recovered) >= ITEMS:
            self._name_recovered()

    def _name_recovered(self) -> None:
        self._tell_all("recovered", self._recovered)
        self._recovered.clear()

    def _progress(self, done: int, total: int) -> None:
        """Report bytes done and in all, not more often than somebody can look; queries get their turn meanwhile."""
        self._turn(BREATH)
        now = time.monotonic()
        if now - self._reported >= REPORT_EVERY:
            self._reported = now
            self._doing("recovering", done, total)

    # -- retention ----------------------------------------------------------------------------------------------

    def retain(self) -> None:
        """Delete what the user's settings name, and say so."""
        if self._rules.empty:
            return
        try:
            report = prune(self._catalogue.root, self._rules)
        except WiretapeError as error:
            self.problem(f"no session was deleted automatically: {error}")
            return
        for session in report.pruned:
            sentence = f"{session.session_id} ({session.name}): it {session.reason}"
            self._tell({"event": "pruned", "sentence": sentence[:SENTENCE]})

    # -- parity -------------------------------------------------------------------------------------------------

    def protect(self) -> None:
        """Make the parity that is missing of finished segments, where a session is to have it."""
        self._each_session(self._protect_session, "gets no parity")

    def _protect_session(self, session_id: str) -> None:
        folder = self._catalogue.folder / session_id
        if self._settings.parity and session_id == self._commands.follow:
            want_parity(folder)
        if not wants_parity(folder):
            return
        # Damaged ones are read once: they stay without, and scrubbing tells of them.
        todo = [ref for ref in unprotected(folder) if (session_id, ref.name, ref.size) not in self._damaged]
        if todo:
            pace = Pace(self._turn, SCRUB_SHARE)
            damaged = set(protect_session(folder, session_id, segments=todo, pause=pace).damaged)
            self._damaged |= {(session_id, ref.name, ref.size) for ref in todo if ref.name in damaged}

    # -- substrings ---------------------------------------------------------------------------------------------

    def index_more(self) -> None:
        """Bring on what no question waits for of the indexes, the newest session first."""
        self._each_session(self._index_more_of, "gets no index of substrings")

    def _index_more_of(self, session_id: str) -> None:
        here = (self._follower.log_size(session_id), (self._catalogue.folder / session_id / INDEX).exists())
        if self._texts.get(session_id) == here:
            return
        pace = Pace(self._turn, TEXT_SHARE)
        with Session(self._catalogue.folder / session_id, session_id) as session:
            pace.begin()
            session.index_more(self._settings.text_bytes, pace)
        self._texts[session_id] = here

    # -- scrubbing ----------------------------------------------------------------------------------------------

    def scrub(self) -> None:
        """Read again what is due, the newest session first; damage is told when it is found."""
        self._each_session(self._scrub_session, "could not be read again")

    def _each_session(self, work: Callable[[str], None], otherwise: str) -> None:
        """Do something with every session, the newest first; where that fails is told once."""
        try:
            sessions = self._catalogue.ids()
        except WiretapeError as error:
            self.problem(str(error))
            return
        for session_id in sessions:
            try:
                work(session_id)
            except NotFoundError:  # deleted meanwhile
                continue
            except WiretapeError as error:
                if (session_id, otherwise) not in self._failed:
                    self._failed.add((session_id, otherwise))
                    self.problem(f"session {session_id} {otherwise}: {error}")

    def _scrub_session(self, session_id: str) -> None:
        pace = Pace(self._turn, SCRUB_SHARE)
        scrubber = Scrubber(self._catalogue.folder / session_id, session_id, pause=pace)
        due = scrubber.due(self._scrub_every)
        if not due:
            return
        big = sum(ref.size for ref in due) >= BIG
        if big:
            self._doing(f"scrubbing {session_id}")
        try:
            found = scrubber.run(self._scrub_every)
        finally:
            if big:
                self._doing("following")
        self._tell_all("damage", [_sentence(session_id, gap) for gap in found[:ITEMS]])


def _sentence(session_id: str, gap: Gap) -> str:
    of = f", of exchange {', '.join(map(str, gap.exchanges))}" if gap.exchanges else ""
    return f"session {session_id}: {gap.segment} is damaged at {gap.offset}, {gap.length} bytes{of}: {gap.reason}"


class LiveFollower:
    """Keeps the index of the session being recorded close to its log's end."""

    def __init__(
        self, catalogue: Catalogue, problem: Callable[[str], None], rest: Callable[[float], None] = time.sleep
    ) -> None:
        self._catalogue = catalogue
        self._problem = problem
        self._pace = Pace(rest, FOLLOW_SHARE)
        self._given_up: str | None = None
        self._seen: tuple[str, int] | None = None

    def look(self, session_id: str) -> int:
        """Follow a session if its log has grown since the last look; return by how many bytes it had."""
        here = (session_id, self.log_size(session_id))
        before, self._seen = self._seen, here
        if here == before or session_id == self._given_up:
            return 0
        try:
            with Session(self._catalogue.folder / session_id, session_id) as session:
                session.follow_gently(GENTLE_FRAMES, GENTLE_BYTES)
                self._pace.begin()
                session.follow(self._pace)
        except WiretapeError as error:
            self._problem(f"the index of {session_id} could not be kept up: {error}")
            self._given_up = session_id
        return here[1] - before[1] if before is not None and before[0] == session_id else here[1]

    def log_size(self, session_id: str) -> int:
        """Return the bytes of a session's log."""
        size = 0
        with suppress(OSError), os.scandir(self._catalogue.folder / session_id / "log") as entries:
            for entry in entries:
                with suppress(OSError):
                    size += entry.stat().st_size
        return size


if __name__ == "__main__":
    sys.exit(main(sys.argv))
