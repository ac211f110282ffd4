"""``wiretape rules``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from wiretape.cli.options import complete_session, json_option, root_option
from wiretape.cli.output import note, print_json, print_table, visible, write_line
from wiretape.daemon.client import request
from wiretape.errors import UsageError

EXAMPLES = """\b
Examples:
  wiretape rules add --url '/api/pay' --mock 503 --description 'payments are down'
  wiretape rules add --filter '~m POST & ~d api.example.com' --header 'X-Debug: 1'
  wiretape rules add --host ads.example.com --block
  wiretape rules add '{"matcher": {"pathPattern": "^/v1"}, "handler": {"type": "drop"}}'
  wiretape rules test http://api.example.com/api/pay --method POST
  wiretape rules preview last --url '/api/pay' --mock 503
  wiretape rules disable rule_1
  wiretape query last '~rule rule_1'
"""


@click.group("rules", invoke_without_command=True, epilog=EXAMPLES)
@click.pass_context
def command(context: click.Context) -> None:
    """Change what passes, from the next request on: list, add, test, preview, enable, disable, remove.

    docs/rules.md has every field. Both sides of what a rule changes are recorded: `~rule ID` and `~changed` find them.
    """
    if context.invoked_subcommand is None:
        write_line(context.get_help())


def _made_of(function: Any) -> Any:
    """Add the options that make a rule."""
    options = [
        click.argument("rule", required=False, metavar="[JSON]"),
        click.option("--host", metavar="NAME", help="This host alone."),
        click.option("--url", metavar="REGEX", help="URLs that have this."),
        click.option("--method", metavar="M", help="This method alone."),
        click.option("--filter", "expression", metavar="FILTER", help="Requests that a filter takes."),
        click.option("--mock", type=int, metavar="STATUS", help="Answer with this status; --body is the body."),
        click.option("--body", metavar="TEXT", help="@FILE reads it from a file."),
        click.option("--block", is_flag=True, help="Answer with 403."),
        click.option("--drop", is_flag=True, help="Break the connection off."),
        click.option("--forward", metavar="HOST[:PORT]", help="Send to this server."),
        click.option("--rewrite", nargs=2, metavar="REGEX URL", help="Send to another URL; $1 stands for a group."),
        click.option("--header", "headers", multiple=True, metavar="N:V", help="Set it in requests; `N:` removes it."),
        click.option(
            "--response-header", "response_headers", multiple=True, metavar="N:V", help="The same in responses."
        ),
        click.option("--delay", type=int, metavar="MS", help="Let requests wait."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@command.command("list")
@root_option
@json_option
def list_rules(*, root: Path, as_json: bool) -> None:
    """List the rules in the order in which they are tried."""
    answer = request(root, {"cmd": "rules", "do": "list"})
    rules = answer["rules"]
    if as_json:
        said = {"note": answer["note"]} if answer.get("note") else {}  # P11: why rules that were kept are not there
        print_json({"count": len(rules), "rules": rules, **said})
        return
    columns = [("id", "left"), ("prio", "right"), ("on", "left"), ("hits", "right"), ("does", "left"), ("for", "left")]
    rows = (
        (
            rule["id"],
            f"{rule['priority']:g}",
            "yes" if rule["enabled"] else "no",
            f"{rule['hitCount']}",
            rule["handler"]["type"],
            rule["description"] or json.dumps(rule["matcher"], ensure_ascii=False),
        )
        for rule in rules
    )
    print_table(columns, rows, empty="There are no rules.")
    if answer.get("note"):
        note(visible(answer["note"]))


@command.command("add", epilog=EXAMPLES)
@_made_of
@click.option("--description", metavar="TEXT", help="What it is for; lists show it.")
@click.option("--priority", type=float, metavar="N", help="Lower is tried first; 100 unless given.")
@click.option("--times", type=int, metavar="N", help="So many exchanges, then the next rule.")
@click.option("--persist", is_flag=True, help="There again after a restart.")
@root_option
@json_option
def add_rule(
    *,
    description: str | None,
    priority: float | None,
    times: int | None,
    persist: bool,
    root: Path,
    as_json: bool,
    **parts: Any,
) -> None:
    """Add a rule: as JSON, or made of options."""
    fields = _rule_of(**parts)
    given = {"description": description, "priority": priority, "times": times, "persist": persist or None}
    fields |= {name: value for name, value in given.items() if value is not None}
    rule = request(root, {"cmd": "rules", "do": "add", "fields": fields})["rule"]
    if as_json:
        print_json({"rule": rule})
        return
    write_line(visible(f"{rule['id']}: {rule['handler']['type']}, from the next request on"))
    note(f"`wiretape query last '~rule {rule['id']}'` lists what it acts on")


@command.command("test")
@click.argument("url")
@click.option("--method", default="GET", show_default=True, metavar="M", help="Of the request.")
@click.option("--header", "headers", multiple=True, metavar="N:V", help="A header of the request.")
@click.option("--body", default="", metavar="TEXT", help="The body of the request.")
@root_option
@json_option
def test_rules(*, url: str, method: str, headers: tuple[str, ...], body: str, root: Path, as_json: bool) -> None:
    """Say which rules match a request, and why others do not."""
    made = {"url": url, "method": method, "body": body, "headers": _pairs(headers)}
    result = request(root, {"cmd": "rules", "do": "test", "request": made})["result"]
    if as_json:
        print_json(result)
        return
    for one in result["results"]:
        failed = [name for name, check in one["checks"].items() if not check["passed"]]
        why = f"not {', '.join(failed)}" if failed else "" if one["enabled"] else "it is disabled"
        said = "matches" if one["matched"] else "does not match"
        write_line(visible(f"{one['ruleId']}  {said}{f' ({why})' if why else ''}  {one['description']}"))
    winners = ", ".join(f"{stage}: {rule}" for stage, rule in result["winners"].items())
    write_line(visible(f"Who decides: {winners}" if winners else "No rule is for it: it passes as it is."))


@command.command("preview", epilog=EXAMPLES)
@click.argument("session", metavar="SESSION", shell_complete=complete_session)
@_made_of
@click.option("--rule", "rule_id", metavar="ID", help="A rule that is there; without one, all that are enabled.")
@click.option("--only", metavar="FILTER", help="Try these exchanges alone.")
@click.option("--limit", default=20, show_default=True, help="Differences to show.")
@root_option
@json_option
def preview_rule(
    *, session: str, rule_id: str | None, only: str | None, limit: int, root: Path, as_json: bool, **parts: Any
) -> None:
    """Show what a rule would have done to recorded exchanges: before and after of each."""
    fields = _rule_of(**parts) if any(parts.values()) else None
    message = {"cmd": "rules", "do": "preview", "session": session, "rule": rule_id, "fields": fields, "filter": only}
    found = request(root, {**message, "limit": limit})["preview"]
    if as_json:
        print_json(found)
        return
    for one in found["exchanges"]:
        write_line(visible(f"{one['seq']}  {one['method']} {one['url']}  {one['would']} by {_names(one['rules'])}"))
        for side in ("request", "response"):
            for line in _difference(one.get(side) or {}):
                write_line(visible(f"    {side} {line}"))
    of = "" if found["complete"] else ", the newest"
    write_line(f"{found['matched']} of {found['lookedAt']} exchanges{of} would be acted on.")
    if found["notDecided"]:
        note(f"of {found['notDecided']} not enough is recorded to say")


@command.command("enable")
@click.argument("rule_id", metavar="ID")
@root_option
@json_option
def enable_rule(*, rule_id: str, root: Path, as_json: bool) -> None:
    """Switch a rule on."""
    _do(root, "enable", rule_id, as_json=as_json)


@command.command("disable")
@click.argument("rule_id", metavar="ID")
@root_option
@json_option
def disable_rule(*, rule_id: str, root: Path, as_json: bool) -> None:
    """Switch a rule off; it is kept."""
    _do(root, "disable", rule_id, as_json=as_json)


@command.command("remove")
@click.argument("rule_id", metavar="ID")
@root_option
@json_option
def remove_rule(*, rule_id: str, root: Path, as_json: bool) -> None:
    """Remove a rule; what it did stays recorded."""
    _do(root, "remove", rule_id, as_json=as_json)


def _do(root: Path, what: str, rule_id: str, *, as_json: bool) -> None:
    request(root, {"cmd": "rules", "do": what, "rule": rule_id})
    now = f"{what.removesuffix('e')}ed"
    if as_json:
        print_json({"ruleId": rule_id, "now": now})
        return
    write_line(visible(f"{rule_id} is {now}"))


def _names(rules: dict[str, str]) -> str:
    return ", ".join(dict.fromkeys(rules.values()))


def _difference(found: dict[str, Any]) -> list[str]:
    lines = [f"{name}: {found[name][0]} -> {found[name][1]}" for name in ("url", "method", "status") if name in found]
    for name, before, after in found.get("headers") or ():
        lines.append(f"{name}: {'(none)' if before is None else before} -> {'(none)' if after is None else after}")
    if "body" in found:
        lines.append(f"body: {found['body'][0]!r} -> {found['body'][1]!r}")
    return [*lines, *([found["note"]] if "note" in found else [])]


def _pairs(headers: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise UsageError(f"{header!r} is not a header", hint="write it as 'Name: value'")
        found[name.strip()] = value.strip()
    return found


def _rule_of(
    *,
    rule: str | None,
    host: str | None,
    url: str | None,
    method: str | None,
    expression: str | None,
    mock: int | None,
    body: str | None,
    block: bool,
    drop: bool,
    forward: str | None,
    rewrite: tuple[str, str] | None,
    headers: tuple[str, ...],
    response_headers: tuple[str, ...],
    delay: int | None,
) -> dict[str, Any]:
    """Make a rule's JSON of the options; a rule that is given as JSON is taken as it is, and options add to it."""
    found: dict[str, Any] = {}
    if rule is not None:
        try:
            found = json.loads(rule)
        except ValueError as error:
            raise UsageError(f"the rule is not JSON: {error}", hint="or leave it out, and use options") from None
        if not isinstance(found, dict):
            raise UsageError("the rule is not a JSON object", hint='{"matcher": {...}, "handler": {...}}')
    matcher = {"hostname": host, "urlPattern": url, "method": method, "filter": expression}
    wanted = {name: value for name, value in matcher.items() if value is not None}
    if wanted:
        found["matcher"] = {**(found.get("matcher") or {}), **wanted}
    handlers: list[dict[str, Any]] = []
    if mock is not None or body is not None:
        handlers.append({"type": "mock", **({} if mock is None else {"status": mock}), **_body(body)})
    if block:
        handlers.append({"type": "block"})
    if drop:
        handlers.append({"type": "drop"})
    if forward is not None:
        handlers.append({"type": "forward", "forwardTo": forward})
    if rewrite is not None:
        handlers.append({"type": "passthrough", "rewriteUrl": {"match": rewrite[0], "replaceWith": rewrite[1]}})
    if len(handlers) > 1:
        raise UsageError("one rule does one thing", hint="give one of --mock, --block, --drop, --forward, --rewrite")
    edits = {"transformRequest": headers, "transformResponse": response_headers}
    changed: dict[str, Any] = {
        name: {"updateHeaders": {key: value or None for key, value in _pairs(given).items()}}
        for name, given in edits.items()
        if given
    }
    if handlers or changed or delay is not None:
        handler = (handlers or [found.get("handler") or {"type": "passthrough"}])[0]
        found["handler"] = {**handler, **changed, **({} if delay is None else {"delayMs": delay})}
    return found


def _body(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{text[1:]} cannot be read as text: {error}", hint="give another file") from error
    return {"body": text}
