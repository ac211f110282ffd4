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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wiretape.cli.environment import Trust, environment
from wiretape.cli.output import note, print_json
from wiretape.cli.trusted import (
    CURL_SETTING,
    WGET_SETTING,
    curl_settings,
    read_settings,
    trusted_before,
    wget_settings,
)
from wiretape.daemon.listen import bind
from wiretape.daemon.proxy import Capture
from wiretape.errors import NotFoundError
from wiretape.session.catalogue import Catalogue
from wiretape.settings import Address, RecordTarget, SessionSettings, UpstreamSettings, loop_from
from wiretape.tls.authority import CertificateAuthority
from wiretape.tls.contexts import read_extra
from wiretape.tls.roots import machine_roots, pem_certificates, write_roots


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What ``wiretape run`` was asked for; ``words`` is the command with its arguments."""

    root: Path
    words: tuple[str, ...]
    name: str
    insecure_upstream: bool
    upstream_ca: Path | None
    keep_no_proxy: bool
    as_json: bool


def run_recorded(options: RunOptions) -> int:
    """Run the command and give its exit status, 128 + n for one that signal n ended.

    Raises:
        NotFoundError: there is no such command.
    """
    program = shutil.which(options.words[0])
    if program is None:
        hint = "give a program on PATH, or the path of one; aliases and shell builtins need `-- sh -c '...'`"
        raise NotFoundError(f"there is no command {options.words[0]!r}", hint=hint)
    return asyncio.run(_run(options, program))


async def _run(options: RunOptions, program: str) -> int:
    authority = CertificateAuthority.load_or_create(options.root)
    known = {*machine_roots(), authority.cert_pem}
    trusted = [block for block in trusted_before(os.environ, options.words, Path.cwd()) if block not in known]
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
        note(f"wiretape: session {made.session_id}")
        with _signals_to_command() as command:
            output = sys.stderr.fileno() if options.as_json else None
            process = await asyncio.create_subprocess_exec(program, *options.words[1:], env=variables, stdout=output)
            command.append(process)
            status = await process.wait()
    finally:
        await capture.stop()
        shutil.rmtree(settings, ignore_errors=True)
    status = status if status >= 0 else 128 - status
    if options.as_json:
        print_json({"sessionId": made.session_id, "exitStatus": status})
    return status


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
