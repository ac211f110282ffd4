"""What the index keeps of endpoints, whatever way the frames of an exchange are cut and read."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import pytest

from harness.logs import Recording, closed_session, new_session
from wiretape.log.format import EndState, Flag, FrameType, Opened
from wiretape.session.answers.tally import tally
from wiretape.session.catalogue import Catalogue
from wiretape.session.index.database import Index
from wiretape.session.index.endpoints import bucket_ns, bucket_of
from wiretape.session.session import Session

JSON = "Content-Type: application/json\r\n"
PROBLEM = b'{"title":"Validation failed","status":422,"type":"about:blank"}'
GRAPHQL = b'{"data":null,"errors":[{"message":"Coupon expired"}]}'


def asked(session: Session, sql: str) -> list[tuple[Any, ...]]:
    session.follow()
    return session.index.rows(sql)


ENDPOINTS = "SELECT seq, method || ' ' || template FROM endpoint_of JOIN endpoints ON id = endpoint ORDER BY seq"
PROBLEMS = "SELECT seq, outcome & 1023, outcome >> 10 & 1, message FROM problems ORDER BY seq"


def test_classes_of_durations_are_three_percent_wide() -> None:
    for ns in [*range(2_000), *(random.Random(1).randrange(1, 10**12) for _ in range(2_000))]:
        assert abs(bucket_ns(bucket_of(ns)) - ns) <= 0.02 * ns + 0.5
    assert bucket_of(-5) == 0


def test_errors_are_kept_with_the_message_of_their_bodies(root: Path) -> None:
    recording = Recording(new_session(root))
    recording.done(recording.open("http://a.example/pay", method="POST"), PROBLEM, status=422, headers=JSON)
    seq = recording.open("http://a.example/pay", method="POST")
    recording.done(seq, gzip.compress(PROBLEM), status=422, headers=JSON + "Content-Encoding: gzip\r\n")
    seq = recording.open("http://a.example/users/7")
    recording.head(seq, 500, headers=JSON)
    recording.chunk(seq, 0, b'{"message":"in two')
    recording.chunk(seq, 18, b' pieces"}')
    recording.done(seq, b"x" * 27, status=500, inline=False)
    recording.done(recording.open("http://a.example/x"), b'{"success":false,"message":"no"}', headers=JSON)
    seq = recording.open("http://a.example/down")
    recording.done(seq, status=0, state=EndState.FAILED, error="connection refused", inline=False)
    recording.exchange("http://a.example/fine")
    recording.close()
    with Catalogue(root).open("last") as session:
        assert asked(session, PROBLEMS) == [
            (1, 422, 0, "Validation failed"),
            (2, 422, 0, "Validation failed"),
            (3, 500, 0, "in two pieces"),
            (4, 200, 1, "no"),
            (5, 0, 0, "connection refused"),
        ]


def test_the_operation_is_found_in_a_body_that_comes_after_its_head(root: Path) -> None:
    recording = Recording(new_session(root))
    body = b'{"operationName":"ApplyCoupon","query":"mutation ApplyCoupon { x }"}'
    seq = recording.writer.take_seq()
    head = b"POST /graphql HTTP/1.1\r\nHost: g.example\r\nContent-Type: application/json\r\n\r\n"
    record = Opened(1, 0, "https", "g.example", 443, "127.0.0.1:1", len(head))
    recording.writer.append(FrameType.OPENED, seq, record, head + body[:10])
    recording.chunk(seq, 10, body[10:], kind=FrameType.REQUEST_BODY)
    recording.done(seq, GRAPHQL, headers=JSON, request=body)
    recording.done(recording.open("https://g.example/graphql", method="POST", body=body), b"{}", headers=JSON)
    recording.close()
    with Catalogue(root).open("last") as session:
        assert asked(session, ENDPOINTS) == [(1, "POST /graphql#ApplyCoupon"), (2, "POST /graphql#ApplyCoupon")]
        assert asked(session, PROBLEMS) == [(1, 200, 1, "Coupon expired")]


def test_an_exchange_read_in_several_transactions_counts_once(root: Path) -> None:
    recording = Recording(new_session(root))
    with Catalogue(root).open("last") as session:
        seq = recording.open("http://a.example/users/7")
        assert asked(session, "SELECT seq FROM unended") == [(1,)]
        recording.head(seq, 503, headers=JSON)
        asked(session, "SELECT 1")
        recording.chunk(seq, 0, b'{"message":"late"}')
        asked(session, "SELECT 1")
        recording.done(seq, b"x" * 18, status=503, inline=False)
        assert asked(session, PROBLEMS) == [(1, 503, 0, "late")]
        assert asked(session, "SELECT seq FROM unended") == []
        assert asked(session, "SELECT sum(n) FROM endpoint_counts") == [(1,)]
        assert asked(session, "SELECT n, errors FROM endpoint_minutes") == [(1, 1)]
    recording.close()


def test_p9_frames_that_were_written_once_more_count_once(root: Path) -> None:
    recording = Recording(new_session(root))
    seq = recording.open("http://a.example/one")
    recording.done(seq, b"x")
    head = b"GET /one HTTP/1.1\r\nHost: a.example\r\n\r\n"
    record = Opened(1, 0, "http", "a.example", 80, "127.0.0.1:1", len(head))
    recording.writer.append(FrameType.OPENED, seq, record, head, Flag.REQUEST_COMPLETE)
    recording.done(seq, b"x")
    recording.close()
    with Catalogue(root).open("last") as session:
        assert asked(session, "SELECT sum(n) FROM endpoint_counts") == [(1,)]


def test_every_exchange_is_counted_or_unended(root: Path) -> None:
    recording = Recording(new_session(root))
    for number in range(40):
        seq = recording.open(f"http://a.example/{number}")
        if number % 4:
            recording.done(seq, b"x", status=200 + 100 * (number % 3))
    recording.kill()
    with Catalogue(root).open("last") as session:
        assert asked(session, "SELECT sum(n) FROM endpoint_counts") == [(30,)]
        assert asked(session, "SELECT count(*) FROM unended") == [(10,)]
        assert asked(session, "SELECT count(*) FROM endpoint_of") == [(40,)]


def test_a_host_with_endless_paths_keeps_a_bounded_number(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wiretape.session.index.endpoint_names.MOST_TEMPLATES", 5)
    recording = Recording(new_session(root))
    for number in range(60):
        letters = "".join(chr(97 + int(digit)) for digit in str(number))
        recording.exchange(f"http://a.example/{letters}/leaf")
    recording.close()
    with Catalogue(root).open("last") as session:
        assert asked(session, "SELECT count(*) FROM endpoints")[0][0] <= 11
        assert asked(session, "SELECT sum(n) FROM endpoint_counts") == [(60,)]


def test_what_was_made_is_the_same_when_made_again(root: Path) -> None:
    closed_session(root, exchanges=30)
    with Catalogue(root).open("last") as session:
        before = asked(session, "SELECT * FROM endpoint_counts"), asked(session, ENDPOINTS)
        session.index.restart()
        assert (asked(session, "SELECT * FROM endpoint_counts"), asked(session, ENDPOINTS)) == before


def test_many_values_in_one_position_are_one_endpoint_and_no_name_of_a_resource_is_lost(root: Path) -> None:
    recording = Recording(new_session(root))
    for number in range(200):
        recording.exchange(f"http://a.example/assets/{number % 50:02x}z/chunk-{number}.js")
        recording.exchange(f"http://a.example/v1/{'abcdefghij'[number % 10] * 4}s/{number}")
    recording.close()
    with Catalogue(root).open("last") as session:
        assert asked(session, "SELECT count(*) FROM endpoints WHERE template LIKE '/assets/%'")[0][0] <= 33 * 33
        assert asked(session, "SELECT count(*) FROM endpoints WHERE template LIKE '/v1/%'") == [(10,)]
        labels = {label: one.n for (label, _), one in tally(session.index).endpoints.items()}
    assert labels["GET /assets/{*}/{*}"] == 200
    assert len(labels) == 11


def test_what_two_readers_in_turn_make_is_what_one_makes(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    readers = [Index(made.path, made.session_id) for _ in range(2)]
    for number in range(40):
        recording.done(recording.open(f"http://a.example/{'abcd'[number % 4]}-{number % 7}/{number % 3}"))
        readers[number % 2].follow()
    recording.close()
    asked = "SELECT seq, method, host, template FROM endpoint_of JOIN endpoints ON id = endpoint ORDER BY seq"
    readers[0].follow()
    in_turn = readers[0].rows(asked)
    readers[0].restart()
    readers[0].follow()
    assert readers[0].rows(asked) == in_turn
    assert len(in_turn) == 40
    for reader in readers:
        reader.close()


def test_what_is_remembered_of_a_request_line_is_what_it_asks_for(root: Path) -> None:
    recording = Recording(new_session(root))
    urls = ["/items?page=1", "/items?page=2", "/items", "/gql?operationName=A", "/gql?operationName=B", "/items?x"]
    for path in urls:
        recording.exchange(f"http://a.example{path}")
    recording.exchange("http://b.example/items?page=1")
    for method, target in (("G", "/one"), ("G?", "/two"), ("G?", "/three")):
        recording.exchange(f"http://a.example{target}", method=method)
    recording.close()
    with Catalogue(root).open("last") as session:
        found = asked(session, ENDPOINTS)
    assert [name for _, name in found] == [
        *["GET /items"] * 3,
        *["GET /gql#A", "GET /gql#B", "GET /items"],
        *["GET /items", "G /one", "G? /two", "G? /three"],
    ]
