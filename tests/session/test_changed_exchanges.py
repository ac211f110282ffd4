"""Exchanges that rules changed, as readers tell them: both sides, who did it, what filters and exports say (P15)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from wiretape.formats.har_entry import har_entry
from wiretape.log.format import (
    Done,
    DoneFlag,
    EndState,
    Flag,
    FrameType,
    Opened,
    Record,
    ResponseBegun,
    SegmentHead,
    SentOn,
)
from wiretape.log.frames import encode_frame
from wiretape.model import Filter, to_json
from wiretape.session.answers.lean import How, lean_exchange
from wiretape.session.session import Session

SESSION = "20260101T000000-00000a"
NS = 1_767_225_600_000_000_000
CAME = b"POST /old HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\n"
WENT = b"PUT http://b.example/new HTTP/1.1\r\nHost: b.example\r\nContent-Length: 6\r\n\r\n"
RECEIVED = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n"
GOT = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\n"


def frames() -> list[tuple[FrameType, int, Record, bytes, int]]:
    """Give an exchange changed on both sides, one that was mocked, and one that nobody touched."""
    opened = Opened(NS, 1, "http", "a.example", 80, "127.0.0.1:5000", len(CAME))
    request = (FrameType.OPENED, opened, CAME + b"old", Flag.REQUEST_COMPLETE)
    done = Done(1, EndState.COMPLETE, 503, 0, 3, 6, 3, 6, 0, 0, flags=DoneFlag.CHANGED)
    mocked = Done(1, EndState.MOCKED, 200, len(RECEIVED), 3, 6, 3, 6, 0, 0)
    plain = Done(1, EndState.COMPLETE, 200, len(RECEIVED), 3, 6, 3, 6, 0, 0)
    last = Flag.LAST
    parts: list[tuple[int, FrameType, Record, bytes, int]] = [
        (0, FrameType.SEGMENT, SegmentHead(SESSION, 0, 1, 1, 1, NS, 7, 42, "boot", "program"), b"", 0),
        (1, *request),
        (1, FrameType.SENT, SentOn(1, "rule_1", 0, 0, "answer", "elsewhere"), b"", 0),
        (1, FrameType.SENT, SentOn(1, "rule_2", len(WENT), 0, "request"), WENT + b"new", 0),
        (1, FrameType.SENT, SentOn(1, "rule_2", 0, 3, "request"), b"est", last),
        (1, FrameType.RESPONSE_HEAD, ResponseBegun(2, 200, len(RECEIVED)), RECEIVED + b"<html>", 0),
        (1, FrameType.SENT, SentOn(2, "rule_3", len(GOT), 0, "response"), GOT, Flag.RESPONSE | last | Flag.SAME_BODY),
        (1, FrameType.DONE, done, b"", 0),
        (2, *request),
        (2, FrameType.SENT, SentOn(1, "rule_13", 0, 0, "answer", "", "a note"), b"", last),
        (2, FrameType.DONE, mocked, RECEIVED + b"<mock>", Flag.HAS_RESPONSE),
        (3, *request),
        (3, FrameType.DONE, plain, RECEIVED + b"<html>", Flag.HAS_RESPONSE),
        (4, *request),
        (4, FrameType.SENT, SentOn(1, "rule_2", len(WENT), 0, "request"), WENT + b"new", 0),
    ]
    return [(kind, seq, record, data, flags) for seq, kind, record, data, flags in parts]


@pytest.fixture
def session(tmp_path: Path) -> Any:
    """The session."""
    content = b""
    for kind, seq, record, data, flags in frames():
        content += encode_frame(kind, flags, len(content), seq, 99, msgspec.msgpack.encode(record), data)
    log = tmp_path / SESSION / "log"
    log.mkdir(parents=True)
    (log / "0-00000001.wlog").write_bytes(content)
    with Session(tmp_path / SESSION, SESSION) as opened:
        yield opened


def test_p15_request_and_response_are_the_clients_and_the_servers_stand_beside_them(session: Session) -> None:
    found = to_json(session.exchange(1))
    assert (found["request"]["url"], found["request"]["body"]) == ("http://a.example/old", "old")
    sent = found["sentRequest"]
    assert (sent["method"], sent["url"], sent["body"], sent["bodySize"]) == ("PUT", "http://b.example/new", "newest", 6)
    assert (found["response"]["statusCode"], found["response"]["body"]) == (503, "<html>")
    assert (found["receivedResponse"]["statusCode"], found["receivedResponse"]["body"]) == (200, "<html>")
    assert [(rule["id"], rule["stage"]) for rule in found["rules"]] == [
        ("rule_1", "answer"),
        ("rule_2", "request"),
        ("rule_3", "response"),
    ]
    assert found["rules"][0]["description"] == "elsewhere"
    assert b"".join(session.raw_body(1, "sent request")) == b"newest"


def test_p15_what_a_list_says_is_what_the_client_got(session: Session) -> None:
    items = {item.seq: item for item in session.query().items}
    assert (items[1].status_code, items[1].response_content_type) == (503, "text/plain")
    assert [items[seq].state for seq in sorted(items)] == ["complete", "mocked", "complete", "interrupted"]


@pytest.mark.parametrize(
    ("text", "seqs"),
    [
        ("~rule rule_1", [1]),
        ("~rule rule_2", [1, 4]),
        ("~rule rule_13", [2]),
        ("~rule rule_9", []),
        ("~rule *", [1, 2, 4]),
        ("!~rule *", [3]),
        ("~changed", [1, 4]),
        ("~changed & ~c 503", [1]),
        ("~st mocked", [2]),
        ("~rule rule_2 | ~bs '<mock>'", [1, 2, 4]),
    ],
)
def test_filters_ask_for_rules(session: Session, text: str, seqs: list[int]) -> None:
    page = session.query(Filter(expression=text), sort="asc")
    assert [item.seq for item in page.items] == seqs


def test_p15_a_recording_that_ended_after_a_change_says_what_was_done_and_what_is_missing(session: Session) -> None:
    found = session.exchange(4)
    assert found.state == "interrupted"
    assert found.rules
    assert found.sent_request
    assert "The end of what rules did to the request is not there." in found.notes


def test_a_model_is_shown_both_sides_and_who_did_it(session: Session) -> None:
    found = msgspec.to_builtins(lean_exchange(session, 1, How()))
    assert (found["sentRequest"]["url"], found["sentRequest"]["body"]) == ("http://b.example/new", "newest")
    assert found["receivedResponse"]["statusCode"] == 200
    assert [rule["id"] for rule in found["rules"]] == ["rule_1", "rule_2", "rule_3"]


def test_a_har_has_both_sides(session: Session) -> None:
    entry = har_entry(session.exchange(1))
    assert entry["response"]["status"] == 503
    assert entry["_receivedResponse"]["status"] == 200
    assert entry["_sentRequest"]["postData"]["text"] == "newest"
    assert entry["_rules"][0] == {"id": "rule_1", "stage": "answer", "description": "elsewhere"}
