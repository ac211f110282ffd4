"""What the log holds when something ends: the recorder, its daemon, a session, the room on the disk."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from harness.bodies import body_for
from harness.clients import RawClient, request_bytes
from harness.origin import Origin
from harness.recorder import RecorderProcess
from wiretape.cli.demo.waiting import wait_until
from wiretape.log.format import FrameType
from wiretape.session.catalogue import Catalogue
from wiretape.session.manifest import read_manifest


def test_p1_every_answered_exchange_survives_a_sigkill(recorder: RecorderProcess, http_origin: Origin) -> None:
    paths = [f"/bytes/{size}" for size in range(40)]
    with RawClient.plain(recorder.address) as client:
        for path in paths:
            assert client.get(http_origin.url(path), host=http_origin.authority).status == 200
        recorder.kill()
    found = recorder.exchanges()
    assert [recorder.body(exchange) for exchange in found] == [body_for(p, int(p[7:])) for p in paths]


def test_p2_a_request_in_flight_survives_a_sigkill_with_what_had_arrived(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    with (
        http_origin.hold("/slow/2000") as hold,
        RawClient.plain(recorder.address) as client,
    ):
        client.send(request_bytes("GET", http_origin.url("/slow/2000"), host=http_origin.authority))
        hold.wait_reached()
        wait_until(lambda: recorder.frames(FrameType.RESPONSE_HEAD), what="the response's head in the log")
        recorder.kill()
    exchange = recorder.exchanges()[0]
    assert exchange.state == "interrupted"
    assert b"/slow/2000" in exchange.request.head
    assert exchange.response is not None
    assert exchange.response.head.startswith(b"HTTP/1.1 200")


def test_p5_a_successor_goes_on_with_new_numbers_in_a_new_segment(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    for _ in range(2):
        with RawClient.plain(recorder.address) as client:
            client.get(http_origin.url("/bytes/1"), host=http_origin.authority)
        recorder.kill()
        recorder.respawn()
        recorder.record()
    recorder.close()
    found = recorder.exchanges()
    assert [exchange.seq for exchange in found] == [1, 2]
    assert len(list((recorder.folder("one") / "log").glob("*.wlog"))) == 3


def test_the_log_says_what_the_session_is_called_and_how_it_is_recorded(root: Path) -> None:
    made = Catalogue(root).create("checkout", profile="preview", durability="always", max_disk=10**9)
    before = read_manifest(made.path, made.session_id)
    assert before is not None
    with RecorderProcess(root) as recorder:
        recorder.record_to(made.session_id, made.path)
    (made.path / "manifest.json").unlink()
    (summary,) = Catalogue(root).list()
    assert (summary.name, summary.profile, summary.durability) == ("checkout", "preview", "always")
    after = read_manifest(made.path, made.session_id)
    assert after is not None
    assert (after.created_ns, after.max_disk) == (before.created_ns, before.max_disk)


def test_an_exchange_belongs_to_the_session_in_which_it_began(recorder: RecorderProcess, http_origin: Origin) -> None:
    with http_origin.hold("/bytes/9") as hold, RawClient.plain(recorder.address) as client:
        client.send(request_bytes("GET", http_origin.url("/bytes/9"), host=http_origin.authority))
        hold.wait_reached()
        recorder.record("two")
        recorder.send(id="later", cmd="close", sessionId="20260101T000000-00000a")
        with RawClient.plain(recorder.address) as other:
            other.get(http_origin.url("/bytes/1"), host=http_origin.authority)
        hold.release()
        assert client.read_response().body == body_for("/bytes/9", 9)
    recorder.expect(number="later")
    assert [len(recorder.body(exchange)) for exchange in recorder.exchanges("one")] == [9]
    assert [len(recorder.body(exchange)) for exchange in recorder.exchanges("two")] == [1]


def test_p10_traffic_goes_on_when_the_log_cannot_grow_and_the_loss_is_counted(root: Path, http_origin: Origin) -> None:
    root.mkdir()
    with RecorderProcess(root, limits="ulimit -f 64; trap '' XFSZ") as process:
        process.record()
        with RawClient.plain(process.address) as client:
            for _ in range(60):
                answer = client.get(http_origin.url("/bytes/3000"), host=http_origin.authority)
                assert answer.body == body_for("/bytes/3000", 3000)
        process.close()
        whole = [exchange for exchange in process.exchanges() if exchange.state == "complete"]
        dropped = sum(frame.record().detail["exchanges"] for frame in process.frames(FrameType.EVENT))  # type: ignore[attr-defined]
    assert whole
    assert len(whole) + dropped == 60


def test_p10_a_session_s_cap_holds_also_for_a_body_that_began_below_it(root: Path, http_origin: Origin) -> None:
    root.mkdir()
    with RecorderProcess(root) as process:
        process.record(max_disk=1_000_000)
        with RawClient.plain(process.address) as client:
            target = http_origin.url("/bytes/3000000")
            assert client.get(target, host=http_origin.authority).body == body_for("/bytes/3000000", 3_000_000)
            for _ in range(50):
                assert client.get(http_origin.url("/bytes/5"), host=http_origin.authority).status == 200
        process.close()
        size = sum(path.stat().st_size for path in (process.folder("one") / "log").glob("*.wlog"))
        first = process.exchanges()[0]
        dropped = sum(frame.record().detail["exchanges"] for frame in process.frames(FrameType.EVENT))  # type: ignore[attr-defined]
    assert size <= 1_000_000
    assert first.done is not None
    assert first.done.response_recorded < first.done.response_size == 3_000_000
    assert dropped == 51


def test_p10_a_session_s_cap_holds_over_all_its_recorders(root: Path, http_origin: Origin) -> None:
    root.mkdir()
    cap, answered = 1_000_000, 0
    with RecorderProcess(root) as process:
        for _ in range(4):
            process.record(max_disk=cap)
            with RawClient.plain(process.address) as client:
                for _ in range(10):
                    target = http_origin.url("/bytes/30000")
                    answered += client.get(target, host=http_origin.authority).body == body_for("/bytes/30000", 30_000)
            process.kill()
            process.respawn()
        process.record(max_disk=cap)
        process.close()
        size = sum(path.stat().st_size for path in (process.folder("one") / "log").glob("*.wlog"))
        whole = [exchange for exchange in process.exchanges() if exchange.state == "complete"]
    assert answered == 40
    assert size <= cap
    assert 20 <= len(whole) < 40


@pytest.mark.parametrize("line", [b"{}\n", b"not json\n", b"[1]\n"])
def test_a_malformed_command_is_answered_and_the_recorder_goes_on(root: Path, line: bytes) -> None:
    root.mkdir()
    with RecorderProcess(root) as process:
        process.send_raw(line)
        process.expect(ok=False)
        assert process.stats()["inFlight"] == 0


def test_a_recorder_whose_daemon_is_gone_seals_its_session_and_ends(root: Path, http_origin: Origin) -> None:
    root.mkdir()
    with RecorderProcess(root) as process:
        process.record()
        with RawClient.plain(process.address) as client:
            client.get(http_origin.url("/bytes/1"), host=http_origin.authority)
        assert process.stop() == 0
        assert len(process.frames(FrameType.SEAL)) == 1


def test_p14_a_request_to_the_proxy_itself_is_refused_instead_of_looping(recorder: RecorderProcess) -> None:
    host, port = recorder.address
    with socket.create_connection((host, port), timeout=20) as sock:
        sock.sendall(f"GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        assert sock.recv(65536).startswith(b"HTTP/1.1 508")


def test_a_request_that_names_no_server_gets_a_hint(recorder: RecorderProcess) -> None:
    with RawClient.plain(recorder.address) as client:
        answer = client.get("/", host="127.0.0.1")
    assert answer.status == 400
    assert b"HTTP proxy" in answer.body
