"""Several addresses of a server: those that do not answer do not hold up those that do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from harness.ports import refused_port
from wiretape.recorder.racing import ATTEMPT_DELAY, Place, connect_first, interleaved

V4, V6 = socket.AF_INET, socket.AF_INET6


def test_families_take_turns_and_the_first_addresss_begins() -> None:
    places: list[Place] = [(V6, ("a", 1)), (V6, ("b", 1)), (V6, ("c", 1)), (V4, ("d", 1))]
    assert [address[0] for _, address in interleaved(places)] == ["a", "d", "b", "c"]
    assert [address[0] for _, address in interleaved(places[::-1])] == ["d", "c", "b", "a"]
    assert interleaved([]) == []


@pytest.fixture
def listening() -> Iterator[Place]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield V4, server.getsockname()


@pytest.fixture
def deaf() -> Iterator[Place]:
    """An address that answers nothing: the kernel drops what comes beyond a full backlog."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield V4, server.getsockname()


def connect(places: list[Place], seconds: float = 20) -> tuple[Place, float]:
    async def main() -> tuple[Place, float]:
        began = time.monotonic()
        with await connect_first(asyncio.get_running_loop(), places, seconds) as sock:
            found = sock.getpeername()
        assert len(asyncio.all_tasks()) <= 2  # what was given up ends in this turn
        return (sock.family, found), time.monotonic() - began

    return asyncio.run(main())


def test_an_address_that_does_not_answer_delays_the_next_by_a_quarter_of_a_second(
    deaf: Place, listening: Place
) -> None:
    found, took = connect([deaf, listening])
    assert found == listening
    assert took >= ATTEMPT_DELAY * 0.9


def test_an_address_that_refuses_delays_nothing(listening: Place) -> None:
    holder, port = refused_port()
    with holder:
        found, _ = connect([(V4, ("127.0.0.1", port)), listening])
    assert found == listening


def test_where_none_answers_the_last_failure_is_told(deaf: Place) -> None:
    holder, port = refused_port()
    with holder, pytest.raises(ConnectionRefusedError):
        connect([(V4, ("127.0.0.1", port)), (V4, ("127.0.0.1", port))])
    with pytest.raises(TimeoutError):
        connect([deaf], seconds=0.05)
    with pytest.raises(OSError, match="no address"):
        connect([])
