"""P1 and P2 of WebSockets: what a client has received, and what a server was sent, is recorded, whatever is killed."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from harness.web_sockets import EchoServer, open_socket
from tests.cli.support import wiretape_json
from tests.promises.conftest import Recording

COUNT = 2_000


def test_p1_every_message_that_a_client_received_before_a_kill_is_in_the_recovered_session(
    recording: Recording,
) -> None:
    arrived: list[str] = []

    def answer(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for message in connection:
                assert isinstance(message, str)
                arrived.append(message)
                connection.send(f"{message} is {'x' * (len(arrived) % 500)}")

    received: list[str] = []
    with (
        EchoServer(answer) as server,
        contextlib.suppress(ConnectionClosed),
        open_socket(recording.address, server.url) as connection,
    ):
        for number in range(COUNT):
            connection.send(str(number))
            if number >= 50:  # so many are on their way at any time
                received.append(str(connection.recv()))
        recording.kill()
        while True:
            received.append(str(connection.recv()))
    recording.recover()
    (exchange,) = recording.exchanges()
    assert (exchange["state"], exchange["response"]["statusCode"]) == ("interrupted", 101)
    found: dict[str, Any] = wiretape_json(
        "messages", f"{recording.session_id}:1", "--limit", "100000", "--root", recording.root
    )
    said = {side: [one["body"] for one in found["items"] if one["from"] == side] for side in ("client", "server")}
    assert said["client"][: len(arrived)] == arrived  # P2
    assert said["server"][: len(received)] == received
    assert len(received) >= COUNT - 50
    assert json.dumps(found).count("Fault") == 0
