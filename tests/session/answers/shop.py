"""A small shop with a login, a cart and a picture, and a recording of a walk through it."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx

from harness.logs import Recording
from wiretape.log.format import EndState

PASSWORD = "hunter2! & more"
EMAIL = "ada.byron@example.com"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@dataclass
class State:
    """What the shop knows, and what it was sent."""

    tokens: dict[str, str] = field(default_factory=dict)
    carts: set[str] = field(default_factory=set)
    received: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_GET  # noqa: N815
    do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None: ...

    def _serve(self) -> None:
        state: State = self.server.state  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        state.received.append((self.command, self.path, dict(self.headers), body))
        status, headers, answer = self._answer(state, urlsplit(self.path).path, body)
        if not isinstance(answer, bytes):
            answer = json.dumps(answer).encode()
            headers = [("Content-Type", "application/json"), *headers]
            if len(answer) > 400 and "gzip" in self.headers.get("Accept-Encoding", ""):
                answer = gzip.compress(answer)
                headers.append(("Content-Encoding", "gzip"))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _answer(self, state: State, path: str, body: bytes) -> tuple[int, list[tuple[str, str]], Any]:
        if path == "/auth/login":
            return self._login(state, body)
        if path == "/picture.png":
            return 200, [("Content-Type", "image/png")], PICTURE
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in state.tokens:
            return 401, [], {"title": "Unauthorized"}
        if path.startswith("/products"):
            rows = [{"id": f"p_{at:04d}", "kind": ("shoe", "lamp")[at % 2], "price": at} for at in range(30)]
            return 200, [], {"data": rows, "seller": {"email": "seller1@market.example"}}
        if self.headers.get("X-Csrf-Token") != state.tokens[token]:
            return 403, [], {"title": "Bad CSRF token"}
        if path == "/cart":
            cart = f"c_{secrets.token_hex(5)}"
            state.carts.add(cart)
            return 201, [], {"data": {"id": cart, "createdAt": "2026-11-27T10:00:00Z", "state": "open"}}
        if path.split("/")[2] not in state.carts:
            return 404, [], {"title": "No such cart"}
        return 200, [], {"data": {"items": [json.loads(body)], "total": 12}}

    @staticmethod
    def _login(state: State, body: bytes) -> tuple[int, list[tuple[str, str]], Any]:
        if json.loads(body).get("password") != PASSWORD:
            return 401, [], {"title": "Bad credentials"}
        claims = {"sub": "u_1842", "email": EMAIL, "sid": secrets.token_hex(6), "exp": 1_900_000_000}
        token = f"{_part({'alg': 'HS256'})}.{_part(claims)}.{secrets.token_urlsafe(32)[:43]}"
        csrf = base64.b64encode(secrets.token_bytes(20)).decode().replace("A", "/") + "=+"
        state.tokens[token] = csrf
        cookies = [("Set-Cookie", f"csrf_token={quote(csrf, safe='')}; Path=/; SameSite=Lax")]
        cookies.append(("Set-Cookie", f"sid={secrets.token_hex(8)}; Path=/; HttpOnly"))
        session = {"accessToken": token, "tokenType": "Bearer", "refreshToken": f"rt_{secrets.token_urlsafe(20)}"}
        return 200, cookies, {"data": {"session": session, "user": {"id": "u_1842", "email": EMAIL}}}


@contextlib.contextmanager
def running() -> Iterator[tuple[str, State]]:
    """Run the shop; give its address and what it knows."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.state = State()  # type: ignore[attr-defined]
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.state  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def walk(base: str, recording: Recording) -> None:
    """Walk through the shop as a client does, and record it."""
    with httpx.Client(base_url=base, headers={"Accept": "application/json", "Accept-Encoding": "gzip"}) as client:
        login = _record(client, recording, "POST", "/auth/login", json={"email": EMAIL, "password": PASSWORD})
        client.headers["Authorization"] = f"Bearer {login.json()['data']['session']['accessToken']}"
        csrf = {"X-Csrf-Token": unquote(client.cookies["csrf_token"])}
        _record(client, recording, "GET", "/products?page=1&q=it's%20%22x%22")
        _record(client, recording, "GET", "/picture.png")
        cart = _record(client, recording, "POST", "/cart", json={}, headers=csrf).json()["data"]["id"]
        item = {"productId": "p_0007", "note": 'it\'s "quoted" $HOME `x`\nline ü'}
        _record(client, recording, "POST", f"/cart/{cart}/items", json=item, headers=csrf)
        content = b"\x00\x01 binary \xff"
        _record(client, recording, "POST", f"/cart/{cart}/raw", content=json.dumps({"n": 1}).encode(), headers=csrf)
        seq = recording.open(f"{base}/gone", method="POST", body=content, headers="Content-Type: x/y\r\n")
        recording.done(seq, state=EndState.FAILED, request=content, inline=False, status=0, error="nobody is there")


def _record(client: httpx.Client, recording: Recording, method: str, path: str, **rest: Any) -> httpx.Response:
    request = client.build_request(method, path, **rest)
    body = request.read()
    lines = "".join(
        f"{name.decode()}: {value.decode()}\r\n" for name, value in request.headers.raw if name.lower() != b"host"
    )
    seq = recording.open(str(request.url), method=method, headers=lines, body=body)
    response = client.send(request, stream=True)
    wire = b"".join(response.iter_raw())
    answer_lines = "".join(f"{name.decode()}: {value.decode()}\r\n" for name, value in response.headers.raw)
    recording.done(seq, wire, status=response.status_code, headers=answer_lines, request=body)
    decoded = gzip.decompress(wire) if response.headers.get("content-encoding") == "gzip" else wire
    return httpx.Response(response.status_code, content=decoded)
