"""What rules did to one exchange, put together from its SENT frames (FORMAT.md, What rules did)."""

from __future__ import annotations

from collections.abc import Iterator

from wiretape.log.format import Flag, SentOn
from wiretape.log.items import Frame

Parts = list[tuple[Frame, SentOn]]


class Acts:
    """What rules did. Of the two messages, that of the response is asked for with ``response`` True.

    Attributes:
        records: what each rule did, in order, each with whether it was to the response.
        cut: the messages of which the last frame about that is not there.
    """

    def __init__(self) -> None:
        self.records: list[tuple[SentOn, bool]] = []
        self.cut: set[bool] = set()
        self._went_on: dict[bool, Parts] = {}

    def take(self, frame: Frame, record: SentOn) -> None:
        """Take a frame; a copy of one counts once."""
        response = bool(frame.flags & Flag.RESPONSE)
        if not record.position and (record, response) not in self.records:
            self.records.append((record, response))
        if frame.flags & Flag.LAST:
            self.cut.discard(response)
        else:
            self.cut.add(response)
        if record.head_size or record.position:
            parts = self._went_on.setdefault(response, [])
            if all(record != other for _, other in parts):
                parts.append((frame, record))

    def head(self, *, response: bool) -> bytes | None:
        """Return the raw head that went on in the place of the one that came; None where that one did."""
        parts = self._went_on.get(response)
        if not parts or not parts[0][1].head_size:
            return None
        frame, record = parts[0]
        return bytes(frame.data[: record.head_size])

    def body(self, *, response: bool) -> Parts | None:
        """Return the frames of a body that went on in the place of the one that came; None where that one did."""
        parts = self._went_on.get(response)
        if not parts or not parts[0][1].head_size or parts[0][0].flags & Flag.SAME_BODY:
            return None
        return parts


def length(parts: Parts) -> int:
    """Return how long a body is."""
    return max(record.position + len(frame.data) - record.head_size for frame, record in parts)


def pieces(parts: Parts) -> Iterator[tuple[int, bytes | None, int]]:
    """Yield a body's pieces in order: where each begins, its bytes (None: they are missing), where it ends."""
    at = 0
    for frame, record in sorted(parts, key=lambda one: one[1].position):
        data = bytes(frame.data[record.head_size :])
        if record.position > at:
            yield at, None, record.position
        at = record.position + len(data)
        if data:
            yield record.position, data, at
