"""The file port: every implementation behaves as the operating system does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from harness.disks.memory import MemoryDisk, MemoryFiles
from tests.support.failing_files import FailingFiles, Killed
from wiretape.log.files import REAL, Files

Make = Callable[[Path], Files]


def in_memory(folder: Path, random: Random | None = None) -> MemoryFiles:
    disk = MemoryDisk()
    disk.make_folder(folder)
    return MemoryFiles(disk, random)


PORTS: dict[str, Make] = {
    "real": lambda _: REAL,
    "in memory": in_memory,
    "wrapped real": lambda _: FailingFiles(),
    "wrapped in memory": lambda folder: FailingFiles(in_memory(folder)),
}


@pytest.fixture(params=PORTS)
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    return PORTS[request.param](tmp_path)


def read(files: Files, path: Path) -> bytes:
    file = files.open_read(path)
    try:
        return file.read_at(file.size(), 0)
    finally:
        file.close()


def test_what_is_written_is_read_back_at_any_offset(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "file"
    fd = files.create(path)
    assert files.write(fd, b"0123") == 4
    reader = files.open_read(path)
    assert files.write(fd, memoryview(b"456789")[1:]) == 5
    assert reader.size() == 9
    assert [reader.read_at(3, 2), reader.read_at(5, 7), reader.read_at(5, 9), reader.read_at(5, 90)] == [
        b"235",
        b"89",
        b"",
        b"",
    ]
    files.fdatasync(fd)
    files.fsync_folder(tmp_path)
    reader.close()
    files.close(fd)
    assert read(files, path) == b"012356789"


def test_a_duplicate_outlives_its_original(files: Files, tmp_path: Path) -> None:
    fd = files.create(tmp_path / "file")
    second = files.duplicate(fd)
    assert second != fd
    files.write(fd, b"one")
    files.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        files.write(fd, b"x")
    assert files.write(second, b"two") == 3
    files.fdatasync(second)
    files.close(second)
    assert read(files, tmp_path / "file") == b"onetwo"


def test_a_file_is_opened_again_to_be_synced(files: Files, tmp_path: Path) -> None:
    fd = files.create(tmp_path / "file")
    files.write(fd, b"1")
    files.close(fd)
    again = files.reopen(tmp_path / "file")
    files.fdatasync(again)
    files.close(again)
    with pytest.raises(FileNotFoundError):
        files.reopen(tmp_path / "nowhere")


def test_a_file_that_is_there_is_not_created_again(files: Files, tmp_path: Path) -> None:
    files.close(files.create(tmp_path / "file"))
    with pytest.raises(FileExistsError):
        files.create(tmp_path / "file")


def test_what_is_not_there_is_said_to_be_missing(files: Files, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for call in (files.open_read, files.list_folder, files.fsync_folder):
        with pytest.raises(FileNotFoundError):
            call(nowhere)
    with pytest.raises(FileNotFoundError):
        files.create(nowhere / "file")
    with pytest.raises(FileNotFoundError):
        files.lock(nowhere / "0.lock", b"")
    assert files.lock_note(nowhere) is None
    files.remove_empty(nowhere)


def test_a_folder_is_listed_with_the_sizes_of_its_files(files: Files, tmp_path: Path) -> None:
    for name, content in (("a", b""), ("b", b"123")):
        fd = files.create(tmp_path / name)
        files.write(fd, content)
        files.close(fd)
    assert sorted(files.list_folder(tmp_path)) == [("a", 0, True), ("b", 3, True)]
    with pytest.raises(NotADirectoryError):
        files.list_folder(tmp_path / "a")


def test_only_an_empty_file_is_removed(files: Files, tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("full", b"1")):
        fd = files.create(tmp_path / name)
        files.write(fd, content)
        files.close(fd)
        files.remove_empty(tmp_path / name)
    assert [entry.name for entry in files.list_folder(tmp_path)] == ["full"]


def test_a_reserve_is_empty_and_moves_to_a_name_that_is_free(files: Files, tmp_path: Path) -> None:
    reserve, taken, target = tmp_path / "reserve", tmp_path / "taken", tmp_path / "target"
    for _ in range(2):  # also when it is there
        files.reserve(reserve, 4096)
        assert read(files, reserve) == b""
    files.close(files.create(taken))
    with pytest.raises(FileExistsError):
        files.move(reserve, taken)
    fd = files.move(reserve, target)
    files.write(fd, b"data")
    files.close(fd)
    assert read(files, target) == b"data"
    assert {entry.name for entry in files.list_folder(tmp_path)} == {"taken", "target"}
    with pytest.raises(FileNotFoundError):
        files.move(reserve, tmp_path / "other")


def test_one_holder_has_the_lock_until_it_closes(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "0.lock"
    assert files.lock_note(path) is None
    fd = files.lock(path, b"a long note")
    assert fd is not None
    assert files.lock(path, b"other") is None
    assert files.lock_note(path) == b"a long note"
    files.close(fd)
    assert files.lock_note(path) is None
    again = files.lock(path, b"note")
    assert again is not None
    assert files.lock_note(path) == b"note"
    files.close(again)


# -- the disk in memory -------------------------------------------------------------------------------------------


@pytest.fixture
def memory(tmp_path: Path) -> MemoryFiles:
    return in_memory(tmp_path)


def outcomes(memory: MemoryFiles, folder: Path) -> set[tuple[tuple[str, bytes], ...]]:
    """Give everything that a power cut can leave, as far as many draws show."""
    return {tuple(sorted(memory.disk.after_power_cut(Random(seed)).content(folder).items())) for seed in range(500)}


def test_a_kill_leaves_every_byte_and_no_lock(memory: MemoryFiles, tmp_path: Path) -> None:
    fd = memory.create(tmp_path / "file")
    memory.write(fd, b"not synced")
    assert memory.lock(tmp_path / "0.lock", b"note") is not None
    after = MemoryFiles(memory.disk.after_kill())
    assert read(after, tmp_path / "file") == b"not synced"
    assert after.lock(tmp_path / "0.lock", b"next") is not None
    memory.write(fd, b", and after it")
    assert read(after, tmp_path / "file") == b"not synced"
    memory.die()
    assert memory.lock_note(tmp_path / "0.lock") is None


def test_a_power_cut_leaves_what_is_synced(memory: MemoryFiles, tmp_path: Path) -> None:
    fd = memory.create(tmp_path / "file")
    memory.write(fd, b"x" * 700)
    memory.fdatasync(fd)
    memory.fsync_folder(tmp_path)
    assert outcomes(memory, tmp_path) == {(("file", b"x" * 700),)}


def test_a_file_whose_folder_is_not_synced_may_be_gone_with_all_its_bytes(memory: MemoryFiles, tmp_path: Path) -> None:
    fd = memory.create(tmp_path / "file")
    memory.write(fd, b"x")
    memory.fdatasync(fd)
    assert outcomes(memory, tmp_path) == {(), (("file", b"x"),)}


def test_sectors_and_length_that_are_not_synced_survive_in_any_subset(memory: MemoryFiles, tmp_path: Path) -> None:
    fd = memory.create(tmp_path / "file")
    memory.fsync_folder(tmp_path)
    memory.write(fd, b"s" * 100)
    memory.fdatasync(fd)
    memory.write(fd, b"u" * 924)
    found = {content for ((_, content),) in outcomes(memory, tmp_path)}
    safe, first, second = b"s" * 100, b"u" * 412, b"u" * 512
    assert found == {
        safe,
        safe + bytes(924),
        safe + first + bytes(512),
        safe + bytes(412) + second,
        safe + first + second,
    }


def test_a_sync_is_of_what_was_written_before_it_began(memory: MemoryFiles, tmp_path: Path) -> None:
    fd = memory.create(tmp_path / "file")
    memory.fsync_folder(tmp_path)
    memory.write(fd, b"before")
    end = memory.sync_of(fd)
    memory.write(fd, b"after")
    end(None)
    found = {content for ((_, content),) in outcomes(memory, tmp_path)}
    assert found == {b"before", b"before" + bytes(5), b"beforeafter"}


@pytest.mark.parametrize("forget", [False, True])
def test_the_pages_of_a_failed_sync_are_lost_whatever_the_next_one_says(tmp_path: Path, forget: bool) -> None:
    lost = kept = 0
    for seed in range(50):
        memory = in_memory(tmp_path, Random(seed))
        fd = memory.create(tmp_path / "file")
        memory.fsync_folder(tmp_path)
        memory.write(fd, b"x" * 512)
        memory.failing, memory.forget = 1, forget
        with pytest.raises(OSError, match="Input/output"):
            memory.fdatasync(fd)
        memory.write(fd, b"y" * 512)
        memory.fdatasync(fd)
        ((_, content),) = next(iter(outcomes(memory, tmp_path)))
        assert content in (b"x" * 512 + b"y" * 512, bytes(512) + b"y" * 512)
        lost += content[:1] == b"\0"
        kept += content[:1] == b"x"
        assert read(memory, tmp_path / "file") == (content if forget else b"x" * 512 + b"y" * 512)
    assert lost
    assert kept


# -- failing on order ---------------------------------------------------------------------------------------------


@pytest.fixture(params=["real", "in memory"])
def failing(request: pytest.FixtureRequest, tmp_path: Path) -> FailingFiles:
    return FailingFiles(PORTS[request.param](tmp_path))


def test_a_write_is_short_and_then_the_disk_is_full(failing: FailingFiles, tmp_path: Path) -> None:
    fd = failing.create(tmp_path / "file")
    failing.short = 2
    assert failing.write(fd, b"12345") == 2
    failing.room = 4
    assert failing.write(fd, b"345678") == 4
    with pytest.raises(OSError, match="no space left"):
        failing.write(fd, b"7")
    assert read(failing, tmp_path / "file") == b"123456"
    failing.close(fd)


def test_writes_and_syncs_fail_as_often_as_they_are_told_to(failing: FailingFiles, tmp_path: Path) -> None:
    fd = failing.create(tmp_path / "file")
    failing.write_errors = failing.sync_errors = failing.folder_errors = 1
    with pytest.raises(OSError, match="input/output"):
        failing.write(fd, b"1")
    with pytest.raises(OSError, match="input/output"):
        failing.fdatasync(fd)
    with pytest.raises(OSError, match="input/output"):
        failing.fsync_folder(tmp_path)
    failing.write(fd, b"2")
    failing.fdatasync(fd)
    failing.fsync_folder(tmp_path)
    assert failing.synced == 1
    failing.close(fd)


def test_a_lying_sync_makes_nothing_durable(memory: MemoryFiles, tmp_path: Path) -> None:
    failing = FailingFiles(memory)
    failing.lying = True
    fd = failing.create(tmp_path / "file")
    failing.write(fd, b"1")
    failing.fdatasync(fd)
    failing.fsync_folder(tmp_path)
    assert () in outcomes(memory, tmp_path)


def test_nothing_is_done_from_the_call_on_at_which_the_process_ends(failing: FailingFiles, tmp_path: Path) -> None:
    fd = failing.create(tmp_path / "file")
    failing.killed_at = failing.calls + 1
    failing.write(fd, b"1")
    for _ in range(2):
        with pytest.raises(Killed):
            failing.write(fd, b"2")
    assert read(failing.inner, tmp_path / "file") == b"1"
    failing.inner.close(fd)
