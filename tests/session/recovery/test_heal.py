"""Parity of whole sessions: what is damaged within its bound is as it was after a recovery, byte for byte (P4)."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.logs import Recording, closed_session, flip_in, new_session, segment, snapshot
from harness.origin import Origin
from harness.processes import wait_gone
from tests.cli.support import wiretape, wiretape_json
from wiretape.cli.demo.stage import Daemon
from wiretape.cli.demo.waiting import DEADLINE, wait_until
from wiretape.daemon import client
from wiretape.log import open_session
from wiretape.session.catalogue import Catalogue, SessionDir
from wiretape.session.recovery.heal import heal_session, protect_session, unprotected
from wiretape.session.session import Session


def protected(root: Path, exchanges: int = 40) -> SessionDir:
    """Make a session of several segments with parity."""
    made = new_session(root)
    recording = Recording(made, segment_bytes=20_000)
    chance = random.Random(5)
    for number in range(exchanges):
        recording.exchange(f"http://example.com/{number}", chance.randbytes(1500).hex().encode())
    recording.close()
    report = protect_session(made.path, made.session_id)
    assert (report.kept, report.damaged) == (0, [])
    assert report.made == len(list(made.log_dir.glob("*.wlog"))) > 2
    return made


def recovered(made: SessionDir, **expected: object) -> None:
    with Session(made.path, made.session_id) as session:
        report = session.recover()
        found = {name: getattr(report, name) for name in expected}
        assert found == expected
        verified = session.verify(deep=True)
        page = session.query(limit=1)
    assert (verified.state, page.matched) == ("clean", report.exchanges)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda path: flip_in(path, b"HTTP/1.1 200"),
    "zeros": lambda path: path.write_bytes(path.read_bytes()[:3000] + bytes(9000) + path.read_bytes()[12_000:]),
    "a lost head": lambda path: path.write_bytes(bytes(100) + path.read_bytes()[100:]),
    "a lost end": lambda path: os.truncate(path, 5000),
    "an empty file": lambda path: os.truncate(path, 0),
    "no file": lambda path: path.unlink(),
    "garbage behind it": lambda path: path.write_bytes(path.read_bytes() + b"x" * 100),
    "everything": lambda path: path.write_bytes(b"x" * 20_000),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("indexed", [False, True], ids=["new", "indexed before"])
def test_p4_what_has_parity_is_as_it_was_after_a_recovery(root: Path, name: str, indexed: bool) -> None:
    made = protected(root)
    before = {path.name: path.read_bytes() for path in made.log_dir.glob("*.wlog")}
    if indexed:
        recovered(made, exchanges=40, healed=[])
    path = segment(made, 1)
    DAMAGE[name](path)
    damaged = snapshot(made.log_dir)
    recovered(made, exchanges=40, gaps=[], lost_exchanges=0, recovery_state="clean")
    assert snapshot(made.log_dir) == damaged, "P3: nobody but its writer changes a log"
    assert (made.path / "healed" / path.name).read_bytes() == before[path.name]
    log = open_session(made.path)
    assert [exchange.seq for exchange in log if exchange.state == "complete"] == list(range(1, 41))
    # A second recovery has nothing left to do.
    recovered(made, exchanges=40, healed=[])


def test_every_segment_at_once_can_be_healed(root: Path) -> None:
    made = protected(root)
    for path in made.log_dir.glob("*.wlog"):
        flip_in(path, b"HTTP/1.1 200")
    recovered(made, exchanges=40, gaps=[], recovery_state="clean")


def test_more_than_its_bound_is_said_and_changes_nothing(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    for number in range(200):
        recording.exchange(f"http://example.com/{number}", b"x" * 2000)
    recording.close()
    protect_session(made.path, made.session_id)
    path = segment(made)
    data = bytearray(path.read_bytes())
    data[50_000:250_000] = bytes(200_000)
    path.write_bytes(data)
    with Session(made.path, made.session_id) as session:
        report = session.recover()
    assert [(one.segment, one.bytes) for one in report.healed] == [(path.name, 0)]
    assert "17 of parity are left" in (report.healed[0].error or "")
    assert report.lost_exchanges > 50
    assert not (made.path / "healed" / path.name).exists()


def test_a_dry_run_says_what_would_be_healed_and_writes_nothing(root: Path) -> None:
    made = protected(root)
    flip_in(segment(made), b"HTTP/1.1 200")
    before = snapshot(made.path)
    with Session(made.path, made.session_id) as session:
        report = session.recover(dry_run=True)
    assert (len(report.gaps), len(report.healed), report.healed[0].error) == (1, 1, None)
    assert snapshot(made.path) == before


def test_a_healed_copy_that_is_damaged_itself_is_made_again(root: Path) -> None:
    made = protected(root)
    path = segment(made)
    flip_in(path, b"HTTP/1.1 200")
    recovered(made, exchanges=40)
    flip_in(made.path / "healed" / path.name, b"HTTP/1.1 200")
    recovered(made, exchanges=40, gaps=[], recovery_state="clean")


def test_a_healed_copy_gives_way_when_the_segment_is_put_back(root: Path) -> None:
    made = protected(root)
    path = segment(made)
    content = path.read_bytes()
    flip_in(path, b"HTTP/1.1 200")
    recovered(made, exchanges=40)
    path.write_bytes(content)
    flip_in(made.path / "healed" / path.name, b"HTTP/1.1 200")
    recovered(made, exchanges=40, gaps=[], healed=[])
    assert not (made.path / "healed" / path.name).exists()


def test_p7_a_killed_healing_leaves_the_old_or_the_new(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = protected(root)
    path = segment(made)
    flip_in(path, b"HTTP/1.1 200")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            heal_session(made.path, {path.name})
    (made.path / "healed" / f".{path.name}.new").write_bytes(b"what a kill leaves")
    with Session(made.path, made.session_id) as session:
        assert session.verify().state == "damaged"
    recovered(made, exchanges=40, gaps=[], recovery_state="clean")
    assert [file.name for file in (made.path / "healed").iterdir()] == [path.name]


def test_a_damaged_segment_gets_no_parity_and_is_named(root: Path) -> None:
    made = closed_session(root)
    flip_in(segment(made), b"answer 2")
    report = protect_session(made.path, made.session_id)
    assert (report.made, report.damaged) == (0, [segment(made).name])


def test_the_segment_that_is_being_written_has_to_wait(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made, segment_bytes=5000)
    for number in range(10):
        recording.exchange(f"http://example.com/{number}", b"x" * 900)
    names = sorted(path.name for path in made.log_dir.glob("*.wlog"))
    assert [ref.name for ref in unprotected(made.path)] == names[:-1]
    assert protect_session(made.path, made.session_id).made == len(names) - 1
    recording.kill()
    assert protect_session(made.path, made.session_id).made == 1
    assert unprotected(made.path) == []


@pytest.mark.parametrize("made_of", ["link", "file"])
def test_p14_a_parity_folder_that_is_none_is_refused(root: Path, tmp_path: Path, made_of: str) -> None:
    made = closed_session(root)
    place = made.path / "parity"
    place.symlink_to(tmp_path) if made_of == "link" else place.write_text("x")
    done = wiretape("parity", "last", "--root", root)
    assert done.returncode == 1
    assert b"is not a folder of the session's own" in done.stderr
    assert list(tmp_path.glob("*.par")) == []


def test_the_command_adds_parity_and_recover_tells_what_it_healed(root: Path) -> None:
    made = closed_session(root)
    found = wiretape_json("parity", "last", "--root", root)["sessions"]
    assert [(one["made"], one["kept"], one["damaged"]) for one in found] == [(1, 0, [])]
    assert wiretape_json("parity", "--all", "--root", root)["sessions"][0]["kept"] == 1
    flip_in(segment(made), b"answer 2")
    assert wiretape_json("verify", "last", "--root", root, status=1)["state"] == "damaged"
    done = wiretape("recover", "--root", root)
    assert done.returncode == 0
    assert b"0-00000001.wlog healed," in done.stderr
    verified = wiretape_json("verify", "last", "--root", root)
    assert verified["notes"] == ["0-00000001.wlog is damaged; its healed copy is read"]
    assert wiretape("parity", "--root", root).returncode == 2


def test_a_daemon_adds_parity_to_what_it_records(
    root: Path, http_origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Daemon(root, "--parity") as daemon:
        folder = Catalogue(root).folder / str(daemon.ready["sessionId"])
        wait_until((folder / "parity").is_dir, what="the folder for parity")
    # The segment is finished when its recorder is; the next daemon finds it without parity.
    monkeypatch.delenv("WIRETAPE_PARITY", raising=False)
    with client.ensure_daemon(root):
        wait_until((folder / "parity" / "0-00000001.wlog.par").exists, what="the parity", timeout=DEADLINE)
    wait_gone(client.request(root, {"cmd": "stop"})["pid"])
