"""The index: bounded transactions, several processes at once, disks that take no writes."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from harness.logs import Recording, closed_session, new_session, segment, snapshot
from wiretape.errors import StorageError
from wiretape.log.format import FrameType
from wiretape.model import Filter
from wiretape.session.catalogue import Catalogue
from wiretape.session.index.database import INDEX, Index, remove_index
from wiretape.session.index.exchanges import KEPT_SORTED, SORTED_AT_REST, sort_at_rest
from wiretape.session.index.messages import Messages
from wiretape.session.index.projection import Memory
from wiretape.session.index.projections import PROJECTIONS
from wiretape.session.index.row_sink import RowSink

ROOT = Path(__file__).parents[3]


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> bytes:
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err.decode()
    return out


def test_p6_several_processes_may_ask_while_the_session_is_written(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made, segment_bytes=256 * 1024)
    count = 1000
    readers = [
        start("-m", "tests.session.reading_while_written", str(root), made.session_id, str(count)) for _ in range(3)
    ]
    try:
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"asked\n"
        for _ in range(count):
            recording.exchange(answer=b"x" * 300)
        answers = [int(finish(reader)) for reader in readers]
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
    assert min(answers) > 1
    recording.close()
    with Catalogue(root).open("last") as session:
        assert session.verify().state == "clean"
        assert session.summary().exchanges == count


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
def test_transactions_of_any_size_give_the_same_index(root: Path, frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = new_session(root)
    recording = Recording(made, segment_bytes=2000)
    for number in range(10):
        recording.exchange(f"http://example.com/{number}")
    recording.large("http://example.com/big", b"A" * 1000, piece=100)
    recording.open("http://example.com/running")
    recording.kill(torn=b"\x89WT\x01")
    monkeypatch.setattr("wiretape.session.index.follow.BATCH_FRAMES", frames)
    index = Index(made.path, made.session_id)
    index.follow()
    tables = ("exchanges", "pieces", "segments", "places", "handshakes", "clocks", "audit", "refusals")
    small = {table: index.rows(f"SELECT * FROM {table}") for table in tables}
    index.close()
    assert remove_index(made.path)
    monkeypatch.undo()
    index.follow()
    assert {table: index.rows(f"SELECT * FROM {table}") for table in tables} == small
    index.close()


def test_an_index_in_use_is_not_replaced(root: Path) -> None:
    made = closed_session(root, 3)
    with Catalogue(root).open("last") as session:
        session.query()
        assert not remove_index(made.path)
    assert remove_index(made.path)
    assert not (made.path / "index.sqlite").exists()


def test_recovery_leaves_an_index_that_is_in_use_and_both_answer(root: Path) -> None:
    closed_session(root, 3)
    with Catalogue(root).open("last") as session:
        assert session.query().matched == 3
        assert Catalogue(root).recover().recovered[0].exchanges == 3
        assert session.query().matched == 3


def test_where_no_index_can_be_written_answers_are_the_same(root: Path) -> None:
    made = closed_session(root, 3)
    (made.path / "index.sqlite").mkdir()
    before = snapshot(made.log_dir)
    with Catalogue(root).open("last") as session:
        assert session.query(Filter(text="answer 2")).matched == 1
        assert session.exchange(3).state == "complete"
    assert snapshot(made.log_dir) == before


def test_p10_a_full_disk_does_not_keep_a_session_from_being_read(root: Path) -> None:
    made = closed_session(root, 200)
    program = (
        "import json, resource, sys\n"
        "from pathlib import Path\n"
        "from wiretape.session.catalogue import Catalogue\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "with Catalogue(Path(sys.argv[1])).open('last') as session:\n"
        "    page = session.query(limit=1)\n"
        "    print(json.dumps([page.matched, page.items[0].url, session.summary().exchanges]))\n"
    )
    found = json.loads(finish(start("-c", program, str(root))))
    assert found == [200, "http://example.com/200", 200]
    with Catalogue(root).open("last") as session:
        assert session.query().matched == 200
    assert segment(made).is_file()


def test_a_segment_that_disappears_is_noticed(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made, segment_bytes=1000)
    for number in range(12):
        recording.exchange(f"http://example.com/{number}")
    recording.close()
    with Catalogue(root).open("last") as session:
        assert session.query().matched == 12
        segment(made, 1).unlink()
        page = session.query()
        assert page.total < 12
        lost = session.verify().lost_exchanges
        assert page.total + lost == 12
        # One began before the segment, and its end was in it.
        assert [item.state for item in page.items if item.damaged] == ["interrupted"]
        assert page.coverage.damaged == lost + 1
        assert session.summary().recovery_state == "damaged"


def sorted_columns(index: Index) -> set[str]:
    return {name for (name,) in index.rows("SELECT name FROM sqlite_master WHERE name LIKE 'by!_%' ESCAPE '!'")}


def test_columns_are_sorted_once_the_end_is_reached_and_some_only_while_nobody_writes(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    recording.exchange()
    index = Index(made.path, made.session_id)
    index.follow()
    kept = {f"by_{column}" for column in KEPT_SORTED}
    assert sorted_columns(index) == kept
    recording.close()
    index.follow()
    assert sorted_columns(index) == kept, "a first question waits for none that it does not ask for"
    index.run(lambda db: sort_at_rest(db, SORTED_AT_REST))
    assert sorted_columns(index) == kept | {f"by_{column}" for column in SORTED_AT_REST}
    again = Recording(made)
    again.exchange()
    index.follow()
    assert sorted_columns(index) == kept
    again.close()
    index.close()


def test_what_cannot_be_sorted_now_is_left_and_nobody_waits_for_it(root: Path) -> None:
    made = closed_session(root)
    index = Index(made.path, made.session_id)
    index.follow()
    other = sqlite3.connect(made.path / INDEX, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    index.run(lambda db: sort_at_rest(db, SORTED_AT_REST))
    assert not {f"by_{column}" for column in SORTED_AT_REST} & sorted_columns(index)
    other.execute("ROLLBACK")
    other.close()
    index.run(lambda db: sort_at_rest(db, {"duration"}))
    assert "by_duration" in sorted_columns(index)
    index.close()


@pytest.mark.parametrize("column", [*KEPT_SORTED, *SORTED_AT_REST])
def test_a_page_by_a_column_reads_no_other_rows_and_sorts_none(root: Path, column: str) -> None:
    made = closed_session(root)
    index = Index(made.path, made.session_id)
    index.follow()
    index.run(lambda db: sort_at_rest(db, SORTED_AT_REST))
    plan = index.rows(
        f"EXPLAIN QUERY PLAN SELECT seq FROM exchanges WHERE {column} = ? ORDER BY seq DESC LIMIT 50", [1]
    )
    assert [row[3] for row in plan] == [f"SEARCH exchanges USING COVERING INDEX by_{column} ({column}=?)"]
    plan = index.rows(f"EXPLAIN QUERY PLAN SELECT seq FROM exchanges ORDER BY {column} DESC, seq DESC LIMIT 50")
    assert [row[3] for row in plan] == [f"SCAN exchanges USING COVERING INDEX by_{column}"]
    index.close()


class _Clash(RowSink):
    """Breaks a constraint in the second transaction, each time: the first one goes through."""

    def write(self) -> None:
        if self._db.execute("SELECT count(*) FROM exchanges").fetchone()[0] > 2:
            raise sqlite3.IntegrityError("UNIQUE constraint failed: messages.seq")


class _Faulty(Messages):
    """A projection with a fault."""

    def open(self, db: sqlite3.Connection, _memory: Memory) -> RowSink:
        return _Clash(db, "", FrameType.OPENED, lambda _segment, _items: [])


def test_an_index_that_breaks_each_time_it_is_made_ends_in_a_clear_error(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = closed_session(root, 20)
    faulty = tuple(_Faulty() if one.name == "messages" else one for one in PROJECTIONS)
    monkeypatch.setattr("wiretape.session.index.database.PROJECTIONS", faulty)
    index = Index(made.path, made.session_id)
    index.follow_gently(4, 1 << 20)
    with pytest.raises(StorageError, match="broke each time") as refused:
        index.follow()
    index.close()
    assert "wiretape verify" in refused.value.hint
