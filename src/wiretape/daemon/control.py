"""The daemon's Unix socket: commands of the command line, and the bridges of agents. client.py has the protocol."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from wiretape.daemon.faces import Face
from wiretape.daemon.options import Address
from wiretape.daemon.paths import is_private, socket_path
from wiretape.daemon.service import Service, SessionSettings
from wiretape.errors import StorageError, UsageError, WiretapeError
from wiretape.model import to_json

log = logging.getLogger(__name__)

LINE_MAX = 16 << 20
"""Bytes of one line at most, an MCP message or a command."""

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


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
                self._face.check(_names(hello.get("toolsets")))
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
            await self._face.serve_bridge(
                reader, writer, toolsets=hello.get("toolsets"), read_only=bool(hello.get("readOnly"))
            )
        finally:
            self._service.bridges -= 1
            self._service.idle_since()

    async def _serve_control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                message = await _read_object(reader)
                if message is None:
                    return
                handler = self._commands.get(str(message.get("cmd")))
                if handler is None:
                    raise UsageError(
                        f"the daemon has no command {message.get('cmd')!r}", hint=f"it has {', '.join(self._commands)}"
                    )
                answer = {"ok": True, **await handler(message)}
            except WiretapeError as error:
                answer = {"ok": False, "error": error.to_json()}
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                answer = {
                    "ok": False,
                    "error": {"code": "usage", "message": f"unreadable command: {error}", "hint": ""},
                }
            await _write(writer, answer)

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


def _names(value: object) -> list[str] | None:
    """Read a list of names, or null.

    Raises:
        UsageError: it is something else.
    """
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise UsageError("toolsets is no list of names", hint='send {"toolsets": ["sessions"]} or null for all')
    return value


def _session_settings(message: dict[str, Any]) -> SessionSettings:
    """Read ``name``, ``profile``, ``durability``, ``maxDisk`` and ``onFull`` of a command."""
    return SessionSettings(
        name=message.get("name"),
        profile=message.get("profile", "full"),
        durability=message.get("durability", "group"),
        max_disk=message.get("maxDisk"),
        on_full=message.get("onFull", "pass"),
    )


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
    if not line:
        return None
    try:
        message = json.loads(line)
    except ValueError as error:
        raise UsageError("the line is no JSON", hint='send {"wiretape": "control"} first') from error
    if not isinstance(message, dict):
        raise UsageError("the line is no JSON object", hint='send {"wiretape": "control"} first')
    return message


async def _write(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")
    await writer.drain()
