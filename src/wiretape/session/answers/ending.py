"""How a recording ended: who disappeared, what was cut off and how far it had come, and how to go on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from wiretape.errors import WiretapeError
from wiretape.log.format import SegmentHead
from wiretape.log.scan import segment_info
from wiretape.log.store import list_segments
from wiretape.model import ExchangeDetail, Lean, RecoveredSession, Table
from wiretape.secrets.veil import Veil
from wiretape.session.answers.covered import called
from wiretape.session.session import Session

_NAMED: Final = 20
"""Interrupted exchanges that are named; the others are counted."""
_PATH_MAX: Final = 200

Ended = Literal["cleanly", "killed", "restarted", "running"]


class Ending(Lean, frozen=True, kw_only=True):
    """The end of a session's recording.

    ``ended`` is ``killed`` where the recorder disappeared, ``restarted`` where the machine did. ``after_end`` is what
    became of later traffic, ``resume`` the call that goes on; ``interrupted_exchanges`` says how far each had come.
    """

    session: str
    ended: Ended
    by: str = ""
    exchanges: int
    lost: int
    interrupted_exchanges: Table | None = None
    damaged: int
    torn_tail: int
    after_end: str = ""
    resume: str = ""


def ending(session: Session, *, veil: Veil, boot_id: str | None = None) -> Ending:
    """Return how a session's recording ended.

    Args:
        session: the session.
        veil: hides secrets.
        boot_id: that of the running system, None to ask it.

    Raises:
        NotFoundError, StorageError, LogVersionError: as ``Session.follow``.
    """
    reach = session.follow()
    log = reach.log
    live = session.writer() is not None
    unclean = not live and bool(log.unclosed or log.torn_tail_bytes)
    head = _newest_head(session.log_dir) if unclean else None
    ended: Ended = "running" if live else _how(head, boot_id or _boot_id()) if unclean else "cleanly"
    port = _port(session, reach.through_seq) if unclean else None
    return Ending(
        session=called(session),
        ended=ended,
        by=_by(head, log.ended_ns, ended) if unclean else "",
        exchanges=log.exchanges,
        lost=log.lost_exchanges,
        interrupted_exchanges=_cut_off(session, log.interrupted, log.interrupted_unlisted, veil),
        damaged=reach.damaged,
        torn_tail=log.torn_tail_bytes,
        after_end="nothing was recorded from then on: clients met a closed port" if unclean else "",
        resume="" if port is None else f'proxy_start {{"port":{port}}}',
    )


def with_ending(report: RecoveredSession, found: Ending) -> RecoveredSession:
    """Return a recovery's report with how the recording ended."""
    return msgspec.structs.replace(
        report,
        ended=found.ended,
        by=found.by or msgspec.UNSET,
        after_end=found.after_end or msgspec.UNSET,
        resume=found.resume or msgspec.UNSET,
        interrupted_exchanges=found.interrupted_exchanges or msgspec.UNSET,
    )


def _newest_head(log_dir: Path) -> SegmentHead | None:
    """Return who wrote the newest segment that still says it."""
    heads = []
    for ref in list_segments(log_dir):
        try:
            info = segment_info(ref.path)
        except WiretapeError:
            continue
        if info.head is not None:
            heads.append(info.head)
    return max(heads, key=lambda head: head.wall_ns, default=None)


def _how(head: SegmentHead | None, now: str) -> Ended:
    return "restarted" if head is not None and now and head.boot_id and head.boot_id != now else "killed"


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _by(head: SegmentHead | None, last_ns: int, ended: Ended) -> str:
    who = f"recorder {head.pid}" if head is not None else "the recorder"
    what = f"the machine went down, and {who} with it" if ended == "restarted" else f"{who} disappeared"
    if not last_ns:
        return what
    moment = datetime.fromtimestamp(last_ns / 1e9, UTC)
    return f"{what}; last frame at {moment:%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _port(session: Session, seq: int) -> int | None:
    """Return the port at which the newest exchange's client had come."""
    try:
        found = session.exchange(seq, bodies=False)
    except WiretapeError:
        return None
    connections = found.connections
    at = connections.get("client", {}).get("to", "") if isinstance(connections, dict) else ""
    port = str(at).rpartition(":")[2]
    return int(port) if port.isascii() and port.isdigit() else None


def _cut_off(session: Session, seqs: list[int], unlisted: int, veil: Veil) -> Table | None:
    if not seqs and not unlisted:
        return None
    rows: list[list[Any]] = []
    for seq in seqs[-_NAMED:]:
        try:
            detail = session.exchange(seq, bodies=False)
        except WiretapeError:
            rows.append([seq, "", "damage took it"])
            continue
        rows.append([seq, _operation(detail, veil), _reached(detail)])
    left = len(seqs) + unlisted - len(rows)
    return Table(["seq", "op", "reached"], rows, {"exchanges": left} if left else {})


def _operation(detail: ExchangeDetail, veil: Veil) -> str:
    if detail.request is None:
        return ""
    url = veil.text(detail.request.url or "").partition("?")[0]
    path = "/" + url.partition("://")[2].partition("/")[2] if "://" in url else url
    return f"{detail.request.method or ''} {path[:_PATH_MAX]}".strip()


def _reached(detail: ExchangeDetail) -> str:
    """Say how far an exchange had come, by what is in the log: it is written before it is sent on."""
    request, response = detail.request, detail.response
    if response is not None:
        return f"the server answered {response.status_code}; {response.body_recorded} bytes of its body had come"
    declared = _declared(request.headers) if request is not None else None
    if request is not None and declared is not None and request.body_recorded < declared:
        return f"{request.body_recorded} of {declared} bytes of the request's body had come; no answer came"
    return "the server may have had the whole request; no answer came"


def _declared(headers: list[tuple[str, str]]) -> int | None:
    for name, value in headers:
        if name.lower() == "content-length" and value.isascii() and value.isdigit() and len(value) < 19:
            return int(value)
    return None
