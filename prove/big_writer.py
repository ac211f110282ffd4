"""``python -m prove.big_writer LOG_DIR SESSION_ID BYTES TAIL MIX``: a log of any size, quickly, by the real writer.

It writes BYTES, prints how many exchanges that were and waits for a line; then it writes TAIL bytes more and one
exchange that does not end, prints again, and waits to be killed or, at the end of its input, closes in order.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec
from google_crc32c import value as crc32c

from wiretape.log.format import Done, Flag, FrameType, Opened
from wiretape.log.stream_writer import StreamIdentity, StreamWriter

SMALL, MIDDLE, LARGE = 300, 16 * 1024, 64 * 1024
"""Bytes of answers: a small one with its request is about 600 bytes of log."""
MIXES = {
    "real": (SMALL, SMALL, MIDDLE, SMALL, SMALL, MIDDLE, SMALL, LARGE, SMALL, MIDDLE),
    "small": (SMALL,),
    "bodies": (MIDDLE, MIDDLE, LARGE),
}
_FLUSH = 64
_encode = msgspec.msgpack.Encoder().encode


class Frames:
    """The two frames of an exchange with an answer of ``size`` bytes, but for what the writer adds."""

    def __init__(self, size: int) -> None:
        body = os.urandom(size)
        self.request = (
            f"GET /items/{size}?page=7 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: client/1.0\r\n"
            "Accept: application/json\r\nAccept-Encoding: gzip\r\n\r\n"
        ).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n".encode()
        opened = Opened(time.time_ns(), 1, "http", "shop.example.com", 80, "127.0.0.1:50000", len(self.request))
        self.opened = msgspec.Raw(_encode(opened))
        done = Done(
            elapsed_ns=12_345_678,
            state=0,
            status=200,
            head_size=len(head),
            request_size=0,
            request_recorded=0,
            request_crc=0,
            response_size=size,
            response_recorded=size,
            response_crc=crc32c(body),
            server="127.0.0.1:80",
        )
        self.done = msgspec.Raw(_encode(done))
        self.answer = head + body


def write(writer: StreamWriter, size: int, mix: list[Frames]) -> int:
    """Write about ``size`` bytes; give the number of exchanges."""
    until, count = writer.size + size, 0
    opened, done = int(FrameType.OPENED), int(FrameType.DONE)
    complete, whole = int(Flag.REQUEST_COMPLETE), int(Flag.HAS_RESPONSE)
    while writer.size < until:
        frames = mix[count % len(mix)]
        seq = writer.take_seq()
        writer.append(opened, seq, frames.opened, frames.request, complete)
        writer.append(done, seq, frames.done, frames.answer, whole)
        count += 1
        if count % _FLUSH == 0 and not writer.flush():
            raise SystemExit("the disk refused the log")
    if not writer.flush():
        raise SystemExit("the disk refused the log")
    return count


def main(log_dir: str, session_id: str, size: str, tail: str, mix: str) -> None:
    """Write, and wait."""
    run = int.from_bytes(os.urandom(7), "little")
    identity = StreamIdentity(session_id, 0, 1, run, os.getpid(), "", "prove")
    writer = StreamWriter(Path(log_dir), identity, clock_ns=time.time_ns, next_number=1, next_seq=1)
    made = {size: Frames(size) for size in MIXES[mix]}
    frames = [made[size] for size in MIXES[mix]]
    print(write(writer, int(size), frames), flush=True)
    sys.stdin.readline()
    count = write(writer, int(tail), frames)
    if int(tail):
        writer.append(int(FrameType.OPENED), writer.take_seq(), frames[0].opened, frames[0].request)
        writer.flush()
    print(count, flush=True)
    if sys.stdin.readline():
        return
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
