"""A command under the recorder: a proxy and a session of its own, for as long as it runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wiretape.cli.output import note, print_json
from wiretape.daemon.listen import bind
from wiretape.daemon.proxy import Capture
from wiretape.errors import NotFoundError
from wiretape.session.catalogue import Catalogue
from wiretape.settings import Address, RecordTarget, SessionSettings, UpstreamSettings, loop_from
from wiretape.tls.authority import CertificateAuthority

PROXY_VARIABLES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
"""curl reads only the lower-case ``http_proxy``, most others either; all are set so that none is missed."""

BUNDLE_VARIABLES = (
    "SSL_CERT_FILE",  # OpenSSL and what is built on it: Python's ssl, Ruby, PHP; Go
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "COMPOSER_CAFILE",
    "HTTPLIB2_CA_CERTS",
)
"""Variables whose file replaces the system's roots: they get roots and our CA together."""

EXTRA_VARIABLES = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
"""Variables whose file is trusted besides the system's roots: our CA alone."""


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


def environment(
    base: Mapping[str, str], *, proxy: str, ca: Path, bundle: Path, keep_no_proxy: bool = False
) -> dict[str, str]:
    """Give the command's environment: everything through the proxy, our CA trusted.

    Args:
        base: the environment to start from.
        proxy: the proxy's URL.
        ca: our CA's certificate.
        bundle: the system's roots and our CA in one file.
        keep_no_proxy: leave the exceptions alone; without it even localhost is recorded.
    """
    made = dict(base)
    made |= dict.fromkeys(PROXY_VARIABLES, proxy)
    made |= dict.fromkeys(BUNDLE_VARIABLES, str(bundle))
    made |= dict.fromkeys(EXTRA_VARIABLES, str(ca))
    # Node looks at the proxy variables since version 24, and only when told to.
    made["NODE_USE_ENV_PROXY"] = "1"
    if not keep_no_proxy:
        made.pop("no_proxy", None)
        made.pop("NO_PROXY", None)
    return made


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
    made = Catalogue(options.root).create(options.name, profile="full", durability="group", max_disk=None)
    target = RecordTarget(session_id=made.session_id, dir=made.path, settings=SessionSettings(name=options.name))
    upstream = UpstreamSettings(insecure=options.insecure_upstream, ca=options.upstream_ca)
    listener = bind(Address(host="127.0.0.1", port=0))
    capture = Capture(listener, options.root, upstream, loop=loop_from(os.environ))
    try:
        await capture.start(target)
        variables = environment(
            os.environ,
            proxy=f"http://{capture.address}",
            ca=authority.cert_path,
            bundle=authority.bundle_path(),
            keep_no_proxy=options.keep_no_proxy,
        )
        note(f"wiretape: session {made.session_id}")
        with _signals_to_command() as command:
            output = sys.stderr.fileno() if options.as_json else None
            process = await asyncio.create_subprocess_exec(program, *options.words[1:], env=variables, stdout=output)
            command.append(process)
            status = await process.wait()
    finally:
        await capture.stop()
    status = status if status >= 0 else 128 - status
    if options.as_json:
        print_json({"sessionId": made.session_id, "exitStatus": status})
    return status


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
