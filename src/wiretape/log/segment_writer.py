"""One open segment: frames are gathered, written with one call, and sealed at the end.

Bytes of bodies are not copied on the way: what is gathered is a frame's header with its record, then the piece as the
caller gave it, and ``writev`` takes both. Small pieces are put together: to copy a few hundred bytes costs less than an
entry of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec
from google_crc32c import extend as crc32c_extend
from google_crc32c import value as crc32c

from wiretape.log.bounds import fitted
from wiretape.log.files import Files
from wiretape.log.format import HEADER, HEADER_CRC, HEADER_SIZE, MAGIC, MAX_HEAD, Flag, FrameType, Record, Seal
from wiretape.log.frames import encode_header

_COPIED: Final = 4 * 1024
"""Data shorter than this is copied behind its record."""
_AT_ONCE: Final = 1024
"""Entries that one ``writev`` takes (IOV_MAX on Linux and macOS)."""
# Plain numbers on the hot path: members of an IntEnum are slow to look up and to encode.
_OPENED: Final = int(FrameType.OPENED)
_DONE: Final = int(FrameType.DONE)

_encode = msgspec.msgpack.Encoder().encode
_pack = HEADER.pack
_pack_crc = HEADER_CRC.pack


class Refused(NamedTuple):
    """A gathered frame that is not in the log."""

    kind: int
    flags: int
    seq: int
    head: bytes
    data: bytes

    @property
    def size(self) -> int:
        """Bytes that it would take in a segment."""
        return HEADER_SIZE + len(self.head) + len(self.data)


class SegmentWriter:
    """Appends frames to one segment.

    Attributes:
        fd: its descriptor, -1 where there is no file: then what is gathered cannot be written.
        number: its number.
        salt: what its frames carry.
        position: the offset at which the next frame will stand, what is gathered included.
        written: bytes that the kernel has taken.
    """

    __slots__ = (
        "_bulky",
        "_done",
        "_files",
        "_first_seq",
        "_frames",
        "_gathered",
        "_note_end",
        "_opened",
        "fd",
        "number",
        "position",
        "salt",
        "written",
    )

    def __init__(
        self, files: Files, fd: int, number: int, salt: int, first_seq: int, note_end: Callable[[int], None]
    ) -> None:
        """Begin.

        Args:
            files: the file system.
            fd, number, salt: see Attributes.
            first_seq: the next seq that the stream gives, or the lowest that begins in it.
            note_end: called with the seq of each exchange whose end is gathered.
        """
        self._files = files
        self.fd = fd
        self.number = number
        self.salt = salt
        self.position = 0
        self.written = 0
        self._first_seq = first_seq
        self._note_end = note_end
        self._gathered: list[bytes] = []
        self._bulky = False
        self._frames = self._opened = self._done = 0

    @property
    def pending(self) -> bool:
        """Whether frames are gathered that are not written."""
        return bool(self._gathered)

    def append(self, kind: int, seq: int, record: Record | msgspec.Raw, data: bytes = b"", flags: int = 0) -> None:
        """Gather one frame; ``data`` is kept until it is written, not copied.

        A record that is longer than a frame's head holds is cut (see ``fitted``); one that is msgpack already is taken
        as it is.

        Raises:
            LogError: head and data are longer than a frame; nothing was gathered.
        """
        try:
            head = _encode(record)
        except (UnicodeEncodeError, OverflowError, TypeError):
            head = fitted(record)
        head_length = len(head)
        if head_length > MAX_HEAD:
            head = fitted(record)
            head_length = len(head)
        position = self.position
        if len(data) < _COPIED:
            payload = head + data if data else head
            length = len(payload)
            # As encode_header, without the call: every frame of a small exchange comes this way.
            header = _pack(MAGIC, kind, flags, head_length, length, position, seq, self.salt, crc32c(payload))
            self._gathered.append(header + _pack_crc(crc32c(header)) + payload)
        else:
            length = head_length + len(data)
            crc = crc32c_extend(crc32c(head), data)
            header = encode_header(kind, flags, position, seq, self.salt, head_length, length, crc)
            self._gathered += (header + head, data)
            self._bulky = True
        self.position = position + HEADER_SIZE + length
        self._frames += 1
        if kind == _OPENED:
            self._opened += 1
        elif kind == _DONE:
            self._done += 1
            self._note_end(seq)

    def write(self) -> None:
        """Write what is gathered.

        Raises:
            OSError: as the kernel gives it; ``take_back`` then gives what is not in the file.
        """
        gathered = self._gathered
        if not self._bulky:
            batch = gathered[0] if len(gathered) == 1 else b"".join(gathered)
            self._write_one(batch)
        else:
            self._write_many(gathered)
        self._gathered = []
        self._bulky = False

    def _write_one(self, batch: bytes) -> None:
        size = len(batch)
        taken = self._files.write(self.fd, batch)
        self.written += taken
        while taken < size:
            more = self._files.write(self.fd, memoryview(batch)[taken:])
            self.written += more
            taken += more

    def _write_many(self, gathered: list[bytes]) -> None:
        """Write without copying; ``at`` is the first piece that is not written, of which ``begun`` bytes are."""
        at, begun = 0, 0
        while at < len(gathered):
            pieces: list[bytes | memoryview] = list(gathered[at : at + _AT_ONCE])
            if begun:
                pieces[0] = memoryview(gathered[at])[begun:]
            taken = self._files.write_all(self.fd, pieces)
            self.written += taken
            begun += taken
            while at < len(gathered) and begun >= len(gathered[at]):
                begun -= len(gathered[at])
                at += 1

    def take_back(self) -> list[Refused]:
        """Return the gathered frames that are not whole in the file, and forget them."""
        refused = [frame for frame, end in self._frames_gathered() if end > self.written]
        self._gathered = []
        self._bulky = False
        self.position -= sum(frame.size for frame in refused)
        self.written = self.position  # the beginning of a frame counts for nothing
        return refused

    def gathered_ends(self) -> int:
        """Count the ends of exchanges among what is gathered."""
        return sum(1 for frame, _ in self._frames_gathered() if frame.kind == _DONE)

    def _frames_gathered(self) -> list[tuple[Refused, int]]:
        found = []
        pieces = iter(self._gathered)
        for piece in pieces:
            _, kind, flags, head_length, length, offset, seq, _, _ = HEADER.unpack_from(piece)
            end = offset + HEADER_SIZE + length
            head, data = piece[HEADER_SIZE : HEADER_SIZE + head_length], piece[HEADER_SIZE + head_length :]
            if len(piece) < HEADER_SIZE + length:
                data = next(pieces)
            found.append((Refused(kind, flags, seq, head, data), end))
        return found

    def seal(self, wall_ns: int, next_seq: int, *, final: bool) -> None:
        """Gather the segment's last frame.

        Args:
            wall_ns: the time, in nanoseconds since the epoch.
            next_seq: the seq that the stream gives next.
            final: the stream ends here, too.
        """
        seal = Seal(wall_ns, self._frames, self._opened, self._done, self._first_seq, next_seq)
        self.append(FrameType.SEAL, 0, seal, flags=Flag.FINAL if final else 0)
