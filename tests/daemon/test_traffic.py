"""Traffic as it comes: what has ended is shown once, however fast it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from harness.logs import Recording, new_session
from wiretape.daemon.service import Service
from wiretape.daemon.traffic import MOST, Traffic
from wiretape.settings import UpstreamSettings


class Recorded(Service):
    """A daemon that says it records a session."""

    live: str | None = None

    @property
    def recorded_session(self) -> str | None:
        return self.live


def watched(root: Path, talk: Callable[[Recorded, Traffic, list[Any]], Awaitable[None]]) -> list[Any]:
    shown: list[Any] = []

    async def main() -> None:
        service = Recorded(root, UpstreamSettings())
        traffic = Traffic(service, lambda ended, more: shown.append(([item.seq for item in ended], more)))
        try:
            await talk(service, traffic, shown)
        finally:
            await service.close()

    asyncio.run(main())
    return shown


def test_what_has_ended_is_shown_once_and_what_was_running_when_it_ends(root: Path) -> None:
    async def talk(service: Recorded, traffic: Traffic, shown: list[Any]) -> None:
        recording = Recording(new_session(root))
        service.live = recording.session.session_id
        await traffic.look()
        assert shown == []
        recording.exchange("http://a.test/1")
        running = recording.open("http://a.test/2")
        await traffic.look()
        await traffic.look()
        assert shown == [([1], 0)]
        recording.exchange("http://a.test/3")
        recording.done(running, b"late")
        await traffic.look()
        assert shown[1:] == [([2, 3], 0)]
        recording.close()

    watched(root, talk)


def test_a_flood_is_counted_not_shown(root: Path) -> None:
    async def talk(service: Recorded, traffic: Traffic, _: list[Any]) -> None:
        recording = Recording(new_session(root))
        service.live = recording.session.session_id
        for number in range(100):
            recording.exchange(f"http://a.test/{number}")
        await traffic.look()
        recording.close()

    ((seqs, more),) = watched(root, talk)
    assert seqs == list(range(101 - MOST, 101))
    assert more == 100 - MOST


def test_a_new_session_begins_anew_and_none_shows_nothing(root: Path) -> None:
    async def talk(service: Recorded, traffic: Traffic, shown: list[Any]) -> None:
        await traffic.look()
        for _ in range(2):
            recording = Recording(new_session(root))
            service.live = recording.session.session_id
            recording.exchange("http://a.test/1")
            await traffic.look()
            recording.close()
        assert shown == [([1], 0), ([1], 0)]

    watched(root, talk)
