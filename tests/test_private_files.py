"""Files that are the owner's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from wiretape.errors import BusyError, StorageError
from wiretape.private_files import (
    close_to_others,
    exclusive,
    is_private,
    private_folder,
    replace_file,
    storage_error,
    take_lock,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_p14_a_private_folder_is_closed_to_others_whatever_the_umask_and_whoever_made_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        private_folder(tmp_path / "a" / "b")
        (tmp_path / "open").mkdir(mode=0o777)
        assert not is_private(tmp_path / "open")
        private_folder(tmp_path / "open")
    finally:
        os.umask(before)
    for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "open"):
        assert mode(path) == 0o700
        assert is_private(path)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert not is_private(tmp_path / "link")
    assert not is_private(tmp_path / "nothing")


def test_a_folder_where_a_file_is_in_the_way_is_a_storage_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match=r"cannot make .*file"):
            private_folder(path)
    assert (tmp_path / "file").is_file()


def test_a_file_is_replaced_whole_with_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert replace_file(path, b"one")
    assert mode(path) == 0o600
    assert not replace_file(path, b"one")
    assert replace_file(path, b"two", mode=0o644)
    assert (path.read_bytes(), mode(path)) == (b"two", 0o644)
    close_to_others(path)
    assert mode(path) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_p14_a_link_is_replaced_and_never_written_through(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("alive")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    replace_file(tmp_path / "link", b"new")
    assert (tmp_path / "outside").read_text() == "alive"
    assert not (tmp_path / "link").is_symlink()


def test_a_lock_is_one_process_or_threads_until_it_is_given_back(tmp_path: Path) -> None:
    with exclusive(tmp_path), pytest.raises(BusyError, match="lock is held"), exclusive(tmp_path, patience=0):
        pass
    with exclusive(tmp_path):
        fd = os.open(tmp_path / "lock", os.O_RDWR)
        assert not take_lock(fd, patience=0.01)
    assert take_lock(fd, patience=0)
    os.close(fd)


def test_an_error_of_what_is_done_under_a_lock_is_not_the_locks(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="mine"), exclusive(tmp_path):
        raise OSError("mine")


def test_errors_name_the_path_and_the_cause(tmp_path: Path) -> None:
    error = storage_error("write", tmp_path / "x", PermissionError(13, "Permission denied"))
    assert str(tmp_path / "x") in error.message
    assert "Permission denied" in error.message
    assert error.hint
