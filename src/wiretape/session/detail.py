"""One exchange whole, as the value that leaves the program: heads, bodies decoded for people, timings, TLS."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

from msgspec import UNSET

from wiretape.heads import as_str, fields, full_url, start_line, status_line
from wiretape.log.assembly import (
    LEFT_OUT,
    RECEIVED_RESPONSE,
    REQUEST,
    RESPONSE,
    SENT_REQUEST,
    ExchangeTape,
    Side,
)
from wiretape.log.format import Done, DoneFlag, FrameType, Opened, ResponseBegun, SentOn, TlsSeen
from wiretape.model import ExchangeDetail, InterimResponse, Message, RuleActed, Timings
from wiretape.session.bodies import WireBody, body_fields
from wiretape.session.content import as_text
from wiretape.session.ids import exchange_id
from wiretape.wire.http1 import response_faults

_RANGES: Final = 8
"""Ranges of a body that a note names."""
_MAX_CERTIFICATES: Final = 20
_KINDS: Final[dict[str, str]] = {"h2": "HTTP/2", "h3": "HTTP/3"}


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
    notes = [*dict.fromkeys(tape.notes), *_lost(tape, row, request, response)]
    cut = [RESPONSE if of_response else REQUEST for of_response in sorted(tape.acts.cut)]
    notes += [f"The end of what rules did to the {side} is not there." for side in cut]
    # The heads of an import were put together here, also those of HTTP/2.
    if tape.response_head is not None and not tape.unparsed and (opened is None or opened.source != "import"):
        faults = response_faults(tape.response_head)
        if faults:
            notes.append(f"The head of the response is not as RFC 9112 has it: {'; '.join(faults)}.")
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
        damaged=True if row["damaged"] or set(tape.notes) - {LEFT_OUT} else UNSET,
        interim=[_interim(record, head) for record, head in tape.interim] or UNSET,
        connections=_connections(opened, done) or UNSET,
        retried=True if done is not None and done.flags & DoneFlag.RETRIED else UNSET,
        process=opened.process if opened is not None and opened.process else UNSET,
        messages=tape.messages or UNSET,
        sent_request=_sent_request(tape, row, max_body) or UNSET,
        received_response=(_response(tape, row, max_body, RECEIVED_RESPONSE) or UNSET)
        if tape.changed(RESPONSE)
        else UNSET,
        rules=[_acted(act) for act, _ in tape.acts.records] or UNSET,
    )


def _lost(tape: ExchangeTape, row: dict[str, Any], request: Message | None, response: Message | None) -> list[str]:
    """Name each part that damage took, one sentence each."""
    notes, damaged = [], row["damaged"]
    ended = row["state"] not in {"inFlight", "interrupted"}
    if tape.opened is None:
        notes.append("The request's head is lost to damage.")
    if tape.done is None and (ended or damaged & 1 << FrameType.DONE):
        notes.append("The record of its end is lost to damage.")
    elif tape.done is None and damaged and row["state"] == "interrupted":
        notes.append("Whether it ended is not known: damage may have taken the record of its end.")
    status = row["status"] or (tape.done is not None and tape.done[1].status)
    if tape.response_head is None:
        if status or tape.has_body(RESPONSE) or damaged & 1 << FrameType.RESPONSE_HEAD:
            notes.append("The response's head is lost to damage.")
        elif tape.done is None and damaged and row["state"] == "interrupted":
            notes.append("A response may be lost to damage, too.")
    if damaged & 1 << FrameType.TRAILERS and not tape.trailers:
        notes.append("Trailers are lost to damage.")
    if damaged & 1 << FrameType.MESSAGE:
        notes.append("A part of its messages is lost to damage.")
    for side, message in ((REQUEST, request), (RESPONSE, response)):
        gaps = message.body_gaps if message is not None else _gaps(tape, side) if damaged else []
        if gaps:
            ranges = ", ".join(f"{start} to {end}" for start, end in gaps[:_RANGES])
            more = f" and {len(gaps) - _RANGES} more ranges" if len(gaps) > _RANGES else ""
            notes.append(f"The {side}'s body has lost its bytes {ranges}{more} to damage.")
    if damaged and not notes and not tape.notes:
        notes.append("Frames of it are damaged, and copies of them were read.")
    return notes


def _gaps(tape: ExchangeTape, side: Side) -> list[tuple[int, int]]:
    body = WireBody(tape, side)
    body.finish()
    return body.gaps


def _interim(record: ResponseBegun, head: bytes) -> InterimResponse:
    version, _, reason = status_line(head)
    return InterimResponse(
        http_version=version,
        status_code=record.status,
        status_message=reason,
        headers=fields(head),
        at=_ms(record.elapsed_ns),
    )


def _connections(opened: Opened | None, done: Done | None) -> dict[str, dict[str, Any]]:
    """Return both connections as JSON types, where the log says more than the addresses of the other ends."""
    found: dict[str, dict[str, Any]] = {}
    if opened is not None and opened.accepted_at:
        found["client"] = {"id": opened.connection, "from": opened.client, "to": opened.accepted_at}
        if opened.stream:
            found["client"]["stream"] = opened.stream
    if done is not None and (done.upstream_connection or done.sent_from):
        found["server"] = {"id": done.upstream_connection, "from": done.sent_from, "to": done.server}
        if done.flags & DoneFlag.REUSED:
            found["server"]["reused"] = True
    return found


def _acted(act: SentOn) -> RuleActed:
    at = _ms(act.elapsed_ns)
    return RuleActed(id=act.rule, stage=act.stage, at=at, description=act.description or UNSET, note=act.note or UNSET)


def _sent_request(tape: ExchangeTape, row: dict[str, Any], max_body: int) -> Message | None:
    """Show what went to the server in the place of the client's request."""
    head = tape.sent_head
    if head is None:
        return None
    method, target, version = start_line(head)
    headers = fields(head)
    return Message(
        method=method,
        url=target,
        http_version=version,
        headers=headers,
        trailers=fields(tape.trailers.get(REQUEST, b""), skip_first=False),
        **_body(tape, SENT_REQUEST, headers, row, max_body),
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
        http_version=_version(head, version, record.protocol),
        headers=headers,
        trailers=fields(tape.trailers.get(REQUEST, b""), skip_first=False),
        **_body(tape, REQUEST, headers, row, max_body),
    )


def _response(tape: ExchangeTape, row: dict[str, Any], max_body: int, side: Side = RESPONSE) -> Message | None:
    head = tape.response_head if side == RESPONSE else tape.received_head
    if head is None:
        return None
    if tape.unparsed:
        return _unparsed(head, row)
    version, status, reason = status_line(head)
    headers = fields(head)
    return Message(
        http_version=_version(head, version, tape.opened[1].protocol if tape.opened is not None else ""),
        status_code=int(status) if status.isascii() and status.isdigit() and len(status) == 3 else row["status"],
        status_message=reason,
        headers=headers,
        trailers=fields(tape.trailers.get(RESPONSE, b""), skip_first=False),
        **_body(tape, side, headers, row, max_body),
    )


def _version(head: bytes, version: str, protocol: str) -> str:
    """Return the version of a head: what its side spoke, which need not be what the other did."""
    return _KINDS.get(protocol, version) if head[:1] == b":" else version


def _unparsed(head: bytes, row: dict[str, Any]) -> Message:
    """Show what came where a response's head should be, as it came."""
    text = as_text(head, None)
    return Message(
        http_version="",
        headers=[],
        body_size=row["response_size"],
        body_recorded=0,
        unparsed=True,
        body_note=f"No head of a response could be read from these {len(head)} bytes.",
        raw=text if text is not None else UNSET,
        raw_base64=base64.b64encode(head).decode() if text is None else UNSET,
    )


def _body(
    tape: ExchangeTape, side: Side, headers: list[tuple[str, str]], row: dict[str, Any], max_body: int
) -> dict[str, Any]:
    came = row["request_size"] if side in (REQUEST, SENT_REQUEST) else row["response_size"]
    known = tape.size(side)
    size, damaged = came if known is None else known, bool(row["damaged"])
    return body_fields(tape, side, headers, size, damaged=damaged, max_body=max_body)


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
    """Return one handshake as JSON types."""
    found: dict[str, Any] = {
        "version": record.version,
        "cipher": record.cipher,
        "alpn": record.alpn or None,
        "sni": record.sni or None,
    }
    if record.error_code:
        found["error"] = {"code": record.error_code, "message": as_str(record.error.encode())}
    if record.verified:
        found["verified"] = record.verified
    return found


def certificates(data: bytes) -> list[str]:
    """Return the SHA-256 of each certificate (DER, one after the other), leaf first, in hexadecimal digits."""
    found: list[str] = []
    at = 0
    while at + 2 <= len(data) and len(found) < _MAX_CERTIFICATES:
        length, header = data[at + 1], 2
        if length & 0x80:  # X.690 section 8.1.3.5: the number of bytes of the length, then the length
            header += length & 0x7F
            length = int.from_bytes(data[at + 2 : at + header], "big")
        found.append(hashlib.sha256(data[at : at + header + length]).hexdigest())
        at += header + length
    return found
