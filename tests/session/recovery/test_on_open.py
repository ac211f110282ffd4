"""Opening a session that was left unclean: from the index's account, and with the same result as a full recovery."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import msgspec
import pytest

from harness.logs import Recording, closed_session, flip_in, new_session, segment
from tests.session.test_agreement import damage, record
from wiretape.log import verify
from wiretape.model import RecoveredSession
from wiretape.session.catalogue import Catalogue, SessionDir
from wiretape.session.index.database import Index, connect
from wiretape.session.recovery import on_open as settle
from wiretape.session.recovery import recover
from wiretape.session.session import Session


class WholeLogReadError(AssertionError):
    """The whole log was read where only its end should be."""


@pytest.fixture
def tail_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the whole log for an opening fails the test."""

    def refuse(*args: object, **kwargs: object) -> RecoveredSession:
        raise WholeLogReadError

    monkeypatch.setattr(settle, "recover_session", refuse)


def opened(made: SessionDir) -> RecoveredSession | None:
    with Session(made.path, made.session_id) as session:
        return session.settle()


def written(made: SessionDir) -> dict[str, object]:
    manifest = json.loads((made.path / "manifest.json").read_bytes())
    path = made.path / "recovery.json"
    recovery = json.loads(path.read_bytes()) if path.exists() else {"report": {}}
    manifest.pop("verified")
    recovery["report"].pop("verified", None)
    return {"manifest": manifest, "recovery": recovery, "files": sorted(p.name for p in made.path.rglob("*.bin"))}


def following_record(made: SessionDir, chance: random.Random) -> None:
    """Write a session as ``record`` does while an index follows it, in small transactions, now and then."""
    with Session(made.path, made.session_id) as session:
        session.follow_gently(chance.choice([1, 3, 50]), chance.choice([300, 10**6]))
        for _ in range(chance.randrange(1, 4)):
            record(made, chance)
            if chance.random() < 0.8:
                session.query()


@pytest.mark.parametrize("seed", range(30))
def test_p13_opening_reports_exactly_what_a_full_recovery_does(root: Path, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    made = new_session(root)
    record(made, chance)
    (made.path / "manifest.json").unlink(missing_ok=True)
    damage(made, chance)
    twin = SessionDir(made.session_id, made.name, tmp_path / made.session_id)
    shutil.copytree(made.path, twin.path)
    by_opening = opened(made)
    by_recovery = recover.recover_session(twin.path, twin.session_id)
    assert by_opening is not None
    assert msgspec.structs.replace(by_opening, verified=True) == by_recovery
    assert written(made) == written(twin)


@pytest.mark.parametrize("seed", range(20))
def test_p13_an_account_kept_while_the_log_grew_is_the_one_of_a_full_check(root: Path, seed: int) -> None:
    chance = random.Random(seed)
    made = new_session(root)
    following_record(made, chance)
    (made.path / "manifest.json").unlink()
    found = opened(made)
    assert found is not None
    assert not found.verified
    with Session(made.path, made.session_id) as session:
        assert session.recover(dry_run=True) == msgspec.structs.replace(found, verified=True)


def test_p13_the_account_says_all_that_the_check_of_the_whole_log_says(root: Path) -> None:
    for seed in range(30):
        chance = random.Random(seed)
        made = new_session(root)
        record(made, chance)
        damage(made, chance)
        index = Index(made.path, made.session_id)
        index.follow()
        log = index.report()
        index.close()
        assert log == verify.verify_log(made.log_dir, made.session_id)


def killed(root: Path) -> SessionDir:
    """Make a session of several segments, indexed but for the end, whose recorder was killed."""
    made = new_session(root)
    recording = Recording(made, segment_bytes=4000)
    for number in range(60):
        recording.exchange(f"http://example.com/{number}")
    with Session(made.path, made.session_id) as session:
        session.query()
    recording.exchange("http://example.com/last")
    recording.open("http://example.com/running")
    recording.kill(torn=b"\x89WT\x01\x05")
    return made


def test_p13_only_what_the_index_has_not_read_is_read_before_the_first_answer(root: Path, tail_only: None) -> None:
    made = killed(root)
    flip_in(segment(made), b"GET /3 ")  # rot in a sealed segment: found by the full check, not by opening
    with Catalogue(root).open("last") as session:
        page = session.query()
        summary = session.summary()
    assert (page.matched, page.items[0].state) == (62, "interrupted")
    assert (summary.recovery_state, summary.interrupted, summary.verified) == ("recovered", 1, False)
    found = json.loads((made.path / "recovery.json").read_bytes())["report"]
    assert (found["droppedTailBytes"], found["verified"]) == (5, False)


def test_p4_a_full_recovery_finds_what_rotted_after_it_was_indexed_and_the_index_learns_it(root: Path) -> None:
    made = killed(root)
    opened(made)
    at = flip_in(segment(made), b"GET /3 ")
    (report,) = Catalogue(root).recover().recovered
    (gap,) = report.gaps
    assert gap.offset < at < gap.offset + gap.length
    assert report.verified
    with Catalogue(root).open("last") as session:
        assert session.query().coverage.damaged == 1
        assert session.summary().recovery_state == "damaged"
        assert session.summary().verified
    history = json.loads((made.path / "recovery.json").read_bytes())
    assert [past["recoveryState"] for past in history["history"]] == ["recovered"]
    assert (made.path / "quarantine" / history["damage"][0]["quarantine"]).exists()


def test_p7_a_later_recovery_never_forgets_what_an_earlier_one_found(root: Path) -> None:
    made = killed(root)
    flip_in(segment(made), b"GET /3 ")
    Catalogue(root).recover()
    first = json.loads((made.path / "recovery.json").read_bytes())
    recording = Recording(made)
    recording.exchange()
    recording.kill()
    flip_in(segment(made), b"GET /7 ")
    Catalogue(root).recover()
    second = json.loads((made.path / "recovery.json").read_bytes())
    assert second["damage"][0] == first["damage"][0]
    assert [one["foundIn"] for one in second["damage"]] == [first["log"], second["log"]]
    assert [past["log"] for past in second["history"]] == [first["log"]]
    after = (made.path / "recovery.json").read_bytes()
    Catalogue(root).recover()
    assert (made.path / "recovery.json").read_bytes() == after


def test_p11_an_answer_from_an_index_that_is_still_being_made_says_how_far_it_goes(root: Path) -> None:
    made = closed_session(root, 50)
    (made.path / "index.sqlite").unlink(missing_ok=True)
    with Session(made.path, made.session_id) as session:
        session.follow_gently(10, 10**6)
        session.patience = 0
        first = session.query(limit=100)
        assert 0 < first.total < 50
        assert any("still being made" in note for note in first.coverage.notes)
        assert session.summary().note is not None
        for _ in range(30):
            session.query(limit=1)
        last = session.query(limit=100)
        assert last.matched == 50
        assert last.coverage.notes == []
        assert session.summary().note is None


def test_p13_a_session_whose_recorder_outlived_its_daemon_is_live_until_it_is_sealed(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    recording.exchange()
    with Catalogue(root).open("last") as session:
        assert session.summary().status == "active"
        recording.exchange()
        recording.close()
        assert session.query().matched == 2
        assert (session.summary().status, session.summary().recovery_state) == ("stopped", "clean")


def test_p4_an_account_that_was_damaged_in_the_index_is_not_believed(root: Path) -> None:
    made = killed(root)
    opened(made)
    (made.path / "manifest.json").unlink()
    db = connect(made.path / "index.sqlite")
    state = bytearray(db.execute("SELECT state FROM audit").fetchone()[0])
    state[-1] ^= 1
    db.execute("UPDATE audit SET state = ?", (bytes(state),))
    db.close()
    found = opened(made)
    assert found is not None
    with Session(made.path, made.session_id) as session:
        assert session.recover(dry_run=True) == msgspec.structs.replace(found, verified=True)


@pytest.mark.parametrize("what", ["renamed", "foreign", "copied"])
def test_p13_a_log_with_segments_out_of_place_is_accounted_for_by_its_index(root: Path, what: str) -> None:
    made, other = killed(root), closed_session(root, 2)
    if what == "renamed":
        segment(made, 1).rename(made.log_dir / "0-00000077.wlog")
    elif what == "foreign":
        shutil.copyfile(segment(other), made.log_dir / "1-00000001.wlog")
    else:
        shutil.copyfile(segment(made), made.log_dir / "0-00000077.wlog")
    (made.path / "index.sqlite").unlink()
    (made.path / "manifest.json").unlink(missing_ok=True)
    found = opened(made)
    assert found is not None
    assert not found.verified
    with Session(made.path, made.session_id) as session:
        assert session.recover(dry_run=True) == msgspec.structs.replace(found, verified=True)


def test_p11_an_index_that_breaks_between_two_looks_at_it_never_gives_an_empty_answer(root: Path) -> None:
    made = closed_session(root, 300)
    index = Index(made.path, made.session_id)
    index.follow()
    assert index.rows("SELECT count(*) FROM exchanges") == [(300,)]
    index.run(lambda db: db.execute("DROP TABLE handshakes"))
    assert index.rows("SELECT count(*) FROM handshakes") == [(0,)]
    assert index.rows("SELECT count(*) FROM exchanges") == [(300,)]
    index.close()
