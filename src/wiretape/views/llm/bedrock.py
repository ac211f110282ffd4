"""Amazon Bedrock: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html"""

from __future__ import annotations

import json
from typing import Any

from wiretape.views.llm.anthropic import Messages
from wiretape.views.llm.call import Answer, Event, Said, mapping, names, objects, text_of


class Converse:
    """``Converse`` and ``ConverseStream``."""

    name = "bedrock.converse"

    def asked(self, request: dict[str, Any]) -> list[Said]:
        """Return the messages that were sent."""
        found = [Said("system", text_of(request["system"]))] if request.get("system") else []
        listed = objects(request.get("messages"))
        return found + [Said(str(one.get("role")), text_of(one.get("content"))) for one in listed]

    def tools(self, request: dict[str, Any]) -> list[str]:
        """Return the names of the tools that were offered."""
        listed = objects(mapping(request.get("toolConfig")).get("tools"))
        return names([mapping(one.get("toolSpec")).get("name") for one in listed])

    def whole(self, value: Any, answer: Answer) -> None:
        """Take an answer that came as one document."""
        document = mapping(value)
        message = mapping(mapping(document.get("output")).get("message"))
        for number, block in enumerate(objects(message.get("content"))):
            answer.say(block.get("text"))
            answer.think(mapping(mapping(block.get("reasoningContent")).get("reasoningText")).get("text"))
            use = mapping(block.get("toolUse"))
            if use:
                given = json.dumps(use.get("input"), ensure_ascii=False, separators=(",", ":"))
                answer.call(number, ident=use.get("toolUseId"), name=use.get("name"), arguments=given)
        answer.note_finish(document.get("stopReason"))
        self._usage(mapping(document.get("usage")), answer)

    def event(self, event: Event, answer: Answer) -> None:
        """Take an event, by its type."""
        value, at = mapping(event.value), event.elapsed_ns
        number = value.get("contentBlockIndex")
        number = number if isinstance(number, int) else 0
        if event.kind == "contentBlockStart":
            use = mapping(mapping(value.get("start")).get("toolUse"))
            if use:
                answer.call(number, at=at, ident=use.get("toolUseId"), name=use.get("name"))
        elif event.kind == "contentBlockDelta":
            delta = mapping(value.get("delta"))
            answer.say(delta.get("text"), at)
            answer.think(mapping(delta.get("reasoningContent")).get("text"), at)
            use = mapping(delta.get("toolUse"))
            if use:
                answer.call(number, at=at, arguments=use.get("input"))
        elif event.kind == "messageStop":
            answer.note_finish(value.get("stopReason"))
        elif event.kind == "metadata":
            self._usage(mapping(value.get("usage")), answer)
        elif event.kind.endswith("Exception"):
            answer.error = str(value.get("message"))

    @staticmethod
    def _usage(usage: dict[str, Any], answer: Answer) -> None:
        answer.usage.take(
            input=usage.get("inputTokens"), output=usage.get("outputTokens"), cached=usage.get("cacheReadInputTokens")
        )


class Invoke(Messages):
    """``InvokeModel`` and its stream: in its maker's form, of which Anthropic's and plain text are read."""

    name = "bedrock.invoke"

    def asked(self, request: dict[str, Any]) -> list[Said]:
        """Return the messages that were sent."""
        for key in ("prompt", "inputText"):
            if isinstance(request.get(key), str):
                return [Said("user", request[key])]
        return super().asked(request)

    def whole(self, value: Any, answer: Answer) -> None:
        """Take an answer that came as one document."""
        document = mapping(value)
        if "content" in document:
            super().whole(document, answer)
        else:
            self._plain(document, answer, -1)

    def event(self, event: Event, answer: Answer) -> None:
        """Take a chunk."""
        value = mapping(event.value)
        if isinstance(value.get("type"), str):
            super().event(event, answer)
        else:
            self._plain(value, answer, event.elapsed_ns)
        metrics = mapping(value.get("amazon-bedrock-invocationMetrics"))
        answer.usage.take(input=metrics.get("inputTokenCount"), output=metrics.get("outputTokenCount"))

    @staticmethod
    def _plain(value: dict[str, Any], answer: Answer, at: int) -> None:
        """Take what Llama, Titan and Mistral say."""
        results = [*objects(value.get("results")), *objects(value.get("outputs"))]
        for one in [value, *results]:
            for key in ("generation", "outputText", "text"):
                answer.say(one.get(key), at)
            answer.note_finish(one.get("stop_reason") or one.get("completionReason"))
        answer.usage.take(
            input=value.get("prompt_token_count", value.get("inputTextTokenCount")),
            output=value.get("generation_token_count", value.get("totalOutputTextTokenCount")),
        )
