"""The reference of tools and of commands, written from the tools and commands themselves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from tests.docs.values import cell
from tests.mcpserver.conftest import InProcess
from tests.mcpserver.test_tools import listed
from wiretape.cli.main import COMMANDS, MODULES, wiretape
from wiretape.mcpserver.tool import Spec
from wiretape.mcpserver.tools import TOOLSETS

WIDTH: Final = 100
MADE: Final = "Made by `python -m tests.docs`; a test says when it is out of date.\n"
COMMANDS_HEAD: Final = f"""# Commands

What `--help` says of each command. {MADE}
All take `--root DIR` (else `$WIRETAPE_ROOT`, else the user's data folder) and `--color`; those with `--json` print
one document, whose keys are in [json.md](json.md). Exit status 0: done and clean; 1: failed, or damage found; 2: wrong
usage; 130: interrupted. The filter of reading commands is in [filters.md](filters.md).
"""
TOOLS_HEAD: Final = f"""# Tools

What a model is told of each tool, by toolset (`wiretape mcp --toolsets core,legacy`, or `all`). {MADE}
An answer has `status` first; its other keys are in [json.md](json.md). An error is a result with `code`, `message` and
`hint`. Arguments that are not listed to models are taken all the same, as are other tools' names for the same thing.
**reads**: changes nothing, and is there with `--read-only`. **destroys**: may remove or end what cannot be had back.
**repeats**: doing it twice is doing it once.
"""
_SETS: Final = {
    "core": "what a client gets that asks for nothing",
    "rules": "what passes is changed; see [rules.md](rules.md)",
    "sql": "read-only SQL; the views are in [sql.md](sql.md)",
    "replay": "long work",
    "tls": "TLS fingerprints",
    "legacy": "the other tools of proxy-mcp",
}


def command_of(name: str) -> click.Command:
    """Return a command, its module imported."""
    found = import_module(f"wiretape.cli.commands.{MODULES.get(name, name)}").command
    assert isinstance(found, click.Command)
    return found


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Yield each command with the words that name it, a command of commands before those."""
    for name in COMMANDS:
        found = command_of(name)
        yield name, found
        if isinstance(found, click.Group):
            yield from ((f"{name} {word}", below) for word, below in found.commands.items())


def help_of(name: str, command: click.Command) -> str:
    """Return what ``wiretape NAME --help`` prints, as wide as the page."""
    # With the names of the help option that the program has: click keeps those that a command is first asked with.
    with click.Context(wiretape, info_name="wiretape", **wiretape.context_settings) as parent:
        context = click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH)
        return command.get_help(context)


def commands_page() -> str:
    """Return docs/commands.md: the help of every command, which has its options and examples."""
    parts = [
        COMMANDS_HEAD,
        "\n".join(f"- [{name}](#{name}): {line}" for name, line in COMMANDS.items()) + "\n",
    ]
    parts += [
        f"{'###' if ' ' in name else '##'} {name}\n\n```text\n{help_of(name, command).rstrip()}\n```\n"
        for name, command in every_command()
    ]
    return "\n".join(parts)


def tools_page() -> str:
    """Return docs/tools.md: every tool with its arguments, what may be taken for granted of it, and its toolset."""
    with tempfile.TemporaryDirectory() as folder:
        schemas = {tool["name"]: tool for tool in listed(InProcess(Path(folder)))}
    parts = [TOOLS_HEAD]
    for group, specs in TOOLSETS.items():
        parts.append(f"## Toolset {group}\n\n{len(specs)} tools: {_SETS[group]}.\n")
        parts += ["\n".join(_tool(spec, schemas[spec.name])) + "\n" for spec in specs]
    return "\n".join(parts)


def _tool(spec: Spec, schema: dict[str, Any]) -> Iterator[str]:
    hints = [name for name in ("reads", "destroys", "repeats") if getattr(spec.hints, name)]
    yield f"### {spec.name}\n\n{' '.join(schema['description'].split())}\n"
    yield f"{spec.title}. {', '.join(f'**{hint}**' for hint in hints) or 'Adds, destroys nothing'}.\n"
    shown = schema["inputSchema"]
    required = shown.get("required", [])
    if shown["properties"]:
        yield "| argument | value | default | |\n|---|---|---|---|"
        for name, part in shown["properties"].items():
            default = "required" if name in required else cell(part["default"]) if "default" in part else ""
            yield f"| `{name}` | {_kind(part)} | {default} | {_text(part.get('description', ''))} |"
        yield ""
    taken = _unlisted(spec, shown["properties"])
    if taken:
        yield f"Taken too: {', '.join(taken)}.\n"


def _unlisted(spec: Spec, properties: dict[str, Any]) -> list[str]:
    """Return the arguments that are taken and not listed, and the other names of those that are."""
    code = spec.function.__code__
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    own = [f"`{name}`" for name in names if name not in properties]
    return [*own, *(f"`{other}` for `{name}`" for other, name in spec.aliases.items())]


def _kind(part: dict[str, Any]) -> str:
    if "enum" in part:
        return " \\| ".join(f"`{one}`" for one in part["enum"])
    if "anyOf" in part:
        return " or ".join(_kind(one) for one in part["anyOf"])
    kind = part.get("type", "any")
    kinds = kind if isinstance(kind, list) else [kind]
    text = " or ".join(str(one) for one in kinds)
    if kind == "array":
        return f"list of {_kind(part.get('items', {}))}"
    ends = [f"{part[key]}" for key in ("minimum", "maximum") if key in part]
    return f"{text}, {' to '.join(ends)}" if len(ends) == 2 else text


def _text(description: str) -> str:
    return description.replace("|", "\\|").replace("\n", " ")
