"""Bodies as a search reads them: content codings taken off, in UTF-8, with an account of what could not be read."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from wiretape.heads import field_values, fields
from wiretape.log.assembly import REQUEST, ExchangeTape, Side
from wiretape.session.bodies import WireBody
from wiretape.session.content import ContentError, Utf8Rewriter, content_codings, declared_charset, decode
from wiretape.session.query.account import BINARY, DAMAGED, UNDECODABLE, UNREADABLE, UNRECORDED, Unsearched
from wiretape.views.limits import ViewError
from wiretape.views.protobuf import grpc_frames

LIMIT: Final = 64 * 1024 * 1024
"""Decoded bytes of one body that a search looks at: above any text, and a decompression bomb ends here."""
_BINARY: Final = ("image/", "audio/", "video/", "font/", "application/zip", "application/gzip", "application/pdf",
                  "application/wasm", "application/x-7z", "application/x-tar")  # fmt: skip


def is_binary(content_type: str | None) -> bool:
    """Return whether a body of this type is no text, whatever its bytes are."""
    lower = (content_type or "").lower()
    return lower.startswith(_BINARY) and "svg" not in lower


def is_grpc(content_type: str) -> bool:
    """Return whether a body of this type (in lower case) is messages of gRPC, each behind its length."""
    return content_type.startswith("application/grpc")


class BodyText:
    """One body. What cannot be read is put on the account while it is read.

    That an exchange has not ended is not: who reads both of its bodies says it once.
    """

    def __init__(self, tape: ExchangeTape, side: Side, account: Unsearched) -> None:
        head = tape.request_head if side == REQUEST else tape.response_head
        self.side = side
        self.seq = tape.seq
        self._tape = tape
        self._account = account
        self._headers = fields(head) if head else []
        self.content_type = next(iter(field_values(self._headers, "content-type")), None)

    def pieces(self) -> Iterator[bytes]:
        """Yield the decoded text in UTF-8 as it streams by, as far as it can be read."""
        tape, side = self._tape, self.side
        if not tape.has_body(side):
            if tape.opened is None or tape.notes:
                self._account.skipped(UNREADABLE, self.seq)
            elif self._cut():
                self._account.skipped(UNRECORDED, self.seq)
            return
        if is_binary(self.content_type):
            self._account.skipped(BINARY, self.seq)
            return
        body = WireBody(tape, side)
        codings = content_codings(field_values(self._headers, "content-encoding"))
        try:
            pieces = decode(body.until_gap() if codings else body.filled(), codings, limit=LIMIT)
            kind, charset = (self.content_type or "").lower(), declared_charset(self.content_type)
            if is_grpc(kind):
                yield from inflated(pieces, kind)
            elif charset is None or charset == "utf-8":
                yield from pieces
            else:
                yield from _rewritten(pieces, charset)
                yield b"\n"  # and as it is: charsets are often declared wrongly
                yield from decode(body.until_gap() if codings else body.filled(), codings, limit=LIMIT)
        except ContentError:
            # A gap, or an exchange that was cut, ends the decoding as well; it is counted as what it is.
            if not body.gaps and tape.done is not None and not self._cut():
                self._account.skipped(UNDECODABLE, self.seq)
        if body.gaps:
            self._account.skipped(DAMAGED, self.seq)
        elif self._cut():
            self._account.skipped(UNRECORDED, self.seq)

    def _cut(self) -> bool:
        recorded, size = self._tape.recorded(self.side), self._tape.size(self.side)
        return recorded is not None and size is not None and size > recorded


def _rewritten(pieces: Iterator[bytes], charset: str) -> Iterator[bytes]:
    rewriter, total = Utf8Rewriter(charset), 0
    for piece in pieces:
        total += len(piece)
        if total > LIMIT:
            raise ContentError("too long")
        yield rewriter.feed(piece)
    yield rewriter.finish()


_FRAME: Final = struct.Struct(">BI")


def inflated(pieces: Iterator[bytes], content_type: str) -> Iterator[bytes]:
    """Yield a body of gRPC with its messages as they are without compression and base64; as it is where it is none."""
    data = b"".join(pieces)
    read, size = 0, 0
    try:
        for frame in grpc_frames(data, text="grpc-web-text" in content_type):
            trailers = frame.trailers or {}
            plain = frame.data or "\r\n".join(f"{name}: {value}" for name, value in trailers.items()).encode()
            size += len(plain)
            if size > LIMIT:
                raise ContentError("too long")
            yield _FRAME.pack(0x80 if frame.trailers is not None else 0, len(plain)) + plain
            read = frame.end
    except ViewError:
        yield data[read:]
