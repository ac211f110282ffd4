"""P1: an exchange whose last response byte was given to the client is in the log, whatever is killed then."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.bodies import body_for
from harness.clients import request_bytes
from harness.origin import Origin
from prove.one_round import VICTIMS, Stage, open_stage, run_round
from tests.promises.conftest import Recording

PATHS = ["/bytes/0", "/bytes/1", "/bytes/5000", "/bytes/300000", "/chunked/70000?size=999", "/status/204"]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("prove")) as made:
        yield made


def body_of(message: dict[str, Any]) -> bytes:
    text = message.get("body")
    return base64.b64decode(message.get("bodyBase64") or "") if text is None else text.encode()


@pytest.mark.parametrize("path", PATHS)
def test_p1_an_answer_received_before_the_kill_is_recorded_whole(
    recording: Recording, origin: Origin, path: str
) -> None:
    client, prefix = recording.client(origin)
    with client:
        answer = client.get(prefix + path, host=origin.authority)
        # Not one instruction of ours between the last byte and the kill than this call.
        recording.kill()
    recording.recover()
    (exchange,) = recording.exchanges()
    assert exchange["state"] == "complete"
    assert exchange["request"]["url"] == origin.url(path)
    assert exchange["response"]["statusCode"] == answer.status
    assert body_of(exchange["response"]) == answer.body


def test_p1_what_was_sent_is_recorded_with_what_was_answered(recording: Recording, origin: Origin) -> None:
    sent = body_for("/echo", 200_000)
    client, prefix = recording.client(origin)
    with client:
        client.send(request_bytes("POST", prefix + "/echo", host=origin.authority, body=sent))
        answer = client.read_response("POST")
        recording.kill()
    (exchange,) = recording.exchanges()
    assert answer.body == sent
    assert body_of(exchange["request"]) == sent
    assert body_of(exchange["response"]) == sent


@pytest.mark.parametrize("victim", VICTIMS)
def test_p1_under_concurrent_traffic_no_answer_is_lost_and_none_is_twice(
    stage: Stage, victim: str, tmp_path: Path
) -> None:
    result = run_round(stage, VICTIMS.index(victim) + 1, tmp_path.name, victim)
    assert result["holds"], result
    assert result["answered"] > 0
    assert result["recorded"] >= result["answered"]
