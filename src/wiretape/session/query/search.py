"""Text in URLs, headers and decoded bodies, streamed; and an account of what could not be searched (P11)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final

from wiretape.heads import field_values, fields
from wiretape.log.assembly import REQUEST, RESPONSE, ExchangeTape, Side
from wiretape.session.bodies import WireBody
from wiretape.session.content import ContentError, Utf8Rewriter, content_codings, declared_charset, decode
from wiretape.session.query.account import DAMAGED, UNDECODABLE, UNREADABLE, UNRECORDED

LIMIT: Final = 64 * 1024 * 1024
"""Decoded bytes of one body that a search looks at: above any text, and a decompression bomb ends here."""


class TextSearch:
    """Looks for one text in exchanges; upper and lower case of ASCII letters are the same.

    Attributes:
        not_searched: how many bodies or heads were not, or not wholly, searched, by reason.
    """

    def __init__(self, text: str) -> None:
        needle = text.encode()
        self._text = text
        self._find = Finder(needle)
        self._length = len(needle)
        self._latin1 = _latin1_finder(text)
        self.not_searched: dict[str, int] = {}

    @property
    def needles(self) -> list[bytes]:
        """The text as bytes of heads and plain bodies, in lower case (ASCII letters only)."""
        found = [self._text.encode().lower()]
        if not self._text.isascii():
            with contextlib.suppress(UnicodeError):
                found.append(self._text.encode("latin-1").lower())
        return found

    def in_url(self, url: str) -> bool:
        """Return whether the URL has the text."""
        return self._find(url.encode("utf-8", "replace"))

    def matches(self, tape: ExchangeTape, url: str) -> bool:
        """Return whether the exchange has the text in its URL, headers, trailers or decoded bodies."""
        if self.in_url(url):
            return True
        heads = (tape.request_head, tape.response_head, tape.trailers.get(REQUEST), tape.trailers.get(RESPONSE))
        if any(head and self._in_head(head) for head in heads):
            return True
        if tape.opened is None or tape.notes:
            self._skipped(UNREADABLE)
        return self._in_body(tape, REQUEST, tape.request_head) or self._in_body(tape, RESPONSE, tape.response_head)

    def _in_head(self, head: bytes) -> bool:
        if self._find(head):
            return True
        return self._latin1 is not None and not head.isascii() and self._latin1(head)

    def _in_body(self, tape: ExchangeTape, side: Side, head: bytes | None) -> bool:
        body = WireBody(tape, side)
        headers = fields(head) if head else []
        codings = content_codings(field_values(headers, "content-encoding"))
        charset = declared_charset(next(iter(field_values(headers, "content-type")), None))
        decoded = decode(body.until_gap() if codings else body.filled(), codings, limit=LIMIT)
        try:
            if self._found_in(decoded, charset):
                return True
        except ContentError:
            # A gap, or an exchange that was cut, ends the decoding as well; it is counted as what it is.
            if not body.gaps and tape.done is not None and not self._cut(tape, side):
                self._skipped(UNDECODABLE)
        if body.gaps:
            self._skipped(DAMAGED)
        elif self._cut(tape, side):
            self._skipped(UNRECORDED)
        return False

    @staticmethod
    def _cut(tape: ExchangeTape, side: Side) -> bool:
        if tape.done is None:
            return False
        done = tape.done[1]
        if side == REQUEST:
            return done.request_size > done.request_recorded
        return done.response_size > done.response_recorded

    def _found_in(self, pieces: Iterable[bytes], charset: str | None) -> bool:
        """Look for the text in a body's bytes, which may be UTF-8 against what is declared, and in it as declared."""
        raw = _Window(self._find, self._length)
        if charset is None or charset == "utf-8":
            return any(map(raw.found, pieces))
        declared, rewriter = _Window(self._find, self._length), Utf8Rewriter(charset)
        if any(raw.found(piece) or declared.found(rewriter.feed(piece)) for piece in pieces):
            return True
        return declared.found(rewriter.finish())

    def _skipped(self, reason: str) -> None:
        self.not_searched[reason] = self.not_searched.get(reason, 0) + 1


class Finder:
    """Finds one needle in bytes, whatever the case of ASCII letters: lower() and find are ten times as fast as re."""

    __slots__ = ("_needle",)

    def __init__(self, needle: bytes) -> None:
        self._needle = needle.lower()

    def __call__(self, data: bytes) -> bool:
        """Return whether the needle is there."""
        return self._needle in data.lower()


class _Window:
    """Looks for a text in a stream, also across the borders of its pieces."""

    __slots__ = ("_find", "_keep", "_tail")

    def __init__(self, find: Finder, length: int) -> None:
        self._find = find
        self._keep = length - 1
        self._tail = b""

    def found(self, piece: bytes) -> bool:
        """Return whether the text ends in this piece."""
        window = self._tail + piece if self._tail else piece
        if self._find(window):
            return True
        self._tail = window[-self._keep :] if self._keep else b""
        return False


def _latin1_finder(text: str) -> Finder | None:
    try:
        return Finder(text.encode("latin-1"))
    except UnicodeEncodeError:
        return None
