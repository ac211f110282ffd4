"""``proxy_send``: one recorded request again, with changes, and where it may go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from harness.logs import Recording, new_session
from tests.mcpserver.conftest import InProcess
from tests.session.answers.shop import State, running, walk
from wiretape.log.format import EndState
from wiretape.session.answers.learned import noise_of
from wiretape.session.answers.resend import Changes, outcome, plan
from wiretape.session.catalogue import Catalogue


@dataclass
class Shop:
    """A shop that runs, and a recorded walk through it."""

    base: str
    state: State
    root: Path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The walk is the session ``walk``."""
    root = tmp_path_factory.mktemp("sending") / "root"
    with running() as (base, state):
        recording = Recording(new_session(root, "walk"))
        walk(base, recording)
        seq = recording.open("http://other.example/x")
        recording.done(seq)
        recording.close()
        yield Shop(base, state, root)


def call(shop: Shop, arguments: dict[str, Any], **wishes: Any) -> Any:
    async def ask(client: Client) -> Any:
        return await client.call_tool("proxy_send", arguments)

    answer = InProcess(shop.root).run(ask, **wishes)
    return json.loads(answer.content[0].text) | {"isError": bool(answer.is_error)}


def test_a_plan_says_what_would_change_and_sends_nothing(shop: Shop) -> None:
    before = len(shop.state.received)
    found = call(shop, {"exchange": "walk:5", "set": {"/productId": "p_0008"}})
    assert found["plan"].startswith(f"POST {shop.base}/cart/c_")
    assert found["changes"] == [["/productId", "p_0007", "p_0008"]]
    assert found["writes"] is True
    assert any("one session only" in warning for warning in found["warnings"])
    assert found["execute"] == "call again with execute=true"
    assert len(shop.state.received) == before


def test_sent_it_is_recorded_as_a_replay_and_compared(shop: Shop) -> None:
    found = call(shop, {"exchange": "walk:5", "set": {"/productId": "p_0009"}, "execute": True})
    assert found["sent"] == "walk:5"
    assert found["result"]["status"] == [200, 200]
    assert found["result"]["differs"] == [["/data/items/0/productId", "p_0007", "p_0009"]]
    assert found["verdict"] == "200 as recorded, another body"
    name, _, seq = found["result"]["exchange"].rpartition(":")
    assert name.startswith("replay-")
    method, _, headers, body = shop.state.received[-1]
    assert (method, json.loads(body)["productId"]) == ("POST", "p_0009")
    assert headers["Content-Length"] == str(len(body))
    with Catalogue(shop.root).open(name) as session:
        session.follow()
        source = session.index.one("SELECT source FROM exchanges", [])
        assert session.exchange(int(seq)).state == "complete"
    assert source == ("replay",)


def test_a_change_that_matters_is_the_verdict(shop: Shop) -> None:
    found = call(shop, {"exchange": "walk:2", "headers": {"Authorization": None}, "execute": True})
    assert found["verdict"] == "the change turned 200 into 401"
    assert found["result"]["response"] == {"title": "Unauthorized"}
    recorded = found["changes"][0]
    assert recorded[0] == "request.header.Authorization"
    assert recorded[1].startswith("Bearer {{jwt:")


@pytest.mark.parametrize("target", ["http://127.0.0.1:9", "http://other.example", "https://evil.example:444"])
def test_p18_recorded_secrets_go_to_no_other_host_over_mcp(shop: Shop, target: str) -> None:
    found = call(shop, {"exchange": "walk:5", "target": target, "execute": True})
    assert (found["isError"], found["code"]) == (True, "target")
    assert "--allow-target" in found["hint"]


def test_p18_a_handle_goes_to_no_other_host_either(shop: Shop) -> None:
    told = call(shop, {"exchange": "walk:2", "headers": {"Authorization": None}})
    handle = told["changes"][0][1].removeprefix("Bearer ")
    arguments = {"exchange": "walk:8", "headers": {"X-Note": f"see {handle}"}, "execute": True}
    found = call(shop, arguments)
    assert found["code"] == "target"
    assert handle in found["message"]


def test_who_started_the_server_may_allow_a_target(shop: Shop) -> None:
    with running() as (base, state):
        arguments = {"exchange": "walk:2", "target": base, "execute": True}
        found = call(shop, arguments, allow_targets=("127.0.0.1",))
    assert found["result"]["status"] == [200, 401]
    assert state.received[0][1].startswith("/products?page=1")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"exchange": "walk:5", "set": {"/no/where": 1}}, "no 'no' at /"),
        ({"exchange": "walk:5", "set": {"productId": 1}}, "is not a JSON pointer"),
        ({"exchange": "walk:2", "set": {"/a": 1}}, "is not JSON"),
        ({"exchange": "walk:2", "headers": {"X-A": "b\r\nInjected: c"}}, "end of a line"),
        ({"exchange": "walk:2", "headers": {"a b": "c"}}, "is not a header's name"),
        ({"exchange": "walk:2", "target": "ftp://x"}, "names no HTTP server"),
        ({"exchange": "walk:99"}, "Exchange 99"),
    ],
)
def test_what_cannot_be_sent_is_a_clear_error(shop: Shop, arguments: dict[str, Any], said: str) -> None:
    found = call(shop, arguments)
    assert found["isError"]
    assert said in found["message"]


def test_a_request_with_expired_secrets_logs_in_again_where_that_is_asked(shop: Shop) -> None:
    shop.state.tokens.clear()
    assert call(shop, {"exchange": "walk:5", "execute": True})["result"]["status"] == [200, 401]
    planned = call(shop, {"exchange": "walk:5", "login": "replay"})
    assert planned["rebound"][0].startswith("would log in again by replaying 1: ")
    sent = len(shop.state.received)
    found = call(shop, {"exchange": "walk:5", "login": "replay", "execute": True})
    assert shop.state.received[sent][1] == "/auth/login"
    assert found["result"]["status"] == [200, 200]
    assert found["result"]["exchange"].endswith(":2"), "the login is the first exchange of the same session"
    (told,) = found["rebound"]
    assert told.startswith("logged in again by replaying 1 (replay-")
    assert "request.header.Authorization" in told
    assert "request.header.X-Csrf-Token" in told
    _, _, headers, _ = shop.state.received[-1]
    assert shop.state.tokens[headers["Authorization"].removeprefix("Bearer ")] == headers["X-Csrf-Token"]


def test_a_request_without_secrets_has_no_login_to_replay(shop: Shop) -> None:
    found = call(shop, {"exchange": "walk:8", "login": "replay"})
    assert (found["isError"], found["code"]) == (True, "login")


def test_what_differs_between_recorded_answers_to_the_same_is_noise(tmp_path: Path) -> None:
    recording = Recording(new_session(tmp_path / "root", "runs"))
    kind = "Content-Type: application/json\r\n"
    for stock in (7, 8, 9):
        seq = recording.open("http://a.test/item")
        recording.done(seq, json.dumps({"rows": [{"stock": stock, "name": "lamp"}]}).encode(), headers=kind)
    seq = recording.open("http://a.test/other")
    recording.done(seq, b'{"rows": [{"stock": 1, "name": "shoe"}]}', headers=kind)
    recording.close()
    with Catalogue(tmp_path / "root").open("runs") as session:
        assert noise_of(session, 1) == {"/rows/*/stock"}
        _, planned = plan(session, "runs", 1, Changes())
        noise = noise_of(session, 1)
        result = outcome(
            planned, session.exchange(1), session.exchange(4), "replay-1", trust="trust it", noise=noise
        ).result
    assert result is not None
    assert (result.differs, result.ignored) == ([["/rows/0/name", "lamp", "shoe"]], 1)


def test_a_server_that_is_not_trusted_is_said_with_what_to_do(tmp_path: Path) -> None:
    recording = Recording(new_session(tmp_path / "root", "runs"))
    recording.done(recording.open("https://a.test/item"), b"{}")
    for error in ("the certificate is from an issuer this machine does not trust", "refused"):
        recording.done(
            recording.open("https://a.test/item"), status=0, inline=False, state=EndState.FAILED, error=error
        )
    recording.close()
    with Catalogue(tmp_path / "root").open("runs") as session:
        _, planned = plan(session, "runs", 1, Changes())
        said = [
            outcome(planned, session.exchange(1), session.exchange(seq), "replay-1", trust="name its CA").verdict
            for seq in (2, 3)
        ]
    assert said == ["no answer came; name its CA", "no answer came"]


def test_noise_is_learned_also_where_the_url_is_longer_than_a_filter_takes(tmp_path: Path) -> None:
    recording = Recording(new_session(tmp_path / "root", "runs"))
    for stock in (7, 8):
        seq = recording.open(f"http://a.test/item?{'x' * 10_000}")
        recording.done(seq, json.dumps({"stock": stock}).encode(), headers="Content-Type: application/json\r\n")
    recording.close()
    with Catalogue(tmp_path / "root").open("runs") as session:
        assert noise_of(session, 1) == {"/stock"}


def test_no_noise_is_learned_of_requests_with_other_bytes(tmp_path: Path) -> None:
    recording = Recording(new_session(tmp_path / "root", "runs"))
    for asked in (b"\xff\x01", b"\xff\x02"):
        seq = recording.open("http://a.test/item", method="POST", body=asked)
        answer = json.dumps({"price": asked[1]}).encode()
        recording.done(seq, answer, request=asked, headers="Content-Type: application/json\r\n")
    recording.close()
    with Catalogue(tmp_path / "root").open("runs") as session:
        assert noise_of(session, 1) == frozenset()
