"""The order of lists, and cursors in any order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from wiretape.errors import UsageError
from wiretape.log.format import EndState
from wiretape.model import Filter
from wiretape.session.catalogue import Catalogue
from wiretape.session.query.ordering import SORTABLE, Order, read_order
from wiretape.session.session import Session


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("desc", Order("seq", descending=True)),
        ("asc", Order("seq", descending=False)),
        ("ms", Order("duration", descending=True)),
        ("host", Order("host", descending=False)),
        ("ms:asc", Order("duration", descending=False)),
        ("host:desc", Order("host", descending=True)),
    ],
)
def test_an_order_is_read(text: str, order: Order) -> None:
    assert read_order(text) == order


@pytest.mark.parametrize("text", ["", "newest", "ms:down", "error", "ms:"])
def test_what_is_no_order_is_refused_with_the_columns_there_are(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_order(text)
    assert "status" in refused.value.hint


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session with values that repeat and values that are missing; one exchange runs."""
    recording = Recording(new_session(tmp_path_factory.mktemp("ordering")))
    for number in range(6):
        url, method = f"http://{'ab'[number % 2]}.example.com/{number % 3}", ("GET", "POST")[number % 2]
        recording.exchange(url, b"x" * (number % 4), method=method, status=200 + number % 3)
    recording.done(recording.open(), state=EndState.FAILED, status=0, inline=False)
    recording.open()
    with Catalogue(recording.session.path.parent.parent).open("last") as session:
        session.follow()
        yield session
    recording.close()


@pytest.mark.parametrize("column", SORTABLE)
def test_pages_in_any_order_give_everything_once(varied: Session, column: str) -> None:
    for direction in ("", ":asc", ":desc"):
        order = read_order(column + direction)
        way = "DESC" if order.descending else "ASC"
        rows = varied.index.rows(
            f"SELECT seq FROM exchanges ORDER BY {order.column} IS NULL, {order.column} {way}, seq {way}"
        )
        for expression in ("~all", "~d example | ~b answer", "~c >=100"):
            wanted, cursor, found = Filter(expression=expression), None, list[int]()
            while not found or cursor is not None:
                page = varied.query(wanted, sort=column + direction, limit=2, cursor=cursor)
                found += [item.seq for item in page.items]
                cursor = page.next_cursor
            every = {item.seq for item in varied.query(wanted, limit=100).items}
            assert found == [row[0] for row in rows if row[0] in every]


def test_the_same_relative_moment_holds_on_every_page(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_005_000
    recording = Recording(new_session(root))
    for _ in range(6):
        recording.exchange()
    recording.close()
    with Catalogue(root).open("last") as session:
        monkeypatch.setattr("wiretape.session.session.time.time_ns", lambda: now * 1_000_000)
        first = session.query(Filter(since="-3s"), limit=2)
        monkeypatch.setattr("wiretape.session.session.time.time_ns", lambda: (now + 60_000) * 1_000_000)
        rest = session.query(Filter(since="-3s"), limit=9, cursor=first.next_cursor)
    assert [item.seq for item in (*first.items, *rest.items)] == [6, 5, 4, 3, 2]
