"""Which heads speak of authentication that counts for a whole connection."""

from __future__ import annotations

import pytest

from wiretape.wire.connection_auth import challenges_connection
from wiretape.wire.http1 import parse_request_head


@pytest.mark.parametrize(
    ("field", "counts"),
    [
        ("Authorization: NTLM TlRMTVNTUAAB", True),
        ("authorization:negotiate YII=", True),
        ("AUTHORIZATION: \t Negotiate", True),
        ("Authorization: Basic bnRsbQ==", False),
        ("Authorization: Bearer NTLM", False),
        ("Authorization: NTLMv3 x", False),
        ("X-Authorization: NTLM x", False),
        ("Proxy-Authorization: NTLM x", False),
    ],
)
def test_credentials_of_a_connection_are_told_from_those_of_a_request(field: str, counts: bool) -> None:
    head = parse_request_head(f"GET / HTTP/1.1\r\nHost: x\r\n{field}\r\nAccept: */*\r\n\r\n".encode())
    assert head is not None
    assert head.authenticates_connection is counts


@pytest.mark.parametrize(
    ("field", "counts"),
    [
        ("WWW-Authenticate: NTLM", True),
        ("www-authenticate:negotiate", True),
        ('WWW-Authenticate: Basic realm="x", Negotiate YII=, NTLM', True),
        ("WWW-Authenticate: Basic realm=x\r\nWWW-Authenticate: NTLM", True),
        ('WWW-Authenticate: Basic realm="ntlms"', False),
        ("WWW-Authenticate: Bearer", False),
        ("X: WWW-Authenticate: NTLM", False),
        ("Proxy-Authenticate: NTLM", False),
    ],
)
def test_challenges_to_a_connection_are_told_from_those_to_a_request(field: str, counts: bool) -> None:
    assert challenges_connection(f"HTTP/1.1 401 x\r\n{field}\r\nContent-Length: 0\r\n\r\n".encode()) is counts
