"""The ClientHello of a TLS connection (RFC 8446 section 4.1.2), read without ending the TLS, and its fingerprints.

It names the server that the client means, what it can speak, and by JA3 and JA4 which TLS library it uses.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from wiretape.errors import ProtocolError

MAX_HELLO: Final = 64 * 1024
"""The longest ClientHello that is read, in bytes, its record headers included."""

# Libraries send one record or a few; tools that hide the server's name in pieces of one byte send some hundred.
_MAX_RECORDS: Final = 1024

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_MAX_FRAGMENT: Final = 16384  # RFC 8446 section 5.1

_SERVER_NAME: Final = 0
_SUPPORTED_GROUPS: Final = 10
_POINT_FORMATS: Final = 11
_SIGNATURE_ALGORITHMS: Final = 13
_ALPN: Final = 16
_SUPPORTED_VERSIONS: Final = 43

_LABEL: Final = r"[A-Za-z0-9_](?:[-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*").fullmatch

_JA4_VERSIONS: Final = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"}
_JA4_NOTHING: Final = "000000000000"


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a TLS client offered, every list in the order in which it was sent, GREASE (RFC 8701) included.

    Attributes:
        raw: the exact bytes, record headers included, to the end of the record in which the message ends.
        sni: the server's name, lower case; None when there is none, or it is no host name.
        alpn: application protocols, bytes above 0x7F as latin-1.
        legacy_version: the version field of the message; 0x0303 for TLS 1.2 and all later ones.
        supported_versions: the versions of the supported_versions extension.
        ciphers: cipher suites.
        extensions: extension types.
        groups: supported groups (elliptic curves).
        point_formats: elliptic curve point formats.
        signature_algorithms: signature schemes.
    """

    raw: bytes
    sni: str | None
    alpn: tuple[str, ...]
    legacy_version: int
    supported_versions: tuple[int, ...]
    ciphers: tuple[int, ...]
    extensions: tuple[int, ...]
    groups: tuple[int, ...]
    point_formats: tuple[int, ...]
    signature_algorithms: tuple[int, ...]

    def ja3(self) -> tuple[str, str]:
        """Return the JA3 fingerprint: the text, and its MD5 in hexadecimal."""
        lists = (self.ciphers, self.extensions, self.groups)
        parts = ["-".join(map(str, _without_grease(values))) for values in lists]
        text = ",".join([str(self.legacy_version), *parts, "-".join(map(str, self.point_formats))])
        return text, hashlib.md5(text.encode("ascii"), usedforsecurity=False).hexdigest()

    def ja4(self) -> str:
        """Return the JA4 fingerprint of the client over TCP."""
        ciphers = _without_grease(self.ciphers)
        extensions = _without_grease(self.extensions)
        versions = _without_grease(self.supported_versions)
        version = _JA4_VERSIONS.get(max(versions) if versions else self.legacy_version, "00")
        name = "d" if _SERVER_NAME in extensions else "i"
        counts = f"{min(len(ciphers), 99):02}{min(len(extensions), 99):02}"
        head = f"t{version}{name}{counts}{_ja4_alpn(self.alpn)}"
        hashed = [e for e in extensions if e not in (_SERVER_NAME, _ALPN)]
        algorithms = _hex_list(_without_grease(self.signature_algorithms))
        offered = _hex_list(sorted(hashed)) + (f"_{algorithms}" if algorithms else "")
        return f"{head}_{_ja4_hash(_hex_list(sorted(ciphers)))}_{_ja4_hash(offered) if hashed else _JA4_NOTHING}"


def parse_client_hello(data: bytes) -> ClientHello | None:
    """Parse the ClientHello that a TLS connection begins with.

    Args:
        data: the first bytes of the connection; what follows the message is not looked at.

    Returns:
        The message, or None when its end has not arrived.

    Raises:
        ProtocolError: this is no ClientHello, it is malformed, or it is longer than MAX_HELLO.
    """
    message = bytearray()
    at = records = 0
    while True:
        records += 1
        if records > _MAX_RECORDS:
            _refuse(f"it is cut into more than {_MAX_RECORDS} records")
        size = _fragment_size(data[at : at + 5], at)
        end = at + 5 + size
        # What has arrived of an unfinished record counts too: a message that cannot be good is refused early.
        message += data[at + 5 : end]
        wanted = _message_size(message)
        if end > MAX_HELLO or wanted > MAX_HELLO:
            _refuse(f"it is longer than {MAX_HELLO} bytes")
        if not size or end > len(data):
            return None
        if wanted and len(message) >= wanted:
            return _parse_message(data[:end], bytes(message[4:wanted]))
        at = end


def _fragment_size(header: bytes, at: int) -> int:
    """Check a record header and return the length of its fragment; 0 when it has not arrived whole."""
    if header and header[0] != _HANDSHAKE:
        _refuse(f"the TLS record at byte {at} is not a handshake record")
    if len(header) > 1 and header[1] != 3:
        _refuse(f"the TLS record at byte {at} has the version {header[1]}.x")
    if len(header) < 5:
        return 0
    size = int.from_bytes(header[3:5], "big")
    if not 0 < size <= _MAX_FRAGMENT:
        _refuse(f"the TLS record at byte {at} has {size} bytes; 1 to {_MAX_FRAGMENT} are allowed")
    return size


def _message_size(message: bytearray) -> int:
    """Return the length of the handshake message with its header; 0 when that has not arrived."""
    if message and message[0] != _CLIENT_HELLO:
        _refuse(f"the first handshake message has the type {message[0]}")
    return 4 + int.from_bytes(message[1:4], "big") if len(message) >= 4 else 0


class _Cursor:
    """Reads fields off a block of bytes; ProtocolError when they are longer than it."""

    __slots__ = ("_at", "_data", "_where")

    def __init__(self, data: bytes, where: str) -> None:
        self._data = data
        self._at = 0
        self._where = where

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            _refuse(f"{self._where} ends too early")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, prefix: int) -> bytes:
        """Take what follows a length of ``prefix`` bytes."""
        return self.take(self.number(prefix))

    def numbers(self, prefix: int, size: int) -> tuple[int, ...]:
        """Take a list of ``size``-byte numbers that follows its length in bytes."""
        block = self.block(prefix)
        if len(block) % size:
            _refuse(f"{self._where} has a list of {len(block)} bytes whose elements have {size}")
        return tuple(int.from_bytes(block[i : i + size], "big") for i in range(0, len(block), size))

    def more(self) -> bool:
        return self._at < len(self._data)

    def finish(self) -> None:
        if self.more():
            _refuse(f"{self._where} has {len(self._data) - self._at} bytes too many")


def _parse_message(raw: bytes, body: bytes) -> ClientHello:
    cursor = _Cursor(body, "the message")
    legacy_version = cursor.number(2)
    cursor.take(32)  # random
    cursor.block(1)  # session id
    ciphers = cursor.numbers(2, 2)
    cursor.block(1)  # compression methods
    # Clients older than TLS 1.2 may send no extensions block at all.
    extensions = _split_extensions(cursor.block(2)) if cursor.more() else {}
    cursor.finish()
    return ClientHello(
        raw=raw,
        sni=_parse_server_name(extensions),
        alpn=_parse_alpn(extensions),
        legacy_version=legacy_version,
        supported_versions=_parse_numbers(extensions, _SUPPORTED_VERSIONS, 1, 2),
        ciphers=ciphers,
        extensions=tuple(extensions),
        groups=_parse_numbers(extensions, _SUPPORTED_GROUPS, 2, 2),
        point_formats=_parse_numbers(extensions, _POINT_FORMATS, 1, 1),
        signature_algorithms=_parse_numbers(extensions, _SIGNATURE_ALGORITHMS, 2, 2),
    )


def _split_extensions(block: bytes) -> dict[int, bytes]:
    """Return the content of each extension by its type, in the order of the message."""
    cursor = _Cursor(block, "the list of extensions")
    extensions: dict[int, bytes] = {}
    while cursor.more():
        kind = cursor.number(2)
        if kind in extensions:
            _refuse(f"the extension {kind} is there twice")
        extensions[kind] = cursor.block(2)
    return extensions


def _parse_numbers(extensions: dict[int, bytes], kind: int, prefix: int, size: int) -> tuple[int, ...]:
    if kind not in extensions:
        return ()
    cursor = _Cursor(extensions[kind], f"the extension {kind}")
    numbers = cursor.numbers(prefix, size)
    cursor.finish()
    return numbers


def _parse_server_name(extensions: dict[int, bytes]) -> str | None:
    """Return the host name of the server_name extension (RFC 6066 section 3); None for anything a host is never called.

    The name becomes the subject of a certificate and a key of caches, so it is checked here, once.
    """
    if _SERVER_NAME not in extensions:
        return None
    cursor = _Cursor(extensions[_SERVER_NAME], "the extension server_name")
    names = _Cursor(cursor.block(2), "the extension server_name")
    cursor.finish()
    if names.number(1) != 0:
        return None
    name = names.block(2).decode("latin-1")
    return name.lower() if _HOST_NAME(name) else None


def _parse_alpn(extensions: dict[int, bytes]) -> tuple[str, ...]:
    if _ALPN not in extensions:
        return ()
    cursor = _Cursor(extensions[_ALPN], "the extension ALPN")
    names = _Cursor(cursor.block(2), "the extension ALPN")
    cursor.finish()
    found = []
    while names.more():
        found.append(names.block(1).decode("latin-1"))
    return tuple(found)


def _without_grease(values: Sequence[int]) -> list[int]:
    """Leave out the values that RFC 8701 reserves for nonsense: 0x0A0A, 0x1A1A, ... 0xFAFA."""
    return [v for v in values if v & 0x0F0F != 0x0A0A or v >> 8 != v & 0xFF]


def _ja4_alpn(alpn: tuple[str, ...]) -> str:
    """Return the first and last character of the first protocol; of its hexadecimal form if one is not alphanumeric."""
    if not alpn or not alpn[0]:
        return "00"
    first = alpn[0]
    ends = first[0] + first[-1]
    if ends.isascii() and ends.isalnum():
        return ends
    text = first.encode("latin-1").hex()
    return text[0] + text[-1]


def _hex_list(values: Sequence[int]) -> str:
    return ",".join(f"{value:04x}" for value in values)


def _ja4_hash(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:12] if text else _JA4_NOTHING


def _refuse(problem: str) -> NoReturn:
    raise ProtocolError(
        f"The connection does not begin with a good TLS ClientHello: {problem}",
        hint="The client does not speak TLS here, or its library is broken.",
    )
