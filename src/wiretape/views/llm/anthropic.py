"""Anthropic's messages: https://docs.anthropic.com/en/api/messages and ``messages-streaming``."""

from __future__ import annotations

import json
from typing import Any

from wiretape.views.llm.call import Answer, Event, Said, mapping, names, objects, text_of


class Messages:
    """Reads requests and answers."""

    name = "anthropic.messages"

    def asked(self, request: dict[str, Any]) -> list[Said]:
        """Return the messages that were sent."""
        found = [Said("system", text_of(request["system"]))] if request.get("system") else []
        listed = objects(request.get("messages"))
        return found + [Said(str(one.get("role")), text_of(one.get("content"))) for one in listed]

    def tools(self, request: dict[str, Any]) -> list[str]:
        """Return the names of the tools that were offered."""
        return names([one.get("name") for one in objects(request.get("tools"))])

    def whole(self, value: Any, answer: Answer) -> None:
        """Take an answer that came as one document."""
        message = mapping(value)
        answer.note_model(message.get("model"))
        for number, block in enumerate(objects(message.get("content"))):
            self._block(number, block, answer, -1)
        answer.note_finish(message.get("stop_reason"))
        self._usage(mapping(message.get("usage")), answer)

    def _block(self, number: int, block: dict[str, Any], answer: Answer, at: int) -> None:
        if block.get("type") == "text":
            answer.say(block.get("text"), at)
        elif block.get("type") == "thinking":
            answer.think(block.get("thinking"), at)
        elif block.get("type") in {"tool_use", "server_tool_use"}:
            given = block.get("input")
            arguments = json.dumps(given, ensure_ascii=False, separators=(",", ":")) if given else None
            answer.call(number, at=at, ident=block.get("id"), name=block.get("name"), arguments=arguments)

    def event(self, event: Event, answer: Answer) -> None:
        """Take an event, by its type."""
        value, at = mapping(event.value), event.elapsed_ns
        kind = value.get("type", event.kind)
        number = value.get("index")
        number = number if isinstance(number, int) else 0
        if kind == "message_start":
            message = mapping(value.get("message"))
            answer.note_model(message.get("model"))
            self._usage(mapping(message.get("usage")), answer)
        elif kind == "content_block_start":
            self._block(number, mapping(value.get("content_block")), answer, at)
        elif kind == "content_block_delta":
            delta = mapping(value.get("delta"))
            answer.say(delta.get("text"), at)
            answer.think(delta.get("thinking"), at)
            if isinstance(delta.get("partial_json"), str):
                answer.call(number, at=at, arguments=delta["partial_json"])
        elif kind == "message_delta":
            answer.note_finish(mapping(value.get("delta")).get("stop_reason"))
            self._usage(mapping(value.get("usage")), answer)
        elif kind == "error":
            answer.error = str(mapping(value.get("error")).get("message"))

    @staticmethod
    def _usage(usage: dict[str, Any], answer: Answer) -> None:
        """Take the counts: what came from the cache or went into it is counted beside ``input_tokens``."""
        counts = [usage.get(f"{name}input_tokens") for name in ("", "cache_read_", "cache_creation_")]
        numbers = [count for count in counts if isinstance(count, int)]
        answer.usage.take(
            input=sum(numbers) if isinstance(counts[0], int) else None,
            cached=counts[1],
            output=usage.get("output_tokens"),
        )
