"""How a recording ended: killed, and what of each exchange that was running had come."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.logs import Recording, closed_session, new_session
from wiretape.log.format import FrameType
from wiretape.secrets.veil import UNVEILED
from wiretape.session.answers.ending import Ending, ending, with_ending
from wiretape.session.catalogue import Catalogue


def ended(root: Path, boot_id: str = "boot") -> Ending:
    with Catalogue(root).open("last") as session:
        return ending(session, veil=UNVEILED, boot_id=boot_id)


@pytest.fixture
def killed(root: Path) -> Path:
    """A recording whose recorder was killed while three exchanges were running, each at another point."""
    recording = Recording(new_session(root, "crash"))
    recording.exchange("http://a.test/whole")
    recording.open("http://a.test/quote?cart=secret")
    recording.open("http://a.test/upload", method="POST", headers="Content-Length: 100\r\n", body=b"x" * 40)
    answering = recording.open("http://a.test/stream")
    recording.head(answering, status=200)
    recording.chunk(answering, 0, b"12345", kind=FrameType.RESPONSE_BODY)
    recording.kill(torn=b"\x89WT\x01\x05")
    return root


def test_p13_what_was_cut_off_is_named_with_how_far_it_had_come(killed: Path) -> None:
    found = ended(killed)
    assert (found.session, found.ended, found.exchanges, found.lost, found.torn_tail) == ("crash", "killed", 4, 0, 5)
    assert found.by.startswith(f"recorder {os.getpid()} disappeared; last frame at ")
    assert found.interrupted_exchanges is not None
    assert found.interrupted_exchanges.columns == ["seq", "op", "reached"]
    assert found.interrupted_exchanges.rows == [
        [2, "GET /quote", "the server may have had the whole request; no answer came"],
        [3, "POST /upload", "40 of 100 bytes of the request's body had come; no answer came"],
        [4, "GET /stream", "the server answered 200; 5 bytes of its body had come"],
    ]
    assert "closed port" in found.after_end


def test_a_machine_that_went_down_is_told_from_a_recorder_that_was_killed(killed: Path) -> None:
    found = ended(killed, boot_id="another")
    assert found.ended == "restarted"
    assert "the machine went down" in found.by


def test_a_recording_that_was_closed_has_nothing_to_tell(root: Path) -> None:
    closed_session(root, 2, "fine")
    found = ended(root)
    assert (found.ended, found.by, found.interrupted_exchanges, found.after_end) == ("cleanly", "", None, "")


def test_many_interrupted_exchanges_are_counted_beyond_those_that_are_named(root: Path) -> None:
    recording = Recording(new_session(root))
    for number in range(50):
        recording.open(f"http://a.test/{number}")
    recording.kill()
    table = ended(root).interrupted_exchanges
    assert table is not None
    assert (len(table.rows), table.left) == (20, {"exchanges": 30})


def test_a_report_of_recovery_gains_how_it_ended(killed: Path) -> None:
    (report,) = Catalogue(killed).recover().recovered
    told = with_ending(report, ended(killed))
    assert (told.ended, told.interrupted, told.exchanges) == ("killed", 3, 4)
    assert told.interrupted_exchanges
