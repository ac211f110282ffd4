"""A recorded exchange as filters see it: its row of the index, and its frames when something is asked of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from msgspec import UNSET

from wiretape.filters.exchange import Fingerprint, Side, Verdict
from wiretape.filters.patterns import Pattern
from wiretape.heads import field_values, fields
from wiretape.log.assembly import ExchangeTape
from wiretape.model import ExchangeSummary
from wiretape.secrets.veil import UNVEILED
from wiretape.session.bodies import WireBody
from wiretape.session.content import ContentError, Utf8Rewriter, content_codings, declared_charset, decode
from wiretape.session.ids import exchange_id
from wiretape.session.query import account
from wiretape.session.query.needles import needle_of
from wiretape.session.query.places import Messages, Row, Scope, Showing, found_in_exchange
from wiretape.session.query.raw_scan import SeqSet
from wiretape.session.query.readable import LIMIT, inflated, is_grpc

_WINDOW: Final = 16 * 1024 * 1024
_OVERLAP: Final = 1024 * 1024
"""A body of more than a window is searched in windows; a match across two is found up to this length."""

_EVERYWHERE: Final = Scope()
MAX_URL: Final = 16 * 1024
"""Characters of a URL that a list gives, and many times what browsers take; the exchange itself has it whole."""
COLUMNS: Final = (
    "seq, ts, method, host, url, status, state, duration, request_size, response_size, content_type, error, damaged,"
    " special OR damaged OR status = 101 OR state IN ('inFlight', 'interrupted'), source,"
    " EXISTS (SELECT 1 FROM problems WHERE problems.seq = exchanges.seq), rules, changed,"
    " client_messages + server_messages"
)


def summary(session_id: str, row: tuple[Any, ...]) -> ExchangeSummary:
    """Turn a row of ``COLUMNS`` into the value that leaves the program."""
    seq, ts, method, _, url, status, state, duration, sent, received, content_type, error, damaged = row[:13]
    went_wrong = row[15] and state == "complete" and status is not None and status < 400
    return ExchangeSummary(
        seq=seq,
        exchange_id=exchange_id(session_id, seq),
        timestamp=ts,
        method=method,
        url=url[:MAX_URL],
        status_code=status,
        state=state,
        duration=None if duration is None else round(duration / 1e6, 3),
        request_body_size=sent,
        response_body_size=received,
        response_content_type=content_type,
        error=error,
        damaged=True if damaged else UNSET,
        error_in_body=True if went_wrong else UNSET,
        messages=row[18] or UNSET,
    )


class RecordedExchange:
    """One exchange. What could not be read of it is gathered in ``reasons``."""

    def __init__(
        self,
        row: tuple[Any, ...],
        tape: Callable[[int], ExchangeTape],
        messages: Messages,
        plain: Mapping[Pattern, SeqSet],
        prints: Callable[[int, Fingerprint], str | None] = lambda _seq, _kind: None,
    ) -> None:
        """Take a row of ``COLUMNS``.

        Args:
            row: the exchange in the index.
            tape: reads its frames.
            messages: reads those that one side sent.
            prints: looks up a fingerprint.
            plain: for patterns that the whole log was searched for, who has their plain text in a frame.
        """
        (self.seq, self.timestamp, self.method, self.host, self.url, self.status, self.state, duration, sent, received,
         self.response_type, self.failure, damaged, special, self.source, problem, rules,
         changed) = row[:18]  # fmt: skip
        self.rules = tuple((rules or "").split())
        self.changed = bool(changed)
        self.damaged = bool(damaged)
        self.milliseconds: float | None = None if duration is None else duration / 1e6
        self.reasons: list[str] = []
        self._sizes = {"request": sent, "response": received}
        self._special = bool(special)
        self._problem = bool(problem)
        self._plain = plain
        self._read = tape
        self._prints = prints
        self._messages = messages
        self._tape: ExchangeTape | None = None

    @property
    def tape(self) -> ExchangeTape:
        """The exchange's frames."""
        if self._tape is None:
            self._tape = self._read(self.seq)
            if self._tape.opened is None or self._tape.notes:
                self.reasons.append(account.UNREADABLE)
        return self._tape

    def size(self, side: Side) -> int:
        """Return the bytes of a body on the wire."""
        return int(self._sizes[side])

    def head(self, side: Side) -> bytes | None:
        """Return a raw head."""
        return self.tape.request_head if side == "request" else self.tape.response_head

    def header_lines(self, side: Side) -> str | None:
        """Return the fields of a head and of its trailers, a line each."""
        head = self.head(side)
        if head is None:
            lost = side == "request" or self.status is not None
            return None if lost else ""
        found = fields(head) if not (side == "response" and self.tape.unparsed) else []
        trailers = self.tape.trailers.get(side)
        if trailers:
            found = [*found, *fields(trailers, skip_first=False)]
        return "\n".join(f"{name}: {value}" for name, value in found)

    def body_has(self, side: Side, pattern: Pattern) -> Verdict:
        """Return whether a body has a pattern; None where it does not and a part could not be searched."""
        plain = self._plain.get(pattern)
        if plain is not None and not self._special and self.seq not in plain:
            return False
        body = _Body(self, side)
        if any(pattern.in_bytes(form) for form in body.forms()):
            return True
        in_messages = self._message_has(side, pattern)
        return in_messages if in_messages is not False else self._undecided(body.reason)

    def _message_has(self, side: Side, pattern: Pattern) -> Verdict:
        whole = True
        for message in self._messages(self.seq, side) if self.tape.messages else ():
            if pattern.in_bytes(message.data):
                return True
            whole = whole and message.whole
        return False if whole else self._undecided(account.CUT)

    def whole_body(self, side: Side, most: int) -> bytes | None:
        """Return all of a body, decoded; None where it is larger or not there whole."""
        body = _Body(self, side)
        found = body.whole(most)
        if found is None:
            self._undecided(body.reason)
        return found

    def _undecided(self, reason: str) -> Verdict:
        if reason:
            self.reasons.append(reason)
        return None if reason else False

    def address(self, end: Literal["client", "server"]) -> str | None:
        """Return the address of an end; empty where no server was reached."""
        if end == "client":
            return self.tape.opened[1].client if self.tape.opened else None
        return self.tape.done[1].server if self.tape.done else "" if self.state == "inFlight" else None

    def fingerprint(self, kind: Fingerprint) -> str | None:
        """Return a fingerprint of its TLS, None where there is none."""
        return self._prints(self.seq, kind)

    def has_text(self, pattern: Pattern) -> Verdict:
        """Return whether URL, headers, bodies or messages have a text, in one of its encodings."""
        needle = needle_of(pattern.text)
        plain = self._plain.get(pattern)
        if plain is not None and self.seq not in plain and not self._special:
            return needle.find(self.url.encode("utf-8", "replace")) is not None
        unsearched = account.Unsearched()
        showing, row = Showing(needle, UNVEILED, 0), Row(self.url, self.state == "inFlight")
        found = found_in_exchange(showing, self._read(self.seq), row, self._messages, unsearched, _EVERYWHERE)
        if next(found, None) is not None:
            return True
        self.reasons += [reason for reason, count in unsearched.counts.items() for _ in range(count)]
        return None if self.reasons else False

    def says_error(self) -> Verdict:
        """Return whether a response of 2xx says that something went wrong; the index knows it of what has ended."""
        return self._problem


class _Body:
    """One body, decoded; ``reason`` says, once it was read, why a part of it could not be."""

    def __init__(self, exchange: RecordedExchange, side: Side) -> None:
        self._exchange = exchange
        self._side = side
        self.reason = ""

    def forms(self) -> Iterator[bytes]:
        """Yield the body in windows, then in the charset that is declared where that is another."""
        exchange = self._exchange
        head = exchange.head(self._side)
        if head is None and self._side == "response" and exchange.status is None and not exchange.damaged:
            self.reason = account.RUNNING if exchange.state == "inFlight" else ""
            return
        headers = fields(head) if head else []
        charset = declared_charset(next(iter(field_values(headers, "content-type")), None))
        yield from _windows(self._pieces(headers))
        if charset is not None and charset != "utf-8":
            yield from _windows(_rewritten(self._pieces(headers), charset))

    def whole(self, most: int) -> bytes | None:
        """Return all of the body, None where it is larger or not there whole."""
        found = bytearray()
        head = self._exchange.head(self._side)
        for piece in self._pieces(fields(head) if head else []):
            found += piece
            if len(found) > most:
                self.reason = account.TOO_LARGE
                return None
        return None if self.reason else bytes(found)

    def _pieces(self, headers: list[tuple[str, str]]) -> Iterator[bytes]:
        exchange, tape = self._exchange, self._exchange.tape
        body = WireBody(tape, self._side)
        codings = content_codings(field_values(headers, "content-encoding"))
        try:
            pieces = decode(body.until_gap() if codings else body.filled(), codings, limit=LIMIT)
            kind = next(iter(field_values(headers, "content-type")), "").lower()
            yield from inflated(pieces, kind) if is_grpc(kind) else pieces
        except ContentError:
            self.reason = account.UNDECODABLE
        recorded = tape.recorded(self._side)
        if body.gaps:
            self.reason = account.DAMAGED
        elif tape.done is None:
            self.reason = account.RUNNING if exchange.state == "inFlight" else account.UNRECORDED
        elif recorded is not None and recorded < exchange.size(self._side):
            self.reason = account.UNRECORDED


def _windows(pieces: Iterator[bytes]) -> Iterator[bytes]:
    window = bytearray()
    for piece in pieces:
        window += piece
        if len(window) >= _WINDOW:
            yield bytes(window)
            del window[:-_OVERLAP]
    yield bytes(window)


def _rewritten(pieces: Iterable[bytes], charset: str) -> Iterator[bytes]:
    rewriter = Utf8Rewriter(charset)
    for piece in pieces:
        yield rewriter.feed(piece)
    yield rewriter.finish()
