"""One exchange whole, as the value that leaves the program: heads, bodies decoded for people, timings, TLS."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Final

from wiretape.errors import DamagedError, WiretapeError
from wiretape.heads import as_str, field_values, fields, full_url, start_line, status_line
from wiretape.log.assembly import REQUEST, RESPONSE, ExchangeTape, Side
from wiretape.log.format import Done, TlsSeen
from wiretape.model import ExchangeDetail, Message, Timings
from wiretape.session.content import ContentError, as_text, content_codings, decode
from wiretape.session.ids import exchange_id
from wiretape.wire.http1 import response_faults

MAX_INLINE: Final = 16 * 1024 * 1024
"""Bytes of one decoded body that a detail carries; larger ones are for ``raw_body``, which streams."""
_MAX_FILL: Final = 1024 * 1024 * 1024
_ZEROS: Final = bytes(64 * 1024)


def exchange_detail(
    session_id: str, tape: ExchangeTape, row: dict[str, Any], tls: dict[str, Any] | None, *, max_body: int
) -> ExchangeDetail:
    """Put one exchange together.

    Args:
        tape: its frames.
        row: its row of the index.
        tls: its handshakes as JSON types, or None.
        max_body: bytes of each decoded body to give at most; 0 gives none.
    """
    opened = tape.opened[1] if tape.opened else None
    done = tape.done[1] if tape.done else None
    request = _request(tape, row, max_body)
    response = _response(tape, row, max_body)
    notes = list(dict.fromkeys(tape.notes))
    if tape.opened is None:
        notes.append("The request's head is lost to damage.")
    # The heads of an import were put together here, also those of HTTP/2.
    if tape.response_head is not None and (opened is None or opened.source != "import"):
        faults = response_faults(tape.response_head)
        if faults:
            notes.append(f"The head of the response is not as RFC 9112 has it: {'; '.join(faults)}.")
    if done is None and row["state"] not in {"inFlight", "interrupted"}:
        notes.append("The record of its end is lost to damage.")
    if done is None and row["state"] == "interrupted" and row["error"]:
        notes.append(f"{row['error'][:1].upper()}{row['error'][1:]}.")
    error = None
    if done is not None and (done.error_code or done.error):
        error = {"code": done.error_code or "failed", "message": done.error}
    return ExchangeDetail(
        seq=tape.seq,
        exchange_id=exchange_id(session_id, tape.seq),
        state=row["state"],
        timestamp=row["ts"],
        request=request,
        response=response,
        timings=_timings(done),
        tls=tls,
        client=opened.client if opened else None,
        server=done.server or None if done else None,
        error=error,
        notes=notes,
    )


def _request(tape: ExchangeTape, row: dict[str, Any], max_body: int) -> Message | None:
    head = tape.request_head
    if head is None or tape.opened is None:
        return None
    record = tape.opened[1]
    method, target, version = start_line(head)
    headers = fields(head)
    return Message(
        method=method,
        url=full_url(method, target, record.scheme, record.host, record.port),
        http_version=version,
        headers=headers,
        trailers=fields(tape.trailers.get(REQUEST, b""), skip_first=False),
        **_body(tape, REQUEST, headers, row, max_body),
    )


def _response(tape: ExchangeTape, row: dict[str, Any], max_body: int) -> Message | None:
    head = tape.response_head
    if head is None:
        return None
    version, status, reason = status_line(head)
    headers = fields(head)
    return Message(
        http_version=version,
        status_code=int(status) if status.isascii() and status.isdigit() and len(status) == 3 else row["status"],
        status_message=reason,
        headers=headers,
        trailers=fields(tape.trailers.get(RESPONSE, b""), skip_first=False),
        **_body(tape, RESPONSE, headers, row, max_body),
    )


def _body(
    tape: ExchangeTape, side: Side, headers: list[tuple[str, str]], row: dict[str, Any], max_body: int
) -> dict[str, Any]:
    """Give the fields of a Message that are about its body."""
    size: int = row[f"{side}_size"]
    seen = WireBody(tape, side)
    found: dict[str, Any] = {"body_size": size, "body_recorded": 0}
    if max_body > 0:
        found.update(_shown(seen, headers, max_body))
    if row["damaged"]:
        # Not all of it may have been looked at, and every gap has to be named.
        seen = WireBody(tape, side)
        for _ in seen.pieces():
            pass
    recorded = tape.recorded(side)
    found["body_gaps"] = seen.gaps
    missing = sum(end - start for start, end in seen.gaps)
    found["body_recorded"] = (recorded if recorded is not None else max(size, seen.position)) - missing
    if recorded is not None and recorded < size:
        found["body_truncated"] = True
        note = f"Only the first {recorded} of {size} bytes were recorded."
        found["body_note"] = f"{found['body_note']} {note}" if found.get("body_note") else note
    return found


def _shown(seen: WireBody, headers: list[tuple[str, str]], max_body: int) -> dict[str, Any]:
    codings = content_codings(field_values(headers, "content-encoding"))
    data = bytearray()
    note, truncated = "", False
    try:
        for piece in decode(seen.pieces(stop_at_gap=bool(codings)), codings):
            data += piece
            if len(data) > max_body:
                del data[max_body:]
                note, truncated = f"Only the first {max_body} bytes are shown.", True
                break
    except ContentError as error:
        if not seen.gaps:
            note = f"The content coding {', '.join(codings)[:80]} could not be removed: {error}."
            if not data:
                data, truncated = _undecoded(seen, max_body)
                note = f"{note} The body is shown as it was on the wire." if data else ""
    if seen.gaps:
        note = "Damage took the ranges in bodyGaps; " + (
            "what follows them cannot be decoded." if codings else "zeros stand in their place."
        )
    if not data:
        return {"body_note": note or None, "body_truncated": truncated}
    content = next(iter(field_values(headers, "content-type")), None)
    whole = bytes(data)
    data.clear()  # it may be large, and its text four times as large
    text = as_text(whole, content, cut=truncated)
    if text is not None:
        return {"body": text, "body_note": note or None, "body_truncated": truncated}
    encoded = base64.b64encode(whole).decode()
    return {"body_base64": encoded, "body_note": note or None, "body_truncated": truncated}


def _undecoded(seen: WireBody, max_body: int) -> tuple[bytearray, bool]:
    data = bytearray()
    for piece in WireBody(seen.tape, seen.side).pieces():
        data += piece
        if len(data) > max_body:
            del data[max_body:]
            return data, True
    return data, False


class WireBody:
    """Reads a body from its tape and remembers what was missing.

    Attributes:
        gaps: ranges ``[from, to)`` that damage took, as far as read.
        position: how far it was read.
    """

    def __init__(self, tape: ExchangeTape, side: Side) -> None:
        self.tape = tape
        self.side = side
        self.gaps: list[tuple[int, int]] = []
        self.position = 0

    def pieces(self, *, stop_at_gap: bool = False) -> Iterator[bytes]:
        """Give the bytes in order. Zeros stand in the place of a gap, unless it ends the reading."""
        for part in self.tape.body(self.side):
            self.position = part.end
            if part.data is not None:
                yield part.data
                continue
            self.gaps.append((part.start, part.end))
            # Nobody lost a gigabyte in one piece: a forged position would make zeros without end.
            if stop_at_gap or part.end - part.start > _MAX_FILL:
                return
            left = part.end - part.start
            while left > 0:
                yield _ZEROS[: min(left, len(_ZEROS))]
                left -= len(_ZEROS)


def stream_body(tape: ExchangeTape, side: Side, *, decoded: bool) -> Iterator[bytes]:
    """Give a body piece by piece, in bounded memory.

    Raises (while iterating):
        DamagedError: damage took a part of it; everything else has been given, with zeros in its place (decoded bodies
            end there).
        WiretapeError: it does not decode.
    """
    body = WireBody(tape, side)
    head = tape.request_head if side == REQUEST else tape.response_head
    codings = content_codings(field_values(fields(head), "content-encoding")) if decoded and head else []
    try:
        yield from decode(body.pieces(stop_at_gap=bool(codings)), codings)
    except ContentError as error:
        if not body.gaps:
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


def _timings(done: Done | None) -> Timings:
    if done is None:
        return Timings()
    return Timings(
        dns=_ms(done.dns_ns),
        connect=_ms(done.connect_ns),
        tls=_ms(done.tls_ns),
        send=_ms(done.send_ns),
        wait=_ms(done.wait_ns),
        receive=_ms(done.receive_ns),
        total=_ms(done.elapsed_ns),
    )


def _ms(ns: int) -> float | None:
    return None if ns < 0 else round(ns / 1e6, 3)


def handshake(record: TlsSeen) -> dict[str, Any]:
    """Give one handshake as JSON types."""
    found: dict[str, Any] = {
        "version": record.version,
        "cipher": record.cipher,
        "alpn": record.alpn or None,
        "sni": record.sni or None,
    }
    if record.error_code:
        found["error"] = {"code": record.error_code, "message": as_str(record.error.encode())}
    return found
