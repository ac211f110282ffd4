"""Who writes a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wiretape.log.format import SegmentHead


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """Who writes: which session, which of its streams, which process run."""

    session_id: str
    stream: int
    streams: int
    run: int
    pid: int
    boot_id: str
    program: str

    def note(self) -> dict[str, Any]:
        """Return what the lock file says of its holder."""
        return {"pid": self.pid, "bootId": self.boot_id, "nonce": self.run}

    def head(self, number: int, first_seq: int, wall_ns: int) -> SegmentHead:
        """Make the record with which segment ``number`` begins."""
        return SegmentHead(
            session_id=self.session_id,
            stream=self.stream,
            streams=self.streams,
            number=number,
            first_seq=first_seq,
            wall_ns=wall_ns,
            run=self.run,
            pid=self.pid,
            boot_id=self.boot_id,
            program=self.program,
        )
