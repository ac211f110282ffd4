"""The token of a root: made once, read ever after, replaced where it cannot be trusted, refused where it is no file."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest

from wiretape.daemon.token import load_or_create, token_path
from wiretape.errors import StorageError


@pytest.fixture
def made(root: Path) -> Path:
    """A root that is there."""
    root.mkdir(mode=0o700)
    return root


def test_it_is_made_once_with_256_bits_that_the_owner_alone_can_read(made: Path) -> None:
    before = os.umask(0)
    try:
        first = load_or_create(made)
    finally:
        os.umask(before)
    assert len(bytes.fromhex(first.value)) == 32
    assert load_or_create(made) == first
    assert stat.S_IMODE(token_path(made).stat().st_mode) == 0o600
    assert token_path(made).read_text() == f"{first.value}\n"


def test_two_roots_have_two_tokens(made: Path, tmp_path: Path) -> None:
    assert load_or_create(made).value != load_or_create(tmp_path).value


def test_it_is_not_shown_by_accident(made: Path) -> None:
    token = load_or_create(made)
    assert token.value not in f"{token!r} {token}"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o602])
def test_p14_a_token_that_others_could_read_is_replaced_and_said(
    made: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    first = load_or_create(made)
    token_path(made).chmod(mode)
    with caplog.at_level(logging.WARNING):
        second = load_or_create(made)
    assert second.value != first.value
    assert f"{mode:o}" in second.note
    assert second.note in caplog.text
    assert first.value not in caplog.text
    assert second.value not in caplog.text
    assert stat.S_IMODE(token_path(made).stat().st_mode) == 0o600
    assert load_or_create(made).value == second.value


@pytest.mark.skipif(os.getuid() != 0, reason="only the superuser can give a file away")
def test_p14_a_token_that_belongs_to_somebody_else_is_replaced(made: Path) -> None:
    first = load_or_create(made)
    os.chown(token_path(made), 65534, 65534)
    second = load_or_create(made)
    assert second.value != first.value
    assert "65534" in second.note
    assert token_path(made).stat().st_uid == os.getuid()


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"ab" * 31, b"zz" * 32, b"ab" * 33, b"\xff" * 64, b"ab" * 32 + b"\n\n"]
)
def test_a_file_that_holds_no_token_is_replaced_and_said(made: Path, content: bytes) -> None:
    token_path(made).touch(mode=0o600)
    token_path(made).write_bytes(content)
    token = load_or_create(made)
    assert len(token.value) == 64
    assert "no token" in token.note
    assert load_or_create(made).value == token.value


@pytest.mark.parametrize("what", ["link", "dangling link", "folder", "pipe"])
def test_p14_something_else_in_its_place_is_refused_and_left_alone(made: Path, tmp_path: Path, what: str) -> None:
    outside = tmp_path / "outside"
    path = token_path(made)
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        if what == "link":
            outside.write_text("ab" * 32)
        path.symlink_to(outside)
    with pytest.raises(StorageError, match="is not a file"):
        load_or_create(made)
    assert path.is_symlink() or path.exists()
    assert not outside.exists() or outside.read_text() == "ab" * 32
