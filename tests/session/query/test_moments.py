"""Moments: every way to name one, and marks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.logs import WALL_MS, Recording, new_session
from wiretape.errors import UsageError
from wiretape.filters.numbers import Range
from wiretape.filters.operators import Seq, SeqByStream, Time
from wiretape.filters.tree import Node
from wiretape.model import Filter
from wiretape.session.catalogue import Catalogue
from wiretape.session.query.moments import Mark, bound, check_label

NOW = 1_800_000_000_000
MARKS = [Mark("start", 5, (2,)), Mark("click", 9, (29,)), Mark("wide", 10, (7, 4)), Mark("odd", 11, (7, None)),
         Mark("start", 12, (40,))]  # fmt: skip


def since(text: str) -> Node:
    return bound(text, "since", NOW, lambda: MARKS)


def until(text: str) -> Node:
    return bound(text, "until", NOW, lambda: MARKS)


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("31", Seq((Range(low=31),))),
        ("99999999999", Seq((Range(low=99_999_999_999),))),
        ("100000000000", Time(Range(low=100_000_000_000))),
        ("1800000000000", Time(Range(low=NOW))),
        ("-5m", Time(Range(low=NOW - 300_000))),
        ("5m", Time(Range(low=NOW - 300_000))),
        ("-30s", Time(Range(low=NOW - 30_000))),
        ("-2h", Time(Range(low=NOW - 7_200_000))),
        ("-1.5s", Time(Range(low=NOW - 1_500))),
        ("-250ms", Time(Range(low=NOW - 250))),
        ("2027-01-15T08:00:00Z", Time(Range(low=NOW))),
        ("2027-01-15T08:00:00.250+00:00", Time(Range(low=NOW + 250))),
        ("2027-01-15 09:00:00+01:00", Time(Range(low=NOW))),
        ("click", Seq((Range(low=30),))),
        ("start", Seq((Range(low=41),))),
        ("wide", SeqByStream((7, 4), after=True)),
        ("odd", Time(Range(low=11))),
    ],
)
def test_a_moment_is_read(text: str, node: Node) -> None:
    assert since(text) == node


def test_until_is_the_other_side() -> None:
    assert until("31") == Seq((Range(high=31),))
    assert until("click") == Seq((Range(high=29),))
    assert until("wide") == SeqByStream((7, 4), after=False)
    assert until("-5m") == Time(Range(high=NOW - 300_000))


def test_a_time_of_day_is_the_last_time_that_the_clock_here_showed_it() -> None:
    here = datetime.fromtimestamp(NOW / 1000, UTC).astimezone()
    for minutes in (0, 1, 600, 1439):
        shown = datetime.fromtimestamp(NOW / 1000 - 60 * minutes, UTC).astimezone()
        if shown.utcoffset() == here.utcoffset():
            expected = int(shown.replace(second=0, microsecond=0).timestamp() * 1000)
            assert since(f"{shown:%H:%M}") == Time(Range(low=expected))


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2027-13-01", "25:00", "-5x", "10:44:99", "-", "12345678901234567890"]
)
def test_what_is_no_moment_is_refused_with_the_marks_there_are(text: str) -> None:
    with pytest.raises(UsageError, match="click") as refused:
        since(text)
    assert "-5m" in refused.value.hint


@pytest.mark.parametrize(
    "label", ["", "x" * 129, "a\nb", "31", "-5m", "5m", "10:44", "2027-01-15", "1800000000000", "-x"]
)
def test_a_label_that_reads_as_something_else_is_refused(label: str) -> None:
    with pytest.raises(UsageError):
        check_label(label)


def test_a_label_may_be_words() -> None:
    assert check_label(" click checkout ") == "click checkout"
    assert check_label("v2") == "v2"


def test_what_is_since_a_mark_follows_it_and_of_equal_ones_the_newest_counts(root: Path) -> None:
    recording = Recording(new_session(root))
    recording.mark("click", at_ms=WALL_MS)
    recording.exchange()
    running = recording.open("http://example.com/slow")
    recording.mark("click", at_ms=WALL_MS + 1)
    recording.mark("click", at_ms=WALL_MS + 1)  # a copy after a failed sync
    recording.exchange()
    recording.mark("end", at_ms=WALL_MS + 2)
    recording.done(running)
    with Catalogue(root).open("last") as session:
        assert [(mark.label, mark.after_seq) for mark in session.marks()] == [("click", 0), ("click", 2), ("end", 3)]
        found = session.query(Filter(since="click"), sort="asc")
        assert [item.seq for item in found.items] == [3]
        assert [item.seq for item in session.query(Filter(since="click", until="end"), sort="asc").items] == [3]
        assert [item.seq for item in session.query(Filter(until="click"), sort="asc").items] == [1, 2]
        assert session.query(Filter(since="end")).matched == 0
    recording.close()


def test_a_mark_of_several_recorders_is_exact_in_each(root: Path) -> None:
    made = new_session(root)
    streams = [Recording(made, stream=stream, streams=2) for stream in (0, 1)]
    for _ in range(3):
        streams[0].exchange()  # 1, 3, 5
    streams[1].exchange()  # 2
    for stream in streams:
        stream.mark("here")
    streams[0].exchange()  # 7
    streams[1].exchange()  # 4
    with Catalogue(root).open("last") as session:
        assert session.marks()[0].after == (5, 2)
        assert [item.seq for item in session.query(Filter(since="here"), sort="asc").items] == [4, 7]
        assert [item.seq for item in session.query(Filter(until="here"), sort="asc").items] == [1, 2, 3, 5]
    for stream in streams:
        stream.close()


def test_moments_of_a_session(root: Path) -> None:
    recording = Recording(new_session(root))
    for _ in range(5):
        recording.exchange()
    recording.close()
    with Catalogue(root).open("last") as session:
        for wanted, seqs in (
            (Filter(since="3"), [3, 4, 5]),
            (Filter(since="2", until="3"), [2, 3]),
            (Filter(since=str(WALL_MS + 4000)), [4, 5]),
            (Filter(until="2027-01-15T08:00:02Z"), [1, 2]),
            (Filter(since="4", expression="~seq ..4"), [4]),
        ):
            assert [item.seq for item in session.query(wanted, sort="asc").items] == seqs
        with pytest.raises(UsageError, match="it has no marks"):
            session.query(Filter(since="click"))
