"""The chunked transfer coding, read strictly and written anew (RFC 9112 section 7.1).

Chunks are never passed on as they came: what two readers can see differently (extensions, padded sizes, sizes with
signs, bare line feeds) is refused or dropped, so a message that left here has one meaning.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from wiretape.errors import ProtocolError
from wiretape.wire.grammar import FIELD_LINES, any_case, show
from wiretape.wire.repair import repair_trailers

MAX_SIZE_LINE: Final = 4096
"""The longest chunk-size line, extensions included, in bytes."""

MAX_TRAILERS: Final = 64 * 1024
"""The longest trailer section, in bytes."""

# Sixteen hexadecimal digits at most, no sign, nothing before them. Whitespace after them has to be taken before an
# extension (RFC 9112 section 7.1.1) and is sent without one by servers that pad their sizes; it cannot change the size.
# The extension is dropped, and has no control characters.
_SIZE_TEXT: Final = rb"([0-9A-Fa-f]{1,16})[\t ]*+(?:;[\t\x20-\x7e\x80-\xff]*+)?"
_SIZE: Final = _SIZE_TEXT + rb"\r\n"
_FIRST_SIZE: Final = re.compile(_SIZE).match
_NEXT_SIZE: Final = re.compile(rb"\r\n" + _SIZE).match
# Of servers that end their lines with LF alone. What is sent on is written anew, so nobody else sees such an end.
_FIRST_LF_SIZE: Final = re.compile(_SIZE_TEXT + rb"\r?\n").match
_NEXT_LF_SIZE: Final = re.compile(rb"\r?\n" + _SIZE_TEXT + rb"\r?\n").match
_EMPTY_LINE: Final = re.compile(rb"\n\r?\n").search
_UNFINISHED_SIZE: Final = re.compile(_SIZE_TEXT + rb"\r?").fullmatch
_TRAILERS: Final = re.compile(FIELD_LINES + rb"\r\n").fullmatch

# RFC 9110 section 6.5.1: fields that a recipient must never take from a trailer, because they frame or route the
# message or authenticate its sender; someone behind us might merge them into the head.
_FORBIDDEN: Final = re.compile(
    rb"(?:"
    + b"|".join(
        any_case(name)
        for name in (
            "authorization",
            "connection",
            "content-encoding",
            "content-length",
            "content-range",
            "content-type",
            "cookie",
            "expect",
            "host",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authentication-info",
            "proxy-authorization",
            "proxy-connection",
            "set-cookie",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "www-authenticate",
        )
    )
    + rb"):"
).match

# What comes next; behind a chunk's data that is its CRLF and the size of the next chunk.
_FIRST: Final = 0
_NEXT: Final = 1
_DATA: Final = 2
_LAST: Final = 3


class ChunkedDecoder:
    """Takes a chunked body apart.

    Attributes:
        finished: the last chunk and the trailer section have been read.
        rest: the bytes that came after the message; they belong to the next one.
        trailers: the trailer lines as received, each with its CRLF, without the final empty line.
    """

    __slots__ = ("_bare_lf", "_left", "_pending", "_state", "_status", "finished", "rest", "trailers")

    def __init__(self, status: int = 400, *, bare_lf: bool = False) -> None:
        """Expect a body.

        Args:
            status: that of the ProtocolError which feed() raises: 400 for a client's body, 502 for a server's.
            bare_lf: take lines of the framing that end with LF alone, and trailers as lenient as a response's head.
        """
        self._bare_lf = bare_lf
        self._state = _FIRST
        self._left = 0
        self._pending = b""
        self._status = status
        self.finished = False
        self.rest = b""
        self.trailers = b""

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """Take bytes from the connection and return the pieces of the body among them, without the chunks' framing.

        Raises:
            ProtocolError: the framing is malformed. The pieces of earlier calls stand, and those in the error; nothing
                can follow.
        """
        buf = self._pending + data if self._pending else bytes(data)
        pieces: list[bytes] = []
        try:
            at = self._take(buf, pieces)
        except ProtocolError as error:
            error.pieces = pieces
            raise
        if self.finished:
            self.rest += buf[at:]
            self._pending = b""
        else:
            self._pending = buf[at:]
        return pieces

    def _take(self, buf: bytes, pieces: list[bytes]) -> int:
        """Append what of the body is in ``buf`` to ``pieces``; return the offset of what is to be read again."""
        at, size = 0, len(buf)
        while at < size and not self.finished:
            if self._state == _DATA:
                piece = buf[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _NEXT
                continue
            end = self._end_of_trailers(buf, at) if self._state == _LAST else self._end_of_size(buf, at)
            if end < 0:
                break
            at = end
        return at

    def eof(self) -> bool:
        """Take note that the connection has ended; return whether the body is complete."""
        return self.finished

    def _end_of_size(self, buf: bytes, at: int) -> int:
        """Read a size line; return the offset behind it, or -1 when its end has not arrived."""
        match = (_NEXT_SIZE if self._state == _NEXT else _FIRST_SIZE)(buf, at)
        if match is None and self._bare_lf:
            match = (_NEXT_LF_SIZE if self._state == _NEXT else _FIRST_LF_SIZE)(buf, at)
        if match is None:
            self._check_unfinished_size(buf[at : at + MAX_SIZE_LINE + 1])
            return -1
        end = match.end()
        if end - at > MAX_SIZE_LINE:
            self._refuse(f"A chunk's size line is longer than {MAX_SIZE_LINE} bytes")
        self._left = int(match[1], 16)
        self._state = _DATA if self._left else _LAST
        return end

    def _check_unfinished_size(self, line: bytes) -> None:
        """Refuse a size line that no further byte can make good."""
        if self._state == _NEXT:
            if self._bare_lf and line[:1] == b"\n":
                line = line[1:]
            elif line.startswith(b"\r\n"[: len(line)]):
                line = line[2:]
            else:
                self._refuse(f"A chunk is longer than its size says: {show(line[:20])}")
        if line and (len(line) >= MAX_SIZE_LINE - 2 or not _UNFINISHED_SIZE(line)):
            self._refuse(f"A chunk's size line is malformed or too long: {show(line)}")

    def _end_of_trailers(self, buf: bytes, at: int) -> int:
        """Return the offset behind the trailer section, or -1 when its end has not arrived."""
        if buf[at : at + 2] == b"\r\n":
            self.finished = True
            return at + 2
        if self._bare_lf:
            return self._end_of_lenient_trailers(buf, at)
        end = buf.find(b"\r\n\r\n", at)
        if (len(buf) if end < 0 else end) - at > MAX_TRAILERS:
            self._refuse(f"The trailer section is longer than {MAX_TRAILERS} bytes")
        if end < 0:
            # A sender that ends lines with a bare LF would be waited for for ever, since its empty line is never seen.
            if buf.count(b"\n", at) != buf.count(b"\r\n", at):
                self._refuse("A line of the trailer section ends with LF alone")
            return -1
        end += 2
        if not _TRAILERS(buf, at, end + 2):
            self._refuse(f"The trailer section is malformed: {show(buf[at:end])}")
        self.trailers = buf[at:end]
        self.finished = True
        return end + 2

    def _end_of_lenient_trailers(self, buf: bytes, at: int) -> int:
        """Return what ``_end_of_trailers`` does, for lines that may end with LF alone."""
        if buf[at : at + 1] == b"\n":
            self.finished = True
            return at + 1
        found = _EMPTY_LINE(buf, at)
        if (len(buf) if found is None else found.start()) - at > MAX_TRAILERS:
            self._refuse(f"The trailer section is longer than {MAX_TRAILERS} bytes")
        if found is None:
            return -1
        trailers = buf[at : found.start() + 1]
        repair_trailers(trailers)  # raises where it cannot be sent on
        self.trailers = trailers
        self.finished = True
        return found.end()

    def _refuse(self, message: str) -> NoReturn:
        raise ProtocolError(
            message, hint="The sender's chunked coding breaks RFC 9112 section 7.1.", status=self._status
        )


def encode_chunk(pieces: list[bytes]) -> bytes:
    """Return the pieces as one chunk; nothing at all when they are empty, since an empty chunk would end the body."""
    size = sum(map(len, pieces))
    return b"".join((b"%x\r\n" % size, *pieces, b"\r\n")) if size else b""


def encode_last_chunk(trailers: bytes = b"") -> bytes:
    """Return the end of a chunked body.

    Args:
        trailers: a decoder's ``trailers``; fields that must not stand in a trailer section are left out.

    Returns:
        The last chunk, the trailer section, well-formed whatever it was, and the empty line.
    """
    if not trailers:
        return b"0\r\n\r\n"
    lines = [line for line in repair_trailers(trailers).splitlines(keepends=True) if not _FORBIDDEN(line)]
    return b"0\r\n%b\r\n" % b"".join(lines)
