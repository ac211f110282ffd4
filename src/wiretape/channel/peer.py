"""One end of a channel in an event loop: asks, answers, and tells events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from wiretape.channel.messages import LINE_MAX, decode, encode, failed, result
from wiretape.errors import DaemonError, UsageError, WiretapeError

log = logging.getLogger(__name__)

ASK_WITHIN: Final = 30.0
"""Seconds in which a request has to be answered that needs no waiting for others."""


@dataclass(slots=True)
class Request:
    """What the other end asks. It is answered once, now or later; one that nobody waits for needs no answer.

    Attributes:
        cmd: what is to be done.
        fields: the message's other keys.
    """

    cmd: str
    fields: dict[str, Any]
    _number: object = None
    _send: Callable[[dict[str, Any]], None] = field(default=lambda _: None, repr=False)

    def answer(self, **fields: Any) -> None:
        """Say that it is done."""
        if self._number is not None:
            self._send({"id": self._number, "ok": True, **fields})

    def refuse(self, error: WiretapeError) -> None:
        """Say why it is not done."""
        self._send({"id": self._number, **failed(error)})


class Peer:
    """One end of a channel; ``run`` reads it until the other end is gone.

    Args:
        reader: from the other end; its limit bounds a line.
        writer: to it; closed when ``run`` returns.
        name: what the other end is called in messages.
        on_request: gets what the other end asks; an error that it raises is the answer.
        on_event: gets what the other end tells.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        name: str,
        on_request: Callable[[Request], None] | None = None,
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._name = name
        self._on_request = on_request
        self._on_event = on_event
        self._number = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the other end is gone."""
        return self._ended

    async def ask(self, cmd: str, *, within: float = ASK_WITHIN, **fields: Any) -> dict[str, Any]:
        """Send a request and return the keys of its answer.

        Raises:
            WiretapeError: what the other end answered.
            DaemonError: it ended, or did not answer in ``within`` seconds.
        """
        if self._ended:
            raise self._gone()
        self._number += 1
        number = self._number
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._send({"id": number, "cmd": cmd, **fields})
        try:
            async with asyncio.timeout(within):
                return result(await answer)
        except TimeoutError as error:
            raise DaemonError(
                f"{self._name} did not answer {cmd!r} within {within:g} s", hint="see the daemon's messages"
            ) from error
        finally:
            del self._waiting[number]

    def tell(self, cmd: str, **fields: Any) -> None:
        """Send a request whose answer nobody waits for; one to an end that is gone is dropped."""
        self._send({"cmd": cmd, **fields})

    def event(self, name: str, **fields: Any) -> None:
        """Tell the other end something that it did not ask for."""
        self._send({"event": name, **fields})

    async def drain(self) -> None:
        """Wait until what was sent is on its way."""
        await self._writer.drain()

    def close(self) -> None:
        """End this end."""
        self._writer.close()

    async def run(self) -> None:
        """Take messages until the other end is gone; what it still owed fails then."""
        try:
            await self._read()
        except OSError:
            # Killed with something unread in its socket; how it ended is said by who watches the process.
            log.debug("%s broke off its channel", self._name)
        finally:
            self._ended = True
            self._writer.close()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(self._gone())

    async def _read(self) -> None:
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:
                self._bad(UsageError(f"a line is longer than {LINE_MAX} bytes"))
                continue
            if not line:
                return
            try:
                self._take(decode(line))
            except WiretapeError as error:
                self._bad(error)

    def _take(self, message: dict[str, Any]) -> None:
        if "cmd" in message:
            self._serve(message)
        elif "event" in message:
            if self._on_event is not None:
                self._on_event(message)
        elif self._on_request is not None and "ok" not in message:
            raise UsageError("the line is neither a request nor an answer", hint='a request has a "cmd"')
        else:
            number = message.get("id")
            waiting = self._waiting.get(number) if isinstance(number, int) else None
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
            elif message.get("ok") is not True:
                log.warning("%s: %s", self._name, message.get("error"))

    def _serve(self, message: dict[str, Any]) -> None:
        number = message.pop("id", None)
        request = Request(str(message.pop("cmd")), message, number, self._send)
        try:
            if self._on_request is None:
                raise UsageError(f"no command is taken here, {request.cmd!r} neither")
            self._on_request(request)
        except WiretapeError as error:
            request.refuse(error)

    def _bad(self, error: WiretapeError) -> None:
        """Answer what is no message, without the id that it may have had; an end that only answers is not answered."""
        log.warning("%s sent something that is not a message: %s", self._name, error)
        if self._on_request is not None:
            self._send({"id": None, **failed(error)})

    def _send(self, message: dict[str, Any]) -> None:
        if not self._writer.is_closing():
            self._writer.write(encode(message))

    def _gone(self) -> DaemonError:
        return DaemonError(f"{self._name} ended before it answered", hint="see the daemon's messages")
