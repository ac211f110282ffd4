"""Bodies of one exchange for people: read from the log, content codings taken off, what damage took named."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Final

from wiretape.errors import DamagedError, WiretapeError
from wiretape.heads import field_values, fields, status_line
from wiretape.log.assembly import RECEIVED_RESPONSE, REQUEST, SENT_REQUEST, ExchangeTape, Part, Side
from wiretape.model import PREVIEW_BYTES, BodyPart
from wiretape.session.content import ContentError, as_text, content_codings, decode

MAX_INLINE: Final = 16 * 1024 * 1024
"""Bytes of one decoded body that a detail carries; larger ones are for ``raw_body``, which streams."""
NOT_RECORDED: Final = "not-recorded"
"""The code of the error that says that a body was not recorded, or not to its end."""
_HINT_FULL: Final = "record with the profile full to keep bodies whole"
_NOT_DECODED: Final = "could not be removed"
_MAX_FILL: Final = 1024 * 1024 * 1024
_ZEROS: Final = bytes(64 * 1024)
_MAX_RUNS: Final = 1_000
_MAX_TIMES: Final = 1_000


class WireBody:
    """Reads a body from its tape and remembers what was missing, and when its pieces came.

    Attributes:
        gaps: ranges ``[from, to)`` that damage took, as far as read.
        position: how far it was read.
        times: (position, ms since the exchange began) of the first pieces whose time is known.
        elapsed_ns: when the piece that was read last had come, from the exchange's beginning; -1 where nobody knows.
    """

    def __init__(self, tape: ExchangeTape, side: Side) -> None:
        self.tape = tape
        self.side = side
        self.gaps: list[tuple[int, int]] = []
        self.position = 0
        self.times: list[tuple[int, float]] = []
        self.elapsed_ns = -1

    def parts(self) -> Iterator[Part]:
        """Yield the parts in order, those that damage took among them."""
        for part in self.tape.body(self.side):
            self.position = part.end
            if part.data is None:
                self.gaps.append((part.start, part.end))
            else:
                self.elapsed_ns = self._came(part)
            if part.data is not None and part.elapsed_ns >= 0 and len(self.times) < _MAX_TIMES:
                self.times.append((part.start, round(part.elapsed_ns / 1e6, 3)))
            yield part

    def _came(self, part: Part) -> int:
        """Return when a part had come: one that stands beside a head came with it, as far as is known."""
        if part.elapsed_ns >= 0 or part.start or self.side == REQUEST:
            return part.elapsed_ns
        begun = self.tape.begun
        return begun[1].elapsed_ns if begun is not None else -1

    def until_gap(self) -> Iterator[bytes]:
        """Yield the bytes up to the first gap."""
        for part in self.parts():
            if part.data is None:
                return
            yield part.data

    def filled(self) -> Iterator[bytes]:
        """Yield the bytes in order, zeros in the place of what damage took."""
        for part in self.parts():
            if part.data is not None:
                yield part.data
                continue
            left = part.end - part.start
            if left > _MAX_FILL:  # nobody lost a gigabyte in one piece: a forged position
                return
            while left > 0:
                yield _ZEROS[: min(left, len(_ZEROS))]
                left -= len(_ZEROS)

    def finish(self) -> None:
        """Read to the end, so that every gap is known."""
        for _ in self.parts():
            pass


class _Runs:
    """What of a body is shown: stretches without a gap, each with its offset, at most ``room`` bytes of all."""

    def __init__(self, room: int) -> None:
        self.found: list[tuple[int, bytearray]] = []
        self.cut = False
        self._room = room
        self._begun = False

    def add(self, offset: int, data: bytes) -> bool:
        """Take bytes; return whether there is room for more."""
        if not self._begun:
            if len(self.found) >= _MAX_RUNS:
                self.cut = True
                return False
            self.found.append((offset, bytearray()))
            self._begun = True
        self.found[-1][1].extend(data[: self._room])
        self.cut = len(data) > self._room
        self._room -= min(self._room, len(data))
        return not self.cut

    def gap(self) -> None:
        """What follows is another stretch."""
        self._begun = False


def shown_body(body: WireBody, headers: list[tuple[str, str]], max_body: int) -> dict[str, Any]:
    """Return the fields of a Message that show a body: whole as text or base64, or in parts where damage took some.

    Args:
        body: the body; as far as it is read here, its gaps are known after.
        headers: of its message.
        max_body: decoded bytes that are given at most.
    """
    codings = content_codings(field_values(headers, "content-encoding"))
    content_type = next(iter(field_values(headers, "content-type")), None)
    runs, notes = _Runs(max_body), []
    if codings:
        problem = _decode_into(runs, body, codings)
        if problem and not body.gaps:
            runs, problem = _undecoded(runs, body, max_body, problem)
            notes.append(problem)
    else:
        for part in body.parts():
            if part.data is None:
                runs.gap()
            elif not runs.add(part.start, part.data):
                break
    if runs.cut:
        notes.append(f"Only the first {max_body} {'decoded ' if codings else ''}bytes are shown.")
    found: dict[str, Any] = {"body_truncated": runs.cut}
    if body.gaps:
        after = "what follows the first cannot be decoded." if codings else "what is left is in bodyParts."
        notes.append(f"Damage took the ranges in bodyGaps; {after}")
        found["body_parts"] = [_part(offset, bytes(data), content_type) for offset, data in runs.found]
    elif runs.found and runs.found[0][1]:
        whole = bytes(runs.found[0][1])
        runs.found.clear()  # it may be large, and its text four times as large
        text = as_text(whole, content_type, cut=runs.cut)
        found.update({"body": text} if text is not None else {"body_base64": base64.b64encode(whole).decode()})
    found["body_note"] = " ".join(notes) or None
    return found


def _decode_into(runs: _Runs, body: WireBody, codings: list[str]) -> str:
    """Decode up to the end or the first gap; return why it went no further, empty where it did."""
    try:
        for piece in decode(body.until_gap(), codings):
            if not runs.add(0, piece):
                break
    except ContentError as error:
        return f"The content coding {', '.join(codings)[:80]} {_NOT_DECODED}: {error}."
    return ""


def _undecoded(runs: _Runs, body: WireBody, max_body: int, problem: str) -> tuple[_Runs, str]:
    """Take the body as it was on the wire if nothing of it could be decoded."""
    if runs.found:
        return runs, problem
    runs = _Runs(max_body)
    for part in WireBody(body.tape, body.side).parts():
        if part.data is not None and not runs.add(part.start, part.data):
            break
    return runs, f"{problem} The body is shown as it was on the wire." if runs.found else problem


def _part(offset: int, data: bytes, content_type: str | None) -> BodyPart:
    text = as_text(data, content_type)
    if text is not None:
        return BodyPart(offset=offset, size=len(data), body=text)
    return BodyPart(offset=offset, size=len(data), body_base64=base64.b64encode(data).decode())


def body_fields(
    tape: ExchangeTape, side: Side, headers: list[tuple[str, str]], size: int, *, damaged: bool, max_body: int
) -> dict[str, Any]:
    """Return the fields of a Message that are about its body.

    Args:
        tape: the exchange.
        side: which body.
        headers: of its message.
        size: bytes on the wire, as the index knows.
        damaged: whether damage took a part of the exchange: then every gap is looked for.
        max_body: decoded bytes that are given at most; 0 gives none.
    """
    body = WireBody(tape, side)
    found: dict[str, Any] = {"body_size": size, "body_recorded": 0}
    if max_body > 0:
        found.update(shown_body(body, headers, max_body))
    if damaged:
        body = WireBody(tape, side)
        body.finish()
    recorded = tape.recorded(side)
    found["body_gaps"] = body.gaps
    missing = sum(end - start for start, end in body.gaps)
    found["body_recorded"] = (recorded if recorded is not None else max(size, body.position)) - missing
    if len(body.times) > 1:
        found["pieces"] = body.times
    if recorded is not None and recorded < size:
        found["body_truncated"] = True
        note = f"Only the first {recorded} of {size} bytes were recorded."
        before = found.get("body_note")
        if before and _NOT_DECODED in before and found.get("body"):
            note = (
                f"The content coding {_NOT_DECODED} to its end: only the first {recorded} of {size} bytes on the wire"
            )
            before, note = None, f"{note} were recorded."
        found["body_note"] = f"{before} {note}" if before else note
    return found


def stream_body(tape: ExchangeTape, side: Side, *, decoded: bool) -> Iterator[bytes]:
    """Yield a body piece by piece, in bounded memory.

    Raises (while iterating):
        DamagedError: damage took a part of it; everything else has been given, with zeros in its place (decoded bodies
            end there).
        WiretapeError: it does not decode; or with the code NOT_RECORDED, not all of it was recorded: what was has been
            given.
    """
    yield from _stream(WireBody(tape, side), decoded=decoded)


def timed_body(tape: ExchangeTape, side: Side) -> Iterator[tuple[bytes, int]]:
    """Yield a decoded body piece by piece, each with when it had come: ns from the exchange's beginning, -1 unknown.

    Raises (while iterating): as ``stream_body``.
    """
    body = WireBody(tape, side)
    for piece in _stream(body, decoded=True):
        yield piece, body.elapsed_ns


def _stream(body: WireBody, *, decoded: bool) -> Iterator[bytes]:
    tape, side = body.tape, body.side
    unrecorded = _not_recorded(tape, side)
    if unrecorded is not None and not tape.has_body(side):
        raise unrecorded
    head = _head_of(tape, side)
    codings = content_codings(field_values(fields(head), "content-encoding")) if decoded and head else []
    try:
        yield from decode(body.until_gap() if codings else body.filled(), codings)
    except ContentError as error:
        if not body.gaps:
            if unrecorded is not None:  # so it ends too early
                raise unrecorded from None
            raise WiretapeError(
                f"The {side} body of exchange {tape.seq} does not decode as {', '.join(codings)[:80]}: {error}",
                hint="--raw gives it as it was on the wire",
                code="content",
            ) from None
    if body.gaps:
        ranges = ", ".join(f"{start} to {end}" for start, end in body.gaps[:8])
        raise DamagedError(
            f"The {side} body of exchange {tape.seq} has lost its bytes {ranges} to damage",
            hint="`wiretape verify` names the damage; what is left was written",
        )
    if unrecorded is not None:
        raise unrecorded


def _head_of(tape: ExchangeTape, side: Side) -> bytes | None:
    if side == SENT_REQUEST:
        return tape.sent_head or tape.request_head
    if side == RECEIVED_RESPONSE:
        return tape.received_head
    return tape.request_head if side == REQUEST else tape.response_head


def _not_recorded(tape: ExchangeTape, side: Side) -> WiretapeError | None:
    """Return the error that says how much of a body the recorder was not given, or None."""
    size, recorded = tape.size(side), tape.recorded(side)
    if size is None or recorded is None or recorded >= size:
        return None
    whose = f"the {side} body of exchange {tape.seq}"
    if tape.response_head is not None and status_line(tape.response_head)[1] == "101":
        why = "what follows an upgrade is passed on and counted"
    else:
        why = f"the profile preview keeps {PREVIEW_BYTES:,} bytes, and a full disk none"
    told = f"Only the first {recorded:,} of {size:,} bytes" if recorded else f"None of the {size:,} bytes"
    return WiretapeError(f"{told} of {whose} were recorded: {why}", hint=_HINT_FULL, code=NOT_RECORDED)
