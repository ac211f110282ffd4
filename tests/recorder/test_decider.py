"""What cases of rules hold, how much of it and for how long; without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from wiretape.log.format import EndState
from wiretape.recorder.decider import MAX_HELD, Room, RuleCase, RuleDecider, Spent
from wiretape.recorder.exchange_log import Act
from wiretape.recorder.pieces import with_more
from wiretape.recorder.ports import AnyResponseHead, Change, Client, Pieces, Request
from wiretape.recorder.route import Route
from wiretape.rules.ruleset import Ruleset, checked
from wiretape.rules.values import rule_from
from wiretape.wire.http1 import parse_request_head, parse_response_head

WATCHES_BODY = {"bodyIncludes": "needle"}


class Message:
    """A request that is held, and what was done with it."""

    def __init__(self) -> None:
        head = parse_request_head(b"POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n")
        assert head is not None
        self.request = Request(head, Route("http", "h", 80), b"/", b"h")
        self.client = Client(1, "127.0.0.1:5", "explicit")
        self.body: tuple[Pieces, bool] = ([], False)
        self.said: list[str] = []
        self.changes: list[Change | None] = []

    def more(self) -> None:
        self.said.append("more")

    def no_more(self) -> None:
        self.said.append("no more")

    def forget_body(self) -> None:
        self.body = ([], self.body[1])

    def proceed(self, change: Change | None = None) -> None:
        self.said.append("proceed")
        self.changes.append(change)

    def answer(self, head: AnyResponseHead, pieces: Pieces, acts: tuple[Act, ...], state: EndState) -> None:
        self.said.append("answer")

    def drop(self, acts: tuple[Act, ...]) -> None:
        self.said.append("drop")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def decider(loop: asyncio.AbstractEventLoop, rule: dict[str, Any], room: Room | None = None) -> RuleDecider:
    return RuleDecider(Ruleset(checked([rule_from({"id": "rule_1", **rule})])), Spent(), loop, room)


def case_of(decides: RuleDecider, message: Message) -> RuleCase:
    case = decides.request_seen(message)
    assert case is not None
    case.begin()
    return case


def waiting(loop: asyncio.AbstractEventLoop) -> int:
    """Return how many timers have not been cancelled."""
    return sum(not timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined]


def test_p8_nothing_more_is_taken_of_a_request_that_a_rule_delays(loop: asyncio.AbstractEventLoop) -> None:
    edits = {"matchReplaceBody": [["a", "b"]]}
    message = Message()
    handler = {"type": "passthrough", "delayMs": 600_000, "transformRequest": edits}
    case = case_of(decider(loop, {"handler": handler}), message)
    for _ in range(3):
        message.body = ([*message.body[0], b"x" * (MAX_HELD + 1)], False)
        case.request_more()
    assert (message.said, waiting(loop)) == (["more", "no more"], 1)


def test_p8_all_bodies_together_are_held_up_to_a_bound_and_then_go_on_as_they_came(
    loop: asyncio.AbstractEventLoop,
) -> None:
    room = Room(100)
    decides = decider(loop, {"matcher": WATCHES_BODY, "handler": {"type": "mock"}}, room)
    first, second = Message(), Message()
    held, late = case_of(decides, first), case_of(decides, second)
    first.body = second.body = ([b"x" * 60], False)
    held.request_more()
    late.request_more()
    assert (first.said, second.said) == (["more"], ["more", "proceed"])
    assert room.left == 40
    held.ended()
    assert (room.left, waiting(loop)) == (100, 0)


def test_p8_a_client_that_leaves_while_its_body_is_held_leaves_nothing_behind(loop: asyncio.AbstractEventLoop) -> None:
    message = Message()
    case = case_of(decider(loop, {"matcher": WATCHES_BODY, "handler": {"type": "mock"}}), message)
    assert waiting(loop) == 1
    case.ended()
    message.body = ([b"needle"], True)
    case.request_more()
    assert (waiting(loop), message.said) == (0, ["more"])


def test_p8_pieces_that_are_held_are_few() -> None:
    held: Pieces = []
    for number in range(10_000):
        held = with_more(held, [bytes((number % 256,))])
        assert len(held) <= 64
    assert b"".join(held) == bytes(number % 256 for number in range(10_000))


def test_a_rule_for_one_exchange_does_not_answer_another_while_a_body_comes(loop: asyncio.AbstractEventLoop) -> None:
    decides = decider(loop, {"handler": {"type": "mock"}, "times": 1})
    first, second = Message(), Message()
    case = case_of(decides, first)
    assert first.said == ["more"]
    case_of(decides, second)
    assert second.said == ["proceed"]
    first.body = ([b"x" * 100], True)
    case.request_more()
    assert first.said == ["more", "answer"]


def test_a_rule_for_one_exchange_changes_one_of_two_responses_that_come_at_once(
    loop: asyncio.AbstractEventLoop,
) -> None:
    handler = {"type": "passthrough", "transformResponse": {"updateHeaders": {"X": "1"}}}
    decides = decider(loop, {"handler": handler, "times": 1})
    messages = [Message(), Message()]
    cases = [case_of(decides, message) for message in messages]
    response = parse_response_head(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "POST")
    assert response is not None
    for case, message in zip(cases, messages, strict=True):
        message.body = ([], True)
        case.response_seen(response)
    assert [message.changes[-1] is not None for message in messages] == [True, False]


@pytest.mark.parametrize("given", ["ads.example", "ADS.example.", "ads.example:80"])
def test_a_host_with_the_dot_of_its_end_is_that_host(loop: asyncio.AbstractEventLoop, given: str) -> None:
    head = parse_request_head(b"GET http://ads.example./ HTTP/1.1\r\nHost: ads.example.\r\n\r\n")
    assert head is not None
    message = Message()
    message.request = Request(head, Route("http", "ads.example.", 80), b"/", None)
    message.body = ([], True)
    case_of(decider(loop, {"matcher": {"hostname": given}, "handler": {"type": "block"}}), message)
    assert message.said == ["answer"]
