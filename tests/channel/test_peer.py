"""Two ends of a channel over a real socket pair."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from wiretape.channel.blocking import BlockingChannel
from wiretape.channel.peer import Peer, Request
from wiretape.cli.demo.waiting import DEADLINE
from wiretape.errors import DaemonError, NotFoundError, UsageError


def conversation(talk: Callable[[Peer, Peer], Awaitable[None]], **theirs: Callable[[Any], None]) -> None:
    """Let a test talk over two ends, of which the second one has ``theirs``."""

    async def main() -> None:
        peers = []
        hows: tuple[dict[str, Any], dict[str, Any]] = ({}, dict(theirs))
        for end, how in zip(socket.socketpair(), hows, strict=True):
            reader, writer = await asyncio.open_connection(sock=end)
            peers.append(Peer(reader, writer, name="the other end", **how))
        running = [asyncio.create_task(peer.run()) for peer in peers]
        async with asyncio.timeout(DEADLINE):
            await talk(peers[0], peers[1])
            for peer in peers:
                peer.close()
            await asyncio.gather(*running)

    asyncio.run(main())


def test_answers_find_their_requests_in_whatever_order_they_come() -> None:
    held: list[Request] = []

    async def talk(ours: Peer, _: Peer) -> None:
        first = asyncio.create_task(ours.ask("later", n=1))
        second = asyncio.create_task(ours.ask("later", n=2))
        assert await ours.ask("now") == {"said": "at once"}
        held[1].answer(n=2)
        assert await second == {"n": 2}
        held[0].refuse(NotFoundError("no such thing", hint="look elsewhere"))
        with pytest.raises(NotFoundError, match="no such thing"):
            await first

    def on_request(request: Request) -> None:
        if request.cmd == "now":
            request.answer(said="at once")
        else:
            held.append(request)

    conversation(talk, on_request=on_request)


def test_an_error_that_is_raised_is_the_answer_and_the_channel_goes_on() -> None:
    def on_request(request: Request) -> None:
        if request.cmd == "bad":
            raise UsageError("not like this")
        request.answer()

    async def talk(ours: Peer, _: Peer) -> None:
        with pytest.raises(UsageError, match="not like this"):
            await ours.ask("bad")
        ours.tell("good")
        assert await ours.ask("good") == {}

    conversation(talk, on_request=on_request)


def test_events_are_told_without_being_asked_for() -> None:
    seen: list[object] = []

    async def talk(ours: Peer, other: Peer) -> None:
        ours.event("damage", items=["x"])
        with pytest.raises(UsageError):
            await ours.ask("anything")
        assert seen == [{"event": "damage", "items": ["x"]}]
        assert not other.ended

    conversation(talk, on_event=seen.append)


def test_an_end_that_goes_fails_what_it_owed_and_what_is_asked_later() -> None:
    async def talk(ours: Peer, other: Peer) -> None:
        owed = asyncio.create_task(ours.ask("never"))
        await asyncio.sleep(0)
        other.close()
        for asking in (owed, ours.ask("later")):
            with pytest.raises(DaemonError, match="ended before it answered"):
                await asking
        assert ours.ended

    conversation(talk, on_request=lambda _: None)


def test_a_request_without_an_answer_in_time_is_an_error_and_its_late_answer_goes_nowhere() -> None:
    held: list[Request] = []

    async def talk(ours: Peer, _: Peer) -> None:
        with pytest.raises(DaemonError, match="did not answer 'slow' within 0 s"):
            await ours.ask("slow", within=0)
        fast = asyncio.create_task(ours.ask("fast"))
        while len(held) < 2:
            await asyncio.sleep(0)
        held[0].answer(late=True)
        held[1].answer(late=False)
        assert await fast == {"late": False}

    conversation(talk, on_request=held.append)


@pytest.mark.parametrize("line", [b"garbage\n", b"[1]\n", b"{}\n", b"x" * 2000 + b"\n"])
def test_a_line_that_is_no_message_is_answered_and_the_next_one_served(line: bytes) -> None:
    async def main() -> None:
        ours, other = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=other, limit=1000)
        peer = Peer(reader, writer, name="x", on_request=lambda request: request.answer())
        running = asyncio.create_task(peer.run())
        mine, to_other = await asyncio.open_connection(sock=ours)
        to_other.write(line + b'{"id":5,"cmd":"x"}\n')
        answers = [json.loads(await mine.readline())]
        while answers[-1]["id"] is None:
            answers.append(json.loads(await mine.readline()))
        assert answers[0]["error"]["code"] == "usage"
        assert answers[-1] == {"id": 5, "ok": True}
        to_other.close()
        await running

    asyncio.run(main())


def test_a_blocking_end_talks_to_one_in_a_loop() -> None:
    async def main() -> None:
        ours, other = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=other)

        def on_request(request: Request) -> None:
            if request.cmd == "fail":
                raise UsageError("no")
            request.answer(echo=request.fields)

        running = asyncio.create_task(Peer(reader, writer, name="x", on_request=on_request).run())

        def talk() -> None:
            with ours:
                channel = BlockingChannel(ours)
                assert channel.call({"cmd": "x", "a": "ü" * 5000}) == {"echo": {"a": "ü" * 5000}}
                with pytest.raises(UsageError):
                    channel.call({"cmd": "fail"})

        await asyncio.to_thread(talk)
        await running

    asyncio.run(main())
