"""Calls of language models: text, tool calls, tokens and the time to the first of them, whichever API it was."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from harness.logs import Recording, new_session
from tests.session.answers.test_read_body import Hiding
from wiretape.errors import NotFoundError
from wiretape.log.format import BodyChunk, FrameType
from wiretape.model import Filter, to_json
from wiretape.session.answers.llm import llm_call, llm_calls
from wiretape.session.answers.read_body import Wanted, read_body
from wiretape.session.catalogue import Catalogue
from wiretape.session.session import Session

MS = 1_000_000
SSE = "Content-Type: text/event-stream; charset=utf-8\r\n"
JSON = "Content-Type: application/json\r\n"
ANSWER = "For a wet autumn in Berlin I would pick the Alpine Parka."
ARGUMENTS = '{"productId":"p_0151","quantity":1}'
OUTPUT = {"text": ANSWER, "toolCalls": [{"name": "add_to_cart", "arguments": ARGUMENTS, "id": "call_1"}]}
ASKED = [
    {"role": "system", "content": "You are a shop assistant. " * 20},
    {"role": "user", "content": "What do I wear?"},
]
TOOL = {"name": "add_to_cart", "description": "x", "parameters": {"type": "object"}}
PIECES = [ANSWER[at : at + 12] for at in range(0, len(ANSWER), 12)]
HALVES = [ARGUMENTS[:9], ARGUMENTS[9:]]


def events(*values: Any, named: bool = False) -> list[bytes]:
    lines = []
    for value in values:
        event = f"event: {value['type']}\n" if named else ""
        lines.append(f"{event}data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode())
    return lines


def amazon(kind: str, value: Any) -> bytes:
    header = b"".join(
        bytes([len(name)]) + name + b"\x07" + len(text).to_bytes(2, "big") + text
        for name, text in ((b":event-type", kind.encode()), (b":message-type", b"event"))
    )
    payload = json.dumps(value).encode()
    prelude = struct.pack(">II", 16 + len(header) + len(payload), len(header))
    head = prelude + struct.pack(">I", zlib.crc32(prelude)) + header + payload
    return head + struct.pack(">I", zlib.crc32(head))


def chat_stream() -> list[bytes]:
    base = {"id": "x", "model": "gpt-shop-2026-08-01", "usage": None}

    def delta(finish: str | None = None, **given: Any) -> dict[str, Any]:
        return {**base, "choices": [{"index": 0, "delta": given, "finish_reason": finish}]}

    named = {"index": 0, "id": "call_1", "function": {"name": "add_to_cart", "arguments": ""}}
    usage = {"prompt_tokens": 812, "completion_tokens": 68, "prompt_tokens_details": {"cached_tokens": 640}}
    return events(
        delta(role="assistant", content=""),
        *[delta(content=piece) for piece in PIECES],
        delta(tool_calls=[named]),
        *[delta(tool_calls=[{"index": 0, "function": {"arguments": half}}]) for half in HALVES],
        delta(finish="tool_calls"),
        {**base, "choices": [], "usage": {**usage, "completion_tokens_details": {"reasoning_tokens": 0}}},
        "[DONE]",
    )


def responses_stream() -> list[bytes]:
    usage = {"input_tokens": 812, "input_tokens_details": {"cached_tokens": 640}, "output_tokens": 68}
    call = {"type": "function_call", "call_id": "call_1", "name": "add_to_cart"}
    done = {"model": "gpt-shop-2026-08-01", "status": "completed", "usage": usage, "output": []}
    return events(
        {"type": "response.created", "response": {"model": "gpt-shop", "status": "in_progress"}},
        *[{"type": "response.output_text.delta", "output_index": 0, "delta": piece} for piece in PIECES],
        {"type": "response.output_item.added", "output_index": 1, "item": call},
        *[{"type": "response.function_call_arguments.delta", "output_index": 1, "delta": half} for half in HALVES],
        {"type": "response.completed", "response": done},
        named=True,
    )


def anthropic_events() -> list[dict[str, Any]]:
    usage = {"input_tokens": 172, "cache_read_input_tokens": 640, "output_tokens": 1}
    use = {"type": "tool_use", "id": "call_1", "name": "add_to_cart", "input": {}}
    return [
        {"type": "message_start", "message": {"model": "claude-shop-1", "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *[{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": p}} for p in PIECES],
        {"type": "content_block_start", "index": 1, "content_block": use},
        *[
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": half}}
            for half in HALVES
        ],
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 68}},
        {"type": "message_stop"},
    ]


def gemini_pieces() -> list[dict[str, Any]]:
    def piece(*parts: Any, **more: Any) -> dict[str, Any]:
        return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, **more}]}

    call = {"functionCall": {"id": "call_1", "name": "add_to_cart", "args": json.loads(ARGUMENTS)}}
    usage = {"promptTokenCount": 812, "cachedContentTokenCount": 640, "candidatesTokenCount": 68}
    return [
        *[piece({"text": text}) for text in PIECES],
        piece(call, finishReason="STOP") | {"usageMetadata": usage, "modelVersion": "gemini-shop-1"},
    ]


GEMINI = {
    "systemInstruction": {"parts": [{"text": "You are a shop assistant. " * 20}]},
    "contents": [{"role": "user", "parts": [{"text": "What do I wear?"}]}],
    "tools": [{"functionDeclarations": [TOOL]}],
}
OPENAI = {"model": "gpt-shop", "messages": ASKED, "tools": [{"type": "function", "function": TOOL}]}
RESPONSES = {"model": "gpt-shop", "instructions": ASKED[0]["content"], "input": "What do I wear?", "tools": [TOOL]}
ANTHROPIC = {
    "model": "claude-shop",
    "max_tokens": 9,
    "system": ASKED[0]["content"],
    "messages": ASKED[1:],
    "tools": [TOOL],
}
OLLAMA = {"model": "llama-shop", "messages": ASKED, "tools": [{"type": "function", "function": TOOL}]}
CONVERSE = {
    "system": [{"text": ASKED[0]["content"]}],
    "messages": [{"role": "user", "content": [{"text": "What do I wear?"}]}],
    "toolConfig": {"tools": [{"toolSpec": {"name": "add_to_cart"}}]},
}
CONVERSED = [
    amazon("messageStart", {"role": "assistant"}),
    *[amazon("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}}) for piece in PIECES],
    amazon(
        "contentBlockStart",
        {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "call_1", "name": "add_to_cart"}}},
    ),
    *[amazon("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": half}}}) for half in HALVES],
    amazon("messageStop", {"stopReason": "tool_use"}),
    amazon("metadata", {"usage": {"inputTokens": 812, "outputTokens": 68, "cacheReadInputTokens": 640}}),
]
MODEL = "https://bedrock-runtime.eu-central-1.amazonaws.com/model/anthropic.claude-shop-v1%3A0"
CALLS: dict[str, tuple[str, Any, str, list[bytes]]] = {
    "openai.chat streamed": (
        "https://api.openai.com/v1/chat/completions",
        OPENAI | {"stream": True},
        SSE,
        chat_stream(),
    ),
    "openai.chat": (
        "https://api.openai.com/v1/chat/completions",
        OPENAI,
        JSON,
        [
            json.dumps(
                {
                    "model": "gpt-shop-2026-08-01",
                    "choices": [
                        {
                            "finish_reason": "tool_calls",
                            "message": {
                                "content": ANSWER,
                                "tool_calls": [
                                    {"id": "call_1", "function": {"name": "add_to_cart", "arguments": ARGUMENTS}}
                                ],
                            },
                        }
                    ],
                    "usage": {
                        "prompt_tokens": 812,
                        "completion_tokens": 68,
                        "prompt_tokens_details": {"cached_tokens": 640},
                    },
                }
            ).encode()
        ],
    ),
    "openai.responses streamed": ("https://api.openai.com/v1/responses", RESPONSES, SSE, responses_stream()),
    "openai.responses": (
        "https://api.openai.com/v1/responses",
        RESPONSES,
        JSON,
        [
            json.dumps(
                {
                    "model": "gpt-shop",
                    "status": "completed",
                    "output": [
                        {"type": "message", "content": [{"type": "output_text", "text": ANSWER}]},
                        {"type": "function_call", "call_id": "call_1", "name": "add_to_cart", "arguments": ARGUMENTS},
                    ],
                    "usage": {
                        "input_tokens": 812,
                        "input_tokens_details": {"cached_tokens": 640},
                        "output_tokens": 68,
                    },
                }
            ).encode()
        ],
    ),
    "anthropic.messages streamed": (
        "https://api.anthropic.com/v1/messages?beta=true",
        ANTHROPIC,
        SSE,
        events(*anthropic_events(), named=True),
    ),
    "anthropic.messages": (
        "https://api.anthropic.com/v1/messages",
        ANTHROPIC,
        JSON,
        [
            json.dumps(
                {
                    "model": "claude-shop-1",
                    "stop_reason": "tool_use",
                    "content": [
                        {"type": "text", "text": ANSWER},
                        {"type": "tool_use", "id": "call_1", "name": "add_to_cart", "input": json.loads(ARGUMENTS)},
                    ],
                    "usage": {"input_tokens": 172, "cache_read_input_tokens": 640, "output_tokens": 68},
                }
            ).encode()
        ],
    ),
    "gemini streamed": (
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-shop:streamGenerateContent?alt=sse",
        GEMINI,
        SSE,
        events(*gemini_pieces()),
    ),
    "gemini": (
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-shop:generateContent",
        GEMINI,
        JSON,
        [json.dumps(gemini_pieces()).encode()],
    ),
    "ollama streamed": (
        "http://localhost:11434/api/chat",
        OLLAMA,
        "Content-Type: application/x-ndjson\r\n",
        [
            *[
                json.dumps({"model": "llama-shop", "message": {"content": p}, "done": False}).encode() + b"\n"
                for p in PIECES
            ],
            json.dumps(
                {
                    "model": "llama-shop",
                    "message": {
                        "content": "",
                        "tool_calls": [{"function": {"name": "add_to_cart", "arguments": json.loads(ARGUMENTS)}}],
                    },
                    "done": True,
                    "done_reason": "stop",
                    "prompt_eval_count": 812,
                    "eval_count": 68,
                }
            ).encode()
            + b"\n",
        ],
    ),
    "bedrock.converse streamed": (
        f"{MODEL}/converse-stream",
        CONVERSE,
        "Content-Type: application/vnd.amazon.eventstream\r\n",
        CONVERSED,
    ),
    "bedrock.converse": (
        f"{MODEL}/converse",
        CONVERSE,
        JSON,
        [
            json.dumps(
                {
                    "output": {
                        "message": {
                            "content": [
                                {"text": ANSWER},
                                {
                                    "toolUse": {
                                        "toolUseId": "call_1",
                                        "name": "add_to_cart",
                                        "input": json.loads(ARGUMENTS),
                                    }
                                },
                            ]
                        }
                    },
                    "stopReason": "tool_use",
                    "usage": {"inputTokens": 812, "outputTokens": 68, "cacheReadInputTokens": 640},
                }
            ).encode()
        ],
    ),
    "bedrock.invoke streamed": (
        f"{MODEL}/invoke-with-response-stream",
        {key: value for key, value in ANTHROPIC.items() if key != "model"}
        | {"anthropic_version": "bedrock-2023-05-31"},
        "Content-Type: application/vnd.amazon.eventstream\r\n",
        [amazon("chunk", {"bytes": base64.b64encode(json.dumps(one).encode()).decode()}) for one in anthropic_events()],
    ),
}
SEQS = {name: seq for seq, name in enumerate(CALLS, 1)}
LAST = len(CALLS)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    recording = Recording(new_session(tmp_path_factory.mktemp("llm"), "shop"))

    def record(url: str, request: Any, headers: str, pieces: list[bytes], **more: Any) -> None:
        body = json.dumps(request).encode()
        seq = recording.open(url, method="POST", headers=JSON, body=body)
        recording.head(seq, status=more.get("status", 200), headers=headers)
        at = 0
        for number, piece in enumerate(pieces):
            record = BodyChunk(at, (number + 3) * MS)
            recording.writer.append(FrameType.RESPONSE_BODY, seq, record, piece)
            at += len(piece)
        recording.writer.flush()
        recording.done(seq, b"".join(pieces), inline=False, request=body, **more)

    for url, request, headers, pieces in CALLS.values():
        record(url, request, headers, pieces)
    record("https://chat.example/rooms/7/messages", {"text": "no call"}, JSON, [b"{}"])
    record(
        "https://api.openai.com/v1/chat/completions", OPENAI, JSON, [b'{"error":{"message":"slow down"}}'], status=429
    )
    stream = b"".join(chat_stream())
    record("https://api.openai.com/v1/chat/completions", OPENAI, SSE, [stream[:700]], size=len(stream))
    asked = {
        "model": "m",
        "messages": [{"role": "user", "content": f"my token is opensesame-12345 {n}"} for n in range(40)],
    }
    said = [{"message": {"content": "it was opensesame-12345"}}]
    record("https://api.openai.com/v1/chat/completions", asked, JSON, [json.dumps({"choices": said}).encode()])
    record("https://api.openai.com/v1/chat/completions", OPENAI, JSON, [b"[" * 100_000])
    recording.close()
    with Catalogue(recording.session.path.parent.parent).open("shop") as opened:
        yield opened


def ask(session: Session, seq: int, **how: Any) -> dict[str, Any]:
    found: dict[str, Any] = to_json(llm_call(session, seq, **how))
    return found


@pytest.mark.parametrize("name", CALLS)
def test_every_api_gives_the_same_text_tool_call_and_tokens(session: Session, name: str) -> None:
    found = ask(session, SEQS[name])
    api, _, streamed = name.partition(" ")
    assert found["api"] == api
    assert found.get("stream", False) == bool(streamed)
    expected = OUTPUT if api != "ollama" else {**OUTPUT, "toolCalls": [{"name": "add_to_cart", "arguments": ARGUMENTS}]}
    assert found["output"] == expected
    counts = found["usage"]
    assert (counts["input"], counts["output"]) == (812, 68)
    assert counts.get("cached") == (None if api == "ollama" else 640)
    assert found["tools"] == ["add_to_cart"]
    assert "shop" in found["model"]
    assert found["finish"] in {"tool_calls", "completed", "tool_use", "STOP", "stop"}
    assert [(one["role"], one["chars"]) for one in found["messages"]] == [("system", 520), ("user", 15)]
    assert found["complete"] is True


@pytest.mark.parametrize("name", [name for name in CALLS if name.endswith("streamed")])
def test_the_first_token_came_when_the_piece_came_that_ends_its_event(session: Session, name: str) -> None:
    found = ask(session, SEQS[name])
    pieces = CALLS[name][3]
    first = 2 if "invoke" in name else next(at for at, piece in enumerate(pieces) if b"For a wet" in piece)
    assert found["ms"]["firstToken"] == first + 3
    assert found["events"] == len(pieces) - (1 if "chat streamed" in name and "openai" in name else 0)


def test_one_call_costs_216_tokens_to_read(session: Session) -> None:
    found = ask(session, SEQS["openai.chat streamed"])
    assert len(json.dumps(found, separators=(",", ":"))) / 4 < 216 * 1.3


def test_a_session_is_a_row_a_call_with_totals(session: Session) -> None:
    found = to_json(llm_calls(session))
    assert found["calls"]["columns"] == [
        "seq",
        "api",
        "model",
        "in",
        "cached",
        "out",
        "ms",
        "ttftMs",
        "finish",
        "tools",
    ]
    assert found["calls"]["rows"][0] == [
        1, "openai.chat", "gpt-shop-2026-08-01", 812, 640, 68, 12, 4, "tool_calls", "add_to_cart",
    ]  # fmt: skip
    assert [row[0] for row in found["calls"]["rows"]] == [*range(1, LAST + 1), *range(LAST + 2, LAST + 6)]
    assert found["totals"]["output"] == 68 * LAST
    assert found["calls"]["rows"][LAST][8] == "status 429"
    assert not found["complete"]
    assert f"{LAST + 3}: Only the first 700 of" in found["missing"]


def test_a_filter_and_a_limit_choose(session: Session) -> None:
    found = llm_calls(session, Filter(expression="~d anthropic.com"))
    assert [row[1] for row in found.calls.rows] == ["anthropic.messages"] * 2
    first = llm_calls(session, limit=2)
    assert first.returned == 2
    assert first.next_cursor is not None
    following = llm_calls(session, limit=2, cursor=first.next_cursor)
    assert [row[0] for row in following.calls.rows] == [3, 4]


def test_an_error_stands_where_the_answer_would(session: Session) -> None:
    found = ask(session, LAST + 2)
    assert (found["statusCode"], found["error"]) == (429, "slow down")
    assert "output" not in found


def test_p11_of_a_cut_stream_what_came_is_shown_and_what_is_missing_said(session: Session) -> None:
    found = ask(session, LAST + 3)
    assert found["complete"] is False
    assert found["missing"].startswith("Only the first 700 of")
    assert ANSWER.startswith(found["output"]["text"])


def test_p18_the_veil_sees_whole_texts_and_long_conversations_are_cut(session: Session) -> None:
    found = ask(session, LAST + 4, veil=Hiding())
    assert "opensesame" not in json.dumps(found)
    assert found["output"]["text"] == "it was {{token:2}}"
    assert (len(found["messages"]), found["messagesLeft"]) == (12, 28)
    whole = ask(session, LAST + 4, whole=True)
    assert len(whole["messages"]) == 40
    assert "next" not in whole


def test_where_a_message_is_cut_the_call_that_gives_it_whole_is_named(session: Session) -> None:
    seq = SEQS["openai.chat streamed"]
    found = ask(session, seq)
    assert len(found["messages"][0]["text"]) == 101
    tool, _, arguments = found["next"].partition(" ")
    assert tool == "proxy_read_body"
    wanted = json.loads(arguments)
    assert wanted == {"exchange": f"shop:{seq}", "side": "request"}
    assert read_body(session, seq, wanted["side"], Wanted()).value["messages"] == ASKED


def test_what_is_no_call_is_told_and_nonsense_is_survived(session: Session) -> None:
    with pytest.raises(NotFoundError, match="not a call of a language model"):
        llm_call(session, LAST + 1)
    found = ask(session, LAST + 5)
    assert "nested deeper" in found["missing"]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("value", [None, 7, "x", [], [[]], {"a": None}])
def test_any_api_survives_any_value_anywhere(name: str, value: Any) -> None:
    from wiretape.views.llm.call import Answer, Event
    from wiretape.views.llm.read import api_of

    url, request, _, _ = CALLS[name]
    api = api_of(url, request)
    assert api is not None
    for key in request:
        broken = {**request, key: value}
        assert isinstance(api.asked(broken), list)
        assert all(isinstance(tool, str) for tool in api.tools(broken))
    answer = Answer()
    keys = [
        "choices",
        "output",
        "content",
        "usage",
        "message",
        "delta",
        "candidates",
        "error",
        "response",
        "index",
        "bytes",
    ]
    for key in keys:
        inner = {key: value, "type": "content_block_delta"}
        api.whole(inner, answer)
        api.whole(value, answer)
        for kind in ("content_block_start", "message_delta", "contentBlockDelta", "response.completed", "metadata", ""):
            api.event(Event(kind, {**inner, "type": kind}, 1), answer)
            api.event(Event(kind, value, 1), answer)
    assert all(isinstance(text, str) for text in answer.text)
