"""What the index decides is what the predicate says of each exchange; and no condition on an index scans all rows."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.logs import Recording, new_session
from wiretape.filters.parse import parse
from wiretape.log.format import EndState
from wiretape.model import Filter
from wiretape.session.catalogue import Catalogue
from wiretape.session.query.recorded import COLUMNS, RecordedExchange
from wiretape.session.query.sql import Compiler
from wiretape.session.session import Session

JSON = "Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session of exchanges that differ in everything that can be asked for; one still runs, one is interrupted."""
    root = tmp_path_factory.mktemp("sql")
    recording = Recording(new_session(root))
    recording.exchange("http://example.com/one")
    recording.exchange("https://api.example.com/two?q=100%25", method="POST", status=201)
    recording.exchange("http://notexample.com/three", status=404)
    recording.exchange("http://example.com:8080/Four_x", status=503, method="PATCH")
    recording.done(recording.open("http://example.com/six"), state=EndState.FAILED, status=0, inline=False, error="no")
    recording.done(recording.open("http://example.com/left"), state=EndState.ABORTED, status=0, inline=False)
    recording.zipped("http://example.com/seven", b"needle in a zipped haystack")
    recording.exchange("http://xn--e1afmkfd.example/", "Straße und STRASSE".encode())
    body = b'{"data":{"state":"confirmed","n":[1,2]},"errors":[]}'
    recording.done(
        recording.open("http://api.example.com/json", method="POST", headers=JSON, body=b'{"state":"new"}'),
        body, headers=JSON, request=b'{"state":"new"}',
    )  # fmt: skip
    recording.done(recording.open("http://example.com/cut"), b"beginn", size=5000)
    recording.done(recording.open("http://cdn.example.com/a.png"), b"\x89PNG", headers="Content-Type: image/png\r\n")
    recording.large("http://example.com/large", b"x" * 200_000)
    recording.done(recording.open("http://example.com/imported", source="import"), b"needle", status=304)
    recording.done(
        recording.open("http://example.com/ws"), status=101, headers="Upgrade: websocket\r\nConnection: upgrade\r\n"
    )
    upgraded = recording.open("http://example.com/chat")
    recording.head(upgraded, 101, "Upgrade: websocket\r\n")
    recording.message(upgraded, 1, b"hello from the client", response=False)
    recording.message(upgraded, 1, b"needle in a message")
    recording.done(upgraded, status=101, inline=False)
    recording.open("http://example.com/running")
    with Catalogue(root).open("last") as session:
        yield session
    recording.close()


EXPRESSIONS = (
    "~all", "~http", "~m POST", "~m ^p", "!~m GET", "~d example", r"~d ^api\.", "~host example.com",
    "!~host example.com",
    "example", "/four_x", "/Four_x$", "four.x", "100%25", "~u ^https", "!~u example", "~u '(one|three)$'", "~c 404",
    "~c 4xx", "~c >=400", "!~c 200", "~c 200,404", "~c 200..299", "~c <300", "~e", "~st failed", "~st inFlight",
    "!~st complete", "~st damaged", "~q", "~s", "!~s", "~ms >10", "~ms <=12.345678", "~ms >12.345678", "!~ms >1",
    "~size >100", "~size <100", "~size 5..6", "~sizeq >0", "~sizes 5", "!~size >100k", "~t json", "~tq json",
    "~ts json",
    "!~ts text", "~ts ^image", "~a", "!~a", "~h 'content-encoding: gzip'", "~hq ^host", "~hs json", "!~h json",
    "~b needle", "~bs NEEDLE", "~bq state", "!~bs needle", "~b 'straße'", r"~bs 'in a \w+ hay'", "~b x{100}",
    "~json /data/state=confirmed", "~json /state=new", "~json /data/n/*=2", "!~json /data", "~seq 2..4", "~seq 3",
    "~seq ..5", "~seq >7", "~seq 1,3,5", "!~seq 2..4", "~source import", "!~source import", "~replay", "~src 127.0.0.1",
    "~dst :80", "~websocket", "!~websocket", "~bs 'in a message'", "~bq 'in a message'", "~bq ^hello", "!~b message",
    "~m POST & ~c 2xx & ~d api", "~c 404 | ~c 503", "~c 404 | ~bs needle",
    "(~m GET & !~c 200) | ~json /state", "!(~m GET | ~b needle)", "!(~c 404 & ~m GET)", "~m GET ~c 200 !~a", "~err",
    "!~err", "nothing-of-the-kind", "~m nothing | ~c 404", "~st complete & ~size >100 & !~a",
)  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_index_and_the_predicate_agree(recorded: Session, expression: str) -> None:
    tree = parse(expression)
    recorded.follow()
    rows = recorded._index.rows(f"SELECT {COLUMNS} FROM exchanges ORDER BY seq")
    expected = [
        row[0] for row in rows if tree.matches(RecordedExchange(row, recorded._tape_of, recorded._lookup.messages, {}))
    ]
    page = recorded.query(Filter(expression=expression), sort="asc", limit=100)
    assert [item.seq for item in page.items] == expected
    assert page.matched == len(expected)
    newest = recorded.query(Filter(expression=expression), limit=100)
    assert [item.seq for item in newest.items] == expected[::-1]


@pytest.mark.parametrize(
    "expression", ["~m POST & ~c 2xx", "/four", "~st failed", "~ms >10 | ~size >1k", "!~host x.example"]
)
def test_what_the_index_can_decide_reads_no_exchange(
    recorded: Session, expression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_seq: int) -> None:
        raise AssertionError("the log was read")

    monkeypatch.setattr(recorded, "_tape_of", never)
    recorded.query(Filter(expression=expression))


@pytest.mark.parametrize(
    ("expression", "column"),
    [
        ("~m POST", "method"), ("~c 4xx", "status"), ("~ms >1000", "duration"), ("~sizes >1k", "response_size"),
        ("~st failed", "state"), ("~host example.com", "host"), ("~ts json", "content_type"),
        ("~c 404 | ~m POST", None),
    ],
)  # fmt: skip
def test_conditions_say_which_column_they_look_at(recorded: Session, expression: str, column: str | None) -> None:
    tree = parse(expression)
    assert recorded._index.run(lambda db: Compiler(db).condition(tree)).column == column


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session that nobody writes any more: all columns have their indexes."""
    recording = Recording(new_session(tmp_path_factory.mktemp("closed")))
    for number in range(30):
        method, status = ("GET", "POST")[number % 2], (200, 200, 404, 503)[number % 4]
        recording.exchange(
            f"http://{'abc'[number % 3]}.example.com/{number}", b"x" * number, method=method, status=status
        )
    recording.close()
    with Catalogue(recording.session.path.parent.parent).open("last") as session:
        yield session


def scans(session: Session, wanted: Filter, sort: str = "desc") -> list[tuple[str, list[str]]]:
    """Return what of a query's SQL reads or sorts more than a window of exchanges, with SQLite's plan."""
    asked: list[str] = []
    session.follow()
    session.index.run(lambda db: db.set_trace_callback(asked.append))
    session.query(wanted, sort=sort, limit=5)
    session.index.run(lambda db: db.set_trace_callback(None))
    found = []
    for sql in asked:
        if "FROM exchanges" not in sql or not sql.startswith(("SELECT", "WITH")):
            continue
        details = [row[3] for row in session.index.rows(f"EXPLAIN QUERY PLAN {sql}")]
        bounds = re.search(r"AND seq > (-?\d+) AND seq <= (\d+)", sql)
        narrow = bounds is not None and int(bounds[2]) - int(bounds[1]) <= 3
        bad = [
            detail
            for detail in details
            if (detail.startswith("SCAN exchanges") and "INDEX" not in detail)
            or ("INTEGER PRIMARY KEY (rowid>" in detail and not narrow)
        ]
        if bad:
            found.append((sql, details))
    return found


@pytest.mark.parametrize(
    "expression",
    ["~m POST", "~host a.example.com", "~d ^a", "~c 404", "~c 5xx", "~c 404,503", "~st failed", "~ms >10000",
     "~sizes >20", "~sizeq >10", "~ts json", "~e", "~err", "~seq 3..5", "~seq 1,3", "~h 'content-length: 7'",
     "~tq json", "~m POST & ~c 2xx & ~u two", "~q", "!~a & ~c 404",
     "~u nothing", "~u 'com/[0-9]+5$'", "~u EXAMPLE & ~c 200"],
)  # fmt: skip
@pytest.mark.parametrize("few", [10_000, 1])
def test_no_filter_on_an_indexed_column_reads_all_rows(
    closed: Session, expression: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("query.selection", "session"):
        monkeypatch.setattr(f"wiretape.session.{module}.COUNTED", few)
    monkeypatch.setattr("wiretape.session.query.selection._WINDOW", 3)
    assert scans(closed, Filter(expression=expression)) == []


def test_the_check_of_plans_sees_a_scan(closed: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wiretape.session.query.selection._WINDOW", 3)
    assert scans(closed, Filter(expression=r"~u '\Anothing'"))


@pytest.mark.parametrize("sort", ["ms", "down", "up:asc", "status", "host:desc", "time", "type"])
def test_a_list_in_the_order_of_a_column_is_read_by_its_index(closed: Session, sort: str) -> None:
    assert scans(closed, Filter(), sort) == []


@pytest.mark.parametrize("few", [10_000, 3, 0])
def test_plans_for_few_and_for_many_give_the_same(recorded: Session, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {
        one: [item.seq for item in recorded.query(Filter(expression=one), limit=100).items] for one in EXPRESSIONS
    }
    monkeypatch.setattr("wiretape.session.query.selection.COUNTED", few)
    monkeypatch.setattr("wiretape.session.query.selection._WINDOW", 3)
    for expression, seqs in expected.items():
        for limit in (2, 100):
            found, cursor = list[int](), None
            while cursor is not None or not found:
                page = recorded.query(Filter(expression=expression), limit=limit, cursor=cursor)
                found += [item.seq for item in page.items]
                cursor = page.next_cursor
                if not page.items:
                    break
            assert found == seqs, expression


@given(
    st.recursive(
        st.sampled_from([one for one in EXPRESSIONS if len(one) < 20]),
        lambda parts: st.one_of(
            parts.map(lambda part: f"!({part})"),
            st.tuples(parts, parts).map(" & ".join),
            st.tuples(parts, parts).map(lambda both: f"({both[0]}) | ({both[1]})"),
            st.tuples(parts, parts).map(lambda both: f"({both[0]} {both[1]})"),
        ),
        max_leaves=6,
    )
)
@settings(max_examples=60, deadline=None)
def test_however_filters_are_joined_the_index_and_the_predicate_agree(recorded: Session, expression: str) -> None:
    tree = parse(expression)
    recorded.follow()
    rows = recorded._index.rows(f"SELECT {COLUMNS} FROM exchanges ORDER BY seq")
    exchanges = [RecordedExchange(row, recorded._tape_of, recorded._lookup.messages, {}) for row in rows]
    expected = [exchange.seq for exchange in exchanges if tree.matches(exchange)]
    page = recorded.query(Filter(expression=expression), sort="asc", limit=100)
    assert [item.seq for item in page.items] == expected


def test_text_is_found_in_messages(recorded: Session) -> None:
    assert [recorded.query(Filter(text=text)).matched for text in ("in a message", "from the client")] == [1, 1]
