"""Known attacks by HTTP/2 against the recorder (P8): each ends its own connection, costs little, harms nobody else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.h2_peers import H2Client, H2Origin
from harness.recorder import RecorderProcess
from tests.recorder.conftest import Recording
from tests.recorder.test_h2 import connect
from tests.wire.test_h2_engines import GET, PING, block, frame, literal
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.waiting import wait_until
from wiretape.wire.h2 import Limits

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def origin(origin_ca: OriginCA) -> Iterator[H2Origin]:
    with H2Origin(origin_ca.issue().server_context(alpn=("h2",))) as server:
        yield server


@pytest.fixture
def recorder(recording: Recording) -> Iterator[RecorderProcess]:
    with recording("uvloop") as process:
        process.record()
        yield process


@pytest.fixture
def attacker(recorder: RecorderProcess, origin: H2Origin) -> Iterator[H2Client]:
    with connect(recorder, origin.port) as client:
        yield client


def memory(recorder: RecorderProcess) -> int:
    """Return the recorder's resident bytes."""
    return int(Path(f"/proc/{recorder.process.pid}/statm").read_text().split()[1]) * 4096


@pytest.fixture(autouse=True)
def nobody_else_is_harmed(recorder: RecorderProcess, origin: H2Origin) -> Iterator[None]:
    """Have another client served before and after, and little memory taken."""
    with connect(recorder, origin.port) as client:
        assert client.get("/bytes/10").status == 200
        before = memory(recorder)
        yield
        assert client.get("/bytes/10").status == 200
    assert memory(recorder) - before < 100 * MIB


def send(client: H2Client, data: bytes) -> None:
    """Send frames as they are, until the other side has had enough."""
    with contextlib.suppress(OSError):
        client.sock.sendall(data)


def ended(client: H2Client, *, says: int | None) -> None:
    """Wait for the end of the attacker's connection, and for the GOAWAY before it where one is to be had."""
    with contextlib.suppress(OSError):
        client.read_to_end()
    if says is not None:
        assert client.goaway == says


Refused = Callable[[], None]


@pytest.fixture
def refused(recorder: RecorderProcess) -> Refused:
    """Waits for the event that says why a client was turned away."""
    before = recorder.stats()["refused"]

    def wait() -> None:
        wait_until(lambda: recorder.stats()["refused"] > before, what="the event that says why")

    return wait


def test_rapid_reset(refused: Refused, origin: H2Origin, attacker: H2Client) -> None:
    """CVE-2023-44487: streams that are opened and reset at once cost a server work for nothing."""
    head = block(*GET[:2], (b":authority", attacker.authority.encode()), (b":path", b"/bytes/1"))
    asked = len(origin.requests)
    for start in range(1, 20_000, 2_000):
        streams = range(start, start + 2_000, 2)
        send(attacker, b"".join(frame(1, 5, at, head) + frame(3, 0, at, b"\0\0\0\x08") for at in streams))
    ended(attacker, says=None)
    refused()
    assert len(origin.requests) - asked < 100  # what is broken off in the same breath never reaches the server


def test_a_flood_of_continuation_frames(refused: Refused, attacker: H2Client) -> None:
    """CVE-2024-27316: a head that never ends."""
    send(attacker, frame(1, 1, 1, block(*GET)) + frame(9, 0, 1, literal(b"a", b"b" * 1000)) * 5_000)
    ended(attacker, says=None)
    refused()


def test_an_hpack_bomb(refused: Refused, attacker: H2Client) -> None:
    """CVE-2016-6581: a few bytes that unpack to megabytes."""
    bomb = block(*GET) + b"\x40" + literal(b"bomb", b"x" * 4000)[1:]
    send(attacker, frame(1, 5, 1, bomb) + b"".join(frame(1, 5, at, b"\xbe" * 16_000) for at in range(3, 99, 2)))
    ended(attacker, says=None)
    refused()


@pytest.mark.parametrize("what", [PING, frame(4, 0, 0, b"\x00\x01\x00\x00\x10\x00")], ids=["PING", "SETTINGS"])
def test_a_flood_of_questions_whose_answers_nobody_reads(refused: Refused, attacker: H2Client, what: bytes) -> None:
    """CVE-2019-9512 and CVE-2019-9515."""
    attacker.sock.settimeout(5)
    for _ in range(200):
        send(attacker, what * 5_000)
    ended(attacker, says=None)
    refused()


def test_answers_into_a_window_of_nothing(recorder: RecorderProcess, origin: H2Origin, attacker: H2Client) -> None:
    """CVE-2019-9511 and CVE-2019-9517: big answers are asked for and none is let through."""
    with connect(recorder, origin.port, window=0) as client:
        client.reading = False
        streams = [client.send("GET", "/bytes/2000000") for _ in range(100)]
        wait_until(lambda: recorder.stats()["inFlight"] >= 100, what="the requests")
        assert client.get("/bytes/0").status == 200  # an answer without a body needs no window
        for stream in streams:
            client.connection.reset_stream(stream, 8)
        client.flush()
    wait_until(lambda: recorder.stats()["inFlight"] == 0, what="the exchanges to end")


def test_more_streams_than_are_allowed(recorder: RecorderProcess, origin: H2Origin, attacker: H2Client) -> None:
    allowed = Limits().streams
    origin.on("/never", lambda wire, request: None)
    head = block(*GET[:2], (b":authority", attacker.authority.encode()), (b":path", b"/never"))
    send(attacker, b"".join(frame(1, 5, at, head) for at in range(1, 2 * (allowed + 50), 2)))
    wait_until(lambda: recorder.stats()["inFlight"] >= allowed, what="the streams that are allowed")
    assert recorder.stats()["inFlight"] == allowed


def test_a_head_above_the_limit(refused: Refused, attacker: H2Client) -> None:
    stream = attacker.connection.get_next_available_stream_id()
    attacker.connection.send_headers(
        stream, attacker.head("GET", "/", [(b"a%d" % at, b"x" * 3000) for at in range(100)])
    )
    attacker.flush()
    ended(attacker, says=11)  # ENHANCE_YOUR_CALM
    refused()


def test_a_head_of_a_hundred_thousand_bytes_passes(attacker: H2Client) -> None:
    answer = attacker.get("/bytes/10", [(b"a%d" % at, b"x" * 3300) for at in range(30)])
    assert answer.status == 200
