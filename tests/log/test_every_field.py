"""Every kind, flag and field of the format has a reader and a writer, or FORMAT.md says that it is reserved."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.clients import RawClient, chunked_bytes
from harness.h2_peers import H2Origin
from harness.origin import Origin
from harness.recorder import RecorderProcess
from harness.web_sockets import RawPeer, raw_socket
from tests.log.test_format import document
from tests.recorder.test_h2 import connect
from wiretape.cli.demo.certificates import OriginCA
from wiretape.log import open_session
from wiretape.log.format import (
    RECORDS,
    BodyChunk,
    Done,
    DoneFlag,
    EndState,
    Event,
    Flag,
    FrameType,
    Marked,
    MessageSeen,
    Opened,
    Record,
    ResponseBegun,
    Seal,
    SegmentHead,
    SentOn,
    TlsSeen,
    TrailersSeen,
)
from wiretape.log.frames import encode_frame
from wiretape.model import to_json
from wiretape.session.manifest import read_manifest
from wiretape.session.messages import MessageLog
from wiretape.session.session import Session

SESSION = "20260101T000000-00000a"
SALT = 99
REQUEST = b"POST /path HTTP/1.1\r\nHost: example.com\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
SENT = b"PUT https://other.example/path HTTP/1.1\r\nHost: other.example\r\nContent-Length: 6\r\n\r\n"
GOT = b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
PACKED = b"\xcaH\xcd\xc9\xc9\x07\x00"  # hello
HELLO = b"\x02\x00\x00\x2c\x03\x03" + bytes(33) + b"\x13\x02\x00" + b"\x00\x04\x00\x2b\x00\x00"
EARLY = b"HTTP/1.1 103 Early Hints\r\n\r\n"

Frames = list[tuple[FrameType, int, Record, bytes, int]]


def frames() -> Frames:
    """Return a log with every kind of frame that is written."""
    ns = 1_767_225_600_000_000_000
    opened = Opened(ns, 5, "https", "example.com", 443, "127.0.0.1:5000", len(REQUEST), "connect", accepted_at="::1:1")
    done = Done(
        9_000_000,
        EndState.COMPLETE,
        200,
        0,
        6,
        6,
        6,
        6,
        0xB91EDB7D,
        0xB91EDB7D,
        dns_ns=1_000_000,
        connect_ns=2_000_000,
        tls_ns=3_000_000,
        send_ns=4_000_000,
        wait_ns=5_000_000,
        receive_ns=6_000_000,
        server="127.0.0.1:443",
        upstream_connection=6,
        error_code="code",
        error="error",
        flags=7,
        sent_from="127.0.0.1:6000",
    )
    whole = Done(9_000_000, EndState.COMPLETE, 200, len(RESPONSE), 0, 6, 0, 6, 0, 0xB91EDB7D)
    dropped = {"exchanges": 1, "partial": [4], "fromTs": 1, "toTs": 2, "reason": "a disk"}
    return [
        (FrameType.SEGMENT, 0, SegmentHead(SESSION, 0, 1, 1, 1, ns, 7, 42, "boot", "program"), b"", 0),
        (FrameType.TLS, 0, tls("client", 5), b"hello", 0),
        (FrameType.TLS, 0, tls("server", 6), b"chain", 0),
        (FrameType.OPENED, 1, opened, REQUEST, 0),
        (FrameType.REQUEST_BODY, 1, BodyChunk(0, 1), b"123456", 0),
        (FrameType.TRAILERS, 1, TrailersSeen(1), b"X-One: 1\r\n", 0),
        (FrameType.SENT, 1, SentOn(5, "rule_1", len(SENT), 0, "request", "why", "note"), SENT + b"123", 0),
        (FrameType.SENT, 1, SentOn(5, "rule_1", 0, 3, "request", "why", "note"), b"456", Flag.LAST),
        (FrameType.RESPONSE_HEAD, 1, ResponseBegun(10, 103, len(EARLY)), EARLY, Flag.INTERIM),
        (FrameType.RESPONSE_HEAD, 1, ResponseBegun(20, 200, len(RESPONSE)), RESPONSE, 0),
        (FrameType.RESPONSE_BODY, 1, BodyChunk(0, 2), b"123456", 0),
        (FrameType.TRAILERS, 1, TrailersSeen(1), b"X-Two: 2\r\n", Flag.RESPONSE),
        (
            FrameType.SENT,
            1,
            SentOn(499, "rule_2", len(GOT), 0, "response"),
            GOT,
            Flag.RESPONSE | Flag.LAST | Flag.SAME_BODY,
        ),
        (FrameType.DONE, 1, done, b"", 0),
        (FrameType.OPENED, 2, opened, REQUEST + b"more", Flag.REQUEST_COMPLETE),
        (FrameType.DONE, 2, whole, RESPONSE + b"123456", Flag.HAS_RESPONSE),
        (FrameType.OPENED, 3, opened, REQUEST, 0),
        (FrameType.RESPONSE_HEAD, 3, ResponseBegun(20, 0, 7), b"garbage", Flag.UNPARSED),
        (FrameType.EVENT, 0, Event(ns + 10, "dropped", dropped), b"", 0),
        (FrameType.MARKED, 4, Marked(ns + 10, "label"), b"", 0),
        (FrameType.SEAL, 0, Seal(ns + 10_000_000_000, 19, 3, 2, 1, 6), b"", 0),
        (FrameType.SEGMENT, 0, SegmentHead(SESSION, 0, 1, 2, 6, ns, 7, 42, "boot", "program"), b"", 0),
        (FrameType.OPENED, 7, opened, REQUEST, Flag.REQUEST_COMPLETE),
        (FrameType.RESPONSE_HEAD, 7, ResponseBegun(20, 101, len(UPGRADED)), UPGRADED, 0),
        (FrameType.MESSAGE, 7, MessageSeen(30, 1, 1, "", 4, 0, 0, "fault"), b"te", 0),
        (FrameType.MESSAGE, 7, MessageSeen(30, 1, 1, "", 4, 2), b"xt", Flag.LAST),
        (FrameType.MESSAGE, 7, MessageSeen(40, 1, 1, "", 7, 0, 0x40), PACKED, Flag.LAST | Flag.RESPONSE),
        (FrameType.DONE, 7, msgspec.structs.replace(done, messages=2), b"", 0),
        (FrameType.SEAL, 0, Seal(ns + 20_000_000_000, 6, 1, 1, 6, 8), b"", Flag.FINAL),
    ]


def unsealed() -> Frames:
    """Give the log as a kill in the middle of its first segment leaves it."""
    parts = frames()
    seals = [number for number, part in enumerate(parts) if part[0] == FrameType.SEAL]
    return [*parts[: seals[0]], *parts[seals[0] + 1 :]]


def tls(side: str, connection: int) -> TlsSeen:
    hello = HELLO if side == "server" else b""
    return TlsSeen(1, connection, side, "host", 443, "sni", "h1", "TLSv1.3", "cipher", "code", "error", "ok", 2, hello)


def written(folder: Path, parts: Frames) -> Path:
    """Write the log of a session."""
    segments: list[bytes] = []
    for kind, seq, record, data, flags in parts:
        if kind == FrameType.SEGMENT:
            segments.append(b"")
        head, salt = msgspec.msgpack.encode(record), SALT + len(segments)
        segments[-1] += encode_frame(kind, flags, len(segments[-1]), seq, salt, head, data)
    log = folder / SESSION / "log"
    log.mkdir(parents=True)
    for number, content in enumerate(segments, 1):
        (log / f"0-{number:08d}.wlog").write_bytes(content)
    return folder / SESSION


def told(path: Path) -> list[Any]:
    """Give all that readers say of a log."""
    log = open_session(path)
    said: list[Any] = [log.session_id]
    for exchange in log:
        request, response = exchange.request, exchange.response
        said += [exchange.seq, exchange.state, exchange.opened, exchange.done, exchange.notes, request.url]
        said += [request.head, request.trailers, list(request.body.parts()), request.body.size]
        if response is not None:
            said += [response.head, response.interim, response.trailers, response.status]
            said += [list(response.body.parts()), response.body.size, response.elapsed_ns]
    said.append(log.report)
    with Session(path, SESSION) as session:
        said += [to_json(session.verify(deep=True)), to_json(session.summary()), to_json(session.query())]
        said.append(session.marks())
        said += [to_json(session.exchange(item.seq)) for item in session.query().items]
        said += list(MessageLog(session.index).of(7))
        said += [to_json(session.recover()), read_manifest(path, SESSION)]
    return said


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    """What readers say of the log, and of it unsealed."""
    return [told(written(tmp_path_factory.mktemp("unchanged"), log)) for log in (frames(), unsealed())]


def other(name: str, value: Any) -> Any:
    """Give another value of the same type; times of day are told in milliseconds."""
    if name == "reserved":
        return value ^ 0x40
    if isinstance(value, int):
        return value + (5_000_000 if name == "wall_ns" else 1)
    if isinstance(value, str):  # as long as before: a log's size is told, too
        return value[:-1] + ("y" if value[-1:] == "x" else "x")
    if isinstance(value, bytes):
        return value[:-1] + b"\x01" if value else value
    return {**value, "exchanges": 3}


def reserved() -> set[str]:
    """Give what FORMAT.md says is reserved, as ``KIND``, ``KIND.field`` or the name of a flag."""
    section = document().split("\n### Reserved\n", 1)[1].split("\n## ", 1)[0]
    table = re.findall(r"^\| (.*?) \| (.*?) \|", section, re.MULTILINE)[1:]
    return {name.strip().strip("`") for names, _ in table for name in names.split(",")}


def fields() -> Iterator[tuple[FrameType, str]]:
    for kind, record in RECORDS.items():
        for field in msgspec.structs.fields(record):
            yield kind, field.name


WRITTEN = [(kind, name) for kind, name in fields() if not {kind.name, f"{kind.name}.{name}"} & reserved()]


def follow_rules(recorder: RecorderProcess) -> None:
    """Have a body changed, and another one left because there is no JSON in it."""
    longer = {"replaceBody": [{"find": "x", "replaceWith": "y", "all": True}]}
    rules = [
        {"id": "rule_1", "description": "why", "handler": {"type": "passthrough", "transformRequest": longer}},
        {"id": "rule_2", "handler": {"type": "passthrough", "transformResponse": {"jsonSet": {"/a": 1}}}},
    ]
    recorder.ask("rules", rules=rules)


@pytest.mark.parametrize(("kind", "name"), WRITTEN, ids=lambda value: getattr(value, "name", value))
def test_each_field_that_is_not_reserved_has_a_reader(
    kind: FrameType, name: str, unchanged: list[list[Any]], tmp_path: Path
) -> None:
    for variant, (log, before) in enumerate(zip((frames(), unsealed()), unchanged, strict=True)):
        for number, part in enumerate(log):
            if part[0] == kind:
                changed = msgspec.structs.replace(part[2], **{name: other(name, getattr(part[2], name))})
                parts = [*log[:number], (part[0], part[1], changed, *part[3:]), *log[number + 1 :]]
                if told(written(tmp_path / f"{variant}-{number}", parts)) != before:
                    return
    pytest.fail(f"nobody reads {name} of {kind.name}")


@pytest.mark.parametrize("flag", [name for name in vars(Flag) if name.isupper() and name not in reserved()])
def test_each_flag_that_is_not_reserved_has_a_reader(flag: str, unchanged: list[list[Any]], tmp_path: Path) -> None:
    for number, part in enumerate(frames()):
        parts = [*frames()[:number], (*part[:4], part[4] ^ getattr(Flag, flag)), *frames()[number + 1 :]]
        if told(written(tmp_path / f"{number}", parts)) != unchanged[0]:
            return
    pytest.fail(f"nobody reads {flag}")


def test_what_is_reserved_exists() -> None:
    known = {kind.name for kind in FrameType} | {f"{kind.name}.{name}" for kind, name in fields()}
    known |= {name for name in vars(Flag) if name.isupper()} | {"CHANGED"}
    assert reserved() <= known


def test_each_field_that_is_not_reserved_is_written_by_a_recorder(root: Path, origin_ca: OriginCA) -> None:
    with (
        Origin() as http,
        Origin(tls=origin_ca.issue().server_context()) as https,
        H2Origin(origin_ca.issue().server_context(alpn=("h2",))) as h2,
        RecorderProcess(root, upstream_ca=origin_ca.pem) as recorder,
    ):
        recorder.record()
        with RawClient.plain(recorder.address) as client:
            for path in ("/early-hints", "/chunked/60000?size=9000&trailers=1", "/text/20", "/text/30"):
                client.get(http.url(path), host=http.authority)
            client.request("POST", http.url("/echo"), host=http.authority, body=b"x" * 40_000)
            head = f"POST {http.url('/echo')} HTTP/1.1\r\nHost: {http.authority}\r\nTransfer-Encoding: chunked\r\n"
            client.send(head.encode() + b"Trailer: X-Sum\r\n\r\n" + chunked_bytes([b"one"], [("X-Sum", "6")]))
            client.read_response("POST")
        recorder.ask("mark", sessionId=recorder.folder("one").name, label="here", wallNs=1)
        with RawClient.plain(recorder.address) as client, contextlib.suppress(EOFError):
            client.get(http.url("/hang-up"), host=http.authority)
        http.script("/garbage", b"garbage\r\n\r\n", then="close")
        with RawClient.plain(recorder.address) as client:
            client.get(http.url("/garbage"), host=http.authority)
        authority = ssl.create_default_context(cafile=str(root / "ca" / "ca.pem"))
        with RawClient.tunnel(recorder.address, "localhost", https.port, tls=authority) as client:
            client.get("/text/20")
        with connect(recorder, h2.port) as streams:
            streams.get("/text/20")
        with RawPeer(read_to_end) as peer, raw_socket(recorder.address, peer.authority) as client:
            client.send(b"\x41\x82abcd\x01\x02\x80\x82abcd\x03\x04")  # compressed, unasked, in two frames
            client.send(
                b"\x82\xff" + (300_000).to_bytes(8, "big") + bytes(4 + 300_000)
            )  # more than one frame of the log
            client.read_to_end()
        stranger = ssl.create_default_context()
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            RawClient.tunnel(recorder.address, "localhost", https.port, tls=stranger)
        with RawClient.plain(recorder.address) as client:
            client.send(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
            client.read_to_end()
        follow_rules(recorder)
        with RawClient.plain(recorder.address) as client:
            client.request("POST", http.url("/echo"), host=http.authority, body=b"x" * 300_000)
        recorder.close()
        seen = {kind: list(recorder.frames(kind)) for kind in FrameType}
    for kind, name in WRITTEN:
        values = {getattr(frame.record(), name) for frame in seen[kind] if name != "detail"}
        empty = {field.default for field in msgspec.structs.fields(RECORDS[kind]) if field.name == name}
        assert seen[kind], kind.name
        assert name == "detail" or values - empty, f"{kind.name}.{name} is {values} in every frame"
    flags = {kind: {frame.flags for frame in found} for kind, found in seen.items()}
    for kind, flag in WRITTEN_FLAGS:
        assert any(bits & flag for bits in flags[kind]), f"{kind.name} never has {flag:#x}"
    done = [frame.record() for frame in seen[FrameType.DONE]]
    bits = [record.flags for record in done if isinstance(record, Done)]
    assert any(each & DoneFlag.REUSED for each in bits)
    assert any(each & DoneFlag.REQUEST_WHOLE for each in bits)


def read_to_end(connection: socket.socket) -> None:
    left = 16 + 14 + 300_000
    while left > 0 and (piece := connection.recv(65536)):
        left -= len(piece)
    connection.sendall(b"\x88\x00")


WRITTEN_FLAGS = [
    (FrameType.MESSAGE, Flag.RESPONSE),
    (FrameType.MESSAGE, Flag.LAST),
    (FrameType.OPENED, Flag.REQUEST_COMPLETE),
    (FrameType.RESPONSE_HEAD, Flag.INTERIM),
    (FrameType.RESPONSE_HEAD, Flag.UNPARSED),
    (FrameType.TRAILERS, Flag.RESPONSE),
    (FrameType.DONE, Flag.HAS_RESPONSE),
    (FrameType.SENT, Flag.LAST),
    (FrameType.SENT, Flag.RESPONSE),
    (FrameType.SEAL, Flag.FINAL),
]
