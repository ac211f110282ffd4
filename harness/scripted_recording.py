"""Run as a program: records some exchanges with the recorder's stream and says on stdout which were acknowledged.

Arguments: the session's log folder, the session's id, the durability. What it prints is a line ``seq checksum`` for
each exchange, in the moment in which a client would have its last byte.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import zlib
from pathlib import Path
from typing import Any, cast

from wiretape.log.format import Done, EndState, Flag, FrameType, Opened
from wiretape.log.reserve import Reserve, reserve_path
from wiretape.log.resume import resume_point
from wiretape.log.stream_writer import StreamIdentity, StreamWriter
from wiretape.recorder.session_stream import SessionStream
from wiretape.settings import Durability

EXCHANGES = 12
_SEGMENT = 9_000
_BODIES = (1_000, 6_000)
"""Small bodies go out with ``write``, larger ones with ``writev``."""


async def record(folder: Path, session_id: str, durability: Durability) -> None:
    """Record, rotate some times, close."""
    number, seq = resume_point(folder, 0, 1)
    identity = StreamIdentity(session_id, 0, 1, os.getpid(), os.getpid(), "boot", "test")
    writer = StreamWriter(
        folder,
        identity,
        clock_ns=time.time_ns,
        next_number=number,
        next_seq=seq,
        segment_bytes=_SEGMENT,
        reserve=Reserve(reserve_path(folder, 0)),
    )
    stream = SessionStream(asyncio.get_running_loop(), writer, session_id, durability=durability)
    for _ in range(EXCHANGES):
        await _exchange(stream)
    await asyncio.sleep(0.2)
    stream.close()


async def _exchange(stream: SessionStream) -> None:
    seq = stream.take_seq()
    opened = Opened(time.time_ns(), 1, "http", "host", 80, "127.0.0.1:1", 3)
    stream.append(FrameType.OPENED, seq, opened, b"GET", Flag.REQUEST_COMPLETE)
    body = os.urandom(_BODIES[seq % len(_BODIES)])
    done = Done(1, EndState.COMPLETE, 200, 0, 0, len(body), 0, len(body), 0, zlib.crc32(body))
    stream.append(FrameType.DONE, seq, done, body, Flag.HAS_RESPONSE)
    answered = asyncio.Event()

    def answer(_: Any) -> None:
        os.write(1, f"{seq} {zlib.crc32(body)}\n".encode())
        answered.set()

    stream.release_last(answer, None)
    await answered.wait()


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1]), sys.argv[2], cast("Durability", sys.argv[3])))
