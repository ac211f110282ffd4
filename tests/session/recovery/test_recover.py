"""Recovery: what it finds, what it writes, and what it never touches. Promises P3 to P7 and P13."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.logs import Recording, closed_session, flip_in, new_session, segment, snapshot
from wiretape.errors import BusyError
from wiretape.model import RecoverReport
from wiretape.session.catalogue import Catalogue, SessionDir


def damaged_session(root: Path) -> SessionDir:
    """Make a session with everything: damage in a body and in a request, an interrupted exchange, a torn tail."""
    made = new_session(root)
    recording = Recording(made)
    recording.exchange("http://example.com/fine")
    recording.large("http://example.com/big", b"A" * 500 + b"B" * 500, piece=500)
    recording.exchange("http://example.com/unlucky")
    recording.exchange("http://example.com/last")
    recording.open("http://example.com/running")
    recording.kill(torn=b"\x89WT\x01\x05")
    flip_in(segment(made), b"B" * 500)
    flip_in(segment(made), b"/unlucky")
    return made


def asked(root: Path) -> list[object]:
    """Return every answer about the newest session."""
    with Catalogue(root).open("last") as session:
        return [session.query(), session.summary(), session.coverage(), *session.iterate(), session.verify()]


def recover(root: Path, *, dry_run: bool = False) -> RecoverReport:
    return Catalogue(root).recover(dry_run=dry_run)


def test_p3_recovery_changes_no_byte_of_the_log(root: Path) -> None:
    made = damaged_session(root)
    before = snapshot(made.log_dir)
    recover(root)
    with Catalogue(root).open("last") as session:
        session.query()
    assert snapshot(made.log_dir) == before


def test_p4_one_damaged_byte_costs_one_exchange_and_is_named(root: Path) -> None:
    made = closed_session(root, 20)
    at = flip_in(segment(made), b"answer 7")
    (found,) = recover(root).recovered
    (gap,) = found.gaps
    assert gap.offset < at < gap.offset + gap.length
    assert (gap.segment, gap.exchanges) == ("0-00000001.wlog", [7])
    assert found.recovery_state == "damaged"
    with Catalogue(root).open("last") as session:
        readable = [d.seq for d in session.iterate() if d.response is not None and d.response.body == f"answer {d.seq}"]
        assert readable == [seq for seq in range(1, 21) if seq != 7]


def test_p5_numbers_stay_what_they_were(root: Path) -> None:
    made = closed_session(root, 20)
    flip_in(segment(made), b"GET /3 ")
    flip_in(segment(made), b"answer 3")
    with Catalogue(root).open("last") as session:
        urls = {item.seq: item.url for item in session.query().items}
    assert {seq for seq, url in urls.items() if url == f"http://example.com/{seq}"} == set(urls)
    assert set(urls) == set(range(1, 21)) - {3}
    more = Recording(made)
    assert more.exchange() == 21
    more.close()


def test_p6_a_live_session_is_skipped_and_not_touched(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    recording.exchange()
    before = snapshot(made.path)
    report = recover(root)
    assert report.recovered == []
    (skipped,) = report.skipped
    assert skipped.session_id == made.session_id
    assert f"process {os.getpid()}" in skipped.reason
    with Catalogue(root).open("last") as session:
        assert session.verify().state == "live"
        with pytest.raises(BusyError) as refused:
            session.recover()
    assert refused.value.pid == os.getpid()
    assert snapshot(made.path) == before
    recording.close()


def test_p7_a_second_run_changes_nothing_and_says_the_same(root: Path) -> None:
    made = damaged_session(root)
    first = recover(root)
    answers = asked(root)

    def state() -> dict[Path, tuple[int, bytes]]:
        files = [path for path in made.path.rglob("*") if path.is_file() and "index.sqlite" not in path.name]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    after = state()
    assert recover(root) == first
    assert state() == after
    assert asked(root) == answers


def test_p7_a_dry_run_writes_nothing_and_says_the_same(root: Path) -> None:
    made = damaged_session(root)
    before = snapshot(made.path)
    dry = recover(root, dry_run=True)
    assert snapshot(made.path) == before
    assert recover(root) == dry


@pytest.mark.parametrize("how", ["recover", "open"])
def test_p7_a_recovery_killed_anywhere_and_run_again_gives_the_same_reports_and_answers(
    root: Path, tmp_path: Path, how: str
) -> None:
    made = damaged_session(root)
    work = tmp_path / "work"
    work.mkdir()
    run = subprocess.run(
        [sys.executable, "-m", "tests.session.killed_recovery", str(made.path), str(work), how],
        check=True,
        capture_output=True,
        timeout=100,
        cwd=Path(__file__).parents[3],
    )
    found = json.loads(run.stdout)
    assert found["killed"] >= 30
    assert found["different"] == []
    assert {"answers", "manifest.json", "recovery.json"} <= set(found["files"])


def test_p13_an_unclean_session_is_recovered_when_it_is_next_opened(root: Path) -> None:
    made = damaged_session(root)
    with Catalogue(root).open("last") as session:
        assert session.query().matched == 5
        assert session.summary().recovery_state == "damaged"
    assert json.loads((made.path / "recovery.json").read_bytes())["report"]["interrupted"] == 1


def test_the_report_counts_everything(root: Path) -> None:
    made = damaged_session(root)
    (found,) = recover(root).recovered
    assert (found.exchanges, found.interrupted, found.lost_exchanges) == (5, 1, 0)
    assert found.dropped_tail_bytes == 5
    assert [gap.exchanges for gap in found.gaps] == [[2], [3]]
    assert found.quarantined_bytes == sum(gap.length for gap in found.gaps)
    log = segment(made).read_bytes()
    for gap in found.gaps:
        copy = made.path / "quarantine" / f"{gap.segment}-{gap.offset}-{gap.length}.bin"
        assert copy.read_bytes() == log[gap.offset : gap.offset + gap.length]


def test_a_lost_exchange_is_counted_and_said(root: Path) -> None:
    made = closed_session(root, 5)
    flip_in(segment(made), b"GET /3 ")
    flip_in(segment(made), b"answer 3")
    (found,) = recover(root).recovered
    assert (found.lost_exchanges, found.exchanges) == (1, 4)
    with Catalogue(root).open("last") as session:
        page = session.query()
        assert page.coverage.damaged == 1
        assert session.verify().lost_exchanges == 1


@pytest.mark.parametrize("what", ["missing", "garbage", "of another session", "link"])
def test_a_manifest_that_cannot_be_used_is_made_again_from_the_log(root: Path, what: str) -> None:
    made = closed_session(root, 3)
    manifest = made.path / "manifest.json"
    good = manifest.read_bytes()
    manifest.unlink()
    if what == "garbage":
        manifest.write_bytes(b'{"sessionId": ')
    elif what == "of another session":
        manifest.write_bytes(good.replace(made.session_id.encode(), b"20200101T000000-000000"))
    elif what == "link":
        manifest.symlink_to("/etc/passwd")
    (summary,) = Catalogue(root).list()
    assert (summary.exchanges, summary.recovery_state) == (3, "clean")
    assert json.loads(manifest.read_bytes())["exchanges"] == 3
    assert not manifest.is_symlink()


@pytest.mark.parametrize("what", ["missing", "garbage", "zeros in the middle", "link", "another version"])
def test_an_index_that_cannot_be_used_is_made_again_from_the_log(root: Path, what: str) -> None:
    made = closed_session(root, 300)
    index = made.path / "index.sqlite"
    with Catalogue(root).open("last") as session:
        session.query()
    good = index.read_bytes()
    target = root / "elsewhere"
    target.write_bytes(b"precious")
    index.unlink()
    if what == "garbage":
        index.write_bytes(b"no database at all" * 1000)
    elif what == "zeros in the middle":
        index.write_bytes(good[:4096] + bytes(len(good) - 8192) + good[-4096:])
    elif what == "link":
        index.symlink_to(target)
    elif what == "another version":
        index.write_bytes(good[:60] + b"\0\0\0\x63" + good[64:])
    with Catalogue(root).open("last") as session:
        page = session.query(limit=300)
        assert page.matched == 300
        assert [item.url for item in page.items] == [f"http://example.com/{n}" for n in range(300, 0, -1)]
        assert session.exchange(150).state == "complete"
    assert target.read_bytes() == b"precious"


def test_history_keeps_what_earlier_recoveries_found(root: Path) -> None:
    made = damaged_session(root)
    recover(root)
    recording = Recording(made)
    recording.exchange()
    recording.kill()
    recover(root)
    found = json.loads((made.path / "recovery.json").read_bytes())
    assert (found["report"]["exchanges"], len(found["history"])) == (6, 1)
    assert found["history"][0]["exchanges"] == 5


def test_one_broken_session_never_stops_the_others(root: Path) -> None:
    good, newer, empty = closed_session(root, 2), closed_session(root, 2), new_session(root)
    path = segment(newer)
    data = bytearray(path.read_bytes())
    data[3] = 99
    from google_crc32c import value as crc32c

    data[36:40] = crc32c(bytes(data[:36])).to_bytes(4, "little")
    path.write_bytes(data)
    (empty.log_dir).rmdir()
    report = recover(root)
    assert [found.session_id for found in report.recovered] == [good.session_id]
    assert {found.session_id for found in report.skipped} == {newer.session_id, empty.session_id}
    assert any("format 99" in found.reason for found in report.skipped)
    listed = {found.session_id: found for found in Catalogue(root).list()}
    assert listed[good.session_id].exchanges == 2
    assert newer.session_id in listed


def test_progress_grows_to_its_end(root: Path) -> None:
    damaged_session(root)
    closed_session(root, 10)
    seen: list[tuple[int, int]] = []
    Catalogue(root).recover(progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]


def test_a_segment_of_another_session_is_not_taken_for_this_ones(root: Path) -> None:
    mine, other = closed_session(root, 2), closed_session(root, 9)
    (mine.log_dir / "0-00000002.wlog").write_bytes(segment(other).read_bytes())
    with Catalogue(root).open(mine.session_id) as session:
        page = session.query()
        assert (page.matched, session.verify().state) == (2, "damaged")
        assert page.coverage.damaged == 0
        assert session.summary().recovery_state == "damaged"


def test_p10_a_recovery_that_finds_the_disk_full_leaves_nothing_half_done(root: Path) -> None:
    made = damaged_session(root)
    before = snapshot(made.path)
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from wiretape.session.catalogue import Catalogue\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "(skipped,) = Catalogue(Path(sys.argv[1])).recover().skipped\n"
        "print(skipped.reason)\n"
    )
    run = subprocess.run([sys.executable, "-c", program, str(root)], check=True, capture_output=True, timeout=60)
    assert b"cannot copy a damaged range" in run.stdout
    after = snapshot(made.path)
    kept = {name: data for name, data in after.items() if not name.startswith(("quarantine/", "index.sqlite"))}
    assert kept == before
    assert recover(root).recovered[0].recovery_state == "damaged"


def test_a_quarantine_that_is_a_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    made = damaged_session(root)
    outside = tmp_path / "outside"
    outside.mkdir()
    (made.path / "quarantine").symlink_to(outside)
    (skipped,) = recover(root).skipped
    assert "quarantine" in skipped.reason
    assert list(outside.iterdir()) == []
