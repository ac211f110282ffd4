"""Filters, order, cursors and coverage of queries. Promise P11."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from harness.logs import WALL_MS, Recording, closed_session, flip_in, new_session, segment
from wiretape.errors import UsageError
from wiretape.log.format import EndState
from wiretape.model import Filter, QueryPage
from wiretape.session.catalogue import Catalogue
from wiretape.session.session import Session


@pytest.fixture
def varied(root: Path) -> Session:
    """A closed session of eight exchanges that differ."""
    recording = Recording(new_session(root))
    recording.exchange("http://example.com/one")
    recording.exchange("https://api.example.com/two?q=100%25", method="POST", status=201)
    recording.exchange("http://notexample.com/three", status=404)
    recording.exchange("http://example.com:8080/four_x", status=403)
    recording.exchange("http://other.test/FIVE", method="delete", status=500)
    recording.done(recording.open("http://example.com/six"), state=EndState.FAILED, status=0, inline=False)
    recording.zipped("http://example.com/seven", b"needle in a zipped haystack")
    recording.exchange("http://example.com/eight", "Straße und STRASSE".encode())
    recording.close()
    return Catalogue(root).open("last")


def seqs(page: QueryPage) -> list[int]:
    return [item.seq for item in page.items]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"method": "POST"}, [2]),
        ({"method": "DELETE"}, [5]),
        ({"host": "example.com"}, [1, 2, 4, 6, 7, 8]),
        ({"host": "API.example.com"}, [2]),
        ({"host": "ample.com"}, []),
        ({"host": "e_ample.com"}, []),
        ({"host_contains": "example"}, [1, 2, 3, 4, 6, 7, 8]),
        ({"url_contains": "/five"}, [5]),
        ({"url_contains": "100%25"}, [2]),
        ({"url_contains": "four_"}, [4]),
        ({"url_contains": "o_e"}, []),
        ({"status": "404"}, [3]),
        ({"status": "4xx"}, [3, 4]),
        ({"status": "4XX", "host": "example.com"}, [4]),
        ({"state": "failed"}, [6]),
        ({"state": "inFlight"}, []),
        ({"from_ts": WALL_MS + 3000, "to_ts": WALL_MS + 5000}, [3, 4, 5]),
        ({"seqs": [8, 2, 99]}, [2, 8]),
        ({"text": "needle in a ZIPPED"}, [7]),
        ({"text": "/two?q"}, [2]),
        ({"text": "straße"}, [8]),
        ({"text": "content-encoding: gzip"}, [7]),
        ({"text": "hello", "status": "4xx"}, [3, 4]),
        ({"text": "nowhere"}, []),
    ],
)
def test_a_filter_takes_what_it_says(varied: Session, wanted: dict[str, Any], found: list[int]) -> None:
    page = varied.query(Filter(**wanted), sort="asc")
    assert seqs(page) == found
    assert (page.matched, page.returned, page.next_cursor) == (len(found), len(found), None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"wanted": Filter(status="4x")}, "status"),
        ({"wanted": Filter(status="0404")}, "status"),
        ({"wanted": Filter(state="finished")}, "state"),
        ({"wanted": Filter(text="")}, "text"),
        ({"wanted": Filter(url_contains="x" * 100_000)}, "url_contains"),
        ({"wanted": Filter(host="\udcff")}, "host"),
        ({"wanted": Filter(from_ts=2**70)}, "from_ts"),
        ({"sort": "newest"}, "sort"),
        ({"limit": 0}, "limit"),
        ({"limit": 10**6}, "limit"),
        ({"offset": -1}, "offset"),
        ({"cursor": "no cursor"}, "cursor"),
        ({"cursor": "\u2603"}, "cursor"),
        ({"cursor": "gaFh"}, "cursor"),
    ],
)
def test_an_argument_that_means_nothing_is_refused_by_name(
    varied: Session, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        varied.query(**arguments)
    assert refused.value.hint


def test_lists_are_newest_first_unless_asked_otherwise(varied: Session) -> None:
    assert seqs(varied.query()) == [8, 7, 6, 5, 4, 3, 2, 1]
    assert seqs(varied.query(limit=2, offset=3)) == [5, 4]


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("wanted", [Filter(), Filter(text="answer")])
def test_following_the_cursor_gives_everything_once_while_more_arrives(root: Path, sort: str, wanted: Filter) -> None:
    recording = Recording(new_session(root))
    for number in range(10):
        recording.exchange(f"http://example.com/{number}", b"answer")
    with Catalogue(root).open("last") as session:
        page = session.query(wanted, sort=sort, limit=3)
        found = seqs(page)
        while page.next_cursor:
            recording.exchange("http://example.com/new", b"answer")
            page = session.query(wanted, sort=sort, limit=3, cursor=page.next_cursor)
            assert page.matched == 10
            found += seqs(page)
        assert sorted(found) == list(range(1, 11))
        assert found == sorted(found, reverse=sort == "desc")
        assert page.coverage.through_seq > 10
    recording.close()


def test_a_cursor_only_continues_its_own_query(varied: Session) -> None:
    cursor = varied.query(limit=2).next_cursor
    with pytest.raises(UsageError, match="another"):
        varied.query(Filter(method="GET"), limit=2, cursor=cursor)


def test_p11_an_empty_answer_over_incomplete_data_says_so(root: Path) -> None:
    recording = Recording(new_session(root))
    recording.open("http://example.com/slow")
    with Catalogue(root).open("last") as session:
        page = session.query(Filter(text="nowhere"))
        assert (page.matched, page.coverage.in_flight, page.coverage.through_seq) == (0, 1, 1)
        assert any("still running" in note for note in page.coverage.notes)
    recording.close()


def test_p11_exchanges_are_told_by_the_way_their_clients_came(root: Path) -> None:
    recording = Recording(new_session(root))
    for source in ("explicit", "connect", "transparent", "import", "transparent"):
        recording.done(recording.open(source=source))
    recording.close()
    with Catalogue(root).open("last") as session:
        for sources, seqs in ((["explicit", "connect"], [1, 2]), (["transparent"], [3, 5]), ([], []), (None, None)):
            page = session.query(Filter(sources=sources), sort="asc")
            assert [item.seq for item in page.items] == (seqs if seqs is not None else [1, 2, 3, 4, 5])


def test_p11_what_was_dropped_is_in_every_answer(root: Path) -> None:
    recording = Recording(new_session(root))
    recording.exchange()
    partial = recording.open("http://example.com/cut")
    vanished = recording.writer.take_seq()
    recording.dropped(12, [partial, vanished])
    recording.exchange()
    with Catalogue(root).open("last") as session:
        page = session.query()
        assert (page.matched, page.coverage.dropped, page.coverage.damaged) == (3, 12, 0)
        assert any("12 exchanges" in note for note in page.coverage.notes)
        assert session.query(Filter(seqs=[partial])).items[0].state == "interrupted"
        assert session.exchange(partial).notes
        recording.close()
        assert session.summary().dropped == 12


def test_p11_damage_is_in_every_answer(root: Path) -> None:
    made = closed_session(root, 5)
    flip_in(segment(made), b"answer 2")
    with Catalogue(root).open("last") as session:
        page = session.query(Filter(text="answer 2"))
        assert (page.matched, page.coverage.damaged) == (0, 1)
        assert page.coverage.notes


def test_p11_bodies_that_were_not_searched_are_counted_by_reason(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    recording.done(recording.open(), b"not gzip at all", headers="Content-Encoding: gzip\r\n")
    recording.done(recording.open(), b"x", headers="Content-Encoding: secret\r\n")
    recording.done(recording.open(), b"beginn", size=5000)
    recording.done(recording.open(), gzip.compress(b"x" * 10_000)[:20], headers="Content-Encoding: gzip\r\n", size=99)
    recording.close()
    with Catalogue(root).open("last") as session:
        page = session.query(Filter(text="needle"))
    assert page.coverage.notes == [
        "2 bodies were not searched to the end: content coding could not be removed (seq 1, 2).",
        "2 bodies were not searched to the end: not recorded whole (seq 3, 4).",
    ]


def test_text_is_found_across_the_frames_of_a_body(root: Path) -> None:
    recording = Recording(new_session(root))
    recording.large("http://example.com/", b"." * 95 + b"need" + b"le" + b"." * 95, piece=97)
    recording.close()
    with Catalogue(root).open("last") as session:
        assert session.query(Filter(text="needle")).matched == 1


@pytest.mark.parametrize(
    ("charset", "text"),
    [("iso-8859-1", "Grüße"), ("utf-16", "Grüße"), ("utf-16be", "needle"), ("iso-2022-jp", "日本"), ("utf-7", "日本")],
)
def test_p11_text_is_found_in_the_charset_that_the_body_declares(root: Path, charset: str, text: str) -> None:
    recording = Recording(new_session(root))
    headers = f"Content-Type: text/html; charset={charset}\r\n"
    recording.done(recording.open(), f"before {text} after 語".encode(charset, "ignore"), headers=headers)
    recording.done(recording.open(), f"mislabelled {text}".encode(), headers=headers)
    recording.done(recording.open(), b"neither", headers=headers)
    recording.close()
    with Catalogue(root).open("last") as session:
        assert session.query(Filter(text=text)).matched == 2


@pytest.mark.parametrize(
    "text",
    ["needle", "NEEDLE", "/path-7?", "x-odd: ", "grüße", "GRÜßE", "127.0.0.1:50000", "straße", "gzip",
     "x-tight: one", "of two lines", "x-wide: three"],
)  # fmt: skip
def test_searching_the_log_as_a_whole_finds_what_reading_each_exchange_finds(
    root: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(new_session(root), segment_bytes=64 * 1024)
    latin = "Content-Type: text/plain; charset=iso-8859-1\r\n"
    for number in range(60):
        recording.exchange(f"http://example.com/path-{number}?", b"x" * 3000 + (b"NeEdLe" if number % 7 == 0 else b""))
    recording.zipped("http://example.com/z", b"a needle")
    recording.large("http://example.com/l", b"." * 95 + b"needle" + b"." * 95, piece=97)
    recording.done(recording.open(headers="X-Odd: grüße\r\n"), b"plain")
    recording.done(
        recording.open(headers="X-Tight:one\r\nX-Folded: of two\r\n\tlines\r\nX-Wide:  \t three \r\n"), b"plain"
    )
    recording.done(recording.open(headers="X-Odd: \xc3\x9f\r\n"), "Grüße, Straße".encode("latin-1"), headers=latin)
    recording.done(recording.open(method="POST", body=b"needle"), request=b"needle")
    recording.done(recording.open(), b"cut needle", size=5000)
    recording.open("http://example.com/running-needle")
    with Catalogue(root).open("last") as session:
        monkeypatch.setattr("wiretape.session.query.selection._SCAN_FROM", 10**9)
        one_by_one = session.query(Filter(text=text), limit=100)
        monkeypatch.setattr("wiretape.session.query.selection._SCAN_FROM", 0)
        assert session.query(Filter(text=text), limit=100) == one_by_one
    recording.close()


def test_a_log_inside_a_body_is_not_taken_for_frames_of_this_log(root: Path, tmp_path: Path) -> None:
    inner = closed_session(tmp_path / "inner", 3)
    recording = Recording(new_session(root))
    recording.exchange("http://example.com/1", b"nothing")
    seq = recording.exchange("http://example.com/2", segment(inner).read_bytes())
    recording.close()
    with Catalogue(root).open("last") as session:
        assert [item.seq for item in session.query(Filter(text="answer 1")).items] == [seq]
