"""MCP over a byte stream, one JSON-RPC message per line: what stdio is, on the daemon's socket.

The SDK ends a connection's requests when its input ends. A client that pipes its requests in and closes is owed the
answers, so the end of the input is passed on only when everything that was asked is answered.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import anyio
from mcp.server import MCPServer
from mcp.shared._context_streams import ContextReceiveStream, ContextSendStream, create_context_streams
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from wiretape.channel.messages import LINE_MAX, Lines
from wiretape.json_lines import one_line

log = logging.getLogger(__name__)

_BLOCK: Final = 1 << 16


async def serve_lines(server: MCPServer[Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one client until its input has ended and everything is answered, or it is gone."""
    into, messages = create_context_streams[SessionMessage | Exception](0)
    answers, out = create_context_streams[SessionMessage](0)
    pending = _Pending()
    # The SDK has no public way to serve a stream pair of one's own.
    low = server._lowlevel_server
    async with anyio.create_task_group() as group:
        group.start_soon(_write, out, writer, pending)
        async with anyio.create_task_group() as reading:
            reading.start_soon(_read, reader, into, answers, pending)
            await low.run(messages, answers, low.create_initialization_options())
            reading.cancel_scope.cancel()


class _Pending:
    """The requests that still want an answer."""

    def __init__(self) -> None:
        self._ids: Counter[str] = Counter()
        self._settled = asyncio.Event()
        self._settled.set()

    def asked(self, message: object) -> None:
        """Take note of what a client sent: a request is owed an answer, a cancelled one no more."""
        if isinstance(message, JSONRPCRequest):
            self._ids[str(message.id)] += 1
            self._settled.clear()
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._done(str((message.params or {}).get("requestId")))

    def answered(self, message: object) -> None:
        """Take note of what was written to the client."""
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            self._done(str(message.id))

    def _done(self, key: str) -> None:
        if self._ids[key] > 1:
            self._ids[key] -= 1
        else:
            del self._ids[key]
        if not self._ids:
            self._settled.set()

    async def settled(self) -> None:
        """Wait until nothing is owed."""
        await self._settled.wait()


async def _read(
    reader: asyncio.StreamReader,
    into: ContextSendStream[SessionMessage | Exception],
    answers: ContextSendStream[SessionMessage],
    pending: _Pending,
) -> None:
    lines = Lines()
    async with into:
        try:
            while block := await reader.read(_BLOCK):
                for line in lines.feed(block):
                    await _pass_on(line, into, answers, pending)
            await _pass_on(lines.rest(), into, answers, pending)
        except (ConnectionError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return
        await pending.settled()


async def _pass_on(
    line: bytes | None,
    into: ContextSendStream[SessionMessage | Exception],
    answers: ContextSendStream[SessionMessage],
    pending: _Pending,
) -> None:
    """Pass a line to the SDK, or answer it where it is no message."""
    if line is not None and not line.strip():
        return
    message = read_message(line)
    if isinstance(message, Unreadable):
        await answers.send(SessionMessage(message.answer()))
        return
    pending.asked(message)
    await into.send(SessionMessage(message))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that is no message, and whom to tell: its id, or None where it cannot be told (JSON-RPC 2.0 section 5)."""

    number: str | int | None
    code: int
    why: str

    def answer(self) -> JSONRPCError:
        """Return what the client is sent."""
        return JSONRPCError(jsonrpc="2.0", id=self.number, error=ErrorData(code=self.code, message=self.why))


def read_message(line: bytes | None) -> JSONRPCMessage | Unreadable:
    """Read one line; None is one that was too long."""
    if line is None:
        return Unreadable(
            None, INVALID_REQUEST, f"Invalid request: the line is too long ({LINE_MAX >> 20} MiB at most)"
        )
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return Unreadable(None, PARSE_ERROR, "Parse error: the line is not JSON, or nested too deeply")
    number = found.get("id") if isinstance(found, dict) else None
    if not isinstance(number, str | int) or isinstance(number, bool):
        if isinstance(found, dict) and "id" in found and "method" in found:
            return Unreadable(None, INVALID_REQUEST, "Invalid request: the id is neither a string nor a whole number")
        number = None
    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError:
        if number is not None and isinstance(number, str):
            number = number.encode(errors="replace").decode()  # half a character cannot be sent back
        return Unreadable(number, INVALID_REQUEST, "Invalid request: the line is not a JSON-RPC 2.0 message")


async def _write(out: ContextReceiveStream[SessionMessage], writer: asyncio.StreamWriter, pending: _Pending) -> None:
    async with out:
        async for item in out:
            data = one_line(item.message.model_dump_json(by_alias=True, exclude_unset=True))
            try:
                writer.write(data.encode() + b"\n")
                await writer.drain()
            except ConnectionError:
                log.debug("a client left before its answer came")
            pending.answered(item.message)
