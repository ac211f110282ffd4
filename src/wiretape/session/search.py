"""Text in URLs, headers and decoded bodies, streamed; and an account of what could not be searched (P11)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final

from wiretape.log.heads import field_values, fields
from wiretape.log.tape import REQUEST, RESPONSE, ExchangeTape, Side
from wiretape.session.content import ContentError, content_codings, declared_charset, decode
from wiretape.session.detail import WireBody

LIMIT: Final = 64 * 1024 * 1024
"""Decoded bytes of one body that a search looks at: above any text, and a decompression bomb ends here."""

UNDECODABLE: Final = "content coding could not be removed"
DAMAGED: Final = "lost to damage"
UNRECORDED: Final = "not recorded whole"
UNREADABLE: Final = "frame unreadable"
RUNNING: Final = "still running"


class TextSearch:
    """Looks for one text in exchanges; upper and lower case of ASCII letters are the same.

    Attributes:
        not_searched: how many bodies or heads were not, or not wholly, searched, by reason.
    """

    def __init__(self, text: str) -> None:
        needle = text.encode()
        self._text = text
        self._find = Finder(needle)
        self._by_charset = {"utf-8": (self._find, len(needle))}
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
        """Tell whether the URL has the text."""
        return self._find(url.encode("utf-8", "replace"))

    def matches(self, tape: ExchangeTape, url: str) -> bool:
        """Tell whether the exchange has the text in its URL, headers, trailers or decoded bodies."""
        if self.in_url(url):
            return True
        heads = (tape.request_head, tape.response_head, tape.trailers.get(REQUEST), tape.trailers.get(RESPONSE))
        if any(head and self._in_head(head) for head in heads):
            return True
        if tape.opened is None or tape.notes:
            self._skipped(UNREADABLE)
        return self._in_body(tape, REQUEST, tape.request_head) or self._in_body(tape, RESPONSE, tape.response_head)

    def _in_head(self, head: bytes) -> bool:
        return bool(self._find(head)) or (not head.isascii() and self._in_latin1(head))

    def _in_latin1(self, head: bytes) -> bool:
        found = self._for_charset("iso8859-1")
        return found is not None and bool(found[0](head))

    def _in_body(self, tape: ExchangeTape, side: Side, head: bytes | None) -> bool:
        body = WireBody(tape, side)
        headers = fields(head) if head else []
        codings = content_codings(field_values(headers, "content-encoding"))
        charset = declared_charset(next(iter(field_values(headers, "content-type")), None))
        finders = [self._by_charset["utf-8"]]
        if charset and charset != "utf-8" and (other := self._for_charset(charset)) and other not in finders:
            finders.append(other)
        try:
            if _found_in(decode(body.pieces(stop_at_gap=bool(codings)), codings, limit=LIMIT), finders):
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

    def _for_charset(self, charset: str) -> tuple[Finder, int] | None:
        if charset not in self._by_charset:
            try:
                needle = self._text.encode(charset)
            except (UnicodeError, LookupError):
                return None
            self._by_charset[charset] = (Finder(needle), len(needle))
        return self._by_charset[charset]

    def _skipped(self, reason: str) -> None:
        self.not_searched[reason] = self.not_searched.get(reason, 0) + 1

    def notes(self) -> list[str]:
        """Say what was not searched, one sentence for each reason."""
        return [
            f"{count} {'body was' if count == 1 else 'bodies were'} not searched to the end: {reason}."
            for reason, count in sorted(self.not_searched.items())
        ]


class Finder:
    """Finds one needle in bytes, whatever the case of ASCII letters: lower() and find are ten times as fast as re."""

    __slots__ = ("_needle",)

    def __init__(self, needle: bytes) -> None:
        self._needle = needle.lower()

    def __call__(self, data: bytes) -> bool:
        """Tell whether the needle is there."""
        return self._needle in data.lower()


def _found_in(pieces: Iterable[bytes], finders: list[tuple[Finder, int]]) -> bool:
    """Look for any needle in a stream, also across the borders of its pieces."""
    keep = max(length for _, length in finders) - 1
    tail = b""
    for piece in pieces:
        window = tail + piece if tail else piece
        if any(find(window) for find, _ in finders):
            return True
        tail = window[-keep:] if keep else b""
    return False
