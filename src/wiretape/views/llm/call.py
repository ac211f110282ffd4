"""What a call of a language model is, whichever API it was made with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

MAX_CALLS: Final = 500
"""Tool calls of one answer that are kept."""


class Said(NamedTuple):
    """One message of a conversation."""

    role: str
    text: str


class Event(NamedTuple):
    """One piece of a streamed answer: its type where it has one, its value, and when it came (ns, -1 unknown)."""

    kind: str
    value: Any
    elapsed_ns: int


@dataclass(slots=True)
class Usage:
    """Tokens as the API counts them; None where it does not say. ``cached`` are part of ``input``."""

    input: int | None = None
    cached: int | None = None
    output: int | None = None
    reasoning: int | None = None

    def take(self, **counts: Any) -> None:
        """Take what is told; what is not stays as it is."""
        for name, count in counts.items():
            if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**53:
                setattr(self, name, count)


@dataclass(slots=True)
class Answer:
    """An answer as it is put together from one document or from many events."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: dict[Any, dict[str, str]] = field(default_factory=dict)
    model: str | None = None
    finish: str | None = None
    error: str | None = None
    usage: Usage = field(default_factory=Usage)
    first_ns: int = -1
    """When the first piece of text, reasoning or tool call came."""

    def say(self, text: Any, at: int = -1) -> None:
        """Take a piece of text."""
        if isinstance(text, str) and text:
            self.text.append(text)
            self._began(at)

    def think(self, text: Any, at: int = -1) -> None:
        """Take a piece of reasoning."""
        if isinstance(text, str) and text:
            self.reasoning.append(text)
            self._began(at)

    def call(self, key: Any, *, at: int = -1, ident: Any = None, name: Any = None, arguments: Any = None) -> None:
        """Take a tool call or a piece of one; ``key`` tells it from the others."""
        if key not in self.calls and len(self.calls) >= MAX_CALLS:
            return
        found = self.calls.setdefault(key, {"id": "", "name": "", "arguments": ""})
        found["id"] = ident if isinstance(ident, str) and ident else found["id"]
        found["name"] = name if isinstance(name, str) and name else found["name"]
        if isinstance(arguments, str):
            found["arguments"] += arguments
        self._began(at)

    def note_finish(self, reason: Any) -> None:
        """Take why it ended."""
        if isinstance(reason, str) and reason:
            self.finish = reason

    def note_model(self, model: Any) -> None:
        """Take the model's name."""
        if isinstance(model, str) and model:
            self.model = model

    def _began(self, at: int) -> None:
        if self.first_ns < 0 <= at:
            self.first_ns = at


class Api(Protocol):
    """How one API is read. All of it comes from strangers: anything may be of another type than it should."""

    name: str

    def asked(self, request: dict[str, Any]) -> list[Said]:
        """Return the messages that were sent."""

    def tools(self, request: dict[str, Any]) -> list[str]:
        """Return the names of the tools that were offered."""

    def whole(self, value: Any, answer: Answer) -> None:
        """Take an answer that came as one document."""

    def event(self, event: Event, answer: Answer) -> None:
        """Take a piece of a streamed answer."""


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects in a list; none where it is none."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def mapping(value: Any) -> dict[str, Any]:
    """Return an object; an empty one where it is none."""
    return value if isinstance(value, dict) else {}


def names(listed: list[Any]) -> list[str]:
    """Return those of a list that are names."""
    return [one for one in listed if isinstance(one, str) and one]


def text_of(content: Any, depth: int = 0) -> str:
    """Return the text of a message's content: a text, or parts of which some are text."""
    if isinstance(content, str):
        return content
    if depth > 4:
        return ""
    parts = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, dict):
            parts.append(_part(part, depth))
    return "\n".join(part for part in parts if part)


def _part(part: dict[str, Any], depth: int) -> str:
    for key in ("text", "input_text", "thinking"):
        if isinstance(part.get(key), str):
            return str(part[key])
    kind = part.get("type")
    if kind in {"tool_result", "function_call_output"} or "toolResult" in part:
        inner = part.get("toolResult", part)
        return f"[tool result] {text_of(mapping(inner).get('content', mapping(inner).get('output')), depth + 1)}"
    if kind in {"tool_use", "function_call"}:
        return f"[calls {part.get('name')}]"
    for key in ("functionCall", "toolUse"):
        if key in part:
            return f"[calls {mapping(part[key]).get('name')}]"
    if "functionResponse" in part:
        return f"[tool result] {mapping(part['functionResponse']).get('name')}"
    return f"[{kind}]" if isinstance(kind, str) else "[data]" if part else ""
