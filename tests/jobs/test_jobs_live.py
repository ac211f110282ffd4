"""The jobs that record or send something, as a model does them: a click, a command, one request again, a kill."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.asking import ERAS, FACTOR, Answer, Asker, ask
from tests.jobs.live import QUOTE, Shop, send
from tests.jobs.recordings import CLICK, Tape, bad_walk
from tests.jobs.shop import DUE, WRONG
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.stage import Daemon

HERE = Path(__file__).parents[2]
IDEAL = {"mark and list": 104, "run": 109, "plan": 74, "sent": 74, "recover": 117}
"""Tokens of the ideal answers."""


@pytest.fixture(scope="module", params=ERAS)
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shop: Shop, origin_ca: OriginCA
) -> dict[str, Answer]:
    """What the tools say, in one conversation of each era."""
    root = tmp_path_factory.mktemp("live") / "root"
    walk = bad_walk(shop.host, time.time())
    tape = Tape(root, "bad", walk)
    tape.record(walk.talks)
    tape.close()
    shop.reset()

    async def conversation(call: Asker) -> dict[str, Answer]:
        found = {}
        started = (await call("proxy_start", port=0, session_name="live", upstream_ca=str(origin_ca.pem))).value
        proxy, ca = started["url"], Path(started["caCert"])
        await asyncio.to_thread(send, walk, walk.talks[:CLICK], proxy=proxy, ca=ca)
        found["mark"] = await call("proxy_mark", label="click-checkout")
        await asyncio.to_thread(send, walk, walk.talks[CLICK:], proxy=proxy, ca=ca)
        found["list"] = await call("proxy_list_traffic", since="click-checkout")
        found["wait"] = await call("proxy_wait_for", since="click-checkout", filter="~c 422", idle_ms=0)
        await call("proxy_stop")
        shop.reset()
        command = [sys.executable, "-m", "tests.jobs.client", shop.host]
        found["run"] = await call(
            "proxy_run", command=command, cwd=str(HERE), session_name="bad-run", upstream_ca=str(origin_ca.pem)
        )
        changes: dict[str, Any] = {"exchange": "bad:31", "set": {"/payment/amount": DUE}}
        found["plan"] = await call("proxy_send", **changes)
        found["sent"] = await call("proxy_send", **changes, execute=True)
        return found

    return ask(root, request.param, conversation, ca=origin_ca.pem)


def test_4_a_mark_before_the_click_and_a_list_since(told: dict[str, Answer]) -> None:
    mark, listed = told["mark"].value, told["list"].value
    assert (mark["mark"], mark["session"], mark["afterSeq"]) == ("click-checkout", "live", 28)
    at = listed["columns"].index
    assert [[row[at("seq")], row[at("path")], row[at("status")]] for row in listed["rows"]] == [
        [29, "/telemetry", 204],
        [30, "/api/v2/checkout", 422],
        [31, "/telemetry", 204],
    ]
    assert told["mark"].tokens + told["list"].tokens <= IDEAL["mark and list"] * FACTOR, told["list"].text
    waited = told["wait"].value
    assert waited["found"]
    assert [row[0] for row in waited["exchanges"]["rows"]] == [30]


def test_4_what_a_command_caused_is_summed_up(told: dict[str, Answer]) -> None:
    found = told["run"].value
    assert (found["exit"], found["session"], found["exchanges"], found["failed"]) == (3, "bad-run", 31, 0)
    assert [[row[2], row[3]] for row in found["errors"]["rows"]] == [
        [503, "Stock service unavailable"],
        ["200+errors", "Coupon expired"],
        [422, "Validation failed: /payment/amount amount_mismatch"],
    ]
    assert found["stdoutTail"] == "checkout 422 Validation failed"
    assert "warnings" not in found
    assert told["run"].tokens <= IDEAL["run"] * FACTOR, told["run"].text


def test_11_one_request_again_with_a_change_turns_the_answer(told: dict[str, Answer], shop: Shop) -> None:
    plan, sent = told["plan"].value, told["sent"].value
    assert plan["plan"] == f"POST https://{shop.host}/api/v2/checkout"
    assert plan["changes"] == [["/payment/amount", WRONG, DUE]]
    assert plan["writes"]
    assert any("Idempotency-Key" in warning for warning in plan["warnings"])
    assert (sent["sent"], sent["result"]["status"]) == ("bad:31", [422, 201])
    assert sent["result"]["response"]["data"]["state"] == "confirmed"
    assert sent["verdict"] == "the change turned 422 into 201"
    for name in ("plan", "sent"):
        assert told[name].tokens <= IDEAL[name] * FACTOR, told[name].text


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, shop: Shop, origin_ca: OriginCA) -> Path:
    """The root of a daemon that was killed, and its recorder with it, while a client waited for an answer."""
    root = tmp_path_factory.mktemp("killed") / "root"
    shop.reset()
    walk = bad_walk(shop.host)
    at = next(at for at, talk in enumerate(walk.talks) if talk.path.startswith(QUOTE))
    with Daemon(root, "--session", "crash", "--upstream-ca", str(origin_ca.pem)) as daemon:
        ca = Path(daemon.ready["caCert"])
        send(walk, walk.talks[:at], proxy=daemon.proxy, ca=ca)
        with shop.holding_quotes():
            waiting = asyncio.run(_cut_off(walk, at, daemon, ca, shop))
    assert waiting
    return root


async def _cut_off(walk: Any, at: int, daemon: Daemon, ca: Path, shop: Shop) -> bool:
    """Ask for the quote, kill everything while the shop thinks; return whether the client got no answer."""
    asked = asyncio.create_task(asyncio.to_thread(send, walk, [walk.talks[at]], proxy=daemon.proxy, ca=ca))
    assert await asyncio.to_thread(shop.asked_quote.wait, 30)
    daemon.process.send_signal(signal.SIGKILL)
    for pid in daemon.recorder_pids:
        os.kill(pid, signal.SIGKILL)
    (error,) = await asyncio.gather(asked, return_exceptions=True)
    return isinstance(error, Exception)


@pytest.mark.parametrize("era", ERAS)
def test_6_after_kill_9_the_next_call_tells_what_was_cut(killed: Path, era: str) -> None:
    async def conversation(call: Asker) -> Answer:
        return await call("proxy_session_recover", session_id="crash")

    answer = ask(killed, era, conversation)
    (found,) = answer.value["recovered"]
    assert (found["ended"], found["exchanges"], found["interrupted"], found["lostExchanges"]) == ("killed", 27, 1, 0)
    assert found["interruptedExchanges"]["rows"][0][:2] == [27, "GET /api/v2/shipping/quote"]
    assert found["resume"].startswith('proxy_start {"port":')
    assert answer.tokens <= IDEAL["recover"] * FACTOR, answer.text
