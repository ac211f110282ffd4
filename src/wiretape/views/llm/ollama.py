"""Ollama: https://github.com/ollama/ollama/blob/main/docs/api.md; streams are lines of JSON."""

from __future__ import annotations

import json
from typing import Any

from wiretape.views.llm.call import Answer, Event, Said, mapping, names, objects, text_of


class Ollama:
    """Reads requests and answers of ``/api/chat`` and ``/api/generate``."""

    name = "ollama"

    def asked(self, request: dict[str, Any]) -> list[Said]:
        """Return the messages that were sent."""
        if "prompt" in request:
            found = [Said("system", text_of(request["system"]))] if request.get("system") else []
            return [*found, Said("user", text_of(request["prompt"]))]
        return [Said(str(one.get("role")), text_of(one.get("content"))) for one in objects(request.get("messages"))]

    def tools(self, request: dict[str, Any]) -> list[str]:
        """Return the names of the tools that were offered."""
        return names([mapping(one.get("function")).get("name") for one in objects(request.get("tools"))])

    def whole(self, value: Any, answer: Answer) -> None:
        """Take an answer that came as one document."""
        self.event(Event("", value, -1), answer)

    def event(self, event: Event, answer: Answer) -> None:
        """Take a line."""
        value, at = mapping(event.value), event.elapsed_ns
        message = mapping(value.get("message"))
        answer.note_model(value.get("model"))
        answer.say(message.get("content", value.get("response")), at)
        answer.think(message.get("thinking", value.get("thinking")), at)
        for call in objects(message.get("tool_calls")):
            function = mapping(call.get("function"))
            given = json.dumps(function.get("arguments"), ensure_ascii=False, separators=(",", ":"))
            answer.call(len(answer.calls), at=at, name=function.get("name"), arguments=given)
        if value.get("done") is True:
            answer.note_finish(value.get("done_reason") or "stop")
        if isinstance(value.get("error"), str):
            answer.error = value["error"]
        answer.usage.take(input=value.get("prompt_eval_count"), output=value.get("eval_count"))
