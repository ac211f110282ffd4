"""``llm``: calls of language models: what was asked and answered, tokens, and how long the first one took.

OpenAI's chat completions and responses, Anthropic, Gemini, Ollama and Bedrock, streamed or not. What a call cost is not
said: prices change, and the recording does not hold them.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from typing import Any, Final

import msgspec

from wiretape.errors import NotFoundError, WiretapeError
from wiretape.heads import field_values
from wiretape.model import ExchangeDetail, Filter, Lean, Table
from wiretape.secrets.veil import UNVEILED, Veil
from wiretape.session.answers.covered import called, missing
from wiretape.session.answers.read_body import veiled_text
from wiretape.session.answers.whole_body import MAX_WHOLE, read_whole
from wiretape.session.session import Session
from wiretape.views.json_text import read_json
from wiretape.views.limits import ViewError
from wiretape.views.llm.call import Answer, Api, Event, Said, Usage, mapping
from wiretape.views.llm.read import PATHS, api_of, events_of, model_in, put_together

CANDIDATES: Final = f'~m ^POST$ & ~u "{PATHS}"'
"""The filter that takes every call; what its body then shows to be none is left out."""
COLUMNS: Final = ["seq", "api", "model", "in", "cached", "out", "ms", "ttftMs", "finish", "tools"]
SAID: Final = 100
"""Characters of each message that was sent, in a short answer; the newest has five times as many."""
TEXT: Final = 4_000
"""Characters of what was answered, and of a tool call's arguments."""
_SHOWN: Final = 12
_PAGE: Final = 200


class LlmMessage(Lean, frozen=True):
    """One message that was sent: how long it is, and the beginning of its text."""

    role: str
    chars: int
    text: str


class ToolCall(Lean, frozen=True):
    """One tool that the model wants to be called."""

    name: str
    arguments: str
    id: str | None = None


class LlmOutput(Lean, frozen=True):
    """What the model answered. ``left`` counts the characters of text that follow."""

    text: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] = msgspec.field(default_factory=list)
    left: int = 0


class Tokens(Lean, frozen=True):
    """Tokens as the API counts them; a count that it does not tell is left out. ``cached`` are part of ``input``."""

    input: int | None = None
    cached: int | None = None
    output: int | None = None
    reasoning: int | None = None


class Took(Lean, frozen=True):
    """Milliseconds from the request's beginning to the first piece of the answer's text, and to the end."""

    first_token: float | None = None
    total: float | None = None


class LlmCall(Lean, frozen=True):
    """One call. ``events`` counts those of a stream; ``messages_left`` the messages that are not listed."""

    seq: int
    api: str
    complete: bool
    model: str | None = None
    stream: bool = False
    status_code: int | None = None
    finish: str | None = None
    events: int | None = None
    ms: Took = Took()
    usage: Tokens = Tokens()
    messages: list[LlmMessage] = msgspec.field(default_factory=list)
    messages_left: int = 0
    next: str | None = None
    """The call that gives what is cut of the messages."""
    tools: list[str] = msgspec.field(default_factory=list)
    """The tools that were offered; those that the model called are in ``output``."""
    output: LlmOutput | None = None
    error: str | None = None
    missing: str | None = None


class LlmCalls(Lean, frozen=True):
    """The calls of a session, oldest first, a row each, and what all of these used together."""

    session: str
    returned: int
    calls: Table
    """A row for each call; ``tools`` are those that the model called."""
    totals: Tokens
    complete: bool
    next_cursor: str | None = None
    missing: str | None = None


def llm_call(session: Session, seq: int, *, whole: bool = False, veil: Veil = UNVEILED) -> LlmCall:
    """Return one call.

    Args:
        session: where it is.
        seq: which exchange.
        whole: give every message, and all of every text.
        veil: hides secrets; it gets whole texts.

    Raises:
        NotFoundError: there is no such exchange, or it is no call of a language model.
    """
    found = _read(session, session.exchange(seq, bodies=False))
    if found is None:
        raise NotFoundError(
            f"Exchange {seq} is not a call of a language model that is known here",
            hint="`wiretape llm SESSION` lists them",
        )
    said = found.api.asked(found.request)
    listed = said if whole or len(said) <= _SHOWN else [said[0], *said[1 - _SHOWN :]]
    mosts = [MAX_WHOLE if whole else 5 * SAID if one is said[-1] else SAID for one in listed]
    messages = [_message(one, most, veil) for one, most in zip(listed, mosts, strict=True)]
    cut = len(listed) < len(said) or any(len(one.text) > most for one, most in zip(messages, mosts, strict=True))
    place = json.dumps({"exchange": f"{called(session)}:{seq}", "side": "request"}, separators=(",", ":"))
    answer, detail = found.answer, found.detail
    return LlmCall(
        seq=seq,
        api=found.api.name,
        complete=found.missing is None,
        model=veil.text(answer.model or found.model or "") or None,
        stream=found.events is not None,
        status_code=detail.response.status_code if detail.response is not None else None,
        finish=None if answer.finish is None else veil.text(answer.finish),
        events=None if found.events is None else len(found.events),
        ms=Took(first_token=_ms(answer.first_ns), total=detail.timings.total),
        usage=_tokens(answer.usage),
        messages=messages,
        messages_left=len(said) - len(listed),
        next=f"proxy_read_body {place}" if cut else None,
        tools=[veil.text(name)[:100] for name in found.api.tools(found.request)[:200]],
        output=_output(answer, whole, veil),
        error=None if answer.error is None else veil.text(answer.error)[:1_000],
        missing=found.missing,
    )


def llm_calls(
    session: Session,
    wanted: Filter | None = None,
    *,
    limit: int = 50,
    cursor: str | None = None,
    veil: Veil = UNVEILED,
) -> LlmCalls:
    """Return a row for each call of a session, oldest first.

    Args:
        session: where they are.
        wanted: only these exchanges.
        limit: calls at most.
        cursor: ``next_cursor`` of the page before.
        veil: hides secrets.

    Raises:
        UsageError: the filter or the cursor means nothing.
    """
    wanted = wanted or Filter()
    expression = CANDIDATES if wanted.expression is None else f"({wanted.expression}) & {CANDIDATES}"
    wanted = msgspec.structs.replace(wanted, expression=expression)
    rows: list[list[Any]] = []
    gaps: list[str] = []
    totals = Usage(input=0, cached=0, output=0, reasoning=0)
    while True:
        page = session.query(wanted, sort="asc", limit=min(_PAGE, limit - len(rows)), cursor=cursor)
        for item in page.items:
            found = _read(session, session.exchange(item.seq, bodies=False))
            if found is None:
                continue
            rows.append([veil.text(cell) if isinstance(cell, str) else cell for cell in _row(found)])
            _add(totals, found.answer.usage)
            if found.missing is not None:
                gaps.append(f"{item.seq}: {found.missing}")
        cursor = page.next_cursor
        if cursor is None or len(rows) >= limit:
            break
    gaps += [unseen] if (unseen := missing(session.follow())) else []
    return LlmCalls(
        session=called(session),
        returned=len(rows),
        calls=Table(columns=COLUMNS, rows=rows),
        totals=_tokens(totals),
        complete=not gaps,
        next_cursor=cursor,
        missing=" ".join(gaps)[:2_000] or None,
    )


class _Found(msgspec.Struct):
    """One call as it was read."""

    detail: ExchangeDetail
    api: Api
    request: dict[str, Any]
    model: str | None
    answer: Answer
    events: list[Event] | None
    missing: str | None


def _read(session: Session, detail: ExchangeDetail) -> _Found | None:
    """Read a call; None where it is none."""
    url = detail.request.url if detail.request is not None else None
    if url is None:
        return None
    try:
        request = read_json(read_whole(session, detail.seq, "request").data)
    except WiretapeError:
        return None
    api = api_of(url, request)
    if api is None:
        return None
    asked = mapping(request)
    answer, events, gap = _answered(session, detail, api)
    return _Found(detail, api, asked, model_in(url, asked), answer, events, gap)


def _answered(session: Session, detail: ExchangeDetail, api: Api) -> tuple[Answer, list[Event] | None, str | None]:
    """Return what was answered, its events where it was streamed, and what of it could not be seen."""
    if detail.response is None:
        return Answer(), None, None if detail.error is not None else "No answer was recorded."
    data, times, gap = _timed(session, detail.seq)
    content_type = next(iter(field_values(detail.response.headers, "content-type")), None)
    placed = events_of(api, content_type, data)
    if placed is not None:
        events = [one._replace(elapsed_ns=_at(times, end)) for end, one in placed]
        return put_together(api, None, events), events, gap
    try:
        value = read_json(data) if data else None
    except ViewError as error:
        return Answer(), None, gap or f"Its answer is not JSON: {error.message}"
    return put_together(api, value, None), None, gap


def _timed(session: Session, seq: int) -> tuple[bytes, list[tuple[int, int]], str | None]:
    """Return the answer's body, how far it had come when, and what is not in it."""
    data = bytearray()
    times: list[tuple[int, int]] = []
    try:
        for piece, elapsed in session.timed_body(seq, "response"):
            data += piece[: MAX_WHOLE - len(data)]
            if elapsed >= 0:
                times.append((len(data), elapsed))
            if len(data) >= MAX_WHOLE:
                return bytes(data), times, f"Only the first {MAX_WHOLE:,} bytes were looked at."
    except WiretapeError as error:
        return bytes(data), times, f"{error.message}."
    return bytes(data), times, None


def _at(times: list[tuple[int, int]], end: int) -> int:
    place = bisect_left(times, (end, -1))
    return times[min(place, len(times) - 1)][1] if times else -1


def _row(found: _Found) -> list[Any]:
    answer, usage = found.answer, found.answer.usage
    total = found.detail.timings.total
    finish = answer.finish
    if finish is None and found.detail.response is not None and (found.detail.response.status_code or 0) >= 400:
        finish = f"status {found.detail.response.status_code}"
    row = [
        found.detail.seq, found.api.name, answer.model or found.model, usage.input, usage.cached, usage.output,
        None if total is None else round(total), None if answer.first_ns < 0 else round(answer.first_ns / 1e6),
        finish, ",".join(one["name"] for one in answer.calls.values())[:200] or None,
    ]  # fmt: skip
    while row and row[-1] is None:
        row.pop()
    return row


def _add(totals: Usage, usage: Usage) -> None:
    for name in ("input", "cached", "output", "reasoning"):
        setattr(totals, name, getattr(totals, name) + (getattr(usage, name) or 0))


def _tokens(usage: Usage) -> Tokens:
    return Tokens(input=usage.input, cached=usage.cached, output=usage.output, reasoning=usage.reasoning)


def _ms(ns: int) -> float | None:
    return None if ns < 0 else round(ns / 1e6, 1)


def _message(said: Said, most: int, veil: Veil) -> LlmMessage:
    return LlmMessage(
        role=veil.text(said.role)[:40], chars=len(said.text), text=_cut(veiled_text(said.text, veil), most)
    )


def _output(answer: Answer, whole: bool, veil: Veil) -> LlmOutput | None:
    text, reasoning = veil.text("".join(answer.text)), veil.text("".join(answer.reasoning))
    most = MAX_WHOLE if whole else TEXT
    calls = [
        ToolCall(
            name=veil.text(one["name"])[:200],
            arguments=_cut(veiled_text(one["arguments"], veil), most),
            id=veil.text(one["id"])[:200] or None,
        )
        for one in answer.calls.values()
    ]
    if not (text or reasoning or calls):
        return None
    return LlmOutput(
        text=text[:most] or None,
        reasoning=_cut(reasoning, most) or None,
        tool_calls=calls,
        left=max(0, len(text) - most),
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
