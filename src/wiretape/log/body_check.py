"""Bodies against their digests: what an exchange's frames hold, put together, is what the recorder counted and summed.

Checksums find damage to frames; this finds what no frame's checksum can: a body put together wrongly, by the recorder
or by whoever wrote the log. Memory follows the exchanges that are running at one point of the log, not its size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from google_crc32c import extend as crc32c_extend

from wiretape.errors import DamagedError
from wiretape.log.assembly import counted
from wiretape.log.format import BodyChunk, Done, Flag, FrameType, Opened, ResponseBegun
from wiretape.log.items import Damage, Frame

_RUNNING: Final = 50_000
"""Exchanges without an end that are followed at once; of more, the oldest are given up."""
_LISTED: Final = 10_000


class _Body:
    """One direction of an exchange, as far as it was read."""

    __slots__ = ("crc", "seen", "size")

    def __init__(self) -> None:
        self.crc = 0
        self.seen = 0
        self.size = 0

    def add(self, position: int, data: memoryview) -> None:
        """Take a piece; what came before (frames that were written twice) counts once."""
        before = self.seen
        self.seen, self.size = counted(before, self.size, position, len(data))
        if self.seen > before:
            self.crc = crc32c_extend(self.crc, bytes(data[len(data) - (self.seen - before) :]))

    def agrees(self, size: int, recorded: int, crc: int) -> bool:
        """Compare with what DONE says; a body of which a part was not kept on purpose has no digest to compare with."""
        if self.seen != self.size or self.size != recorded:
            return False
        return recorded < size or self.crc == crc


class DeepCheck:
    """Follows every exchange of a log; ``watch`` goes with ``verify_log``.

    Attributes:
        bodies: exchanges whose bodies were compared.
        disagreeing: seqs of exchanges whose bodies are not what was recorded of them, the first 10,000.
        count: how many those are.
    """

    def __init__(self) -> None:
        self.bodies = 0
        self.disagreeing: list[int] = []
        self.count = 0
        self._running: OrderedDict[int, tuple[_Body, _Body]] = OrderedDict()

    def watch(self, items: Iterator[Frame | Damage]) -> Iterator[Frame | Damage]:
        """See what is read of a segment, and pass it on."""
        for item in items:
            if isinstance(item, Frame):
                try:
                    self._take(item)
                except DamagedError:  # told by those who need the record
                    self._running.pop(item.seq, None)
            yield item

    def _take(self, frame: Frame) -> None:
        kind = frame.kind
        if kind == FrameType.OPENED:
            record = frame.record()
            assert isinstance(record, Opened)
            if frame.seq in self._running:
                return  # written once more
            if len(self._running) >= _RUNNING:
                self._running.popitem(last=False)
            request, response = self._running[frame.seq] = (_Body(), _Body())
            request.add(0, frame.data[max(0, record.head_size) :])
            return
        bodies = self._running.get(frame.seq)
        if bodies is None:
            return
        request, response = bodies
        if kind == FrameType.DONE:
            del self._running[frame.seq]
            self._compare(frame, request, response)
        elif kind in {FrameType.REQUEST_BODY, FrameType.RESPONSE_BODY}:
            record = frame.record()
            assert isinstance(record, BodyChunk)
            (request if kind == FrameType.REQUEST_BODY else response).add(record.position, frame.data)
        elif kind == FrameType.RESPONSE_HEAD and not frame.flags & Flag.INTERIM:
            record = frame.record()
            assert isinstance(record, ResponseBegun)
            response.add(0, frame.data[max(0, record.head_size) :])

    def _compare(self, frame: Frame, request: _Body, response: _Body) -> None:
        record = frame.record()
        assert isinstance(record, Done)
        if frame.flags & Flag.HAS_RESPONSE:
            response.add(0, frame.data[max(0, record.head_size) :])
        self.bodies += 1
        if not (
            request.agrees(record.request_size, record.request_recorded, record.request_crc)
            and response.agrees(record.response_size, record.response_recorded, record.response_crc)
        ):
            self.count += 1
            if len(self.disagreeing) < _LISTED:
                self.disagreeing.append(frame.seq)
