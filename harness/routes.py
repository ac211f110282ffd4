"""What the test origin answers, by path. N is a number of bytes; K, M are numbers.

    /bytes/N              Content-Length, the bytes of bodies.body_for(target, N); ?type=T sets Content-Type
    /text/N               the same with bodies.text_for
    /chunked/N            chunked; ?size=K bytes a chunk, ?trailers=1, ?extensions=1
    /until-close/N        no length, the end of the stream ends it (?rude=1: under TLS without close_notify)
    /slow/N               Content-Length; ?pieces=K writes, ?delay_ms=M between two
    /gzip/N /deflate/N /br/N /zstd/N   text_for(target, N), content-encoded
    /status/NNN           that status; a short body where the status allows one
    /echo                 the request's body (of at most BODY_KEPT), its Content-Type
    /digest               JSON {"size", "sha256"} of the request's body, of any size
    /headers              the exact bytes of the request's head
    /duplicate-headers    repeated, oddly cased, empty fields: DUPLICATES
    /100-continue         100 Continue at once, whatever was asked; then like /echo
    /expectation-failed   417 without reading the body; closes
    /early-hints          103 with a Link, then 200
    /http10               HTTP/1.0, no length, closed
    /short/N              announces N bytes, sends half of them, closes in order
    /reset-after/N        announces twice N bytes, sends N, resets
    /hang-up              closes without a byte
    /no-answer            reads the request, never answers; ends when the peer leaves
    /dead-keepalive       a good answer, then a close nobody announced; ?when=next: not before the next request begins
    /close                a good answer with Connection: close
    /upgrade              101 to the protocol "echo", then every byte comes back
    anything else         404
An Expect: 100-continue in the request is honoured everywhere except where said.
"""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs

import brotli
import zstandard

from harness.bodies import body_blocks, text_for
from harness.origin_http import BODY_KEPT, PeerGoneError, ReceivedRequest, Wire

if TYPE_CHECKING:
    from harness.origin import Origin, Stage

After = Literal["keep", "close", "drop", "rude", "reset"]
"""What happens to the connection: ``close`` is in order, ``drop`` the same without waiting for the peer, ``rude`` ends
the TCP stream without the close_notify of TLS, ``reset`` is an RST."""

DUPLICATES: tuple[tuple[bytes, bytes], ...] = (
    (b"Set-Cookie", b"a=1; Path=/"),
    (b"set-cookie", b"b=2"),
    (b"X-Twice", b"one"),
    (b"SET-COOKIE", b"a=1; Path=/"),
    (b"x-tWICE", b"two, three"),
    (b"X-Empty", b""),
    (b"X-Latin", "caf\u00e9".encode("latin-1")),
    (b"X-Colon", b"a:b: c"),
)


class Call:
    """One request being answered."""

    def __init__(self, origin: Origin, wire: Wire, request: ReceivedRequest) -> None:
        self.origin = origin
        self.wire = wire
        self.request = request
        self.path, _, query = request.target.partition("?")
        self.query = {key: values[-1] for key, values in parse_qs(query, keep_blank_values=True).items()}
        _, self.route, *rest = [*self.path.split("/"), ""]
        self.number = int(rest[0]) if rest and rest[0].isdigit() else 0
        self.cut_short = False
        """The route sent less than an answer."""
        self._read_body: Callable[[], None] = _nothing

    def run(self, read_body: Callable[[], None]) -> After:
        """Answer, and say what is to happen to the connection."""
        self._read_body = read_body
        after = self._answer()
        self.request.answered = not self.cut_short
        return after if after != "keep" or self.keeps_alive() else "close"

    def _answer(self) -> After:
        script = self.origin.script_for(self.path)
        if script is None and self.route in EAGER:
            return EAGER[self.route](self)
        self.read_body()
        self.checkpoint("request")
        if script is None:
            return ROUTES.get(self.route, not_found)(self)
        for piece in script.pieces:
            self.wire.send(piece)
        return script.then

    def read_body(self) -> None:
        """Read the request's body, after a 100 Continue where the client waits for one."""
        if (self.request.header("expect") or "").lower() == "100-continue":
            self.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._read_body()

    def keeps_alive(self) -> bool:
        """Say whether the client lets the connection live (RFC 9112 section 9.3)."""
        options = [o.strip().lower() for v in self.request.header_values("connection") for o in v.split(",")]
        return "close" not in options and (self.request.version == "HTTP/1.1" or "keep-alive" in options)

    def checkpoint(self, stage: Stage) -> None:
        """Stop here while a test holds this path at this point."""
        for hold in self.origin.holds_at(self.path, stage):
            hold.stop_here()

    def head(self, status: str, *fields: tuple[bytes, bytes], version: str = "HTTP/1.1") -> None:
        """Send a response's head."""
        lines = [f"{version} {status}".encode(), *(name + b": " + value for name, value in fields)]
        self.wire.send(b"\r\n".join([*lines, b"", b""]))
        self.checkpoint("head")

    def body(self, blocks: Iterable[bytes]) -> None:
        """Send the body, stopping for a hold after the first half of the first block."""
        if self.request.method == "HEAD":
            return
        for number, block in enumerate(blocks):
            half = (len(block) + 1) // 2 if number == 0 else 0
            if half:
                self.wire.send(block[:half])
                self.checkpoint("part")
            self.wire.send(block[half:])

    def whole(self, content: bytes, *fields: tuple[bytes, bytes], status: str = "200 OK") -> After:
        """Send a complete answer with Content-Length."""
        self.head(status, *fields, length(len(content)))
        self.body([content] if content else [])
        return "keep"


def _nothing() -> None:
    """Read no body."""


def length(size: int) -> tuple[bytes, bytes]:
    """Return the field Content-Length."""
    return b"Content-Length", str(size).encode()


def media(call: Call, default: str = "application/octet-stream") -> tuple[bytes, bytes]:
    """Return the field Content-Type."""
    return b"Content-Type", call.query.get("type", default).encode("latin-1")


def send_bytes(call: Call) -> After:
    call.head("200 OK", media(call), length(call.number))
    call.body(body_blocks(call.request.target, call.number))
    return "keep"


def send_text(call: Call) -> After:
    return call.whole(text_for(call.request.target, call.number), media(call, "text/plain; charset=utf-8"))


def send_chunked(call: Call) -> After:
    size = int(call.query.get("size", "16384"))
    trailers = call.query.get("trailers") == "1"
    extension = b';ext=1;name="a b"' if call.query.get("extensions") == "1" else b""
    announced = [(b"Trailer", b"X-Checksum, X-Last")] if trailers else []
    call.head("200 OK", media(call), (b"Transfer-Encoding", b"chunked"), *announced)
    if call.request.method == "HEAD":
        return "keep"
    content = b"".join(body_blocks(call.request.target, call.number))
    for start in range(0, len(content), size):
        chunk = content[start : start + size]
        call.wire.send(f"{len(chunk):x}".encode() + extension + b"\r\n" + chunk + b"\r\n")
        if start == 0:
            call.checkpoint("part")
    call.wire.send(b"0\r\n" + (b"X-Checksum: 12345\r\nX-Last: yes\r\n" if trailers else b"") + b"\r\n")
    return "keep"


def send_until_close(call: Call) -> After:
    call.head("200 OK", media(call))
    call.body(body_blocks(call.request.target, call.number))
    return "rude" if call.query.get("rude") == "1" else "close"


def send_slowly(call: Call) -> After:
    content = b"".join(body_blocks(call.request.target, call.number))
    pieces = max(1, int(call.query.get("pieces", "10")))
    delay = int(call.query.get("delay_ms", "10")) / 1000
    step = max(1, -(-len(content) // pieces))
    call.head("200 OK", media(call), length(len(content)))
    for start in range(0, len(content), step):
        if start:
            time.sleep(delay)
        call.wire.send(content[start : start + step])
        if start == 0:
            call.checkpoint("part")
    return "keep"


def _encoder(name: str, encode: Callable[[bytes], bytes]) -> Callable[[Call], After]:
    def send(call: Call) -> After:
        content = encode(text_for(call.request.target, call.number or 1000))
        return call.whole(content, media(call, "text/plain"), (b"Content-Encoding", name.encode()))

    return send


def send_status(call: Call) -> After:
    fields = [(b"Location", b"/bytes/3")] if 300 <= call.number < 400 and call.number != 304 else []
    if call.number in (204, 304):
        call.head(f"{call.number} As Asked", *fields)
        return "keep"
    return call.whole(b"status %d\n" % call.number, *fields, status=f"{call.number} As Asked")


def echo(call: Call) -> After:
    if call.request.body_size > BODY_KEPT:
        return call.whole(b"", status="413 Content Too Large")
    kind = call.request.header("content-type") or "application/octet-stream"
    return call.whole(call.request.body, (b"Content-Type", kind.encode("latin-1")))


def digest(call: Call) -> After:
    answer = {"size": call.request.body_size, "sha256": call.request.body_sha256}
    return call.whole(json.dumps(answer).encode(), (b"Content-Type", b"application/json"))


def send_head_back(call: Call) -> After:
    return call.whole(call.request.head, (b"Content-Type", b"message/http"))


def send_duplicates(call: Call) -> After:
    return call.whole(b"duplicates\n", *DUPLICATES)


def continue_first(call: Call) -> After:
    call.wire.send(b"HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n")
    call._read_body()
    call.checkpoint("request")
    return echo(call)


def refuse_expectation(call: Call) -> After:
    call.whole(b"no\n", (b"Connection", b"close"), status="417 Expectation Failed")
    return "close"


def early_hints(call: Call) -> After:
    call.wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
    return call.whole(b"after the hints\n")


def http10(call: Call) -> After:
    call.head("200 OK", media(call, "text/plain"), version="HTTP/1.0")
    call.body([b"an answer of 1996\n"])
    return "close"


def send_short(call: Call) -> After:
    call.head("200 OK", media(call), length(call.number))
    call.wire.send(b"".join(body_blocks(call.request.target, call.number))[: call.number // 2])
    call.cut_short = True
    return "close"


def reset_after(call: Call) -> After:
    call.head("200 OK", media(call), length(2 * call.number))
    call.body(body_blocks(call.request.target, call.number))
    call.cut_short = True
    return "reset"


def hang_up(call: Call) -> After:
    call.cut_short = True
    return "close"


def no_answer(call: Call) -> After:
    while True:  # ends with PeerGoneError
        call.wire.some(65536)


def dead_keepalive(call: Call) -> After:
    call.whole(b"do not trust this connection\n")
    if call.query.get("when") == "next":
        if not call.wire.has_input():
            call.wire.fill()
        call.origin.swallowed += 1
        return "reset"
    return "drop"


def close_after(call: Call) -> After:
    call.whole(b"bye\n", (b"Connection", b"close"))
    return "close"


def upgrade(call: Call) -> After:
    if (call.request.header("upgrade") or "").lower() != "echo":
        return call.whole(b"", (b"Upgrade", b"echo"), status="426 Upgrade Required")
    call.head("101 Switching Protocols", (b"Connection", b"Upgrade"), (b"Upgrade", b"echo"))
    try:
        while True:
            call.wire.send(call.wire.some(65536))
    except PeerGoneError:
        return "close"


def not_found(call: Call) -> After:
    return call.whole(b"no such path\n", status="404 Not Found")


EAGER: dict[str, Callable[[Call], After]] = {
    "100-continue": continue_first,
    "expectation-failed": refuse_expectation,
}
"""Routes that decide themselves when, and whether, the request's body is read."""

ROUTES: dict[str, Callable[[Call], After]] = {
    "bytes": send_bytes,
    "text": send_text,
    "chunked": send_chunked,
    "until-close": send_until_close,
    "slow": send_slowly,
    "gzip": _encoder("gzip", lambda data: gzip.compress(data, mtime=0)),
    "deflate": _encoder("deflate", zlib.compress),
    "br": _encoder("br", lambda data: bytes(brotli.compress(data))),
    "zstd": _encoder("zstd", lambda data: zstandard.ZstdCompressor().compress(data)),
    "status": send_status,
    "echo": echo,
    "digest": digest,
    "headers": send_head_back,
    "duplicate-headers": send_duplicates,
    "early-hints": early_hints,
    "http10": http10,
    "short": send_short,
    "reset-after": reset_after,
    "hang-up": hang_up,
    "no-answer": no_answer,
    "dead-keepalive": dead_keepalive,
    "close": close_after,
    "upgrade": upgrade,
}
