"""WebSockets and event streams under SIGKILL: what a client has received, and a server was sent, is in the session.

Real clients and servers of WebSocket (with and without compression) talk through a recorder, event streams run beside
them, and the recorder is killed at a random moment. Then the log is held against what each of them saw: every message
that came to a client (P1) and every one that came to a server (P2) is there, in order, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import random
import shutil
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.server import ServerConnection

from harness.clients import TIMEOUT
from harness.recorder import RecorderProcess
from harness.web_sockets import EchoServer, open_socket
from prove.part import Figure, Result, Task
from wiretape.log import open_session
from wiretape.log.assembly import REQUEST, RESPONSE, Side
from wiretape.session.index.database import Index
from wiretape.session.messages import MessageLog
from wiretape.wire.chunked import ChunkedDecoder

ROUNDS = 40
_SOCKETS = 4
_STREAMS = 3
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_AHEAD = 20
_SESSION = "20260101T000000-00000a"


@dataclass(slots=True)
class Talk:
    """What was seen of one WebSocket (``path``): by its server of the client, and by the client of the server."""

    path: str
    arrived: list[bytes] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)


class EventServer:
    """Streams numbered events to whoever asks, without an end; ``port`` is where."""

    def __init__(self, chance: random.Random) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pads = [b"x" * chance.randint(0, 3_000) for _ in range(50)]
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve) for _ in range(_STREAMS)]
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError), self._listener.accept()[0] as connection:
            connection.settimeout(TIMEOUT)
            connection.recv(65536)
            connection.sendall(_HEAD)
            for number in range(1_000_000):
                event = b"data: %d %b\n\n" % (number, self._pads[number % 50])
                connection.sendall(b"%x\r\n%b\r\n" % (len(event), event))
                time.sleep(0.0005)

    def close(self) -> None:
        """End it."""
        self._listener.close()
        for thread in self._threads:
            thread.join(TIMEOUT)


def run(task: Task) -> Result:
    """Run the rounds."""
    # The library writes a traceback where a connection breaks while one thread sends and another receives.
    logging.getLogger("websockets").setLevel(logging.CRITICAL + 1)
    rounds = task.share(ROUNDS)
    figures: dict[str, Figure] = dict.fromkeys(("messages received", "messages sent", "events' bytes received"), 0)
    failures: list[str] = []
    for number in range(1, rounds + 1):
        chance = random.Random(f"{task.seed}/{number}")
        folder = task.folder / f"round-{number}"
        counts, found = run_round(folder, chance)
        failures += [f"round {number}: {one}" for one in found]
        figures = {key: int(figures[key]) + count for key, count in zip(figures, counts, strict=True)}
        if not found:
            shutil.rmtree(folder)
        task.report(number, rounds, f"{figures['messages received']:,} messages received")
    return Result(figures={"rounds": rounds, **figures, "lost": len(failures)}, failures=failures)


def run_round(folder: Path, chance: random.Random) -> tuple[tuple[int, int, int], list[str]]:
    """Let everybody talk, kill the recorder, and say what was seen and what of it is not in the log."""
    folder.mkdir(parents=True)
    talks = {f"/talk-{number}": Talk(f"/talk-{number}") for number in range(_SOCKETS)}
    bodies: list[bytearray] = [bytearray() for _ in range(_STREAMS)]

    def answer(connection: ServerConnection) -> None:
        assert connection.request is not None
        talk = talks[connection.request.path]
        with contextlib.suppress(ConnectionClosed):
            for message in connection:
                assert isinstance(message, bytes)
                talk.arrived.append(message)
                connection.send(message[::-1])

    events = EventServer(chance)
    with EchoServer(answer) as server, RecorderProcess(folder / "root") as recorder:
        recorder.record(durability=chance.choice(("os", "group", "always")))
        host = f"ws://localhost:{server.port}"
        threads = [
            threading.Thread(
                target=_talk, args=(recorder.address, host, talk, random.Random(chance.random()), number % 2 == 0)
            )
            for number, talk in enumerate(talks.values())
        ]
        threads += [
            threading.Thread(target=_listen, args=(recorder.address, events.port, number, body))
            for number, body in enumerate(bodies)
        ]
        for thread in threads:
            thread.start()
        until = time.monotonic() + TIMEOUT
        while not (all(bodies) and all(talk.received for talk in talks.values())) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.8))
        recorder.kill()
        for thread in threads:
            thread.join(TIMEOUT)
    events.close()
    failures = _account(folder / "root" / "sessions" / _SESSION, talks, bodies)
    received = sum(len(talk.received) for talk in talks.values())
    sent = sum(len(talk.arrived) for talk in talks.values())
    if not received or not all(bodies):
        failures.append("somebody was never answered, so nothing is shown")
    return (received, sent, sum(map(len, bodies))), failures


def _talk(proxy: tuple[str, int], host: str, talk: Talk, chance: random.Random, compressed: bool) -> None:
    """Send and receive, some messages ahead, until the connection is gone."""
    compression = "deflate" if compressed else None
    with (
        contextlib.suppress(WebSocketException, OSError, EOFError),
        open_socket(proxy, host + talk.path, compression=compression) as connection,
    ):
        for number in range(1_000_000):
            size = chance.choice((5, 100, 1_000, 20_000))
            message = b"%d " % number + bytes(chance.choices(b"abcdef", k=size))
            connection.send([message[: size // 2], message[size // 2 :]] if number % 7 == 0 else message)
            if number >= _AHEAD:
                reply = connection.recv()
                assert isinstance(reply, bytes)
                talk.received.append(reply)


def _listen(proxy: tuple[str, int], port: int, number: int, body: bytearray) -> None:
    """Read an event stream until it is gone."""
    reader = ChunkedDecoder()
    with contextlib.suppress(OSError), socket.create_connection(proxy, timeout=TIMEOUT) as connection:
        connection.sendall(f"GET http://127.0.0.1:{port}/events-{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        while data := connection.recv(65536):
            for piece in reader.feed(data):
                body += piece


def _account(session: Path, talks: dict[str, Talk], bodies: list[bytearray]) -> list[str]:
    """Say what was seen and is not recorded."""
    failures: list[str] = []
    index = Index(session, _SESSION)
    index.follow()
    log = MessageLog(index)
    recorded = {exchange.request.url.rpartition("/")[2]: exchange for exchange in open_session(session)}
    for path, talk in talks.items():
        exchange = recorded.get(path[1:])
        sides: tuple[tuple[Side, list[bytes]], ...] = ((REQUEST, talk.arrived), (RESPONSE, talk.received))
        for side, seen in sides:
            there = [] if exchange is None else _data(log, exchange.seq, side, len(seen))
            if there != seen:
                failures.append(f"{path}: {len(seen)} messages of the {side}, not as they are in the log")
    for number, body in enumerate(bodies):
        exchange = recorded.get(f"events-{number}")
        there_is = exchange.response.body.read() if exchange is not None and exchange.response is not None else b""
        if not there_is.startswith(bytes(body)):
            failures.append(f"events-{number}: {len(body)} bytes received, not as they are in the log")
    index.close()
    return failures


def _data(log: MessageLog, seq: int, side: Side, most: int) -> list[bytes]:
    """Return the first messages of data that one side sent."""
    found: list[bytes] = []
    for one in log.each(seq, side):
        if one.opcode == 2 and len(found) < most:
            found.append(one.data)
    return found
