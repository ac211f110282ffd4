"""Frames whose checksums agree and whose content is nonsense: every reader makes the same of them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.logs import Recording, new_session
from prove.fuzz import Case
from wiretape.log import open_session
from wiretape.log.format import FrameType, Opened
from wiretape.log.verify import verify_log
from wiretape.session.session import Session


@pytest.mark.parametrize("kind", [FrameType.OPENED, FrameType.DONE, FrameType.RESPONSE_BODY])
@pytest.mark.parametrize("seq", [0, 2**53, 2**64 - 1])
def test_p11_a_number_that_no_writer_gives_is_damage_to_every_reader(root: Path, kind: FrameType, seq: int) -> None:
    made = new_session(root)
    recording = Recording(made)
    recording.exchange("http://example.com/")
    recording.writer.append(kind, seq, msgspec.Raw(b"\x90"), b"")
    recording.exchange("http://example.com/")
    recording.close()
    report = verify_log(made.log_dir, made.session_id)
    assert (report.exchanges, len(report.gaps)) == (2, 1)
    assert [exchange.seq for exchange in open_session(made.path)] == [1, 2]
    with Session(made.path, made.session_id) as session:
        page = session.query()
        assert (page.matched, [item.seq for item in page.items]) == (2, [2, 1])


@pytest.mark.parametrize(
    "record",
    [b"\xc1", b"\x90", msgspec.msgpack.encode(Opened(1, 1, "http", "host", 80, "", 10_000))],
    ids=["no msgpack", "empty", "a long head"],
)
def test_p11_an_exchange_of_which_nothing_can_be_read_is_still_one(root: Path, record: bytes) -> None:
    made = new_session(root)
    recording = Recording(made)
    recording.writer.append(
        FrameType.OPENED, recording.writer.take_seq(), msgspec.Raw(record), b"GET / HTTP/1.1\r\n\r\n"
    )
    recording.close()
    assert verify_log(made.log_dir, made.session_id).exchanges == 1
    assert [exchange.seq for exchange in open_session(made.path)] == [1]
    with Session(made.path, made.session_id) as session:
        page = session.query()
        assert [(item.seq, item.state) for item in page.items] == [(1, "interrupted")]
        assert session.exchange(1).seq == 1


@pytest.mark.parametrize("number", range(8))
def test_p4_changed_logs_are_read_alike_by_every_reader(tmp_path: Path, number: int) -> None:
    assert Case(f"tested/{number}").run(tmp_path) == []
