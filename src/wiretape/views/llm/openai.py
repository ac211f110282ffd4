"""OpenAI's chat completions and responses, and what is compatible with them."""

from __future__ import annotations

from typing import Any

from wiretape.views.llm.call import Answer, Event, Said, mapping, names, objects, text_of


class Chat:
    """https://platform.openai.com/docs/api-reference/chat"""

    name = "openai.chat"

    def asked(self, request: dict[str, Any]) -> list[Said]:
        """Return the messages that were sent."""
        if "prompt" in request and "messages" not in request:  # the completions before chat
            return [Said("user", text_of(request["prompt"]))]
        found = []
        for one in objects(request.get("messages")):
            calls = [f"[calls {mapping(call.get('function')).get('name')}]" for call in objects(one.get("tool_calls"))]
            found.append(
                Said(str(one.get("role")), "\n".join(part for part in (text_of(one.get("content")), *calls) if part))
            )
        return found

    def tools(self, request: dict[str, Any]) -> list[str]:
        """Return the names of the tools that were offered."""
        return names([mapping(one.get("function")).get("name") for one in objects(request.get("tools"))])

    def whole(self, value: Any, answer: Answer) -> None:
        """Take an answer that came as one document."""
        self._take(mapping(value), "message", answer, -1)

    def event(self, event: Event, answer: Answer) -> None:
        """Take a chunk."""
        self._take(mapping(event.value), "delta", answer, event.elapsed_ns)

    def _take(self, value: dict[str, Any], where: str, answer: Answer, at: int) -> None:
        answer.note_model(value.get("model"))
        for choice in objects(value.get("choices"))[:1]:
            message = mapping(choice.get(where))
            answer.say(message.get("content", choice.get("text")), at)
            answer.think(message.get("reasoning_content") or message.get("reasoning"), at)
            if isinstance(message.get("refusal"), str):
                answer.say(message["refusal"], at)
            for number, call in enumerate(objects(message.get("tool_calls"))):
                function = mapping(call.get("function"))
                answer.call(
                    call.get("index", number) if isinstance(call.get("index", number), int) else number,
                    at=at,
                    ident=call.get("id"),
                    name=function.get("name"),
                    arguments=function.get("arguments"),
                )
            answer.note_finish(choice.get("finish_reason"))
        usage = mapping(value.get("usage"))
        answer.usage.take(
            input=usage.get("prompt_tokens"),
            output=usage.get("completion_tokens"),
            cached=mapping(usage.get("prompt_tokens_details")).get("cached_tokens"),
            reasoning=mapping(usage.get("completion_tokens_details")).get("reasoning_tokens"),
        )


class Responses:
    """https://platform.openai.com/docs/api-reference/responses"""

    name = "openai.responses"

    def asked(self, request: dict[str, Any]) -> list[Said]:
        """Return the messages that were sent."""
        found = [Said("system", text_of(request["instructions"]))] if request.get("instructions") else []
        if isinstance(request.get("input"), str):
            return [*found, Said("user", request["input"])]
        for one in objects(request.get("input")):
            content = one.get("content") if "content" in one else one
            found.append(Said(str(one.get("role") or one.get("type")), text_of(content)))
        return found

    def tools(self, request: dict[str, Any]) -> list[str]:
        """Return the names of the tools that were offered."""
        return names([one.get("name") or one.get("type") for one in objects(request.get("tools"))])

    def whole(self, value: Any, answer: Answer) -> None:
        """Take an answer that came as one document."""
        self._response(mapping(value), answer, with_items=True)

    def _response(self, value: dict[str, Any], answer: Answer, *, with_items: bool) -> None:
        answer.note_model(value.get("model"))
        for number, item in enumerate(objects(value.get("output")) if with_items else []):
            self._item(number, item, answer)
        status = value.get("status")
        answer.note_finish(mapping(value.get("incomplete_details")).get("reason") or status)
        usage = mapping(value.get("usage"))
        answer.usage.take(
            input=usage.get("input_tokens"),
            output=usage.get("output_tokens"),
            cached=mapping(usage.get("input_tokens_details")).get("cached_tokens"),
            reasoning=mapping(usage.get("output_tokens_details")).get("reasoning_tokens"),
        )
        error = mapping(value.get("error"))
        if isinstance(error.get("message"), str):
            answer.error = error["message"]

    def _item(self, number: int, item: dict[str, Any], answer: Answer) -> None:
        if item.get("type") == "message":
            for part in objects(item.get("content")):
                answer.say(part.get("text", part.get("refusal")))
        elif item.get("type") == "function_call":
            ident, name = item.get("call_id", item.get("id")), item.get("name")
            answer.call(number, ident=ident, name=name, arguments=item.get("arguments"))
        elif item.get("type") == "reasoning":
            answer.think(text_of(item.get("summary")))

    def event(self, event: Event, answer: Answer) -> None:
        """Take an event, by its type."""
        value, at = mapping(event.value), event.elapsed_ns
        kind = value.get("type", event.kind)
        key = value.get("output_index")
        key = key if isinstance(key, int) else 0
        if kind in {"response.output_text.delta", "response.refusal.delta"}:
            answer.say(value.get("delta"), at)
        elif kind in {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}:
            answer.think(value.get("delta"), at)
        elif kind == "response.function_call_arguments.delta":
            answer.call(key, at=at, arguments=value.get("delta"))
        elif kind == "response.output_item.added":
            item = mapping(value.get("item"))
            if item.get("type") == "function_call":
                answer.call(key, at=at, ident=item.get("call_id", item.get("id")), name=item.get("name"))
        elif kind in {"response.created", "response.completed", "response.incomplete", "response.failed"}:
            self._response(mapping(value.get("response")), answer, with_items=False)
        elif kind == "error" and isinstance(value.get("message"), str):
            answer.error = value["message"]
