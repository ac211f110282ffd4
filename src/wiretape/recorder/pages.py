"""What the proxy itself answers when it cannot pass a request on."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from wiretape.wire.http1 import ResponseHead, parse_response_head


def error_page(status: int, code: str, message: str, hint: str = "", *, body: bool = True) -> bytes:
    """Return a whole HTTP/1.1 response that says what went wrong; the connection closes after it.

    Args:
        status: the status code.
        code: wiretape's code of the error, given in the ``Wiretape-Error`` field for programs.
        message: one sentence, maybe with hostile text in it; escaped here.
        hint: what to do next.
        body: False for the answer to HEAD, which must have none (RFC 9110 section 9.3.2) but has the same head.
    """
    from html import escape  # noqa: PLC0415  0.7 MiB, and most recorders never refuse anything

    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Error"
    page = (
        f"<!doctype html><meta charset=utf-8><title>{status} {reason}</title>"
        f"<h1>{status} {reason}</h1><p>{escape(message)}</p>"
        + (f"<p>{escape(hint)}</p>" if hint else "")
        + f"<hr><p>wiretape ({escape(code)})</p>\n"
    ).encode()
    safe = "".join(c for c in code if c.isalnum() or c in "-_.")
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(page)}\r\n"
        f"Cache-Control: no-store\r\nWiretape-Error: {safe}\r\n"
        + (
            'Proxy-Authenticate: Basic realm="wiretape"\r\n'
            if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
            else ""
        )
        + "Connection: close\r\n\r\n"
    )
    return head.encode() + page if body else head.encode()


def asks_for_head(request: bytes) -> bool:
    """Return whether a request, maybe malformed and with empty lines before it, has the method HEAD."""
    return request.lstrip(b"\r\n").startswith(b"HEAD ")


def _continue() -> ResponseHead:
    head = parse_response_head(b"HTTP/1.1 100 Continue\r\n\r\n", "GET")
    assert head is not None
    return head


CONTINUE: Final = _continue()
"""What a client that waits with its body is told where nobody has asked a server yet."""
