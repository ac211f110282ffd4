"""What reading a log gives: exchanges as values, heads raw and taken apart, bodies as streams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from wiretape.errors import DamagedError
from wiretape.heads import fields, full_url, start_line, status_line
from wiretape.log.assembly import (
    RECEIVED_RESPONSE,
    REQUEST,
    RESPONSE,
    SENT_REQUEST,
    ExchangeTape,
    Part,
    Side,
)
from wiretape.log.format import Done, EndState, Opened
from wiretape.model import State

__all__ = ["Body", "Exchange", "Part", "Request", "Response", "exchange_of"]

_STATES: Final[dict[int, State]] = {
    EndState.COMPLETE: "complete",
    EndState.ABORTED: "aborted",
    EndState.FAILED: "failed",
    EndState.MOCKED: "mocked",
    EndState.BLOCKED: "blocked",
    EndState.DROPPED: "dropped",
}

Fields = tuple[tuple[str, str], ...]
"""Names and values in their order, with their case and duplicates."""


@dataclass(frozen=True, eq=False)
class Body:
    """One body as it was on the wire, content coding on; read from the log anew each time, a piece at a time.

    Attributes:
        size: bytes on the wire; None where the end of the exchange is not there.
        recorded: how many of them the log was given: fewer in the ``preview`` profile, or on a full disk; likewise.
    """

    size: int | None
    recorded: int | None
    _tape: ExchangeTape
    _side: Side

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes in pieces of at most 2 MiB.

        Raises:
            DamagedError: damage took a part; everything before it has been given (``parts`` goes on behind it).
            NotFoundError, StorageError: a segment is gone since, or cannot be read.
        """
        for part in self.parts():
            if part.data is None:
                raise DamagedError(
                    f"the {self._side} body of exchange {self._tape.seq} has lost its bytes {part.start} to {part.end}",
                    hint="parts() gives what is left of it",
                )
            yield part.data

    def parts(self) -> Iterator[Part]:
        """Yield everything that is left, in order; what damage took are parts without data.

        Raises:
            NotFoundError, StorageError: as ``__iter__``.
        """
        return self._tape.body(self._side)

    def read(self) -> bytes:
        """Return the whole body; for one that fits into memory.

        Raises:
            DamagedError, NotFoundError, StorageError: as ``__iter__``.
        """
        return b"".join(self)


@dataclass(frozen=True, eq=False)
class _Message:
    head: bytes
    body: Body
    raw_trailers: bytes

    @cached_property
    def _line(self) -> tuple[str, str, str]:
        return start_line(self.head)

    @cached_property
    def headers(self) -> Fields:
        """The header fields."""
        return tuple(fields(self.head))

    @cached_property
    def trailers(self) -> Fields:
        """The trailer fields."""
        return tuple(fields(self.raw_trailers, skip_first=False))


@dataclass(frozen=True, eq=False)
class Request(_Message):
    """A request. ``head`` is its raw head, empty where damage took it; then the rest is empty, too."""

    _opened: Opened | None

    @property
    def method(self) -> str:
        """The method, as it was sent."""
        return self._line[0]

    @property
    def target(self) -> str:
        """What stands behind the method: a path, or the whole URL."""
        return self._line[1]

    @property
    def version(self) -> str:
        """``HTTP/1.1`` or another."""
        return self._line[2]

    @property
    def url(self) -> str:
        """The URL that was asked for, put together from the target and the server."""
        at = self._opened
        return full_url(self.method, self.target, at.scheme, at.host, at.port) if at is not None else ""


@dataclass(frozen=True, eq=False)
class Response(_Message):
    """A final response. ``head`` is its raw head, empty where damage took it; ``status`` is None where it is unknown.

    ``interim`` are the raw heads of the 1xx answers before it. ``elapsed_ns`` is when the head had come, counted from
    the exchange's beginning; None where only the end of the whole exchange is known.
    """

    status: int | None
    interim: tuple[bytes, ...]
    elapsed_ns: int | None

    @property
    def version(self) -> str:
        """``HTTP/1.1`` or another."""
        return self._line[0]

    @property
    def reason(self) -> str:
        """The words behind the status."""
        return self._line[2]


@dataclass(frozen=True, eq=False)
class Exchange:
    """One exchange as the log has it.

    Attributes:
        seq: its number in the session; never another.
        state: ``complete``, ``aborted`` (the client left), ``failed`` (the server or the network did), ``interrupted``
            (its recorder ended in the middle) or ``inFlight`` (still running when it was read); ``mocked``, ``blocked``
            or ``dropped`` by a rule.
        request: what the client sent; always there; what damage took of it is empty, and said in ``notes``.
        response: what the client got; None where nothing of one was recorded.
        opened: the record of its beginning (time, server, client); None where damage took it.
        done: the record of its end (timings, sizes, digests, error); None where there is none, or damage took it.
        messages: messages of an upgraded connection that are there to their end, counted.
        notes: what damage took, one sentence each.
        sent_request: what went to the server, where a rule changed the request.
        received_response: what came from the server, where a rule changed the response.
        rules: the ids of the rules that acted, in order.
    """

    seq: int
    state: State
    request: Request
    response: Response | None
    opened: Opened | None
    done: Done | None
    messages: int
    notes: tuple[str, ...]
    sent_request: Request | None = None
    received_response: Response | None = None
    rules: tuple[str, ...] = ()

    @property
    def started_ns(self) -> int | None:
        """When the request's head was complete, in nanoseconds since the epoch."""
        return self.opened.wall_ns if self.opened is not None else None

    @property
    def duration_ns(self) -> int | None:
        """How long it took; None where it did not end."""
        return self.done.elapsed_ns if self.done is not None else None


def exchange_of(tape: ExchangeTape, unfinished: State) -> Exchange:
    """Make the value from the frames; ``unfinished`` is its state when nothing says how it ended."""
    opened = tape.opened[1] if tape.opened is not None else None
    done = tape.done[1] if tape.done is not None else None
    notes = list(dict.fromkeys(tape.notes))
    if opened is None:
        notes.append("The request's head is lost to damage.")
    return Exchange(
        seq=tape.seq,
        state=_STATES.get(done.state, "failed") if done is not None else unfinished,
        request=Request(tape.request_head or b"", _body(tape, REQUEST), tape.trailers.get(REQUEST, b""), opened),
        response=_response(tape, done, RESPONSE),
        opened=opened,
        done=done,
        messages=tape.messages,
        notes=tuple(notes),
        sent_request=None
        if tape.sent_head is None
        else Request(tape.sent_head, _body(tape, SENT_REQUEST), tape.trailers.get(REQUEST, b""), opened),
        received_response=_response(tape, done, RECEIVED_RESPONSE) if tape.changed(RESPONSE) else None,
        rules=tuple(dict.fromkeys(act.rule for act, _ in tape.acts.records)),
    )


def _response(tape: ExchangeTape, done: Done | None, side: Side) -> Response | None:
    head = tape.response_head if side == RESPONSE else tape.received_head
    if head is None and not tape.has_body(side) and not (done is not None and done.status):
        return None
    status = done.status if done is not None else tape.begun[1].status if tape.begun is not None else 0
    if tape.changed(RESPONSE):
        said = status_line(head or b"")[1]
        status = int(said) if said.isascii() and said.isdigit() else status
    return Response(
        head or b"",
        _body(tape, side),
        tape.trailers.get(RESPONSE, b""),
        status or None,
        tuple(raw for _, raw in tape.interim),
        tape.begun[1].elapsed_ns if tape.begun is not None else None,
    )


def _body(tape: ExchangeTape, side: Side) -> Body:
    return Body(tape.size(side), tape.recorded(side), tape, side)
