"""SOCKS towards a client: version 5 (RFC 1928, RFC 1929) and 4 with names (SOCKS4a), without sockets.

Each message is parsed from the bytes that have arrived, and says how many of them were it: what follows the last one
belongs to the protocol inside. Version 5: ``parse_greeting``, the choice of a method, maybe ``parse_password``, then
``parse_request``. Version 4 begins with its request.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final, NamedTuple

from wiretape.errors import ProtocolError
from wiretape.wire.target import parse_authority

NO_PASSWORD: Final = 0
USER_PASSWORD: Final = 2
NO_METHOD: Final = 0xFF
"""Methods of SOCKS5."""

_CONNECT: Final = 1
_COMMANDS: Final = {2: "BIND", 3: "UDP ASSOCIATE"}
_IPV4, _NAME, _IPV6 = 1, 3, 4
_MAX_TEXT: Final = 255
"""The longest user and name of SOCKS4, which ends them with a zero byte and sets no limit."""

_SUCCEEDED: Final = 0
_FAILED: Final = 1
_NOT_ALLOWED: Final = 2
_NO_COMMAND: Final = 7
_NO_ADDRESS_TYPE: Final = 8
"""Replies of SOCKS5; version 4 has one for success and one for all else."""


class SocksError(ProtocolError):
    """A SOCKS request that is not served; ``reply`` is what the client is told, nothing where it speaks no SOCKS."""

    code = "socks"

    def __init__(self, message: str, *, reply: bytes = b"", code: str | None = None, hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.reply = reply


class Greeting(NamedTuple):
    """What a client of SOCKS5 begins with: the methods that it offers."""

    consumed: int
    methods: bytes


class Password(NamedTuple):
    """Who a client says that it is (RFC 1929)."""

    consumed: int
    user: bytes
    password: bytes


class SocksRequest(NamedTuple):
    """Where a client wants to be connected to; ``version`` is 4 or 5."""

    consumed: int
    version: int
    host: str
    port: int


def parse_greeting(data: bytes) -> Greeting | None:
    """Read a SOCKS5 greeting; None where its end has not arrived."""
    if len(data) < 2 or len(data) < 2 + data[1]:
        return None
    return Greeting(2 + data[1], data[2 : 2 + data[1]])


def method_answer(method: int) -> bytes:
    """Return the answer to a greeting."""
    return bytes((5, method))


def parse_password(data: bytes) -> Password | None:
    """Read user and password; None where their end has not arrived.

    Raises:
        SocksError: this is another version of it.
    """
    if data and data[0] != 1:
        raise SocksError(
            f"the version of the SOCKS password is {data[0]}, not 1", reply=password_answer(accepted=False)
        )
    if len(data) < 2 or len(data) < 3 + data[1]:
        return None
    at = 2 + data[1]
    end = at + 1 + data[at]
    if len(data) < end:
        return None
    return Password(end, data[2:at], data[at + 1 : end])


def password_answer(*, accepted: bool) -> bytes:
    """Return the answer to a password."""
    return b"\x01\x00" if accepted else b"\x01\x01"


def parse_request(data: bytes) -> SocksRequest | None:
    """Read the request of either version; None where its end has not arrived.

    Raises:
        SocksError: it asks for something other than a TCP connection to a host, or is malformed.
    """
    if not data:
        return None
    if data[0] == 5:
        return _parse_version5(data)
    if data[0] == 4:
        return _parse_version4(data)
    raise SocksError(f"the SOCKS request has the version {data[0]}")


def success(version: int) -> bytes:
    """Return the reply to a request that is served. Where our connection comes from is nobody's business."""
    return _reply(version, _SUCCEEDED)


def not_allowed(version: int) -> bytes:
    """Return the reply to a request that must not be served."""
    return _reply(version, _NOT_ALLOWED)


def _parse_version5(data: bytes) -> SocksRequest | None:
    if len(data) < 5:
        return None
    command, kind = data[1], data[3]
    _check_command(5, command)
    if kind == _NAME:
        at = 5 + data[4]
    elif kind in (_IPV4, _IPV6):
        at = 4 + (4 if kind == _IPV4 else 16)
    else:
        raise SocksError(f"the SOCKS request has an address of type {kind}", reply=_reply(5, _NO_ADDRESS_TYPE))
    if len(data) < at + 2:
        return None
    host = data[5:at].decode("latin-1") if kind == _NAME else str(ipaddress.ip_address(data[4:at]))
    return _request(at + 2, 5, host, data[at : at + 2])


def _parse_version4(data: bytes) -> SocksRequest | None:
    if len(data) < 9:
        return None
    _check_command(4, data[1])
    end = _end_of_text(data, 8)
    if end is None:
        return None
    address = data[4:8]
    # SOCKS4a: an address that nobody has, 0.0.0.x, says that a name follows.
    if address[:3] == b"\x00\x00\x00" and address[3]:
        at, end = end, _end_of_text(data, end)
        if end is None:
            return None
        return _request(end, 4, data[at : end - 1].decode("latin-1"), data[2:4])
    return _request(end, 4, str(ipaddress.IPv4Address(address)), data[2:4])


def _end_of_text(data: bytes, at: int) -> int | None:
    """Return where a text ends, its zero byte included."""
    end = data.find(b"\x00", at, at + _MAX_TEXT + 1)
    if end >= 0:
        return end + 1
    if len(data) > at + _MAX_TEXT:
        raise SocksError(f"the SOCKS4 request has a text of more than {_MAX_TEXT} bytes", reply=_reply(4, _FAILED))
    return None


def _check_command(version: int, command: int) -> None:
    if command != _CONNECT:
        name = _COMMANDS.get(command, f"of number {command}")
        raise SocksError(
            f"SOCKS{version} asked for the command {name}: only CONNECT is served",
            reply=_reply(version, _NO_COMMAND),
            code="socks-command",
        )


def _request(consumed: int, version: int, host: str, port: bytes) -> SocksRequest:
    host = host.removeprefix("[").removesuffix("]") if ":" in host else host
    authority = f"[{host}]" if ":" in host else host
    try:
        host, number = parse_authority(f"{authority}:{int.from_bytes(port, 'big')}")
    except ProtocolError as error:
        sentence = error.message.replace("CONNECT target", "SOCKS target")
        raise SocksError(sentence, reply=_reply(version, _FAILED)) from error
    return SocksRequest(consumed, version, host, number)


def _reply(version: int, reply: int) -> bytes:
    if version == 4:
        return struct.pack("!BBHI", 0, 90 if reply == _SUCCEEDED else 91, 0, 0)
    return struct.pack("!BBBBIH", 5, reply, 0, _IPV4, 0, 0)
