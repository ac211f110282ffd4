"""The projection of headers: every header of a log by name and value, in few rows, in bounded memory."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from tests.log.logbuilder import SegmentBuilder
from wiretape.log.format import BodyChunk, FrameType
from wiretape.session.index.database import Index
from wiretape.session.index.headers import (
    HEADERS,
    MAX_FIELDS,
    MAX_NAMES,
    MAX_VALUE,
    REQUEST_HEADER,
    RESPONSE_HEADER,
    RESPONSE_TRAILER,
    not_whole,
    seqs_with,
)


def index_of(root: Path, builder: SegmentBuilder) -> Index:
    builder.write(root / "session" / "log")
    index = Index(root / "session", builder.session)
    index.follow()
    return index


def with_header(index: Index, name: str, value: str, sides: tuple[int, ...] = HEADERS) -> set[int]:
    def look(db: sqlite3.Connection) -> set[int]:
        wanted = (name.lower(), value)
        return set().union(*seqs_with(db, lambda *header: header == wanted, sides=sides, name=name))

    return index.run(look)


def request(*lines: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", "Host: example.com", *lines, "", ""]).encode()


def response(*lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode()


def test_exchanges_are_found_by_name_and_value_on_their_side(root: Path) -> None:
    log = SegmentBuilder()
    for seq in (1, 2, 3):
        log.opened(seq, head=request(f"X-Id: {seq}", "Accept: */*"))
        log.response_head(seq, head=response("Content-Type: text/html", f"X-Id: answer {seq}"))
        log.done(seq, inline=False)
    index = index_of(root, log)
    assert with_header(index, "accept", "*/*") == {1, 2, 3}
    assert with_header(index, "X-ID", "2") == {2}
    assert with_header(index, "x-id", "2", (RESPONSE_HEADER,)) == set()
    assert with_header(index, "x-id", "answer 2", (RESPONSE_HEADER,)) == {2}
    assert with_header(index, "content-type", "text/html", (REQUEST_HEADER,)) == set()
    index.close()


def test_a_start_line_and_a_body_are_no_headers(root: Path) -> None:
    log = SegmentBuilder()
    log.opened(1, b"Not: a header\r\n", head=request("X-A: b"))
    log.done(1, request=b"Not: a header\r\n")
    index = index_of(root, log)
    names = {row[0] for row in index.rows("SELECT name FROM header_blocks")}
    assert names == {"host", "x-a", "content-length"}
    index.close()


def test_trailers_stand_by_themselves(root: Path) -> None:
    log = SegmentBuilder()
    log.opened(1)
    log.trailers(1, b"grpc-status: 5\r\n")
    log.done(1)
    index = index_of(root, log)
    assert with_header(index, "grpc-status", "5") == set()
    assert with_header(index, "grpc-status", "5", (RESPONSE_TRAILER,)) == {1}
    index.close()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_heads_whose_lines_end_otherwise_are_read_too(root: Path, end: str) -> None:
    log = SegmentBuilder()
    head = f"GET / HTTP/1.1\nHost: example.com{end}X-First: 1\nX-Second: 2{end}{end}".encode()
    log.opened(1, head=head)
    log.done(1)
    index = index_of(root, log)
    assert with_header(index, "x-first", "1") == with_header(index, "x-second", "2") == {1}
    assert with_header(index, "host", "example.com") == {1}
    index.close()


def test_what_is_not_whole_in_the_index_is_named(root: Path) -> None:
    log = SegmentBuilder()
    log.opened(1, head=request("X-Folded: one", " two"))
    log.opened(2, head=request(*(f"X-{number}: a" for number in range(MAX_FIELDS + 5))))
    log.opened(3, head=request("X-Long: " + "a" * (MAX_VALUE + 1)))
    log.opened(4, head=request("X-Plain: a"))
    index = index_of(root, log)
    assert index.run(lambda db: list(not_whole(db))) == [1, 2, 3]
    index.close()


def test_names_without_end_make_a_bounded_number_of_rows_and_are_found(root: Path) -> None:
    log = SegmentBuilder()
    for seq in range(1, 41):
        log.opened(seq, head=request(*(f"X-{seq}-{number}: v{number}" for number in range(100))))
    index = index_of(root, log)
    rows = index.rows("SELECT count(*) FROM header_blocks")
    assert rows[0][0] <= MAX_NAMES + 4
    assert with_header(index, "x-40-99", "v99") == {40}
    assert with_header(index, "host", "example.com") == set(range(1, 41))
    index.close()


def test_a_session_that_is_followed_exchange_by_exchange_has_few_rows(root: Path) -> None:
    made = new_session(root)
    recording, index = Recording(made), Index(made.path, made.session_id)
    for number in range(200):
        recording.open(headers=f"X-Number: {number}\r\n")
        index.follow()
    assert index.rows("SELECT count(*) FROM header_sizes")[0][0] <= 8
    assert with_header(index, "X-Number", "131") == {132}
    assert with_header(index, "Host", "example.com") == set(range(1, 201))
    recording.close()
    index.close()


def test_each_header_is_told_once_an_exchange_also_where_frames_were_written_twice(root: Path) -> None:
    log = SegmentBuilder()
    head = request("Cookie: a", "Cookie: a", "Cookie: b")
    log.opened(1, head=head)
    log.opened(1, head=head)
    index = index_of(root, log)
    found = index.rows("SELECT found FROM header_blocks WHERE name = 'cookie'")
    assert found == [('{"a":[0],"b":[0]}',)]
    index.close()


def test_a_block_ends_where_heads_are_large(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wiretape.session.index.headers._BLOCK_BYTES", 4000)
    log = SegmentBuilder()
    for seq in range(1, 60):
        log.opened(seq, head=request(f"X-Number: {seq}", "X-Filler: " + "a" * 200))
    index = index_of(root, log)
    blocks = index.rows("SELECT first, last FROM header_sizes ORDER BY block")
    assert len(blocks) > 3
    assert blocks[0][0] == 1
    assert blocks[-1][1] == 59
    assert with_header(index, "x-number", "17") == {17}
    index.close()


def test_a_frame_of_the_wrong_kind_in_a_record_that_means_nothing_is_no_header(root: Path) -> None:
    log = SegmentBuilder()
    log.add(FrameType.OPENED, 2**60, BodyChunk(1), request("X-A: b"))
    log.opened(1)
    index = index_of(root, log)
    assert with_header(index, "x-a", "b") == set()
    index.close()
