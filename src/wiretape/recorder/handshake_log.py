"""What the log has of TLS, on both sides of the recorder: one frame a connection in every session that uses it."""

from __future__ import annotations

import ssl
import sys
import time
from typing import Final, NamedTuple

import msgspec

from wiretape.log.format import MAX_CERTIFICATES, PASSED, FrameType, TlsSeen
from wiretape.recorder.exchange_log import Stream
from wiretape.recorder.route import Route
from wiretape.tls.client_hello import ClientHello
from wiretape.tls.contexts import server_hello_of, tls_error

_AFTER_HANDSHAKE: Final = frozenset({"upstream-wants-certificate", "upstream-refused-certificate"})


class Handshake(NamedTuple):
    """One handshake.

    Attributes:
        record: what the frame says, but for the connection's number, which is 0 here.
        data: a client's raw ClientHello, or a server's certificates.
    """

    record: TlsSeen
    data: bytes


def client_handshake(
    route: Route, hello: ClientHello, tls: ssl.SSLObject | None, code: str = "", error: str = ""
) -> Handshake:
    """Return what is known of a client's handshake; ``tls`` is None where it failed, for the reason given."""
    alpn, version, cipher = _agreed(tls)
    record = TlsSeen(
        time.time_ns(), 0, "client", route.host, route.port, hello.sni or "", alpn, version, cipher, code, error
    )
    return Handshake(record, hello.raw)


def passed_handshake(route: Route, hello: ClientHello) -> Handshake:
    """Return what is known of a client's handshake with its server, which we let pass."""
    found = client_handshake(route, hello, None)
    return Handshake(msgspec.structs.replace(found.record, verified=PASSED), found.data)


def server_handshake(route: Route, tls: ssl.SSLObject) -> Handshake:
    """Return what is known of the handshake with a server."""
    alpn, version, cipher = _agreed(tls)
    chain = _chain(tls)
    data = b""
    for certificate in chain:
        if len(data) + len(certificate) <= MAX_CERTIFICATES:
            data += certificate
    record = TlsSeen(
        time.time_ns(),
        0,
        "server",
        route.host,
        route.port,
        route.name or route.host,
        alpn,
        version,
        cipher,
        verified="off" if tls.context.verify_mode == ssl.CERT_NONE else "ok",
        certificates=len(chain),
        hello=server_hello_of(tls),
    )
    return Handshake(record, data)


def _chain(tls: ssl.SSLObject) -> list[bytes]:
    """Return the certificates that a server sent, in DER; before Python 3.13 only its own can be had."""
    if sys.version_info >= (3, 13):
        return list(tls.get_unverified_chain())
    own = tls.getpeercert(binary_form=True)
    return [own] if own else []


def _agreed(tls: ssl.SSLObject | None) -> tuple[str, str, str]:
    if tls is None:
        return "", "", ""
    cipher = tls.cipher()
    return tls.selected_alpn_protocol() or "", tls.version() or "", cipher[0] if cipher else ""


def after_handshake_error(error: ssl.SSLError, route: Route) -> Exception:
    """Return what a server's alert means that came when the handshake was through for us, as in TLS 1.3."""
    reason = tls_error(error, side="server", host=route.name or route.host)
    return reason if reason.code in _AFTER_HANDSHAKE else error


def note_handshake(stream: Stream, connection: int, handshake: Handshake) -> None:
    """Write a handshake to a session's stream."""
    record = msgspec.structs.replace(handshake.record, connection=connection)
    stream.append(FrameType.TLS, 0, record, handshake.data)
