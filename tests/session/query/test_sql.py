"""What the index decides is what the predicate says of each exchange; and no condition on an index scans all rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
    "~dst :80", "~websocket", "!~websocket", "~m POST & ~c 2xx & ~d api", "~c 404 | ~c 503", "~c 404 | ~bs needle",
    "(~m GET & !~c 200) | ~json /state", "!(~m GET | ~b needle)", "!(~c 404 & ~m GET)", "~m GET ~c 200 !~a", "~err",
    "!~err", "nothing-of-the-kind", "~m nothing | ~c 404", "~st complete & ~size >100 & !~a",
)  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_index_and_the_predicate_agree(recorded: Session, expression: str) -> None:
    tree = parse(expression)
    recorded.follow()
    rows = recorded._index.rows(f"SELECT {COLUMNS} FROM exchanges ORDER BY seq")
    expected = [row[0] for row in rows if tree.matches(RecordedExchange(row, recorded._tape_of, {}))]
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
