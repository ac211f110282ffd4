"""The follower: projections with places and versions of their own, and logs whose files are moved under it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.logs import Recording, closed_session, new_session, segment
from wiretape.log.report import LogReport
from wiretape.log.verify import verify_log
from wiretape.model import Gap
from wiretape.session.catalogue import Catalogue, SessionDir
from wiretape.session.index.database import Index, connect
from wiretape.session.index.follow import Follower
from wiretape.session.index.projection import Item, Memory, Segment
from wiretape.session.index.projections import PROJECTIONS
from wiretape.session.index.schema import make_tables


class Counter:
    """A projection that notes every frame that it was given, in its order."""

    tables = ("counted",)
    schema = "CREATE TABLE counted (number INTEGER PRIMARY KEY, segment TEXT, offset INTEGER)"

    def __init__(self, name: str = "counter", version: int = 1) -> None:
        self.name = name
        self.version = version
        self.ends = 0
        self.readings = 0

    def open(self, db: sqlite3.Connection, _memory: Memory) -> CounterSink:
        self.readings += 1
        return CounterSink(db)

    def end(self, db: sqlite3.Connection, report: LogReport) -> None:
        self.ends += 1


class CounterSink:
    kind = None

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def begin(self, segment: Segment, missing: Sequence[Gap], step: int) -> None:
        """Need nothing of it."""

    def take(self, segment: Segment, items: Sequence[Item]) -> None:
        rows = [(segment.placed.ref.name, item.offset) for item, _ in items]
        self._db.executemany("INSERT INTO counted (segment, offset) VALUES (?, ?)", rows)

    def reached(self, segment: Segment, position: int) -> None:
        """Need nothing of it."""

    def write(self) -> None:
        """Have written already."""


def several_segments(root: Path, exchanges: int = 40) -> tuple[SessionDir, Recording]:
    made = new_session(root)
    recording = Recording(made, segment_bytes=1500)
    for number in range(exchanges):
        recording.exchange(f"http://example.com/{number}")
    return made, recording


def follow(db: sqlite3.Connection, follower: Follower) -> None:
    while not follower.step(db):
        pass


def counted(db: sqlite3.Connection) -> list[tuple[str, int]]:
    return db.execute("SELECT segment, offset FROM counted ORDER BY number").fetchall()


def test_a_projection_that_is_new_is_brought_up_and_then_reads_with_the_others(root: Path) -> None:
    made, recording = several_segments(root)
    db = connect(None)
    make_tables(db, made.session_id, PROJECTIONS)
    follow(db, Follower(made.log_dir, made.session_id, PROJECTIONS))
    counter = Counter()
    make_tables(db, made.session_id, (*PROJECTIONS, counter))
    follower = Follower(made.log_dir, made.session_id, (*PROJECTIONS, counter))
    follower.batch_frames = 7
    follower.step(db)
    assert 0 < len(counted(db)) < 40
    recording.exchange("http://example.com/later")
    follow(db, follower)
    frames = counted(db)
    assert len(frames) == len(set(frames)) == 41 * 2 + len(list(made.log_dir.glob("*.wlog"))) * 2 - 1
    assert counter.ends == 1
    recording.exchange("http://example.com/last")
    readings = counter.readings
    follow(db, follower)
    assert (counter.readings - readings, len(counted(db))) == (1, len(frames) + 2)
    by_name = [
        db.execute("SELECT segment, position, sealed FROM places WHERE projection = ? ORDER BY segment", (one.name,))
        for one in (*PROJECTIONS, counter)
    ]
    assert len({tuple(found.fetchall()) for found in by_name}) == 1
    recording.close()
    db.close()


def test_a_projection_of_another_version_is_made_again_and_the_others_stay(root: Path) -> None:
    made, recording = several_segments(root)
    recording.close()
    db = connect(None)
    first = Counter()
    make_tables(db, made.session_id, (*PROJECTIONS, first))
    follow(db, Follower(made.log_dir, made.session_id, (*PROJECTIONS, first)))
    before = counted(db)
    db.execute("UPDATE exchanges SET url = 'kept'")
    second = Counter(version=2)
    make_tables(db, made.session_id, (*PROJECTIONS, second))
    assert counted(db) == []
    follow(db, Follower(made.log_dir, made.session_id, (*PROJECTIONS, second)))
    assert counted(db) == before
    assert db.execute("SELECT DISTINCT url FROM exchanges").fetchall() == [("kept",)]
    db.close()


def test_what_has_come_furthest_goes_on_first_while_something_is_being_brought_up(root: Path) -> None:
    made, recording = several_segments(root)
    db = connect(None)
    make_tables(db, made.session_id, PROJECTIONS)
    follow(db, Follower(made.log_dir, made.session_id, PROJECTIONS))
    seq = recording.exchange("http://example.com/newest")
    projections = (*PROJECTIONS, Counter())
    make_tables(db, made.session_id, projections)
    follower = Follower(made.log_dir, made.session_id, projections)
    follower.batch_frames = 6
    assert not follower.step(db)
    assert db.execute("SELECT url FROM exchanges WHERE seq = ?", (seq,)).fetchone() == ("http://example.com/newest",)
    recording.close()
    db.close()


def test_an_index_of_an_older_version_is_made_again_where_it_is_and_coverage_says_how_far(root: Path) -> None:
    made = closed_session(root, 50)
    old = connect(made.path / "index.sqlite")
    old.execute("CREATE TABLE exchanges (seq INTEGER PRIMARY KEY, url TEXT)")
    old.execute("INSERT INTO exchanges VALUES (1, 'old')")
    old.execute("PRAGMA user_version = 3")
    with Catalogue(root).open("last") as session:
        session.follow_gently(10, 10**6)
        session.patience = 0
        page = session.query(limit=100)
        assert 0 < page.total < 50
        assert any("still being made" in note for note in page.coverage.notes)
        session.patience = None
        page = session.query(limit=100)
        assert (page.matched, page.items[-1].url) == (50, "http://example.com/1")
    old.close()


@pytest.mark.parametrize("what", ["renamed", "put back", "cut short"])
def test_p11_an_index_follows_when_files_of_the_log_are_moved(root: Path, what: str) -> None:
    made, recording = several_segments(root)
    recording.close()
    path = segment(made, 1)
    whole = path.read_bytes()
    if what == "put back":
        path.unlink()
    index = Index(made.path, made.session_id)
    index.follow()
    before = index.report()
    if what == "renamed":
        path.rename(path.with_name("0-00000999.wlog"))
    elif what == "put back":
        path.write_bytes(whole)
    else:
        path.write_bytes(whole[:500])
    index.follow()
    found = index.report()
    index.close()
    assert found == verify_log(made.log_dir, made.session_id) != before
