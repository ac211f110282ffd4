"""MCP over a byte stream, one JSON-RPC message per line: what stdio is, behind the daemon's socket.

The SDK ends a connection's requests when its input ends. A client that pipes its requests in and closes is owed the
answers, so the end of the input is passed on only when everything that was asked is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import anyio
from mcp.server import MCPServer
from mcp.shared._context_streams import ContextReceiveStream, ContextSendStream, create_context_streams
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from wiretape.json_lines import one_line

log = logging.getLogger(__name__)


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
    async with into:
        try:
            while line := await reader.readline():
                if not line.strip():
                    continue
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValidationError as error:
                    await answers.send(SessionMessage(_unreadable(error)))
                    continue
                pending.asked(message)
                await into.send(SessionMessage(message))
        except ValueError:
            log.warning("a message of a client is too long; its connection is closed")
            return
        except (ConnectionError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return
        await pending.settled()


def _unreadable(error: ValidationError) -> JSONRPCError:
    """Answer a line that is no message: JSON-RPC 2.0 section 5.1 wants it with the id null."""
    broken = any(detail["type"] == "json_invalid" for detail in error.errors())
    text = "Parse error: the line is no JSON" if broken else "Invalid request: the line is no JSON-RPC 2.0 message"
    return JSONRPCError(
        jsonrpc="2.0", id=None, error=ErrorData(code=PARSE_ERROR if broken else INVALID_REQUEST, message=text)
    )


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
