"""What an answer says went wrong: RFC 9457, GraphQL, gRPC, JSON-RPC, JSON:API and what servers make up themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import unescape
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from wiretape.model import Lean

MOST_ERRORS: Final = 20
_MAX_TEXT: Final = 300
_MAX_DEPTH: Final = 4
_SUSPECT: Final = re.compile(rb'"(?:success|ok)"\s{0,4}:\s{0,4}false|"errors?"\s{0,4}:\s{0,4}[\[{]')
_SUSPECT_WITHIN: Final = 512
_TITLE: Final = re.compile(rb"<title[^>]{0,200}>\s*([^<]{1,300})", re.IGNORECASE)
_XML_MESSAGE: Final = re.compile(
    rb"<(?:[A-Za-z]{1,20}:)?(message|faultstring|error_description|Text)(?:\s[^>]{0,200})?>([^<]{1,300})<",
    re.IGNORECASE,
)
_XML_CODE: Final = re.compile(rb"<(?:[A-Za-z]{1,20}:)?(code|faultcode)(?:\s[^>]{0,200})?>([^<]{1,100})<", re.IGNORECASE)
_LOOSE: Final = re.compile(
    rb'"(message|detail|title|error_description|error|errorMessage|reason|msg)"\s{0,4}:\s{0,4}"((?:[^"\\]|\\.){1,300})"'
)
_MESSAGES: Final = ("detail", "message", "error_description", "errorMessage", "msg", "reason", "description", "Message")
_POINTERS: Final = ("pointer", "field", "path", "param", "property", "name", "loc", "propertyPath")
_GRPC_NAMES: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
_decode = msgspec.json.Decoder(strict=False).decode


class FieldError(Lean, frozen=True):
    """One of the errors that an answer lists; ``pointer`` is the field of the request that it blames."""

    pointer: str = ""
    code: str = ""
    detail: str = ""


class Problem(Lean, frozen=True):
    """What an answer says went wrong, and in which ``form`` it says so."""

    form: str
    title: str = ""
    detail: str = ""
    code: str = ""
    errors: list[FieldError] = msgspec.field(default_factory=list)

    def message(self) -> str:
        """Return it in one line: the title, or else the detail, and the first field that is blamed."""
        text = self.title or self.detail
        first = self.errors[0] if self.errors else None
        if first is None:
            return _line(text or self.code)
        if not first.pointer:
            return _line(text or first.detail or first.code)
        blamed = " ".join(one for one in (first.pointer, first.code or first.detail) if one)
        return _line(f"{text}: {blamed}" if text else f"{blamed}{': ' + first.detail if first.code else ''}")


def may_be_problem(body: bytes) -> bool:
    """Return whether the beginning of an answer of success is worth a closer look."""
    return _SUSPECT.search(body, 0, _SUSPECT_WITHIN) is not None


def problem_of(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Problem | None:
    """Return what an answer says went wrong; None of one that says nothing of the kind.

    Args:
        status: of the answer. Below 400 only what cannot mean anything else counts: GraphQL's and JSON-RPC's errors,
            gRPC's status, ``{"success":false}``.
        headers: of the answer, its trailers behind them.
        body: decoded, or its beginning.
    """
    known = {name.lower(): value for name, value in headers}
    kind = known.get("content-type", "").partition(";")[0].strip().lower()
    grpc = _grpc(known, kind, body)
    if grpc is not None:
        return grpc
    start = body[:64].lstrip()
    if "json" in kind or (start[:1] in {b"{", b"["} and kind in {"", "text/plain", "text/html"}):
        return _of_json(kind, status, body)
    if status < 400:
        return None
    return _of_markup(kind, body) or _of_text(kind, body)


# -- JSON ----------------------------------------------------------------------------------------------------------


def _of_json(kind: str, status: int, body: bytes) -> Problem | None:
    try:
        value = _decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return _of_cut_json(body) if status >= 400 else None
    if isinstance(value, list) and value and isinstance(value[0], dict):
        found = (_of_object(kind, status, one) for one in value[:MOST_ERRORS] if isinstance(one, dict))
        return next((one for one in found if one is not None), None)  # a batch
    if isinstance(value, str):
        return Problem(form="json", detail=_text(value)) if status >= 400 and value else None
    return _of_object(kind, status, value) if isinstance(value, dict) else None


def _of_object(kind: str, status: int, value: dict[str, Any]) -> Problem | None:
    errors, error = value.get("errors"), value.get("error")
    if "jsonrpc" in value:
        if not isinstance(error, dict):
            return None
        return Problem(form="json-rpc", title=_text(error.get("message")), code=_text(error.get("code")))
    graphql = isinstance(errors, list) and bool(errors) and all(_is_graphql_error(one) for one in errors[:MOST_ERRORS])
    if graphql and ("data" in value or status < 400):
        assert isinstance(errors, list)
        return Problem(form="graphql", errors=[_graphql_error(one) for one in errors[:MOST_ERRORS]])
    failed = value.get("success") is False or value.get("ok") is False
    if status < 400 and not failed:
        return None
    form = _form(kind, value, errors, failed=failed)
    inner = error if isinstance(error, dict) else value
    title = _text(value.get("title")) or (_text(error) if isinstance(error, str) else "")
    detail = next((text for key in _MESSAGES if (text := _text(inner.get(key)))), "")
    if not title and form != "problem+json":
        title, detail = detail or _text(inner.get("title")), ""
    listed = errors or inner.get("errors") or inner.get("details") or value.get("invalid-params")
    if not listed and isinstance(value.get("detail"), list):
        listed = value["detail"]  # FastAPI
    code = _text(inner.get("code") or inner.get("type") or inner.get("status")) if inner is not value else ""
    return Problem(
        form=form,
        title=title,
        detail=detail if detail != title else "",
        code=code or _text(value.get("code")),
        errors=list(_field_errors(listed)),
    )


def _form(kind: str, value: dict[str, Any], errors: Any, *, failed: bool) -> str:
    if kind == "application/problem+json" or ("title" in value and "status" in value and "type" in value):
        return "problem+json"
    if kind == "application/vnd.api+json" or (
        isinstance(errors, list)
        and errors
        and isinstance(errors[0], dict)
        and isinstance(errors[0].get("source"), dict)
    ):
        return "json:api"
    return "success:false" if failed else "json"


def _is_graphql_error(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("message"), str) and "source" not in one


def _graphql_error(one: dict[str, Any]) -> FieldError:
    extensions = one.get("extensions")
    code = extensions.get("code") if isinstance(extensions, dict) else None
    return FieldError(code=_text(code), detail=_text(one["message"]))


def _field_errors(listed: Any) -> Iterator[FieldError]:
    if isinstance(listed, dict):  # Rails, ASP.NET: the field, then what is wrong with it
        for name, what in list(listed.items())[:MOST_ERRORS]:
            yield FieldError(pointer="/" + str(name)[:_MAX_TEXT].replace(".", "/"), detail=_text(what))
        return
    if not isinstance(listed, list):
        return
    for one in listed[:MOST_ERRORS]:
        if isinstance(one, dict):
            yield _field_error(one)
        elif isinstance(one, str):
            yield FieldError(detail=_text(one))


def _field_error(one: dict[str, Any]) -> FieldError:
    source = one.get("source")
    where = source if isinstance(source, dict) else one
    pointer = next((where[key] for key in _POINTERS if where.get(key)), source if isinstance(source, str) else "")
    if isinstance(pointer, list):  # FastAPI's loc begins with "body"
        parts = [str(part) for part in pointer[:20]]
        pointer = "/" + "/".join(parts[1:] if parts[:1] == ["body"] else parts)
    elif isinstance(pointer, str) and pointer and not pointer.startswith(("/", "#")):
        pointer = "/" + re.sub(r"\[(\d+)\]", r"/\1", pointer.removeprefix("$.")).replace(".", "/")
    detail = next((text for key in (*_MESSAGES, "title", "code") if (text := _text(one.get(key)))), "")
    code = _text(one.get("code") or one.get("type"))
    return FieldError(pointer=_text(pointer).lstrip("#"), code=code if code != detail else "", detail=detail)


def _of_cut_json(body: bytes) -> Problem | None:
    """Look for a message in JSON that is cut or broken."""
    found = {match[1].decode(): match[2] for match in _LOOSE.finditer(body[: 64 * 1024])}
    for key in ("title", *_MESSAGES, "error"):
        if key in found:
            text = found[key].decode("utf-8", "replace")
            try:
                text = _decode(b'"' + found[key] + b'"')
            except (msgspec.DecodeError, ValueError):
                pass
            return Problem(form="json", title=_text(text))
    return None


# -- other forms ---------------------------------------------------------------------------------------------------


def _grpc(headers: dict[str, str], kind: str, body: bytes) -> Problem | None:
    if not kind.startswith("application/grpc"):
        return None
    known = headers if "grpc-status" in headers else _grpc_web_trailers(body)
    status = known.get("grpc-status", "0").strip()
    if status in {"", "0"}:
        return None
    name = _GRPC_NAMES[int(status)] if status.isascii() and status.isdigit() and int(status) < len(_GRPC_NAMES) else ""
    text = unquote(known.get("grpc-message", ""))
    return Problem(form="grpc", title=_text(text) or name, code=f"{status[:10]} {name}".strip())


def _grpc_web_trailers(body: bytes) -> dict[str, str]:
    """Return the trailers in a gRPC-web body: the frame whose first bit is set."""
    at = 0
    while at + 5 <= len(body):
        length = int.from_bytes(body[at + 1 : at + 5], "big")
        if body[at] & 0x80:
            lines = body[at + 5 : at + 5 + length].decode("utf-8", "replace").splitlines()
            pairs = (line.partition(":") for line in lines[:50])
            return {name.strip().lower(): value.strip() for name, _, value in pairs}
        at += 5 + length
    return {}


def _of_markup(kind: str, body: bytes) -> Problem | None:
    if "xml" not in kind and "html" not in kind and not body[:64].lstrip().startswith(b"<"):
        return None
    body = body[: 64 * 1024]
    message, code = _XML_MESSAGE.search(body), _XML_CODE.search(body)
    if message is not None and "html" not in kind:
        return Problem(form="xml", title=_markup_text(message[2]), code=_markup_text(code[2]) if code else "")
    title = _TITLE.search(body)
    return Problem(form="html", title=_markup_text(title[1])) if title is not None else None


def _markup_text(raw: bytes) -> str:
    return _text(unescape(raw.decode("utf-8", "replace")))


def _of_text(kind: str, body: bytes) -> Problem | None:
    if not kind.startswith("text/") and kind:
        return None
    line = next((one for one in body[:2000].decode("utf-8", "replace").splitlines() if one.strip()), "")
    return Problem(form="text", title=_text(line)) if line and line.isprintable() else None


def _text(value: Any, depth: int = 0) -> str:
    if isinstance(value, str):
        return _line(value)
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list) and depth < _MAX_DEPTH:
        return _line("; ".join(filter(None, (_text(one, depth + 1) for one in value[:3]))))
    return ""


def _line(text: str) -> str:
    text = " ".join(text[: 4 * _MAX_TEXT].split())
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
