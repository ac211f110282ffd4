"""Files that are carried away go where a person has allowed it, appear whole or not at all, and over no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from wiretape.errors import StorageError, UsageError
from wiretape.new_file import inside, new_file


@pytest.mark.parametrize(
    "asked", ["../token", "a/../../x", "/etc/passwd", "~/x", "", "a\0b", "..", ".", "~no-such-user/x"]
)
def test_p14_a_path_outside_of_what_is_allowed_is_refused(tmp_path: Path, asked: str) -> None:
    folder = tmp_path / "exports"
    with pytest.raises(UsageError):
        inside(Path(asked), [folder], folder)


def test_p14_a_link_does_not_lead_outside(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    (tmp_path / "outside").mkdir()
    (folder / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="No file may be written"):
        inside(Path("link/x"), [folder], folder)
    assert inside(Path("x"), [folder], folder) == folder.resolve() / "x"


def test_a_file_that_fails_halfway_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TypeError), new_file(tmp_path / "x") as file:
        file.writelines([b"half", "no bytes"])  # type: ignore[list-item]
    assert not list(tmp_path.iterdir())


def test_a_file_that_comes_in_between_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with pytest.raises(UsageError, match="not written over"), new_file(target):
        target.write_text("theirs")
    assert target.read_text() == "theirs"
    target.unlink()
    target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="not written over"), new_file(target):
        pass


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="its folder is not there"), new_file(tmp_path / "no" / "x"):
        pass
