"""What an awkward or hostile client, server or disk does to the recorder, and what has to come of it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.clients import RawClient, request_bytes
from harness.origin import Origin
from harness.recorder import RecorderProcess
from tests.recorder.test_session_stream import ME, make
from tests.support.failing_files import FailingFiles
from wiretape.cli.demo.waiting import DEADLINE, wait_until
from wiretape.errors import DaemonError
from wiretape.log.format import BodyChunk, FrameType
from wiretape.log.items import Frame
from wiretape.log.scan import scan_segment
from wiretape.log.store import list_segments
from wiretape.log.stream_writer import StreamWriter

Serve = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(serve: Serve) -> Iterator[int]:
    """Run ``serve`` for each connection to the port that is given; it does on the bare socket what it likes."""
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            sock.settimeout(DEADLINE)
            threading.Thread(target=run, args=(sock,), daemon=True).start()

    def run(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            serve(sock)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(DEADLINE)


def read_until(sock: socket.socket, end: bytes) -> bytes:
    """Read until ``end`` has been seen, or the end of the stream."""
    data = b""
    while end not in data:
        piece = sock.recv(65536)
        if not piece:
            break
        data += piece
    return data


def drained(recorder: RecorderProcess) -> bool:
    """Say whether no exchange is in flight any more."""
    return bool(recorder.stats()["inFlight"] == 0)


def connect(recorder: RecorderProcess, port: int) -> RawClient:
    """Give a connection on which CONNECT to ``port`` was answered."""
    return RawClient.tunnel(recorder.address, "127.0.0.1", port)


@pytest.mark.parametrize("attempt", range(3))
def test_a_tunnel_carries_a_protocol_in_which_the_server_speaks_first(recorder: RecorderProcess, attempt: int) -> None:
    def greet(sock: socket.socket) -> None:
        sock.sendall(b"SSH-2.0-server\r\n")
        sock.sendall(read_until(sock, b"\n"))

    with server(greet) as port, connect(recorder, port) as client:
        assert client.read_exactly(16) == b"SSH-2.0-server\r\n"
        client.send(b"hello %d\n" % attempt)
        assert client.read_exactly(8) == b"hello %d\n" % attempt
    wait_until(lambda: drained(recorder), what="the tunnel's end")


def test_a_tunnel_carries_a_protocol_in_which_the_client_speaks_first(recorder: RecorderProcess) -> None:
    def echo(sock: socket.socket) -> None:
        while data := sock.recv(65536):
            sock.sendall(data)

    with server(echo) as port, connect(recorder, port) as client:
        client.send(b"\x00\x01\x02 not HTTP\r\n\r\n")
        assert client.read_exactly(15) == b"\x00\x01\x02 not HTTP\r\n\r\n"[:15]
    wait_until(lambda: drained(recorder), what="the tunnel's end")


def test_a_server_that_hangs_up_a_new_tunnel_ends_it(recorder: RecorderProcess) -> None:
    with server(lambda sock: None) as port, connect(recorder, port) as client:
        client.send(b"\x00\x01\x02\x03")
        assert client.at_end()
    wait_until(lambda: drained(recorder), what="the tunnel's end")


def test_a_streamed_put_on_a_dead_pooled_connection_is_answered(recorder: RecorderProcess) -> None:
    served = threading.Event()

    def once(sock: socket.socket) -> None:
        request = read_until(sock, b"\r\n\r\n")
        if request.startswith(b"GET"):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            read_until(sock, b"body")  # the PUT comes on the kept connection, which dies on it
            return
        served.set()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with server(once) as port, RawClient.plain(recorder.address) as client:
        host = f"127.0.0.1:{port}"
        assert client.get(f"http://{host}/", host=host).status == 200
        head = request_bytes("PUT", f"http://{host}/", host=host, headers=[("Content-Length", "4")])
        client.send(head)
        wait_until(lambda: len(recorder.frames(FrameType.OPENED)) == 2, what="the PUT in the log")
        client.send(b"body")
        assert client.read_response().status in (200, 502)
    wait_until(lambda: drained(recorder), what="both exchanges' end")


def test_p2_nothing_is_recorded_for_an_exchange_behind_its_end(recorder: RecorderProcess) -> None:
    """The server answers an upload before it is whole, while more of it is coming."""

    def refuse(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        while sock.recv(65536):
            pass

    recorder.record("two", durability="always")
    with server(refuse) as port:
        host = f"127.0.0.1:{port}"
        head = request_bytes("POST", f"http://{host}/", host=host, headers=[("Content-Length", str(1 << 40))])
        for _ in range(10):
            with RawClient.plain(recorder.address) as client, contextlib.suppress(OSError):
                client.send(head)
                while True:
                    client.send(b"x" * 4096)
    wait_until(lambda: drained(recorder), what="the exchanges' end")
    ended: set[int] = set()
    for frame in every_frame(recorder, "two"):
        assert frame[1] not in ended, f"a frame of kind {frame[0]} behind the end of exchange {frame[1]}"
        if frame[0] == FrameType.DONE:
            ended.add(frame[1])
    assert ended


def every_frame(recorder: RecorderProcess, name: str) -> list[tuple[int, int]]:
    """Give (kind, seq) of all frames of exchanges, in the order of the log."""
    kinds = (FrameType.OPENED, FrameType.REQUEST_BODY, FrameType.RESPONSE_HEAD, FrameType.RESPONSE_BODY, FrameType.DONE)
    return [(frame.kind, frame.seq) for frame in recorder.frames(kinds, name)]


def resident(recorder: RecorderProcess) -> int:
    """Give the recorder's resident memory in MiB."""
    pages = int(Path(f"/proc/{recorder.process.pid}/statm").read_text().split()[1])
    return pages * 4096 >> 20


def test_p8_a_client_that_sends_requests_and_reads_nothing_is_held_back(
    new_recorder: RecorderProcess, http_origin: Origin
) -> None:
    recorder = new_recorder  # memory that earlier tests have left would hide what this one takes
    before = resident(recorder)
    request = request_bytes("GET", http_origin.url("/bytes/100000"), host=http_origin.authority)
    with RawClient.plain(recorder.address, timeout=1.0) as client:
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 3000:
                client.send(request)
                sent += 1
                if sent % 100 == 0 and resident(recorder) - before > 64:
                    break
        wait_until(
            lambda: settled(recorder) or resident(recorder) - before > 64, what="the recorder to stop", interval=0.2
        )
        assert resident(recorder) - before < 64
        client.sock.settimeout(DEADLINE)
        for _ in range(50):
            assert len(client.read_response().body) == 100_000


def settled(recorder: RecorderProcess) -> bool:
    """Say whether the recorder begins no more exchanges."""
    count = recorder.stats()["exchanges"]
    with contextlib.suppress(DaemonError):
        wait_until(lambda: recorder.stats()["exchanges"] != count, what="another exchange", timeout=0.5)
        return False
    return True


def test_p1_frames_gathered_while_an_fsync_fails_are_in_their_own_segment(tmp_path: Path) -> None:
    files = FailingFiles()
    writer = StreamWriter(tmp_path, ME, clock_ns=lambda: 1, next_number=1, next_seq=1, files=files)
    writer.append(FrameType.REQUEST_BODY, 1, BodyChunk(0), b"gathered")
    assert writer.rewrite_unsynced()
    writer.close()
    items = [item for ref in list_segments(tmp_path) for item in scan_segment(ref.path)]
    assert all(isinstance(item, Frame) for item in items), items
    assert sum(1 for item in items if isinstance(item, Frame) and item.kind == FrameType.REQUEST_BODY) == 2


def test_p4_a_frame_gathered_while_the_disk_was_full_does_not_open_the_next_segment(tmp_path: Path) -> None:
    files = FailingFiles()
    writer = StreamWriter(tmp_path, ME, clock_ns=lambda: 1, next_number=1, next_seq=1, files=files)
    files.room = 0
    writer.append(FrameType.REQUEST_BODY, 1, BodyChunk(0), b"lost")
    assert not writer.flush()
    writer.append(FrameType.EVENT, 0, BodyChunk(0), b"stale")
    files.room = None
    assert writer.begin_new_segment()
    writer.close()
    newest = list(list_segments(tmp_path))[-1]
    items = list(scan_segment(newest.path))
    assert all(isinstance(item, Frame) for item in items), items


def test_p9_without_a_descriptor_to_sync_with_traffic_goes_on_and_the_sync_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        files = FailingFiles()
        stream = make(tmp_path, files, durability="always")
        real, failures = os.dup, [OSError(errno.EMFILE, "too many open files")]
        monkeypatch.setattr(os, "dup", lambda fd: real(fd) if not failures else raise_(failures.pop()))
        plain, durable = asyncio.Event(), asyncio.Event()
        stream.append(FrameType.REQUEST_BODY, 1, BodyChunk(0), b"x")
        stream.release(lambda event: event.set(), plain)
        stream.release_last(lambda event: event.set(), durable)
        await asyncio.wait_for(plain.wait(), DEADLINE)
        await asyncio.wait_for(durable.wait(), DEADLINE)
        assert not failures
        assert files.synced
        stream.close()

    asyncio.run(run())


def raise_(error: OSError) -> int:
    """Raise ``error``."""
    raise error
