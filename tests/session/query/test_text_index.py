"""The index of substrings: the same answers as without it, made a segment behind the recording, below its cap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.logs import Recording, new_session
from wiretape.model import Filter, to_json
from wiretape.secrets.veil import UNVEILED
from wiretape.session.answers.search import SearchPage, search
from wiretape.session.catalogue import SessionDir
from wiretape.session.query.needles import Needle
from wiretape.session.query.text_index import MAX_TEXT, TEXT, TextIndex
from wiretape.session.session import Session

LARGE = 2**40
JSON = "Content-Type: application/json\r\n"


def shop(root: Path, exchanges: int = 60, *, segment_bytes: int = 4_000) -> tuple[SessionDir, Recording]:
    made = new_session(root)
    recording = Recording(made, segment_bytes=segment_bytes)
    for number in range(exchanges):
        seq = recording.open(f"http://h.example/items/{number}?q=a%20b", headers=f"X-N: number-{number}\r\n")
        if number % 10 == 3:
            recording.done(seq, b"\x89PNG", headers="Content-Type: image/png\r\n")
        elif number % 10 == 4:
            recording.done(
                seq, f"caf\xe9 {number}".encode("latin-1"), headers="Content-Type: text/plain; charset=latin-1\r\n"
            )
        else:
            body = json.dumps({"item": f"p_{number:04d}", "who": "Zoë" if number % 7 == 0 else "Ada", "n": number})
            recording.done(seq, body.encode(), headers=JSON)
    recording.zipped("http://h.example/zipped", b"inside gzip p_9999")
    return made, recording


def finish(session: Session, most_bytes: int = LARGE) -> None:
    session.follow()
    session.index_more(most_bytes, lambda: None)


def look(session: Session, pattern: str, **options: Any) -> SearchPage:
    return search(session, pattern, veil=UNVEILED, limit=1000, **options)


@pytest.mark.parametrize(
    ("pattern", "regex"),
    [
        ("p_0042", False),
        ("P_00", False),
        ("p_9999", False),
        ("Zoë", False),
        ("café 14", False),
        ("a b", False),
        ("number-31", False),
        ("X-N: number-31", False),
        ("items/7?", False),
        ("nothing of it", False),
        ("ab", False),
        (r"p_00\d1", True),
        (r"^caf. 4", True),
        ('n": 4[0-3]}', True),
        ("image/png", False),
        ("UE5H", False),
    ],
)
def test_answers_are_the_same_with_the_index_as_without(root: Path, pattern: str, regex: bool) -> None:
    made, recording = shop(root)
    recording.close()
    with Session(made.path, made.session_id) as session:
        without = look(session, pattern, regex=regex)
        assert without.coverage.indexed_through == 0
        finish(session)
        found = look(session, pattern, regex=regex)
    assert found.items == without.items
    assert (found.matched, found.coverage.searched) == (without.matched, 61)
    assert found.coverage.not_searched == without.coverage.not_searched
    forms = Needle(pattern, regex=regex).plain_forms()
    usable = bool(forms) and min(map(len, forms)) >= 3
    assert usable or regex or len(pattern) < 3
    assert (found.coverage.indexed_through == 61) is usable


@pytest.mark.parametrize(
    "expression", ["~b p_0042", "~bs p_00.2 & ~m GET", "~bq p_0042", "!~b p_0042", "~b Zoë", "~b PNG", "~b p_9999"]
)
def test_filters_of_bodies_go_by_the_index_and_take_the_same(root: Path, expression: str) -> None:
    made, recording = shop(root)
    recording.close()
    with Session(made.path, made.session_id) as session:
        without = session.query(Filter(expression=expression), limit=100)
        finish(session)
        assert session.query(Filter(expression=expression), limit=100) == without


def test_few_exchanges_are_candidates(root: Path) -> None:
    made, recording = shop(root)
    recording.close()
    with Session(made.path, made.session_id) as session:
        finish(session)
        known = TextIndex(session.index, session.tape).candidates(Needle("p_0042").plain_forms())
        assert known is not None
        assert known.mark == 61
        assert known.between(1, 61) == {43}
        known.close()


def test_of_a_recording_what_stands_in_finished_segments_is_in_the_index_and_the_rest_is_read(root: Path) -> None:
    made, recording = shop(root)
    with Session(made.path, made.session_id) as session:
        finish(session)
        page = look(session, "p_00")
        assert 0 < page.coverage.indexed_through < 61
        assert page.matched == 48
        begun = page.coverage.indexed_through
        for number in range(30):
            recording.exchange(f"http://h.example/more/{number}", b"p_0077 again")
        finish(session)
        page = look(session, "p_0077")
        assert page.matched == 30
        assert page.coverage.indexed_through > begun
        recording.close()
        finish(session)
        assert look(session, "p_0077").coverage.indexed_through == 91


def test_an_exchange_that_runs_or_is_too_long_is_looked_at_itself(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made, segment_bytes=2_000)
    running = recording.open("http://h.example/running")
    long = recording.open("http://h.example/long")
    recording.done(long, b"x" * MAX_TEXT + b" needle", headers=JSON)
    for number in range(30):
        recording.exchange(f"http://h.example/{number}")
    with Session(made.path, made.session_id) as session:
        finish(session)
        recording.done(running, b"a needle", headers=JSON)
        page = look(session, "needle")
        assert [item.seq for item in page.items] == [running, long]
        assert page.coverage.indexed_through > long
    recording.close()


def test_above_its_cap_nothing_is_added_and_searches_are_complete(root: Path) -> None:
    made, recording = shop(root, exchanges=900)
    recording.close()
    with Session(made.path, made.session_id) as session:
        finish(session, most_bytes=1)
        page = look(session, "p_0899")
        assert page.coverage.indexed_through == 200
        assert (page.matched, page.coverage.searched) == (1, 901)


@pytest.mark.parametrize("content", [b"", b"no database at all", b"SQLite format 3\0" + bytes(5000)])
def test_a_broken_index_is_no_reason_for_a_false_answer(root: Path, content: bytes) -> None:
    made, recording = shop(root)
    recording.close()
    with Session(made.path, made.session_id) as session:
        finish(session)
        TextIndex(session.index, session.tape).remove()
        (made.path / TEXT).write_bytes(content)
        assert look(session, "p_0042").matched == 1
        finish(session)
        page = look(session, "p_0042")
        assert (page.matched, page.coverage.indexed_through) == (1, 61)


def test_an_index_of_another_log_is_made_again(root: Path) -> None:
    made, recording = shop(root)
    recording.close()
    other, second = shop(root, exchanges=20)
    second.close()
    with Session(made.path, made.session_id) as session:
        finish(session)
    (other.path / TEXT).write_bytes((made.path / TEXT).read_bytes())
    with Session(other.path, other.session_id) as session:
        assert look(session, "p_0002").coverage.indexed_through == 0
        finish(session)
        assert to_json(look(session, "p_0002"))["coverage"]["indexedThrough"] == 21


def test_p14_a_link_in_its_place_is_neither_read_nor_followed(root: Path) -> None:
    made, recording = shop(root)
    recording.close()
    elsewhere = root / "elsewhere.sqlite"
    with Session(made.path, made.session_id) as session:
        finish(session)
        (made.path / TEXT).rename(elsewhere)
        before = elsewhere.read_bytes()
        (made.path / TEXT).symlink_to(elsewhere)
        assert look(session, "p_0042").coverage.indexed_through == 0
        finish(session)
        assert not (made.path / TEXT).is_symlink()
        assert look(session, "p_0042").coverage.indexed_through == 61
    assert elsewhere.read_bytes() == before
