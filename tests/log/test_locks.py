"""Living writers are told from dead ones by the lock, never by what a file says."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wiretape.log.locks import writer_alive

HOLDER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def test_nobody_writes_where_there_is_no_lock(tmp_path: Path) -> None:
    assert writer_alive(tmp_path) is None
    assert writer_alive(tmp_path / "nowhere") is None
    assert writer_alive(tmp_path, 3) is None


def test_a_note_without_its_lock_is_of_a_dead_writer(tmp_path: Path) -> None:
    (tmp_path / "0.lock").write_text(json.dumps({"pid": os.getpid(), "bootId": "b", "nonce": 1}))
    assert writer_alive(tmp_path) is None


def test_a_killed_writer_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "1.lock"
    path.write_text('{"pid": 77, "bootId": "b", "nonce": 5}')
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert writer_alive(tmp_path) == {"pid": 77, "bootId": "b", "nonce": 5, "stream": 1}
        assert writer_alive(tmp_path, 1) is not None
        assert writer_alive(tmp_path, 0) is None
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert writer_alive(tmp_path) is None


@pytest.mark.parametrize("note", ["", "{", "[]", "7", '{"pid": "x"}', "\udcff"])
def test_an_unreadable_note_is_still_a_living_holder(tmp_path: Path, note: str) -> None:
    path = tmp_path / "0.lock"
    path.write_bytes(note.encode("utf-8", "surrogateescape"))
    fd = lock(path)
    try:
        assert writer_alive(tmp_path) == {"pid": 0, "stream": 0}
    finally:
        os.close(fd)


def test_asking_keeps_nothing_locked_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "0.lock"
    path.write_bytes(b"note")
    before = path.stat()
    writer_alive(tmp_path)
    fd = os.open(path, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)
    after = path.stat()
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)


def test_links_and_strange_names_are_no_locks(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    fd = lock(target)
    try:
        (tmp_path / "0.lock").symlink_to(target)
        (tmp_path / "01.lock").hardlink_to(target)
        os.mkfifo(tmp_path / "2.lock")
        assert writer_alive(tmp_path) is None
        assert writer_alive(tmp_path, 0) is None
    finally:
        os.close(fd)
