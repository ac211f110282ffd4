"""A WebSocket in the log: what passes through its tunnel, as messages. Every byte goes on as it came.

Extensions are agreed on between the two ends, so what is compressed stays compressed, here and in the log.
"""

from __future__ import annotations

import time
from typing import Final

from wiretape.heads import field_values, fields
from wiretape.log.format import EndState
from wiretape.recorder.exchange_log import ExchangeLog
from wiretape.recorder.ports import AnyResponseHead, Pieces
from wiretape.recorder.tunnel import CountedBytes, Passing
from wiretape.wire.permessage_deflate import agreed_compression
from wiretape.wire.websocket import MessageReader, Part

_SIDES: Final = ("client", "server")
_clock = time.perf_counter_ns


class WebSocketMessages:
    """Reads both directions of a WebSocket and records their messages."""

    __slots__ = ("_ended", "_first", "_left_out", "_log", "_readers")

    def __init__(self, log: ExchangeLog, *, compression: bool) -> None:
        """``compression``: permessage-deflate was agreed on."""
        self._log = log
        self._readers = (
            MessageReader(from_client=True, compression=compression),
            MessageReader(from_client=False, compression=compression),
        )
        self._left_out = [0, 0]  # a message of either side of which something was left out: its rest is, too
        self._ended = [False, False]
        self._first: int | None = None  # whose end came first

    @property
    def closed(self) -> bool:
        """Whether both sides have sent a closing message."""
        client, server = self._readers
        return client.closed and server.closed

    def take(self, pieces: Pieces, from_server: bool) -> int:
        """Record what messages the pieces are of; return how many frames of the log they made."""
        reader, log, left_out = self._readers[from_server], self._log, self._left_out
        now, frames = _clock(), 0
        for piece in pieces:
            parts = reader.feed(piece)
            if len(parts) > 1:
                parts = _joined(parts)
            frames += len(parts)
            for part in parts:
                if part.last:
                    log.messages += 1
                if part.number != left_out[from_server] and not log.message(part, now, from_server=from_server):
                    left_out[from_server] = part.number
        return frames

    def end(self, from_server: bool) -> None:
        """Record a message that a side was cut in."""
        if self._ended[from_server]:
            return
        self._ended[from_server] = True
        if self._first is None:
            self._first = int(from_server)
        part = self._readers[from_server].end()
        if part is not None:
            self._log.message(part, _clock(), from_server=from_server)

    def verdict(self) -> tuple[EndState, str, str]:
        """Return how it ended: what was wrong with a frame, or that nobody closed it (RFC 6455 section 7.1.7)."""
        faults = [
            f"the {side}'s {reader.fault}" for side, reader in zip(_SIDES, self._readers, strict=True) if reader.fault
        ]
        if not any(reader.closed for reader in self._readers):
            side = _SIDES[self._first or 0]
            sentence = f"the {side} ended the connection without a closing message"
            if self._first:
                return EndState.FAILED, "server-closed", "; ".join([sentence, *faults])
            return EndState.ABORTED, "client-left", "; ".join([sentence, *faults])
        return EndState.COMPLETE, "websocket-fault" if faults else "", "; ".join(faults)


def _joined(parts: list[Part]) -> list[Part]:
    """Return the parts, those of one message that follow each other as one.

    A message may be cut into fragments of one byte, and a frame of the log for each would be ten times as long.
    """
    joined: list[Part] = []
    at, count = 0, len(parts)
    while at < count:
        first, start = parts[at], at
        at += 1
        while at < count and parts[at].number == first.number:
            at += 1
        if at - start > 1:
            run = parts[start:at]
            end = run[-1]
            data = b"".join([part.data for part in run])
            faults = dict.fromkeys(part.fault for part in run if part.fault)
            first = first._replace(size=end.size, data=data, last=end.last, fault="; ".join(faults))
        joined.append(first)
    return joined


def passing_after(head: AnyResponseHead, log: ExchangeLog) -> Passing:
    """Return what records the bytes that follow a response after which another protocol is spoken."""
    upgrade = head.upgrade
    if upgrade is None or upgrade.strip().lower() != b"websocket":
        return CountedBytes(log)
    extensions = field_values(fields(head.raw), "sec-websocket-extensions")
    return WebSocketMessages(log, compression=agreed_compression(extensions) is not None)
