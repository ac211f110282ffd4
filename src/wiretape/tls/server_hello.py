"""The ServerHello of a TLS connection (RFC 8446 section 4.1.3) and its fingerprint JA3S.

It answers one ClientHello: the same server answers other clients with other fingerprints.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from wiretape.errors import ProtocolError

MAX_SERVER_HELLO: Final = 4096
"""Bytes of a message that is kept; with the keys of post-quantum groups it has some 1,200."""

_HANDSHAKE: Final = 22
_CHANGE_CIPHER_SPEC: Final = 20
_SERVER_HELLO: Final = 2
# RFC 8446 section 4.1.3: a ServerHello with this random asks for another ClientHello.
_RETRY: Final = hashlib.sha256(b"HelloRetryRequest").digest()


@dataclass(frozen=True, slots=True)
class ServerHello:
    """What a TLS server chose.

    Attributes:
        legacy_version: the version field of the message; 0x0303 for TLS 1.2 and all later ones.
        cipher: the cipher suite.
        extensions: extension types in the order in which they were sent.
    """

    legacy_version: int
    cipher: int
    extensions: tuple[int, ...]

    def ja3s(self) -> tuple[str, str]:
        """Return the JA3S fingerprint (salesforce/ja3): the text, and its MD5 in hexadecimal."""
        text = f"{self.legacy_version},{self.cipher},{'-'.join(map(str, self.extensions))}"
        return text, hashlib.md5(text.encode("ascii"), usedforsecurity=False).hexdigest()


class ServerHelloFinder:
    """Finds the ServerHello in what a server sends first.

    Attributes:
        message: the handshake message, once it has come whole.
        done: nothing more is looked for: it was found, or this is none.
    """

    __slots__ = ("_data", "_handshake", "done", "message")

    def __init__(self) -> None:
        self._data = b""
        self._handshake = b""
        self.message = b""
        self.done = False

    def feed(self, data: bytes) -> None:
        """Take bytes from the server."""
        if self.done:
            return
        self._data += data
        while not self.done and len(self._data) >= 5:
            end = 5 + int.from_bytes(self._data[3:5], "big")
            kind = self._data[0]
            if kind not in (_HANDSHAKE, _CHANGE_CIPHER_SPEC):
                self.done = True
            elif len(self._data) < end:
                return
            elif kind == _HANDSHAKE:
                self._handshake += self._data[5:end]
                self._look()
            self._data = self._data[end:]

    def _look(self) -> None:
        while not self.done and len(self._handshake) >= 4:
            end = 4 + int.from_bytes(self._handshake[1:4], "big")
            if self._handshake[0] != _SERVER_HELLO or end > MAX_SERVER_HELLO:
                self.done = True
            elif len(self._handshake) < end:
                return
            elif self._handshake[6:38] == _RETRY:
                self._handshake = self._handshake[end:]
            else:
                self.message = self._handshake[:end]
                self.done = True


def parse_server_hello(message: bytes) -> ServerHello:
    """Parse a handshake message.

    Raises:
        ProtocolError: this is no ServerHello, or it is malformed.
    """
    try:
        if message[0] != _SERVER_HELLO or len(message) != 4 + int.from_bytes(message[1:4], "big"):
            raise ValueError("it is none")
        at = 39 + message[38]
        cipher, at = int.from_bytes(_take(message, at, 2), "big"), at + 3
        extensions = []
        if at < len(message):
            end = at + 2 + int.from_bytes(_take(message, at, 2), "big")
            at += 2
            while at < end:
                extensions.append(int.from_bytes(_take(message, at, 2), "big"))
                at += 4 + int.from_bytes(_take(message, at + 2, 2), "big")
        if at != len(message):
            raise ValueError("its lengths do not agree")
    except (IndexError, ValueError) as error:
        raise ProtocolError(f"The ServerHello cannot be read: {error}") from error
    return ServerHello(int.from_bytes(message[4:6], "big"), cipher, tuple(extensions))


def _take(message: bytes, at: int, size: int) -> bytes:
    piece = message[at : at + size]
    if len(piece) < size:
        raise ValueError("it ends too early")
    return piece
