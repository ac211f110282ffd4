"""Exchanges that a decision holds, without sockets: what goes on after it is in the log (P15)."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.exchange_ports import (
    OK,
    POST,
    FakeDecider,
    FakeStream,
    Setting,
    asked,
    request_head,
    response_head,
    uploading,
)
from wiretape.log.format import DoneFlag, EndState, FrameType, SentOn
from wiretape.recorder.exchange_log import Act
from wiretape.recorder.ports import Change

ACTS = (Act("rule_1", "answer", "for the test"),)


def test_a_request_that_is_held_goes_on_when_it_is_let_go() -> None:
    decider = FakeDecider(request=True)
    setting = Setting(decider=decider)
    upstream = asked(setting)
    assert (decider.asked, upstream.events) == (["request"], [])
    assert setting.stream.opened
    setting.exchange.proceed()
    assert upstream.events == [("request", "GET", True)]
    upstream.server_side.response(OK, [b"hello"], True, b"")
    setting.stream.flush()
    assert decider.asked == ["request", "response"]
    assert setting.client.body == b"hello"


def test_p1_a_request_can_be_answered_without_a_server_and_is_recorded_like_any_other() -> None:
    setting = Setting(decider=FakeDecider(request=True))
    upstream = asked(setting)
    setting.exchange.answer(OK, [b"hello"], ACTS, EndState.MOCKED)
    assert setting.client.events == []
    setting.stream.flush()
    assert (setting.client.body, upstream.events) == (b"hello", [])
    assert (setting.done.state, setting.done.status) == (EndState.MOCKED, 200)
    assert FakeStream.kinds(setting.stream.written) == [FrameType.OPENED, FrameType.SENT, FrameType.DONE]


@pytest.mark.parametrize("side", ["request", "response"])
def test_an_exchange_that_is_dropped_breaks_the_connection_after_done(side: str) -> None:
    setting = Setting(decider=FakeDecider(request=side == "request", response=side == "response"))
    upstream = asked(setting)
    if side == "response":
        upstream.server_side.response(OK, [b"he"], False, b"")
        assert upstream.paused
    setting.exchange.drop(ACTS)
    assert setting.client.events == []
    setting.stream.flush()
    assert setting.client.events == [("reset",)]
    assert setting.done.state == EndState.DROPPED
    assert setting.done.error_code == "dropped-by-rule"


@pytest.mark.parametrize("whole", [True, False])
def test_a_response_that_is_held_is_in_the_log_and_goes_out_when_it_is_let_go(whole: bool) -> None:
    setting = Setting(decider=FakeDecider(response=True))
    upstream = asked(setting)
    upstream.server_side.response(OK, [b"he"], False, b"")
    upstream.server_side.response_data([b"llo"] if whole else [b"l"], whole, b"")
    setting.stream.flush()
    assert setting.stream.body("response") == (b"hello" if whole else b"hel")
    assert setting.client.events == []
    setting.exchange.proceed()
    if not whole:
        assert not upstream.paused
        upstream.server_side.response_data([b"lo"], True, b"")
    setting.stream.flush()
    assert setting.client.body == b"hello"
    assert setting.done.state == EndState.COMPLETE


def test_p15_of_a_response_that_is_changed_the_log_has_what_came_and_what_went_before_a_byte_goes() -> None:
    setting = Setting(decider=FakeDecider(response=True))
    upstream = asked(setting)
    upstream.server_side.response(response_head(500, "Content-Length: 3"), [b"bad"], True, b"")
    setting.exchange.answer(OK, [b"never"], ACTS, EndState.MOCKED)  # the server has answered: that is not undone
    setting.exchange.proceed(Change(ACTS, head=OK, pieces=[b"hello"]))
    setting.stream.flush()
    assert setting.client.events[0] == ("respond", 200)
    assert setting.client.body == b"hello"
    kinds = [FrameType.OPENED, FrameType.RESPONSE_HEAD, FrameType.RESPONSE_BODY, FrameType.SENT, FrameType.DONE]
    assert FakeStream.kinds(setting.stream.written) == kinds
    assert setting.stream.written[2][2] == b"bad"
    assert (setting.done.status, setting.done.flags & DoneFlag.CHANGED) == (200, DoneFlag.CHANGED)


def test_p15_a_changed_request_goes_to_the_server_after_it_is_written() -> None:
    setting = Setting(POST, FakeDecider(request=True))
    upstream = uploading(setting)
    setting.exchange.more()
    setting.exchange.request_data([b"before"], True, b"")
    setting.stream.flush()
    assert setting.exchange.body == ([b"before"], True)
    changed = msgspec.structs.replace(setting.exchange.request, head=request_head("PUT", "Content-Length: 5"))
    setting.exchange.proceed(Change(ACTS, request=changed, pieces=[b"after"]))
    assert upstream.events == []
    setting.exchange.proceed()  # what was decided is decided
    setting.stream.flush()
    assert (upstream.events, upstream.body) == ([("request", "PUT", True)], b"after")
    assert setting.stream.written[1][2] == b"before"


def test_a_rule_that_only_waits_leaves_the_request_as_it_came_and_is_named() -> None:
    setting = Setting(decider=FakeDecider(request=True))
    upstream = asked(setting)
    setting.exchange.proceed(Change(ACTS))
    setting.stream.flush()
    assert upstream.events == [("request", "GET", True)]
    _, record, data = setting.stream.written[1]
    assert isinstance(record, SentOn)
    assert (record.rule, record.head_size, data) == ("rule_1", 0, b"")
    upstream.server_side.response(OK, [b"hello"], True, b"")
    setting.stream.flush()
    assert not setting.done.flags & DoneFlag.CHANGED


def test_a_client_that_waits_for_100_is_told_to_go_on_once_when_a_rule_wants_its_body() -> None:
    setting = Setting(request_head("POST", "Content-Length: 6", "Expect: 100-continue"), FakeDecider(request=True))
    uploading(setting)
    setting.exchange.more()
    assert (setting.client.events, setting.client.paused) == ([("interim", 100)], False)
    setting.exchange.request_data([b"abc"], False, b"")
    setting.stream.flush()
    setting.exchange.more()
    assert setting.client.events == [("interim", 100)]


@pytest.mark.parametrize("more", [True, False])
def test_the_rest_of_a_response_comes_while_it_is_held_only_where_it_is_wanted(more: bool) -> None:
    decider = FakeDecider(response=True, more=more)
    setting = Setting(decider=decider)
    upstream = asked(setting)
    upstream.server_side.response(OK, [b"he"], False, b"")
    assert upstream.paused is not more
    upstream.server_side.response_data([b"llo"], True, b"")
    assert decider.asked[-1] == "more of the response"
    assert setting.exchange.body == ([b"he", b"llo"], True)


def test_decisions_about_an_exchange_whose_client_left_do_nothing() -> None:
    setting = Setting(decider=FakeDecider(request=True))
    upstream = asked(setting)
    setting.exchange.client_left(None)
    setting.exchange.proceed()
    setting.exchange.proceed(Change(ACTS))
    setting.exchange.answer(OK, [], ACTS, EndState.MOCKED)
    setting.exchange.drop(ACTS)
    setting.exchange.more()
    setting.stream.flush()
    assert (upstream.events, setting.client.events) == ([], [])
    assert setting.done.state == EndState.ABORTED
