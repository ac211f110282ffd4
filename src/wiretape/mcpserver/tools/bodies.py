"""Tools: what was said, understood: bodies and their parts."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, Literal, cast

import msgspec
from pydantic import Field

from wiretape.errors import UsageError
from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.budget import size_of
from wiretape.mcpserver.listing import TOKENS
from wiretape.mcpserver.output_files import output_path
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.model import Filter
from wiretape.session.answers.body_file import body_file
from wiretape.session.answers.llm import LlmCall, LlmCalls, llm_call, llm_calls
from wiretape.session.answers.messages import LENGTH as LENGTH_OF_MESSAGE
from wiretape.session.answers.messages import Messages, MessagesWanted, messages, one_of
from wiretape.session.answers.read_body import LENGTH, BodyPart, Wanted, read_body
from wiretape.views.choose import View

_Asked = Literal[
    "auto", "shape", "text", "json", "form", "multipart", "graphql", "protobuf", "grpc", "sse", "jwt", "msgpack",
    "html", "image", "hex",
]  # fmt: skip

_MESSAGES: Final = 4 * TOKENS
"""Bytes of a page of messages."""


@tool("Read a body", Hints(reads=True))
async def proxy_read_body(
    call: Call,
    exchange: arg.Exchange = None,
    side: Annotated[Literal["request", "response"], Field(description="Whose body")] = "response",
    path: Annotated[str | None, Field(description="Such as /data/*[id=p_1]/price, or a JSONPath")] = None,
    grep: Annotated[str | None, Field(description="Text to find, or /regex/")] = None,
    offset: Annotated[int | None, Field(ge=0, description="Where to begin")] = None,
    length: Annotated[int, Field(ge=1, le=20_000, description="Characters to give")] = LENGTH,
    view: Annotated[_Asked, Field(description="shape: keys and types")] = "auto",
    output_file: Annotated[str | None, Field(description="Write it whole to this new file")] = None,
    session_id: Annotated[str | None, arg.hidden()] = None,
    seq: Annotated[int | None, arg.hidden()] = None,
) -> BodyPart:
    """Read one body, decoded, or a part of it. Big JSON comes as shape and first element; then ask with `path`.
    `grep` says where a text is.
    """
    found, number = await arg.one_exchange(call, exchange=exchange, session_id=session_id, seq=seq)
    library = call.service.library
    if output_file is not None:
        if call.settings.read_only:
            raise UsageError("this server writes no files: it only reads", hint="leave output_file out")
        target = output_path(call.service.root, call.settings, output_file, stem="body", suffix="")
        written = await library.ask(found, lambda s: body_file(s, number, side, target))
        return BodyPart(**msgspec.structs.asdict(written))
    chosen = None if view in {"auto", "shape"} else cast("View", view)
    wanted = Wanted(path=path, grep=grep, shape=view == "shape", view=chosen, offset=offset, length=length)
    return await library.ask(found, lambda s: read_body(s, number, side, wanted, veil=call.veil))


@tool("Messages", Hints(reads=True))
async def proxy_messages(
    call: Call,
    exchange: arg.Exchange = None,
    session_id: arg.SomeSession = None,
    filter: Annotated[str | None, Field(description="Which exchanges, such as ~d host")] = None,  # noqa: A002
    limit: Annotated[int, Field(ge=1, le=500, description="At most")] = 50,
    length: Annotated[int, Field(ge=1, le=20_000, description="Characters of each")] = LENGTH_OF_MESSAGE,
    cursor: arg.Cursor = None,
    seq: Annotated[int | None, arg.hidden()] = None,
) -> Messages:
    """List messages of WebSockets, event streams and gRPC, oldest first, of a session or of one exchange. Streams of
    LLMs: proxy_llm_calls.
    """
    number = None
    if exchange is not None or seq is not None:
        found, number = await arg.one_exchange(call, exchange=exchange, session_id=session_id, seq=seq)
    else:
        found = await arg.session_or_live(call, session_id)
    wanted = Filter(expression=filter) if filter is not None else None
    while True:
        asked = MessagesWanted(seq=number, exchanges=wanted, limit=limit, length=length, cursor=cursor)
        answer = await call.service.library.ask(found, partial(messages, wanted=asked, veil=call.veil))
        if number is not None and cursor is None:
            one_of(answer, number)
        size = size_of(answer)
        if size <= _MESSAGES or limit == 1:
            return answer
        limit = max(1, min(limit - 1, answer.returned * _MESSAGES // (size + 500)))


@tool("Calls of language models", Hints(reads=True))
async def proxy_llm_calls(
    call: Call,
    exchange: Annotated[str | None, Field(description="One call: its conversation")] = None,
    session_id: arg.SomeSession = None,
    filter: Annotated[str | None, Field(description="Which exchanges, such as ~d host")] = None,  # noqa: A002
    limit: Annotated[int, Field(ge=1, le=200, description="At most")] = 50,
    cursor: arg.Cursor = None,
    seq: Annotated[int | None, arg.hidden()] = None,
) -> LlmCall | LlmCalls:
    """LLM calls (OpenAI, Anthropic, Gemini, Ollama, Bedrock), streamed or not: tokens, time to first token, text, tool
    calls. No costs.
    """
    library = call.service.library
    if exchange is not None or seq is not None:
        found, number = await arg.one_exchange(call, exchange=exchange, session_id=session_id, seq=seq)
        return await library.ask(found, lambda s: llm_call(s, number, veil=call.veil))
    found = await arg.session_or_live(call, session_id)
    wanted = Filter(expression=filter) if filter is not None else None
    return await library.ask(found, lambda s: llm_calls(s, wanted, limit=limit, cursor=cursor, veil=call.veil))
