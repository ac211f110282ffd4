"""Authentication of a connection instead of a request: NTLM, and Negotiate, which may be NTLM inside.

A server that speaks one of these knows who is at the other end of the connection from then on, and asks no more
(RFC 4559 section 6; RFC 9110 section 11 calls it a violation, but every intranet has it). The fields of proxies
(Proxy-Authenticate, Proxy-Authorization) are between a client and us, and never passed on.
"""

from __future__ import annotations

import re
from typing import Final

_CREDENTIALS: Final = re.compile(rb"\n(?i:authorization:[\t ]*+(?:ntlm|negotiate))(?![^\s,])").search
_CHALLENGE: Final = re.compile(rb"\n(?i:www-authenticate:[^\r\n]*?(?<![^\s,:])(?:ntlm|negotiate))(?![^\s,])").search


def authenticates_connection(head: bytes) -> bool:
    """Return whether a request's header block has credentials that count for its whole connection."""
    return _CREDENTIALS(head) is not None


def challenges_connection(head: bytes) -> bool:
    """Return whether a response's head asks for such credentials."""
    return _CHALLENGE(head) is not None
