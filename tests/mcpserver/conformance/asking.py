"""Fixtures of the conformance suite that ask the client: in a call of its own until 2025-11-25, in the answer since."""

from __future__ import annotations

import json
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolResult,
    ClientCapabilities,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    SamplingCapability,
    SamplingMessage,
    TextContent,
)

from wiretape.mcpserver.tool import Call, Hints, tool

Answered = CallToolResult | InputRequiredResult
STATE = "round-"


def said(words: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=words)])


def form(message: str, properties: dict[str, Any], required: list[str] | None = None) -> ElicitRequest:
    schema = {"type": "object", "properties": properties, "required": required or []}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def name_form(message: str = "What is your name?") -> ElicitRequest:
    return form(message, {"name": {"type": "string"}}, ["name"])


def sampling(prompt: str, most: int) -> CreateMessageRequest:
    content = TextContent(type="text", text=prompt)
    return CreateMessageRequest(
        params=CreateMessageRequestParams(messages=[SamplingMessage(role="user", content=content)], max_tokens=most)
    )


def asked(context: Context[Any, Any], wanted: dict[str, InputRequest], state: str | None = None) -> Any:
    """Return what the client answered to all that is wanted, else what asks it."""
    answers = context.input_responses or {}
    if wanted.keys() <= answers.keys():
        return answers
    return InputRequiredResult(input_requests=wanted, request_state=state)


def given(answer: Any) -> str:
    """Write what a person filled in."""
    content = answer.content if isinstance(answer, ElicitResult) else None
    return f"action={getattr(answer, 'action', '?')}, content={json.dumps(content or {})}"


# -- in a call of its own ---------------------------------------------------------------------------------------------


@tool("Sampling", Hints(reads=True))
async def test_sampling(call: Call, prompt: str) -> CallToolResult:
    """Ask the client's model."""
    request = sampling(prompt, 100)
    own = ServerMessageMetadata(related_request_id=call.context.request_id)
    answer = await call.context.session.send_request(request, CreateMessageResult, metadata=own)
    return said(f"LLM response: {getattr(answer.content, 'text', '')}")


async def _elicited(call: Call, message: str, properties: dict[str, Any], required: list[str]) -> CallToolResult:
    schema = {"type": "object", "properties": properties, "required": required}
    answer = await call.context.session.elicit_form(message, schema, call.context.request_id)
    return said(f"Elicitation completed: {given(answer)}")


@tool("Elicitation", Hints(reads=True))
async def test_elicitation(call: Call, message: str) -> CallToolResult:
    """Ask the person."""
    text = {"type": "string", "description": "What the person says"}
    return await _elicited(call, message, {"username": text, "email": text}, ["username", "email"])


@tool("Elicitation with defaults", Hints(reads=True))
async def test_elicitation_sep1034_defaults(call: Call) -> CallToolResult:
    """Ask with a default of each kind."""
    states = ["active", "inactive", "pending"]
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": states, "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return await _elicited(call, "Who are you?", properties, [])


@tool("Elicitation with choices", Hints(reads=True))
async def test_elicitation_sep1330_enums(call: Call) -> CallToolResult:
    """Ask with choices of each kind."""
    plain = ["option1", "option2", "option3"]
    names = ["First Option", "Second Option", "Third Option"]
    values = [f"value{at}" for at in (1, 2, 3)]
    titled = [{"const": value, "title": name} for value, name in zip(values, names, strict=True)]
    properties = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": names},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return await _elicited(call, "Which ones?", properties, [])


# -- in the answer ----------------------------------------------------------------------------------------------------


@tool("Input: a form", Hints(reads=True))
async def test_input_required_result_elicitation(call: Call) -> Answered:
    """Ask for a name."""
    found = asked(call.context, {"user_name": name_form()})
    return found if isinstance(found, InputRequiredResult) else said(f"Hello, {given(found['user_name'])}")


@tool("Input: a form, streamed", Hints(reads=True))
async def test_streaming_elicitation(call: Call) -> Answered:
    """Report progress, then ask for a name."""
    await call.context.report_progress(1, 2, "asking")
    found = asked(call.context, {"user_name": name_form()})
    return found if isinstance(found, InputRequiredResult) else said("done")


@tool("Input: a model", Hints(reads=True))
async def test_input_required_result_sampling(call: Call) -> Answered:
    """Ask the client's model."""
    found = asked(call.context, {"capital_question": sampling("What is the capital of France?", 100)})
    return found if isinstance(found, InputRequiredResult) else said(str(found["capital_question"]))


@tool("Input: roots", Hints(reads=True))
async def test_input_required_result_list_roots(call: Call) -> Answered:
    """Ask for the client's folders."""
    found = asked(call.context, {"client_roots": ListRootsRequest()})
    return found if isinstance(found, InputRequiredResult) else said(str(found["client_roots"]))


def _confirming(context: Context[Any, Any]) -> Answered:
    yes = form("Please confirm", {"ok": {"type": "boolean"}}, ["ok"])
    found = asked(context, {"confirm": yes}, "confirming")
    if isinstance(found, InputRequiredResult):
        return found
    return said("state-ok" if context.request_state == "confirming" else "no state came back")


@tool("Input: state", Hints(reads=True))
async def test_input_required_result_request_state(call: Call) -> Answered:
    """Ask, and know the state again."""
    return _confirming(call.context)


@tool("Input: state that nobody may change", Hints(reads=True))
async def test_input_required_result_tampered_state(call: Call) -> Answered:
    """Ask; a state that was changed is refused before this is called."""
    return _confirming(call.context)


@tool("Input: several", Hints(reads=True))
async def test_input_required_result_multiple_inputs(call: Call) -> Answered:
    """Ask for three things at once."""
    wanted: dict[str, InputRequest] = {
        "user_name": name_form(),
        "greeting": sampling("Generate a greeting", 50),
        "client_roots": ListRootsRequest(),
    }
    found = asked(call.context, wanted, "several")
    return found if isinstance(found, InputRequiredResult) else said("all there")


@tool("Input: one after the other", Hints(reads=True))
async def test_input_required_result_multi_round(call: Call) -> Answered:
    """Ask twice."""
    colour = form("Step 2: What is your favorite color?", {"color": {"type": "string"}}, ["color"])
    answers = call.context.input_responses or {}
    if call.context.request_state == f"{STATE}2" and "step2" in answers:
        return said("both there")
    if call.context.request_state is not None:
        return InputRequiredResult(input_requests={"step2": colour}, request_state=f"{STATE}2")
    return InputRequiredResult(
        input_requests={"step1": name_form("Step 1: What is your name?")}, request_state=f"{STATE}1"
    )


@tool("Input: only what the client can", Hints(reads=True))
async def test_input_required_result_capabilities(call: Call) -> Answered:
    """Ask for what the client says that it can give."""
    can = call.context.client_capabilities or ClientCapabilities()
    wanted: dict[str, InputRequest] = {}
    if can.sampling is not None:
        wanted["greeting"] = sampling("Generate a greeting", 50)
    if can.elicitation is not None:
        wanted["user_name"] = name_form()
    if not wanted:
        return said("nothing can be asked")
    found = asked(call.context, wanted)
    return found if isinstance(found, InputRequiredResult) else said("done")


@tool("A capability that is missing", Hints(reads=True))
async def test_missing_capability(call: Call) -> CallToolResult:
    """Need the client's model, which it may not have."""
    can = call.context.client_capabilities
    if can is None or can.sampling is None:
        needed = ClientCapabilities(sampling=SamplingCapability())
        raise MCPError(
            code=MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="The client did not declare sampling",
            data={"requiredCapabilities": needed.model_dump(by_alias=True, mode="json", exclude_none=True)},
        )
    return said("done")


@tool("Logging, if it is asked for", Hints(reads=True))
async def test_logging_tool(call: Call) -> CallToolResult:
    """Log, which only clients get that asked for it."""
    await call.context.log("info", "a line")
    return said("done")


ASKING = (
    test_sampling,
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
    test_input_required_result_elicitation,
    test_streaming_elicitation,
    test_input_required_result_sampling,
    test_input_required_result_list_roots,
    test_input_required_result_request_state,
    test_input_required_result_tampered_state,
    test_input_required_result_multiple_inputs,
    test_input_required_result_multi_round,
    test_input_required_result_capabilities,
    test_missing_capability,
    test_logging_tool,
)


async def test_input_required_result_prompt(context: Context[Any, Any]) -> Any:
    """A prompt that asks for its context."""
    question = form("What context should the prompt use?", {"context": {"type": "string"}}, ["context"])
    found = asked(context, {"user_context": question})
    return (
        found
        if isinstance(found, InputRequiredResult)
        else [UserMessage(f"Think about {given(found['user_context'])}")]
    )
