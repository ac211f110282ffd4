"""TLS handshakes: what each client offered and its server chose, as fingerprints, and those that failed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from wiretape.errors import WiretapeError
from wiretape.log.assembly import LogFrames, Place
from wiretape.log.format import FrameType, TlsSeen
from wiretape.model import ExchangeSummary, Filter, Lean
from wiretape.secrets.veil import Veil
from wiretape.session.session import Session

_PAGE: Final = 5_000
_SEQS: Final = 500
"""Numbers in one statement: SQLite takes no more than some thousand parameters."""
_FAILED: Final = 50
_PLACES: Final = (
    "SELECT e.seq, s.name, h.offset, h.ja3, h.ja4, (SELECT v.ja3s FROM handshakes AS v WHERE v.run = e.run"
    " AND v.connection = e.upstream AND v.side = 'server' LIMIT 1) FROM exchanges AS e"
    " JOIN handshakes AS h ON h.run = e.run AND h.connection = e.connection AND h.side = 'client'"
    " JOIN segments AS s ON s.id = h.segment WHERE e.connection > 0"
)
_FAILURES: Final = (
    "SELECT s.name, h.offset, h.ja3, h.ja4 FROM handshakes AS h JOIN segments AS s ON s.id = h.segment WHERE h.failed"
    " ORDER BY s.number DESC, h.offset DESC LIMIT ?"
)
_NO_SERVER_HELLO: Final = "JA3S is not there: servers' hellos were not recorded before 1.1, nor of reused connections."


class Handshake(Lean, frozen=True, kw_only=True):
    """The handshake of an exchange's client, and the fingerprint of its server's.

    ``ja3`` is the MD5, ``ja4`` the text, both of the recorded ClientHello; ``ja3s`` the MD5 of what the server answered
    wiretape on the connection that served the exchange.
    """

    seq: int
    exchange_id: str
    timestamp: int
    hostname: str
    url: str
    has_tls: bool
    ja3: str | None = None
    ja4: str | None = None
    ja3s: str | None = None
    sni: str | None = None
    version: str | None = None
    cipher: str | None = None
    alpn: str | None = None


class FailedHandshake(Lean, frozen=True, kw_only=True):
    """A handshake that failed, so that there is no exchange. ``side`` is ``client`` (towards us) or ``server``."""

    timestamp: int
    side: str
    host: str
    error: str
    ja3: str | None = None
    ja4: str | None = None


class Handshakes(Lean, frozen=True, kw_only=True):
    """A page of them; ``total`` counts the exchanges that the filter takes."""

    session_id: str
    total: int
    with_tls_metadata: int
    without_tls_metadata: int
    unavailable_reason: str | None = None
    items: list[Handshake]
    failed: list[FailedHandshake] = msgspec.field(default_factory=list)
    note: str | None = None
    complete: bool


def handshakes(
    session: Session,
    wanted: Filter | None = None,
    *,
    veil: Veil,
    sort: Literal["asc", "desc"] = "desc",
    limit: int = 200,
    offset: int = 0,
) -> Handshakes:
    """Return the handshakes of a session's exchanges, and those that failed.

    Args:
        session: the session.
        wanted: only of these exchanges.
        veil: hides secrets in URLs.
        sort: ``desc`` is newest first.
        limit: how many at most.
        offset: how many to leave out first.

    Raises:
        UsageError, NotFoundError, StorageError: as ``Session.query``.
    """
    page = session.query(wanted, sort=sort, limit=limit, offset=offset)
    reader = _Reader(session)
    seen = reader.read([item.seq for item in page.items])
    total, with_tls = _counted(session, wanted)
    items = [_item(item, seen.get(item.seq), veil) for item in page.items]
    reason = None
    if total and not with_tls:
        reason = "No exchange came over TLS with a handshake that was recorded; imports have none."
    return Handshakes(
        session_id=session.session_id,
        total=total,
        with_tls_metadata=with_tls,
        without_tls_metadata=total - with_tls,
        unavailable_reason=reason,
        items=items,
        failed=list(reader.failures()),
        note=_NO_SERVER_HELLO if any(one.has_tls and not one.ja3s for one in items) else None,
        complete=not page.coverage.in_flight and not page.coverage.damaged,
    )


def _counted(session: Session, wanted: Filter | None) -> tuple[int, int]:
    """Count the exchanges that the filter takes, and those of them with a handshake."""
    with_tls = total = 0
    cursor: str | None = None
    while True:
        page = session.query(wanted, sort="asc", limit=_PAGE, cursor=cursor)
        total += page.returned
        seqs = [item.seq for item in page.items]
        for some in _batches(seqs):
            statement = f"SELECT count(DISTINCT seq) FROM ({_PLACES}) WHERE seq IN ({_marks(some)})"  # noqa: S608 - marks
            row = session.index.one(statement, some)
            with_tls += int(row[0]) if row is not None else 0
        cursor = page.next_cursor
        if cursor is None:
            return total, with_tls


def _batches(seqs: Sequence[int]) -> Iterator[list[int]]:
    for at in range(0, len(seqs), _SEQS):
        yield list(seqs[at : at + _SEQS])


def _marks(values: Sequence[Any]) -> str:
    return ",".join("?" * len(values))


class _Seen(NamedTuple):
    record: TlsSeen
    ja3: str | None
    ja4: str | None
    ja3s: str | None


class _Reader:
    """Reads handshakes from the log; a connection's is read once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._frames = LogFrames(session.log_dir)
        self._read: dict[Place, TlsSeen | None] = {}

    def read(self, seqs: Sequence[int]) -> dict[int, _Seen]:
        """Return the records of exchanges' clients with the fingerprints."""
        found: dict[int, _Seen] = {}
        for some in _batches(seqs):
            for seq, name, offset, *prints in self._session.index.rows(
                f"{_PLACES} AND e.seq IN ({_marks(some)})", some
            ):
                record = self._at(Place(name, offset, FrameType.TLS))
                if record is not None:
                    found[seq] = _Seen(record, *prints)
        return found

    def _at(self, place: Place) -> TlsSeen | None:
        if place not in self._read:
            self._read[place] = None
            with contextlib.suppress(WiretapeError):
                record = self._frames.frame(place).record()
                if isinstance(record, TlsSeen):
                    self._read[place] = record
        return self._read[place]

    def failures(self) -> Iterator[FailedHandshake]:
        """Yield the newest handshakes that failed."""
        for name, offset, ja3, ja4 in self._session.index.rows(_FAILURES, [_FAILED]):
            record = self._at(Place(name, offset, FrameType.TLS))
            if record is not None:
                yield FailedHandshake(
                    timestamp=record.wall_ns // 1_000_000,
                    side=record.side,
                    host=f"{record.host}:{record.port}",
                    error=f"{record.error_code}: {record.error}" if record.error else record.error_code,
                    ja3=ja3,
                    ja4=ja4,
                )


def _item(item: ExchangeSummary, seen: _Seen | None, veil: Veil) -> Handshake:
    record = seen.record if seen is not None else None
    return Handshake(
        seq=item.seq,
        exchange_id=item.exchange_id,
        timestamp=item.timestamp,
        hostname=host_of(item.url),
        url=veil.text(item.url),
        has_tls=record is not None,
        ja3=seen.ja3 if seen is not None else None,
        ja4=seen.ja4 if seen is not None else None,
        ja3s=seen.ja3s if seen is not None else None,
        sni=record.sni or None if record is not None else None,
        version=record.version or None if record is not None else None,
        cipher=record.cipher or None if record is not None else None,
        alpn=record.alpn or None if record is not None else None,
    )


def host_of(url: str) -> str:
    """Return the host of a URL, all of it where it has none."""
    from urllib.parse import urlsplit  # noqa: PLC0415

    try:
        return urlsplit(url).hostname or url
    except ValueError:
        return url
