"""The transparent port: for clients that are redirected and know of no proxy."""

from __future__ import annotations

import contextlib
import socket

import msgspec

from wiretape.daemon.listen import bind, exposed
from wiretape.daemon.proxy import Capture
from wiretape.errors import BusyError, DaemonError, NotFoundError
from wiretape.model import Value
from wiretape.settings import Address

_KINDS = ("transparent", "udp")


class TransparentStarted(Value, frozen=True):
    """A transparent port that accepts connections; ``instructions`` are rules of the firewall that lead there."""

    port: int
    instructions: list[str]
    notes: list[str] = msgspec.field(default_factory=list)


class TransparentPort:
    """The transparent port of a daemon, at most one; it ends with the capture that serves it.

    Attributes:
        address: where it listens, None where it does not.
    """

    def __init__(self) -> None:
        self.address: Address | None = None
        self._capture: Capture | None = None

    async def start(self, capture: Capture | None, address: Address) -> TransparentStarted:
        """Listen, and have the capture's recorders serve it.

        Raises:
            BusyError: it runs already, or the port is in use. DaemonError: no proxy runs, or a recorder refuses.
        """
        running = self.running(capture)
        if running is not None:
            raise BusyError(
                f"the transparent port is open already, on {running}",
                hint="proxy_stop_transparent closes it",
                code="transparent-running",
            )
        if capture is None:
            raise DaemonError(
                "the transparent port needs the proxy: the same recorders serve both",
                hint="call proxy_start first",
                code="proxy-not-running",
            )
        listener = bind(address)
        host, port = listener.getsockname()[:2]
        sockets = {"transparent": listener}
        with contextlib.suppress(OSError):  # without it datagrams are refused by the kernel: blocked, but not counted
            sockets["udp"] = _udp(listener)
        try:
            await capture.listen(sockets)
        except BaseException:
            for one in sockets.values():
                one.close()
            raise
        self.address, self._capture = Address(host=host, port=port), capture
        notes = exposed(self.address, None)
        if "udp" not in sockets:
            notes.append(f"UDP port {port} is in use: HTTP/3 is not counted, block it by the firewall")
        if host in {"127.0.0.1", "::1"}:
            notes.append("only this machine's own connections reach it: for those of others listen on 0.0.0.0")
        return TransparentStarted(port=port, instructions=instructions(port), notes=notes)

    async def stop(self, capture: Capture | None) -> None:
        """Close it; connections that are there go on.

        Raises:
            NotFoundError: it is not open.
        """
        if capture is None or self.running(capture) is None:
            raise NotFoundError(
                "the transparent port is not open", hint="proxy_start_transparent opens it", code="transparent-stopped"
            )
        await capture.unlisten(_KINDS)
        self.address = self._capture = None

    def running(self, capture: Capture | None) -> Address | None:
        """Return where it listens; None where it does not, or the capture that served it has ended."""
        return self.address if capture is not None and self._capture is capture else None


def _udp(listener: socket.socket) -> socket.socket:
    found = socket.socket(listener.family, socket.SOCK_DGRAM)
    try:
        found.bind(listener.getsockname())
    except OSError:
        found.close()
        raise
    return found


def instructions(port: int) -> list[str]:
    """Return the rules that redirect web traffic which passes this machine, for iptables."""
    return [
        f"iptables -t nat -A PREROUTING -p tcp -m multiport --dports 80,443 -j REDIRECT --to-ports {port}",
        f"iptables -t nat -A PREROUTING -p udp --dport 443 -j REDIRECT --to-ports {port}",
    ]
