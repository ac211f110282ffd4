"""A disk in memory with two planes: what programs see, and what a power cut leaves of it.

``MemoryDisk`` is the disk with its kernel, ``MemoryFiles`` the file port as one process has it. ``after_kill`` and
``after_power_cut`` give the disk as the next process finds it and leave this one as it is, so that one run can be cut
at every call.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from harness.disks.inode import Inode
from wiretape.log.files import FileEntry, Readable

Sync = Callable[[OSError | None], None]
"""What a sync does to the disk when it ends: with None it succeeded, else it failed with that."""

_NONE: Final = -1


class Folder(NamedTuple):
    """A folder's entries, name to inode: ``live`` as programs see them, ``durable`` as they are on the disk.

    ``changes`` are what happened to a name since, each of which may be on the disk: (name, inode or -1 for removed);
    ``settled`` counts the changes before them.
    """

    live: dict[str, int]
    durable: dict[str, int]
    changes: tuple[tuple[str, int], ...] = ()
    settled: int = 0

    def put(self, name: str, inode: int) -> Folder:
        """Add an entry, or with inode -1 remove it."""
        live = dict(self.live)
        live[name] = inode
        if inode == _NONE:
            del live[name]
        return self._replace(live=live, changes=(*self.changes, (name, inode)))

    def synced(self, upto: int) -> Folder:
        """Return the folder after a sync that began when ``upto`` changes had been made in all."""
        return self._settle(upto, lambda _: True)

    def failed(self, upto: int, random: Random) -> Folder:
        """Return the folder after a sync that failed: some changes are durable, the others will never be."""
        return self._settle(upto, lambda _: random.random() < 0.5)

    def after_power_cut(self, random: Random, luck: float) -> Folder:
        """Draw which changes are on the disk."""
        entries = self._settle(self.settled + len(self.changes), lambda _: random.random() < luck).durable
        return Folder(entries, entries)

    def _settle(self, upto: int, survives: Callable[[str], bool]) -> Folder:
        durable = dict(self.durable)
        count = max(0, upto - self.settled)
        for name, inode in self.changes[:count]:
            if survives(name):
                durable[name] = inode
                if inode == _NONE:
                    durable.pop(name, None)
        return Folder(self.live, durable, self.changes[count:], self.settled + count)


class MemoryDisk:
    """The disk, and the kernel before it."""

    def __init__(self) -> None:
        self.inodes: dict[int, Inode] = {}
        self.folders: dict[Path, Folder] = {}
        self.locks: dict[int, MemoryFiles] = {}
        self._next = 1

    def make_folder(self, path: Path) -> None:
        """Make a folder that is on the disk at once."""
        self.folders.setdefault(path, Folder({}, {}))

    def content(self, folder: Path) -> dict[str, bytes]:
        """Return what programs see of a folder's files, by name."""
        return {name: self.inodes[inode].data for name, inode in self.folders[folder].live.items()}

    def new_file(self, path: Path) -> int:
        """Add an empty file."""
        inode, self._next = self._next, self._next + 1
        self.inodes[inode] = Inode(sizes=(0,))
        self.folders[path.parent] = self.folder(path.parent).put(path.name, inode)
        return inode

    def folder(self, path: Path) -> Folder:
        """Return a folder."""
        folder = self.folders.get(path)
        if folder is None:
            number = errno.ENOENT if self.find(path) is None else errno.ENOTDIR
            raise OSError(number, os.strerror(number), str(path))
        return folder

    def find(self, path: Path) -> int | None:
        """Return a file's inode, None when there is no such file."""
        folder = self.folders.get(path.parent)
        return folder.live.get(path.name) if folder is not None else None

    def inode(self, path: Path) -> int:
        """Return a file's inode."""
        self.folder(path.parent)
        inode = self.find(path)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return inode

    def after_kill(self) -> MemoryDisk:
        """Return the disk as it is when every process was killed: nothing is lost but locks."""
        return self._successor(dict(self.inodes), dict(self.folders))

    def after_power_cut(self, random: Random) -> MemoryDisk:
        """Draw what a power cut leaves: any subset of what is not synced."""
        luck = random.choice((0.0, 1.0, 0.5, random.random()))
        folders = {
            path: folder.after_power_cut(random, luck if random.random() < 0.5 else random.random())
            for path, folder in self.folders.items()
        }
        kept = {inode for folder in folders.values() for inode in folder.live.values()}
        inodes = {}
        for inode in sorted(kept):  # the order decides what is drawn
            inodes[inode] = self.inodes[inode].after_power_cut(random, luck)
        return self._successor(inodes, folders)

    def _successor(self, inodes: dict[int, Inode], folders: dict[Path, Folder]) -> MemoryDisk:
        disk = MemoryDisk()
        disk.inodes, disk.folders, disk._next = inodes, folders, self._next
        return disk


class MemoryFile:
    """A file opened for reading."""

    def __init__(self, disk: MemoryDisk, inode: int) -> None:
        self._disk = disk
        self._inode = inode

    def read_at(self, length: int, offset: int) -> bytes:
        """Read."""
        return self._disk.inodes[self._inode].data[offset : offset + length]

    def size(self) -> int:
        """Measure."""
        return len(self._disk.inodes[self._inode].data)

    def data_from(self, offset: int) -> int:
        """Know of no holes."""
        return offset

    def close(self) -> None:
        """Close."""


class MemoryFiles:
    """The file port of one process over a disk in memory.

    Attributes:
        failing: how many of the next syncs, of files and folders, fail with EIO and drop what they should have saved.
        forget: whether programs, too, no longer read what such a sync dropped.
    """

    def __init__(self, disk: MemoryDisk, random: Random | None = None) -> None:
        """Begin a process; ``random`` draws what a failed sync drops."""
        self.disk = disk
        self.open: dict[int, int] = {}
        self.failing = 0
        self.forget = False
        self._random = random or Random(0)
        self._next = 100

    def die(self) -> None:
        """End the process: its descriptors and its locks go with it."""
        self.open.clear()
        self.disk.locks = {inode: holder for inode, holder in self.disk.locks.items() if holder is not self}

    def _descriptor(self, inode: int) -> int:
        fd, self._next = self._next, self._next + 1
        self.open[fd] = inode
        return fd

    def _of(self, fd: int) -> int:
        if fd not in self.open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self.open[fd]

    def create(self, path: Path) -> int:
        """Create a new file."""
        self.disk.folder(path.parent)
        if self.disk.find(path) is not None or path in self.disk.folders:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        return self._descriptor(self.disk.new_file(path))

    def reopen(self, path: Path) -> int:
        """Open for syncing."""
        return self._descriptor(self.disk.inode(path))

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Append."""
        inode = self._of(fd)
        self.disk.inodes[inode] = self.disk.inodes[inode].append(bytes(data))
        return len(data)

    def write_all(self, fd: int, pieces: Sequence[bytes | memoryview]) -> int:
        """Append; what fails or is cut short when it writes does so here, too."""
        return self.write(fd, b"".join(pieces))

    def fdatasync(self, fd: int) -> None:
        """Make the file's bytes durable."""
        self._finish(self.sync_of(fd))

    def _finish(self, sync: Sync) -> None:
        error = OSError(errno.EIO, os.strerror(errno.EIO)) if self.failing > 0 else None
        self.failing -= error is not None
        sync(error)
        if error is not None:
            raise error

    def sync_of(self, fd: int) -> Sync:
        """Begin a sync; what it gives ends it, and only what was written before it began is durable then."""
        inodes, inode = self.disk.inodes, self._of(fd)
        upto, changed = len(inodes[inode].data), inodes[inode].changed

        def end(error: OSError | None) -> None:
            if inode not in inodes or inodes[inode].changed != changed:
                return
            if error is None:
                inodes[inode] = inodes[inode].synced(upto)
            else:
                inodes[inode] = inodes[inode].failed(upto, self._random, forget=self.forget)

        return end

    def fsync_folder(self, path: Path) -> None:
        """Make the folder's entries durable."""
        self._finish(self.folder_sync_of(path))

    def folder_sync_of(self, path: Path) -> Sync:
        """Begin a sync of a folder; a failed one leaves any subset of the entries on the disk and forgets the rest."""
        folders = self.disk.folders
        begun = self.disk.folder(path)
        upto = begun.settled + len(begun.changes)

        def end(error: OSError | None) -> None:
            if error is None:
                folders[path] = folders[path].synced(upto)
            else:
                folders[path] = folders[path].failed(upto, self._random)

        return end

    def duplicate(self, fd: int) -> int:
        """Duplicate."""
        return self._descriptor(self._of(fd))

    def close(self, fd: int) -> None:
        """Close; a lock goes with its descriptor."""
        inode = self._of(fd)
        del self.open[fd]
        if self.disk.locks.get(inode) is self and inode not in self.open.values():
            del self.disk.locks[inode]

    def lock(self, path: Path, note: bytes) -> int | None:
        """Take the lock."""
        disk = self.disk
        disk.folder(path.parent)
        inode = disk.find(path)
        if inode is None:
            inode = disk.new_file(path)
        if inode in disk.locks:
            return None
        disk.locks[inode] = self
        disk.inodes[inode] = disk.inodes[inode].overwrite(note)
        return self._descriptor(inode)

    def lock_note(self, path: Path) -> bytes | None:
        """Return the holder's note."""
        inode = self.disk.find(path)
        return self.disk.inodes[inode].data[:4096] if inode is not None and inode in self.disk.locks else None

    def remove_empty(self, path: Path) -> None:
        """Remove an empty file."""
        inode = self.disk.find(path)
        if inode is not None and not self.disk.inodes[inode].data:
            self.disk.folders[path.parent] = self.disk.folders[path.parent].put(path.name, _NONE)

    def reserve(self, path: Path, size: int) -> None:
        """Have an empty file; this disk never fills up."""
        if self.disk.find(path) is None:
            self.disk.new_file(path)

    def move(self, path: Path, target: Path) -> int:
        """Return a file another name."""
        if self.disk.find(target) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        inode, folders = self.disk.inode(path), self.disk.folders
        folders[target.parent] = folders[target.parent].put(target.name, inode)
        folders[path.parent] = folders[path.parent].put(path.name, _NONE)
        return self._descriptor(inode)

    def open_read(self, path: Path) -> Readable:
        """Open for reading."""
        return MemoryFile(self.disk, self.disk.inode(path))

    def list_folder(self, path: Path) -> list[FileEntry]:
        """List."""
        inodes = self.disk.inodes
        return [FileEntry(name, len(inodes[inode].data), True) for name, inode in self.disk.folder(path).live.items()]
