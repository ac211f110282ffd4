"""Requests as Python with httpx: a program that sends them, and tests that say what came back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from wiretape.formats.replayable import Request, Text, Variable, Variables, header, plain
from wiretape.formats.volatile import is_volatile, is_volatile_name
from wiretape.model import ExchangeDetail, Message
from wiretape.secrets.names import kind_of

_MAX_JSON: Final = 64 * 1024
"""Bytes of an answer above which a test asserts its keys alone."""
_MAX_ITEMS: Final = 5
_MAX_REFERENCES: Final = 50_000
_LONG_ENOUGH: Final = 6
_WORD: Final = re.compile(r"[^a-z0-9]+")

Literal = Callable[[Text], str]


def httpx_program(exchanges: Iterator[ExchangeDetail], *, values: bool) -> Iterator[str]:
    """Write a program that sends the requests one after the other.

    Args:
        exchanges: in their order.
        values: write secrets down; else the program takes them from environment variables.
    """
    variables = Variables()
    functions: list[str] = []
    names: list[str] = []
    for exchange in exchanges:
        request = variables.request(exchange)
        variables.learn(exchange)
        if request is None:
            continue
        name = f"send_{exchange.seq}"
        names.append(name)
        functions.append(
            f"def {name}(client: httpx.Client) -> httpx.Response:\n"
            f'    """{_title(exchange)}"""\n'
            f"{_noted(request)}"
            f"    return {_call(request, _literal)}\n\n\n"
        )
    yield '"""Requests that wiretape recorded, in their order."""\n\nimport os\n\nimport httpx\n\n'
    yield from (_assigned(one, values=values) for one in variables.by_value.values())
    yield "\n\n"
    yield from functions
    yield "def main() -> None:\n    with httpx.Client(timeout=30) as client:\n"
    yield f"        for send in ({', '.join(names)}{',' if len(names) == 1 else ''}):\n"
    yield "            response = send(client)\n"
    yield "            print(response.status_code, response.request.method, response.url)\n"
    yield '\n\nif __name__ == "__main__":\n    main()\n'


def _assigned(one: Variable, *, values: bool) -> str:
    value = repr(one.value) if values else f"os.environ[{one.name!r}]"
    return f"{one.name} = {value}  # {' '.join(one.origin.split())}\n"


def _title(exchange: ExchangeDetail) -> str:
    request, response = exchange.request, exchange.response
    path = urlsplit(request.url or "").path if request is not None else ""
    status = response.status_code if response is not None else exchange.state
    text = f"{request.method if request is not None else ''} {path}: {status}."
    return re.sub(r'[\\"\x00-\x1f\x7f]', "?", text)[:90]


def _noted(request: Request) -> str:
    return f"    # {' '.join(request.note.split())}\n" if request.note else ""


def _call(request: Request, literal: Literal, *, url: str | None = None, cookies: bool = True) -> str:
    """Write the call that sends a request."""
    kept = [(name, value) for name, value in request.headers if cookies or name.lower() != "cookie"]
    arguments = [repr(request.method), url or literal(request.url)]
    as_json = _json_of(request)
    if as_json is not None:
        kept = [(name, value) for name, value in kept if name.lower() != "content-type"]
    if kept:
        pairs = ", ".join(f"({name!r}, {literal(value)})" for name, value in kept)
        arguments.append(f"headers=[{pairs}]")
    if as_json is not None:
        arguments.append(f"json={_python(as_json, literal)}")
    elif isinstance(request.body, bytes):
        arguments.append(f"content={request.body!r}")
    elif request.body:
        arguments.append(f"content={literal(request.body)}")
    return f"client.request({', '.join(arguments)})"


def _json_of(request: Request) -> Any:
    """Return the body as JSON where httpx would write it as it was; None elsewhere."""
    if not isinstance(request.body, tuple) or header(request, "content-type") != "application/json":
        return None
    text = plain(request.body)
    try:
        value = json.loads(text)
        if json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False) != text:
            return None
    except (ValueError, RecursionError):
        return None
    by_value = {part.value: part for part in request.body if isinstance(part, Variable)}
    return _with_variables(value, by_value)


def _with_variables(value: Any, by_value: dict[str, Variable]) -> Any:
    if isinstance(value, str):
        return by_value.get(value, value)
    if isinstance(value, dict):
        return {key: _with_variables(one, by_value) for key, one in value.items()}
    return [_with_variables(one, by_value) for one in value] if isinstance(value, list) else value


def _python(value: Any, literal: Literal) -> str:
    if isinstance(value, Variable):
        return literal((value,))
    if isinstance(value, str):
        return literal((value,))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_python(one, literal)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_python(one, literal) for one in value) + "]"
    return repr(value)


def _literal(text: Text) -> str:
    """Write a text with variables as an expression."""
    return " + ".join(part.name if isinstance(part, Variable) else repr(part) for part in text) or "''"


class Tests:
    """Tests, one for each exchange in their order: what an answer gave is used where a later request had it.

    Assertions leave out what is another at each run: times, ids, tokens, and what ``noise`` names.
    """

    def __init__(self, noise: Mapping[int, frozenset[str]] = MappingProxyType({})) -> None:
        """Begin; ``noise`` are pointers in answers whose values differ between runs of the same, by seq."""
        self._noise = noise
        self._ignored: frozenset[str] = frozenset()
        self._variables = Variables()
        self._given: dict[str, str] = {}

    def write(self, exchanges: Iterator[ExchangeDetail], *, values: bool) -> Iterator[str]:
        """Yield a file of tests for pytest."""
        functions: list[str] = []
        base = ""
        for exchange in exchanges:
            if exchange.response is None or exchange.response.status_code in {None, 101}:
                continue
            request = self._variables.request(exchange)
            self._variables.learn(exchange)
            if request is None:
                continue
            base = base or _origin(plain(request.url))
            functions.append(self._test(exchange, request, base))
            self._remember(exchange)
        used = "".join(functions)
        yield _HEADER.format(base=base)
        for one in self._variables.by_value.values():
            if re.search(rf"\b{one.name}\b", used):
                yield _assigned(one, values=values)
        yield _HELPERS
        yield from functions

    def _test(self, exchange: ExchangeDetail, request: Request, base: str) -> str:
        response = exchange.response
        assert response is not None
        self._ignored = self._noise.get(exchange.seq, frozenset())
        path = urlsplit(plain(request.url)).path.lower()
        name = _WORD.sub("_", f"{exchange.seq:03d}_{request.method.lower()}{path}")[:70].strip("_")
        lines = [
            f"def test_{name}_{response.status_code}(client: httpx.Client, seen: dict[int, httpx.Response]) -> None:",
            f'    """{_title(exchange)}"""',
            f"    response = seen[{exchange.seq}] = {self._sent(request, base)}",
            f"    assert response.status_code == {response.status_code}, response.text[:500]",
            *self._asserted(response),
        ]
        return "\n".join(lines) + "\n\n\n"

    def _sent(self, request: Request, base: str) -> str:
        url = plain(request.url)
        same = _origin(url) == base
        target = url[len(base) :] or "/" if same else url
        return _call(request, self._literal, url=self._url(target, request), cookies=False)

    def _url(self, target: str, request: Request) -> str:
        names = {part.value: part for part in request.url if isinstance(part, Variable)}
        parts = [one for one in re.split(r"([/?&=])", target) if one]
        return " + ".join(
            names[one].name if one in names else self._given.get(unquote(one)) or repr(one)
            for one in _joined(parts, self._given, names)
        )

    def _literal(self, text: Text) -> str:
        """Write a text as an expression: what an earlier answer gave is taken from that."""
        whole = plain(text)
        if whole in self._given:
            return self._given[whole]
        return " + ".join(self._part(part) for part in text) or "''"

    def _part(self, part: str | Variable) -> str:
        value = part if isinstance(part, str) else part.value
        given = self._given.get(value)
        if given is not None:
            return given
        return repr(part) if isinstance(part, str) else part.name

    def _remember(self, exchange: ExchangeDetail) -> None:
        """Note what an answer gives, so that later requests can take it from there."""
        response = exchange.response
        assert response is not None
        for name, value in response.headers:
            if name.lower() == "set-cookie":
                cookie, _, content = value.partition(";")[0].strip().partition("=")
                self._give(content, f"client.cookies[{cookie!r}]")
                if unquote(content) != content:
                    self._give(unquote(content), f"unquote(client.cookies[{cookie!r}])")
        body = _json_body(response)
        if body is not None:
            for path, value in _strings(body):
                if is_volatile(value) or len(value) >= 16:
                    self._give(value, f"seen[{exchange.seq}].json(){path}")

    def _give(self, value: str, expression: str) -> None:
        if len(value) >= _LONG_ENOUGH and len(self._given) < _MAX_REFERENCES:
            self._given.setdefault(value, expression)

    def _asserted(self, response: Message) -> Iterator[str]:
        kind = next((value for name, value in response.headers if name.lower() == "content-type"), "")
        media = kind.partition(";")[0].strip().lower()
        if media:
            yield f'    assert response.headers["content-type"].partition(";")[0].strip().lower() == {media!r}'
        location = next((value for name, value in response.headers if name.lower() == "location"), "")
        if location:
            yield "    assert response.headers.get('location')"
        body = _json_body(response)
        if body is None:
            return
        if len(response.body or "") > _MAX_JSON:
            if isinstance(body, dict):
                yield (
                    f"    assert set(response.json()) >= {set(body)!r}" if body else "    assert response.json() == {}"
                )
            return
        yield f"    assert_like(response.json(), {self._expected(body, '', '')})"

    def _expected(self, value: Any, name: str, pointer: str) -> str:
        if pointer in self._ignored:
            return "ANY"
        if isinstance(value, dict):
            inner = (f"{key!r}: {self._expected(one, key, f'{pointer}/{key}')}" for key, one in value.items())
            return "{" + ", ".join(inner) + "}"
        if isinstance(value, list):
            shown = [self._expected(one, name, f"{pointer}/{at}") for at, one in enumerate(value[:_MAX_ITEMS])]
            more = [f"*[ANY] * {len(value) - _MAX_ITEMS}"] if len(value) > _MAX_ITEMS else []
            return "[" + ", ".join(shown + more) + "]"
        secret = isinstance(value, str) and kind_of(name) is not None
        return "ANY" if secret or is_volatile_name(name) or is_volatile(value) else repr(value)


def _joined(parts: list[str], given: dict[str, str], names: dict[str, Variable]) -> list[str]:
    """Put together again what no earlier answer gave."""
    found: list[str] = []
    for part in parts:
        special = part in names or unquote(part) in given
        if not special and found and not (found[-1] in names or unquote(found[-1]) in given):
            found[-1] += part
        else:
            found.append(part)
    return found


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"


def _json_body(message: Message) -> Any:
    if not message.body or message.body[0] not in "{[":
        return None
    try:
        return json.loads(message.body)
    except (ValueError, RecursionError):
        return None


def _strings(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the strings of JSON with the subscripts that lead to them, without recursion."""
    left = [("", value)]
    while left:
        path, one = left.pop()
        if isinstance(one, str):
            yield path, one
        elif isinstance(one, dict):
            left.extend((f"{path}[{key!r}]", item) for key, item in reversed(one.items()))
        elif isinstance(one, list):
            left.extend((f"{path}[{at}]", one[at]) for at in range(min(len(one), 200) - 1, -1, -1))


_HEADER: Final = '''"""Tests made by wiretape of a recording; run them with pytest against the same or another server.

BASE_URL names another server; SSL_CERT_FILE a CA that it needs.
"""

import os
from urllib.parse import unquote  # noqa: F401
from unittest.mock import ANY

import httpx
import pytest

BASE_URL = os.environ.get("BASE_URL", {base!r})
'''
_HELPERS: Final = '''

@pytest.fixture(scope="module")
def client():
    with httpx.Client(base_url=BASE_URL, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def seen():
    """What was answered, by the number of the recorded exchange: later requests need what earlier answers gave."""
    return {}


def assert_like(found, expected, at=""):
    """Compare JSON; what is another at each run is ANY."""
    if isinstance(expected, dict):
        assert isinstance(found, dict), f"{at or '/'} is no object"
        assert set(found) == set(expected), f"{at or '/'} has other keys"
        for key, value in expected.items():
            assert_like(found[key], value, f"{at}/{key}")
    elif isinstance(expected, list):
        assert isinstance(found, list) and len(found) == len(expected), f"{at or '/'} has another length"
        for number, value in enumerate(expected):
            assert_like(found[number], value, f"{at}/{number}")
    else:
        assert found == expected, f"{at or '/'} is {found!r}, was {expected!r}"


'''
