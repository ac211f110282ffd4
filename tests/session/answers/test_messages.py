"""Messages of WebSockets, event streams and gRPC: who said what and when, and which could not be seen."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.logs import WALL_MS, Recording, flip_in, new_session, segment
from tests.session.answers.test_read_body import Hiding
from wiretape.errors import NotFoundError, UsageError
from wiretape.log.format import BodyChunk, Flag, FrameType, MessageSeen
from wiretape.model import Filter, to_json
from wiretape.session.answers.messages import MessagesWanted, messages, one_of
from wiretape.session.catalogue import Catalogue
from wiretape.session.importing.importer import import_recording
from wiretape.session.session import Session

MS = 1_000_000


class Talk:
    """Writes one upgraded exchange as the recorder will."""

    def __init__(self, recording: Recording, url: str = "https://shop.example/ws") -> None:
        self.recording = recording
        self.seq = recording.open(url)
        self.numbers = {False: 0, True: 0}
        recording.head(self.seq, status=101, headers="Upgrade: websocket\r\n")

    def say(self, data: bytes, ms: int, *, server: bool = False, opcode: int = 1, piece: int = 10_000) -> None:
        self.numbers[server] += 1
        for at in range(0, max(1, len(data)), piece):
            last = at + piece >= len(data)
            record = MessageSeen(ms * MS, self.numbers[server], opcode, "", len(data), at)
            flags = (Flag.RESPONSE if server else 0) | (Flag.LAST if last else 0)
            self.recording.writer.append(FrameType.MESSAGE, self.seq, record, data[at : at + piece], flags)
            self.recording.writer.flush()

    def end(self) -> None:
        self.recording.done(self.seq, status=101, inline=False)


def grpc(*data: bytes, trailers: bytes = b"") -> bytes:
    body = b"".join(struct.pack(">BI", 0, len(one)) + one for one in data)
    return body + (struct.pack(">BI", 0x80, len(trailers)) + trailers if trailers else b"")


def streamed(
    recording: Recording, pieces: list[tuple[bytes, int]], headers: str, url: str = "https://shop.example/sse"
) -> int:
    seq = recording.open(url)
    recording.head(seq, headers=headers)
    at = 0
    for data, ms in pieces:
        recording.writer.append(FrameType.RESPONSE_BODY, seq, BodyChunk(at, ms * MS), data)
        recording.writer.flush()
        at += len(data)
    recording.done(seq, b"".join(data for data, _ in pieces), inline=False)
    return seq


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    recording = Recording(new_session(tmp_path_factory.mktemp("messages"), "talk"))
    talk = Talk(recording)  # 1
    talk.say(b'{"type":"subscribe"}', 5)
    talk.say(b'{"type":"ack","password":"hunter2!","token":"opensesame-12345"}', 6, server=True)
    talk.say(b"\x00\xff" * 400, 7, server=True, opcode=2)
    talk.say("größer ".encode() * 3_000, 9, piece=1_000)
    talk.say(b"\x03\xe8bye", 12, server=True, opcode=8)
    talk.end()
    events = [(b"event: tick\nda", 3), (b'ta: {"n":1}\n\ndata: two\n\n', 40), (b"data: three\n\n", 90)]
    assert streamed(recording, events, "Content-Type: text/event-stream\r\n") == 2
    packed = gzip.compress(b"data: zipped\n\n", mtime=0)
    coded = "Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n"
    assert streamed(recording, [(packed[:10], 2), (packed[10:], 33)], coded) == 3
    kind = "Content-Type: application/grpc-web+proto\r\n"
    sent = grpc(b"\x0a\x08v_0151_1")
    seq = recording.open("https://rpc.example/Reserve", method="POST", headers=kind, body=sent)
    recording.done(seq, grpc(b"\x10\x07", trailers=b"grpc-status:0\r\n"), headers=kind, request=sent)
    assert seq == 4
    seq = recording.open("https://shop.example/silent")
    recording.done(seq, status=101, headers="Upgrade: websocket\r\n", size=75)
    assert seq == 5
    recording.exchange("https://shop.example/plain", b"nothing to see")
    recording.close()
    with Catalogue(recording.session.path.parent.parent).open("talk") as opened:
        yield opened


def ask(session: Session, *, veil: Any = None, **wanted: Any) -> dict[str, Any]:
    found: dict[str, Any] = to_json(
        messages(session, MessagesWanted(**wanted), **({} if veil is None else {"veil": veil}))
    )
    return found


def test_messages_of_a_websocket_say_who_what_and_when(session: Session) -> None:
    found = ask(session, seq=1)
    started = WALL_MS + 1_000
    assert found["items"][0] == {
        "seq": 1,
        "number": 1,
        "from": "client",
        "kind": "text",
        "timestamp": started + 5,
        "size": 20,
        "body": '{"type":"subscribe"}',
    }
    told = [(one["from"], one["number"], one["kind"], one["timestamp"] - started) for one in found["items"]]
    assert told == [
        ("client", 1, "text", 5),
        ("server", 1, "text", 6),
        ("server", 2, "binary", 7),
        ("client", 2, "text", 9),
        ("server", 3, "close", 12),
    ]
    assert found["items"][4]["note"] == "code 1000: bye"
    long = found["items"][3]
    assert (long["size"], long["left"]) == (27_000, 21_000 - 500)
    assert base64.b64decode(found["items"][2]["bodyBase64"]) == (b"\x00\xff" * 400)[:500]
    assert found["complete"] is True


def test_events_came_when_the_piece_came_that_ends_them(session: Session) -> None:
    items = ask(session, seq=2)["items"]
    assert [(one["kind"], one.get("event"), one["body"], one["timestamp"] - WALL_MS - 2_000) for one in items] == [
        ("event", "tick", '{"n":1}', 40),
        ("event", None, "two", 40),
        ("event", None, "three", 90),
    ]
    [zipped] = ask(session, seq=3)["items"]
    assert (zipped["body"], zipped["timestamp"] - WALL_MS - 3_000) == ("zipped", 33)


def test_messages_of_grpc_are_shown_by_field_number_with_their_trailers(session: Session) -> None:
    items = ask(session, seq=4)["items"]
    assert [(one["from"], one["kind"], one["value"]) for one in items] == [
        ("client", "message", {"1": "v_0151_1"}),
        ("server", "message", {"2": 7}),
        ("server", "trailers", {"grpc-status": "0"}),
    ]


def test_p11_a_session_lists_all_of_them_in_pages_and_names_what_was_not_recorded(session: Session) -> None:
    whole = ask(session)
    assert [one["seq"] for one in whole["items"]] == [1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 4, 4]
    assert (whole["complete"], whole["missing"]) == (False, "5: nothing recorded after the upgrade")
    paged: list[Any] = []
    cursor = None
    while True:
        page = ask(session, limit=2, cursor=cursor)
        paged += page["items"]
        cursor = page.get("nextCursor")
        if cursor is None:
            break
    assert paged == whole["items"]


def test_a_filter_chooses_the_exchanges(session: Session) -> None:
    assert {one["seq"] for one in ask(session, exchanges=Filter(expression="~d rpc.example"))["items"]} == {4}


def test_a_cursor_of_another_session_is_refused(session: Session) -> None:
    for cursor in ("20260101T000000-aaaaaa.1.0", "1.0", f"{session.session_id}.1.x", ""):
        with pytest.raises(UsageError, match="not a cursor of this session"):
            ask(session, cursor=cursor)


def test_p11_an_exchange_that_has_none_is_told_from_one_whose_messages_were_not_recorded(session: Session) -> None:
    with pytest.raises(NotFoundError, match="Exchange 6 has no messages: it is neither a WebSocket"):
        one_of(messages(session, MessagesWanted(seq=6)), 6)
    silent = messages(session, MessagesWanted(seq=5))
    one_of(silent, 5)
    assert silent.missing == "5: nothing recorded after the upgrade"


@pytest.mark.parametrize("length", [500, 30, 5])
def test_p18_the_veil_sees_whole_messages(session: Session, length: int) -> None:
    shown = json.dumps(ask(session, length=length, veil=Hiding()))
    assert "hunter2" not in shown
    assert "opensesame" not in shown


def test_p4_a_message_that_lost_a_part_says_so_and_the_others_are_there(root: Path) -> None:
    made = new_session(root, "hurt")
    recording = Recording(made)
    talk = Talk(recording)
    talk.say(b"A" * 100 + b"B" * 100 + b"C" * 100, 1, piece=100)
    talk.say(b"whole", 2)
    talk.end()
    recording.close()
    flip_in(segment(made), b"B" * 100)
    with Catalogue(root).open("hurt") as opened:
        items = ask(opened, seq=1)["items"]
    assert [one["body"] for one in items] == ["A" * 100, "whole"]
    assert "bytes 100 to 200 are lost to damage" in items[0]["note"]
    assert items[0]["left"] == 200


def test_messages_of_an_imported_har_are_there_with_their_times(root: Path, tmp_path: Path) -> None:
    entry = {
        "startedDateTime": "2026-11-27T10:44:36.000Z",
        "time": 5_000,
        "request": {"method": "GET", "url": "wss://shop.example/ws", "headers": [], "httpVersion": "HTTP/1.1"},
        "response": {"status": 101, "headers": [], "content": {}, "httpVersion": "HTTP/1.1"},
        "_webSocketMessages": [
            {"type": "send", "time": 1795776276.5, "opcode": 1, "data": "hi"},
            {"type": "receive", "time": 1795776277.25, "opcode": 1, "data": "x" * 300_000},
            {"type": "receive", "time": 1795776278, "opcode": 2, "data": "AAE="},
        ],
    }
    file = tmp_path / "ws.har"
    file.write_text(json.dumps({"log": {"entries": [entry]}}))
    report = import_recording(root, file)
    assert (report.imported, report.damaged, report.warnings) == (1, 0, [])
    with Catalogue(root).open("last") as opened:
        found = ask(opened, seq=1, length=10)
        assert opened.verify().state == "clean"
    started = found["items"][0]["timestamp"] - 500
    assert [(one["from"], one["kind"], one["timestamp"] - started, one["size"]) for one in found["items"]] == [
        ("client", "text", 500, 2),
        ("server", "text", 1_250, 300_000),
        ("server", "binary", 2_000, 2),
    ]
    assert found["items"][1]["left"] == 299_990
