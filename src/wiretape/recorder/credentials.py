"""Who may use the proxy, where it asks (``--proxy-auth``): one user and password for all."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Final

from wiretape.errors import ProtocolError
from wiretape.wire.http1 import RequestHead

_FIELD: Final = b"proxy-authorization"


class Credentials:
    """A user and a password; they are compared in a time that tells nothing of them.

    Args:
        text: ``USER:PASSWORD``.
    """

    def __init__(self, text: str) -> None:
        self._expected = text.encode()

    def are(self, user: bytes, password: bytes) -> bool:
        """Return whether these are they."""
        return hmac.compare_digest(b"%b:%b" % (user, password), self._expected)

    def admit(self, head: RequestHead) -> RequestHead:
        """Return a request without what it said of its user: that is for us alone, and for no recording.

        Raises:
            ProtocolError: it does not say it, or says it wrong (407).
        """
        given = [value for name, value in head.headers() if name.lower() == _FIELD]
        if len(given) != 1 or not self._is(given[0]):
            raise ProtocolError(
                "this proxy asks who its user is, and the request does not say it, or not rightly",
                hint="give the proxy's user and password: http://USER:PASSWORD@HOST:PORT",
                code="proxy-auth",
                status=407,
            )
        return head.without(_FIELD)

    def _is(self, value: bytes) -> bool:
        scheme, _, encoded = value.partition(b" ")
        if scheme.lower() != b"basic":
            return False
        try:
            user, _, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        except binascii.Error:
            return False
        return self.are(user, password)
