"""A session as the benchmark of answers asks it: realistic hosts, paths, heads and JSON, the same for the same number.

Nothing in it is random beyond a seed, so that two checkouts answer the same questions about the same log.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from google_crc32c import value as crc32c

from wiretape.log.format import Done, EndState, Flag, FrameType, Opened
from wiretape.log.stream_writer import StreamIdentity, StreamWriter
from wiretape.session.catalogue import Catalogue, SessionDir

BEGIN_MS = 1_790_000_000_000
TEXT_BYTES = 2_000
"""Decoded bytes of body text of an exchange, on average."""
RARE = "needle-7f3a9c"
"""Stands in one body of every 20,000; FREQUENT in about every fourth."""
FREQUENT = "in_stock"

_HOSTS = tuple(
    f"{name}.acme.example"
    for name in ("api", "cdn", "graph", "auth", "img", "telemetry", "search", "pay", "chat", "www")
)
_SHARE = (36, 18, 15, 6, 6, 6, 5, 3, 2, 3)
_RESOURCES = ("users", "orders", "products", "carts", "invoices", "reviews", "stores", "events")
_WORDS = ("autumn", "jacket", "waterproof", "delivery", "Berlin", "discount", "return", "express", "variant", "label",
          "organic", "cotton", "warehouse", "tracking", "voucher", "newsletter", "payment", "address", "customer",
          "recommendation", "availability", "shipping", "membership", "size", "colour", "zip", "boots")  # fmt: skip
_AGENTS = ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
           "okhttp/4.12.0", "python-httpx/0.28.1")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Made:
    """A session that was made: how many exchanges it has, bytes of its log, and decoded bytes of its bodies."""

    session: SessionDir
    exchanges: int
    log_bytes: int
    text_bytes: int


def make(root: Path, exchanges: int, name: str = "answers") -> Made:
    """Write a session with so many exchanges."""
    session = Catalogue(root).create(name)
    identity = StreamIdentity(session.session_id, 0, 1, 1, os.getpid(), "boot", "bench")
    writer = StreamWriter(session.log_dir, identity, clock_ns=lambda: BEGIN_MS * 1_000_000, next_number=1, next_seq=1)
    text = 0
    for number, (opened, request, done, answer) in enumerate(_exchanges(exchanges), 1):
        seq = writer.take_seq()
        writer.append(FrameType.OPENED, seq, opened, request, Flag.REQUEST_COMPLETE)
        writer.append(FrameType.DONE, seq, done, answer, Flag.HAS_RESPONSE)
        text += done.request_size + done.response_size
        if number % 64 == 0:
            writer.flush()
    writer.close()
    size = sum(path.stat().st_size for path in session.log_dir.iterdir())
    return Made(session, exchanges, size, text)


def _exchanges(count: int) -> Iterator[tuple[Opened, bytes, Done, bytes]]:
    dice = random.Random(20261127)
    hosts = dice.choices(range(len(_HOSTS)), _SHARE, k=4096)
    bodies = [_document(dice, size) for size in _sizes(dice, 512)]
    tokens = [f"{dice.getrandbits(256):064x}" for _ in range(64)]
    milliseconds = BEGIN_MS
    for number in range(1, count + 1):
        milliseconds += dice.randrange(40)
        host = _HOSTS[hosts[number % 4096]]
        chance = dice.random()
        method = "GET" if chance < 0.72 else "POST" if chance < 0.93 else "PUT" if chance < 0.97 else "DELETE"
        status = _status(dice.random())
        path = _path(dice, host, number)
        sent = b"" if method in {"GET", "DELETE"} else _small(dice, number)
        received = _body(dice, bodies, number, status)
        request = _request_head(dice, method, host, path, tokens[number % 64], len(sent), number)
        response = _response_head(dice, status, len(received), milliseconds, number)
        elapsed = int(dice.lognormvariate(4.0, 0.9) * 1_000_000)
        opened = Opened(
            milliseconds * 1_000_000, number % 40, "https", host, 443, "127.0.0.1:50000", len(request), "connect"
        )
        done = Done(
            elapsed_ns=elapsed,
            state=int(EndState.COMPLETE if status else EndState.FAILED),
            status=status,
            head_size=len(response),
            request_size=len(sent),
            response_size=len(received),
            request_recorded=len(sent),
            response_recorded=len(received),
            request_crc=int(crc32c(sent)),
            response_crc=int(crc32c(received)),
            wait_ns=elapsed // 2,
            server="203.0.113.7:443",
            upstream_connection=1 + number % 20,
            error_code="" if status else "reset",
            error="" if status else "the server closed the connection",
        )
        yield opened, request + sent, done, response + received


def _sizes(dice: random.Random, count: int) -> list[int]:
    sizes = [int(dice.lognormvariate(6.9, 1.0)) for _ in range(count)]
    factor = TEXT_BYTES * 0.93 * count / sum(sizes)
    return [max(60, int(size * factor)) for size in sizes]


def _document(dice: random.Random, size: int) -> bytes:
    """A JSON document of about ``size`` bytes."""
    items, length = [], 0
    while length < size:
        item = {
            "id": f"p_{dice.randrange(100_000):05d}",
            "title": " ".join(dice.choices(_WORDS, k=4)),
            "price": {"currency": "EUR", "net": dice.randrange(100_000), "gross": dice.randrange(100_000)},
            "status": dice.choice(["sold_out", FREQUENT, "preorder", "archived", "hidden", "new", "late", "gone"]),
            "ref": f"{dice.getrandbits(64):016x}",
        }
        items.append(item)
        length += len(json.dumps(item))
    return json.dumps({"data": items, "meta": {"page": dice.randrange(9), "total": len(items)}}).encode()


def _body(dice: random.Random, bodies: list[bytes], number: int, status: int) -> bytes:
    if status in {0, 204, 304}:
        return b""
    if status >= 400:
        return json.dumps({"title": "Validation failed", "status": status, "instance": f"/e/{number}"}).encode()
    body = bodies[dice.randrange(len(bodies))]
    mark = f'"{RARE}"' if number % 20_000 == 77 else f'"{dice.getrandbits(48):012x}"'
    return b'{"request":%s,' % mark.encode() + body[1:]


def _small(dice: random.Random, number: int) -> bytes:
    return json.dumps(
        {"cart": f"c_{dice.getrandbits(40):010x}", "quantity": number % 7, "note": dice.choice(_WORDS)}
    ).encode()


def _status(chance: float) -> int:
    for share, status in ((0.90, 200), (0.93, 201), (0.945, 204), (0.955, 304), (0.97, 404), (0.98, 422), (0.985, 401),
                          (0.993, 500), (0.998, 503)):  # fmt: skip
        if chance < share:
            return status
    return 0


def _path(dice: random.Random, host: str, number: int) -> str:
    if host.startswith("graph"):
        return "/graphql"
    if host.startswith(("cdn", "img")):
        return f"/assets/{dice.randrange(400):03x}/chunk-{dice.randrange(90)}.js"
    resource = dice.choice(_RESOURCES)
    return f"/v3/{resource}/{dice.randrange(50_000)}?expand=items&page={number % 12}&trace={dice.getrandbits(32):08x}"


def _request_head(
    dice: random.Random, method: str, host: str, path: str, token: str, length: int, number: int
) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host}",
        f"User-Agent: {_AGENTS[number % 3]}",
        "Accept: application/json",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Accept-Language: de-DE,de;q=0.9,en;q=0.8",
        f"Authorization: Bearer {token}",
        f"Cookie: sid={token[:24]}; theme=dark; consent=1",
        f"X-Request-Id: {dice.getrandbits(64):016x}",
        "Connection: keep-alive",
    ]
    if length:
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


def _response_head(dice: random.Random, status: int, length: int, milliseconds: int, number: int) -> bytes:
    if not status:
        return b""
    lines = [
        f"HTTP/1.1 {status} OK",
        f"Date: {formatdate(milliseconds / 1000, usegmt=True)}",
        "Content-Type: application/json; charset=utf-8",
        f"Content-Length: {length}",
        "Server: nginx",
        "Cache-Control: no-store",
        "Vary: Accept-Encoding, Origin",
        "Strict-Transport-Security: max-age=31536000",
        f'ETag: "{dice.getrandbits(64):016x}"',
        f"X-Served-By: node-{number % 12}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()
