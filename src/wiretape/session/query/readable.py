"""Bodies as a search reads them: content codings taken off, in UTF-8, with an account of what could not be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wiretape.heads import field_values, fields
from wiretape.log.assembly import REQUEST, ExchangeTape, Side
from wiretape.session.bodies import WireBody
from wiretape.session.content import ContentError, Utf8Rewriter, content_codings, declared_charset, decode
from wiretape.session.query.account import BINARY, DAMAGED, RUNNING, UNDECODABLE, UNREADABLE, UNRECORDED, Unsearched

LIMIT: Final = 64 * 1024 * 1024
"""Decoded bytes of one body that a search looks at: above any text, and a decompression bomb ends here."""
_BINARY: Final = ("image/", "audio/", "video/", "font/", "application/zip", "application/gzip", "application/pdf",
                  "application/wasm", "application/x-7z", "application/x-tar")  # fmt: skip


def is_binary(content_type: str | None) -> bool:
    """Return whether a body of this type is no text, whatever its bytes are."""
    lower = (content_type or "").lower()
    return lower.startswith(_BINARY) and "svg" not in lower


class BodyText:
    """One body. What cannot be read is put on the account while it is read."""

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
            yield from self._in_utf8(decode(body.until_gap() if codings else body.filled(), codings, limit=LIMIT))
        except ContentError:
            # A gap, or an exchange that was cut, ends the decoding as well; it is counted as what it is.
            if not body.gaps and tape.done is not None and not self._cut():
                self._account.skipped(UNDECODABLE, self.seq)
        if body.gaps:
            self._account.skipped(DAMAGED, self.seq)
        elif tape.done is None:
            self._account.skipped(RUNNING, self.seq)
        elif self._cut():
            self._account.skipped(UNRECORDED, self.seq)

    def _in_utf8(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        charset = declared_charset(self.content_type)
        if charset is None or charset == "utf-8":
            yield from pieces
            return
        rewriter, total = Utf8Rewriter(charset), 0
        for piece in pieces:
            total += len(piece)
            if total > LIMIT:
                raise ContentError("too long")
            yield rewriter.feed(piece)
        yield rewriter.finish()

    def _cut(self) -> bool:
        recorded, size = self._tape.recorded(self.side), self._tape.size(self.side)
        return recorded is not None and size is not None and size > recorded
