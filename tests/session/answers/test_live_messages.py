"""Messages while they come: of a WebSocket that is open, an event stream that runs; compressed, at fault, lost."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from wiretape.log.format import BodyChunk, Flag, FrameType, MessageSeen
from wiretape.model import Filter, to_json
from wiretape.session.answers.messages import MessagesWanted, messages
from wiretape.session.answers.web_socket import as_har, web_socket_messages
from wiretape.session.catalogue import Catalogue
from wiretape.session.messages import MessageLog
from wiretape.session.session import Session

MS = 1_000_000


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[Recording, Session]]:
    recording = Recording(new_session(tmp_path / "root", "live"))
    recording.writer.flush()
    with Catalogue(tmp_path / "root").open("live") as session:
        yield recording, session
    recording.close()


def upgraded(recording: Recording, extensions: str = "") -> int:
    seq = recording.open("https://shop.example/ws")
    recording.head(seq, status=101, headers=f"Upgrade: websocket\r\n{extensions}")
    return seq


def say(recording: Recording, seq: int, number: int, data: bytes, *, server: bool = False, **more: object) -> None:
    record = MessageSeen(number * MS, number, 1, "", len(data), 0, **more)  # type: ignore[arg-type]
    recording.writer.append(FrameType.MESSAGE, seq, record, data, (Flag.RESPONSE if server else 0) | Flag.LAST)
    recording.writer.flush()


def test_an_open_websocket_is_read_on_with_the_cursor_of_the_answer_before(live: tuple[Recording, Session]) -> None:
    recording, session = live
    seq = upgraded(recording)
    say(recording, seq, 1, b"one")
    first = messages(session, MessagesWanted(seq=seq))
    assert ([one.body for one in first.items], first.open, first.complete) == (["one"], True, True)
    again = messages(session, MessagesWanted(seq=seq, cursor=first.next_cursor))
    assert (again.items, again.next_cursor) == ([], first.next_cursor)
    say(recording, seq, 1, b"uno", server=True)
    say(recording, seq, 2, b"two")
    page = messages(session, MessagesWanted(seq=seq, cursor=first.next_cursor, limit=1))
    assert [one.body for one in page.items] == ["uno"]
    rest = messages(session, MessagesWanted(seq=seq, cursor=page.next_cursor))
    assert [one.body for one in rest.items] == ["two"]
    (listed,) = session.query().items
    assert (listed.state, listed.messages) == ("inFlight", 3)
    assert session.exchange(seq).messages == 3
    recording.done(seq, status=101, inline=False)
    last = messages(session, MessagesWanted(seq=seq, cursor=rest.next_cursor))
    assert (last.items, last.open, last.next_cursor) == ([], False, None)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_an_event_is_a_row_as_soon_as_it_has_come(live: tuple[Recording, Session], end: str) -> None:
    recording, session = live
    seq = recording.open("https://shop.example/sse")
    recording.head(seq, headers="Content-Type: text/event-stream\r\n")
    stream = "".join(f"event: tick{end}data: {number}{end}{end}" for number in range(3)).encode()
    cursor, got, at = None, [], 0
    for data in (stream[:10], stream[10:30], stream[30:]):
        recording.writer.append(FrameType.RESPONSE_BODY, seq, BodyChunk(at, at * MS), data)
        recording.writer.flush()
        at += len(data)
        found = messages(session, MessagesWanted(seq=seq, cursor=cursor))
        got.append([(one.number, one.event, one.body) for one in found.items])
        assert found.open
        cursor = found.next_cursor
    assert list(chain(*got)) == [(1, "tick", "0"), (2, "tick", "1"), (3, "tick", "2")]
    assert got[1][:1] == [(1, "tick", "0")]


def test_what_is_compressed_is_inflated_where_it_is_shown_searched_filtered_and_exported(
    live: tuple[Recording, Session],
) -> None:
    recording, session = live
    seq = upgraded(recording, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
    pack = zlib.compressobj(wbits=-15)
    said = [f'{{"symbol":"BTC","price":{number}00,"note":"needle-{number}"}}'.encode() for number in range(1, 4)]
    for number, text in enumerate(said, 1):
        data = (pack.compress(text) + pack.flush(zlib.Z_SYNC_FLUSH))[:-4]
        say(recording, seq, number, data, server=True, reserved=0x40)
    recording.exchange("https://shop.example/plain", b"nothing")
    found = messages(session, MessagesWanted(seq=seq))
    assert [one.body for one in found.items] == [text.decode() for text in said]
    third = to_json(found)["items"][2]
    assert (third["size"], third["compressedSize"] < len(said[2])) == (len(said[2]), True)
    later = messages(session, MessagesWanted(seq=seq, cursor=f"{session.session_id}.{seq}.0-2"))
    assert [one.body for one in later.items] == [said[2].decode()]
    assert [one.seq for one in session.query(Filter(expression="~b needle-2")).items] == [seq]
    assert [one.seq for one in session.query(Filter(text="needle-3")).items] == [seq]
    listed, whole = web_socket_messages(session, seq)
    assert whole
    assert [one["data"] for one in as_har(0, listed)] == [text.decode() for text in said]


def test_faults_and_messages_that_are_missing_are_named(live: tuple[Recording, Session]) -> None:
    recording, session = live
    seq = upgraded(recording)
    say(recording, seq, 1, b"one", fault="a client's frame is not masked")
    say(recording, seq, 5, b"\xff\xfe")
    found = messages(session, MessagesWanted(seq=seq))
    assert [one.note for one in found.items] == [
        "Fault: a client's frame is not masked.",
        "Fault: its text is not UTF-8 (RFC 6455 section 8.1).",
    ]
    assert found.missing is not None
    assert found.missing.startswith("1: 3 messages before the client's 5 are not in the log")
    assert not found.complete


def test_p8_a_page_of_many_messages_is_read_without_those_before_it(live: tuple[Recording, Session]) -> None:
    recording, session = live
    seq = upgraded(recording)
    for number in range(1, 20_001):
        record = MessageSeen(number * MS, number, 1, "", 5)
        recording.writer.append(FrameType.MESSAGE, seq, record, b"%05d" % number, Flag.LAST)
    recording.writer.flush()
    session.follow()
    log = MessageLog(session.index)
    assert [one.data for one in log.of(seq, after=(19_998, 0))] == [b"19999", b"20000"]
    assert next(log.of(seq, after=(10_000, 0))).number == 10_001
    assert sum(1 for _ in log.of(seq)) == 20_000
