"""The messages of a WebSocket as HAR has them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Final

from wiretape.session.messages import MessageLog
from wiretape.session.session import Session

_TEXT: Final = 1
MAX_MESSAGES: Final = 100_000
"""Messages of one exchange that are taken along."""
MAX_BYTES: Final = 16 * 1024 * 1024
"""Bytes of all messages of one exchange that are taken along."""

Message = tuple[int, int, float, bytes]
"""Side (1 is the server), opcode, ms since the exchange began, and the bytes."""


def web_socket_messages(session: Session, seq: int) -> tuple[list[Message], bool]:
    """Return the messages of an exchange in the order in which they came, and whether these are all."""
    found, room = list[Message](), MAX_BYTES
    whole = True
    for one in MessageLog(session.index).of(seq, most=MAX_BYTES):
        room -= len(one.data)
        whole = whole and one.whole and not one.lost_before
        if room < 0 or len(found) >= MAX_MESSAGES:
            return found, False
        found.append((int(one.from_server), one.opcode, one.elapsed_ns / 1e6, one.data))
    return found, whole


def as_har(began: int, messages: list[Message]) -> Iterator[dict[str, Any]]:
    """Yield messages as Chrome writes them: times in seconds since the epoch, binary ones in base64."""
    for side, opcode, at, data in messages:
        text = data.decode("utf-8", "replace") if opcode == _TEXT else base64.b64encode(data).decode()
        kind = "receive" if side else "send"
        yield {"type": kind, "time": round((began + at) / 1000, 6), "opcode": opcode, "data": text}
