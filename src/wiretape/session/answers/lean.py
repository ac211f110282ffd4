"""The lean exchange: what was said, without what is the same in all exchanges, and with bodies that fit.

Headers that say nothing are counted, a JSON Web Token is shown by its claims, a Cookie by its names; a body is shown by
its content type: text as text, JSON above 4 KB as its shape and first element, an image as its size. Where there is no
response a sentence says why.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec
from msgspec import UnsetType

from wiretape.errors import WiretapeError
from wiretape.model import ExchangeDetail, InterimResponse, Lean, Message, RuleActed
from wiretape.secrets.veil import UNVEILED, Veil
from wiretape.session.answers.covered import called
from wiretape.session.answers.read_body import first_of, shown_path, veiled
from wiretape.session.answers.whole_body import WholeBody, read_whole
from wiretape.session.session import Session
from wiretape.views.choose import View, choose, refined, see
from wiretape.views.json_text import write_json
from wiretape.views.jwt import FOUND, claims_of
from wiretape.views.limits import ViewError
from wiretape.views.shape import shape_of

Headers = Literal["lean", "all"]
Side = Literal["request", "response"]
ServerSide = Literal["sent request", "received response"]
NOISE: Final = frozenset(
    {
        "host", "accept-encoding", "accept-language", "connection", "content-length", "date", "vary", "server",
        "user-agent", "keep-alive", "transfer-encoding", "proxy-connection", "upgrade-insecure-requests", "priority",
        "strict-transport-security", "x-powered-by", "x-content-type-options", "x-frame-options", "x-xss-protection",
        "referrer-policy", "alt-svc", "via", "accept-ranges", "dnt", "te", "pragma",
    }
)  # fmt: skip
_NOISE_STARTS: Final = ("sec-fetch-", "sec-ch-", "cf-", "x-amz-cf-")
BODY: Final = 4_096
"""Characters of a body that are given whole."""
_STREAM: Final = 1_000
"""Characters of a stream of events: its messages have a tool of their own."""
_VALUE: Final = 300
LONG: Final = 2_000
"""Characters of a header that are given where headers are wanted whole."""
_CLAIMS: Final = ("sub", "exp")


class How(msgspec.Struct, frozen=True, kw_only=True):
    """What of an exchange to show.

    Attributes:
        headers: ``all`` lists every header whole, and tells TLS and addresses.
        objects: bodies as text or base64, whatever they are, instead of understood.
        body: characters of each body at most; 0 shows none.
        value: characters of one header's value, and of the URL.
        most_headers: headers of one message.
    """

    headers: Headers = "lean"
    objects: bool = False
    body: int = BODY
    value: int = LONG
    most_headers: int = 1_000


class LeanMessage(Lean, frozen=True):
    """Request or response. ``headersLeft`` counts the headers that are not listed because they say nothing.

    ``body`` is text; what is no text is in ``bodyValue``, seen as ``bodyView``. Of one that is too long for the answer
    there are ``bodyShape`` and ``bodyFirst``, the first element, or the beginning of its text and ``bodyLeft``.
    ``bodyTry`` is a path that would give a part. ``bodyNote`` says what was not recorded or cannot be read.
    ``missing`` stands alone and says why there is no response.
    """

    missing: str | None = None
    method: str | None = None
    url: str | None = None
    status_code: int | None = None
    status_message: str | None = None
    http_version: str | None = None
    headers: list[tuple[str, str]] = []  # noqa: RUF012 - a msgspec default
    headers_left: int = 0
    trailers: list[tuple[str, str]] = []  # noqa: RUF012
    body_size: int | None = None
    body_recorded: int | None = None
    body: str | None = None
    body_base64: str | None = None
    body_truncated: bool = False
    body_view: str | None = None
    body_value: Any = msgspec.UNSET
    body_shape: str | None = None
    body_first: Any = None
    body_try: str | None = None
    body_left: int = 0
    body_gaps: list[tuple[int, int]] = []  # noqa: RUF012
    body_note: str | None = None
    unparsed: bool = False
    raw: str | None = None
    raw_base64: str | None = None


class LeanExchange(Lean, frozen=True):
    """One exchange. ``exchange`` is its address. Where a rule changed something, ``request`` and ``response`` are the
    client's, ``sentRequest`` went to the server and ``receivedResponse`` came from it. TLS and addresses are told where
    they were asked for, or it failed.
    """

    seq: int
    exchange: str
    exchange_id: str
    state: str
    timestamp: int
    request: LeanMessage | None = None
    response: LeanMessage | None = None
    sent_request: LeanMessage | None = None
    received_response: LeanMessage | None = None
    rules: list[RuleActed] = []  # noqa: RUF012
    timings: dict[str, float] = {}  # noqa: RUF012
    error: dict[str, str] | None = None
    notes: list[str] = []  # noqa: RUF012
    damaged: bool = False
    retried: bool = False
    interim: list[InterimResponse] = []  # noqa: RUF012
    client: str | None = None
    server: str | None = None
    tls: dict[str, Any] | None = None
    connections: dict[str, dict[str, Any]] = {}  # noqa: RUF012
    process: str | None = None
    messages: int | None = None
    next: str | None = None


def lean_exchange(session: Session, seq: int, how: How, *, veil: Veil = UNVEILED) -> LeanExchange:
    """Return one exchange as a person or a model reads it.

    Args:
        session: where it is.
        seq: which one.
        how: what of it.
        veil: hides secrets; it gets whole values.

    Raises:
        NotFoundError: there is no such exchange.
    """
    detail = session.exchange(seq, bodies=False)
    every = how.headers == "all"
    failed = detail.error is not None or detail.state == "failed"
    around = every or failed
    timings = {key: value for key, value in msgspec.structs.asdict(detail.timings).items() if value is not None}
    return LeanExchange(
        seq=seq,
        exchange=f"{called(session)}:{seq}",
        exchange_id=detail.exchange_id,
        state=detail.state,
        timestamp=detail.timestamp,
        request=_message(session, detail, "request", how, veil),
        response=_message(session, detail, "response", how, veil),
        sent_request=_other_side(session, detail, detail.sent_request, how, veil),
        received_response=_other_side(session, detail, detail.received_response, how, veil),
        rules=[_acted(rule, veil) for rule in detail.rules or []],
        timings=timings,
        error=None if detail.error is None else {key: veil.text(text) for key, text in detail.error.items()},
        notes=detail.notes,
        damaged=detail.damaged is True,
        retried=detail.retried is True,
        interim=[_interim(one, veil) for one in detail.interim or ()],
        client=detail.client if around else None,
        server=detail.server if around else None,
        tls=detail.tls if around or _failed(detail.tls) else None,
        connections=(detail.connections or {}) if every else {},
        process=detail.process or None,
        messages=detail.messages or None,
    )


def _interim(one: InterimResponse, veil: Veil) -> InterimResponse:
    headers = [(name, veil.header(name, value)) for name, value in one.headers]
    return msgspec.structs.replace(one, headers=headers, status_message=veil.text(one.status_message))


def _failed(tls: dict[str, Any] | None) -> bool:
    return any("error" in one for one in (tls or {}).values() if isinstance(one, dict))


def no_response(detail: ExchangeDetail) -> str:
    """Say in a sentence why an exchange has no response."""
    if detail.error is not None:
        return f"No answer came: {detail.error['message'] or detail.error['code']}."
    if detail.state == "inFlight":
        return "No answer has come yet: it is still running."
    if detail.state == "interrupted":
        return "The recorder ended before an answer came; the server may have acted on the request."
    if detail.state == "aborted":
        return "No answer came: the client left before."
    return "No answer was recorded."


def _acted(rule: RuleActed, veil: Veil) -> RuleActed:
    said = {
        name: veil.text(text)
        for name, text in (("description", rule.description), ("note", rule.note))
        if isinstance(text, str)
    }
    return msgspec.structs.replace(rule, **said)


def _other_side(
    session: Session, detail: ExchangeDetail, message: Message | UnsetType, how: How, veil: Veil
) -> LeanMessage | None:
    """Return a message of the server's side, where a rule changed it on its way."""
    if not isinstance(message, Message):
        return None
    side: ServerSide = "sent request" if message is detail.sent_request else "received response"
    return _lean_message(session, detail, message, side, how, veil)


def _message(session: Session, detail: ExchangeDetail, side: Side, how: How, veil: Veil) -> LeanMessage | None:
    message = detail.request if side == "request" else detail.response
    if message is None:
        return LeanMessage(missing=veil.text(no_response(detail))) if side == "response" else None
    return _lean_message(session, detail, message, side, how, veil)


def _lean_message(
    session: Session, detail: ExchangeDetail, message: Message, side: Side | ServerSide, how: How, veil: Veil
) -> LeanMessage:
    every = how.headers == "all"
    headers, left = lean_headers(message.headers, every=every, at=detail.timestamp, veil=veil)
    if len(headers) > how.most_headers:
        headers, left = headers[: how.most_headers], left + len(headers) - how.most_headers
    headers = [(_cut(name, _VALUE), _cut(value, how.value)) for name, value in headers]
    fields: dict[str, Any] = {}
    if how.body and message.body_size:
        fields = _body(session, detail.seq, message, side, how, veil)
    if message.body_recorded < message.body_size:
        fields["body_recorded"] = message.body_recorded
    return LeanMessage(
        method=message.method,
        url=None if message.url is None else _cut(veil.text(message.url), how.value),
        status_code=message.status_code,
        status_message=veil.text(message.status_message or "") or None,
        http_version=message.http_version,
        headers=headers,
        headers_left=left,
        trailers=[(name, _cut(veil.header(name, value), _VALUE)) for name, value in message.trailers[:20]],
        body_size=message.body_size,
        body_gaps=message.body_gaps,
        **_unparsed(message, veil),
        **fields,
    )


def _unparsed(message: Message, veil: Veil) -> dict[str, Any]:
    if message.unparsed is not True:
        return {}
    raw = message.raw if isinstance(message.raw, str) else None
    return {
        "unparsed": True,
        "raw": None if raw is None else _cut(veil.text(raw), BODY),
        "raw_base64": _raw_bytes(message.raw_base64, veil) if isinstance(message.raw_base64, str) else None,
        "body_note": message.body_note,
    }


def _raw_bytes(encoded: str, veil: Veil) -> str:
    """Return bytes that are not text in base64, secrets hidden: each byte is read as a character of Latin-1."""
    hidden = veil.text(base64.b64decode(encoded).decode("latin-1"))
    return base64.b64encode(hidden.encode("latin-1", "replace")).decode()[:BODY]


def fitted(session: Session, seq: int, how: How, most: int, *, veil: Veil = UNVEILED) -> LeanExchange:
    """Return one exchange so that its JSON has ``most`` bytes or little more: bodies give way first, then headers.

    Raises:
        NotFoundError: there is no such exchange.
    """
    body = how.body
    while True:
        found = lean_exchange(session, seq, msgspec.structs.replace(how, body=body), veil=veil)
        if len(msgspec.json.encode(found)) <= most:
            return found
        if not body:
            break
        body = body // 3 if body > 300 else 0
    how = msgspec.structs.replace(how, body=0, value=100, most_headers=60)
    found = lean_exchange(session, seq, how, veil=veil)
    return msgspec.structs.replace(found, notes=[*found.notes[:20], "Headers are cut to fit the answer."])


# -- headers --------------------------------------------------------------------------------------------------------


def lean_headers(
    headers: list[tuple[str, str]], *, every: bool, at: int, veil: Veil
) -> tuple[list[tuple[str, str]], int]:
    """Return the headers that say something, in their order, and how many are left out.

    Args:
        headers: all of them.
        every: list all, whole.
        at: when the exchange began, in milliseconds since the epoch: by then a token had expired or not.
        veil: hides secrets.
    """
    if every:
        return [(name, _cut(veil.header(name, value), LONG)) for name, value in headers], 0
    shown = [(name, _lean(name, value, at, veil)) for name, value in headers if not _noise(name, value)]
    return shown, len(headers) - len(shown)


def _noise(name: str, value: str) -> bool:
    name = name.lower()
    return name in NOISE or name.startswith(_NOISE_STARTS) or (name == "accept" and value == "*/*")


def _lean(name: str, value: str, at: int, veil: Veil) -> str:
    lower = name.lower()
    if lower == "cookie":
        names = [part.partition("=")[0].strip() for part in value.split(";")]
        return _cut(", ".join(veil.text(one) for one in names if one), _VALUE)
    shown = veil.header(name, value)
    token = FOUND.search(value)
    claims = claims_of(token[0]) if token else None
    if token is None or claims is None:
        return _cut(shown, _VALUE)
    if token[0] in shown:
        shown = shown.replace(token[0], f"{token[0][:8]}… ({len(token[0])} characters)")
    return _cut(" ".join([shown, *_claims(claims, at, veil)]), _VALUE)


def _claims(claims: dict[str, Any], at: int, veil: Veil) -> list[str]:
    found = []
    for name in _CLAIMS:
        value = claims.get(name)
        if name == "exp" and isinstance(value, int | float) and 0 < value < 2**40:
            late = "(expired)" if value * 1000 < at else ""
            moment = datetime.fromtimestamp(value, UTC)
            same_day = moment.date() == datetime.fromtimestamp(at / 1000, UTC).date()
            found.append(f"exp={moment:{'%H:%M:%S' if same_day else '%Y-%m-%dT%H:%M:%S'}}Z{late}")
        elif isinstance(value, str | int):
            found.append(f"{name}={veil.field(name, str(value))[:80]}")
    return found


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


# -- bodies ---------------------------------------------------------------------------------------------------------


def _body(
    session: Session, seq: int, message: Message, side: Side | ServerSide, how: How, veil: Veil
) -> dict[str, Any]:
    """Return the fields of a LeanMessage that show its body."""
    try:
        body = read_whole(session, seq, side, message=message)
    except WiretapeError as error:
        return {"body_note": f"{error.message}."}
    found = {} if not body.data else _as_it_is(body, how, veil) if how.objects else _seen(body, how.body, veil)
    if body.missing is not None:
        found["body_note"] = body.missing
    return found


def _seen(body: WholeBody, most: int, veil: Veil) -> dict[str, Any]:
    view = choose(body.type, body.data)
    text = body.text
    if view == "hex" or (text is None and view in {"text", "html"}):
        return {"body_value": {"bytes": len(body.data), "sha256": sha256(body.data).hexdigest()}}
    if view in {"text", "html", "sse"} and text is not None:
        return _text(veil.text(text), min(_STREAM, most) if view == "sse" else most)
    try:
        value = see(view, body.data, body.type, text)
    except ViewError as error:
        if text is None:
            return {"body_value": {"bytes": len(body.data), "sha256": sha256(body.data).hexdigest()}}
        return _text(veil.text(text), most) | {"body_note": error.message}
    return _value(view, value, text, most, veil)


def _as_it_is(body: WholeBody, how: How, veil: Veil) -> dict[str, Any]:
    """Show a body as interface.md has it: ``body`` where it is text, else ``bodyBase64``."""
    text = body.text
    if text is not None:
        text = veil.text(text)
        left = max(0, len(text) - how.body)
        return {"body": text[: how.body], "body_left": left, "body_truncated": bool(left)}
    hidden = veil.text(body.data.decode("latin-1")).encode("latin-1", "replace")
    if hidden != body.data:
        return {"body_note": "The body is bytes and has a secret in it: proxy_read_body shows it as it is."}
    part = body.data[: how.body]
    left = len(body.data) - len(part)
    return {"body_base64": base64.b64encode(part).decode(), "body_left": left, "body_truncated": bool(left)}


def _text(text: str, most: int) -> dict[str, Any]:
    if len(text) <= most:
        return {"body": text}
    return {"body": text[:most], "body_left": len(text) - most}


def _value(view: View, value: Any, text: str | None, most: int, veil: Veil) -> dict[str, Any]:
    if view in {"json", "form"} and text is not None:
        if len(text) <= most:
            shown = veiled(value, veil)
            # The text as it was, unless something in it is hidden.
            return {"body": veil.text(text) if shown == value else write_json(shown)}
        if view == "json":
            view, value = refined(view, value)
    if len(write_json(value)) <= most:
        return {"body_view": view, "body_value": veiled(value, veil)}
    return {
        "body_view": None if view == "json" else view,
        "body_shape": veil.text(shape_of(value)),
        "body_first": veiled(first_of(value, most), veil),
        "body_try": shown_path(value, veil),
    }
