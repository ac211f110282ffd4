"""The order of an exchange's writes, and its ends, without sockets: ports and log are lists of what happened."""

from __future__ import annotations

import itertools

import pytest

from tests.support.exchange_ports import (
    OK,
    POST,
    TIMES,
    FakeUpstream,
    Setting,
    asked,
    request_head,
    response_head,
    uploading,
)
from wiretape.errors import NetworkError, ProtocolError
from wiretape.log.format import EndState, FrameType
from wiretape.recorder.ports import Timeouts
from wiretape.recorder.states import ENDED, ENDING, MOVES, SWITCHED
from wiretape.recorder.tunnel import LINGER_SECONDS

SECOND = 1_000_000_000


def test_every_state_but_the_last_two_can_be_left_and_each_is_reached() -> None:
    reached = {after for moves in MOVES.values() for after in moves.values()}
    assert reached | {1} == set(MOVES)
    assert [state for state, moves in MOVES.items() if not moves] == [SWITCHED, ENDED]


def test_p2_a_request_goes_to_the_server_after_opened_is_written() -> None:
    setting = Setting()
    upstream = setting.server()
    setting.exchange.start([], True, b"")
    assert upstream.events == []
    setting.stream.flush()
    assert upstream.events == [("request", "GET", True)]


def test_p1_a_response_that_came_whole_goes_to_the_client_after_done_and_is_two_frames() -> None:
    setting = Setting()
    upstream = asked(setting)
    upstream.server_side.response(OK, [b"hello"], True, b"")
    assert setting.client.events == []
    assert upstream.events[-1] == ("give back",)
    setting.stream.flush()
    assert setting.client.events == [("respond", 200), ("end", b"")]
    assert setting.client.body == b"hello"
    assert setting.stream.kinds(setting.stream.written) == [FrameType.OPENED, FrameType.DONE]
    assert (setting.done.state, setting.done.status, setting.done.upstream_connection) == (EndState.COMPLETE, 200, 9)


def test_p9_the_last_byte_alone_waits_for_the_disk() -> None:
    setting = Setting()
    upstream = asked(setting)
    upstream.server_side.response(OK, [b"hel"], False, b"")
    upstream.server_side.response_data([b"lo"], True, b"")
    setting.stream.flush(synced=False)
    assert setting.client.body == b"hel"
    setting.stream.flush()
    assert setting.client.body == b"hello"


@pytest.mark.parametrize("cuts", [c for size in range(6) for c in itertools.combinations(range(1, 6), size)])
@pytest.mark.parametrize("flushes", [True, False])
def test_bodies_cut_anywhere_arrive_whole_on_both_sides(cuts: tuple[int, ...], flushes: bool) -> None:
    edges = [0, *cuts, 6]
    pieces = [b"abcdef"[a:b] for a, b in itertools.pairwise(edges)]
    setting = Setting(request_head("POST", "Transfer-Encoding: chunked"))
    upstream = uploading(setting)
    for piece in pieces:
        setting.exchange.request_data([piece], piece is pieces[-1], b"A: 1\r\n" if piece is pieces[-1] else b"")
        if flushes:
            setting.stream.flush()
    setting.stream.flush()
    assert (upstream.body, upstream.events[-1]) == (b"abcdef", ("end", b"A: 1\r\n"))
    head = response_head(200, "Transfer-Encoding: chunked")
    upstream.server_side.response(head, pieces[:1], len(pieces) == 1, b"B: 2\r\n" if len(pieces) == 1 else b"")
    for piece in pieces[1:]:
        if flushes:
            setting.stream.flush()
        upstream.server_side.response_data([piece], piece is pieces[-1], b"B: 2\r\n" if piece is pieces[-1] else b"")
    setting.stream.flush()
    assert (setting.client.body, setting.client.events[-1]) == (b"abcdef", ("end", b"B: 2\r\n"))
    assert (setting.done.request_size, setting.done.response_size) == (6, 6)
    assert setting.done.state == EndState.COMPLETE
    assert upstream.events[-1] == ("give back",)


def test_a_client_waits_with_its_body_until_there_is_a_server() -> None:
    setting = Setting(POST)
    setting.exchange.start([b"abc"], False, b"")
    setting.stream.flush()
    assert setting.client.paused
    setting.exchange.request_data([b"def"], True, b"")  # what had come already
    setting.stream.flush()
    upstream = FakeUpstream(setting.stream)
    setting.exchange.connected(upstream, TIMES)
    assert upstream.events == [("request", "POST", True)]
    assert upstream.body == b"abcdef"


def test_p14_a_server_that_answers_before_the_end_of_the_body_gets_it_before_the_lease_ends() -> None:
    setting = Setting(POST)
    upstream = uploading(setting)
    setting.exchange.request_data([b"abcdef"], True, b"")
    upstream.server_side.response(OK, [b"hello"], True, b"")
    assert [event[0] for event in upstream.events] == ["request"]
    setting.stream.flush()
    assert upstream.body == b"abcdef"
    assert [event[0] for event in upstream.events] == ["request", "end", "give back"]
    assert (setting.done.state, setting.done.error_code) == (EndState.COMPLETE, "answered-early")


def test_p14_a_server_that_answers_while_the_client_still_sends_is_not_used_again() -> None:
    setting = Setting(POST)
    upstream = uploading(setting)
    setting.exchange.request_data([b"abc"], False, b"")
    upstream.server_side.response(OK, [b"hello"], True, b"")
    setting.exchange.request_data([b"def"], True, b"")
    setting.stream.flush()
    assert (upstream.body, upstream.events[-1]) == (b"abc", ("finish",))
    assert setting.client.events[-1] == ("end", b"")
    assert setting.done.error_code == "answered-early"


def test_p14_a_server_whose_buffer_still_holds_the_body_is_not_used_again() -> None:
    setting = Setting(POST)
    upstream = uploading(setting)
    setting.exchange.request_data([b"abcdef"], True, b"")
    setting.stream.flush()
    upstream.sent = False
    upstream.server_side.response(OK, [b"hello"], True, b"")
    assert upstream.events[-1] == ("finish",)
    assert setting.done.error_code == "answered-early"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_an_idempotent_request_on_a_dead_kept_connection_is_sent_again_once(method: str) -> None:
    setting = Setting(request_head(method))
    upstream = asked(setting, reused=True)
    upstream.server_side.server_left(None, True, b"")
    (search,) = setting.upstreams.searches
    fresh = FakeUpstream(setting.stream)
    search.seeker.connected(fresh, TIMES)
    assert fresh.events == [("request", method, True)]
    fresh.server_side.server_left(None, True, b"")
    setting.stream.flush()
    assert setting.client.events == [("refuse", 502, "server-closed")]


@pytest.mark.parametrize(("method", "untouched"), [("POST", True), ("PATCH", True), ("GET", False)])
def test_what_a_server_may_have_acted_upon_is_not_sent_again(method: str, untouched: bool) -> None:
    setting = Setting(request_head(method))
    upstream = asked(setting, reused=True)
    upstream.server_side.server_left(None, untouched, b"")
    assert setting.upstreams.searches == []
    assert setting.done.state == EndState.FAILED


def test_a_body_that_was_passed_on_as_it_came_is_not_sent_again() -> None:
    setting = Setting(request_head("PUT", "Content-Length: 6"))
    upstream = uploading(setting)
    setting.exchange.request_data([b"abcdef"], True, b"")
    setting.stream.flush()
    upstream.server_side.server_left(None, True, b"")
    assert setting.upstreams.searches == []
    assert setting.done.state == EndState.FAILED


def test_a_server_that_cannot_be_reached_is_a_refusal_after_done() -> None:
    setting = Setting()
    setting.exchange.start([], True, b"")
    setting.stream.flush()
    (search,) = setting.upstreams.searches
    search.seeker.unreachable(NetworkError("no", code="connect-timeout"))
    assert setting.client.events == []
    setting.stream.flush()
    assert setting.client.events == [("refuse", 504, "connect-timeout")]


def test_a_client_that_leaves_ends_the_search_for_its_server() -> None:
    setting = Setting()
    setting.exchange.start([], True, b"")
    setting.stream.flush()
    setting.exchange.client_left(None)
    assert setting.upstreams.searches[0].cancelled
    assert (setting.done.state, setting.done.error_code) == (EndState.ABORTED, "client-left")


def test_a_client_that_leaves_before_opened_is_written_costs_the_server_nothing() -> None:
    setting = Setting()
    upstream = setting.server()
    setting.exchange.start([], True, b"")
    setting.exchange.client_left(None)
    setting.stream.flush()
    assert upstream.events == []
    assert setting.done.state == EndState.ABORTED


def test_a_client_that_leaves_after_done_changes_nothing() -> None:
    setting = Setting()
    upstream = asked(setting)
    upstream.server_side.response(OK, [b"hello"], True, b"")
    setting.exchange.client_left(None)
    setting.stream.flush()
    assert setting.done.state == EndState.COMPLETE


def test_a_response_that_breaks_off_breaks_the_client_too() -> None:
    setting = Setting()
    upstream = asked(setting)
    upstream.server_side.response(OK, [b"he"], False, b"")
    setting.stream.flush()
    upstream.server_side.server_left(ConnectionResetError("reset"), False, b"")
    setting.stream.flush()
    assert setting.client.events == [("respond", 200), ("reset",)]
    assert setting.done.error_code == "server-reset"


def test_a_body_whose_first_bytes_are_broken_is_a_502_with_the_head_in_the_log() -> None:
    setting = Setting()
    upstream = asked(setting)
    head = response_head(200, "Transfer-Encoding: chunked")
    upstream.server_side.response_broken(ProtocolError("bad chunk"), head, b"")
    setting.stream.flush()
    assert setting.client.events == [("refuse", 502, "protocol")]
    assert setting.done.status == 200
    assert FrameType.RESPONSE_HEAD in setting.stream.kinds(setting.stream.written)


def test_a_head_that_is_not_yet_released_is_taken_back_when_its_body_is_broken() -> None:
    setting = Setting()
    upstream = asked(setting)
    upstream.server_side.response(response_head(200, "Transfer-Encoding: chunked"), [], False, b"")
    upstream.server_side.response_broken(ProtocolError("bad chunk"), None, b"")
    setting.stream.flush()
    assert setting.client.events == [("refuse", 502, "protocol")]


@pytest.mark.parametrize("cut", [True, False])
def test_p2_what_came_where_a_head_should_be_is_in_the_log(cut: bool) -> None:
    setting = Setting()
    upstream = asked(setting)
    if cut:
        upstream.server_side.server_left(None, False, b"HTTP/1.1 200 O")
    else:
        upstream.server_side.response_broken(ProtocolError("no"), None, b"HTTP/1.1 200 O")
    setting.stream.flush()
    (data,) = [data for kind, _, data in setting.stream.written if kind == FrameType.RESPONSE_HEAD]
    assert data == b"HTTP/1.1 200 O"
    assert setting.client.events[0][:2] == ("refuse", 502)


def test_a_request_body_that_breaks_off_http_is_recorded_up_to_there() -> None:
    setting = Setting(POST)
    upstream = uploading(setting)
    error = ProtocolError("bad chunk")
    error.pieces = [b"good"]
    setting.exchange.request_broken(error)
    setting.stream.flush()
    assert setting.stream.body("request") == b"good"
    assert setting.client.events == [("refuse", 400, "protocol")]
    assert upstream.events[-1] == ("reset",)


def test_the_parts_of_the_time_add_up_also_with_100_continue() -> None:
    setting = Setting(POST)
    upstream = uploading(setting)
    upstream.server_side.response_interim(response_head(100))
    setting.stream.flush()
    assert setting.client.events == [("interim", 100)]
    setting.exchange.request_data([b"abcdef"], True, b"")
    setting.stream.flush()
    upstream.server_side.response(OK, [b"hello"], True, b"")
    done = setting.done
    assert min(done.send_ns, done.wait_ns, done.receive_ns) >= 0
    assert done.send_ns + done.wait_ns + done.receive_ns == done.elapsed_ns


def test_p8_who_is_too_fast_waits_for_who_is_too_slow() -> None:
    setting = Setting(POST)
    upstream = uploading(setting)
    seen = []
    for full in (True, False):
        setting.exchange.server_full(full)
        setting.exchange.client_full(full)
        seen.append((setting.client.paused, upstream.paused))
    assert seen == [(True, True), (False, False)]


def test_p8_a_second_connection_waits_as_well_for_a_client_that_does_not_read() -> None:
    setting = Setting()
    upstream = asked(setting, reused=True)
    setting.client.full = True
    upstream.server_side.server_left(None, True, b"")
    fresh = FakeUpstream(setting.stream)
    setting.upstreams.searches[0].seeker.connected(fresh, TIMES)
    assert fresh.paused


LIMITS = Timeouts(first_byte=10.0, idle=20.0)


def now(setting: Setting, seconds: float) -> int:
    """Return the time that many seconds after the exchange began."""
    log = setting.exchange._log
    return max(log.started, log.sent, log.last) + int(seconds * SECOND)


@pytest.mark.parametrize(("seconds", "ends"), [(9.0, False), (11.0, True)])
def test_a_server_that_never_answers_is_a_504(seconds: float, ends: bool) -> None:
    setting = Setting()
    upstream = asked(setting)
    upstream.server_side.tick(now(setting, seconds), LIMITS)
    setting.stream.flush()
    assert setting.client.events == ([("refuse", 504, "server-timeout")] if ends else [])


def test_a_client_that_stops_in_the_middle_of_its_request_is_a_408() -> None:
    setting = Setting(POST)
    upstream = uploading(setting)
    upstream.server_side.tick(now(setting, 21.0), LIMITS)
    setting.stream.flush()
    assert setting.client.events == [("refuse", 408, "client-timeout")]


def test_a_server_that_stops_reading_a_request_is_a_504() -> None:
    setting = Setting(POST)
    upstream = uploading(setting)
    upstream.full = True
    upstream.server_side.tick(now(setting, 21.0), LIMITS)
    setting.stream.flush()
    assert setting.client.events == [("refuse", 504, "server-timeout")]


@pytest.mark.parametrize("full", [True, False])
def test_a_server_that_stops_in_the_middle_is_given_up_unless_it_is_the_client_that_does_not_read(full: bool) -> None:
    setting = Setting()
    upstream = asked(setting)
    upstream.server_side.response(OK, [b"he"], False, b"")
    setting.stream.flush()
    setting.client.full = full
    upstream.server_side.tick(now(setting, 21.0), LIMITS)
    setting.stream.flush()
    assert (("reset",) in setting.client.events) is not full


# -- tunnels ---------------------------------------------------------------------------------------------------------


def switched(setting: Setting) -> FakeUpstream:
    """Begin an exchange whose server speaks another protocol from now on."""
    upstream = asked(setting)
    upstream.raw = upstream.server_side.switched(response_head(101))
    setting.stream.flush()
    assert setting.client.events == [("switched", 101)]
    return upstream


def test_a_tunnel_counts_what_passes_and_ends_when_both_sides_have_ended() -> None:
    setting = Setting()
    upstream = switched(setting)
    client, server = setting.client.listener, upstream.raw
    assert client is not None
    assert server is not None
    client.request_data([b"ping"], False, b"")
    server.response_data([b"pong!"], False, b"")
    setting.stream.flush()
    assert (upstream.body, setting.client.body) == (b"ping", b"pong!")
    client.request_data([], True, b"")
    setting.stream.flush()
    assert ("end", b"") in upstream.events
    server.response_data([b" bye"], True, b"")
    setting.stream.flush()
    assert upstream.events[-1] == ("close",)
    assert not setting.client.ended
    server.server_left(None, False, b"")
    setting.stream.flush()
    assert setting.client.body == b"pong! bye"
    assert setting.client.events[-1] == ("close",)
    done = setting.done
    assert (done.state, done.status, done.request_size, done.response_size) == (EndState.COMPLETE, 101, 4, 9)


def test_a_server_that_ends_its_side_of_a_tunnel_still_gets_what_the_client_sends() -> None:
    setting = Setting()
    upstream = switched(setting)
    client, server = setting.client.listener, upstream.raw
    assert client is not None
    assert server is not None
    server.response_data([], True, b"")
    setting.stream.flush()
    assert setting.client.ended
    assert setting.stream.dones == []
    client.request_data([b"more"], False, b"")
    setting.stream.flush()
    assert upstream.body == b"more"
    client.request_data([], True, b"")
    setting.stream.flush()
    assert upstream.events[-2:] == [("end", b""), ("close",)]


def test_a_client_that_leaves_a_tunnel_has_its_last_bytes_delivered_before_the_end_is_recorded() -> None:
    setting = Setting()
    upstream = switched(setting)
    client, server = setting.client.listener, upstream.raw
    assert client is not None
    assert server is not None
    client.request_data([b"last"], False, b"")
    client.client_left(None)
    setting.stream.flush()
    assert upstream.events[-1] == ("end", b"")
    assert setting.stream.dones == []
    server.server_left(None, False, b"")
    assert setting.done.state == EndState.COMPLETE


@pytest.mark.parametrize(
    ("by", "state", "code"),
    [("client", EndState.ABORTED, "client-left"), ("server", EndState.FAILED, "server-reset")],
)
def test_the_record_of_a_tunnel_says_who_broke_it_off(by: str, state: EndState, code: str) -> None:
    setting = Setting()
    upstream = switched(setting)
    client, server = setting.client.listener, upstream.raw
    assert client is not None
    assert server is not None
    if by == "client":
        client.client_left(ConnectionResetError("reset"))
        server.server_left(None, False, b"")
    else:
        server.server_left(ConnectionResetError("reset"), False, b"")
    setting.stream.flush()
    assert (setting.done.state, setting.done.error_code) == (state, code)


@pytest.mark.parametrize("full", [True, False])
def test_a_server_that_forgets_a_tunnel_whose_client_is_gone_is_left_once_it_has_everything(full: bool) -> None:
    setting = Setting()
    upstream = switched(setting)
    client, server = setting.client.listener, upstream.raw
    assert client is not None
    assert server is not None
    client.client_left(None)
    upstream.full = full
    moved = client._moved  # type: ignore[attr-defined]
    server.tick(moved + int((LINGER_SECONDS + 1) * SECOND), Timeouts())
    assert (len(setting.stream.dones) == 1) is not full


def test_a_silent_tunnel_lives_on() -> None:
    setting = Setting()
    upstream = switched(setting)
    server = upstream.raw
    assert server is not None
    server.tick(1 << 62, Timeouts())
    assert setting.stream.dones == []


def test_no_state_is_left_by_an_exchange_that_has_ended() -> None:
    setting = Setting()
    upstream = asked(setting)
    upstream.server_side.response(OK, [b"hello"], True, b"")
    assert setting.exchange.state == ENDING
    setting.stream.flush()
    assert setting.exchange.state == ENDED
    assert setting.stream.begun == setting.stream.ended == 1
