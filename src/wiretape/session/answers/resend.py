"""One recorded request again, with changes: what would be sent, what speaks against it, and what came of it."""

from __future__ import annotations

import base64
import binascii
import json
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from wiretape.errors import UsageError, WiretapeError
from wiretape.formats.volatile import is_volatile
from wiretape.model import ExchangeDetail, Lean, Message
from wiretape.secrets.find import in_header
from wiretape.secrets.veil import UNVEILED, Veil
from wiretape.session.answers.fields import veiled_at
from wiretape.session.answers.noise import kind_of, starred
from wiretape.session.answers.read_body import veiled_text
from wiretape.session.answers.run import is_untrusted
from wiretape.session.session import Session

MAX_BODY: Final = 64 * 1024 * 1024
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_RECOMPUTED: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "te", "trailer",
     "upgrade", "expect", "proxy-authorization"}
)  # fmt: skip
"""Headers that are of one connection, or that the new request gets anew (RFC 9110 section 7.6.1)."""
_PORTS: Final = {"http": 80, "https": 443}
_SHOWN: Final = 2_000
_DIFFERENCES: Final = 12
NEW: Final = "new"
"""The value of an Idempotency-Key that asks for one that was never sent."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be another than recorded.

    Attributes:
        values: JSON pointers in the body (or names of a form's fields, ``/name``) and their new values.
        headers: names and new values; None takes a header away.
        url: another URL.
        target: another server, ``https://host:port``; path and query stay.
    """

    values: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str | None] = field(default_factory=dict)
    url: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it will be sent; Host, Content-Length and Connection are not among its headers yet."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def server(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return server_of(self.url)


class Result(Lean, frozen=True, kw_only=True):
    """What came back: of the recorded exchange and of the new one, where there are two.

    ``ignored`` counts what differs and is another each time.
    """

    exchange: str
    state: str
    status: list[int | None]
    ms: list[float | None]
    response: Any = None
    cut: bool = False
    differs: list[list[Any]] = msgspec.field(default_factory=list)
    ignored: int = 0
    error: str | None = None


class Planned(Lean, frozen=True, kw_only=True):
    """What would be sent. ``rebound`` says which values are got anew, and by what."""

    plan: str
    changes: list[list[Any]] = msgspec.field(default_factory=list)
    writes: bool = False
    warnings: list[str] = msgspec.field(default_factory=list)
    sent: str | None = None
    rebound: list[str] = msgspec.field(default_factory=list)
    result: Result | None = None
    verdict: str | None = None
    execute: str | None = None
    next: str | None = None


def plan(session: Session, name: str, seq: int, changes: Changes) -> tuple[Outgoing, Planned]:
    """Work out what would be sent.

    Args:
        session: the recording.
        name: what it is called in the answer.
        seq: the exchange.
        changes: what is to be another.

    Raises:
        NotFoundError: there is no such exchange. UsageError: it cannot be sent again, or a change means nothing.
    """
    exchange = session.exchange(seq, max_body=1)
    request = _sendable(exchange)
    told: list[list[Any]] = []
    url = _changed_url(request.url or "", changes, told)
    headers = _changed_headers(request, changes, told)
    body, headers = _changed_body(session, seq, request, headers, changes, told)
    outgoing = Outgoing(request.method or "GET", url, tuple(headers), body)
    return outgoing, Planned(
        plan=f"{outgoing.method} {url}",
        changes=told,
        writes=outgoing.method not in _SAFE,
        warnings=list(_warnings(outgoing, changes, time.time())),
        sent=f"{name}:{seq}",
    )


def _sendable(exchange: ExchangeDetail) -> Message:
    request = exchange.request
    if request is None or not request.method:
        raise UsageError(f"The request of exchange {exchange.seq} is lost to damage", hint="choose another exchange")
    if request.method == "CONNECT" or any(name.lower() == "upgrade" for name, _ in request.headers):
        raise UsageError(
            f"Exchange {exchange.seq} is a tunnel or a WebSocket, which cannot be sent again",
            hint="choose another exchange",
        )
    if request.body_recorded < request.body_size:
        raise UsageError(
            f"Only {request.body_recorded} of {request.body_size} bytes of the body were recorded, so it is not sent",
            hint="record with the profile full",
        )
    if request.body_size > MAX_BODY:
        raise UsageError(
            f"The body has {request.body_size} bytes, more than are sent again", hint="use export and curl"
        )
    return request


def server_of(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL.

    Raises:
        UsageError: it names no HTTP server.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        port = 0
        parts = urlsplit("")
    if parts.scheme not in _PORTS or not parts.hostname or not port:
        raise UsageError(f"{url[:200]!r} names no HTTP server", hint="such as https://localhost:8443")
    if any(char <= " " or char == "\x7f" for char in url):
        raise UsageError(f"{url[:200]!r} has a space or a control character", hint="percent-encode it")
    return parts.scheme, parts.hostname, port


def _changed_url(recorded: str, changes: Changes, told: list[list[Any]]) -> str:
    url = changes.url or recorded
    if changes.target is not None:
        server_of(changes.target)
        aim, parts = urlsplit(changes.target), urlsplit(url)
        base = aim.path.rstrip("/")
        url = parts._replace(scheme=aim.scheme, netloc=aim.netloc, path=f"{base}{parts.path}").geturl()
    server_of(url)
    if url != recorded:
        told.append(["request.url", recorded, url])
    return url


def _changed_headers(request: Message, changes: Changes, told: list[list[Any]]) -> list[tuple[str, str]]:
    wanted = {name.lower(): (name, value) for name, value in changes.headers.items()}
    kept: list[tuple[str, str]] = []
    for name, value in request.headers:
        lower = name.lower()
        if lower in _RECOMPUTED or name.startswith(":"):
            continue
        if lower not in wanted:
            kept.append((name, value))
            continue
        _, new = wanted[lower]
        if new is not None and all(one.lower() != lower for one, _ in kept):
            kept.append((name, _value(name, new)))
        told.append([f"request.header.{name}", value, kept[-1][1] if new is not None else None])
    present = {name.lower() for name, _ in request.headers}
    for lower, (name, new) in wanted.items():
        if lower not in present and new is not None:
            kept.append((_name(name), _value(name, new)))
            told.append([f"request.header.{name}", None, kept[-1][1]])
    return kept


def _name(name: str) -> str:
    if not name or not all(char.isascii() and (char.isalnum() or char in "!#$%&'*+-.^_`|~") for char in name):
        raise UsageError(f"{name[:80]!r} is not a header's name", hint="letters, digits and dashes")
    return name


def _value(name: str, value: str) -> str:
    if any(char in "\r\n\0" for char in value):
        raise UsageError(f"The value of {name[:80]} has the end of a line in it", hint="a header is one line")
    if name.lower() == "idempotency-key" and value == NEW:
        return str(uuid.uuid4())
    return value


def _changed_body(
    session: Session,
    seq: int,
    request: Message,
    headers: list[tuple[str, str]],
    changes: Changes,
    told: list[list[Any]],
) -> tuple[bytes, list[tuple[str, str]]]:
    if not changes.values:
        return b"".join(session.raw_body(seq, "request", decoded=False)), headers
    data = b"".join(session.raw_body(seq, "request"))
    kind = next((value for name, value in request.headers if name.lower() == "content-type"), "")
    edit = _edit_form if "x-www-form-urlencoded" in kind.lower() else _edit_json
    for pointer, value in changes.values.items():
        pointer = pointer.removeprefix("request.body") if pointer.startswith("request.body/") else pointer
        data, old = edit(data, pointer, value)
        told.append([pointer, old, value])
    return data, [(name, value) for name, value in headers if name.lower() != "content-encoding"]


def _edit_form(data: bytes, pointer: str, value: Any) -> tuple[bytes, Any]:
    name = pointer.removeprefix("/")
    pairs = parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True)
    old = next((content for key, content in pairs if key == name), None)
    new = [(key, str(value) if key == name else content) for key, content in pairs]
    if old is None:
        new.append((name, str(value)))
    return urlencode(new).encode(), old


def _edit_json(data: bytes, pointer: str, value: Any) -> tuple[bytes, Any]:
    if not pointer.startswith("/"):
        raise UsageError(f"{pointer[:80]!r} is not a JSON pointer", hint="such as /payment/amount")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise UsageError("The body is not JSON, so no pointer leads into it", hint="use export and curl") from None
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]
    at: Any = document
    for number, step in enumerate(steps[:-1]):
        at = _stepped(at, step, steps[:number])
    last = steps[-1]
    if isinstance(at, dict):
        old = at.get(last)
        at[last] = value
    elif isinstance(at, list) and last == "-":
        old = None
        at.append(value)
    elif isinstance(at, list) and last.isascii() and last.isdigit() and int(last) < len(at):
        old = at[int(last)]
        at[int(last)] = value
    else:
        raise _nowhere(at, last, steps[:-1])
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"), old


def _stepped(at: Any, step: str, before: Sequence[str]) -> Any:
    if isinstance(at, dict) and step in at:
        return at[step]
    if isinstance(at, list) and step.isascii() and step.isdigit() and int(step) < len(at):
        return at[int(step)]
    raise _nowhere(at, step, before)


def _nowhere(at: Any, step: str, before: Sequence[str]) -> UsageError:
    where = "/" + "/".join(before)
    keys = f"its keys are {', '.join(map(str, list(at)[:12]))}" if isinstance(at, dict) else "it has no such item"
    return UsageError(f"The body has no {step[:80]!r} at {where}", hint=keys)


def _warnings(outgoing: Outgoing, changes: Changes, now: float) -> Iterator[str]:
    changed = {name.lower() for name in changes.headers}
    for name, value in outgoing.headers:
        lower = name.lower()
        if lower in {"authorization", "cookie"} and lower not in changed:
            yield from _expiries(name, value, now)
        elif lower == "idempotency-key" and lower not in changed:
            yield f'{name} is the recorded one: the server may answer from its memory; set it to "{NEW}"'
        elif lower in {"if-none-match", "if-modified-since"}:
            yield f"{name} is there: the answer may be 304 without a body"
        elif lower == "x-csrf-token" and lower not in changed:
            yield f"{name} may be valid for one session only"


def _expiries(name: str, value: str, now: float) -> Iterator[str]:
    """Say of tokens in a header until when they are valid."""
    for kind, start, end in in_header(name, value):
        expires = _expiry(value[start:end]) if kind == "jwt" else None
        if expires is None:
            continue
        minutes = (expires - now) / 60
        if minutes < 0:
            yield f"{name} expired {_span(-minutes)} ago: the answer will probably be 401"
        elif minutes < 24 * 60:
            yield f"{name} expires in {_span(minutes)}"


def _span(minutes: float) -> str:
    return (
        f"{minutes:.0f} min"
        if minutes < 120
        else f"{minutes / 60:.0f} h"
        if minutes < 2880
        else f"{minutes / 1440:.0f} days"
    )


def _expiry(token: str) -> float | None:
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (ValueError, KeyError, TypeError, IndexError, binascii.Error, RecursionError):
        return None


def outcome(
    planned: Planned,
    before: ExchangeDetail,
    after: ExchangeDetail,
    name: str,
    *,
    trust: str,
    noise: Collection[str] = (),
    veil: Veil = UNVEILED,
) -> Planned:
    """Return the plan with what came of it.

    Args:
        planned: the plan.
        before: the recorded exchange.
        after: the new one.
        name: of the new session.
        trust: how the caller has servers trusted, for the verdict: ``--upstream-ca FILE``.
        noise: places that are another each time, with ``*`` for positions.
        veil: hides secrets in what came back, before it is cut.
    """
    old, new = before.response, after.response
    status = [old.status_code if old is not None else None, new.status_code if new is not None else None]
    shown, cut = _shown(new, veil)
    differs, ignored = _differences(old, new, noise)
    result = Result(
        exchange=f"{name}:{after.seq}",
        state=after.state,
        status=status,
        ms=[_round(before.timings.total), _round(after.timings.total)],
        response=shown,
        cut=cut,
        # Where one of them is an error every key differs, and the verdict and the answer say it.
        differs=differs[:_DIFFERENCES] if _failed(status[0]) == _failed(status[1]) else [],
        ignored=ignored,
        error=(after.error or {}).get("message"),
    )
    return msgspec.structs.replace(
        planned, result=result, verdict=_verdict(status, changed=bool(planned.changes), result=result, trust=trust)
    )


def _failed(status: int | None) -> bool:
    return status is None or status >= 400


def _round(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 1)


def _verdict(status: list[int | None], *, changed: bool, result: Result, trust: str) -> str:
    old, new = status
    if new is None:
        return "no answer came" + (f"; {trust}" if is_untrusted(result.error) else "")
    if old != new:
        return f"{'the change turned' if changed else 'sent again it turned'} {old or 'no answer'} into {new}"
    return f"{new} as recorded" + (", another body" if result.differs else ", the same answer")


def _shown(message: Message | None, veil: Veil) -> tuple[Any, bool]:
    """Return an answer's body for the reader: JSON where it is small, else its beginning."""
    if message is None or message.body is None:
        return None, message is not None and message.body_base64 is not None
    text = veiled_text(message.body, veil)
    if len(text) <= _SHOWN:
        try:
            return json.loads(text), False
        except (ValueError, RecursionError):
            return text, False
    return text[:_SHOWN], True


def _differences(old: Message | None, new: Message | None, noise: Collection[str]) -> tuple[list[list[Any]], int]:
    """Return where two JSON answers differ, and how many more differ in what is another each time."""
    if old is None or new is None or not old.body or not new.body or old.body == new.body:
        return [], 0
    try:
        first, second = dict(_leaves(json.loads(old.body))), dict(_leaves(json.loads(new.body)))
    except (ValueError, RecursionError):
        return [["response.body", len(old.body), len(new.body)]], 0
    found: list[list[Any]] = []
    ignored = 0
    for pointer in [*first, *(key for key in second if key not in first)]:
        before, after = first.get(pointer), second.get(pointer)
        if before == after:
            continue
        alike = before is not None and after is not None and bool(kind_of(pointer, before, after))
        if alike or (is_volatile(before) and is_volatile(after)) or starred(pointer) in noise:
            ignored += 1
        else:
            found.append([pointer, before, after])
    return found, ignored


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    left: list[tuple[str, Any]] = [("", value)]
    while left:
        pointer, one = left.pop()
        if isinstance(one, dict) and one:
            left.extend((f"{pointer}/{key}", item) for key, item in reversed(one.items()))
        elif isinstance(one, list) and one:
            left.extend((f"{pointer}/{at}", one[at]) for at in range(len(one) - 1, -1, -1))
        else:
            yield pointer, one


def veiled(planned: Planned, veil: Veil) -> Planned:
    """Return a plan as it may be shown."""

    def shown(where: Any, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return veiled_at(str(where), value, veil)

    changes = [[row[0], *(shown(row[0], one) for one in row[1:])] for row in planned.changes]
    result = planned.result
    if result is not None:
        differs = [[veil.text(row[0]), *(shown(row[0], one) for one in row[1:])] for row in result.differs]
        error = None if result.error is None else veil.text(result.error)
        result = msgspec.structs.replace(result, differs=differs, error=error)
    verdict = None if planned.verdict is None else veil.text(planned.verdict)
    return msgspec.structs.replace(
        planned, plan=veil.text(planned.plan), changes=changes, result=result, verdict=verdict
    )


Hosts = Callable[[bytes], list[tuple[str, set[str]]]]


def check_target(
    session: Session, outgoing: Outgoing, spans: Callable[[bytes], Sequence[Any]], allowed: Sequence[str]
) -> None:
    """Refuse to send to a server to which the recording shows neither the request nor its secrets going (P18).

    Args:
        session: the recording.
        outgoing: what would be sent.
        spans: finds known secrets in bytes, each with its handle.
        allowed: further hosts, ``host`` or ``host:port``.

    Raises:
        UsageError: naming the server and what would have gone there.
    """
    _, host, port = outgoing.server
    authority = f"{host}:{port}"
    if host in allowed or authority in allowed:
        return
    wanted = {one.handle for one in spans(_bytes_of(outgoing))}
    seen = False
    for exchange in session.iterate():
        request = exchange.request
        if request is None or _authority(request.url or "") != authority:
            continue
        seen = True
        if wanted:
            wanted -= {one.handle for one in spans(_recorded_bytes(request))}
        if not wanted:
            return
    what = ", ".join(sorted(wanted)[:5]) if seen else "any request"
    raise UsageError(
        f"The recording does not show {what} going to {authority}, so it is not sent there",
        hint=f"`wiretape mcp --allow-target {authority}` allows it, and `wiretape send` on the command line",
        code="target",
    )


def _authority(url: str) -> str:
    try:
        _, host, port = server_of(url)
    except WiretapeError:
        return ""
    return f"{host}:{port}"


def _bytes_of(outgoing: Outgoing) -> bytes:
    lines = [outgoing.url, *(f"{name}: {value}" for name, value in outgoing.headers)]
    return "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n" + outgoing.body


def _recorded_bytes(request: Message) -> bytes:
    lines = [request.url or "", *(f"{name}: {value}" for name, value in request.headers)]
    body = (request.body or "").encode("utf-8", "surrogatepass")
    if request.body_base64 is not None:
        body = base64.b64decode(request.body_base64)
    return "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n" + body
