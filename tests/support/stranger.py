"""Another user of the machine: what he can reach of a folder, tried in a process of his own where we may make one."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

NOBODY = 65534


def reached_by_a_stranger(top: Path) -> list[str]:
    """Name what another user can list, read or connect to at and below ``top``, sorted.

    As root it is tried by a process with another user's id; otherwise the rights are computed.
    """
    targets = [top, *sorted(top.rglob("*"))]
    if os.getuid() == 0:
        found = as_a_stranger(lambda: [str(path) for path in targets if _reaches(path)])
        assert isinstance(found, list)
        return found
    return [str(path) for path in targets if _open_to_others(path)]


def as_a_stranger(ask: Callable[[], object]) -> object:
    """Call a function in a process with another user's id, which only root can make; return what it returned.

    That has to be JSON; what it raises is printed and returned as its name.
    """
    import encodings.idna  # noqa: F401  he may not read the standard library

    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(write_end, json.dumps(ask()).encode())
        except BaseException as error:  # noqa: BLE001  whatever it is, the test has to see it
            os.write(write_end, json.dumps(type(error).__name__).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return json.loads(said)


def _reaches(path: Path) -> bool:
    try:
        found = path.lstat()
        if stat.S_ISSOCK(found.st_mode):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(os.fspath(path))
        elif stat.S_ISDIR(found.st_mode):
            os.listdir(path)
        else:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _open_to_others(path: Path) -> bool:
    if any(not parent.stat().st_mode & stat.S_IXOTH for parent in path.parents):
        return False
    found = path.lstat()
    return bool(found.st_mode & (stat.S_IWOTH if stat.S_ISSOCK(found.st_mode) else stat.S_IROTH))
