"""A server may answer before it has read the request (RFC 9112 section 9.3): no byte goes where it does not belong.

The rest of the body is sent before the connection is used again, or the connection is closed; and the record of a
request says that it was whole only if the server was given all of it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import ssl
import threading
from collections.abc import Iterator

import pytest

from harness.bodies import body_for
from harness.checking_origin import CheckingOrigin
from harness.clients import TIMEOUT, RawClient, chunked_bytes, request_bytes
from harness.recorder import RecorderProcess, done_count, only
from tests.recorder.conftest import Recording
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.waiting import wait_until
from wiretape.log import Exchange

SIZE = 100_000


@pytest.fixture(params=["http", "https"])
def origin(request: pytest.FixtureRequest, origin_ca: OriginCA) -> Iterator[CheckingOrigin]:
    tls = origin_ca.issue().server_context() if request.param == "https" else None
    with CheckingOrigin(tls) as server:
        yield server


def connect(recorder: RecorderProcess, origin: CheckingOrigin) -> RawClient:
    if origin.authority.startswith("127"):
        return RawClient.plain(recorder.address)
    context = ssl.create_default_context(cafile=str(recorder.root / "ca" / "ca.pem"))
    return RawClient.tunnel(recorder.address, "localhost", origin.port, tls=context)


def upload(
    origin: CheckingOrigin, when: str, name: str, size: int = SIZE, *, chunked: bool = False
) -> tuple[bytes, bytes]:
    """Return the head and the body of a request, as they are sent."""
    prefix = "http://" + origin.authority if origin.authority.startswith("127") else ""
    target = f"{prefix}/{when}/{name}/{size}"
    body = body_for(name, size)
    framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(size))
    head = request_bytes("POST", target, host=origin.authority, headers=[framing])
    return head, chunked_bytes([body[at : at + 7000] for at in range(0, size, 7000)]) if chunked else body


@contextlib.contextmanager
def stopped(recorder: RecorderProcess) -> Iterator[None]:
    """Stop the recorder, so that what happens meanwhile is all there at once when it goes on."""
    os.kill(recorder.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(recorder.process.pid, signal.SIGCONT)


def says_whole(exchange: Exchange) -> bool:
    """Return whether the record claims that the server was given the whole request."""
    return exchange.done is not None and exchange.state == "complete" and not exchange.done.error_code


def assert_true(recorder: RecorderProcess, origin: CheckingOrigin, exchange: Exchange) -> None:
    """Hold the record of an exchange against what its client sent and its server got."""
    line = exchange.request.head.split(b" ")[1].decode()
    name, size = line.split("/")[-2], int(line.split("/")[-1])
    recorded = recorder.body(exchange, "request")
    assert body_for(name, size).startswith(recorded)
    assert origin.arrival(name).size <= len(recorded)
    if says_whole(exchange):
        wait_until(lambda: origin.arrival(name).whole, what=f"all of {name}, which is recorded as sent")
        assert origin.arrival(name).size == len(recorded) == size


@pytest.mark.parametrize("durability", ["group", "always"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_p14_the_end_of_a_body_that_was_answered_early_comes_before_the_next_request(
    recording: Recording, origin: CheckingOrigin, chunked: bool, durability: str
) -> None:
    with recording("uvloop") as recorder:
        recorder.record(durability=durability)
        head, body = upload(origin, "half", "first", chunked=chunked)
        with connect(recorder, origin) as first, connect(recorder, origin) as second:
            first.send(head + body[: SIZE // 3])
            wait_until(lambda: origin.arrival("first").size > SIZE // 4, what="the beginning of the body")
            with stopped(recorder):  # the end of the body, and the answer to its beginning, in one turn of the loop
                first.send(body[SIZE // 3 :])
            assert first.read_response("POST").body == b"first"
            second.send(b"".join(upload(origin, "after", "second", chunked=chunked)))
            assert second.read_response("POST").body == b"second"
        assert origin.strangers == []
        for exchange in done_count(recorder, 2):
            assert_true(recorder, origin, exchange)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("when", ["early", "half"])
def test_p14_no_byte_of_one_exchange_reaches_another_when_a_server_answers_early(
    recorder: RecorderProcess, origin: CheckingOrigin, when: str, chunked: bool
) -> None:
    count, wrong = 10, []

    def work(number: int) -> None:
        client = connect(recorder, origin)
        for turn in range(count):
            name = f"{number}-{turn}"
            with contextlib.suppress(ConnectionError, ssl.SSLError):  # closed while it sends: the answer is there
                client.send(b"".join(upload(origin, when, name, chunked=chunked)))
            answer = client.read_response("POST")
            if (answer.status, answer.body) != (200, name.encode()):
                wrong.append(answer)
            if answer.header("Connection") == "close":
                client.close()
                client = connect(recorder, origin)
        client.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert origin.strangers == []
    assert wrong == []
    found = done_count(recorder, 3 * count)
    assert len(found) == 3 * count
    for exchange in found:
        assert_true(recorder, origin, exchange)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_p14_a_request_that_follows_an_early_answer_on_the_clients_connection_stays_a_request(
    recorder: RecorderProcess, origin: CheckingOrigin, chunked: bool
) -> None:
    head, body = upload(origin, "half", "first", chunked=chunked)
    with connect(recorder, origin) as client:
        client.send(head + body[: SIZE // 3])
        wait_until(lambda: origin.arrival("first").size > SIZE // 4, what="the beginning of the body")
        with stopped(recorder):
            client.send(body[SIZE // 3 :] + b"".join(upload(origin, "after", "second", 10)))
        first = client.read_response("POST")
        assert first.body == b"first"
        if first.header("Connection") == "close":
            assert client.at_end()
        else:
            assert client.read_response("POST").body == b"second"
    assert origin.strangers == []
    for exchange in recorder.exchanges():
        assert_true(recorder, origin, exchange)


@pytest.mark.parametrize("when", ["after", "early", "half"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_p14_an_upload_that_its_client_gives_up_ends_its_connection_to_the_server(
    recorder: RecorderProcess, origin: CheckingOrigin, when: str, chunked: bool
) -> None:
    head, body = upload(origin, when, "given-up", chunked=chunked)
    with connect(recorder, origin) as client:
        client.send(head + body[: SIZE // 3])
        if when == "early":
            assert client.read_response("POST").body == b"given-up"
        else:
            wait_until(lambda: origin.arrival("given-up").size > SIZE // 4, what="the beginning of the body")
    with connect(recorder, origin) as client:
        client.send(b"".join(upload(origin, "after", "next", chunked=chunked)))
        assert client.read_response("POST").body == b"next"
    assert origin.strangers == []
    assert not origin.arrival("given-up").whole
    first, second = done_count(recorder, 2)
    assert not says_whole(first)
    assert says_whole(second)
    assert_true(recorder, origin, first)
    assert_true(recorder, origin, second)


def test_p14_an_answer_to_a_head_alone_does_not_claim_that_the_body_arrived(
    recorder: RecorderProcess, origin: CheckingOrigin
) -> None:
    head, body = upload(origin, "held", "unread")
    with connect(recorder, origin) as client:
        client.send(head + body[:1000])
        answer = client.read_response("POST")
        assert answer.body == b"unread"
        assert answer.header("Connection") == "close"
    exchange = only(recorder)
    assert not says_whole(exchange)
    assert exchange.done is not None
    assert exchange.done.status == 200
    origin.go_on.set()
    with connect(recorder, origin) as client:
        client.send(b"".join(upload(origin, "after", "next", 10)))
        assert client.read_response("POST").body == b"next"
    assert origin.strangers == []


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_p14_a_body_that_was_never_sent_is_not_made_of_the_next_request(
    recorder: RecorderProcess, origin: CheckingOrigin, chunked: bool
) -> None:
    """A client that asked whether it should send the body, and was answered otherwise, has none to send."""
    head, _ = upload(origin, "early", "unsent", chunked=chunked)
    with connect(recorder, origin) as client:
        client.send(head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        answer = client.read_response("POST")
        assert (answer.status, answer.body) == (200, b"unsent")
        with contextlib.suppress(OSError):  # it may have been told to go, and be gone
            client.send(b"".join(upload(origin, "after", "next", 10)))
        if answer.header("Connection") == "close":
            assert client.at_end()
        else:
            assert client.read_response("POST").body == b"next"
    with connect(recorder, origin) as client:
        client.send(b"".join(upload(origin, "after", "third", 10)))
        assert client.read_response("POST").body == b"third"
    assert origin.strangers == []
    assert origin.arrival("unsent").size == 0
    assert not says_whole(done_count(recorder, 2)[0])


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_an_answer_that_was_given_before_the_upload_failed_reaches_client_and_log(
    recorder: RecorderProcess, origin: CheckingOrigin, chunked: bool
) -> None:
    for attempt in range(4):
        name = f"big{attempt}"
        with connect(recorder, origin) as client:
            answer = send_while_reading(client, b"".join(upload(origin, "refuse", name, 8_000_000, chunked=chunked)))
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.endswith(f"\r\n\r\n{name}".encode())
        exchange = done_count(recorder, attempt + 1)[-1]
        assert exchange.done is not None
        assert exchange.done.status == 413
        assert not says_whole(exchange)
        assert recorder.body(exchange) == name.encode()


def send_while_reading(client: RawClient, data: bytes) -> bytes:
    """Send, and read meanwhile, as clients with large uploads do; return what came until nothing more could be sent.

    In one thread: two may not use one TLS connection at the same time.
    """
    not_now = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
    sock, answer, at = client.sock, b"", 0
    sock.setblocking(False)
    while b"\r\n\r\n" not in answer:
        select.select([sock], [sock] if at < len(data) else [], [], TIMEOUT)
        try:
            at += sock.send(data[at : at + 65536])
        except not_now:
            pass
        except OSError:
            at = len(data)
        with contextlib.suppress(*not_now):
            piece = sock.recv(65536)
            if not piece:
                break
            answer += piece
    return answer
