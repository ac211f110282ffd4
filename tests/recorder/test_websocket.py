"""WebSockets through a recorder: every message is in the log before it goes on, and every byte goes on as it came."""

from __future__ import annotations

import socket

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from harness.recorder import RecorderProcess, only, trusting
from harness.web_sockets import EchoServer, RawPeer, open_socket, raw_socket
from tests.support.exchange_ports import FakeUpstream, Setting, response_head
from wiretape.cli.demo.certificates import OriginCA
from wiretape.log.format import EndState, MessageSeen
from wiretape.session.index.database import Index
from wiretape.session.messages import MessageLog, RecordedMessage
from wiretape.wire import websocket

UPGRADED = response_head(101, "Upgrade: websocket", "Connection: Upgrade")
SESSION = "20260101T000000-00000a"


def frame(data: bytes, opcode: int = 1, *, mask: bool = True, fin: bool = True) -> bytes:
    return Frame(Opcode(opcode), data, fin=fin).serialize(mask=mask)


def recorded(recorder: RecorderProcess, seq: int = 1, most: int = 1 << 30) -> list[RecordedMessage]:
    """Read the messages of an exchange in the order in which they came."""
    index = Index(recorder.folder("one"), SESSION)
    try:
        index.follow()
        return list(MessageLog(index).of(seq, most=most))
    finally:
        index.close()


def told(messages: list[RecordedMessage]) -> list[tuple[str, int, int, bytes]]:
    return [("server" if one.from_server else "client", one.number, one.opcode, one.data) for one in messages]


# -- the order of writes, between fakes ------------------------------------------------------------------------------


def upgraded() -> tuple[Setting, FakeUpstream]:
    setting = Setting()
    upstream = setting.server()
    setting.exchange.start([], True, b"")
    setting.stream.flush()
    upstream.raw = upstream.server_side.switched(UPGRADED)
    setting.stream.flush()
    return setting, upstream


def seen(setting: Setting) -> list[tuple[int, bytes]]:
    return [(record.number, data) for _, record, data in setting.stream.written if isinstance(record, MessageSeen)]


def test_p2_a_clients_message_is_in_the_log_before_its_first_byte_goes_to_the_server() -> None:
    setting, upstream = upgraded()
    client = setting.client.listener
    assert client is not None
    data = frame(b"hello")
    client.request_data([data[:8]], False, b"")
    assert (upstream.body, seen(setting)) == (b"", [])
    setting.stream.flush()
    assert (upstream.body, seen(setting)) == (data[:8], [(1, b"he")])
    client.request_data([data[8:]], False, b"")
    setting.stream.flush()
    assert (upstream.body, seen(setting)) == (data, [(1, b"he"), (1, b"llo")])


def test_p1_a_servers_message_is_in_the_log_before_its_first_byte_goes_to_the_client() -> None:
    setting, upstream = upgraded()
    assert upstream.raw is not None
    data = frame(b"hello", mask=False) + frame(b"again", mask=False)
    upstream.raw.response_data([data], False, b"")
    assert (setting.client.body, seen(setting)) == (b"", [])
    setting.stream.flush()
    assert (setting.client.body, seen(setting)) == (data, [(1, b"hello"), (2, b"again")])


@pytest.mark.parametrize(
    ("client_closes", "server_closes", "first", "error", "ended"),
    [
        (True, True, "server", None, (EndState.COMPLETE, "")),
        (True, True, "server", ConnectionResetError("reset"), (EndState.COMPLETE, "")),
        (True, False, "client", None, (EndState.COMPLETE, "")),
        (False, False, "server", None, (EndState.FAILED, "server-closed")),
        (False, False, "client", None, (EndState.ABORTED, "client-left")),
        (False, False, "server", ConnectionResetError("reset"), (EndState.FAILED, "server-reset")),
    ],
)
def test_the_record_says_whether_a_websocket_was_closed_and_by_whom_it_was_ended(
    client_closes: bool, server_closes: bool, first: str, error: Exception | None, ended: tuple[EndState, str]
) -> None:
    setting, upstream = upgraded()
    client, server = setting.client.listener, upstream.raw
    assert client is not None
    assert server is not None
    if client_closes:
        client.request_data([frame(b"\x03\xe8", 8)], False, b"")
    if server_closes:
        server.response_data([frame(b"\x03\xe8", 8, mask=False)], False, b"")
    setting.stream.flush()
    if first == "client":
        client.client_left(None)
        setting.stream.flush()
    server.server_left(error, False, b"")
    setting.stream.flush()
    assert (setting.done.state, setting.done.error_code) == ended
    assert setting.done.messages == client_closes + server_closes
    assert (setting.done.request_size, setting.done.response_size) == (0, 0)


def test_a_full_disk_leaves_messages_out_and_recording_goes_on_with_the_next_whole_one() -> None:
    setting, upstream = upgraded()
    server = upstream.raw
    assert server is not None
    long = frame(b"x" * 10, mask=False)
    server.response_data([frame(b"one", mask=False) + long[:6]], False, b"")
    setting.stream.full = True
    server.response_data([long[6:8]], False, b"")
    setting.stream.full = False
    server.response_data([long[8:] + frame(b"two", mask=False)], False, b"")
    setting.stream.flush()
    assert seen(setting) == [(1, b"one"), (2, b"x" * 4), (3, b"two")]
    assert setting.client.body == frame(b"one", mask=False) + long + frame(b"two", mask=False)


def test_p8_fragments_that_come_together_are_one_frame_of_the_log() -> None:
    setting, upstream = upgraded()
    client = setting.client.listener
    assert client is not None
    ping = frame(b"?", 9)
    begun = frame(b"a", 1, fin=False) + frame(b"b", 0, fin=False) * 1000
    ended = frame(b"c", 0, fin=False) + frame(b"", 0, fin=False, mask=False) + frame(b"d", 0) + frame(b"next", 1)
    client.request_data([begun + ping + ended], False, b"")
    setting.stream.flush()
    assert upstream.body == begun + ping + ended
    assert seen(setting) == [(1, b"a" + b"b" * 1000), (2, b"?"), (1, b"cd"), (3, b"next")]
    records = [record for _, record, _ in setting.stream.written if isinstance(record, MessageSeen)]
    assert [(record.position, record.size) for record in records] == [(0, -1), (0, 1), (1001, 1003), (0, 4)]
    assert [record.fault for record in records] == ["", "", websocket.NOT_MASKED, ""]


# -- real programs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("secure", [False, True])
def test_messages_between_real_programs_are_recorded_as_they_were_meant(
    recorder: RecorderProcess, origin_ca: OriginCA, secure: bool, compression: str | None
) -> None:
    options = {"ssl": trusting(recorder)} if secure else {}
    tls = origin_ca.issue().server_context() if secure else None
    with EchoServer(tls=tls, compression=compression) as server:
        with open_socket(recorder.address, server.url, compression=compression, **options) as connection:
            connection.send("größer")
            assert connection.recv() == "größer"
            connection.send(["frag", "men", "ted"])
            assert connection.recv() == "fragmented"
            connection.send(b"\x00\xff" * 40_000)
            assert connection.recv() == b"\x00\xff" * 40_000
            assert connection.ping(b"are you there").wait(10)
            connection.send("close 4001 enough")
            with pytest.raises(ConnectionClosed) as closed:
                connection.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "enough")
    exchange = only(recorder)
    assert (exchange.state, exchange.done and exchange.done.error_code) == ("complete", "")
    messages = recorded(recorder)
    said: list[tuple[int, bytes]] = [(1, "größer".encode()), (1, b"fragmented"), (2, b"\x00\xff" * 40_000)]
    for from_server in (False, True):
        mine = [(one.opcode, one.data) for one in messages if one.from_server is from_server]
        assert mine[:3] == said
        assert (10 if from_server else 9, b"are you there") in mine
        assert mine[-1] == (8, b"\x0f\xa1enough")
    assert all(one.whole and not one.fault and not one.lost_before for one in messages)
    assert exchange.done is not None
    assert exchange.done.messages == len(messages) == 11
    packed = [one.packed for one in messages if one.opcode in (1, 2)]
    assert all(size >= 0 for size in packed) if compression else packed == [-1] * 7


def test_p8_a_long_message_passes_and_is_recorded_whole(recorder: RecorderProcess) -> None:
    data = bytes(range(256)) * 40_000  # 10 MB
    with EchoServer() as server, open_socket(recorder.address, server.url, compression=None) as connection:
        connection.send(data)
        assert connection.recv() == data
    only(recorder)
    sent, echoed = [one for one in recorded(recorder) if one.opcode == 2]
    assert sent.data == echoed.data == data
    [short, _] = [one for one in recorded(recorder, most=1000) if one.opcode == 2]
    assert (len(short.data), short.size, short.whole) == (1000, len(data), False)


def test_every_byte_goes_on_as_it_came_whatever_is_wrong_with_it(recorder: RecorderProcess) -> None:
    sent = b"".join(
        [
            frame(b"not masked", mask=False),
            b"\xb3\x84abcd" + websocket.unmask(b"bits", b"abcd"),
            frame(b"\xff\xfe no text"),
            b"\xc1\x83abcd" + websocket.unmask(b"\xff\xff\xff", b"abcd"),
            frame(b"fine"),
            frame(b"cut in the middle")[:12],
        ]
    )
    answered = frame(b"masked", mask=True) + b"\x8f\x00" + frame(b"fine too", mask=False) + b"\x81"
    got: list[bytes] = []

    def act(connection: socket.socket) -> None:
        data = b""
        while len(data) < len(sent):
            data += connection.recv(65536)
        got.append(data)
        connection.sendall(answered)

    extension = "permessage-deflate"
    with RawPeer(act, extension) as peer, raw_socket(recorder.address, peer.authority, extension) as client:
        client.send(sent)
        assert client.read_to_end() == answered
    assert got == [sent]
    exchange = only(recorder)
    assert ("Sec-WebSocket-Extensions", extension) in exchange.request.headers
    assert exchange.done is not None
    assert (exchange.state, exchange.done.error_code) == ("failed", "server-closed")
    assert f"the client's message 1: {websocket.NOT_MASKED}" in exchange.done.error
    assert f"the server's message 1: {websocket.MASKED}" in exchange.done.error
    found = recorded(recorder)
    faults = {("server" if one.from_server else "client", one.number): (one.data, one.fault) for one in found}
    assert faults[("client", 1)] == (b"not masked", websocket.NOT_MASKED)
    assert faults[("client", 2)] == (b"bits", f"{websocket.RESERVED_OPCODE}; {websocket.RESERVED_BITS}")
    assert faults[("client", 3)] == (b"\xff\xfe no text", "its text is not UTF-8 (RFC 6455 section 8.1)")
    assert faults[("client", 5)] == (b"fine", "")
    assert faults[("client", 6)] == (b"cut in", websocket.CUT)
    assert faults[("server", 1)] == (b"masked", websocket.MASKED)
    assert faults[("server", 2)] == (b"", websocket.RESERVED_OPCODE)
    assert faults[("server", 3)] == (b"fine too", "")
    assert faults[("server", 4)] == (b"\x81", websocket.CUT)
    (broken,) = [one for one in found if one.packed >= 0]
    assert "does not inflate" in broken.missing


def test_a_websocket_that_is_open_is_seen_with_what_was_said_so_far(recorder: RecorderProcess) -> None:
    with EchoServer() as server, open_socket(recorder.address, server.url) as connection:
        connection.send("hello")
        assert connection.recv() == "hello"
        (exchange,) = recorder.exchanges()
        assert (exchange.done, exchange.messages) == (None, 2)
        assert [one.data for one in recorded(recorder)] == [b"hello", b"hello"]
    only(recorder)


@pytest.mark.parametrize("asked", ["websocket", "WebSocket"])
def test_only_an_upgrade_to_websocket_is_read_as_one(asked: str) -> None:
    setting = Setting()
    upstream = setting.server()
    setting.exchange.start([], True, b"")
    setting.stream.flush()
    upstream.raw = upstream.server_side.switched(response_head(101, f"Upgrade: {asked}", "Connection: Upgrade"))
    setting.stream.flush()
    upstream.raw.response_data([frame(b"hello", mask=False)], False, b"")
    setting.stream.flush()
    assert seen(setting) == [(1, b"hello")]


@pytest.mark.parametrize("full", [False, True])
def test_p8_a_side_that_sends_very_many_messages_at_once_is_read_again_once_they_are_written(full: bool) -> None:
    setting, upstream = upgraded()
    client, server = setting.client.listener, upstream.raw
    assert client is not None
    assert server is not None
    server.response_data([frame(b"a", mask=False) * 1_001], False, b"")
    client.request_data([frame(b"b") * 1_001], False, b"")
    assert (upstream.paused, setting.client.paused) == (True, True)
    if full:
        client.client_full(True)
        server.server_full(True)
    setting.stream.flush()
    assert (upstream.paused, setting.client.paused) == (full, full)
