"""The demonstration's servers, as a process of their own: ``python -m wiretape.cli.demo.origin``.

HTTP and HTTPS from the standard library's server, which shares no line with the recorder. Each request is written to
a file when its head has arrived: the account of what reached the server. Ends when its stdin does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from wiretape.cli.demo.plan import Plan, parse_path

PIECE = 32_768
"""Bytes written at a time: a body of any size is seen arriving."""


class Handler(BaseHTTPRequestHandler):
    """Answers what the request's path asks for."""

    protocol_version = "HTTP/1.1"
    # Small answers go out at once instead of waiting for the client's acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60

    def answer(self) -> None:
        """Log the request, read its body, answer."""
        server = self.server
        assert isinstance(server, Server)
        os.write(server.log, f"{self.path}\n".encode())
        try:
            plan = parse_path(self.path)
        except ValueError as error:
            self.send_error(400, str(error))
            return
        right = self._read_body() == plan.request_body
        self.send_response(200 if right else 422)
        self.send_header("Content-Type", "application/octet-stream")
        if plan.framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(plan.down))
        self.end_headers()
        self._write_body(plan)
        self.wfile.flush()

    do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815 - http.server looks for these names

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return bytes(body)

    def _write_body(self, plan: Plan) -> None:
        if plan.method == "HEAD":
            return
        body = plan.response_body
        chunked = plan.framing == "chunked"
        # A paced answer comes in at least four pieces, whatever its size.
        piece = min(PIECE, len(body) // 4 + 1) if plan.pace else PIECE
        for start in range(0, len(body), piece):
            part = body[start : start + piece]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
            if plan.pace:
                self.wfile.flush()
                time.sleep(min(plan.pace, 200) / 1000)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
        """Say nothing: the log is the account."""


class Server(ThreadingHTTPServer):
    """One listener; a client that breaks off is nothing to report."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, log: int, tls: ssl.SSLContext | None) -> None:
        self.log = log
        self.tls = tls
        super().__init__(("127.0.0.1", 0), Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Handle one connection, in its own thread; the TLS handshake belongs there too."""
        with contextlib.suppress(OSError, ValueError):
            if self.tls is not None:
                request.settimeout(20)
                request = self.tls.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_WR)
            request.close()


def main() -> None:
    """Serve until stdin ends; the ports go to stdout as one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True)
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    options = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.cert, options.key)
    log = os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    plain, secure = Server(log, None), Server(log, context)
    for server in (plain, secure):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"http": plain.server_port, "https": secure.server_port}), flush=True)
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
