"""The recordings that the jobs are done on, written as a recorder writes them, and always the same.

``good`` and ``good-run`` are walks that ended well, ``bad`` is one with the bug and the mark ``click-checkout`` before
the click, ``crash`` was killed while it waited for a quote, ``big`` was imported: 2,000 exchanges of 10 hosts.
"""

from __future__ import annotations

import datetime as dt
import http
import itertools
import json
import os
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google_crc32c import value as crc32c

from tests.jobs.shop import Talk, Walk
from wiretape.log.format import (
    BodyChunk,
    Done,
    DoneFlag,
    EndState,
    Flag,
    FrameType,
    Marked,
    Opened,
    ResponseBegun,
    TlsSeen,
)
from wiretape.log.stream_writer import StreamIdentity, StreamWriter
from wiretape.session.catalogue import Catalogue
from wiretape.session.importing.importer import import_recording

HOST: Final = "localhost:29443"
MARK: Final = "click-checkout"
CLICK: Final = 29
"""The exchange after which the mark is."""
PROXY_PORT: Final = 38_395
BEGAN: Final = dt.datetime(2026, 11, 27, 10, 44, 36, tzinfo=dt.UTC).timestamp()
_INLINE: Final = 16 * 1024
_runs = itertools.count(1)


class Tape:
    """Writes a walk into a session: the frames, sizes, times and addresses of one client behind one proxy.

    Args:
        root: the root of the new session.
        name: what the session is called.
        walk: what is recorded.
    """

    def __init__(self, root: Path, name: str, walk: Walk) -> None:
        session = Catalogue(root).create(name)
        boot = Path("/proc/sys/kernel/random/boot_id")
        identity = StreamIdentity(
            session.session_id,
            0,
            1,
            next(_runs),
            os.getpid(),
            boot.read_text().strip() if boot.exists() else "",
            "test",
        )
        self._walk = walk
        self._now = int(walk.began * 1e9)
        self._writer = StreamWriter(session.log_dir, identity, clock_ns=lambda: self._now, next_number=1, next_seq=1)
        self._tls("client", "http/1.1")
        self._tls("server", "http/1.1")

    def record(self, talks: list[Talk]) -> None:
        """Record exchanges, one after another."""
        for talk in talks:
            self._end(talk, self._begin(talk))

    def begin(self, talk: Talk) -> None:
        """Record a request that nobody answers any more."""
        self._begin(talk)

    def mark(self, label: str) -> None:
        """Set a mark."""
        last = self._writer.next_seq - 1
        self._writer.append(FrameType.MARKED, last, Marked(self._now, label))

    def close(self) -> None:
        """End the recording cleanly."""
        self._writer.close()

    def kill(self) -> None:
        """End as SIGKILL does: nothing is sealed, and the kernel drops the lock."""
        self._writer.flush()
        os.close(self._writer.fd)
        os.close(self._writer._lock_fd)

    def _begin(self, talk: Talk) -> int:
        self._now += int(talk.after * 1e6)
        seq = self._writer.take_seq()
        host, _, port = self._walk.host.partition(":")
        lines = [f"{talk.method} {talk.path} HTTP/1.1", f"Host: {self._walk.host}"]
        head = _head(lines, talk.headers)
        opened = Opened(
            wall_ns=self._now,
            connection=1,
            scheme="https",
            host=host,
            port=int(port),
            client="127.0.0.1:50214",
            head_size=len(head),
            source="connect",
            accepted_at=f"127.0.0.1:{PROXY_PORT}",
        )
        self._writer.append(FrameType.OPENED, seq, opened, head + talk.body, Flag.REQUEST_COMPLETE)
        self._writer.flush()
        return seq

    def _end(self, talk: Talk, seq: int) -> None:
        phrase = http.HTTPStatus(talk.status).phrase
        head = _head([f"HTTP/1.1 {talk.status} {phrase}"], talk.answer_headers)
        data, flags = head + talk.answer, Flag.HAS_RESPONSE
        pieces = talk.pieces
        if not pieces and len(talk.answer) > _INLINE:
            parts = range(0, len(talk.answer), _INLINE)
            pieces = tuple((talk.ms * 0.9, talk.answer[at : at + _INLINE]) for at in parts)
        if pieces:
            begun = ResponseBegun(int(pieces[0][0] * 1e6), talk.status, len(head))
            self._writer.append(FrameType.RESPONSE_HEAD, seq, begun, head)
            position = 0
            for ms, piece in pieces:
                chunk = BodyChunk(position, int(ms * 1e6))
                self._writer.append(FrameType.RESPONSE_BODY, seq, chunk, piece)
                position += len(piece)
            data, flags = b"", 0
        took = int(talk.ms * 1e6)
        self._now += took
        done = Done(
            elapsed_ns=took,
            state=int(EndState.COMPLETE),
            status=talk.status,
            head_size=0 if pieces else len(head),
            request_size=len(talk.body),
            response_size=len(talk.answer) + talk.more,
            request_recorded=len(talk.body),
            response_recorded=len(talk.answer),
            request_crc=crc32c(talk.body),
            response_crc=crc32c(talk.answer),
            send_ns=took // 20,
            wait_ns=took * 8 // 10,
            receive_ns=took // 10,
            server=f"127.0.0.1:{self._walk.host.rpartition(':')[2]}",
            upstream_connection=2,
            sent_from="127.0.0.1:50216",
            flags=DoneFlag.REQUEST_WHOLE | (DoneFlag.REUSED if seq > 1 else 0),
        )
        self._writer.append(FrameType.DONE, seq, done, data, flags)
        self._writer.flush()

    def _tls(self, side: str, alpn: str) -> None:
        host, _, port = self._walk.host.partition(":")
        seen = TlsSeen(
            wall_ns=self._now,
            connection=1 if side == "client" else 2,
            side=side,
            host=host,
            port=int(port),
            sni=host,
            alpn=alpn,
            version="TLSv1.3",
            cipher="TLS_AES_256_GCM_SHA384",
            verified="ok" if side == "server" else "",
        )
        self._writer.append(FrameType.TLS, 0, seen)


def _head(lines: list[str], headers: list[tuple[str, str]]) -> bytes:
    return "".join(f"{line}\r\n" for line in [*lines, *(f"{name}: {value}" for name, value in headers), ""]).encode()


def bad_walk(host: str = HOST, began: float = BEGAN) -> Walk:
    """Return the walk of ``bad``."""
    return Walk(2, host, began, bug=True)


def record_all(root: Path, *, host: str = HOST) -> None:
    """Make all recordings; ``bad`` is the newest of them."""
    import_big(root)
    _crash(root, host)
    for name, walk in (
        ("good-run", Walk(3, host, BEGAN - 400)),
        ("good", Walk(1, host, BEGAN - 200)),
        ("bad", bad_walk(host)),
    ):
        tape = Tape(root, name, walk)
        tape.record(walk.talks[:CLICK])
        if walk.bug:
            tape.mark(MARK)
        tape.record(walk.talks[CLICK:])
        tape.close()


def _crash(root: Path, host: str) -> None:
    walk = Walk(4, host, BEGAN - 600)
    at = next(at for at, talk in enumerate(walk.talks) if "/shipping/quote" in talk.path)
    tape = Tape(root, "crash", walk)
    tape.record(walk.talks[:at])
    tape.begin(walk.talks[at])
    tape.kill()


# -- an unfamiliar session of 2,000 exchanges --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request: how often of a hundred, and what it asks and gets."""

    weight: float
    method: str
    url: Callable[[random.Random, int], str]
    statuses: tuple[tuple[float, int, Any], ...]
    """Probability, status, and body of what does not go well."""
    body: Any = None
    slow: float = 1.0
    type: str = "application/json"
    sent: Any = None


def _id(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128)))


KINDS: Final = (
    Kind(
        16,
        "GET",
        lambda c, n: f"https://api.acme.example/v3/users/{n}/orders?limit=50&cursor={_id(c)[:8]}",
        ((0.03, 500, {"error": {"message": "internal error"}}),),
        {"orders": [{"id": "o_1", "total": 12}], "next": None},
    ),
    Kind(
        12,
        "GET",
        lambda c, _: f"https://api.acme.example/v3/items/{_id(c)}",
        ((0.08, 404, {"title": "No such item"}),),
        {"id": "i_1", "price": 3},
    ),
    Kind(
        8,
        "PATCH",
        lambda _, n: f"https://api.acme.example/v3/users/{n}/settings",
        ((0.25, 409, {"title": "Version conflict"}),),
        {"ok": True},
        sent={"theme": "dark"},
    ),
    Kind(
        6,
        "POST",
        lambda *_: "https://auth.acme.example/oauth/token",
        ((0.1, 401, {"error": "invalid_grant"}),),
        {"expires_in": 3600},
        2,
        sent={"grant_type": "refresh_token"},
    ),
    Kind(
        18,
        "GET",
        lambda c, _: f"https://cdn.acme.example/assets/{_id(c)[:8]}/chunk-{c.randrange(30)}.js",
        (),
        "x" * 1500,
        0.25,
        "application/javascript",
    ),
    Kind(
        10,
        "GET",
        lambda _, n: f"https://img.acme.example/thumb/{n}.webp?w=320",
        ((0.02, 404, ""),),
        "",
        0.3,
        "image/webp",
    ),
    Kind(
        12, "POST", lambda *_: "https://telemetry.vendor.example/v1/batch", ((1.0, 202, {}),), {}, sent={"events": [1]}
    ),
    Kind(
        6,
        "POST",
        lambda *_: "https://graph.acme.example/graphql",
        ((0.2, 200, {"data": None, "errors": [{"message": "Field deprecated"}]}),),
        {"data": {"me": {"id": 1}}},
        1.5,
        sent="graphql",
    ),
    Kind(
        5,
        "GET",
        lambda c, n: f"https://search.acme.example/q?term={c.choice(('shoe', 'hat', 'lamp'))}+{n}",
        ((0.15, 504, {"title": "Gateway Timeout"}),),
        {"hits": [1, 2]},
        5,
    ),
    Kind(3, "GET", lambda c, _: f"https://flags.vendor.example/sdk/eval/{_id(c)}", (), {"flags": {"a": True}}, 0.5),
    Kind(
        2.5,
        "PUT",
        lambda c, _: f"https://files.acme.example/uploads/2026/11/{_id(c)}/part/{c.randrange(9)}",
        (),
        "ok",
        8,
        "text/plain",
        sent={"blob": "A" * 200},
    ),
    Kind(
        1.5,
        "GET",
        lambda *_: "http://metadata.internal/latest/health",
        ((0.5, 503, "starting"),),
        "ok",
        type="text/plain",
    ),
)


def big_har(path: Path) -> None:
    """Write a HAR of 2,000 exchanges, as another program may have recorded them."""
    chance = random.Random(42)
    moment = dt.datetime(2026, 11, 26, 9, 0, 0, tzinfo=dt.UTC)
    entries = []
    for _ in range(2_000):
        moment += dt.timedelta(milliseconds=chance.expovariate(1 / 870))
        (kind,) = chance.choices(KINDS, [kind.weight for kind in KINDS])
        entries.append(_entry(chance, kind, moment))
    log = {"version": "1.2", "creator": {"name": "browser", "version": "1"}, "entries": entries}
    path.write_text(json.dumps({"log": log}))


def _entry(chance: random.Random, kind: Kind, moment: dt.datetime) -> dict[str, Any]:
    ms = chance.lognormvariate(4, 0.6) * kind.slow * (30 if kind.weight == 16 and chance.random() < 0.05 else 1)
    url = kind.url(chance, chance.randrange(1, 400))
    status, body = 200, kind.body
    for probability, other, said in kind.statuses:
        if chance.random() < probability:
            status, body = other, said
    text = body if isinstance(body, str) else json.dumps(body)
    sent = kind.sent
    if sent == "graphql":
        name = chance.choice(("Me", "Feed", "Search", "Notifications"))
        sent = {"operationName": name, "query": f"query {name} {{ me {{ id }} }}"}
    posted = None if sent is None else json.dumps(sent)
    request: dict[str, Any] = {
        "method": kind.method,
        "url": url,
        "httpVersion": "HTTP/1.1",
        "headers": [{"name": "Host", "value": url.split("/")[2]}, {"name": "User-Agent", "value": "Mozilla/5.0"}],
        "queryString": [],
        "cookies": [],
        "headersSize": -1,
        "bodySize": len(posted or ""),
    }
    if posted is not None:
        request["postData"] = {"mimeType": "application/json", "text": posted}
    return {
        "startedDateTime": moment.isoformat().replace("+00:00", "Z"),
        "time": ms,
        "request": request,
        "response": {
            "status": status,
            "statusText": "",
            "httpVersion": "HTTP/1.1",
            "headers": [{"name": "Content-Type", "value": kind.type}],
            "cookies": [],
            "content": {"size": len(text), "mimeType": kind.type, "text": text},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": len(text),
        },
        "cache": {},
        "timings": {"send": 0.1, "wait": ms * 0.9, "receive": ms * 0.1},
    }


def import_big(root: Path) -> None:
    """Make the session ``big`` of the HAR."""
    root.mkdir(parents=True, exist_ok=True)
    path = root.parent / "big.har"
    big_har(path)
    import_recording(root, path, name="big")
    path.unlink()
