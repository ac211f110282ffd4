"""Which protocol a connection speaks, told from its first bytes, so that one port can serve them all."""

from __future__ import annotations

import enum
import re
from typing import Final

from wiretape.wire.grammar import TOKEN

_HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n"
_TLS_HANDSHAKE: Final = 0x16
_SOCKS4: Final = 0x04
_SOCKS5: Final = 0x05

# The longest registered method has 17 letters (UPDATEREDIRECTREF); nobody's own is much longer.
_MAX_METHOD: Final = 32
_METHOD: Final = re.compile(TOKEN).match


class Kind(enum.Enum):
    """What a connection begins with."""

    HTTP1 = "http1"
    HTTP2 = "http2"
    TLS = "tls"
    SOCKS4 = "socks4"
    SOCKS5 = "socks5"
    UNKNOWN = "unknown"


def classify(data: bytes) -> Kind | None:
    """Tell the protocol from the first bytes of a connection.

    Args:
        data: what has arrived; 33 bytes and the empty lines before a request line are always enough.

    Returns:
        The kind (CONNECT is HTTP1 too), or None when more bytes are needed.
    """
    if not data:
        return None
    if data[0] == _TLS_HANDSHAKE:
        if len(data) == 1:
            return None
        return Kind.TLS if data[1] == 3 else Kind.UNKNOWN
    if data[0] == _SOCKS5:
        return Kind.SOCKS5
    if data[0] == _SOCKS4:
        return Kind.SOCKS4
    # RFC 9112 section 2.2: empty lines before a request line are ignored; the parser is strict about them.
    return _classify_text(data.lstrip(b"\r\n"))


def _classify_text(data: bytes) -> Kind | None:
    if data.startswith(_HTTP2_PREFACE):
        return Kind.HTTP2
    if _HTTP2_PREFACE.startswith(data):
        return None
    match = _METHOD(data)
    if match is None or match.end() > _MAX_METHOD:
        return Kind.UNKNOWN
    if match.end() == len(data):
        return None
    return Kind.HTTP1 if data[match.end()] == 0x20 else Kind.UNKNOWN
