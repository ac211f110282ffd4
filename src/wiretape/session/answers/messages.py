"""``messages``: what was said after the heads: messages of WebSockets, server-sent events, messages of gRPC.

Those of a WebSocket have frames of their own in the log; events and messages of gRPC are found in the recorded bodies,
and came when the piece of the body came that ends them.
"""

from __future__ import annotations

import base64
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, Literal

import msgspec

from wiretape.errors import NotFoundError, UsageError, WiretapeError
from wiretape.heads import field_values
from wiretape.model import ExchangeDetail, Filter, Lean
from wiretape.secrets.veil import UNVEILED, Veil
from wiretape.session.answers.covered import UPGRADED, called, missing
from wiretape.session.answers.read_body import veiled, veiled_text
from wiretape.session.answers.whole_body import MAX_WHOLE
from wiretape.session.content import as_text
from wiretape.session.ids import exchange_id, split_exchange_id
from wiretape.session.messages import MessageLog, RecordedMessage
from wiretape.session.session import Session
from wiretape.views.choose import media_type
from wiretape.views.json_text import write_json
from wiretape.views.limits import ViewError
from wiretape.views.protobuf import grpc_frames, message_value
from wiretape.views.sse import EventReader, ServerEvent
from wiretape.wire.websocket import BINARY, CLOSE, PING, PONG, TEXT

LENGTH: Final = 500
"""Characters of one message in an answer."""
_OPCODES: Final = {TEXT: "text", BINARY: "binary", CLOSE: "close", PING: "ping", PONG: "pong"}
_PAGE: Final = 1_000
_NAMED: Final = 10
_Passed = tuple[int, int]
"""Numbers of the last messages of client and server that were given; of messages in bodies the first counts them."""


class MessageItem(Lean, frozen=True):
    """One message. ``number`` counts those of its side from 1, ``from`` is ``client`` or ``server``.

    ``kind`` is ``text``, ``binary``, ``close``, ``ping`` or ``pong`` of a WebSocket, ``event`` of a stream of events
    (``event`` has its type, unless it is ``message``), ``message`` or ``trailers`` of gRPC. ``size`` is in bytes;
    ``compressedSize`` is what it had on the wire where it was compressed. ``body`` is its text, ``bodyBase64`` its
    bytes where it is none, ``value`` what a message of gRPC says by field number. ``left`` counts what follows of it.
    """

    seq: int
    number: int
    from_: Literal["client", "server"] = msgspec.field(name="from")
    kind: str
    timestamp: int
    size: int
    compressed_size: int | None = None
    event: str | None = None
    body: str | None = None
    body_base64: str | None = None
    value: Any = msgspec.UNSET
    left: int = 0
    note: str | None = None


class Messages(Lean, frozen=True):
    """Messages of a session or of one exchange, oldest first. ``missing`` says what could not be seen, by seq.

    ``open``: the one exchange that was asked for still runs; ``next_cursor`` then gives what will have come.
    """

    session: str
    returned: int
    items: list[MessageItem]
    complete: bool
    open: bool = False
    next_cursor: str | None = None
    missing: str | None = None


class MessagesWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages, and how much of them.

    Attributes:
        seq: only those of this exchange.
        exchanges: only those of exchanges that this takes.
        limit: messages at most.
        length: characters of each.
        cursor: ``next_cursor`` of the answer before.
    """

    seq: int | None = None
    exchanges: Filter | None = None
    limit: int = 100
    length: int = LENGTH
    cursor: str | None = None


def messages(session: Session, wanted: MessagesWanted, *, veil: Veil = UNVEILED) -> Messages:
    """Return messages, oldest first.

    Raises:
        NotFoundError: there is no such exchange. UsageError: an argument means nothing.
    """
    reach = session.follow()
    log = MessageLog(session.index)
    start, passed = _begin(session, wanted.cursor)
    seqs = [wanted.seq] if wanted.seq is not None else _chosen(session, log.streams(start), wanted.exchanges)
    items: list[MessageItem] = []
    gaps: list[str] = []
    following, still = None, False
    for seq in seqs:
        if seq < start:
            continue
        reader = _Reader(session, log, seq, wanted.length, veil)
        room = wanted.limit - len(items)
        began = passed if seq == start else (0, 0)
        found = list(islice(reader.items(began), room + 1))
        gaps += reader.missing
        more = len(found) > room
        items += found[:room]
        still = reader.open and seq == wanted.seq
        if more or still:
            client, server = reader.behind(began, found[:room])
            following = exchange_id(session.session_id, seq) + f".{client}-{server}"
        if more:
            break
    silent = [seq for seq in log.silent() if wanted.seq in {None, seq} and (wanted.seq or not wanted.exchanges)]
    gaps += [f"{seq}: {UPGRADED}" for seq in silent[:_NAMED]]
    if len(silent) > _NAMED:
        gaps.append(f"and {len(silent) - _NAMED} more such exchanges")
    gaps += [unseen] if (unseen := missing(reach)) else []
    return Messages(
        session=called(session),
        returned=len(items),
        items=items,
        complete=not gaps,
        open=still,
        next_cursor=following,
        missing="; ".join(gaps) or None,
    )


def _begin(session: Session, cursor: str | None) -> tuple[int, _Passed]:
    if cursor is None:
        return 0, (0, 0)
    place, _, passed = cursor.rpartition(".")
    try:
        owner, seq = split_exchange_id(place)
    except UsageError:
        owner, seq = "", 0
    numbers = [int(part) for part in passed.split("-") if part.isascii() and part.isdigit() and len(part) < 16]
    if owner != session.session_id or len(numbers) != 2 or passed != f"{numbers[0]}-{numbers[1]}":
        raise UsageError(
            f"{cursor[:80]!r} is not a cursor of this session's messages", hint="give nextCursor of the answer before"
        )
    return seq, (numbers[0], numbers[1])


def _chosen(session: Session, seqs: list[int], wanted: Filter | None) -> Iterator[int]:
    if wanted is None:
        yield from seqs
        return
    for at in range(0, len(seqs), _PAGE):
        part = msgspec.structs.replace(wanted, seqs=seqs[at : at + _PAGE])
        yield from (item.seq for item in session.query(part, sort="asc", limit=_PAGE).items)


class _Reader:
    """Reads the messages of one exchange, and remembers what could not be seen."""

    def __init__(self, session: Session, log: MessageLog, seq: int, length: int, veil: Veil) -> None:
        self.missing: list[str] = []
        self._session = session
        self._log = log
        self._seq = seq
        self._length = length
        self._veil = veil
        self._detail: ExchangeDetail = session.exchange(seq, bodies=False)
        self._has_frames = next(log.of(seq, most=0), None) is not None

    @property
    def open(self) -> bool:
        """Whether more may come."""
        return self._detail.state == "inFlight"

    def items(self, began: _Passed) -> Iterator[MessageItem]:
        """Yield them from where ``began`` says on."""
        if self._has_frames:
            for one in self._log.of(self._seq, after=began):
                if one.lost_before:
                    side = "server" if one.from_server else "client"
                    self.missing.append(
                        f"{self._seq}: {one.lost_before:,} messages before the {side}'s {one.number} are not in the log"
                    )
                yield self._recorded(one)
        else:
            yield from islice(self._from_bodies(), sum(began), None)

    def behind(self, began: _Passed, given: list[MessageItem]) -> _Passed:
        """Return where to go on behind these: the last numbers of both sides, or what is in bodies, counted."""
        if not self._has_frames:
            return sum(began) + len(given), 0
        client = max((one.number for one in given if one.from_ == "client"), default=began[0])
        server = max((one.number for one in given if one.from_ == "server"), default=began[1])
        return client, server

    def _from_bodies(self) -> Iterator[MessageItem]:
        response = self._detail.response
        kind = next(iter(field_values(response.headers, "content-type")), "") if response is not None else ""
        if media_type(kind) == "text/event-stream":
            yield from self._events()
        elif media_type(kind).startswith("application/grpc"):
            yield from self._grpc("request")
            yield from self._grpc("response")

    def _recorded(self, one: RecordedMessage) -> MessageItem:
        kind = "event" if one.event else _OPCODES.get(one.opcode, f"opcode {one.opcode}")
        event = self._veil.text(one.event) if one.event not in {"", "message"} else None
        shown: dict[str, Any] = {}
        notes = [one.missing] if one.missing else []
        if one.opcode == CLOSE:
            closed = _closed(one.data)
            notes += [self._veil.text(closed)] if closed else []
        else:
            shown = self._shown(one.data, cut=not one.whole)
        if one.size > len(one.data):
            shown["left"] = shown.get("left", 0) + one.size - len(one.data)
        if one.fault:
            notes.append(f"Fault: {one.fault}.")
        return MessageItem(
            seq=self._seq,
            number=one.number,
            from_="server" if one.from_server else "client",
            kind=kind,
            timestamp=self._detail.timestamp + max(0, one.elapsed_ns) // 1_000_000,
            size=one.size if one.size >= 0 else len(one.data),
            compressed_size=one.packed if one.packed >= 0 else None,
            event=event,
            note=" ".join(notes) or None,
            **shown,
        )

    def _events(self) -> Iterator[MessageItem]:
        """Yield events as they stream by, each with when the piece came that ends it."""
        reader, number, came = EventReader(), 0, 0
        try:
            for piece, elapsed in self._session.timed_body(self._seq, "response"):
                came = max(came, elapsed)
                for one in reader.feed(piece):
                    number += 1
                    yield self._event(number, one, came)
                if reader.held > MAX_WHOLE:
                    self.missing.append(f"{self._seq}: an event is longer than {MAX_WHOLE:,} bytes")
                    return
        except WiretapeError as error:
            self.missing.append(f"{self._seq}: {error.message}")
        for one in () if self.open else reader.end():
            yield self._event(number + 1, one, came)

    def _event(self, number: int, one: ServerEvent, came: int) -> MessageItem:
        text = veiled_text(one.data, self._veil)
        return MessageItem(
            seq=self._seq,
            number=number,
            from_="server",
            kind="event",
            timestamp=self._detail.timestamp + came // 1_000_000,
            size=len(one.data.encode("utf-8", "replace")),
            event=self._veil.text(one.event) if one.event != "message" else None,
            body=text[: self._length],
            left=max(0, len(text) - self._length),
            note=None if one.complete else "It is not whole: the stream ends in it.",
        )

    def _grpc(self, side: Literal["request", "response"]) -> Iterator[MessageItem]:
        message = self._detail.request if side == "request" else self._detail.response
        if message is None or not message.body_size:
            return
        data, times = self._read(side)
        content_type = next(iter(field_values(message.headers, "content-type")), "").lower()
        number = 0
        try:
            for frame in grpc_frames(data, text="grpc-web-text" in content_type):
                trailers = frame.trailers is not None
                number += not trailers
                value: Any = frame.trailers
                if not trailers:
                    value = message_value(frame.data, as_json="+json" in content_type) if frame.complete else None
                value = veiled(value, self._veil)
                long = len(write_json(value)) > self._length
                yield MessageItem(
                    seq=self._seq,
                    number=max(1, number),
                    from_="client" if side == "request" else "server",
                    kind="trailers" if trailers else "message",
                    timestamp=self._at(times, frame.end),
                    size=len(frame.data),
                    value=msgspec.UNSET if long or value is None else value,
                    body=write_json(value)[: self._length] if long else None,
                    left=max(0, len(write_json(value)) - self._length) if long else 0,
                    note=None if frame.complete else "It is not whole: the body ends in it.",
                )
        except ViewError as error:
            self.missing.append(f"{self._seq}: {error.message}")

    def _shown(self, data: bytes, *, cut: bool) -> dict[str, Any]:
        text = as_text(data, None, cut=cut)
        if text is None:
            hidden = self._veil.text(data.decode("latin-1"))
            part = hidden.encode("latin-1", "replace")[: self._length]
            return {"body_base64": base64.b64encode(part).decode(), "left": max(0, len(data) - len(part))}
        text = veiled_text(text, self._veil)
        return {"body": text[: self._length], "left": max(0, len(text) - self._length)}

    def _read(self, side: Literal["request", "response"]) -> tuple[bytes, list[tuple[int, int]]]:
        """Return a body, and how far it had come when: (bytes, ns since the exchange began)."""
        data = bytearray()
        times: list[tuple[int, int]] = []
        try:
            for piece, elapsed in self._session.timed_body(self._seq, side):
                data += piece[: MAX_WHOLE - len(data)]
                if elapsed >= 0:
                    times.append((len(data), elapsed))
                if len(data) >= MAX_WHOLE:
                    self.missing.append(f"{self._seq}: only the first {MAX_WHOLE:,} bytes were looked at")
                    break
        except WiretapeError as error:
            self.missing.append(f"{self._seq}: {error.message}")
        return bytes(data), times

    def _at(self, times: list[tuple[int, int]], end: int) -> int:
        place = bisect_left(times, (end, -1))
        elapsed = times[min(place, len(times) - 1)][1] if times else 0
        return self._detail.timestamp + elapsed // 1_000_000


def _closed(data: bytes) -> str:
    """Say what a closing message says (RFC 6455 section 5.5.1)."""
    if len(data) < 2:
        return ""
    reason = data[2:].decode("utf-8", "replace")
    return f"code {int.from_bytes(data[:2], 'big')}{': ' if reason else ''}{reason}"


def one_of(found: Messages, seq: int) -> None:
    """Refuse an empty answer about one exchange that is no stream at all.

    Raises:
        NotFoundError: it has no messages, and nothing says that they are missing.
    """
    if not found.items and found.complete:
        raise NotFoundError(
            f"Exchange {seq} has no messages: it is neither a WebSocket nor a stream of events nor gRPC",
            hint="`wiretape body` shows its body",
        )
