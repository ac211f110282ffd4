"""Requests as a script for k6 (https://grafana.com/docs/k6/latest/javascript-api/), each answer's status checked."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from wiretape.formats.replayable import Request, Text, Variable, Variables, plain
from wiretape.model import ExchangeDetail

_BROKEN: Final = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


def k6_script(exchanges: Iterator[ExchangeDetail], *, values: bool) -> Iterator[str]:
    """Write a script that sends the requests one after the other.

    Args:
        exchanges: in their order.
        values: write secrets down; else the script takes them from the environment (``k6 run -e NAME=value``).
    """
    variables = Variables()
    steps: list[str] = []
    binary = False
    for exchange in exchanges:
        request = variables.request(exchange)
        variables.learn(exchange)
        if request is None:
            continue
        steps.append(_step(exchange, request))
        binary |= isinstance(request.body, bytes)
    yield "// Requests that wiretape recorded, in their order: k6 run FILE\n"
    yield "import http from 'k6/http';\nimport { check } from 'k6';\n"
    if binary:
        yield "import encoding from 'k6/encoding';\n"
    yield "\n"
    for one in variables.by_value.values():
        default = f" || {_quoted(one.value)}" if values else ""
        yield f"const {one.name} = __ENV.{one.name}{default}; // {_line(one.origin)}\n"
    yield "\nexport default function () {\n  let response;\n"
    yield from steps
    yield "}\n"


def _step(exchange: ExchangeDetail, request: Request) -> str:
    path = urlsplit(plain(request.url)).path
    status = exchange.response.status_code if exchange.response is not None else None
    title = _line(f"{request.method} {path}")[:120]
    lines = [f"\n  // seq {exchange.seq}: {title}"]
    if request.note:
        lines.append(f"  // {_line(request.note)}")
    # What was recorded are the redirects themselves.
    options = f"{{ headers: {_headers(request)}, redirects: 0 }}"
    lines.append(
        f"  response = http.request({_quoted(request.method)}, {_literal(request.url)}, {_body(request)}, {options});"
    )
    if status is not None:
        name = _quoted(f"{title}: {status}")
        lines.append(f"  check(response, {{ [{name}]: (answer) => answer.status === {status} }});")
    return "\n".join(lines) + "\n"


def _headers(request: Request) -> str:
    """Write headers as an object: values of equal names, which k6 cannot take, are joined (RFC 9110 section 5.3)."""
    joined: dict[str, tuple[str, Text]] = {}
    for name, value in request.headers:
        lower = name.lower()
        if lower in joined:
            mark = "; " if lower == "cookie" else ", "
            joined[lower] = (joined[lower][0], (*joined[lower][1], mark, *value))
        else:
            joined[lower] = (name, value)
    if not joined:
        return "{}"
    return "{ " + ", ".join(f"{_quoted(name)}: {_literal(value)}" for name, value in joined.values()) + " }"


def _body(request: Request) -> str:
    if isinstance(request.body, bytes):
        return f"encoding.b64decode({_quoted(base64.b64encode(request.body).decode())})"
    return _literal(request.body) if request.body else "null"


def _literal(text: Text) -> str:
    return " + ".join(part.name if isinstance(part, Variable) else _quoted(part) for part in text) or "''"


def _quoted(text: str) -> str:
    return json.dumps(text)  # JSON with nothing beyond ASCII is a literal of JavaScript


def _line(text: str) -> str:
    return _BROKEN.sub(" ", text)
