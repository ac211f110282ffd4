"""Gemini: https://ai.google.dev/api/generate-content"""

from __future__ import annotations

import json
from typing import Any

from wiretape.views.llm.call import Answer, Event, Said, mapping, names, objects, text_of


class Gemini:
    """Reads requests and answers; a streamed answer is many whole ones."""

    name = "gemini"

    def asked(self, request: dict[str, Any]) -> list[Said]:
        """Return the messages that were sent."""
        system = mapping(request.get("systemInstruction", request.get("system_instruction")))
        found = [Said("system", text_of(system.get("parts")))] if system else []
        listed = objects(request.get("contents"))
        return found + [Said(str(one.get("role", "user")), text_of(one.get("parts"))) for one in listed]

    def tools(self, request: dict[str, Any]) -> list[str]:
        """Return the names of the tools that were offered."""
        found: list[Any] = []
        for one in objects(request.get("tools")):
            declared = one.get("functionDeclarations", one.get("function_declarations"))
            found += [tool.get("name") for tool in objects(declared)] if declared else list(one)[:1]
        return names(found)

    def whole(self, value: Any, answer: Answer) -> None:
        """Take an answer that came as one document, or as a list of its pieces."""
        for piece in objects(value) if isinstance(value, list) else [mapping(value)]:
            self._take(piece, answer, -1)

    def event(self, event: Event, answer: Answer) -> None:
        """Take a piece."""
        self._take(mapping(event.value), answer, event.elapsed_ns)

    def _take(self, value: dict[str, Any], answer: Answer, at: int) -> None:
        answer.note_model(value.get("modelVersion"))
        for candidate in objects(value.get("candidates"))[:1]:
            for part in objects(mapping(candidate.get("content")).get("parts")):
                if part.get("thought") is True:
                    answer.think(part.get("text"), at)
                else:
                    answer.say(part.get("text"), at)
                call = mapping(part.get("functionCall"))
                if call:
                    given = json.dumps(call.get("args"), ensure_ascii=False, separators=(",", ":"))
                    answer.call(len(answer.calls), at=at, ident=call.get("id"), name=call.get("name"), arguments=given)
            answer.note_finish(candidate.get("finishReason"))
        usage = mapping(value.get("usageMetadata"))
        answer.usage.take(
            input=usage.get("promptTokenCount"),
            cached=usage.get("cachedContentTokenCount"),
            output=usage.get("candidatesTokenCount"),
            reasoning=usage.get("thoughtsTokenCount"),
        )
