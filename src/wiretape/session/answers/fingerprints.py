"""TLS fingerprints: those of one exchange, and which there are in a session."""

from __future__ import annotations

import contextlib
from typing import Any, Final, Literal

import msgspec

from wiretape.errors import DamagedError
from wiretape.log.assembly import LogFrames, Place
from wiretape.log.format import FrameType, TlsSeen
from wiretape.model import Lean
from wiretape.session.answers.handshakes import host_of
from wiretape.session.fingerprints import Fingerprints, fingerprints
from wiretape.session.session import Session

_HOSTS: Final = 5
"""Hosts that are named of each fingerprint, as proxy-mcp does."""
_OF_EXCHANGE: Final = (
    "SELECT e.url, c.name, h.offset, h.side FROM exchanges AS e LEFT JOIN handshakes AS h ON h.run = e.run"
    " AND ((h.side = 'client' AND h.connection = e.connection AND e.connection > 0)"
    " OR (h.side = 'server' AND h.connection = e.upstream AND e.upstream > 0))"
    " LEFT JOIN segments AS c ON c.id = h.segment WHERE e.seq = ?"
)
_JOINED: Final = (
    " FROM exchanges AS e JOIN handshakes AS h ON h.run = e.run AND h.connection = e.connection AND h.side = 'client'"
    " WHERE e.connection > 0 AND (? IS NULL OR e.host LIKE ? ESCAPE '\\')"
)


class ClientTls(Lean, frozen=True, kw_only=True):
    """What a client offered. ``ja3`` is the MD5 of ``ja3Text``."""

    ja3: str | None = None
    ja3_text: str | None = None
    ja4: str | None = None
    sni: str | None = None
    version: str | None = None
    cipher: str | None = None
    alpn: str | None = None


class ServerTls(Lean, frozen=True, kw_only=True):
    """What a server chose when wiretape connected to it. ``ja3s`` is the MD5 of ``ja3sText``."""

    ja3s: str | None = None
    ja3s_text: str | None = None
    version: str | None = None
    cipher: str | None = None
    alpn: str | None = None


class BothTls(Lean, frozen=True, kw_only=True):
    """The TLS of both sides of an exchange."""

    client: ClientTls | None = None
    server: ServerTls | None = None


class ExchangeFingerprints(Lean, frozen=True, kw_only=True):
    """The fingerprints of one exchange; ``tls`` is null where it came without TLS."""

    exchange_id: str
    hostname: str
    tls: BothTls | None


class Counted(Lean, frozen=True, kw_only=True):
    """A fingerprint; ``count`` is how many exchanges have it, ``hostnames`` are at most five of their hosts."""

    fingerprint: str
    count: int
    hostnames: list[str]


class FingerprintList(Lean, frozen=True, kw_only=True):
    """The fingerprints of a session's clients, the most frequent first; of each kind at most as many as asked for.

    ``totalExchangesWithTls`` counts exchanges, ``leftOut`` the fingerprints beyond the limit.
    """

    session_id: str
    total_exchanges_with_tls: int
    ja3: list[Counted] = msgspec.field(default_factory=list)
    ja4: list[Counted] = msgspec.field(default_factory=list)
    left_out: int = 0


def exchange_fingerprints(session: Session, seq: int) -> ExchangeFingerprints:
    """Return the fingerprints of one exchange.

    Raises:
        NotFoundError: there is no such exchange.
    """
    detail = session.exchange(seq, max_body=0)
    found: dict[str, tuple[TlsSeen, Fingerprints]] = {}
    frames = LogFrames(session.log_dir)
    rows = session.index.rows(_OF_EXCHANGE, (seq,))
    for _, name, offset, side in rows:
        if name is None:
            continue
        with contextlib.suppress(DamagedError):
            frame = frames.frame(Place(name, offset, FrameType.TLS))
            record = frame.record()
            if isinstance(record, TlsSeen):
                found[side] = record, fingerprints(record, frame.data)
    tls = BothTls(client=_client(found.get("client")), server=_server(found.get("server"))) if found else None
    url = rows[0][0] if rows else ""
    return ExchangeFingerprints(exchange_id=detail.exchange_id, hostname=host_of(url), tls=tls)


def _client(found: tuple[TlsSeen, Fingerprints] | None) -> ClientTls | None:
    if found is None:
        return None
    record, prints = found
    return ClientTls(
        ja3=prints.ja3,
        ja3_text=prints.ja3_text,
        ja4=prints.ja4,
        sni=record.sni or None,
        version=record.version or None,
        cipher=record.cipher or None,
        alpn=record.alpn or None,
    )


def _server(found: tuple[TlsSeen, Fingerprints] | None) -> ServerTls | None:
    if found is None:
        return None
    record, prints = found
    return ServerTls(
        ja3s=prints.ja3s,
        ja3s_text=prints.ja3s_text,
        version=record.version or None,
        cipher=record.cipher or None,
        alpn=record.alpn or None,
    )


def list_fingerprints(session: Session, *, limit: int = 20, host_contains: str | None = None) -> FingerprintList:
    """Return the fingerprints of the clients of a session's exchanges, the most frequent first.

    Args:
        session: the session; its index has been followed.
        limit: how many of each kind at most.
        host_contains: only of exchanges with hosts that contain this.
    """
    escaped = (host_contains or "").lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    wanted = (host_contains, f"%{escaped}%")
    total = session.index.one(f"SELECT count(DISTINCT e.seq){_JOINED}", wanted)
    ja3, more3 = _counted(session, "ja3", wanted, limit)
    ja4, more4 = _counted(session, "ja4", wanted, limit)
    return FingerprintList(
        session_id=session.session_id,
        total_exchanges_with_tls=int(total[0]) if total is not None else 0,
        ja3=ja3,
        ja4=ja4,
        left_out=more3 + more4,
    )


def _counted(
    session: Session, kind: Literal["ja3", "ja4"], wanted: tuple[Any, ...], limit: int
) -> tuple[list[Counted], int]:
    """Return the most frequent fingerprints of a kind, and how many others there are."""
    index, having = session.index, f"{_JOINED} AND h.{kind} IS NOT NULL"
    rows = index.rows(
        f"SELECT h.{kind}, count(DISTINCT e.seq) AS n{having} GROUP BY h.{kind} ORDER BY n DESC, h.{kind} LIMIT ?",
        (*wanted, limit),
    )
    hosts = f"SELECT DISTINCT e.host{having} AND h.{kind} = ? ORDER BY e.host LIMIT ?"
    found = [
        Counted(
            fingerprint=name,
            count=count,
            hostnames=[row[0] for row in index.rows(hosts, (*wanted, name, _HOSTS))],
        )
        for name, count in rows
    ]
    all_of_them = index.one(f"SELECT count(DISTINCT h.{kind}){having}", wanted)
    return found, (int(all_of_them[0]) if all_of_them is not None else 0) - len(found)
