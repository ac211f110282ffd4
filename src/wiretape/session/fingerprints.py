"""The fingerprints of a recorded handshake."""

from __future__ import annotations

from typing import NamedTuple

from wiretape.errors import WiretapeError
from wiretape.log.format import TlsSeen
from wiretape.tls.client_hello import parse_client_hello
from wiretape.tls.server_hello import parse_server_hello


class Fingerprints(NamedTuple):
    """What can be told of one side: of a client JA3 and JA4, of a server JA3S; None where it is not known.

    JA3 and JA3S are the MD5s, ``ja3_text`` and ``ja3s_text`` what they are made of.
    """

    ja3: str | None = None
    ja4: str | None = None
    ja3s: str | None = None
    ja3_text: str | None = None
    ja3s_text: str | None = None

    def short(self) -> dict[str, str | None]:
        """Return the three by their names."""
        return {"ja3": self.ja3, "ja4": self.ja4, "ja3s": self.ja3s}


def fingerprints(record: TlsSeen, data: bytes | memoryview) -> Fingerprints:
    """Return the fingerprints of the side whose handshake this is; ``data`` are those of its frame."""
    try:
        if record.side == "server":
            if not record.hello:
                return Fingerprints()
            text, digest = parse_server_hello(record.hello).ja3s()
            return Fingerprints(ja3s=digest, ja3s_text=text)
        hello = parse_client_hello(bytes(data)) if data else None
    except WiretapeError:
        return Fingerprints()
    if hello is None:
        return Fingerprints()
    text, digest = hello.ja3()
    return Fingerprints(digest, hello.ja4(), ja3_text=text)
