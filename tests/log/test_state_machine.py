"""Writer, rotation, seal, resumption and reader against a model, with a crash allowed at every call to the disk."""

from __future__ import annotations

from pathlib import Path
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from harness.disks.memory import MemoryDisk, MemoryFiles
from tests.support.failing_files import FailingFiles, Killed
from wiretape.log.format import BodyChunk, Done, EndState, Flag, FrameType, Opened
from wiretape.log.items import OF_AN_EXCHANGE, Damage, Frame
from wiretape.log.resume import resume_point
from wiretape.log.scan import scan_segment
from wiretape.log.store import list_segments
from wiretape.log.stream_writer import StreamIdentity, StreamWriter
from wiretape.log.verify import LogReport, verify_log

LOG = Path("/log")
SESSION = "20260101T000000-00000a"
Written = tuple[int, int, bytes]
"""A frame as the model knows it: kind, seq, data."""


class Recording(RuleBasedStateMachine):
    """A recorder's log over its lives.

    ``certain`` are the frames whose flush said that they are written, ``durable`` those of them that a sync has saved,
    ``possible`` every frame that was ever gathered. ``harmed`` says that the disk refused something or lost its power:
    then numbers may be missing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.disk = MemoryDisk()
        self.disk.make_folder(LOG)
        self.writer: StreamWriter | None = None
        self.possible: set[Written] = set()
        self.certain: set[Written] = set()
        self.durable: set[Written] = set()
        self.doubtful: set[Written] = set()
        """What a sync that failed should have saved, in a life that was killed before it had written copies. The kernel
        has dropped those pages and told the one that is dead; no later sync fails, so nobody can know (P9)."""
        self.pending: set[Written] = set()
        self.unfinished: list[int] = []
        self.ends: dict[int, int] = {}
        self.before: dict[str, bytes] = {}
        self.runs = 0
        self.syncs = 0
        self.harmed = False
        self.memory = MemoryFiles(self.disk)
        self.files = FailingFiles(self.memory)

    # -- a life ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.writer is None)
    @rule(chance=st.integers(0, 2**32), killed_at=st.none() | st.integers(0, 12))
    def start(self, chance: int, killed_at: int | None) -> None:
        self.memory = MemoryFiles(self.disk, Random(chance))
        number, seq = resume_point(LOG, 0, 1, self.memory)
        assert seq > max((seq for _, seq, _ in self.certain), default=0), "a seq would be given twice"
        self.before = {name: data for name, data in self.disk.content(LOG).items() if name.endswith(".wlog")}
        assert not self.before or number > max(int(name[2:10]) for name in self.before)
        self.runs += 1
        self.syncs = 0
        self.files = FailingFiles(self.memory)
        self.files.killed_at = killed_at
        self.pending, self.unfinished = set(), []
        identity = StreamIdentity(SESSION, 0, 1, self.runs, 1, "boot", "test")
        try:
            self.writer = StreamWriter(
                LOG,
                identity,
                clock_ns=lambda: 1,
                next_number=number,
                next_seq=seq,
                files=self.files,
                segment_bytes=1500,
            )
        except Killed:
            self.killed()

    def put(self, kind: int, seq: int, data: bytes, flags: int = 0) -> None:
        writer = self.writer
        assert writer is not None
        record = {
            FrameType.OPENED: Opened(1, 1, "http", "host", 80, "127.0.0.1:1", 0),
            FrameType.RESPONSE_BODY: BodyChunk(0),
            FrameType.DONE: Done(1, EndState.COMPLETE, 200, 0, 0, len(data), 0, len(data), 0, 0),
        }[FrameType(kind)]
        # Each life's bytes are its own, so that a seq given twice would be seen.
        data = bytes([self.runs]) + data
        writer.append(kind, seq, record, data, flags)
        frame = (kind, seq, data)
        self.possible.add(frame)
        self.pending.add(frame)

    @precondition(lambda self: self.writer is not None)
    @rule(sizes=st.lists(st.sampled_from([0, 1, 40, 600, 2000]), min_size=1, max_size=4))
    def open(self, sizes: list[int]) -> None:
        assert self.writer is not None
        for size in sizes:
            seq = self.writer.take_seq()
            self.put(FrameType.OPENED, seq, b"q" * size, Flag.REQUEST_COMPLETE)
            self.unfinished.append(seq)

    @precondition(lambda self: self.writer is not None and self.unfinished)
    @rule(size=st.sampled_from([0, 30, 700]), which=st.integers(0, 100), body=st.booleans())
    def finish(self, size: int, which: int, body: bool) -> None:
        seq = self.unfinished.pop(which % len(self.unfinished))
        if body:
            self.put(FrameType.RESPONSE_BODY, seq, b"b" * size)
        self.put(FrameType.DONE, seq, b"a" * size, Flag.HAS_RESPONSE)

    @precondition(lambda self: self.writer is not None)
    @rule()
    def flush(self) -> None:
        self.calling(self.flush_now)

    def flush_now(self) -> None:
        writer, pending = self.writer, self.pending
        assert writer is not None
        if not writer.pending:
            return
        whole = writer.flush()
        self.pending = set()
        lost = set(writer.lost)
        self.harmed = self.harmed or not whole
        writer.lost.clear()
        assert whole or lost or not pending
        self.certain |= {frame for frame in pending if whole or frame[:2] not in lost}

    @precondition(lambda self: self.writer is not None)
    @rule(failing=st.sampled_from([0, 0, 0, 1, 2]))
    def sync(self, failing: int) -> None:
        self.memory.failing = failing
        self.calling(self.sync_now)

    def sync_now(self) -> None:
        """As the recorder's stream does it: what a failed sync should have saved is written again."""
        writer = self.writer
        assert writer is not None
        self.flush_now()
        for _ in range(4):
            until = writer.here
            self.syncs += 1
            before = self.doubtful
            if self.memory.failing:
                self.doubtful = before | (self.certain - self.durable)
            try:
                writer.sync_job()()
            except OSError:
                rewritten = writer.rewrite_unsynced()
                self.doubtful = before
                if rewritten:
                    continue
                lost = set(writer.lost)
                writer.lost.clear()
                self.harmed = True
                self.durable &= self.certain
                assert all(frame[:2] not in lost or frame not in self.durable for frame in self.certain)
                return
            self.doubtful = before
            writer.synced(until)
            # What lives before this one left unsynced is saved by the first sync, or as the kill left it.
            first = self.syncs == 1
            self.durable |= {frame for frame in self.certain if first or frame[2][0] == self.runs} - self.doubtful
            return

    @precondition(lambda self: self.writer is not None)
    @rule(room=st.none() | st.integers(0, 900))
    def fill_the_disk(self, room: int | None) -> None:
        self.files.room = room
        if room is None:
            assert self.writer is not None
            self.calling(self.begin_again)

    def begin_again(self) -> None:
        assert self.writer is not None
        self.flush_now()
        self.writer.begin_new_segment()

    @precondition(lambda self: self.writer is not None)
    @rule(taken=st.integers(0, 900))
    def write_in_two(self, taken: int) -> None:
        self.files.short = taken + 1

    @precondition(lambda self: self.writer is not None)
    @rule(final=st.booleans())
    def close(self, final: bool) -> None:
        self.calling(lambda: self.close_now(final))

    def close_now(self, final: bool) -> None:
        assert self.writer is not None
        self.flush_now()
        self.writer.close(final=final)
        self.writer = None
        self.check_live()

    # -- its end --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.writer is not None)
    @rule(calls=st.integers(0, 6))
    def kill_soon(self, calls: int) -> None:
        self.files.killed_at = self.files.calls + calls

    @rule()
    def kill(self) -> None:
        self.killed()

    @rule(chance=st.integers(0, 2**32))
    def cut_the_power(self, chance: int) -> None:
        self.check_unchanged()
        self.disk = self.disk.after_power_cut(Random(chance))
        found, _ = self.read()
        assert self.durable <= found, "a frame that was synced is gone"
        self.end_of_life()
        # What a machine finds when it starts is on the disk; numbers of which nothing was left may be given again.
        self.certain, self.durable, self.doubtful = found, set(found), set()
        self.harmed = True

    def calling(self, action: object) -> None:
        assert callable(action)
        try:
            action()
        except Killed:
            self.killed()

    def killed(self) -> None:
        self.check_unchanged()
        self.disk = self.disk.after_kill()
        found, report = self.read()
        assert self.certain <= found, "a frame whose flush had returned is gone"
        if not self.harmed:
            assert not report.gaps
        self.end_of_life()
        self.certain = found

    def end_of_life(self) -> None:
        self.writer = None
        self.before = {}
        self.memory = MemoryFiles(self.disk)
        self.files = FailingFiles(self.memory)

    # -- what holds -----------------------------------------------------------------------------------------------

    @rule()
    def check_live(self) -> None:
        found, report = self.read()
        assert self.certain <= found
        if self.writer is not None:
            assert report.holder is not None

    def check_unchanged(self) -> None:
        content = self.disk.content(LOG)
        assert all(content[name] == data for name, data in self.before.items()), "a life changed another's segment"

    def read(self) -> tuple[set[Written], LogReport]:
        """Read the log; nothing is invented, no byte is without an account, each seq is of one life."""
        files = MemoryFiles(self.disk)
        report = verify_log(LOG, SESSION, files=files)
        found: set[Written] = set()
        for ref in list_segments(LOG, files):
            end = 0
            for item in scan_segment(ref.path, files=files):
                assert item.offset == end
                end = item.end
                if isinstance(item, Frame) and item.kind in OF_AN_EXCHANGE:
                    found.add((item.kind, item.seq, bytes(item.data)))
                assert not isinstance(item, Damage) or item.length > 0
            assert end == ref.size
        assert found <= self.possible, "a frame was made up"
        assert len({(seq, data[0]) for _, seq, data in found}) == len({seq for _, seq, _ in found}), "a seq, two lives"
        assert report.exchanges == len({seq for _, seq, _ in found})
        assert report.done == len({seq for kind, seq, _ in found if kind == FrameType.DONE})
        assert not set(report.lost) & {seq for _, seq, _ in found}
        return found, report


TestRecording = Recording.TestCase
TestRecording.settings = settings(max_examples=100, stateful_step_count=40, deadline=None, derandomize=True)
