"""Search: a text in all its encodings, or a regular expression, in URLs, headers, decoded bodies and messages."""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from wiretape.errors import DamagedError, UsageError
from wiretape.log.assembly import REQUEST, RESPONSE, LogFrames, Place
from wiretape.log.format import FrameType
from wiretape.log.items import Frame
from wiretape.model import Coverage, Filter, Lean
from wiretape.secrets.veil import UNVEILED, Veil
from wiretape.session.ids import exchange_id
from wiretape.session.messages import MessageLog
from wiretape.session.query.account import BINARY, Unsearched
from wiretape.session.query.coverage import coverage, veiled_coverage
from wiretape.session.query.head_candidates import in_heads
from wiretape.session.query.needles import LITERAL, Needle, looks_like_expression
from wiretape.session.query.places import Found, Row, Scope, Showing, found_in_exchange
from wiretape.session.query.readable import is_binary
from wiretape.session.query.text_index import TextIndex
from wiretape.session.session import Session

Sides = Literal["request", "response", "both"]
MAX_LIMIT: Final = 1_000
MOST_PLACES: Final = 5
"""Places of one exchange that are told."""
HIDDEN: Final = "Secrets are not searched by regular expression."
_PAGE: Final = 500
_WINDOW: Final = 8_192
"""Numbers of exchanges that are looked up in the index at a time: hits come in order, the first after milliseconds."""
_CURSOR: Final = "s1."
_ROWS: Final = (
    "SELECT e.seq, e.url, e.special OR e.damaged OR e.done_in IS NULL OR e.opened_in IS NULL"
    " OR EXISTS (SELECT 1 FROM pieces AS p WHERE p.seq = e.seq),"
    " o.name, e.opened_at, d.name, e.done_at, e.method, e.status, e.content_type, e.response_size,"
    " e.state = 'inFlight'"
    " FROM exchanges AS e LEFT JOIN segments AS o ON o.id = e.opened_in LEFT JOIN segments AS d ON d.id = e.done_in"
)
_ALL: Final = f"{_ROWS} WHERE e.seq > ? AND e.seq <= ? ORDER BY e.seq LIMIT ?"
_AMONG: Final = "SELECT count(*) FROM exchanges WHERE seq BETWEEN ? AND ?"
_THESE: Final = f"{_ROWS} WHERE e.seq IN (SELECT value FROM json_each(?)) ORDER BY e.seq"  # noqa: S608 - constants


class SearchItem(Lean, frozen=True):
    """An exchange that has what was looked for.

    Attributes:
        in_: the first place where it stands, such as ``response.header.Set-Cookie`` or ``request.body/payment/amount``.
        snippet: some characters around it.
        encoding: in which encoding it stands there.
        also: further places.
    """

    seq: int
    exchange_id: str
    url: str
    in_: str = msgspec.field(name="in")
    snippet: str
    method: str = ""
    status_code: int | None = None
    encoding: str = "plain"
    also: list[str] = msgspec.field(default_factory=list)


class SearchCoverage(Coverage, frozen=True, omit_defaults=True):
    """What was searched.

    Attributes:
        searched: exchanges that were looked at.
        not_searched: bodies and messages that were not, or not to their end, by reason; ``missing`` names exchanges.
        indexed_through: exchanges up to this seq were looked up in the index of substrings, those behind it were read.
        complete: whether everything that was asked for was searched to its end.
        encodings: in which the text was looked for.
    """

    searched: int = 0
    indexed_through: int = 0
    not_searched: dict[str, int] = msgspec.field(default_factory=dict)
    missing: dict[str, list[int]] = msgspec.field(default_factory=dict)
    complete: bool | UnsetType = UNSET
    encodings: list[str] = msgspec.field(default_factory=list)


class SearchPage(Lean, frozen=True):
    """One page of a search, oldest first.

    ``matched`` counts exchanges, ``matched_at_least`` those that were found where not all were looked at.
    """

    returned: int
    items: list[SearchItem]
    coverage: SearchCoverage
    matched: int | UnsetType = UNSET
    matched_at_least: int | UnsetType = UNSET
    next_cursor: str | None = None


class Search:
    """One search over a session, an exchange at a time, in the order in which they began.

    Args:
        session: it is followed to the log's end first.
        needle: what is looked for.
        sides: whose headers and bodies; the URL belongs to the request.
        wanted: only exchanges that this filter takes.
        content_type: only bodies whose Content-Type has this; then headers and URLs are left out.
        cursor: where it goes on; see ``cursor``.
        most: exchanges to look at; None looks at all.
        context: characters around a hit.
        bodies_only: leave URLs and headers out.
        veil: what recorded text is shown through.
    """

    def __init__(
        self,
        session: Session,
        needle: Needle,
        *,
        veil: Veil,
        sides: Sides = "both",
        wanted: Filter | None = None,
        content_type: str | None = None,
        bodies_only: bool = False,
        cursor: str | None = None,
        most: int | None = None,
        context: int = 40,
    ) -> None:
        self.account = Unsearched()
        self.searched = 0
        self.brief = False
        """Whether it is enough to know that an exchange matches: then its places are looked for only where in doubt."""
        self._indexed = 0
        self.stopped = False
        """Whether there is more behind ``after`` that was not looked at, because ``most`` have been."""
        self._most = most
        self._session = session
        self._needle = needle
        self._veil = veil
        self._wanted = wanted
        self._scope = Scope(
            sides=(RESPONSE, REQUEST) if sides == "both" else (sides,),
            heads=not bodies_only and content_type is None,
            content_type=content_type.lower() if content_type else "",
            most=MOST_PLACES,
        )
        self._messages = MessageLog(session.index)
        self._showing = Showing(needle, veil, context)
        self._reach = session.follow()
        self._what = zlib.crc32(
            msgspec.json.encode([session.session_id, needle.key, sides, wanted, content_type, bodies_only])
        )
        self.after, self.seen = self._begun(cursor) if cursor else (0, 0)
        self.through = self._reach.through_seq
        self._frames = LogFrames(session.log_dir)

    def coverage(self, *, empty: bool, whole: bool) -> SearchCoverage:
        """Say what was searched; ``whole`` says that the search came to its end."""
        base = veiled_coverage(coverage(self._reach, empty=empty), self._veil)
        known = {name: getattr(base, name) for name in base.__struct_fields__}
        counts = self.account.counts
        if self._needle.regex and self._veil is not UNVEILED:
            known["notes"] = [*base.notes, HIDDEN]
        elif empty and not self._needle.regex and looks_like_expression(self._needle.text):
            known["notes"] = [*base.notes, LITERAL]
        return SearchCoverage(
            **known,
            searched=self.searched,
            indexed_through=self._indexed,
            not_searched=counts,
            missing=self.account.seqs,
            complete=bool(whole and not counts and not base.notes),
            encodings=self._needle.encodings,
        )

    def cursor(self, after: int, found: int) -> str:
        """Return what a later search goes on with: behind ``after``; ``found`` have been found since the beginning."""
        return f"{_CURSOR}{after}.{found}.{self._what}"

    def _begun(self, text: str) -> tuple[int, int]:
        parts = text.removeprefix(_CURSOR).split(".")
        numbers = [int(part) for part in parts if part.isascii() and part.isdigit() and len(part) < 18]
        if not text.startswith(_CURSOR) or not len(parts) == len(numbers) == 3:
            raise UsageError("The cursor is not one that a search gave", hint="start again without it")
        if numbers[2] != self._what:
            raise UsageError(
                "The cursor belongs to a search of another session, pattern or filter",
                hint="repeat the same arguments with it",
            )
        return numbers[0], numbers[1]

    def items(self) -> Iterator[SearchItem]:
        """Yield the exchanges that match; ``after`` is the last that was looked at."""
        for row in self._rows():
            if self._most is not None and self.searched >= self._most:
                self.stopped = True
                return
            found = self._look(row)
            self.searched += 1
            self.after = row[0]
            if found:
                yield self._item(row, found)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the exchanges to look at, in order."""
        if self._wanted is None or self._wanted == Filter():
            if self._most is None:
                yield from self._by_index()
            after = self.after
            while rows := self._session.index.rows(_ALL, (after, self.through, _PAGE)):
                yield from rows
                after = rows[-1][0]
            return
        cursor = None
        while True:
            page = self._session.query(self._wanted, sort="asc", limit=_PAGE, cursor=cursor)
            seqs = [item.seq for item in page.items if self.after < item.seq <= self.through]
            yield from self._session.index.rows(_THESE, (msgspec.json.encode(seqs).decode(),))
            cursor = page.next_cursor
            if cursor is None:
                return

    def _by_index(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the exchanges that can have it, as far as there is an index of substrings."""
        known = TextIndex(self._session.index, self._session.tape).candidates(self._needle.plain_forms())
        if known is None:
            return
        with contextlib.closing(known):
            end = self._indexed = min(known.mark, self.through)
            while self.after < end:
                first, last = self.after + 1, min(self.after + _WINDOW, end)
                seqs = known.between(first, last)
                if self._scope.heads:
                    look = partial(in_heads, needle=self._needle, sides=self._scope.sides, first=first, last=last)
                    seqs |= self._session.index.run(look)
                for seq, reason in known.unsearched(first, last):
                    if seq not in seqs:
                        self.account.skipped(reason, seq)
                yield from self._session.index.rows(_THESE, (msgspec.json.encode(sorted(seqs)).decode(),))
                among = self._session.index.one(_AMONG, (first, last))
                self.searched += (among[0] if among else 0) - len(seqs)
                self.after = last

    # -- one exchange -------------------------------------------------------------------------------------------

    def _look(self, row: tuple[Any, ...]) -> list[Found]:
        """Return where an exchange has it; most have it nowhere, which one look at their plain bytes tells."""
        seq, url, special = row[:3]
        if not special and self._needle.by_bytes and not self._scope.content_type:
            there = self._in_plain(row)
            if not there:
                if row[10] and RESPONSE in self._scope.sides and is_binary(row[9]):
                    self.account.skipped(BINARY, seq)
                return []
            if self.brief and there == _SURE and self._veil is UNVEILED:
                return _SOMEWHERE
        known, messages = Row(url, bool(row[11])), self._messages.each
        found = found_in_exchange(self._showing, self._session.tape(seq), known, messages, self.account, self._scope)
        return list(islice(found, MOST_PLACES + 1))

    def _in_plain(self, row: tuple[Any, ...]) -> int:
        """Return whether the bytes of an exchange that are all in two frames have it: 0 for no, _PERHAPS or _SURE."""
        _, url, _, opened, opened_at, done, done_at = row[:7]
        try:
            if RESPONSE in self._scope.sides:
                there = self._in_frame(self._frames.frame(Place(done, done_at, FrameType.DONE)))
                if there:
                    return _PERHAPS if is_binary(row[9]) else there
            if REQUEST in self._scope.sides:
                there = self._in_frame(self._frames.frame(Place(opened, opened_at, FrameType.OPENED)))
                if there:
                    return there
        except DamagedError:
            return _PERHAPS
        if not (REQUEST in self._scope.sides and self._scope.heads):
            return 0
        return 0 if self._needle.find(url.encode("utf-8", "replace")) is None else _SURE

    def _in_frame(self, frame: Frame) -> int:
        """Return 0 for no hit, _SURE for one behind the start line, or behind the head, that stands in one line."""
        payload, needle = frame.payload, self._needle
        places = [at for find in needle.raw if (at := find(payload, frame.head_length)) >= 0]
        if not places:
            return 0
        hit = needle.find(payload, min(places))
        if hit is None:
            return _PERHAPS
        end = b"\n" if self._scope.heads else b"\r\n\r\n"
        at = payload.find(end, frame.head_length)
        return _SURE if 0 <= at <= hit.start - len(end) and b"\n" not in payload[hit.start : hit.end] else _PERHAPS

    def _item(self, row: tuple[Any, ...], found: list[Found]) -> SearchItem:
        first = found[0]
        return SearchItem(
            seq=row[0],
            exchange_id=exchange_id(self._session.session_id, row[0]),
            url=self._veil.text(row[1])[:2000],
            in_=first.where,
            snippet=first.snippet,
            method=row[7],
            status_code=row[8],
            encoding=first.encoding,
            also=list(dict.fromkeys(one.where for one in found[1 : MOST_PLACES + 1] if one.where != first.where)),
        )


_PERHAPS: Final = 1
_SURE: Final = 2
_SOMEWHERE: Final = [Found("", "plain", "")]


def search(
    session: Session,
    pattern: str,
    *,
    veil: Veil,
    regex: bool = False,
    case_sensitive: bool = False,
    limit: int = 20,
    cursor: str | None = None,
    count: bool = False,
    seconds: float = 5.0,
    max_scan: int | None = None,
    **options: Any,
) -> SearchPage:
    """Return one page of what a search finds.

    Args:
        session: the session.
        pattern: a text, looked for in all its encodings, or with ``regex`` an expression of RE2.
        veil: what recorded text is shown through.
        limit: exchanges on the page.
        cursor: ``next_cursor`` of the page before, with the same other arguments.
        count: count all that match, however long it takes.
        seconds: how long to go on counting when the page is full.
        max_scan: exchanges that are looked at at most; the next page goes on behind them.
        options: as ``Search`` takes them.

    Raises:
        UsageError: an argument means nothing. NotFoundError, StorageError: the log cannot be read.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise UsageError(f"limit is 1 to {MAX_LIMIT}, not {limit}", hint="follow nextCursor for more")
    needle = Needle(pattern, regex=regex, case_sensitive=case_sensitive)
    job = Search(session, needle, veil=veil, cursor=cursor, most=max_scan, **options)
    items: list[SearchItem] = []
    until, matched, more_after, whole = time.monotonic() + seconds, job.seen, 0, True
    for item in job.items():
        matched += 1
        if len(items) < limit:
            items.append(item)
            continue
        job.brief = True
        more_after = more_after or items[-1].seq
        if not count and (cursor or time.monotonic() > until):
            whole = False
            break
    if job.stopped:
        whole, more_after = False, more_after or job.after
    return SearchPage(
        returned=len(items),
        items=items,
        coverage=job.coverage(empty=not items, whole=whole),
        matched=matched if whole else UNSET,
        matched_at_least=UNSET if whole else matched,
        next_cursor=job.cursor(more_after, job.seen + len(items)) if more_after else None,
    )
