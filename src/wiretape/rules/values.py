"""A rule as it is written: JSON in, a frozen value out, or an error that names the field."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from wiretape.errors import UsageError

Stage = Literal["answer", "request", "response"]
STAGES: Final[tuple[Stage, ...]] = ("answer", "request", "response")
"""In the order in which they are gone through; in each the first rule that matches wins."""

PRIORITY: Final = 100
MAX_RULES: Final = 10_000
MAX_RULE_BYTES: Final = 4 * 1024 * 1024
MAX_SET_BYTES: Final = 12 * 1024 * 1024
"""Bytes of one rule, and of all of them, as JSON: they go to each recorder in one line of its channel."""
MAX_DEPTH: Final = 100
"""Levels of the values that jsonSet and jsonPatch put into a body."""
MAX_DELAY_MS: Final = 600_000
MAX_TEXT: Final = 1_000
"""Characters of a description."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """A part of a rule; a field that it does not have is an error."""


class Matcher(Part, frozen=True):
    """Which requests a rule is for. All fields that are given have to hold; an empty matcher takes everything.

    Attributes:
        method: any case, any method.
        url_pattern: a regular expression, found anywhere in the absolute URL with its query; one that begins with
            ``/`` or ``^/`` is tried on path and query, too.
        hostname: the whole name, any case, without a port.
        path_pattern: a regular expression, found anywhere in path and query.
        headers: name to value; the names in any case, one of the values or all joined with ``, `` equal exactly.
        body_includes: a text in the decoded body of the request.
        filter: a filter as queries take it (docs/filters.md).
    """

    method: str | None = None
    url_pattern: str | None = None
    hostname: str | None = None
    path_pattern: str | None = None
    headers: dict[str, str] | None = None
    body_includes: str | None = None
    filter: str | None = None


class Replacement(Part, frozen=True):
    """One text in the place of another.

    Attributes:
        find: a literal text, or with ``regex`` a regular expression of RE2.
        replace_with: a literal text; with ``regex``, ``$1`` and ``${1}`` stand for groups, ``$$`` for a dollar sign.
        all: every occurrence instead of the first.
    """

    find: str
    replace_with: str = ""
    regex: bool = False
    all: bool = False


class HeaderReplacement(Replacement, frozen=True):
    """A replacement within the values of one field, each of them on its own."""

    name: str = ""


class HeaderValue(Part, frozen=True):
    """A field; ``value`` None stands for any value."""

    name: str
    value: str | None = None


class Changes(Part, frozen=True):
    """What is changed in a message. The steps run in the order of the attributes.

    Attributes:
        update_headers: sets a field in the place of all of its name; null removes all.
        remove_headers: takes fields out, all of a name or those with one value.
        add_headers: adds a field beside those that are there.
        replace_in_headers: edits values.
        match_replace_body: pairs of literal texts, the first occurrence of each.
        replace_body: further replacements in the decoded body.
        json_set: JSON Pointer to the value that is put there, in a body that is JSON.
        json_patch: operations of RFC 6902.
    """

    update_headers: dict[str, str | None] | None = None
    remove_headers: list[str | HeaderValue] | None = None
    add_headers: list[HeaderValue] | dict[str, str] | None = None
    replace_in_headers: list[HeaderReplacement] | None = None
    match_replace_body: list[tuple[str, str]] | None = None
    replace_body: list[Replacement] | None = None
    json_set: dict[str, Any] | None = None
    json_patch: list[dict[str, Any]] | None = None

    @property
    def edits_body(self) -> bool:
        """Whether the body is looked at."""
        return bool(self.match_replace_body or self.replace_body or self.json_set or self.json_patch)


class RequestChanges(Changes, frozen=True):
    """What is changed in a request: its method, too."""

    replace_method: str | None = None


class ResponseChanges(Changes, frozen=True):
    """What is changed in a response: its status, too; the reason phrase is the usual one then."""

    replace_status: int | None = None


class UrlRewrite(Part, frozen=True):
    """Another URL.

    Attributes:
        match: a regular expression on the absolute URL.
        replace_with: what stands for the first match; ``$1`` for groups.
        keep_host: the Host field stays as the client sent it, instead of following the URL.
    """

    match: str
    replace_with: str
    keep_host: bool = False


class Handler(Part, frozen=True):
    """What is done.

    Attributes:
        type: ``passthrough`` sends on, with edits; ``forward`` sends to another server; ``mock`` answers without asking
            one; ``block`` answers with a status that says so; ``drop`` breaks the connection off.
        status, body, headers: of the answer of ``mock``; ``block`` takes the status.
        forward_to: ``host``, ``host:port`` or ``scheme://host[:port]``.
        rewrite_url: another URL; for passthrough.
        transform_request, transform_response: for passthrough and forward.
        delay_ms: milliseconds that the request waits before anything else is done with it.
    """

    type: Literal["passthrough", "forward", "mock", "block", "drop"]
    status: int | None = None
    body: str | None = None
    headers: dict[str, str] | None = None
    forward_to: str | None = None
    rewrite_url: UrlRewrite | None = None
    transform_request: RequestChanges | None = None
    transform_response: ResponseChanges | None = None
    delay_ms: int | None = None


class Rule(Part, frozen=True):
    """A rule.

    Attributes:
        id: ``rule_N``; given by who keeps it.
        priority: lower ones are tried first, ties in order of creation.
        enabled: False keeps it out of live traffic.
        description: what it is for.
        matcher, handler: which requests, and what is done.
        times: so many exchanges, then the next rule that matches; None for ever.
        persist: it is there again after a restart.
        targets: hosts that a request may be sent to besides its own and this machine; None for any. Who makes a rule
            over MCP is bound to those that the server was started with (``--allow-target``).
        created_at: milliseconds since the epoch.
        number: how many rules were made before it, for the order of equal priorities.
        revision: another one after each change; with it the count of ``times`` begins anew.
    """

    handler: Handler
    matcher: Matcher = Matcher()
    description: str = ""
    priority: float = PRIORITY
    enabled: bool = True
    times: int | None = None
    persist: bool = False
    targets: list[str] | None = None
    id: str = ""
    created_at: int = 0
    number: int = 0
    revision: int = 0


def rule_from(fields: object) -> Rule:
    """Read a rule that came as JSON types; what it means is checked by ``compiled``.

    Raises:
        UsageError: it is none; the message names the field.
    """
    if isinstance(fields, dict) and "handler" not in fields:
        raise UsageError("the rule has no handler", hint=HINT)
    try:
        rule = msgspec.convert(fields, Rule)
    except msgspec.ValidationError as error:
        raise UsageError(f"the rule cannot be read: {_where(str(error))}", hint=HINT) from None
    if len(rule.description) > MAX_TEXT:
        raise wrong("description", f"it has more than {MAX_TEXT} characters")
    size = _size(rule)
    if size > MAX_RULE_BYTES:
        raise UsageError(
            f"the rule takes {size:,} bytes as JSON; {MAX_RULE_BYTES:,} are allowed",
            hint="serve a large body by a server of its own, and use the handler forward",
        )
    return rule


def _size(rule: Rule) -> int:
    """Return how long a rule is as JSON.

    Raises:
        UsageError: no JSON can be made of it, so it could be neither kept nor sent on.
    """
    changes = (rule.handler.transform_request, rule.handler.transform_response)
    deep = [one.json_set for one in changes if one is not None] + [one.json_patch for one in changes if one is not None]
    if any(not _is_flat(value) for value in deep):
        raise UsageError(f"the rule has values nested in more than {MAX_DEPTH} others", hint=HINT)
    try:
        return len(msgspec.json.encode(rule))
    except UnicodeEncodeError:
        raise UsageError("the rule has half a character: a lone surrogate, such as \\ud800", hint=HINT) from None


def _is_flat(value: Any) -> bool:
    """Return whether values stand in at most ``MAX_DEPTH`` others."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return not level


HINT: Final = (
    'for example {"matcher": {"hostname": "api.example.com"}, "handler": {"type": "mock", "status": 503}}; '
    "docs/rules.md has every field"
)


def wrong(field: str, why: str, hint: str = "") -> UsageError:
    """Return the error that a field of a rule means nothing."""
    return UsageError(f"the rule's {field}: {why}", hint=hint)


def _where(said: str) -> str:
    """Put the place that msgspec names in front: ``handler.status: Expected `int`...``."""
    what, at, place = said.partition(" - at `")
    if not at:
        return what
    return f"{place.rstrip('`').removeprefix('$').lstrip('.') or 'the rule'}: {what}"


def to_json(rule: Rule) -> dict[str, Any]:
    """Return a rule as JSON has it, without what is as it always is; priority and enabled are always there."""
    found = msgspec.to_builtins(rule)
    assert isinstance(found, dict)
    found.pop("targets", None)
    found.pop("number", None)
    found.pop("revision", None)
    return {
        "id": rule.id,
        "priority": int(rule.priority) if rule.priority == int(rule.priority) else rule.priority,
        "enabled": rule.enabled,
        "description": rule.description,
        "matcher": found.get("matcher", {}),
        **found,
    }
