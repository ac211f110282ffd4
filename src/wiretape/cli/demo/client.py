"""The demonstration's client, as a process of its own: ``python -m wiretape.cli.demo.client``.

Threads with the standard library's HTTP client, kept-alive connections through the proxy, half of them HTTPS. What
happened to each request is appended to a file as it happens: ``sent``, ``answered`` (every byte was received and is
right), ``wrong``, ``refused`` (the proxy answered for the server), ``broken``, ``left``. Ends when its stdin does.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import ssl
import sys
import threading
from collections.abc import Iterator

from wiretape.cli.demo.plan import Plan, draw

PATIENCE = 15.0
"""Seconds that a read may take: no answer of the origin takes a tenth of it."""

REST = 0.02
"""Seconds between two tries to reach a proxy that has just been killed."""


class Client:
    """One thread's worth of requests, one after the other on one connection."""

    def __init__(self, options: argparse.Namespace, number: int, log: int, stop: threading.Event) -> None:
        self._options = options
        self._number = number
        self._log = log
        self._stop = stop
        self._chance = random.Random(f"{options.seed}/{number}")
        self._secure = number % 2 == 1
        self._context = ssl.create_default_context(cafile=options.ca) if self._secure else None

    def run(self) -> None:
        """Send requests until told to stop."""
        connection: http.client.HTTPConnection | None = None
        count = 0
        while not self._stop.is_set():
            count += 1
            plan = draw(f"{self._options.name}-{self._number}-{count}", self._chance, rough=self._options.rough)
            connection = connection or self._connect()
            try:
                outcome = self._exchange(connection, plan)
            except (OSError, http.client.HTTPException):
                outcome = "broken"
            self._write(outcome, plan)
            if outcome in ("broken", "left", "refused"):
                connection.close()
                connection = None
                self._stop.wait(REST)

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._options.proxy
        if self._context is None:
            return http.client.HTTPConnection(host, port, timeout=PATIENCE)
        connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=self._context)
        connection.set_tunnel("localhost", self._options.https)
        return connection

    def _exchange(self, connection: http.client.HTTPConnection, plan: Plan) -> str:
        target = plan.path if self._secure else f"http://127.0.0.1:{self._options.http}{plan.path}"
        self._write("sent", plan)
        body = plan.request_body
        if plan.leave and plan.up:
            connection.putrequest(plan.method, target)
            connection.putheader("Content-Length", str(plan.up))
            connection.endheaders(body[: plan.up // 2])
            return "left"
        if plan.up and plan.framing == "chunked":
            pieces: Iterator[bytes] = (body[at : at + 20_000] for at in range(0, len(body), 20_000))
            headers = {"Transfer-Encoding": "chunked"}
            connection.request(plan.method, target, body=pieces, headers=headers, encode_chunked=True)
        else:
            connection.request(plan.method, target, body=body if plan.method in ("POST", "PUT") else None)
        response = connection.getresponse()
        if plan.leave:
            response.read(plan.down // 2)
            return "left"
        received = self._sip(response, plan) if plan.sip else response.read()
        if response.status != 200:
            return "refused"
        if response.will_close:
            connection.close()
        return "answered" if received == plan.response_body else "wrong"

    def _sip(self, response: http.client.HTTPResponse, plan: Plan) -> bytes:
        """Read a body slowly: small pieces first, with rests between them of half a second in all."""
        received = bytearray()
        rests = 0
        while piece := response.read(4_000 if rests < 10 else 200_000):
            received += piece
            rests += 1
            if rests < 10:
                self._stop.wait(0.05)
        # Read in pieces, a body with a length that ends early is no error to http.client; read at once, it is one.
        if len(received) < len(plan.response_body):
            raise http.client.IncompleteRead(bytes(received))
        return bytes(received)

    def _write(self, outcome: str, plan: Plan) -> None:
        os.write(self._log, f"{outcome} {plan.path}\n".encode())


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main() -> None:
    """Keep the proxy busy until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--proxy", required=True, type=_address)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--http", required=True, type=int)
    parser.add_argument("--https", required=True, type=int)
    parser.add_argument("--log", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rough", action="store_true")
    options = parser.parse_args()
    log = os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    stop = threading.Event()
    threads = [
        threading.Thread(target=Client(options, number, log, stop).run, daemon=True)
        for number in range(options.threads)
    ]
    for thread in threads:
        thread.start()
    sys.stdin.buffer.read()
    stop.set()
    for thread in threads:
        thread.join(timeout=1.0)
    os._exit(0)


if __name__ == "__main__":
    main()
