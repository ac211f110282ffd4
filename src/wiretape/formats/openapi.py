"""An OpenAPI 3.1 document of what was seen: paths, parameters, bodies, answers, ways to log in."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from wiretape.formats.openapi_schemas import shared
from wiretape.formats.volatile import is_volatile
from wiretape.model import ExchangeDetail, Message

_STATIC: Final = re.compile(
    r"\.(?:css|js|mjs|map|png|jpe?g|gif|svg|ico|webp|avif|woff2?|ttf|otf|mp4|webm|mp3|wasm|html?)$", re.IGNORECASE
)
_STATIC_KINDS: Final = ("image/", "font/", "text/css", "javascript", "audio/", "video/", "text/html")
_TELEMETRY: Final = re.compile(r"(?:^|/)(?:telemetry|analytics|collect|beacon|metrics|rum)(?:/|$)", re.IGNORECASE)
_ID: Final = re.compile(
    r"[0-9]+|(?=[a-fA-F]*[0-9])[0-9a-fA-F]{6,}|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}"
    r"|[A-Za-z]{1,12}[_-](?=[A-Za-z0-9_]*[0-9])[A-Za-z0-9_]+"
)
_METHODS: Final = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_MAX_OPERATIONS: Final = 2_000
_SAMPLES: Final = 200
"""Bodies of one operation and status whose schemas are merged."""
_MAX_BODY: Final = 1 << 20
_ENUM: Final = 8
"""Different values up to which a text is one of a few; it must have been seen three times as often as it has values."""
_FORMATS: Final = (
    ("uuid", re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")),
    ("date-time", re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")),
    ("date", re.compile(r"\d{4}-\d\d-\d\d")),
    ("email", re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")),
    ("uri", re.compile(r"https?://\S+")),
)


class OpenApi:
    """Takes exchanges and returns the document."""

    def __init__(self, title: str) -> None:
        self.skipped = 0
        self._title = title
        self._operations: dict[tuple[str, str], _Operation] = {}
        self._servers: Counter[str] = Counter()

    def take(self, exchange: ExchangeDetail) -> None:
        """Take one exchange; static files, telemetry and what got no answer are left out."""
        request, response = exchange.request, exchange.response
        if request is None or response is None or not response.status_code or request.method is None:
            return
        parts = urlsplit(request.url or "")
        kind = _header(response, "content-type").lower()
        if _STATIC.search(parts.path) or _TELEMETRY.search(parts.path) or any(one in kind for one in _STATIC_KINDS):
            self.skipped += 1
            return
        method = request.method.lower()
        if method not in _METHODS or response.status_code < 200:
            return
        self._servers[f"{parts.scheme}://{parts.netloc}"] += 1
        path, values = template(parts.path or "/")
        operation = self._operations.get((path, method))
        if operation is None:
            if len(self._operations) >= _MAX_OPERATIONS:
                self.skipped += 1
                return
            operation = self._operations[path, method] = _Operation(path, method)
        operation.take(request, response, values, parts.query)

    def rows(self) -> list[list[Any]]:
        """Return the operations: what, how often, the statuses seen, how the client logs in."""
        return [
            [f"{method.upper()} {path}", one.count, sorted(one.answers), ", ".join(sorted(one.logins)) or None]
            for (path, method), one in sorted(self._operations.items())
        ]

    def document(self) -> dict[str, Any]:
        """Return the document."""
        paths: dict[str, dict[str, Any]] = {}
        logins: dict[str, dict[str, Any]] = {}
        for (path, method), operation in sorted(self._operations.items()):
            paths.setdefault(path, {})[method] = operation.described()
            logins |= operation.logins
        document: dict[str, Any] = {
            "openapi": "3.1.0",
            "info": {
                "title": self._title,
                "version": "recorded",
                "description": "Made by wiretape of recorded traffic: what was seen, not what is possible. "
                "`x-seen` counts the exchanges behind an operation or a body.",
            },
            "servers": [{"url": url} for url, _ in self._servers.most_common(10)],
            "paths": paths,
        }
        schemas = shared(paths)
        components = {"schemas": schemas, "securitySchemes": logins}
        if any(components.values()):
            document["components"] = {name: one for name, one in components.items() if one}
        return document


def template(path: str) -> tuple[str, list[tuple[str, str]]]:
    """Fold ids in a path to parameters that are called after the segment before them: ``/products/{productId}``."""
    segments = path.split("/")
    values: list[tuple[str, str]] = []
    for at, segment in enumerate(segments):
        if segment and _ID.fullmatch(segment) is not None and not re.fullmatch(r"v[0-9]+", segment):
            name = _parameter(segments[at - 1] if at else "", [name for name, _ in values])
            values.append((name, segment))
            segments[at] = "{" + name + "}"
        else:
            segments[at] = segment.replace("{", "%7B").replace("}", "%7D")
    return "/".join(segments), values


def _parameter(before: str, taken: list[str]) -> str:
    word = re.sub(r"[^A-Za-z0-9]", "", before)
    if word.lower().endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.lower().endswith("s") and not word.lower().endswith("ss") and len(word) > 2:
        word = word[:-1]
    name = f"{word[:1].lower()}{word[1:]}Id" if word else "id"
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}{number}", number + 1
    return free


class _Operation:
    def __init__(self, path: str, method: str) -> None:
        self.count = 0
        self.answers: dict[int, _Body] = {}
        self.logins: dict[str, dict[str, Any]] = {}
        self._path = path
        self._method = method
        self._body = _Body()
        self._parameters: dict[str, list[str]] = {}
        self._query: dict[str, list[str]] = {}
        self._graphql: Counter[str] = Counter()

    def take(self, request: Message, response: Message, values: list[tuple[str, str]], query: str) -> None:
        self.count += 1
        for name, value in values:
            self._parameters.setdefault(name, []).append(value)
        for name, value in parse_qsl(query, keep_blank_values=True)[:200]:
            self._query.setdefault(name, []).append(value)
        self._note_logins(request)
        self._body.take(request)
        self._note_graphql(request)
        assert response.status_code is not None
        self.answers.setdefault(response.status_code, _Body()).take(response)

    def _note_logins(self, request: Message) -> None:
        scheme = _header(request, "authorization").partition(" ")[0].lower()
        if scheme in {"bearer", "basic", "digest"}:
            found: dict[str, Any] = {"type": "http", "scheme": scheme}
            if scheme == "bearer" and _header(request, "authorization")[7:10] == "eyJ":
                found["bearerFormat"] = "JWT"
            self.logins[scheme] = found
        for name, _ in request.headers:
            lower = name.lower()
            if lower in {"x-api-key", "api-key", "x-csrf-token", "x-xsrf-token", "x-auth-token"}:
                key = "csrf" if "srf" in lower else "apiKey"
                self.logins[key] = {"type": "apiKey", "in": "header", "name": name}
        for part in _header(request, "cookie").split(";"):
            name = part.partition("=")[0].strip()
            if re.search(r"sess|sid|auth|token", name, re.IGNORECASE) and "srf" not in name.lower():
                self.logins["cookie"] = {"type": "apiKey", "in": "cookie", "name": name}

    def _note_graphql(self, request: Message) -> None:
        if self._path.rstrip("/").endswith("graphql"):
            value = _json(request)
            if isinstance(value, dict) and isinstance(value.get("operationName"), str):
                self._graphql[value["operationName"][:100]] += 1

    def described(self) -> dict[str, Any]:
        words = re.sub(r"[^A-Za-z0-9]+", "_", self._path).strip("_")
        found: dict[str, Any] = {"operationId": f"{self._method}_{words or 'root'}", "x-seen": self.count}
        if self._graphql:
            names = ", ".join(f"{name} ({count})" for name, count in self._graphql.most_common())
            found["description"] = f"GraphQL operations seen: {names}."
        parameters = [_parameter_of(name, values, "path") for name, values in self._parameters.items()]
        parameters += [
            _parameter_of(name, values, "query", required=len(values) >= self.count)
            for name, values in sorted(self._query.items())
        ]
        if parameters:
            found["parameters"] = parameters
        content = self._body.content()
        if content and self._method not in {"get", "head", "delete", "trace"}:
            found["requestBody"] = {"content": content, "required": self._body.count >= self.count}
        if self.logins:
            found["security"] = [{name: [] for name in sorted(self.logins)}]
        found["responses"] = {str(status): body.answer(status) for status, body in sorted(self.answers.items())}
        return found


def _parameter_of(name: str, values: list[str], where: str, *, required: bool = True) -> dict[str, Any]:
    return {"name": name, "in": where, "required": required, "schema": _schema_of_texts(values)}


def _schema_of_texts(values: list[str]) -> dict[str, Any]:
    if all(re.fullmatch(r"-?[0-9]{1,15}", value) for value in values):
        return {"type": "integer"}
    if all(value in {"true", "false"} for value in values):
        return {"type": "boolean"}
    return {"type": "string", **_refined(values)}


class _Body:
    """The bodies of one kind: media types, and the schema of what is JSON."""

    def __init__(self) -> None:
        self.count = 0
        self._kinds: Counter[str] = Counter()
        self._builders: dict[str, Any] = {}
        self._texts: dict[str, dict[str, list[str]]] = {}

    def take(self, message: Message) -> None:
        if not message.body_size:
            return
        self.count += 1
        kind = _header(message, "content-type").partition(";")[0].strip().lower() or "application/octet-stream"
        if re.fullmatch(r"[\w.+-]+/[\w.+-]+", kind) is None:
            kind = "application/octet-stream"
        self._kinds[kind] += 1
        if "json" in kind and self._kinds[kind] <= _SAMPLES:
            self._merge(kind, message)

    def _merge(self, kind: str, message: Message) -> None:
        from genson import SchemaBuilder  # noqa: PLC0415

        value = _json(message)
        if value is None:
            return
        builder = self._builders.get(kind)
        if builder is None:
            builder = self._builders[kind] = SchemaBuilder(schema_uri=None)
            self._texts[kind] = {}
        try:
            builder.add_object(value)
        except RecursionError:  # it is nested deeper than any schema
            return
        _collect(value, self._texts[kind])

    def content(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for kind, count in self._kinds.items():
            builder = self._builders.get(kind)
            schema: dict[str, Any] = {} if builder is None else builder.to_schema()
            if builder is not None:
                _refine(schema, "", self._texts[kind])
            found[kind] = {"schema": schema, "x-seen": count}
        return found

    def answer(self, status: int) -> dict[str, Any]:
        from http import HTTPStatus  # noqa: PLC0415

        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = f"Status {status}"
        content = self.content()
        return {"description": phrase, "content": content} if content else {"description": phrase}


def _json(message: Message) -> Any:
    if message.body is None or message.body_truncated or len(message.body) > _MAX_BODY:
        return None
    try:
        return json.loads(message.body)
    except (ValueError, RecursionError):
        return None


def _collect(value: Any, texts: dict[str, list[str]]) -> None:
    """Note the texts at each place of JSON, list items as one place, without recursion."""
    left = [("", value)]
    while left:
        path, one = left.pop()
        if isinstance(one, str):
            seen = texts.setdefault(path, [])
            if len(seen) < 1_000:
                seen.append(one)
        elif isinstance(one, dict):
            left.extend((f"{path}/{key}", item) for key, item in one.items())
        elif isinstance(one, list):
            left.extend((f"{path}/*", item) for item in one[:200])


def _refine(schema: dict[str, Any], path: str, texts: dict[str, list[str]]) -> None:
    """Say of texts what they are: a format, or one of a few values."""
    if schema.get("type") == "string":
        schema.update(_refined(texts.get(path, [])))
    for key, inner in schema.get("properties", {}).items():
        _refine(inner, f"{path}/{key}", texts)
    if isinstance(schema.get("items"), dict):
        _refine(schema["items"], f"{path}/*", texts)
    for inner in schema.get("anyOf", []):
        _refine(inner, path, texts)


def _refined(values: list[str]) -> dict[str, Any]:
    if not values:
        return {}
    for name, pattern in _FORMATS:
        if all(pattern.fullmatch(value) for value in values):
            return {"format": name}
    distinct = sorted(set(values))
    few = len(distinct) <= _ENUM and len(values) >= 3 * len(distinct) and len(values) > _ENUM
    if few and all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_ .-]{0,40}", one) and not is_volatile(one) for one in distinct):
        return {"enum": distinct}
    return {}


def _header(message: Message, name: str) -> str:
    return next((value for field, value in message.headers if field.lower() == name), "")
