"""What matches, as it comes: each exchange once, when it has ended."""

from __future__ import annotations

import msgspec

from wiretape.model import ExchangeSummary, Filter
from wiretape.session.session import Session

_STREAMS = "SELECT count(DISTINCT stream) FROM segments"
_TOP = "SELECT seq FROM exchanges WHERE (seq - 1) % ? = ? ORDER BY seq DESC LIMIT 1"


class Tail:
    """Follows one session for one filter. What is there at the beginning comes first."""

    def __init__(self, session: Session, wanted: Filter) -> None:
        self._session = session
        self._wanted = wanted
        self._low = 0
        self._running: frozenset[int] = frozenset()
        self._given: set[int] = set()

    def read(self) -> list[ExchangeSummary]:
        """Return what matches and has ended since the last call, in the order of the numbers.

        Raises:
            UsageError, NotFoundError, StorageError: as ``Session.query``.
        """
        reach = self._session.follow()
        low = self._settled()
        wanted = self._wanted
        # What ran when its neighbours were read is looked at by its number, not with all that came after it.
        parts = [msgspec.structs.replace(wanted, from_seq=self._low + 1)]
        if self._running:
            parts.append(msgspec.structs.replace(wanted, seqs=sorted(self._running)))
        found = {item.seq: item for part in parts for item in self._session.summaries(part)}
        ended = [found[seq] for seq in sorted(found) if found[seq].state != "inFlight" and seq not in self._given]
        self._given.update(item.seq for item in ended)
        self._running = frozenset(seq for seq in reach.log.in_flight if seq <= low)
        self._given = {seq for seq in self._given if seq > low or seq in self._running}
        self._low = low
        return ended

    def _settled(self) -> int:
        """Return the number up to which all exchanges have begun: each recorder gives its own numbers in order."""
        index = self._session.index
        (streams,) = index.one(_STREAMS) or (1,)
        tops = [index.one(_TOP, (max(1, streams), stream)) for stream in range(max(1, streams))]
        return min(0 if top is None else int(top[0]) for top in tops)
