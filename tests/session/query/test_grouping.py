"""Groups: counts of what matches, by what it has in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from wiretape.errors import UsageError
from wiretape.log.format import EndState
from wiretape.model import Filter
from wiretape.session.catalogue import Catalogue
from wiretape.session.query.grouping import BY
from wiretape.session.session import Session


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    recording = Recording(new_session(tmp_path_factory.mktemp("grouping")))
    recording.exchange("http://a.example.com/x?one=1")
    recording.exchange("http://a.example.com/x?two=2", b"needle", status=500)
    recording.exchange("https://b.example.com:8443/y/z", method="POST", status=404)
    recording.done(recording.open("http://b.example.com"), headers="Content-Type: text/plain ;q=1\r\n", body=b"12345")
    recording.done(recording.open("http://c.example.com/"), state=EndState.FAILED, status=0, inline=False)
    recording.close()
    with Catalogue(recording.session.path.parent.parent).open("last") as session:
        yield session


@pytest.mark.parametrize(
    ("by", "counts"),
    [
        ("host", {"a.example.com": (2, 1), "b.example.com": (2, 1), "c.example.com": (1, 1)}),
        ("status", {"200": (2, 0), "500": (1, 1), "404": (1, 1), "-": (1, 1)}),
        ("method", {"GET": (4, 2), "POST": (1, 1)}),
        ("type", {"text/plain": (4, 2), "-": (1, 1)}),
        ("path", {"/x": (2, 1), "/y/z": (1, 1), "": (1, 0), "/": (1, 1)}),
        ("state", {"complete": (4, 2), "failed": (1, 1)}),
        ("source", {"explicit": (5, 3)}),
        ("minute", {"2027-01-15T08:00Z": (5, 3)}),
    ],
)
def test_groups_are_counted_with_their_errors(recorded: Session, by: str, counts: dict[str, tuple[int, int]]) -> None:
    for wanted in (Filter(), Filter(expression="~all | ~b never")):
        found = recorded.group(wanted, by)
        assert {row[0]: (row[1], row[2]) for row in found.groups.rows} == counts
        assert found.matched == 5
        assert [row[1] for row in found.groups.rows] == sorted((row[1] for row in found.groups.rows), reverse=True)
    assert by in BY


def test_what_is_no_group_is_left_out_with_a_count(recorded: Session) -> None:
    found = recorded.group(None, "host", limit=1)
    assert found.groups.left == {"groups": 2, "exchanges": 3}


def test_a_filter_that_reads_bodies_groups_what_it_takes(recorded: Session) -> None:
    found = recorded.group(Filter(expression="~bs needle"), "status")
    assert found.groups.rows[0][:3] == ["500", 1, 1]
    assert found.groups.columns == ["status", "n", "errors", "bytes", "meanMs", "maxMs", "lastSeq"]


def test_what_cannot_be_grouped_by_is_refused(recorded: Session) -> None:
    with pytest.raises(UsageError) as refused:
        recorded.group(None, "colour")
    assert "path" in refused.value.hint


def test_an_answer_that_says_itself_that_something_went_wrong_is_an_error_of_its_group(root: Path) -> None:
    recording = Recording(new_session(root))
    body = b'{"data": null, "errors": [{"message": "Coupon expired"}]}'
    seq = recording.open("https://a.example/graphql", method="POST")
    recording.done(seq, body, headers="Content-Type: application/json\r\n")
    recording.done(recording.open("https://a.example/graphql", method="POST"), b'{"data": 1}')
    recording.close()
    with Catalogue(root).open("last") as session:
        (row,) = session.group(None, "status").groups.rows
        assert row[:3] == ["200", 2, 1]
        assert session.query(Filter(expression="~err")).matched == 1
