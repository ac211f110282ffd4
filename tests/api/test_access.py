"""Who may use the API, asked without a server: the application is a list of what it was let see."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wiretape.api.access import WRONG_AT_ONCE, LocalOnly, Scope, TokenOnly

TOKEN = "5e" * 32
OTHER = "0f" * 32
HOST = (b"host", b"127.0.0.1:8081")


class Api:
    """The application behind both checks."""

    def __init__(self, token: str = TOKEN) -> None:
        self.seen: list[Scope] = []
        self.app = LocalOnly(TokenOnly(self._application, token, 8081), frozenset())

    async def _application(self, scope: Scope, _receive: Any, send: Any) -> None:
        self.seen.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"secret"})

    async def ask(
        self, path: str = "/", query: str = "", *headers: tuple[bytes, bytes], method: str = "GET"
    ) -> tuple[int, dict[str, str], str]:
        """Send one request; return status, headers and body."""
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [*([] if any(name == b"host" for name, _ in headers) else [HOST]), *headers],
        }
        await self.app(scope, receive, send)
        fields = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], fields, sent[1]["body"].decode()

    def once(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, str], str]:
        """Send one request from a test that is not asynchronous."""
        return asyncio.run(self.ask(*args, **kwargs))


def bearer(token: str, scheme: str = "Bearer") -> tuple[bytes, bytes]:
    return b"authorization", f"{scheme} {token}".encode()


def cookie_of(fields: dict[str, str]) -> tuple[bytes, bytes]:
    return b"cookie", fields["set-cookie"].partition(";")[0].encode()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_as_bearer_is_let_in(scheme: str) -> None:
    assert Api().once("/mcp", "", bearer(TOKEN, scheme))[0] == 200


def test_p14_without_a_token_nothing_is_answered_and_the_answer_says_what_to_do() -> None:
    api = Api()
    for path in ("/", "/mcp", "/anything"):
        status, fields, body = api.once(path)
        assert status == 401
        assert fields["www-authenticate"].startswith("Bearer")
        assert "wiretape serve" in body
    assert api.seen == []


@pytest.mark.parametrize(
    "wrong", ["", OTHER, TOKEN[:-1], TOKEN + "5", TOKEN.upper(), f"{TOKEN} {TOKEN}", "\xff" * 64, "x" * 10_000]
)
def test_p14_a_wrong_token_is_refused_wherever_it_stands(wrong: str) -> None:
    for arguments in (
        ("/mcp", "", (b"authorization", b"Bearer " + wrong.encode("latin-1"))),
        ("/mcp", f"token={wrong}"),
        ("/", f"token={wrong}"),
        ("/", "", (b"cookie", b"wiretape-8081=" + wrong.encode("latin-1"))),
    ):
        api = Api()
        status, fields, _ = api.once(*arguments)
        assert status == 401
        assert "set-cookie" not in fields
        assert api.seen == []


def test_p14_other_schemes_and_two_tokens_at_once_are_refused() -> None:
    assert Api().once("/", "", (b"authorization", b"Basic " + TOKEN.encode()))[0] == 401
    assert Api().once("/", "", bearer(OTHER), bearer(TOKEN))[0] == 401
    assert Api().once("/mcp", f"token={OTHER}&token={TOKEN}")[0] == 401
    assert Api().once("/mcp", f"token={TOKEN}", bearer(OTHER))[0] == 401


def test_an_mcp_client_without_headers_puts_the_token_into_the_address() -> None:
    api = Api()
    assert api.once("/mcp", f"a=1&token={TOKEN}&b=2", method="POST")[0] == 200
    assert api.seen[0]["query_string"] == b"a=1&b=2"


def test_the_address_for_browsers_gives_a_cookie_as_often_as_it_is_opened() -> None:
    api = Api()
    for _ in range(3):
        status, fields, body = api.once("/", f"token={TOKEN}&view=all")
        assert (status, fields["location"]) == (303, "/?view=all")
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in fields["set-cookie"].split(";")}
        assert TOKEN not in str(fields) + body
        assert fields["referrer-policy"] == "no-referrer"
        assert fields["cache-control"] == "no-store"
        assert api.once("/", "view=all", cookie_of(fields))[0] == 200
    assert len(api.seen) == 3


def test_p14_the_address_for_browsers_leads_to_no_other_server() -> None:
    for path in ("//evil.example/", "/\\evil.example", "///evil.example"):
        location = Api().once(path, f"token={TOKEN}")[1]["location"]
        assert location.startswith("/evil.example")


def test_p14_a_cookie_is_worth_nothing_to_another_daemon_or_after_a_restart() -> None:
    cookie = cookie_of(Api().once("/", f"token={TOKEN}")[1])
    assert Api().once("/", "", cookie)[0] == 401


def test_a_cookie_among_others_is_found_and_theirs_are_left_alone() -> None:
    api = Api()
    name, value = cookie_of(api.once("/", f"token={TOKEN}")[1])
    assert api.once("/", "", (name, b"wiretape-9999=x; " + value + b"; theirs=1"))[0] == 200
    assert (b"cookie", b"wiretape-9999=x; theirs=1") in api.seen[0]["headers"]


def test_p14_neither_token_nor_cookie_reaches_what_is_behind() -> None:
    async def all_ways() -> Api:
        api = Api()
        cookie = cookie_of((await api.ask("/", f"token={TOKEN}"))[1])
        await api.ask("/", "", cookie)
        await api.ask("/", "", bearer(TOKEN))
        await api.ask("/mcp", f"token={TOKEN}")
        for scope in api.seen:
            assert TOKEN not in str(scope)
            assert cookie[1].decode() not in str(scope)
        return api

    assert len(asyncio.run(all_ways()).seen) == 3


@pytest.mark.parametrize(
    ("headers", "method", "status"),
    [
        ([(b"origin", b"http://127.0.0.1:8081")], "POST", 200),
        ([(b"sec-fetch-site", b"same-origin")], "POST", 200),
        ([(b"sec-fetch-site", b"none")], "GET", 200),
        ([], "POST", 200),
        ([(b"origin", b"http://127.0.0.1:3000")], "POST", 403),
        ([(b"origin", b"http://localhost:8081")], "GET", 403),
        ([(b"sec-fetch-site", b"same-site")], "POST", 403),
        ([(b"sec-fetch-site", b"cross-site")], "DELETE", 403),
    ],
)
def test_p14_a_page_of_another_port_cannot_use_the_cookie(
    headers: list[tuple[bytes, bytes]], method: str, status: int
) -> None:
    api = Api()
    cookie = cookie_of(api.once("/", f"token={TOKEN}")[1])
    assert api.once("/mcp", "", cookie, *headers, method=method)[0] == status
    assert len(api.seen) == (status == 200)


def test_a_local_page_that_knows_the_token_may_come_from_any_port() -> None:
    assert Api().once("/mcp", "", bearer(TOKEN), (b"origin", b"http://localhost:3000"), method="POST")[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"evil.com@localhost",
        b"evil.com:1@127.0.0.1:8081",
        b"localhost#x",
        b"localhost:x",
        b"\xff",
        b"",
    ],
)
def test_p14_what_is_no_name_of_ours_is_refused_before_the_token_is_looked_at(host: bytes) -> None:
    api = Api()
    assert api.once("/", "", (b"host", host), bearer(TOKEN))[0] == 403
    assert api.seen == []


def test_p14_two_hosts_are_refused() -> None:
    assert Api().once("/", "", (b"host", b"localhost"), (b"host", b"evil.example"), bearer(TOKEN))[0] == 403


def test_p14_wrong_tokens_are_answered_ever_later_and_the_right_one_at_once() -> None:
    async def flood() -> tuple[list[int], float, float, int]:
        api = Api()
        loop = asyncio.get_running_loop()
        began = loop.time()
        wrong = [asyncio.create_task(api.ask("/mcp", "", bearer(OTHER))) for _ in range(200)]
        await asyncio.sleep(0)
        asked = loop.time()
        right = (await api.ask("/mcp", "", bearer(TOKEN)))[0]
        waited = loop.time() - asked
        return [answer[0] for answer in await asyncio.gather(*wrong)], loop.time() - began, waited, right

    statuses, took, waited, right = asyncio.run(flood())
    assert right == 200
    assert waited < 1
    assert set(statuses) == {401, 429}
    answered = statuses.count(401)
    assert WRONG_AT_ONCE <= answered <= WRONG_AT_ONCE + 11
    assert took >= (answered - WRONG_AT_ONCE - 1) * 0.2
