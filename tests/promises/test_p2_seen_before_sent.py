"""P2: a request is in the log before its first byte goes to the server; what was in flight is there, interrupted."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from harness.bodies import body_for
from harness.clients import request_bytes
from harness.origin import Origin, Stage
from tests.promises.conftest import Recording


def body_of(message: dict[str, Any]) -> bytes:
    text = message.get("body")
    return base64.b64decode(message.get("bodyBase64") or "") if text is None else text.encode()


@pytest.mark.parametrize("at", ["request", "head", "part"])
def test_p2_a_request_in_flight_at_the_kill_is_recorded_as_interrupted(
    recording: Recording, origin: Origin, at: Stage
) -> None:
    client, prefix = recording.client(origin)
    with client, origin.hold("/bytes/40000", at=at) as held:
        client.send(request_bytes("GET", f"{prefix}/bytes/40000", host=origin.authority, headers=[("X-Mark", "µ1")]))
        held.wait_reached()
        if at == "part":
            # The client has seen the head and half of the body: all of that must be in the log.
            client.read_exactly(20_000)
        recording.kill()
    report = recording.recover()
    assert report["interrupted"] == 1
    (exchange,) = recording.exchanges()
    assert exchange["state"] == "interrupted"
    assert exchange["request"]["url"] == origin.url("/bytes/40000")
    assert ["X-Mark", "µ1"] in exchange["request"]["headers"]
    if at == "part":
        recorded = body_of(exchange["response"])
        assert body_for("/bytes/40000", 40_000).startswith(recorded)
        # What was read includes the head, which is far shorter than a thousand bytes.
        assert len(recorded) >= 19_000


def test_p2_all_that_reached_the_server_of_an_unfinished_upload_is_recorded(
    recording: Recording, origin: Origin
) -> None:
    sent = body_for("/digest", 100_000)
    client, prefix = recording.client(origin)
    with client:
        head = request_bytes("POST", f"{prefix}/digest", host=origin.authority, headers=[("Content-Length", "100000")])
        client.send(head + sent[:60_000])
        origin.wait_for_requests(1, "/digest")
        recording.kill()
    (exchange,) = recording.exchanges()
    recorded = body_of(exchange["request"])
    assert exchange["state"] == "interrupted"
    assert sent.startswith(recorded)
    assert exchange["request"]["bodySize"] == len(recorded)


def test_p2_several_requests_in_flight_are_all_there_with_seq_numbers_of_their_own(
    recording: Recording, origin: Origin
) -> None:
    clients = []
    with origin.hold("/bytes/10", at="request") as held:
        for number in range(12):
            client, prefix = recording.client(origin)
            clients.append(client)
            client.send(request_bytes("GET", f"{prefix}/bytes/10?{number}", host=origin.authority))
        held.wait_reached(12)
        recording.kill()
    for client in clients:
        client.close()
    found = recording.exchanges()
    assert {exchange["state"] for exchange in found} == {"interrupted"}
    assert {exchange["request"]["url"] for exchange in found} == {origin.url(f"/bytes/10?{n}") for n in range(12)}
    assert len({exchange["seq"] for exchange in found}) == 12
