"""P14: a session folder that somebody else made may hold links, pipes and folders under any name; none is followed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.logs import Recording, flip, flip_in, new_session, segment
from wiretape.cli.main import run
from wiretape.session.catalogue import SessionDir
from wiretape.session.recovery.heal import protect_session

SECRET = "the-secret-outside"

NAMES = (
    *("manifest.json", ".manifest.json.new", "recovery.json", ".recovery.json.new", "pinned"),
    *("index.sqlite", "index.sqlite-wal", "index.sqlite-shm", "index.sqlite-journal"),
    *(".index.sqlite.new", ".index.sqlite.new-wal", ".index.sqlite.new-journal"),
    *("quarantine", "quarantine/{copy}", "quarantine/.{copy}.new"),
    *("log/0.lock", "log/7.lock", "log/0-00000002.wlog", "log/1-00000001.wlog", "log/stranger"),
)
"""Where links and pipes are put in a session's folder; ``{copy}`` is the name of the copy of its damage."""

DERIVED = (
    *("manifest.json", "recovery.json", "index.sqlite", "index.sqlite-wal", "index.sqlite-journal"),
    *("quarantine", "quarantine/{copy}", "log/0-00000002.wlog"),
)
"""Those that make a difference where all is derived already: something stood there, or is read differently then."""

HEALING = (
    *("parity", "parity/0-00000001.wlog.par", "parity/.0-00000001.wlog.par.new"),
    *("healed", "healed/0-00000001.wlog", "healed/.0-00000001.wlog.new"),
)
"""Likewise, of a session with parity."""

COMMANDS = (
    ("sessions",),
    ("verify", "last"),
    ("verify", "last", "--deep"),
    ("recover", "last", "--dry-run"),
    ("query", "last", "--text", "answer"),
    ("parity", "last"),
    ("recover", "last"),
    ("recover", "last"),
    ("exchange", "last", "1"),
    ("cat", "last"),
    ("query", "last"),
    ("prune", "--keep-last", "5", "--yes"),
)
"""All that reads a session or derives something from it, in an order in which each has something to do."""


class Outside:
    """Things outside the root that a link may lead to: files with a secret, a database, a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.file = folder / "file"
        self.file.write_text(SECRET)
        self.database = folder / "database"
        with sqlite3.connect(self.database) as db:
            db.execute("CREATE TABLE t (x)")
            db.execute("INSERT INTO t VALUES (?)", (SECRET,))
        db.close()
        self.folder = folder / "folder"
        self.folder.mkdir()
        (self.folder / "file").write_text(SECRET)
        self.missing = folder / "missing"
        self._top = folder
        for path in folder.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        self._before = self._state()

    def check(self) -> None:
        """Fail if anything was written, made, removed or given other rights."""
        assert self._state() == self._before

    def _state(self) -> dict[str, tuple[int, bytes]]:
        return {
            str(path.relative_to(self._top)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
            for path in sorted(self._top.rglob("*"))
        }


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    """What has to stay as it is."""
    return Outside(tmp_path / "outside")


@pytest.fixture
def damaged(root: Path) -> SessionDir:
    """A session of three exchanges, the second of them damaged, so that recovery has something to write."""
    session = new_session(root)
    recording = Recording(session)
    for number in (1, 2, 3):
        recording.exchange(f"http://example.com/{number}", f"answer {number}".encode())
    recording.close()
    flip_in(segment(session), b"answer 2")
    return session


def links(outside: Outside) -> dict[str, Callable[[Path], None]]:
    """Give what can be put under a name, each as a function that puts it there."""
    return {
        "link to a file": lambda path: path.symlink_to(outside.file),
        "link to a database": lambda path: path.symlink_to(outside.database),
        "link to a folder": lambda path: path.symlink_to(outside.folder),
        "link to nothing": lambda path: path.symlink_to(outside.missing),
        "link to itself": lambda path: path.symlink_to(path),
        "pipe": os.mkfifo,
        "folder": lambda path: path.mkdir(),
        "name of a file outside": lambda path: path.hardlink_to(outside.file),
        "name of a database outside": lambda path: path.hardlink_to(outside.database),
    }


def name_of_the_copy(session: SessionDir, scratch: Path) -> str:
    """Give the name that recovery gives to the copy of the damage, by recovering a copy of the whole root."""
    root = scratch / "tried"
    shutil.copytree(session.path.parent.parent, root)
    run(["recover", "last", "--root", str(root)])
    (copy,) = (root / "sessions" / session.session_id / "quarantine").iterdir()
    return copy.name


@pytest.mark.parametrize("derived", [False, True], ids=["log alone", "all derived"])
@pytest.mark.parametrize("what", list(links(None)))  # type: ignore[arg-type]
def test_p14_nothing_under_a_name_of_ours_is_followed_or_waited_for(
    damaged: SessionDir, outside: Outside, tmp_path: Path, capfd: pytest.CaptureFixture[str], what: str, derived: bool
) -> None:
    copy = name_of_the_copy(damaged, tmp_path)
    if derived:
        run(["recover", "last", "--root", str(damaged.path.parent.parent)])
    names = [name.format(copy=copy) for name in (DERIVED if derived else NAMES)]
    try_names(names, damaged, outside, tmp_path, capfd, what)


@pytest.mark.parametrize("healed", [False, True], ids=["with parity", "healed"])
@pytest.mark.parametrize("what", [what for what in links(None) if "database" not in what])  # type: ignore[arg-type]
def test_p14_nothing_under_a_name_of_parity_is_followed_or_waited_for(
    damaged: SessionDir, outside: Outside, tmp_path: Path, capfd: pytest.CaptureFixture[str], what: str, healed: bool
) -> None:
    flip(segment(damaged), segment(damaged).read_bytes().index(b"nswer 2") - 1)  # sound again
    protect_session(damaged.path, damaged.session_id)
    flip_in(segment(damaged), b"answer 2")
    if healed:
        run(["recover", "last", "--root", str(damaged.path.parent.parent)])
        assert (damaged.path / "healed").is_dir()
    try_names(list(HEALING), damaged, outside, tmp_path, capfd, what)


def try_names(
    names: list[str],
    damaged: SessionDir,
    outside: Outside,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    what: str,
) -> None:
    """Put the same thing under each name, one at a time, and run every command."""
    root, pristine = damaged.path.parent.parent, tmp_path / "pristine"
    shutil.copytree(root, pristine)
    for name in names:
        if "database" in what and "index.sqlite" not in name:
            continue  # nobody opens it as one: it is a file like any other
        shutil.rmtree(root)
        shutil.copytree(pristine, root)
        path = damaged.path / name
        path.parent.mkdir(exist_ok=True, mode=0o700)
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        links(outside)[what](path)
        capfd.readouterr()
        for command in COMMANDS:
            status = run([*command, "--root", str(root)])
            said = "".join(capfd.readouterr())
            where = (name, command, said)
            assert status in {0, 1}, where
            assert "bug in wiretape" not in said, where
            assert "Traceback" not in said, where
            assert SECRET not in said, where
            outside.check()
            if command[0] == "query":
                # Nothing beside the log can hide what is in it.
                assert "example.com/1" in said, where
                assert "example.com/3" in said, where
        if (name, what) != ("pinned", "folder"):  # which is the user's to remove
            run(["pin", "last", "--off", "--root", str(root)])
            assert run(["delete", "last", "--yes", "--root", str(root)]) == 0, name
            assert not damaged.path.exists()
        outside.check()
