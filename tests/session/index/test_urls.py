"""URLs in blocks: whatever is looked for in them is found where a look at each URL finds it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from tests.log.logbuilder import REQUEST, WALL, SegmentBuilder
from wiretape.filters.patterns import Pattern
from wiretape.log.format import FrameType, Opened
from wiretape.model import Filter
from wiretape.session.catalogue import Catalogue
from wiretape.session.index.database import Index
from wiretape.session.index.urls import SCHEMA, UrlBlocks, seqs_with_url

URLS = [
    "http://a.example/users/17?q=One",
    "http://a.example/users/18?q=two",
    "http://b.example:8080/Users/17",
    "http://b.example/",
    "http://a.example/caf%C3%A9?x=1#",
    "http://a.example/x17",
]
PATTERNS = [
    Pattern("users/17", "contains"),
    Pattern("USERS", "contains"),
    Pattern("(?x", "contains"),
    Pattern("%", "contains"),
    Pattern("nowhere", "contains"),
    Pattern("users/1[78]"),
    Pattern("^http://b"),
    Pattern("17$"),
    Pattern("[A-Z]sers"),
    Pattern("example/$|x17"),
    Pattern(r"q=\w+"),
    Pattern("a.example.*17"),
]


def found(index: Index, pattern: Pattern, most: int = 1000) -> list[int] | None:
    def look(db: sqlite3.Connection) -> list[int] | None:
        return seqs_with_url(db, pattern.lines_in, most)

    return index.run(look)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("urls")
    made = new_session(root)
    recording = Recording(made)
    with Catalogue(root).open("last") as session:
        for number in range(60):  # followed one by one, so that blocks are joined
            recording.exchange(URLS[number % len(URLS)])
            session.follow()
    recording.close()
    return root


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda one: one.text)
def test_blocks_name_all_that_a_look_at_each_url_finds(made: Path, pattern: Pattern) -> None:
    with Catalogue(made).open("last") as session:
        session.follow()
        rows = session.index.rows("SELECT seq, url FROM exchanges")
        expected = {seq for seq, url in rows if pattern.in_text(url)}
        named = found(session.index, pattern)
        assert named is not None
        assert sorted(named) == sorted(expected)
        assert session.index.rows("SELECT count(*) FROM url_blocks")[0][0] <= 7


def test_p8_blocks_are_not_joined_beyond_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wiretape.session.index.urls._MOST_BYTES", 100)
    db = sqlite3.connect(":memory:")
    db.executescript(SCHEMA)
    for seq in range(1, 61):
        blocks = UrlBlocks()
        blocks.add(seq, URLS[seq % len(URLS)])
        blocks.write(db)
    sizes = [size for (size,) in db.execute("SELECT length(urls) FROM url_blocks")]
    assert len(sizes) < 60
    assert max(sizes) <= 101
    assert seqs_with_url(db, Pattern("x17").lines_in, 1000) == list(range(59, 0, -6))
    db.close()


def test_a_query_takes_the_same_with_blocks_and_without(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Catalogue(made).open("last") as session:
        wanted = [
            Filter(url_contains="Users/17"),
            Filter(expression="~u 'users/1[78]' & ~d a"),
            Filter(expression="~u 17$"),
        ]
        by_blocks = [[item.seq for item in session.query(one).items] for one in wanted]
        monkeypatch.setattr("wiretape.session.query.sql._MANY", -1)
        assert [[item.seq for item in session.query(one).items] for one in wanted] == by_blocks
        assert all(by_blocks)


def test_more_than_are_asked_for_are_not_listed(made: Path) -> None:
    with Catalogue(made).open("last") as session:
        session.follow()
        assert found(session.index, Pattern("example", "contains"), most=10) is None


def test_a_line_end_in_the_name_of_a_host_moves_no_url_to_another_exchange(root: Path) -> None:
    log = SegmentBuilder()
    for seq, host in ((1, "evil\nhost"), (2, "second.example")):
        record = Opened(WALL, 1, "http", host, 80, "", len(REQUEST))
        log.add(FrameType.OPENED, seq, record, REQUEST)
    log.write(root / "session" / "log")
    index = Index(root / "session", log.session)
    index.follow()
    assert found(index, Pattern("second", "contains")) == [2]
    assert found(index, Pattern("evil", "contains")) == [1]
    index.close()


def test_a_url_that_is_not_utf8_or_ascii_is_found(root: Path) -> None:
    log = SegmentBuilder()
    log.opened(1, head="GET /größe HTTP/1.1\r\n\r\n".encode())
    log.opened(2, head=b"GET /\xff HTTP/1.1\r\n\r\n")
    log.write(root / "session" / "log")
    index = Index(root / "session", log.session)
    index.follow()
    assert found(index, Pattern("GRÖSSE|GRÖßE")) == [1]
    assert found(index, Pattern("größe", "contains")) == [1]
    assert found(index, Pattern("/ÿ", "contains")) == [2]
    index.close()


def test_exchanges_whose_beginning_is_lost_are_told_by_a_pattern_that_nothing_has(root: Path) -> None:
    log = SegmentBuilder()
    log.opened(1)
    log.done(2)
    log.write(root / "session" / "log")
    with_lost = Index(root / "session", log.session)
    with_lost.follow()
    assert with_lost.rows("SELECT seq FROM exchanges ORDER BY seq") == [(1,), (2,)]
    assert found(with_lost, Pattern("x*")) == [1]  # a query does not ask blocks for what nothing has
    with_lost.close()
