"""One exchange whole: what damage took is said, part by part, and what 1.0 records is shown."""

from __future__ import annotations

import base64
import gzip
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from google_crc32c import value as crc32c
from msgspec import UNSET

from harness.logs import Recording, closed_session, flip_in, new_session, segment
from wiretape.log.format import BodyChunk, Done, DoneFlag, Flag, FrameType, Opened, ResponseBegun, TlsSeen
from wiretape.model import BodyPart, ExchangeDetail, to_json
from wiretape.session.catalogue import Catalogue, SessionDir
from wiretape.session.session import Session


@contextmanager
def opened(root: Path) -> Iterator[Session]:
    with Catalogue(root).open("last") as session:
        yield session


def exchange(root: Path, seq: int = 1) -> ExchangeDetail:
    with opened(root) as session:
        return session.exchange(seq)


def pieces(root: Path, headers: str, body: bytes, *, piece: int) -> SessionDir:
    made = new_session(root)
    recording = Recording(made)
    seq = recording.open("http://example.com/")
    recording.head(seq, headers=headers)
    for at in range(0, len(body), piece):
        recording.chunk(seq, at, body[at : at + piece])
    recording.done(seq, body, inline=False)
    recording.close()
    return made


# -- damage -----------------------------------------------------------------------------------------------------------


def test_p4_a_body_with_gaps_is_given_in_parts_and_never_with_zeros_for_what_is_lost(root: Path) -> None:
    made = pieces(root, "Content-Type: text/plain\r\n", b"A" * 50 + b"B" * 50 + "ü".encode() * 25, piece=50)
    flip_in(segment(made), b"B" * 50)
    found = exchange(root)
    assert found.damaged is True
    assert found.response is not None
    assert found.response.body_parts == [
        BodyPart(offset=0, size=50, body="A" * 50),
        BodyPart(offset=100, size=50, body="ü" * 25),
    ]
    assert (found.response.body, found.response.body_base64, found.response.body_gaps) == (None, None, [(50, 100)])
    assert found.notes == ["The response's body has lost its bytes 50 to 100 to damage."]
    assert "bodyParts" in to_json(found)["response"]


def test_p4_parts_that_are_no_text_are_base64(root: Path) -> None:
    made = pieces(root, "", b"\xff" * 50 + b"B" * 50 + b"text" * 10, piece=50)
    flip_in(segment(made), b"B" * 50)
    found = exchange(root).response
    assert found is not None
    assert found.body_parts == [
        BodyPart(offset=0, size=50, body_base64=base64.b64encode(b"\xff" * 50).decode()),
        BodyPart(offset=100, size=40, body="text" * 10),
    ]


def test_p4_of_a_coded_body_with_a_gap_what_comes_before_it_is_decoded(root: Path) -> None:
    content = random.Random(1).randbytes(10_000)
    data = gzip.compress(content, compresslevel=0)
    made = pieces(root, "Content-Encoding: gzip\r\n", data, piece=4000)
    flip_in(segment(made), data[4000:4100])
    found = exchange(root).response
    assert found is not None
    assert isinstance(found.body_parts, list)
    (part,) = found.body_parts
    assert isinstance(part.body_base64, str)
    decoded = base64.b64decode(part.body_base64)
    assert (part.offset, decoded) == (0, content[: len(decoded)])
    assert len(decoded) > 3000
    assert "cannot be decoded" in (found.body_note or "")


def test_p4_parts_take_no_more_than_what_is_asked_for(root: Path) -> None:
    made = pieces(root, "", b"A" * 50 + b"B" * 50 + b"C" * 50, piece=50)
    flip_in(segment(made), b"B" * 50)
    with opened(root) as session:
        found = session.exchange(1, max_body=60).response
    assert found is not None
    assert found.body_parts == [
        BodyPart(offset=0, size=50, body="A" * 50),
        BodyPart(offset=100, size=10, body="C" * 10),
    ]
    assert found.body_truncated


def test_p4_a_lost_response_beside_a_lost_request_head_is_noted(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    seq = recording.open("http://example.com/unlucky")
    recording.chunk(seq, 0, b"upload", kind=FrameType.REQUEST_BODY)
    recording.done(seq, b"gone", request=b"upload")
    recording.close()
    flip_in(segment(made), b"/unlucky")
    flip_in(segment(made), b"gone")
    found = exchange(root)
    assert (found.request, found.response, found.damaged) == (None, None, True)
    assert found.notes == [
        "The request's head is lost to damage.",
        "The record of its end is lost to damage.",
        "A response may be lost to damage, too.",
    ]
    with opened(root) as session:
        (item,) = session.query().items
        assert item.damaged is True
        assert session.coverage().damaged == 1


def test_p4_a_lost_response_head_is_noted_where_the_rest_is_left(root: Path) -> None:
    made = pieces(root, "X-Lost: 1\r\n", b"A" * 100, piece=50)
    flip_in(segment(made), b"X-Lost")
    found = exchange(root)
    assert found.damaged is True
    assert found.notes == ["The response's head is lost to damage."]


def test_p4_an_exchange_that_nothing_touched_says_nothing_of_damage(root: Path) -> None:
    made = closed_session(root, 2)
    flip_in(segment(made), b"answer 1")
    found = to_json(exchange(root, 2))
    assert found["notes"] == []
    assert "damaged" not in found
    with opened(root) as session:
        items = to_json(session.query(sort="asc").items)
    assert [item.get("damaged") for item in items] == [True, None]


# -- what 1.0 records -------------------------------------------------------------------------------------------------


def test_interim_responses_are_shown_in_their_order(root: Path) -> None:
    recording = Recording(new_session(root))
    seq = recording.open("http://example.com/")
    for status, field in ((102, ""), (103, "Link: </hinted.css>\r\n")):
        head = f"HTTP/1.1 {status} Early\r\n{field}\r\n".encode()
        recording.writer.append(
            FrameType.RESPONSE_HEAD, seq, ResponseBegun(2_500_000, status, len(head)), head, Flag.INTERIM
        )
    recording.done(seq, b"ok")
    recording.close()
    found = to_json(exchange(root))
    assert [(one["statusCode"], one["headers"], one["at"]) for one in found["interim"]] == [
        (102, [], 2.5),
        (103, [("Link", "</hinted.css>")], 2.5),
    ]
    assert found["response"]["statusCode"] == 200


def test_a_head_that_could_not_be_read_is_shown_as_it_came_and_marked(root: Path) -> None:
    recording = Recording(new_session(root))
    seq = recording.open("http://example.com/")
    came = b"HTTP/1.1 200 OK\r\nX Y: z\r\nContent-"
    recording.writer.append(FrameType.RESPONSE_HEAD, seq, ResponseBegun(1000, 0, len(came)), came, 2)
    recording.done(seq, inline=False, status=0, error="the response is malformed")
    recording.close()
    found = exchange(root)
    assert found.response is not None
    assert (found.response.unparsed, found.response.raw, found.response.headers) == (True, came.decode(), [])
    assert found.response.status_code is None
    assert found.notes == []
    with opened(root) as session:
        assert session.query().items[0].status_code is None


def test_connections_flags_and_the_times_of_pieces_are_shown(root: Path) -> None:
    recording = Recording(new_session(root))
    seq = recording.writer.take_seq()
    head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    begun = Opened(10**18, 7, "http", "a", 80, "127.0.0.1:5", len(head), accepted_at="127.0.0.1:8080")
    recording.writer.append(FrameType.OPENED, seq, begun, head)
    recording.head(seq)
    for at, ns in ((0, 4_000_000), (3, 9_000_000)):
        recording.writer.append(FrameType.RESPONSE_BODY, seq, BodyChunk(at, ns), b"abc")
    flags = DoneFlag.RETRIED | DoneFlag.REUSED
    done = Done(
        10_000_000, 0, 200, 0, 0, 6, 0, 6, 0, crc32c(b"abcabc"), server="127.0.0.1:80", upstream_connection=3,
        flags=flags, sent_from="127.0.0.1:6",
    )  # fmt: skip
    recording.writer.append(FrameType.DONE, seq, done)
    tls = TlsSeen(1, 3, "server", "a", 443, "a", "", "TLSv1.3", "AES", verified="ok", certificates=2)
    der = [b"\x30\x03abc", b"\x30\x81\x80" + bytes(128)]
    recording.writer.append(FrameType.TLS, 0, tls, b"".join(der))
    recording.close()
    found = to_json(exchange(root))
    assert found["connections"] == {
        "client": {"id": 7, "from": "127.0.0.1:5", "to": "127.0.0.1:8080"},
        "server": {"id": 3, "from": "127.0.0.1:6", "to": "127.0.0.1:80", "reused": True},
    }
    assert found["retried"] is True
    assert found["response"]["pieces"] == [(0, 4.0), (3, 9.0)]
    assert found["tls"]["server"]["verified"] == "ok"
    assert len(set(found["tls"]["server"]["certificates"])) == 2


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\xff", b"\x30\x84\xff\xff\xff\xff", bytes(1000)])
def test_certificates_that_are_none_harm_nobody(root: Path, data: bytes) -> None:
    recording = Recording(new_session(root))
    seq = recording.open("http://example.com/", connection=1)
    recording.done(seq, b"ok")
    record = TlsSeen(1, 1, "client", "a", 443, "a", "", "TLSv1.3", "AES", certificates=3)
    recording.writer.append(FrameType.TLS, 0, record, data)
    recording.close()
    assert len(msgspec.json.encode(exchange(root))) < 10_000


def test_what_is_not_recorded_is_not_shown(root: Path) -> None:
    closed_session(root, 1)
    found = exchange(root)
    assert {found.interim, found.connections, found.retried, found.process, found.damaged} == {UNSET}
