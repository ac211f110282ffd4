"""The tools, resources and prompts that the MCP conformance suite asks for, over our own registration layer."""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any

from mcp.server.mcpserver.prompts.base import Prompt, UserMessage
from mcp.server.mcpserver.tools import Tool
from mcp_types import (
    AudioContent,
    CallToolResult,
    Completion,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import Field

from tests.mcpserver.conformance.asking import ASKING, test_input_required_result_prompt
from wiretape.daemon.service import Service
from wiretape.errors import UsageError
from wiretape.mcpserver.server import WiretapeServer
from wiretape.mcpserver.tool import Call, Hints, build, tool
from wiretape.settings import McpSettings

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SILENCE = base64.b64encode(
    b"RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00\x80>\x00\x00"
).decode()
JSON = "application/json"


def blocks(*content: Any) -> CallToolResult:
    return CallToolResult(content=list(content))


def text(words: str) -> TextContent:
    return TextContent(type="text", text=words)


def image() -> ImageContent:
    return ImageContent(type="image", data=PIXEL, mime_type="image/png")


def embedded(uri: str, words: str, mime_type: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=words))


@tool("Text", Hints(reads=True))
async def test_simple_text(call: Call) -> CallToolResult:
    """Give a text."""
    return blocks(text("This is a simple text response for testing."))


@tool("Image", Hints(reads=True))
async def test_image_content(call: Call) -> CallToolResult:
    """Give an image."""
    return blocks(image())


@tool("Audio", Hints(reads=True))
async def test_audio_content(call: Call) -> CallToolResult:
    """Give a sound."""
    return blocks(AudioContent(type="audio", data=SILENCE, mime_type="audio/wav"))


@tool("Embedded resource", Hints(reads=True))
async def test_embedded_resource(call: Call) -> CallToolResult:
    """Give a resource within a result."""
    return blocks(embedded("test://embedded-resource", "This is an embedded resource content."))


@tool("Several kinds", Hints(reads=True))
async def test_multiple_content_types(call: Call) -> CallToolResult:
    """Give several kinds of content."""
    return blocks(
        text("Multiple content types test:"),
        image(),
        embedded("test://mixed-content-resource", json.dumps({"test": "data", "value": 123}), JSON),
    )


@tool("Error", Hints(reads=True))
async def test_error_handling(call: Call) -> CallToolResult:
    """Fail."""
    raise UsageError("This tool intentionally returns an error for testing", hint="expect it")


@tool("Progress", Hints(reads=True))
async def test_tool_with_progress(call: Call) -> CallToolResult:
    """Report progress."""
    for done in (0, 50, 100):
        await call.context.report_progress(done, 100, f"Completed step {done} of 100")
    return blocks(text("done"))


@tool("Logging", Hints(reads=True))
async def test_tool_with_logging(call: Call) -> CallToolResult:
    """Log."""
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await call.context.log("info", words)
    return blocks(text("done"))


TOOLS = (
    test_simple_text,
    test_image_content,
    test_audio_content,
    test_embedded_resource,
    test_multiple_content_types,
    test_error_handling,
    test_tool_with_progress,
    test_tool_with_logging,
    *ASKING,
)

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
"""The arguments of ``json_schema_2020_12_tool``: what a list of tools must pass on as it is."""


@tool("Any schema", Hints(reads=True))
async def json_schema_2020_12_tool(call: Call) -> CallToolResult:
    """Have a schema with keywords of JSON Schema 2020-12."""
    return blocks(text("done"))


def test_simple_prompt() -> str:
    """A prompt without arguments."""
    return "This is a simple prompt for testing."


def test_prompt_with_arguments(
    arg1: Annotated[str, Field(description="First")], arg2: Annotated[str, Field(description="Second")]
) -> str:
    """A prompt with two arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803  the suite's name
    """A prompt with a resource in it."""
    return [
        UserMessage(embedded(resourceUri, "Embedded resource content for testing.")),
        UserMessage("Please process the embedded resource above."),
    ]


def test_prompt_with_image() -> list[UserMessage]:
    """A prompt with an image in it."""
    return [UserMessage(image()), UserMessage("Please analyze the image above.")]


def fixture_server(service: Service) -> WiretapeServer:
    """Make a server with the suite's fixtures: our class, our tools' way of arguments, results and errors."""
    settings = McpSettings()
    tools: list[Tool] = [build(spec, service, settings) for spec in TOOLS]
    tools.append(build(json_schema_2020_12_tool, service, settings).model_copy(update={"parameters": SCHEMA}))
    server = WiretapeServer("wiretape-fixtures", version="1", tools=tools)
    for function in (
        test_simple_prompt,
        test_prompt_with_arguments,
        test_prompt_with_embedded_resource,
        test_prompt_with_image,
        test_input_required_result_prompt,
    ):
        server.add_prompt(Prompt.from_function(function, description=function.__doc__))
    server.resource("test://static-text", name="text", mime_type="text/plain")(
        lambda: "This is the content of the static text resource."
    )
    server.resource("test://static-binary", name="binary", mime_type="image/png")(lambda: base64.b64decode(PIXEL))
    server.resource("test://watched-resource", name="watched", mime_type="text/plain")(lambda: "Watched")

    async def template(id: str) -> str:  # noqa: A002  the suite's name
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    server.resource("test://template/{id}/data", name="template", mime_type=JSON)(template)

    async def complete(*_: Any) -> Completion:
        return Completion(values=["paris", "park", "party"], total=3, has_more=False)

    server.completion()(complete)  # type: ignore[no-untyped-call]
    _take_notes(server)
    return server


def _take_notes(server: WiretapeServer) -> None:
    """Take log levels and subscriptions, which wiretape does not offer: until 2025-11-25 servers may have them."""

    async def taken(*_: Any) -> EmptyResult:
        return EmptyResult()

    low = server._lowlevel_server
    low.add_request_handler("logging/setLevel", SetLevelRequestParams, taken)
    low.add_request_handler("resources/subscribe", SubscribeRequestParams, taken)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, taken)
