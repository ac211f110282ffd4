"""Which API a call was made with, and its answer put together."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final
from urllib.parse import unquote

from wiretape.views.choose import media_type
from wiretape.views.eventstream import stream_messages
from wiretape.views.json_text import read_json
from wiretape.views.limits import ViewError
from wiretape.views.llm.anthropic import Messages
from wiretape.views.llm.bedrock import Converse, Invoke
from wiretape.views.llm.call import Answer, Api, Event, mapping
from wiretape.views.llm.gemini import Gemini
from wiretape.views.llm.ollama import Ollama
from wiretape.views.llm.openai import Chat, Responses
from wiretape.views.sse import server_events

PATHS: Final = (
    r"/(chat/completions|completions|responses|messages|api/chat|api/generate"
    r"|converse(-stream)?|invoke(-with-response-stream)?)([?]|$)|:(streamG|g)enerateContent"
)
"""A regular expression that the URL of every call that is known here matches."""
_MODEL_IN_PATH: Final = re.compile(r"/models?/([^/:?]+(?::[0-9]+)?)[/:]|/deployments/([^/?]+)/")
_LINES: Final = frozenset({"application/x-ndjson", "application/jsonl", "application/ndjson"})
MAX_EVENTS: Final = 100_000


def api_of(url: str, request: Any) -> Api | None:
    """Return how a request to this URL is read; None where it is no call of a language model."""
    path = url.partition("?")[0]
    body = mapping(request)
    last = path.rpartition("/")[2]
    if last.endswith((":generateContent", ":streamGenerateContent")):
        return Gemini() if "contents" in body else None
    if path.endswith("/chat/completions"):
        return Chat() if "messages" in body else None
    if "/model/" in path and last in {"converse", "converse-stream"}:
        return Converse() if "messages" in body else None
    if "/model/" in path and last in {"invoke", "invoke-with-response-stream"}:
        return Invoke() if body.keys() & {"messages", "prompt", "inputText"} else None
    if path.endswith(("/api/chat", "/api/generate")):
        return Ollama() if "model" in body and body.keys() & {"messages", "prompt"} else None
    if "model" not in body:
        return None
    if last == "responses":
        return Responses() if body.keys() & {"input", "previous_response_id"} else None
    if last == "messages":
        return Messages() if "messages" in body and "max_tokens" in body else None
    return Chat() if last == "completions" and "prompt" in body else None


def model_in(url: str, request: dict[str, Any]) -> str | None:
    """Return the model that a request asks for."""
    named = request.get("model") or request.get("modelId")
    if isinstance(named, str):
        return named
    found = _MODEL_IN_PATH.search(unquote(url.partition("?")[0]))
    return (found[1] or found[2]) if found else None


def events_of(api: Api, content_type: str | None, data: bytes) -> list[tuple[int, Event]] | None:
    """Return the events of a streamed answer, each with where in the body it ends; None where it is no stream."""
    kind = media_type(content_type)
    if kind == "text/event-stream":
        return _server_sent(data)
    if kind == "application/vnd.amazon.eventstream":
        return _amazon(data)
    if kind in _LINES or (isinstance(api, Ollama) and b"\n" in data.strip()):
        return _lines(data)
    return None


def _server_sent(data: bytes) -> list[tuple[int, Event]]:
    found: list[tuple[int, Event]] = []
    for one in server_events(data):
        if len(found) >= MAX_EVENTS:
            break
        if one.data.strip() == "[DONE]":
            continue
        found.append((one.end, Event(one.event, _value(one.data), -1)))
    return found


def _lines(data: bytes) -> list[tuple[int, Event]]:
    found, at = [], 0
    for line in data.split(b"\n", MAX_EVENTS):
        at += len(line) + 1
        if line.strip():
            found.append((min(at, len(data)), Event("", _value(line), -1)))
    return found


def _amazon(data: bytes) -> list[tuple[int, Event]]:
    found: list[tuple[int, Event]] = []
    for one in stream_messages(data):
        if len(found) >= MAX_EVENTS:
            break
        value = _value(one.payload)
        packed = mapping(value).get("bytes")
        if isinstance(packed, str):  # a chunk of InvokeModelWithResponseStream
            try:
                value = _value(base64.b64decode(packed))
            except (binascii.Error, ValueError):
                value = None
        kind = one.headers.get(":event-type") or one.headers.get(":exception-type", "")
        found.append((one.end, Event(kind, value, -1)))
    return found


def _value(text: bytes | str) -> Any:
    try:
        return read_json(text)
    except ViewError:
        return None


def put_together(api: Api, value: Any, events: list[Event] | None) -> Answer:
    """Return the answer that a document, or the events of a stream, make."""
    answer = Answer()
    if events is None:
        api.whole(value, answer)
        listed = [value]
    else:
        for one in events:
            api.event(one, answer)
        listed = [one.value for one in events[-3:]]
    for one in listed:
        error = mapping(one).get("error")
        message = mapping(error).get("message") if isinstance(error, dict) else error
        if answer.error is None and isinstance(message, str):
            answer.error = message
    return answer
