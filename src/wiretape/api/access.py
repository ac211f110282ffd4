"""Who may use the API: programs and pages of this machine (Host, Origin) that know the root's token (P14).

The token comes in one of three ways:

- ``Authorization: Bearer TOKEN``: programs.
- ``/mcp?token=TOKEN``: MCP clients that can set no header. It is taken off before anything else sees the request.
- any other path with ``?token=TOKEN``: the address that a person opens. It is answered with a cookie and sent on to the
  same address without the token, so that the token stays out of the browser's history and of ``Referer``.

Cookies know no ports: a browser sends ours to every server at the same host name. So the cookie does not hold the
token, only a value made from it that ends with the daemon, and with the cookie alone a page of another port may
change nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""ASGI 3.0, which needs no library to be spoken."""

LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})
"""Names by which a page or a program on this machine may call us; anything else may be DNS rebinding."""

MCP_PATH: Final = "/mcp"

WRONG_AT_ONCE: Final = 10
WRONG_EVERY: Final = 0.2
WRONG_WAIT_MAX: Final = 2.0
"""Wrong tokens are answered at once this often, then one every so many seconds, and none waits longer than that."""

_SENTENCE: Final = (
    "this address wants the token of its root: as `Authorization: Bearer TOKEN`, as /mcp?token=TOKEN, or in a browser "
    "by opening the `ui` address that `wiretape serve` prints and `wiretape status` repeats"
)


class LocalOnly:
    """Refuse requests that a foreign page may have made a browser send.

    Args:
        app: what answers the others.
        hosts: further names under which we are served, when listening elsewhere than on loopback.
    """

    def __init__(self, app: App, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = LOCAL | hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 or pass the request on."""
        if scope["type"] == "http":
            hosts = _all(scope, b"host")
            origins = _all(scope, b"origin")
            if len(hosts) != 1 or not self._ours(_parts(f"http://{hosts[0]}"), hosts[0]):
                named = ", ".join(map(repr, hosts)) or "none"
                await answer(send, 403, f"the Host {named} is not a name of this server")
                return
            if any(not self._ours(_parts(origin)) for origin in origins):
                await answer(send, 403, f"the Origin {origins[0]!r} may not use this server")
                return
        await self._app(scope, receive, send)

    def _ours(self, parts: SplitResult | None, host: str | None = None) -> bool:
        """Return whether a URL leads to a name of ours; ``host`` is the Host field that it was made of.

        RFC 9110 section 7.2: that is a host and a port, so what urlsplit would read as a user's name is refused.
        """
        if parts is None or parts.hostname not in self._hosts:
            return False
        return host is None or not set(host) & set("@/?#\\")


class TokenOnly:
    """Refuse requests without the token, and answer wrong ones slowly.

    Args:
        app: what answers the others; it sees neither the token nor the cookie.
        token: the root's token.
        port: where the API listens; it tells our cookie from those of other daemons at the same host name.
    """

    def __init__(self, app: App, token: str, port: int) -> None:
        self._app = app
        self._token = _digest(token.encode())
        # A cookie from before this start means nothing any more, wherever it has come to lie.
        cookie = hmac.new(secrets.token_bytes(32), token.encode(), "sha256").hexdigest()
        self._cookie = _digest(cookie.encode())
        self._cookie_name = f"wiretape-{port}"
        self._set_cookie = f"{self._cookie_name}={cookie}; Path=/; HttpOnly; SameSite=Strict"
        self._wrong = _Slowly()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, 403, 429 or a redirect, or pass the request on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"the API speaks HTTP, not {scope['type']}")
        query, in_query = _without_token(scope["query_string"])
        headers = _all(scope, b"authorization")
        if headers:
            right = len(headers) == 1 and self._is_token(_bearer(headers[0]))
        elif in_query:
            right = len(in_query) == 1 and self._is_token(in_query[0])
            if right and scope["path"] != MCP_PATH:
                await self._sent_on(scope, query, send)
                return
        elif cookies := _cookies(scope, self._cookie_name):
            right = any(hmac.compare_digest(_digest(cookie), self._cookie) for cookie in cookies)
            if right and _from_another_page(scope):
                await answer(send, 403, "a page of another address may not use the cookie of this one")
                return
        else:
            await _unauthorized(send, _SENTENCE)
            return
        if not right:
            await self._refuse(send)
            return
        await self._app(_anonymous(scope, query, self._cookie_name), receive, send)

    def _is_token(self, given: bytes) -> bool:
        """Compare in constant time, whatever the length."""
        return hmac.compare_digest(_digest(given), self._token)

    async def _sent_on(self, scope: Scope, query: bytes, send: Send) -> None:
        """Answer with the cookie, and send the client on to the same address without the token."""
        # One slash only: two would make the next part another server's name.
        path = b"/" + bytes(scope.get("raw_path") or b"/").lstrip(b"/\\")
        headers = [
            (b"location", path + (b"?" + query if query else b"")),
            (b"set-cookie", self._set_cookie.encode()),
            (b"referrer-policy", b"no-referrer"),
        ]
        await answer(send, 303, "the same page without the token", headers)

    async def _refuse(self, send: Send) -> None:
        """Answer a wrong token, the later the more of them come."""
        if not await self._wrong.turn():
            again = [(b"retry-after", str(round(WRONG_WAIT_MAX)).encode())]
            await answer(send, 429, "too many wrong tokens: try the right one, or wait", again)
            return
        await _unauthorized(send, f"the token is wrong, or older than this start; {_SENTENCE}")


class _Slowly:
    """Turns for wrong tokens: a few at once, then one after the other. Two numbers, however many come (P8).

    The right token never waits here: nobody can keep its owner out by sending wrong ones.
    """

    def __init__(self) -> None:
        self._free_at = 0.0

    async def turn(self) -> bool:
        """Wait for a turn; return False at once where it would come too late."""
        now = asyncio.get_running_loop().time()
        at = max(self._free_at, now - (WRONG_AT_ONCE - 1) * WRONG_EVERY)
        if at - now > WRONG_WAIT_MAX:
            return False
        self._free_at = at + WRONG_EVERY
        await asyncio.sleep(max(0.0, at - now))
        return True


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def _all(scope: Scope, name: bytes) -> list[str]:
    """Return all fields of that name, as text."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _parts(url: str) -> SplitResult | None:
    """Split a URL, None where that cannot be done."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for a port that is none
    except ValueError:
        return None
    return parts


def _bearer(header: str) -> bytes:
    """Return the token of an Authorization field, b"" where it is of another scheme (RFC 6750 section 2.1)."""
    scheme, _, value = header.partition(" ")
    return value.strip().encode("latin-1") if scheme.lower() == "bearer" else b""


def _without_token(query: bytes) -> tuple[bytes, list[bytes]]:
    """Split a query string into what is left without ``token``, and the tokens."""
    rest, tokens = [], []
    for part in query.split(b"&") if query else []:
        name, _, value = part.partition(b"=")
        if name == b"token":
            tokens.append(value)
        else:
            rest.append(part)
    return b"&".join(rest), tokens


def _cookies(scope: Scope, name: str) -> list[bytes]:
    """Return the values that a client sent of the cookie ``name``; there may be several (RFC 6265 section 5.4)."""
    pairs = (pair.strip().partition("=") for field in _all(scope, b"cookie") for pair in field.split(";"))
    return [value.encode("latin-1") for key, _, value in pairs if key == name]


def _from_another_page(scope: Scope) -> bool:
    """Return whether a page of another port or host made the browser send this; SameSite does not tell ports apart."""
    host = _all(scope, b"host")[0]
    if any(origin != f"http://{host}" for origin in _all(scope, b"origin")):
        return True
    sites = _all(scope, b"sec-fetch-site")
    return scope["method"] not in {"GET", "HEAD"} and any(site not in {"same-origin", "none"} for site in sites)


def _anonymous(scope: Scope, query: bytes, cookie: str) -> Scope:
    """Return the scope without token and cookie: what does not see them cannot log them."""
    headers = []
    for name, value in scope["headers"]:
        if name.lower() == b"authorization":
            continue
        if name.lower() == b"cookie":
            kept = [pair for pair in value.split(b";") if pair.strip().partition(b"=")[0] != cookie.encode()]
            if kept:
                headers.append((name, b";".join(kept).strip()))
            continue
        headers.append((name, value))
    return {**scope, "headers": headers, "query_string": query}


async def _unauthorized(send: Send, why: str) -> None:
    await answer(send, 401, why, [(b"www-authenticate", b'Bearer realm="wiretape"')])


async def answer(send: Send, status: int, why: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    """Answer with a sentence that says why there is nothing else."""
    body = f"wiretape: {why}\n".encode(errors="replace")
    fields = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *(headers or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
