"""Logs that check and lie: every checksum agrees, and what the records say is impossible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.logs import Recording, new_session
from wiretape.errors import WiretapeError
from wiretape.log.format import (
    BodyChunk,
    Done,
    Event,
    Flag,
    FrameType,
    Opened,
    ResponseBegun,
    Seal,
    SegmentHead,
    TlsSeen,
)
from wiretape.model import Filter
from wiretape.session.catalogue import Catalogue

DONE = Done(
    elapsed_ns=1,
    state=0,
    status=200,
    head_size=0,
    request_size=0,
    response_size=0,
    request_recorded=0,
    response_recorded=0,
    request_crc=0,
    response_crc=0,
)
OPENED = Opened(1, 1, "http", "example.com", 80, "127.0.0.1:1", 3)

LIES: list[tuple[str, int, int, Any, bytes, int]] = [
    ("a seq beyond all numbers", FrameType.OPENED, 2**63 + 5, OPENED, b"GET", 0),
    ("a record that is none", FrameType.OPENED, 2, b"\xc1\xff", b"", 0),
    ("a record of other types", FrameType.DONE, 2, msgspec.msgpack.encode(["x"] * 30), b"", 0),
    ("a head longer than its frame", FrameType.OPENED, 2, msgspec.structs.replace(OPENED, head_size=999), b"GET", 0),
    ("a head of negative length", FrameType.RESPONSE_HEAD, 2, ResponseBegun(1, 200, -5), b"HTTP", 0),
    ("a body before its beginning", FrameType.RESPONSE_BODY, 2, BodyChunk(-7), b"x", 0),
    ("a body at the end of the world", FrameType.RESPONSE_BODY, 2, BodyChunk(2**53 - 2), b"x", 0),
    ("a time of no calendar", FrameType.OPENED, 2, msgspec.structs.replace(OPENED, wall_ns=2**64 - 1), b"GET", 0),
    ("sizes of no disk", FrameType.DONE, 2, msgspec.structs.replace(DONE, response_size=2**64 - 1), b"", 0),
    ("more recorded than can be", FrameType.DONE, 2, msgspec.structs.replace(DONE, response_recorded=2**60), b"", 0),
    ("a state that does not exist", FrameType.DONE, 2, msgspec.structs.replace(DONE, state=77), b"", 0),
    ("a head that is no HTTP", FrameType.DONE, 2, msgspec.structs.replace(DONE, head_size=4), b"\xff\0\r\n", 1),
    (
        "drops without number",
        FrameType.EVENT,
        0,
        Event(1, "dropped", {"exchanges": -5, "partial": [2**70, "x", -1]}),
        b"",
        0,
    ),
    ("drops of another kind", FrameType.EVENT, 0, Event(1, "dropped", {"exchanges": "many", "partial": 7}), b"", 0),
    ("a seal of the end of time", FrameType.SEAL, 0, Seal(1, 1, 1, 1, 1, 2**64 - 1, 0), b"", 0),
    ("a seal that jumps", FrameType.SEAL, 0, Seal(1, 1, 1, 1, 1, 2**50, 0), b"", 0),
    ("a second head", FrameType.SEGMENT, 0, SegmentHead("x", 0, 2**63, 1, 2**64 - 1, 2**64 - 1, 5, 1, "", ""), b"", 0),
    ("a connection beyond all", FrameType.TLS, 0, TlsSeen(1, 2**64 - 1, "client", "", 0, "", "", "", ""), b"", 0),
    ("a kind of the future", 200, 2, b"\x90", b"?", 0),
]


@pytest.mark.parametrize(
    ("kind", "seq", "record", "data", "flags"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES]
)
def test_a_log_that_lies_harms_nothing_else(
    root: Path, kind: int, seq: int, record: Any, data: bytes, flags: int
) -> None:
    recording = Recording(new_session(root))
    recording.exchange("http://example.com/before", b"answer")
    try:
        recording.writer.append(kind, seq, record, data, flags)
    except OverflowError:  # the writer cannot even say it
        recording.writer.append(kind, seq, msgspec.Raw(b"\xc1"), data, flags)
    recording.writer.flush()
    recording.writer._seq = 3
    recording.exchange("http://example.com/after", b"answer")
    recording.close()
    with Catalogue(root).open("last") as session:
        page = session.query(limit=10)
        assert {item.url for item in page.items} >= {"http://example.com/before", "http://example.com/after"}
        assert session.query(Filter(text="answer")).matched == 2
        for item in page.items:
            session.exchange(item.seq)
            for side in ("request", "response"):
                try:
                    for _ in session.raw_body(item.seq, side):
                        pass
                except WiretapeError:
                    assert item.seq not in {1, 3}
        session.summary()
        session.verify()
        session.recover()


def test_flags_of_the_future_are_left_alone(root: Path) -> None:
    recording = Recording(new_session(root))
    seq = recording.open()
    raw = b"HTTP/1.1 200 OK\r\n\r\n"
    done = msgspec.structs.replace(DONE, head_size=len(raw))
    recording.writer.append(FrameType.DONE, seq, done, raw, Flag.HAS_RESPONSE | 0xF0)
    recording.writer.flush()
    recording.close()
    with Catalogue(root).open("last") as session:
        assert session.exchange(seq).response is not None
