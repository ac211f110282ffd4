"""Making a connection to a server, and giving it up."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, cast

import pytest

from wiretape.recorder.dial import Dialer
from wiretape.recorder.ourselves import Ourselves
from wiretape.recorder.protocols import Protocols
from wiretape.recorder.route import Route


def test_a_dial_that_is_given_up_as_its_server_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dial() -> None:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()
        asked = asyncio.Event()

        async def sock_connect(*_: object) -> None:
            asked.set()
            await answered

        monkeypatch.setattr(loop, "sock_connect", sock_connect)
        dialer = Dialer(loop, cast(Any, None), Ourselves(), itertools.count(1), Protocols(), 60)
        task = asyncio.ensure_future(dialer.connect(Route("http", "127.0.0.1", 9), cast(Any, None)))
        await asked.wait()
        answered.set_result(None)
        # The server's answer is on its way to the task: to wait for it otherwise than for the task itself loses this.
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(dial())
