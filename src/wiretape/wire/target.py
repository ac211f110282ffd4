"""Request targets: which server a request is for (RFC 9112 section 3.2)."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn

from wiretape.errors import ProtocolError
from wiretape.wire.grammar import show

if TYPE_CHECKING:
    from wiretape.wire.request import RequestHead

# A name that can be resolved and put into a certificate; sub-delims and percent-encoding, which RFC 3986 allows in a
# reg-name, are refused, because programs disagree on what they mean.
_HOST: Final = r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([-A-Za-z0-9._]{1,255}))"
_ORIGIN: Final = re.compile(r"(?i:(https?))://(" + _HOST + r"(?::([0-9]{0,5}))?)").fullmatch
_AUTHORITY: Final = re.compile(_HOST + r":([0-9]{1,5})").fullmatch

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def split_target(head: RequestHead) -> tuple[str, str, int, bytes, bytes]:
    """Split an absolute-form request-target into what is needed to forward the request.

    Args:
        head: a request whose target is ``http://...`` or ``https://...``, or in origin-form, or ``*``.

    Returns:
        ``(scheme, host, port, target, authority)``: scheme and host in lower case, an IPv6 address without its
        brackets; ``target`` is the origin-form target to send, and ``authority`` what its Host header has to say
        (RFC 9112 section 3.2.2), to be given to ``forward``. For origin-form and ``*`` it is
        ``("", "", 0, target, b"")``: which server is meant is then for the connection to say.

    Raises:
        ProtocolError: the target is none of these.
    """
    target = head.target
    if target[0] == "/" or (target == "*" and head.method == "OPTIONS"):
        return "", "", 0, target.encode("latin-1"), b""
    # No authority has a slash, and head.target no control characters or spaces.
    slash = target.find("/", 8)
    if slash < 0:
        slash = len(target)
    origin, path = target[:slash], target[slash:]
    if "?" in origin:
        origin, _, query = target.partition("?")
        path = f"/?{query}"
    elif not path:
        # RFC 9112 section 3.2.4: OPTIONS without path and query is about the server as a whole.
        path = "*" if head.method == "OPTIONS" else "/"
    scheme, host, port, authority = _split_origin(origin)
    given = head.host
    if given != authority and given is not None and _normal(given, scheme) == _normal(authority, scheme):
        authority = given
    return scheme, host, port, path.encode("latin-1"), authority


@lru_cache(256)
def _split_origin(origin: str) -> tuple[str, str, int, bytes]:
    """Split ``scheme://authority``; the few servers that are talked to again and again are remembered."""
    match = _ORIGIN(origin)
    if match is None:
        _refuse_target(origin)
    scheme, authority, ipv6, name, digits = match.groups()
    scheme = scheme.lower()
    port = int(digits) if digits else _DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        _refuse(f"The port {port} of the request-target is not between 1 and 65535")
    return scheme, (name.lower() if ipv6 is None else _ipv6(ipv6)), port, authority.encode("ascii")


def parse_authority(target: str) -> tuple[str, int]:
    """Split the authority-form target of a CONNECT request.

    Args:
        target: ``host:port``; an IPv6 address stands in brackets.

    Returns:
        The host, lower case and without brackets, and the port.

    Raises:
        ProtocolError: it is not exactly that, or the port is not between 1 and 65535.
    """
    match = _AUTHORITY(target)
    if match is None:
        _refuse(f"The CONNECT target is not host:port: {show(target.encode('latin-1', 'replace'))}")
    ipv6, name, digits = match.groups()
    port = int(digits)
    if not 0 < port < 65536:
        _refuse(f"The port {port} of the CONNECT target is not between 1 and 65535")
    return (name.lower() if ipv6 is None else _ipv6(ipv6)), port


def _normal(authority: bytes, scheme: str) -> bytes:
    return authority.lower().removesuffix(b":%d" % _DEFAULT_PORTS[scheme]).removesuffix(b":")


def _ipv6(text: str) -> str:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        _refuse(f"The request-target has a malformed IPv6 address: [{text}]")
    return text.lower()


def _refuse_target(target: str) -> NoReturn:
    text = show(target.encode("latin-1", "replace"))
    if "@" in target:
        _refuse(f"The request-target has user information in it, which RFC 9110 section 4.2.4 forbids: {text}")
    _refuse(f"The request-target is no absolute http or https URL and no path: {text}")


def _refuse(message: str) -> NoReturn:
    raise ProtocolError(message, hint="A proxy takes http://host[:port]/path, and host:port for CONNECT.")
