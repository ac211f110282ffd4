"""The projection of messages."""

from __future__ import annotations

from pathlib import Path

from tests.log.logbuilder import SegmentBuilder
from wiretape.log.format import Flag, FrameType, MessageSeen
from wiretape.session.index.database import Index


def test_messages_have_a_row_a_frame_with_their_side_and_place(root: Path) -> None:
    log = SegmentBuilder()
    log.opened(1)
    hello = log.add(FrameType.MESSAGE, 1, MessageSeen(5, 1, opcode=1, size=5), b"hello", Flag.LAST)
    first = log.add(FrameType.MESSAGE, 1, MessageSeen(7, 1, opcode=2, size=-1), b"abc", Flag.RESPONSE)
    last = log.add(FrameType.MESSAGE, 1, MessageSeen(9, 1, opcode=2, position=3), b"de", Flag.RESPONSE | Flag.LAST)
    log.add(FrameType.MESSAGE, 1, MessageSeen(9, 1, opcode=2, position=3), b"de", Flag.RESPONSE | Flag.LAST)
    log.write(root / "session" / "log")
    index = Index(root / "session", log.session)
    index.follow()
    rows = index.rows("SELECT side, number, position, offset, opcode, size, bytes, last, elapsed FROM messages")
    assert rows == [
        (0, 1, 0, hello, 1, 5, 5, 1, 5),
        (1, 1, 0, first, 2, -1, 3, 0, 7),
        (1, 1, 3, last, 2, -1, 2, 1, 9),
    ]
    index.close()


def test_a_forged_message_is_a_row_like_any(root: Path) -> None:
    log = SegmentBuilder()
    log.add(FrameType.MESSAGE, 1, MessageSeen(2**63, 2**64 - 1, event="e" * 60_000, position=2**63), b"")
    log.write(root / "session" / "log")
    index = Index(root / "session", log.session)
    index.follow()
    assert index.rows("SELECT number, length(event) FROM messages") == [(2**63 - 1, 1000)]
    index.close()
