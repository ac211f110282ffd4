"""Sending one request through a recorder of its own, so that what came of it is recorded like any other exchange."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from wiretape.daemon.listen import bind
from wiretape.daemon.proxy import Capture
from wiretape.errors import NetworkError
from wiretape.model import ExchangeDetail
from wiretape.session.answers.login import Renewal, Step
from wiretape.session.answers.resend import Outgoing
from wiretape.session.catalogue import Catalogue, SessionDir
from wiretape.session.session import Session
from wiretape.settings import Address, RecordTarget, SessionSettings, UpstreamSettings
from wiretape.tls.authority import CertificateAuthority

SECONDS: Final = 60.0
"""How long an answer may take."""
_PIECE: Final = 256 * 1024


class Sent(NamedTuple):
    """What was sent: the session that has it, its number there, and what was got anew before."""

    session: SessionDir
    seq: int
    rebound: list[str]


async def resend(
    root: Path,
    outgoing: Outgoing,
    upstream: UpstreamSettings,
    *,
    before: Sequence[Step] = (),
    api: Address | None = None,
    loop: str = "asyncio",
    seconds: float = SECONDS,
) -> Sent:
    """Send a request and record it into a session of its own, ``replay-1`` and so on; redirects are not followed.

    Args:
        root: the folder of CA and sessions.
        outgoing: what to send.
        upstream: how the server is trusted.
        before: what is sent first, so that the request gets fresh secrets.
        api: where the daemon listens, which is no server to send to.
        loop: the recorder's event loop.
        seconds: how long each answer may take.

    Raises:
        UsageError: logging in again failed.
        DaemonError: the recorder does not start. NetworkError: nothing came back in time.
    """
    authority = await asyncio.to_thread(CertificateAuthority.load_or_create, root)
    made = await asyncio.to_thread(_make_session, root)
    target = RecordTarget(session_id=made.session_id, dir=made.path, settings=SessionSettings(name=made.name))
    listener = bind(Address(host="127.0.0.1", port=0))
    capture = Capture(listener, root, upstream, api=api, loop=loop, source="replay")
    try:
        await capture.start(target)
        renewal = Renewal()
        for step in before:
            async with asyncio.timeout(seconds):
                await _exchange(capture.address, renewal.applied(step.outgoing), authority.cert_pem.decode())
            answer = await asyncio.to_thread(_newest, made)
            renewal.learn(step, answer, f"{made.name}:{answer.seq}")
        async with asyncio.timeout(seconds):
            await _exchange(capture.address, renewal.applied(outgoing), authority.cert_pem.decode())
    except TimeoutError:
        raise NetworkError(
            f"No whole answer came within {seconds:g} s; what came is in session {made.session_id}",
            hint="look at it there, or allow more time",
        ) from None
    except (OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
        raise NetworkError(
            f"The request could not be sent: {error}", hint=f"session {made.session_id} says more"
        ) from error
    finally:
        await capture.stop()
    return Sent(made, len(before) + 1, renewal.told)


def _newest(made: SessionDir) -> ExchangeDetail:
    """Return the exchange that was recorded last; it is in the log already when its answer has been read (P1)."""
    with Session(made.path, made.session_id) as session:
        return session.exchange(session.follow().through_seq)


def _make_session(root: Path) -> SessionDir:
    catalogue = Catalogue(root)
    taken = set(catalogue.names().values())
    name = next(name for number in itertools.count(1) if (name := f"replay-{number}") not in taken)
    return catalogue.create(name, profile="full", durability="group")


async def _exchange(proxy: Address, outgoing: Outgoing, ca: str) -> None:
    """Send the request through the proxy and read the answer to its end."""
    scheme, host, port = outgoing.server
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    try:
        if scheme == "https":
            await _tunnel(reader, writer, host, port, ca)
        writer.write(_head(outgoing, absolute=scheme == "http"))
        writer.write(outgoing.body)
        await writer.drain()
        while await reader.read(_PIECE):
            pass
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


async def _tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, ca: str) -> None:
    name = f"[{host}]" if ":" in host else host
    writer.write(f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    if answer.split(b" ", 2)[1:2] != [b"200"]:
        line = answer.partition(b"\r\n")[0].decode("latin-1")
        raise NetworkError(f"The recorder does not lead to {host}:{port}: {line}", hint="is it a server?")
    context = ssl.create_default_context(cadata=ca)
    await writer.start_tls(context, server_hostname=host)


def _head(outgoing: Outgoing, *, absolute: bool) -> bytes:
    """Write the head: the recorded headers in their order, and those that are this connection's."""
    parts = urlsplit(outgoing.url)
    path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    if not path.startswith("/"):
        path = f"/{path}"
    host = parts.netloc.rpartition("@")[2]
    lines = [f"{outgoing.method} {f'{parts.scheme}://{host}{path}' if absolute else path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in outgoing.headers]
    if outgoing.body or outgoing.method in {"POST", "PUT", "PATCH"}:
        lines.append(f"Content-Length: {len(outgoing.body)}")
    lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")
