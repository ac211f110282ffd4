"""What the writer writes is what the reader reads, also when the disk refuses in between."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.log.logbuilder import SESSION
from wiretape.errors import BusyError
from wiretape.log import open_session
from wiretape.log.files import REAL, RealFiles
from wiretape.log.format import BodyChunk, Done, Event, Flag, FrameType, Opened
from wiretape.log.items import Damage, Frame
from wiretape.log.locks import writer_alive
from wiretape.log.resume import resume_point
from wiretape.log.scan import scan_segment
from wiretape.log.store import list_segments
from wiretape.log.stream_writer import StreamIdentity, StreamWriter
from wiretape.log.verify import verify_log

HEAD = b"GET / HTTP/1.1\r\n\r\n"
WALL = 1_767_225_600_000_000_000


class FullDisk(RealFiles):
    """The operating system's files on a disk that takes ``room`` more bytes, then says ENOSPC; None is no limit."""

    def __init__(self) -> None:
        self.room: int | None = None

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if self.room is None:
            return super().write(fd, data)
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = super().write(fd, memoryview(data)[: self.room])
        self.room -= taken
        return taken


def writer_of(folder: Path, *, files: FullDisk | None = None, run: int = 1, segment_bytes: int = 4096) -> StreamWriter:
    folder.mkdir(exist_ok=True)
    number, seq = resume_point(folder, 0, 1)
    return StreamWriter(
        folder,
        StreamIdentity(SESSION, 0, 1, run, 4242, "boot", "test"),
        clock_ns=lambda: WALL,
        next_number=number,
        next_seq=seq,
        files=files or REAL,
        segment_bytes=segment_bytes,
    )


def opened(writer: StreamWriter) -> int:
    seq = writer.take_seq()
    record = Opened(WALL, 1, "http", "example.com", 80, "127.0.0.1:5000", len(HEAD))
    writer.append(FrameType.OPENED, seq, record, HEAD, Flag.REQUEST_COMPLETE)
    return seq


def done(writer: StreamWriter, seq: int, body: bytes) -> None:
    record = Done(5, 0, 200, 0, 0, len(body), 0, len(body), 0, 0)
    writer.append(FrameType.DONE, seq, record, body, Flag.HAS_RESPONSE)


def exchange(writer: StreamWriter, body: bytes = b"x" * 100) -> int:
    seq = opened(writer)
    done(writer, seq, body)
    return seq


def test_what_was_written_over_many_segments_is_read_and_clean(tmp_path: Path) -> None:
    log = tmp_path / "log"
    writer = writer_of(log)
    bodies = {}
    for number in range(1, 200):
        body = bytes([number]) * number
        bodies[exchange(writer, body)] = body
        assert writer.flush()
    writer.close()
    assert len(list_segments(log)) > 10
    report = verify_log(log, SESSION)
    assert (report.exchanges, report.done, report.closed_cleanly) == (199, 199, True)
    assert (report.gaps, report.tails, report.notes) == ([], [], [])
    for found in open_session(log):
        assert found.response is not None
        assert found.response.body.read() == bodies.pop(found.seq)
    assert bodies == {}


def test_p6_every_flush_is_seen_by_who_reads_on_and_verify_stays_calm(tmp_path: Path) -> None:
    log = tmp_path / "log"
    writer = writer_of(log, segment_bytes=1 << 20)
    path, position = list_segments(log)[0].path, 0

    def gained() -> list[Frame | Damage]:
        nonlocal position
        scan = scan_segment(path, start=position, live=True)
        found = list(scan)
        position = scan.position
        return found

    assert len(gained()) == 1
    for _ in range(50):
        seq = opened(writer)
        writer.flush()
        (item,) = gained()
        assert isinstance(item, Frame)
        assert (item.kind, item.seq) == (FrameType.OPENED, seq)
        report = verify_log(log, SESSION)
        assert (report.in_flight, report.interrupted, report.gaps, report.tails) == ([seq], [], [], [])
        done(writer, seq, b"y")
        writer.flush()
        assert len(gained()) == 1
    writer.close()
    (seal,) = gained()
    assert isinstance(seal, Frame)
    assert (seal.kind, seal.flags) == (FrameType.SEAL, Flag.FINAL)


def test_p6_a_second_writer_is_refused_with_the_holders_pid(tmp_path: Path) -> None:
    log = tmp_path / "log"
    writer = writer_of(log)
    with pytest.raises(BusyError) as caught:
        writer_of(log)
    assert caught.value.pid == 4242
    holder = writer_alive(log)
    assert holder is not None
    assert (holder["pid"], holder["nonce"], holder["stream"]) == (4242, 1, 0)
    writer.close()
    assert writer_alive(log) is None


@pytest.mark.parametrize("refusals", [1, 5])
@pytest.mark.parametrize("room", [0, 1, 39, 40, 60, 130, 200, 400])
def test_p10_a_full_disk_costs_what_was_not_written_and_looks_like_no_damage(
    tmp_path: Path, room: int, refusals: int
) -> None:
    log = tmp_path / "log"
    disk = FullDisk()
    writer = writer_of(log, files=disk)
    exchange(writer)
    assert writer.flush()
    disk.room = room
    lost = [exchange(writer), exchange(writer)]
    whole = writer.flush()
    for _ in range(refusals):
        if not whole:
            disk.room = 0
            assert not writer.begin_new_segment()
    disk.room = None
    gone = sorted({seq for _, seq in writer.lost if seq})
    if not whole:
        assert set(gone) <= set(lost)
        assert writer.begin_new_segment()
        detail = {"exchanges": len(gone), "partial": gone}
        writer.append(FrameType.EVENT, 0, Event(WALL, "dropped", detail))
    last = exchange(writer)
    assert writer.flush()
    writer.close()
    report = verify_log(log, SESSION)
    assert (report.gaps, report.lost, report.in_flight, report.notes) == ([], [], [], [])
    assert report.closed_cleanly
    assert report.partial == gone
    assert report.exchanges == report.done + len(report.interrupted)
    assert set(report.interrupted) <= set(gone)
    assert report.next_seq == {0: last + 1}
    assert [ref.number for ref in list_segments(log)] == list(range(1, len(list_segments(log)) + 1))


def killed(writer: StreamWriter) -> Callable[[], None]:
    """Let go of everything as the kernel does for a killed process: no seal, nothing flushed."""

    def release() -> None:
        RealFiles().close(writer.fd)
        RealFiles().close(writer._lock_fd)

    return release


def test_p5_the_next_run_goes_on_with_the_next_number_wherever_the_last_was_killed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    writer = writer_of(source, segment_bytes=1 << 20)
    for _ in range(3):
        exchange(writer)
    seq = opened(writer)
    writer.append(FrameType.REQUEST_BODY, seq, BodyChunk(0), b"part")
    writer.flush()
    content = list_segments(source)[0].path.read_bytes()
    killed(writer)()
    frames = [item for item in scan_segment(list_segments(source)[0].path) if isinstance(item, Frame)]
    for length in range(0, len(content) + 1, 7):
        log = tmp_path / str(length)
        log.mkdir()
        (log / list_segments(source)[0].name).write_bytes(content[:length])
        seen = {frame.seq for frame in frames if frame.end <= length and frame.seq}
        again = writer_of(log, run=2)
        first = exchange(again)
        again.flush()
        again.close()
        assert first == max(seen, default=0) + 1
        report = verify_log(log, SESSION)
        assert (report.gaps, report.lost, report.notes) == ([], [], [])
        assert report.exchanges == len(seen) + 1
        ended = {frame.seq for frame in frames if frame.end <= length and frame.kind == FrameType.DONE}
        assert report.interrupted == sorted(seen - ended)


RECORDER = """
import itertools, os, sys
from pathlib import Path
from tests.log.test_writer_reader import done, opened, writer_of
writer = writer_of(Path(sys.argv[1]), run=os.getpid(), segment_bytes=20_000)
held = []
for number in itertools.count():
    held.append(opened(writer))
    if number % 3 == 0:
        done(writer, held.pop(0), b"r" * (number % 700))
        writer.flush()
    if len(held) > 5:
        while held:
            done(writer, held.pop(), b"late")
        writer.flush()
        print(writer.next_seq, flush=True)
"""


def test_p6_verify_beside_a_writer_at_full_speed_finds_nothing_until_it_is_killed_and_loses_nothing_then(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", RECORDER, str(log)], stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        confirmed = int(process.stdout.readline())
        for _ in range(15):
            report = verify_log(log, SESSION)
            assert (report.gaps, report.tails, report.lost, report.interrupted, report.notes) == ([], [], [], [], [])
            assert report.holder is not None
            assert report.holder["pid"] == 4242
            assert report.exchanges >= confirmed - 1
            confirmed = int(process.stdout.readline())
        process.kill()
        confirmed = max([confirmed, *map(int, process.stdout.read().split())])
        process.wait(30)
    report = verify_log(log, SESSION)
    assert (report.gaps, report.lost, report.notes, report.holder) == ([], [], [], None)
    assert report.exchanges >= confirmed - 1
    assert report.exchanges == report.done + len(report.interrupted)
    assert report.segments > 1
