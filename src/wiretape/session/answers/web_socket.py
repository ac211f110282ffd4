"""The messages of a WebSocket as HAR has them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Final

from wiretape.errors import DamagedError
from wiretape.log.assembly import LogFrames, Place
from wiretape.log.format import FrameType
from wiretape.session.session import Session

_TEXT: Final = 1
MAX_MESSAGES: Final = 100_000
"""Messages of one exchange that are taken along."""
MAX_BYTES: Final = 16 * 1024 * 1024
"""Bytes of all messages of one exchange that are taken along."""
_FRAMES: Final = (
    "SELECT m.side, m.number, m.opcode, m.elapsed, s.name, m.offset FROM messages AS m"
    " JOIN segments AS s ON s.id = m.segment WHERE m.seq = ? ORDER BY m.side, m.number, m.position LIMIT ?"
)

Message = tuple[int, int, float, bytes]
"""Side (1 is the server), opcode, ms since the exchange began, and the bytes."""


def web_socket_messages(session: Session, seq: int) -> tuple[list[Message], bool]:
    """Return the messages of an exchange in the order in which they came, and whether these are all."""
    frames = LogFrames(session.log_dir)
    found: dict[tuple[int, int], Message] = {}
    room, whole = MAX_BYTES, True
    for side, number, opcode, elapsed, name, offset in session.index.rows(_FRAMES, [seq, MAX_MESSAGES + 1]):
        try:
            data = bytes(frames.frame(Place(name, offset, FrameType.MESSAGE)).data)
        except DamagedError:
            whole = False
            continue
        room -= len(data)
        if room < 0 or len(found) >= MAX_MESSAGES:
            return _in_order(found), False
        before = found.get((side, number))
        if before is None:
            found[side, number] = (side, opcode, elapsed / 1e6, data)
        else:
            found[side, number] = (*before[:3], before[3] + data)
    return _in_order(found), whole


def _in_order(found: dict[tuple[int, int], Message]) -> list[Message]:
    return sorted(found.values(), key=lambda one: one[2])


def as_har(began: int, messages: list[Message]) -> Iterator[dict[str, Any]]:
    """Yield messages as Chrome writes them: times in seconds since the epoch, binary ones in base64."""
    for side, opcode, at, data in messages:
        text = data.decode("utf-8", "replace") if opcode == _TEXT else base64.b64encode(data).decode()
        kind = "receive" if side else "send"
        yield {"type": kind, "time": round((began + at) / 1000, 6), "opcode": opcode, "data": text}
