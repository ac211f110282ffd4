"""Tools: rules, which change what passes from the next request on."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import Field

from wiretape.errors import UsageError
from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.model import Filter, Lean
from wiretape.rules.url import leads_away
from wiretape.rules.values import to_json
from wiretape.session.answers.rule_preview import Preview

RuleId = Annotated[str, Field(min_length=1, description="rule_N, from proxy_list_rules")]
Matcher = Annotated[
    dict[str, Any],
    Field(
        description="All given fields hold; {} is all traffic: method, urlPattern (RE2 on the URL), hostname,"
        " pathPattern (path and query), headers {name: value}, bodyIncludes, filter (as in proxy_query_session)"
    ),
]
Handler = Annotated[
    dict[str, Any],
    Field(
        description="type: mock {status, body, headers}, block {status}, drop, forward {forwardTo}, passthrough"
        " {rewriteUrl {match, replaceWith}}; with forward and passthrough transformRequest and transformResponse"
        " {updateHeaders (null removes), addHeaders, removeHeaders, replaceInHeaders, replaceMethod, replaceStatus,"
        " matchReplaceBody [[find, put]], replaceBody [{find, replaceWith, regex, all}], jsonSet {pointer: value},"
        " jsonPatch}; delayMs"
    ),
]
Priority = Annotated[float, Field(description="Lower first")]
Times = Annotated[int | None, Field(ge=1, description="So many exchanges, then the next rule")]
Persist = Annotated[bool, Field(description="There again after a restart")]
Host = Annotated[str | None, Field(description="Exact; none: every host")]
_PRIORITY_MOCK: Final = 10
_PRIORITY_EDIT: Final = 50


class OneRule(Lean, frozen=True):
    """``rule`` as it is followed now (docs/rules.md)."""

    rule: dict[str, Any]


class RuleList(Lean, frozen=True):
    """``count`` rules in the order in which they are tried; ``note`` says why rules that were kept are not there."""

    count: int
    rules: list[dict[str, Any]]
    note: str | None = None


class Said(Lean, frozen=True):
    """``message`` says what was done."""

    message: str


class MadeRule(Lean, frozen=True):
    """The rule that a shortcut made: ``rule_id`` and ``description``."""

    rule_id: str
    description: str


class Tested(Lean, frozen=True):
    """What rules say of one request, made up or recorded (``mode``): ``result`` has each rule's checks, the winners."""

    mode: str
    result: dict[str, Any]
    exchange_id: str | None = None


@tool("Add a rule", Hints(), aliases={})
async def proxy_add_rule(
    call: Call,
    description: Annotated[str, Field(description="What it is for")],
    matcher: Matcher,
    handler: Handler,
    priority: Priority = 100,
    times: Times = None,
    persist: Persist = False,
    enabled: Annotated[bool, arg.hidden()] = True,
) -> OneRule:
    """Change matching traffic from the next request on. Stages answer, request, response: in each the first rule that
    matches wins. Both sides of what is changed are recorded; find them with filter ~rule ID.
    """
    fields: dict[str, Any] = {"description": description, "matcher": matcher, "handler": handler}
    fields |= {"priority": priority, "times": times, "persist": persist, "enabled": enabled}
    return OneRule(await call.service.rules.add(fields, _targets(call, handler)))


@tool("Update a rule", Hints(repeats=True))
async def proxy_update_rule(
    call: Call,
    rule_id: RuleId,
    description: Annotated[str | None, Field(description="Another one")] = None,
    priority: Annotated[float | None, Field(description="Lower first")] = None,
    matcher: Annotated[dict[str, Any] | None, Field(description="The whole new one")] = None,
    handler: Annotated[dict[str, Any] | None, Field(description="The whole new one")] = None,
    times: Times = None,
    persist: Annotated[bool | None, arg.hidden()] = None,
) -> OneRule:
    """Replace the given fields of a rule whole, from the next request on."""
    given = {
        "description": description,
        "priority": priority,
        "matcher": matcher,
        "handler": handler,
        "times": times,
        "persist": persist,
    }
    fields = {name: value for name, value in given.items() if value is not None}
    rules, targets = call.service.rules, None
    if handler is not None or matcher is not None:  # whom a person's rule is for decides what it sends, too (P18)
        targets = _targets(call, handler or to_json(rules.find(rule_id))["handler"])
    return OneRule(await rules.update(rule_id, fields, targets))


@tool("Remove a rule", Hints(destroys=True))
async def proxy_remove_rule(call: Call, rule_id: RuleId) -> Said:
    """Remove a rule; what it did stays recorded."""
    await call.service.rules.remove(rule_id)
    return Said(f"{rule_id} is removed")


@tool("Enable a rule", Hints(repeats=True))
async def proxy_enable_rule(call: Call, rule_id: RuleId) -> Said:
    """Switch a rule on, from the next request on."""
    await call.service.rules.enable(rule_id, True)
    return Said(f"{rule_id} is enabled")


@tool("Disable a rule", Hints(repeats=True))
async def proxy_disable_rule(call: Call, rule_id: RuleId) -> Said:
    """Switch a rule off; it is kept."""
    await call.service.rules.enable(rule_id, False)
    return Said(f"{rule_id} is disabled")


@tool("List the rules", Hints(reads=True))
async def proxy_list_rules(call: Call) -> RuleList:
    """List the rules in the order in which they are tried, with hitCount; filter ~rule ID finds the exchanges."""
    rules = await call.service.rules.listed()
    return RuleList(count=len(rules), rules=rules, note=call.service.rules.note)


@tool("Test which rules match", Hints(reads=True))
async def proxy_test_rule_match(
    call: Call,
    mode: Annotated[
        Literal["simulate", "exchange"], Field(description="Of a made-up or a recorded request")
    ] = "simulate",
    request: Annotated[
        dict[str, Any] | None, Field(description="For simulate: method, url, headers {name: value}, body")
    ] = None,
    exchange_id: Annotated[str | None, Field(description="For exchange: an exchangeId, or SESSION:SEQ")] = None,
    include_disabled: Annotated[bool, Field(description="Try those too; they never win")] = True,
    limit_rules: Annotated[int | None, Field(ge=1, description="Only the first")] = None,
    exchange: Annotated[str | None, arg.hidden()] = None,
    session_id: Annotated[str | None, arg.hidden()] = None,
    seq: Annotated[int | None, arg.hidden()] = None,
) -> Tested:
    """Say for one request which rules match and why, with the matcher of live traffic. Works without a proxy."""
    rules = call.service.rules
    if mode == "simulate":
        if request is None:
            raise UsageError("simulate needs a request", hint='for example {"url": "http://example.com/"}')
        found = await rules.tested(request, include_disabled=include_disabled, limit=limit_rules)
        return Tested(mode=mode, result=msgspec.to_builtins(found))
    if exchange_id is None and exchange is None and seq is None:
        raise UsageError("exchange needs an exchange_id", hint="proxy_list_traffic lists exchanges")
    session, number = await arg.one_exchange(
        call, exchange=exchange, session_id=session_id, seq=seq, exchange_id=exchange_id
    )
    found = await rules.tested_exchange(
        call.service.library, session, number, include_disabled=include_disabled, limit=limit_rules, veil=call.veil
    )
    return Tested(mode=mode, result=msgspec.to_builtins(found), exchange_id=exchange_id or f"{session}:{number}")


@tool("Preview rules over a recording", Hints(reads=True))
async def proxy_preview_rule(
    call: Call,
    session_id: arg.SomeSession = None,
    rule_id: Annotated[str | None, Field(description="This rule alone; none of both: all that are enabled")] = None,
    rule: Annotated[dict[str, Any] | None, Field(description="One that is not added yet: matcher, handler")] = None,
    filter: arg.SameExpression = None,  # noqa: A002  the name is part of the contract
    since: arg.Since = None,
    until: arg.HiddenText = None,
    limit: Annotated[int, Field(ge=1, le=200, description="Differences to show")] = 20,
) -> Preview:
    """Show what a rule would have done to the newest recorded exchanges: before and after of each. Nothing is sent."""
    session = await arg.session_or_live(call, session_id)
    wanted = Filter(expression=filter, since=since, until=until)
    return await call.service.rules.previewed(
        call.service.library, session, wanted, rule_id=rule_id, rule=rule, limit=limit, veil=call.veil
    )


@tool("Inject headers", Hints())
async def proxy_inject_headers(
    call: Call,
    headers: Annotated[dict[str, str | None], Field(description="Name to value; null removes")],
    hostname: Host = None,
    url_pattern: Annotated[str | None, Field(description="RE2 on the URL")] = None,
    direction: Annotated[Literal["request", "response", "both"], Field(description="Whose headers")] = "request",
    priority: Priority = _PRIORITY_EDIT,
    persist: Persist = False,
) -> MadeRule:
    """Make a rule that sets or removes headers."""
    changes = {"updateHeaders": headers}
    handler: dict[str, Any] = {"type": "passthrough"}
    if direction != "response":
        handler["transformRequest"] = changes
    if direction != "request":
        handler["transformResponse"] = changes
    where = hostname or url_pattern or "all traffic"
    of = "requests and responses" if direction == "both" else f"{direction}s"
    said = f"Headers {', '.join(headers)} of {of}: {where}"
    return await _made(call, said, {"hostname": hostname, "urlPattern": url_pattern}, handler, priority, persist)


@tool("Mock a response", Hints())
async def proxy_mock_response(
    call: Call,
    status: Annotated[int, Field(description="200 to 599")],
    body: Annotated[str, Field(description="Its text")] = "",
    content_type: Annotated[str, Field(description="Sent where there is a body")] = "application/json",
    method: arg.Method = None,
    url_pattern: Annotated[str | None, Field(description="RE2 on the URL")] = None,
    hostname: Host = None,
    priority: Priority = _PRIORITY_MOCK,
    times: Times = None,
    persist: Persist = False,
) -> MadeRule:
    """Make a rule that answers instead of the server."""
    handler: dict[str, Any] = {"type": "mock", "status": status}
    if body:
        handler |= {"body": body, "headers": {"content-type": content_type}}
    said = f"Mock {status} for {' '.join(part for part in (method, hostname, url_pattern) if part) or 'all traffic'}"
    matcher = {"method": method, "urlPattern": url_pattern, "hostname": hostname}
    return await _made(call, said, matcher, handler, priority, persist, times)


@tool("Rewrite URLs", Hints())
async def proxy_rewrite_url(
    call: Call,
    match_pattern: Annotated[str, Field(min_length=1, description="RE2 on the absolute URL")],
    replace_with: Annotated[str, Field(description="$1 stands for a group")],
    hostname: Host = None,
    priority: Priority = _PRIORITY_EDIT,
    keep_host: Annotated[bool, Field(description="Leave Host as the client sent it")] = False,
    persist: Persist = False,
) -> MadeRule:
    """Make a rule that sends requests to another URL; the client's is recorded, too."""
    rewrite = {"match": match_pattern, "replaceWith": replace_with, "keepHost": keep_host}
    matcher = {"hostname": hostname, "urlPattern": match_pattern}
    said = f"URLs {match_pattern} become {replace_with}"
    return await _made(call, said, matcher, {"type": "passthrough", "rewriteUrl": rewrite}, priority, persist)


def _targets(call: Call, handler: dict[str, Any]) -> list[str]:
    """Return the hosts that a rule made over MCP may send to besides a request's own and this machine (P18).

    Raises:
        UsageError: it forwards to another, or has a recorded secret in what it would send.
    """
    allowed = [host.lower() for host in call.settings.allow_targets]
    forward = handler.get("forwardTo")
    if isinstance(forward, str):
        url = forward if "://" in forward else f"http://{forward}"
        if leads_away("", url, allowed):
            raise UsageError(
                f"handler.forwardTo: requests may not be sent to {forward[:200]}: clients' secrets would go there",
                hint="start the server with --allow-target HOST, or have a person make the rule on the command line",
            )
    sent = json.dumps([handler.get("transformRequest"), handler.get("rewriteUrl")], ensure_ascii=False)
    if call.service.secrecy.veil.known.spans_in(sent.encode("utf-8", "replace")):
        raise UsageError(
            "handler: a recorded secret would be sent to whatever the rule matches",
            hint="leave the secret out; a person can make such a rule on the command line",
        )
    return allowed


async def _made(
    call: Call,
    description: str,
    matcher: dict[str, Any],
    handler: dict[str, Any],
    priority: float,
    persist: bool,
    times: int | None = None,
) -> MadeRule:
    fields: dict[str, Any] = {
        "description": description[:500],
        "matcher": {name: value for name, value in matcher.items() if value is not None},
        "handler": handler,
        "priority": priority,
        "times": times,
        "persist": persist,
    }
    rule = await call.service.rules.add(fields, _targets(call, handler))
    return MadeRule(rule_id=rule["id"], description=rule["description"])
