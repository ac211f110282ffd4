"""Event streams: each piece goes on at once, once it is in the log, and the log has it while the stream runs."""

from __future__ import annotations

import socket
import threading

from harness.clients import TIMEOUT, RawClient, request_bytes
from harness.recorder import RecorderProcess, only
from wiretape.log import open_session

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_p1_an_event_reaches_the_client_before_the_next_is_sent_and_is_in_the_log_by_then(
    recorder: RecorderProcess,
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    go_on = threading.Semaphore(0)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(HEAD)
            for number in range(5):
                event = b"data: %d\n\n" % number
                connection.sendall(b"%x\r\n" % len(event) + event + b"\r\n")
                assert go_on.acquire(timeout=TIMEOUT)  # the client has it
            connection.sendall(b"0\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    authority = f"127.0.0.1:{listener.getsockname()[1]}"
    seen = b""
    with RawClient.plain(recorder.address) as client:
        client.send(request_bytes("GET", f"http://{authority}/events", host=authority))
        for number in range(5):
            event = b"data: %d\n\n" % number
            while event not in seen:
                seen += client.read_exactly(1)
            (running,) = open_session(recorder.folder("one"))
            assert running.state == "inFlight"
            assert running.response is not None
            assert running.response.body.read() == b"".join(b"data: %d\n\n" % each for each in range(number + 1))
            go_on.release()
        assert client.read_exactly(7).endswith(b"0\r\n\r\n")
    thread.join(TIMEOUT)
    listener.close()
    assert only(recorder).state == "complete"
