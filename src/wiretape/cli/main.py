"""The entry: finds the command, imports only that one, and turns what goes wrong into a sentence and an exit status."""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from wiretape.cli.output import OUTPUT, print_json, visible, write_line, writing_output
from wiretape.errors import StorageError, WiretapeError

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells report it."""

EXIT_STATUS: Final = {"no-command": 127, "not-executable": 126}
"""Exit status of errors for which shells, env and timeout have one, by code."""

TRACEBACK_VARIABLE = "WIRETAPE_TRACEBACK"

COMMANDS = {
    "serve": "Record in the foreground: proxy, MCP server, index.",
    "run": "Run a command with its HTTP traffic recorded.",
    "mcp": "Serve MCP over stdio, for an agent's configuration.",
    "status": "Say what the daemon is doing.",
    "stop": "End the daemon cleanly.",
    "sessions": "List the sessions.",
    "show": "Show what is in a session: endpoints, errors, slowest.",
    "query": "List exchanges of a session, filtered.",
    "grep": "Find a text or an expression in URLs, headers and bodies.",
    "sql": "Ask a session in SQL, read-only.",
    "rules": "Change what passes: mock, block, edit; list, add, test, preview.",
    "mark": "Label this moment of the recording, for --since.",
    "exchange": "Show one exchange whole, or write one of its bodies.",
    "diff": "Compare two sessions or two exchanges.",
    "explain": "Explain why an exchange went wrong.",
    "endpoints": "List endpoints, and how they drifted.",
    "trace": "Find where a value comes from and goes to.",
    "body": "Show one body, or a part of it: a path, its shape, a range.",
    "messages": "List messages of WebSockets, event streams and gRPC.",
    "llm": "List calls of language models, or show one's conversation.",
    "cat": "Write every exchange as a line of JSON, for jq.",
    "secrets": "List what secrets are in a session, not their values.",
    "handshakes": "List TLS handshakes and their fingerprints.",
    "export": "Write a session as HAR, curl, tests, OpenAPI and more.",
    "send": "Send one recorded request again, with changes.",
    "import": "Make a session of another program's recording.",
    "verify": "Check a session's log, reading only.",
    "recover": "Rebuild what is derived from the log, and account for damage.",
    "parity": "Add what is needed to heal damage to a session.",
    "delete": "Delete a session for ever.",
    "prune": "Delete old sessions by age, number, size or name.",
    "pin": "Keep a session from being deleted.",
    "ca": "Print the CA certificate that clients must trust.",
    "guide": "Print the cookbook: questions, and the commands that answer them.",
    "doctor": "Find out what is wrong with this installation.",
    "demo": "Kill a recording proxy under traffic and count the losses.",
    "completion": "Print the completion script for a shell.",
}
"""Every command and its line in ``--help``, which therefore needs none of the commands' modules."""
MODULES = {"import": "importing"}
"""Commands whose names cannot be those of modules."""


SAME: Final = {
    "ls": "sessions",
    "list": "sessions",
    "start": "serve",
    "record": "serve",
    "proxy": "serve",
    "exec": "run",
    "get": "exchange",
    "find": "grep",
    "search": "grep",
    "compare": "diff",
    "overview": "show",
    "summary": "show",
    "origin": "trace",
    "curl": "export",
    "har": "export",
    "rm": "delete",
    "remove": "delete",
    "check": "verify",
    "repair": "recover",
    "tail": "query",
    "log": "query",
    "logs": "query",
    "replay": "send",
    "kill": "stop",
    "cert": "ca",
}
"""What other programs call a command."""


def near_command(name: str) -> list[str]:
    """Return the commands that were probably meant, the likeliest first."""
    known = SAME.get(name.lower())
    near = difflib.get_close_matches(name.lower(), COMMANDS, 2, 0.6)
    return list(dict.fromkeys([*([known] if known in COMMANDS else []), *near]))[:2]


class ReaderGone(Exception):  # noqa: N818 - it is no error
    """Whoever read stdout has gone. Not an OSError, which click would turn into status 1."""


class LazyGroup(click.Group):
    """The group of all commands; a command's module is imported when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Name the commands in the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the module of ``cmd_name`` and return its command."""
        if cmd_name == "help":
            return _help
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"wiretape.cli.commands.{MODULES.get(cmd_name, cmd_name)}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown one is answered with those that are near it, or do what it says elsewhere."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            meant = near_command(name)
            suggestion = f" Did you mean {' or '.join(repr(one) for one in meant)}?" if meant else ""
            raise click.UsageError(f"No such command {name[:80]!r}.{suggestion}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from wiretape import __version__  # noqa: PLC0415

        click.echo(f"wiretape {__version__}")
        ctx.exit()


@click.command(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`wiretape COMMAND --help` shows a command's options and examples.",
)
@click.option("--root", metavar="DIR", help="Folder for sessions and CA. [default: $WIRETAPE_ROOT, else user data]")
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="Colour the output. [default: on terminals, unless NO_COLOR is set]",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
@click.pass_context
def wiretape(ctx: click.Context, root: str | None, color: str) -> None:
    """The flight recorder for HTTP: every exchange on disk before its last byte is answered."""
    ctx.obj = {"root": root, "color": color}
    if ctx.invoked_subcommand is None:
        _print_situation(ctx, root)


def _print_situation(ctx: click.Context, root: str | None) -> None:
    """Print what is going on, and the help: what somebody needs who types the name alone."""
    from wiretape.cli.situation import three_lines  # noqa: PLC0415
    from wiretape.config import resolve_root  # noqa: PLC0415

    for line in three_lines(resolve_root(root)):
        write_line(visible(line))
    write_line()
    write_line(ctx.get_help())


@click.command("help")
@click.argument("name", required=False)
@click.pass_context
def _help(ctx: click.Context, name: str | None) -> None:
    """Print the help of a command, or of all."""
    parent = ctx.find_root()
    found = wiretape if name is None else wiretape.get_command(parent, name)
    if found is None:
        wiretape.resolve_command(parent, [name or ""])
        return
    with click.Context(found, info_name=name, parent=None if name is None else parent) as own:
        write_line(found.get_help(own) if name is not None else parent.get_help())


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done and clean, 1 damage found or failed, 2 wrong usage."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Started with the descriptor closed (`>&-`): what is printed has nowhere to go.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the process's life
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(arguments: list[str]) -> int:
    """Run one command line in this process and return its exit status; errors are reported, not raised."""
    if "_WIRETAPE_COMPLETE" in os.environ:
        from wiretape.cli.shells import use_bash  # noqa: PLC0415 - only a shell that completes asks for it

        use_bash()
    try:
        status = wiretape.main(args=arguments, prog_name="wiretape", standalone_mode=False)
        with writing_output():
            sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())  # the help of a command that was named alone
        return error.exit_code
    except click.ClickException as error:
        ctx: click.Context | None = getattr(error, "ctx", None)
        usage_help = f"`{ctx.command_path} --help` shows what it takes" if ctx else ""
        return _report(arguments, "usage", usage_message(error), usage_help, error.exit_code)
    except WiretapeError as error:
        status = EXIT_STATUS.get(error.code, error.exit_status)
        return _report(arguments, error.code, error.message, error.hint, status)
    except (ReaderGone, BrokenPipeError):
        return _quiet_pipe()
    except OSError as error:
        mapped = _map_os_error(error)
        return _report(arguments, mapped.code, mapped.message, mapped.hint, mapped.exit_status)
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        message = f"this is a bug in wiretape: {type(error).__name__}: {error}"
        return _report(arguments, "bug", message, f"{TRACEBACK_VARIABLE}=1 shows where; please report it", 1)
    return status if isinstance(status, int) else 0


def usage_message(error: click.ClickException) -> str:
    """Return what click found wrong as one sentence, with a suggestion only where it is near."""
    message = " ".join(error.format_message().split())
    if isinstance(error, click.NoSuchOption):
        near = difflib.get_close_matches(error.option_name, error.possibilities or (), 1, 0.75)
        message = f"No such option {error.option_name!r}." + (f" Did you mean {near[0]!r}?" if near else "")
    return message.replace("is not a valid integer range.", "is not a whole number.")


def _map_os_error(error: OSError) -> WiretapeError:
    """Say what the operating system refused; the layers below map what they can name better."""
    path = f" {os.fsdecode(error.filename)!r}" if isinstance(error.filename, (str, bytes)) else ""
    cause = error.strerror or str(error)
    hint = "`wiretape doctor` checks the root folder, its rights and the space left"
    return StorageError(f"the system refused{path}: {cause}", hint=hint)


def _quiet_pipe() -> int:
    """The reader has gone (``| head``): nothing is wrong, and nothing more is to be written to it."""
    _to_nowhere()
    return 0


def _to_nowhere() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _report(arguments: list[str], code: str, message: str, hint: str, status: int) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        # What is buffered can never be written; Python would try again at its end, and exit with 120.
        _to_nowhere()
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if code == OUTPUT:
        _to_nowhere()  # nor can what is buffered still be written at the end
    elif "--json" in own:
        with contextlib.suppress(WiretapeError, BrokenPipeError):  # what is to be reported comes first
            print_json({"status": "error", "code": code, "message": message, "hint": hint})
    # An error in a filter shows the place on a line of its own.
    click.echo(f"wiretape: {visible(message, keep=chr(10) if code == 'filter' else '')}", err=True)
    if hint:
        click.echo(f"hint: {visible(hint)}", err=True)
    return status
