"""The sessions of a root for the daemon's faces."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from harness.logs import closed_session, new_session
from wiretape.daemon import sessions as library
from wiretape.daemon.sessions import Library
from wiretape.model import Filter
from wiretape.session.index import follow


def test_p11_an_answer_waits_for_its_index_only_so_long_and_says_how_far_it_goes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = closed_session(root, 60)
    monkeypatch.setattr(library, "PATIENCE", 0.0)
    monkeypatch.setattr(follow, "BATCH_FRAMES", 20)

    async def ask() -> None:
        sessions = Library(root)
        first = await sessions.query(made.session_id, Filter())
        assert 0 < first.total < 60
        assert any("still being made" in note for note in first.coverage.notes)
        pages = [await sessions.query(made.session_id, Filter()) for _ in range(20)]
        counts = [first.total, *(page.total for page in pages)]
        assert counts == sorted(counts)
        assert (counts[-1], pages[-1].coverage.notes) == (60, [])
        await sessions.close()

    asyncio.run(ask())


def test_last_is_the_session_that_was_newest_when_its_recovery_was_asked_for(root: Path) -> None:
    made = closed_session(root)

    async def recover() -> None:
        sessions = Library(root)
        sessions.forgotten = lambda _: begin()
        report = await sessions.recover("last")
        assert [one.session_id for one in report.recovered] == [made.session_id]
        assert await sessions.resolve("last") != made.session_id

    def begin() -> None:
        new_session(root)

    asyncio.run(recover())
