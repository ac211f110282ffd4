"""Tools that answer questions about what was recorded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wiretape.errors import UsageError
from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.model import Filter
from wiretape.session.answers.compare import Comparison, compare
from wiretape.session.answers.explain import Explanation, explain
from wiretape.session.answers.overview import Overview, overview
from wiretape.session.answers.parts import part_of, session_of
from wiretape.session.answers.trace import Direction, Trace, trace
from wiretape.session.ids import split_address
from wiretape.session.session import Session


@tool("What is in a session", Hints(reads=True))
async def proxy_session_overview(
    call: Call,
    session_id: arg.SessionId,
    filter: Annotated[str | None, Field(description="~d api & ~c 5xx")] = None,  # noqa: A002 - the contract's name
    since: Annotated[str | None, Field(description="ISO, -5m, seq or mark")] = None,
    top: Annotated[int | None, Field(ge=1, le=200, description="Endpoints to name")] = None,
    group: Annotated[Literal["template", "path"], Field(description="path: tell values in paths apart")] = "template",
) -> Overview:
    """Begin here: hosts, endpoints by path template with durations, errors with their messages (200+errors: the answer
    says so itself), slowest. `left` is what rows leave out.
    """
    wanted = Filter(expression=filter, since=since)
    return await call.service.library.ask(
        session_id, lambda session: overview(session, wanted, veil=call.veil, top=top, group=group)
    )


@tool("Why it went wrong", Hints(reads=True))
async def proxy_explain_exchange(
    call: Call, exchange: Annotated[str, Field(description='SESSION:SEQ, such as "bad:31"')]
) -> Explanation:
    """Why an exchange failed: the parsed error, the values it blames and their origin (`near`: sums of earlier numbers,
    a hint), and the same operation with another outcome.
    """
    library, address = call.service.library, split_address(exchange)
    return await library.ask(
        address.session or "last",
        lambda session: explain(
            session, address.seq, veil=call.veil, catalogue=library.catalogue, before=library.before
        ),
    )


@tool("Compare two runs", Hints(reads=True), long=True)
async def proxy_compare(
    call: Call,
    a: Annotated[str, Field(description="SESSION, SESSION:SEQ or SESSION@MARK; the good one")],
    b: Annotated[str, Field(description="The other")],
    noise_from: Annotated[list[str] | None, Field(description="Runs like a: where they differ is noise")] = None,
    ignore: Annotated[list[str] | None, Field(description="Places that do not count: /data/*/stock")] = None,
    filter: Annotated[str | None, Field(description="Only these: ~m POST")] = None,  # noqa: A002 - the contract's name
    detail: Annotated[Literal["first", "all", "noise"], Field(description="noise: list what was ignored")] = "first",
) -> Comparison:
    """What differs, aligned by operation; new ids, times and tokens are ignored and counted. Rows: [place, in a, in b].
    `first` is the cause, requests before responses.
    """
    named = (a, b, *(noise_from or []))

    def answer(sessions: dict[str, Session]) -> Comparison:
        wanted = Filter(expression=filter)
        parts = {name: part_of(sessions.__getitem__, name, wanted) for name in named}
        others = [parts[name] for name in noise_from or []]
        return compare(
            parts[a],
            parts[b],
            veil=call.veil,
            noise_from=others,
            ignore=ignore or (),
            detail=detail,
            progress=call.progress("exchanges"),
        )

    return await call.service.library.ask_all(map(session_of, named), answer)


@tool("Trace a value", Hints(reads=True))
async def proxy_trace_value(
    call: Call,
    exchange: Annotated[str | None, Field(description="SESSION:SEQ, with at")] = None,
    at: Annotated[
        str | None, Field(description="request.header.NAME, request.cookie.NAME, response.body/POINTER, ...")
    ] = None,
    value: Annotated[str | None, Field(description="Instead: the value or its handle, with session_id")] = None,
    session_id: Annotated[str | None, Field(description="Session; default last")] = None,
    direction: Annotated[Direction, Field(description="What is asked for")] = "both",
) -> Trace:
    """Where a value comes from, which requests carry it, in any encoding. `near`: sums of earlier numbers, a hint."""
    address = None if exchange is None else split_address(exchange)
    if address is None and value is None:
        raise UsageError(
            "proxy_trace_value needs exchange and at, or value", hint='exchange "bad:31", at "X-Csrf-Token"'
        )
    session = (address.session if address is not None else None) or session_id or "last"
    seq = None if address is None else address.seq
    return await call.service.library.ask(
        session, lambda one: trace(one, veil=call.veil, seq=seq, at=at, value=value, direction=direction)
    )
