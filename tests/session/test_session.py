"""Questions to one session: exchanges whole, bodies, summaries, live and after the recorder's end."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest
from msgspec import UNSET

from harness.logs import WALL_MS, Recording, closed_session, flip_in, new_session, segment
from wiretape.errors import DamagedError, NotFoundError, UsageError, WiretapeError
from wiretape.log.format import EndState, Event, FrameType
from wiretape.model import Filter, to_json
from wiretape.session.catalogue import Catalogue
from wiretape.session.index.exchanges import SORTED_AT_REST
from wiretape.session.session import Session


def opened(root: Path) -> Session:
    return Catalogue(root).open("last")


def test_an_exchange_comes_back_with_heads_body_timings_and_both_ends(root: Path) -> None:
    recording = Recording(new_session(root))
    seq = recording.open(
        "http://example.com:8000/a?b=c", method="POST", headers="X-One: 1\r\nx-one: 2\r\n", body=b"sent"
    )
    recording.done(seq, "grüße".encode(), request=b"sent", status=201)
    recording.close()
    with opened(root) as session:
        detail = session.exchange(seq)
    assert detail.exchange_id == f"{session.session_id}.1"
    assert (detail.state, detail.timestamp) == ("complete", WALL_MS + 1000)
    assert detail.request is not None
    assert detail.response is not None
    assert (detail.request.method, detail.request.url) == ("POST", "http://example.com:8000/a?b=c")
    assert detail.request.headers == [("Host", "example.com:8000"), ("X-One", "1"), ("x-one", "2")]
    assert (detail.request.body, detail.request.body_size, detail.request.body_recorded) == ("sent", 4, 4)
    assert (detail.response.status_code, detail.response.status_message) == (201, "OK")
    assert detail.response.body == "grüße"
    assert (detail.timings.connect, detail.timings.wait, detail.timings.dns) == (2.0, 5.0, None)
    assert (detail.client, detail.server) == ("127.0.0.1:50000", "127.0.0.1:80")
    assert detail.notes == []


def test_a_compressed_body_is_shown_decoded_and_given_raw_on_request(root: Path) -> None:
    recording = Recording(new_session(root))
    seq = recording.zipped("http://example.com/z", b"squeezed " * 1000)
    recording.close()
    with opened(root) as session:
        response = session.exchange(seq).response
        assert response is not None
        assert response.body == "squeezed " * 1000
        assert response.body_size < 1000
        assert b"".join(session.raw_body(seq, "response")) == b"squeezed " * 1000
        raw = b"".join(session.raw_body(seq, "response", decoded=False))
        assert raw.startswith(b"\x1f\x8b")
        assert len(raw) == response.body_size


def test_bytes_that_are_no_text_come_as_base64(root: Path) -> None:
    recording = Recording(new_session(root))
    seq = recording.exchange(answer=b"\xff\xfe\x00binary")
    recording.close()
    with opened(root) as session:
        response = session.exchange(seq).response
    assert response is not None
    assert (response.body, response.body_base64) == (None, "//4AYmluYXJ5")


def test_a_body_in_many_frames_is_put_together(root: Path) -> None:
    body = bytes(range(256)) * 2000
    recording = Recording(new_session(root))
    seq = recording.large("http://example.com/big", body)
    recording.close()
    with opened(root) as session:
        assert b"".join(session.raw_body(seq, "response")) == body
        response = session.exchange(seq, max_body=1000).response
    assert response is not None
    assert response.body_truncated
    assert response.body_size == len(body)


def test_a_damaged_chunk_costs_that_chunk_and_is_named(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    seq = recording.large("http://example.com/big", b"A" * 100 + b"B" * 100 + b"C" * 100, piece=100)
    other = recording.exchange()
    recording.close()
    flip_in(segment(made), b"B" * 100)
    with opened(root) as session:
        response = session.exchange(seq).response
        assert response is not None
        assert response.body_gaps == [(100, 200)]
        assert (response.body_size, response.body_recorded) == (300, 200)
        assert response.body is response.body_base64 is None
        assert isinstance(response.body_parts, list)
        assert [(part.offset, part.body) for part in response.body_parts] == [(0, "A" * 100), (200, "C" * 100)]
        assert session.exchange(seq).notes == ["The response's body has lost its bytes 100 to 200 to damage."]
        assert [item.damaged for item in session.query(sort="asc").items] == [True, UNSET]
        given: list[bytes] = []
        with pytest.raises(DamagedError, match="100 to 200"):
            given.extend(session.raw_body(seq, "response"))
        assert b"".join(given) == b"A" * 100 + bytes(100) + b"C" * 100
        assert session.exchange(other).state == "complete"
        assert session.coverage().damaged == 1


def test_an_exchange_whose_request_is_damaged_still_has_its_response(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    seq = recording.open("http://example.com/unlucky")
    recording.done(seq, b"answer")
    recording.close()
    flip_in(segment(made), b"/unlucky")
    with opened(root) as session:
        detail = session.exchange(seq)
    assert detail.request is None
    assert detail.response is not None
    assert detail.response.body == "answer"
    assert detail.notes


def test_states_of_a_live_session_follow_the_log(root: Path) -> None:
    recording = Recording(new_session(root))
    with opened(root) as session:
        assert session.query().matched == 0
        seq = recording.open("http://example.com/slow")
        assert [item.state for item in session.query().items] == ["inFlight"]
        assert session.coverage().in_flight == 1
        recording.head(seq, 200)
        recording.chunk(seq, 0, b"part")
        page = session.query()
        assert (page.items[0].status_code, page.items[0].response_body_size) == (200, 4)
        recording.done(seq, b"part", inline=False)
        assert [item.state for item in session.query().items] == ["complete"]
        assert session.summary().status == "active"
        recording.close()
        assert session.summary().status == "stopped"
        assert session.summary().recovery_state == "clean"


def test_what_was_in_flight_when_the_recorder_died_is_interrupted(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    recording.exchange()
    seq = recording.open("http://example.com/slow")
    recording.head(seq)
    recording.chunk(seq, 0, b"half of")
    recording.kill()
    with opened(root) as session:
        assert [item.state for item in session.query().items] == ["interrupted", "complete"]
        detail = session.exchange(seq)
        assert detail.response is not None
        assert (detail.state, detail.response.body, detail.response.body_size) == ("interrupted", "half of", 7)
        summary = session.summary()
    assert (summary.recovery_state, summary.interrupted, summary.exchanges) == ("recovered", 1, 2)


def test_an_exchange_of_a_killed_recorder_is_interrupted_while_its_successor_writes(root: Path) -> None:
    made = new_session(root)
    first = Recording(made)
    first.open("http://example.com/old")
    with opened(root) as session:
        assert session.coverage().in_flight == 1
        first.kill()
        second = Recording(made)
        second.open("http://example.com/new")
        assert {item.url[-3:]: item.state for item in session.query().items} == {
            "old": "interrupted",
            "new": "inFlight",
        }
        second.close()


def test_failed_and_aborted_exchanges_say_why(root: Path) -> None:
    recording = Recording(new_session(root))
    first = recording.open()
    recording.done(first, state=EndState.FAILED, status=0, inline=False, error="nobody answers")
    second = recording.open()
    recording.done(second, state=EndState.ABORTED, status=0, inline=False)
    recording.close()
    with opened(root) as session:
        assert session.exchange(first).error == {"code": "refused", "message": "nobody answers"}
        assert session.exchange(first).response is None
        assert [item.state for item in session.query(sort="asc").items] == ["failed", "aborted"]
        assert session.query(sort="asc").items[0].error == "nobody answers"


def test_a_handshake_is_shown_with_the_exchanges_of_its_connection(root: Path) -> None:
    recording = Recording(new_session(root))
    recording.tls(7)
    seq = recording.open("https://example.com/", connection=7)
    recording.done(seq)
    other = recording.open("https://example.com/", connection=8)
    recording.done(other)
    recording.close()
    with opened(root) as session:
        assert session.exchange(seq).tls == {
            "client": {"version": "TLSv1.3", "cipher": "AES", "alpn": "h2", "sni": "example.com"}
        }
        assert session.exchange(other).tls is None


def test_a_preview_says_how_much_was_kept(root: Path) -> None:
    recording = Recording(new_session(root))
    seq = recording.open()
    recording.done(seq, b"kept", size=1000)
    recording.close()
    with opened(root) as session:
        response = session.exchange(seq).response
    assert response is not None
    assert (response.body, response.body_size, response.body_recorded) == ("kept", 1000, 4)
    assert response.body_truncated
    assert response.body_note is not None


def test_p11_of_a_preview_that_is_compressed_one_sentence_says_why_it_ends(root: Path) -> None:
    recording = Recording(new_session(root))
    seq = recording.open()
    packed = gzip.compress(random.Random(1).randbytes(9_000).hex().encode(), mtime=0)
    headers = "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n"
    recording.done(seq, packed[:4096], headers=headers, size=len(packed))
    recording.close()
    with opened(root) as session:
        response = session.exchange(seq).response
    assert response is not None
    assert response.body
    assert response.body_note == (
        f"The content coding could not be removed to its end: only the first 4096 of {len(packed)} bytes on the wire "
        "were recorded."
    )


def test_cat_gives_all_exchanges_in_order_and_takes_a_filter(root: Path) -> None:
    closed_session(root, 5)
    with opened(root) as session:
        assert [detail.seq for detail in session.iterate()] == [1, 2, 3, 4, 5]
        assert [detail.seq for detail in session.iterate(Filter(text="answer 4"))] == [4]


@pytest.mark.parametrize("seq", [0, -1, 4, 2**63, 2**80])
def test_a_seq_that_is_not_there_is_an_error_with_the_range(root: Path, seq: int) -> None:
    closed_session(root, 3)
    with opened(root) as session, pytest.raises(NotFoundError, match="goes to 3"):
        session.exchange(seq)


def test_a_side_that_does_not_exist_is_refused(root: Path) -> None:
    closed_session(root, 1)
    with opened(root) as session, pytest.raises(UsageError):
        session.raw_body(1, "both")


def test_bytes_written_twice_are_shown_once(root: Path) -> None:
    recording = Recording(new_session(root))
    seq = recording.open()
    recording.head(seq)
    recording.chunk(seq, 0, b"abc")
    recording.chunk(seq, 0, b"abc")
    recording.chunk(seq, 2, b"cdef", kind=FrameType.RESPONSE_BODY)
    recording.done(seq, b"abcdef", inline=False)
    recording.close()
    with opened(root) as session:
        response = session.exchange(seq).response
        assert session.coverage().damaged == 0
    assert response is not None
    assert (response.body, response.body_gaps) == ("abcdef", [])


def test_two_streams_are_one_session(root: Path) -> None:
    made = new_session(root)
    recordings = [Recording(made, stream=stream, streams=2) for stream in range(2)]
    for number in range(6):
        recordings[number % 2].exchange(f"http://example.com/{number}")
    for recording in recordings:
        recording.close()
    with opened(root) as session:
        assert [item.seq for item in session.query(sort="asc").items] == [1, 2, 3, 4, 5, 6]
        assert session.coverage().damaged == 0
        assert session.summary().recovery_state == "clean"


@pytest.mark.parametrize(("coding", "body"), [("secret", b"plain"), ("gzip", b"no gzip")])
def test_a_body_that_does_not_decode_is_shown_as_it_was_and_says_so(root: Path, coding: str, body: bytes) -> None:
    recording = Recording(new_session(root))
    seq = recording.open()
    recording.done(seq, body, headers=f"Content-Encoding: {coding}\r\n")
    recording.close()
    with opened(root) as session:
        response = session.exchange(seq).response
        assert response is not None
        assert response.body == body.decode()
        assert response.body_note is not None
        assert "as it was on the wire" in response.body_note
        with pytest.raises(WiretapeError, match="does not decode"):
            list(session.raw_body(seq, "response"))
        assert b"".join(session.raw_body(seq, "response", decoded=False)) == body


def test_p10_equal_drops_of_two_recorders_count_twice(root: Path) -> None:
    made = new_session(root)
    for stream in (0, 1):
        recording = Recording(made, stream=stream, streams=2)
        recording.dropped(3, [])
        recording.close()
    with Session(made.path, made.session_id) as session:
        assert session.coverage().dropped == 6


def test_p11_requests_that_were_refused_are_told_of_with_their_request_line(root: Path) -> None:
    recording = Recording(new_session(root))
    recording.exchange()
    for number in range(12):
        head = f"GET http://example.com/marker-{number} HTTP/1.1\r\nX[0]: b\r\n".encode()
        detail = {"client": "127.0.0.1:5", "error": "a header's name is invalid", "code": "bad-request", "head": head}
        recording.writer.append(FrameType.EVENT, 0, Event(10**18 + number * 10**6, "refused", detail))
    recording.writer.append(FrameType.EVENT, 0, Event(1, "refused", {"client": 5, "head": [], "error": None}))
    recording.close()
    with opened(root) as session:
        coverage = session.query().coverage
    assert coverage.refused == 13
    assert isinstance(coverage.refused_requests, list)
    assert len(coverage.refused_requests) == 10
    assert coverage.refused_requests[0].request == "GET http://example.com/marker-11 HTTP/1.1"
    assert coverage.refused_requests[0].timestamp == 10**12 + 11
    assert "13 requests were refused" in coverage.notes[-1]
    assert "marker-11" in coverage.notes[-1]


def _sorted_by(session: Session) -> set[str]:
    rows = session.index.rows("SELECT name FROM sqlite_master WHERE type = 'index'")
    return {name.removeprefix("by_") for (name,) in rows} & set(SORTED_AT_REST)


@pytest.mark.parametrize(
    ("asked", "sort", "made"),
    [
        ("", "desc", set()),
        ("", "ms", {"duration"}),
        ("", "down:asc", {"response_size"}),
        ("~ms >5 & ~m GET", "desc", {"duration"}),
        ("~sizeq >5", "ms", {"duration", "request_size"}),
        ("~ms >5 | ~m GET", "desc", set()),
    ],
)
def test_what_is_sorted_only_at_rest_is_sorted_when_it_is_asked_for(
    root: Path, asked: str, sort: str, made: set[str]
) -> None:
    with Catalogue(root).open(closed_session(root).session_id) as session:
        session.query(Filter(expression=asked) if asked else None, sort=sort)
        assert _sorted_by(session) == made


def test_nothing_is_sorted_that_a_live_session_would_keep_up(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    recording.exchange()
    with Catalogue(root).open(made.session_id) as session:
        assert session.query(sort="ms").matched == 1
        session.index_more(1 << 20, lambda: None)
        assert _sorted_by(session) == set()
        recording.close()
        session.follow()
        session.index_more(1 << 20, lambda: None)
        assert _sorted_by(session) == set(SORTED_AT_REST)


def test_where_nothing_was_refused_nothing_is_said(root: Path) -> None:
    closed_session(root, 1)
    with opened(root) as session:
        assert set(to_json(session.coverage())) == {"throughSeq", "inFlight", "dropped", "damaged", "notes"}


def test_an_answer_that_says_itself_that_it_failed_is_marked_and_counted(root: Path) -> None:
    recording = Recording(new_session(root))
    recording.exchange()
    seq = recording.open("http://example.com/graphql", method="POST")
    recording.done(seq, b'{"errors":[{"message":"Coupon expired"}]}', headers="Content-Type: application/json\r\n")
    recording.exchange(status=404)
    with opened(root) as session:
        assert [item.error_in_body for item in session.query(sort="asc").items] == [UNSET, True, UNSET]
        assert to_json(session.query(Filter(seqs=[seq])).items[0])["errorInBody"] is True
        assert session.summary().errors == 2
        recording.close()
        assert session.summary().errors == 2
    with opened(root) as session:
        assert session.summary().errors == 2  # from the manifest


def test_errors_are_unknown_until_something_has_indexed_the_log(root: Path) -> None:
    made = closed_session(root, 3)
    (summary,) = Catalogue(root).list()
    assert summary.errors is UNSET
    assert "errors" not in to_json(summary)
    assert not (made.path / "index.sqlite").exists()
    with opened(root) as session:
        session.query()
    assert Catalogue(root).list()[0].errors == 0


def test_p7_a_recovery_says_the_same_of_errors_whenever_it_runs(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    recording.exchange(status=500)
    recording.open()
    recording.kill()
    manifests = []
    for _ in range(2):
        with opened(root) as session:
            session.recover()
        manifests.append((made.path / "manifest.json").read_bytes())
    assert manifests[0] == manifests[1]
    assert Catalogue(root).list()[0].errors == 1
