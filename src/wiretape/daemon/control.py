"""The daemon's Unix socket: commands of the command line, and the bridges of agents. client.py has the protocol."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from wiretape.channel.messages import LINE_MAX, decode, encode
from wiretape.channel.peer import Peer, Request
from wiretape.daemon.faces import Face
from wiretape.daemon.paths import socket_path
from wiretape.daemon.service import Service
from wiretape.errors import DaemonError, StorageError, UsageError, WiretapeError
from wiretape.model import Filter, to_json
from wiretape.private_files import is_private
from wiretape.secrets.veil import UNVEILED
from wiretape.settings import Address, McpSettings, SessionSettings, from_wire

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


async def _answer(handler: Handler, request: Request) -> None:
    """Do what was asked and say so, or why not."""
    try:
        request.answer(**await handler(request.fields))
    except WiretapeError as error:
        request.refuse(error)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        request.refuse(UsageError(f"unreadable command: {error}"))
    except Exception:
        log.exception("the command %s failed", request.cmd)
        request.refuse(DaemonError(f"the daemon failed at {request.cmd!r}", hint="its messages have the cause"))


class ControlServer:
    """Listens on the root's socket. The folder's mode keeps other users out (P14)."""

    def __init__(self, service: Service, face: Face | None) -> None:
        self._service = service
        self._face = face
        self._path = socket_path(service.root)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._commands: dict[str, Handler] = {
            "status": self._status,
            "stop": self._stop,
            "start-proxy": self._start_proxy,
            "stop-proxy": self._stop_proxy,
            "start-session": self._start_session,
            "stop-session": self._stop_session,
            "mark": self._mark,
            "rules": self._rules,
        }

    async def start(self) -> None:
        """Begin to listen. The root's lock is held, so what lies at the path is left over.

        Raises:
            StorageError: the socket cannot be made.
        """
        try:
            if self._path.parent != self._service.root.absolute():
                _private_folder(self._path.parent)
            with suppress(FileNotFoundError):
                self._path.unlink()
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            before = os.umask(0o177)
            try:
                listener.bind(os.fspath(self._path))
            finally:
                os.umask(before)
        except OSError as error:
            raise StorageError(
                f"the daemon's socket {self._path} cannot be made: {error.strerror}", hint="give another --root DIR"
            ) from error
        listener.setblocking(False)
        self._server = await asyncio.start_unix_server(self._accept, sock=listener, limit=LINE_MAX)

    async def stop(self) -> None:
        """Stop listening and end the connections."""
        if self._server is not None:
            self._server.close()
        with suppress(FileNotFoundError):
            self._path.unlink()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (ConnectionError, BrokenPipeError):
            log.debug("a client left in the middle")
        except Exception:
            log.exception("a connection to the daemon's socket failed")
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read what the connection is for, then serve that."""
        try:
            hello = await _read_object(reader)
            if hello is None:
                return
            kind = hello.get("wiretape")
            if kind == "mcp" and self._face is not None:
                await self._face.check(_mcp_settings(hello))
            elif kind != "control":
                raise UsageError(f"the daemon does not know the kind of connection {kind!r}", hint="control or mcp")
        except WiretapeError as error:
            await _write(writer, {"wiretape": "error", "error": error.to_json()})
            return
        await _write(writer, {"wiretape": "ok"})
        if kind == "control" or self._face is None:
            await self._serve_control(reader, writer)
            return
        self._service.bridges += 1
        try:
            await self._face.serve_bridge(reader, writer, _mcp_settings(hello))
        finally:
            self._service.bridges -= 1
            self._service.idle_since()

    async def _serve_control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a command's requests, each when it is done, until the command leaves."""
        running: set[asyncio.Task[None]] = set()

        def begin(request: Request) -> None:
            handler = self._commands.get(request.cmd)
            if handler is None:
                raise UsageError(
                    f"the daemon has no command {request.cmd!r}", hint=f"it has {', '.join(self._commands)}"
                )
            task = asyncio.create_task(_answer(handler, request))
            running.add(task)
            task.add_done_callback(running.discard)

        peer = Peer(reader, writer, name="a command", on_request=begin)
        try:
            await peer.run()
        finally:
            # Whoever asked may have left; what was begun is finished all the same.
            await asyncio.gather(*running, return_exceptions=True)

    # -- commands -----------------------------------------------------------------------------------------------

    async def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        return dict(to_json(self._service.for_the_owner(await self._service.status())))

    async def _stop(self, _: dict[str, Any]) -> dict[str, Any]:
        self._service.stop_requested.set()
        return {"pid": os.getpid()}

    async def _start_proxy(self, message: dict[str, Any]) -> dict[str, Any]:
        address = Address(host=str(message.get("host") or "127.0.0.1"), port=int(message.get("port") or 0))
        settings = _session_settings(message) if message.get("record", True) else None
        return dict(to_json(await self._service.proxy_start(address, settings)))

    async def _stop_proxy(self, _: dict[str, Any]) -> dict[str, Any]:
        return dict(to_json(await self._service.proxy_stop()))

    async def _start_session(self, message: dict[str, Any]) -> dict[str, Any]:
        return dict(to_json(await self._service.session_start(_session_settings(message))))

    async def _stop_session(self, _: dict[str, Any]) -> dict[str, Any]:
        return dict(to_json(await self._service.session_stop()))

    async def _rules(self, message: dict[str, Any]) -> dict[str, Any]:
        """Carry out ``do`` with a rule: list, add, test, enable, disable or remove."""
        rules, rule_id = self._service.rules, str(message.get("rule") or "")
        match message.get("do"):
            case "list":
                return {"rules": await rules.listed(), "note": rules.note}
            case "add":
                return {"rule": await rules.add(dict(message["fields"]))}
            case "test":
                found = await rules.tested(dict(message["request"]), include_disabled=True, limit=None)
                return {"result": msgspec.to_builtins(found)}
            case "preview":
                library = self._service.library
                found_in = await rules.previewed(
                    library,
                    await library.resolve(str(message["session"])),
                    Filter(expression=message.get("filter")),
                    rule_id=rule_id or None,
                    rule=message.get("fields"),
                    limit=int(message.get("limit") or 20),
                    veil=UNVEILED,
                )
                return {"preview": msgspec.to_builtins(found_in)}
            case "enable" | "disable" as how:
                await rules.enable(rule_id, how == "enable")
            case "remove":
                await rules.remove(rule_id)
            case other:
                raise UsageError(f"nothing is known to do {other!r} with rules")
        return {"rule": rule_id}

    async def _mark(self, message: dict[str, Any]) -> dict[str, Any]:
        session = message.get("session")
        return dict(to_json(await self._service.mark(str(message["label"]), None if session is None else str(session))))


def _mcp_settings(hello: dict[str, Any]) -> McpSettings:
    """Read what a bridge wants; null means the same as a key that is not there.

    Raises:
        UsageError: a key has a value of another kind.
    """
    return from_wire(McpSettings, {key: value for key, value in hello.items() if value is not None})


def _session_settings(message: dict[str, Any]) -> SessionSettings:
    """Read ``name``, ``profile``, ``durability``, ``maxDisk`` and ``onFull`` of a command."""
    return from_wire(SessionSettings, message)


def _private_folder(path: Path) -> None:
    """Make a folder that is ours alone; one that somebody else put there is refused."""
    path.mkdir(mode=0o700, exist_ok=True)
    if not is_private(path):
        raise StorageError(
            f"{path} is not a private folder of this user", hint="remove it, or give a shorter --root DIR"
        )


async def _read_object(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Read one line of JSON; None at the end.

    Raises:
        UsageError: it is not an object.
    """
    try:
        line = await reader.readline()
    except ValueError as error:
        raise UsageError(f"a line is longer than {LINE_MAX} bytes") from error
    return decode(line) if line else None


async def _write(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(encode(message))
    await writer.drain()
