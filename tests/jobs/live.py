"""The shop while it runs, and a client that walks through it: for the jobs that record or send something."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.jobs.recordings import bad_walk
from tests.jobs.shop import DUE, Talk, Walk, compact

CHECKOUT = "/api/v2/checkout"
QUOTE = "/api/v2/shipping/quote"
PATIENCE = 30.0


class Shop:
    """The running shop: it answers as in the walk, in order, and the last of several answers again and again.

    Attributes:
        host: HOST:PORT.
        walk: the walk whose answers it gives; a checkout with the right amount is confirmed.
        asked_quote: is set when somebody has asked for the shipping's price while that is held.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.shop = self  # type: ignore[attr-defined]
        self.host = f"localhost:{self._server.server_port}"
        self.walk = bad_walk(self.host)
        self.asked_quote = threading.Event()
        self._go_on = threading.Event()
        self._go_on.set()
        self._lock = threading.Lock()
        self.reset()
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """Begin anew: the stock is flaky again."""
        with self._lock:
            self._answers: dict[tuple[str, str], list[Talk]] = defaultdict(list)
            for talk in self.walk.talks:
                self._answers[talk.method, talk.path].append(talk)

    @contextlib.contextmanager
    def holding_quotes(self) -> Iterator[None]:
        """Give no answer to whoever asks what the shipping costs."""
        self.asked_quote.clear()
        self._go_on.clear()
        try:
            yield
        finally:
            self._go_on.set()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """Return status, headers and body."""
        if path.startswith(QUOTE) and not self._go_on.is_set():
            self.asked_quote.set()
            self._go_on.wait(PATIENCE)
        if path == CHECKOUT and json.loads(body)["payment"]["amount"] == DUE:
            told = {"data": {"orderId": "ORD-8095A7F8", "state": "confirmed", "total": DUE}}
            return 201, [("Content-Type", "application/json")], compact(told)
        with self._lock:
            known = self._answers[method, path]
            if not known:
                return 404, [("Content-Type", "application/json")], compact({"title": "Not found"})
            talk = known.pop(0) if len(known) > 1 else known[0]
        own = {"content-length", "transfer-encoding", "connection", "date", "server"}
        return talk.status, [one for one in talk.answer_headers if one[0].lower() not in own], talk.answer

    def close(self) -> None:
        """Stop serving."""
        self._go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        shop: Shop = self.server.shop  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, answer = shop.answer(self.command, self.path, body)
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status not in {204, 304}:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        with contextlib.suppress(OSError):  # who asked may have been killed
            self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None: ...


def send(walk: Walk, talks: list[Talk], *, proxy: str | None = None, ca: Path | None = None) -> httpx.Response | None:
    """Send the requests of a walk, and give the answer to the last one.

    Args:
        walk: whose requests they are.
        talks: which; what leads to another protocol is left out.
        proxy: the URL of the proxy; the environment's without.
        ca: whom to trust; the environment's without.
    """
    trust: Any = ssl.create_default_context(cafile=str(ca)) if ca is not None else True
    last = None
    with httpx.Client(proxy=proxy, verify=trust, timeout=PATIENCE) as client:
        for talk in talks:
            if talk.status == 101:
                continue
            headers = [one for one in talk.headers if one[0] not in {"Connection", "Content-Length"}]
            url = f"https://{walk.host}{talk.path}"
            last = client.request(talk.method, url, headers=headers, content=talk.body)
    return last
