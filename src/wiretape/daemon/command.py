"""A command under the recorder: a proxy and a session of its own, for as long as it runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from wiretape.daemon.environment import Trust, environment
from wiretape.daemon.listen import bind
from wiretape.daemon.proxy import Capture
from wiretape.daemon.trusted import (
    CURL_SETTING,
    WGET_SETTING,
    curl_settings,
    read_settings,
    trusted_before,
    wget_settings,
)
from wiretape.errors import NotFoundError, UsageError
from wiretape.session.catalogue import Catalogue
from wiretape.settings import Address, RecordTarget, SessionSettings, UpstreamSettings, loop_from
from wiretape.tls.authority import CertificateAuthority
from wiretape.tls.contexts import read_extra
from wiretape.tls.roots import machine_roots, pem_certificates, write_roots

TAIL: Final = 8_000
"""Bytes that are kept of the end of what a command prints, where its caller does not see it."""

_GRACE: Final = 3.0
"""Seconds between the signal that asks a command to end and the one that ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOptions:
    """A command to be recorded.

    Attributes:
        root: where the session is made.
        words: the command with its arguments.
        name: the session's name.
        insecure_upstream: do not verify servers' certificates.
        upstream_ca: a PEM file of further roots to trust for servers.
        keep_no_proxy: leave NO_PROXY as it is.
        folder: where it runs, None for here.
        variables: added to its environment, last: they win.
        timeout: seconds after which it is ended, None for never.
        quiet: nobody sees it: no input, and the ends of what it prints are kept; else it shares the terminal.
        output: the descriptor that its output goes to, None for ours; only where it is not ``quiet``.
    """

    root: Path
    words: tuple[str, ...]
    name: str
    insecure_upstream: bool = False
    upstream_ca: Path | None = None
    keep_no_proxy: bool = False
    folder: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    quiet: bool = False
    output: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended: ``status`` is 128 + n where signal n ended it; ``stdout`` and ``stderr`` are tails."""

    session_id: str
    status: int
    seconds: float
    timed_out: bool = False
    stdout: bytes = b""
    stderr: bytes = b""


def program_of(words: Sequence[str], folder: Path | None = None) -> str:
    """Return the path of a command's program.

    Raises:
        NotFoundError: there is none; ``code`` is ``no-command``.
        UsageError: it cannot be executed; ``code`` is ``not-executable``.
    """
    path = words[0] if os.sep not in words[0] else str((folder or Path()) / words[0])
    found = shutil.which(path)
    if found is not None:
        return found
    if os.sep in words[0] and Path(path).exists():
        raise UsageError(
            f"{words[0]!r} cannot be executed", hint="chmod +x makes a program of it", code="not-executable"
        )
    hint = "give a program on PATH, or the path of one; aliases and shell builtins need sh -c '...'"
    raise NotFoundError(f"There is no command {words[0]!r}", hint=hint, code="no-command")


async def run_command(options: CommandOptions, program: str, began: Callable[[str], None] = lambda _: None) -> Ended:
    """Run a command under a recorder of its own and return when both have ended.

    Args:
        options: what to run, and how.
        program: its path, as ``program_of`` gives it.
        began: called with the session's id before it starts.

    Raises:
        UsageError, StorageError, DaemonError: the recorder or the command cannot be started.
    """
    authority = CertificateAuthority.load_or_create(options.root)
    known = {*machine_roots(), authority.cert_pem}
    folder = options.folder or Path.cwd()
    base = {**os.environ, **options.variables}
    trusted = [block for block in trusted_before(base, options.words, folder) if block not in known]
    made = Catalogue(options.root).create(options.name, profile="full", durability="group", max_disk=None)
    target = RecordTarget(session_id=made.session_id, dir=made.path, settings=SessionSettings(name=options.name))
    roots = _upstream_roots(authority, trusted, options.upstream_ca)
    upstream = UpstreamSettings(insecure=options.insecure_upstream, ca=roots)
    listener = bind(Address(host="127.0.0.1", port=0))
    capture = Capture(listener, options.root, upstream, loop=loop_from(os.environ))
    settings = Path(tempfile.mkdtemp(prefix="wiretape-run-"))
    try:
        await capture.start(target)
        trust = _write_trust(authority, trusted, settings)
        proxy = f"http://{capture.address}"
        variables = environment(os.environ, proxy=proxy, trust=trust, keep_no_proxy=options.keep_no_proxy)
        began(made.session_id)
        run = _quietly if options.quiet else _on_the_terminal
        ended = await run(options, program, {**variables, **options.variables})
    finally:
        await capture.stop()
        shutil.rmtree(settings, ignore_errors=True)
    return replace(ended, session_id=made.session_id)


async def _on_the_terminal(options: CommandOptions, program: str, variables: Mapping[str, str]) -> Ended:
    begun = time.monotonic()
    with _signals_to_command() as command:
        process = await _start(options, program, variables, stdout=options.output)
        command.append(process)
        status = await process.wait()
    return Ended(session_id="", status=_as_shells_do(status), seconds=time.monotonic() - begun)


async def _quietly(options: CommandOptions, program: str, variables: Mapping[str, str]) -> Ended:
    """Run a command that nobody sees, in a group of its own: what it has started ends with it."""
    begun = time.monotonic()
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await _start(options, program, variables, stdin=nothing, stdout=pipe, stderr=pipe, start_new_session=True)
    assert process.stdout is not None
    assert process.stderr is not None
    tails = [asyncio.create_task(_tail(stream)) for stream in (process.stdout, process.stderr)]
    timed_out = False
    try:
        await asyncio.wait_for(process.wait(), options.timeout)
    except TimeoutError:
        timed_out = True
    finally:
        await _end_group(process)
    # A program that left the group may hold the pipes open for ever.
    _, late = await asyncio.wait(tails, timeout=_GRACE)
    for task in late:
        task.cancel()
    out, err = [task.result() if task not in late else b"" for task in tails]
    status = _as_shells_do(await process.wait())
    return Ended(
        session_id="",
        status=status,
        seconds=time.monotonic() - begun,
        timed_out=timed_out,
        stdout=out,
        stderr=err,
    )


async def _start(
    options: CommandOptions, program: str, variables: Mapping[str, str], **pipes: Any
) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            program, *options.words[1:], env=variables, cwd=options.folder, **pipes
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{options.words[0]!r} cannot be executed: {error}", hint="is it a program?", code="not-executable"
        ) from error


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """End a command and what it has started, which may have outlived it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            return
        if number == signal.SIGTERM and process.returncode is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _GRACE)


async def _tail(stream: asyncio.StreamReader) -> bytes:
    """Read to the end, keep the end."""
    kept = b""
    while piece := await stream.read(1 << 16):
        kept = (kept + piece)[-TAIL:]
    return kept


def _as_shells_do(status: int) -> int:
    return status if status >= 0 else 128 - status


def _upstream_roots(authority: CertificateAuthority, trusted: list[bytes], given: Path | None) -> Path | None:
    """Return the file of roots that the recorder trusts besides the system's: what the command trusted, and ``given``.

    Raises:
        UsageError: ``given`` has no certificates.
    """
    if not trusted:
        return given
    blocks = trusted if given is None else [*trusted, *pem_certificates(read_extra(given).encode())]
    return write_roots(authority.folder, "upstream", blocks)


def _write_trust(authority: CertificateAuthority, trusted: list[bytes], settings: Path) -> Trust:
    """Write the files that tell the command's programs what to trust; those in ``settings`` end with the command."""
    bundle = authority.bundle_path(trusted)
    extra = write_roots(authority.folder, "extra", [*trusted, authority.cert_pem]) if trusted else authority.cert_path
    wgetrc = settings / "wgetrc"
    _write_settings(wgetrc, read_settings(wget_settings(os.environ)), WGET_SETTING, f"ca_certificate = {bundle}")
    curl = read_settings(curl_settings(os.environ))
    if not CURL_SETTING.search(curl):
        return Trust(bundle=bundle, extra=extra, wgetrc=wgetrc)
    _write_settings(settings / ".curlrc", curl, CURL_SETTING, f'cacert = "{bundle}"')
    return Trust(bundle=bundle, extra=extra, wgetrc=wgetrc, curl_home=settings)


def _write_settings(path: Path, text: str, named: re.Pattern[str], line: str) -> None:
    """Write a program's settings with ``line``, which names the bundle, in the place of what named something else."""
    kept = named.sub("", text)
    with open(path, "w", encoding="utf-8", errors="surrogateescape", opener=_open_private) as file:
        file.write(f"{kept}\n{line}\n" if kept else f"{line}\n")


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def _signals_to_command() -> Iterator[list[asyncio.subprocess.Process]]:
    """Leave Ctrl-C to the command, which the terminal tells as well, and pass SIGTERM and SIGHUP on to it."""
    running: list[asyncio.subprocess.Process] = []
    loop = asyncio.get_running_loop()

    def pass_on(number: int) -> None:
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    # A terminal sends SIGINT to the whole foreground group; without one it reaches us alone.
    loop.add_signal_handler(signal.SIGINT, (lambda: None) if sys.stdin.isatty() else lambda: pass_on(signal.SIGINT))
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, pass_on, number)
    try:
        yield running
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
