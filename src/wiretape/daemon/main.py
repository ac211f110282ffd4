"""Running a daemon in the foreground: order of start, signals, order of end."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys
import time
from contextlib import suppress

from wiretape.daemon.announce import announcement
from wiretape.daemon.control import ControlServer
from wiretape.daemon.faces import Face, MakeFace
from wiretape.daemon.listen import bind, exposed
from wiretape.daemon.lock import RootLock
from wiretape.daemon.messages import OneLine
from wiretape.daemon.paths import info_path
from wiretape.daemon.rules_file import RulesFile
from wiretape.daemon.service import Service
from wiretape.daemon.token import load_or_create
from wiretape.daemon.traffic import Traffic, Watcher
from wiretape.errors import WiretapeError
from wiretape.memory import LOOK_EVERY, Trimmer
from wiretape.model import to_json
from wiretape.private_files import replace_file
from wiretape.settings import Address, ServeOptions

log = logging.getLogger(__name__)


def run_serve(options: ServeOptions, make_face: MakeFace | None = None, watcher: Watcher | None = None) -> int:
    """Serve until SIGTERM, SIGINT, SIGHUP, a ``stop`` command or idleness, then end cleanly.

    Args:
        options: what to serve.
        make_face: makes the face that answers MCP; without one only the control socket is served.
        watcher: a person who is shown the traffic as it comes.

    Returns:
        The exit status, 0.

    Raises:
        BusyError: the root or a port is in use. StorageError: the root cannot be used. DaemonError: no recorder starts.
    """
    _log_to_stderr()
    lock = RootLock(options.root)
    try:
        asyncio.run(_serve(options, make_face, watcher))
    finally:
        lock.release()
    return 0


async def _serve(options: ServeOptions, make_face: MakeFace | None, watcher: Watcher | None) -> None:
    service = await asyncio.to_thread(
        lambda: Service(
            options.root, options.upstream, options.maintenance, loop=options.loop, arrivals=options.arrivals
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, service.stop_requested.set)
    listener = bind(options.api) if options.api is not None else None
    if listener is not None:
        host, port = listener.getsockname()[:2]
        service.api = Address(host=host, port=port)
        service.token = await asyncio.to_thread(load_or_create, options.root)
        for warning in exposed(None, service.api):
            log.warning("%s", warning)
    try:
        await _run(options, service, listener, make_face, watcher)
    finally:
        with suppress(FileNotFoundError):
            info_path(options.root).unlink()
        await service.close()
        if listener is not None:
            listener.close()
        if watcher is None:
            log.info("ended")
        else:
            watcher.end(service.last_session, await _recorded(service))


async def _run(
    options: ServeOptions,
    service: Service,
    listener: socket.socket | None,
    make_face: MakeFace | None,
    watcher: Watcher | None,
) -> None:
    """Bring everything up, say so, and wait for the end."""
    # The recorders start while this process still imports the face: both take longest of all.
    rules = RulesFile(options.rules, service.rules) if options.rules is not None else None
    if rules is not None:
        await rules.load()
    proxy = asyncio.create_task(_start_proxy(options, service))
    try:
        face = await asyncio.to_thread(make_face, service) if make_face is not None else None
    finally:
        await proxy
    control = ControlServer(service, face)
    await control.start()
    http = asyncio.create_task(_serve_http(face, listener))
    memory = asyncio.create_task(_give_back_memory())
    shown = asyncio.create_task(_show_traffic(service, watcher))
    watching = asyncio.create_task(_watch(rules))
    try:
        await service.maintenance.start()
        service.follow()
        await _announce(options, service)
        await _until_stopped(service, options.idle_exit)
    finally:
        http.cancel()
        memory.cancel()
        shown.cancel()
        watching.cancel()
        await asyncio.gather(http, memory, shown, watching, return_exceptions=True)
        # The socket goes last: `wiretape stop` waits for it, and is then to find a session that is sealed.
        await service.close()
        await control.stop()


async def _watch(rules: RulesFile | None) -> None:
    if rules is not None:
        await rules.watch()


async def _show_traffic(service: Service, watcher: Watcher | None) -> None:
    if watcher is not None:
        await Traffic(service, watcher.traffic).run()


async def _recorded(service: Service) -> int:
    """Return how many exchanges the last session has."""
    if service.last_session is None:
        return 0
    try:
        return (await service.library.summary(service.last_session)).exchanges
    except WiretapeError:
        return 0
    finally:
        await service.library.close()


async def _start_proxy(options: ServeOptions, service: Service) -> None:
    if options.proxy is not None:
        await service.proxy_start(options.proxy, options.session)


async def _give_back_memory() -> None:
    """Give back what the import of the SDK, or a big answer, has left (P8)."""
    trimmer = Trimmer()
    while True:
        await asyncio.sleep(LOOK_EVERY)
        trimmer.look()


async def _serve_http(face: Face | None, listener: socket.socket | None) -> None:
    if face is not None and listener is not None:
        await face.serve_http(listener)


async def _announce(options: ServeOptions, service: Service) -> None:
    """Write down where everything is, for programs in the root and for people on stdout."""
    status = await service.status()
    facts = to_json(status)
    # A link that somebody put there is replaced, never followed (P14).
    replace_file(info_path(options.root), (json.dumps(facts, indent=2) + "\n").encode())
    with suppress(BrokenPipeError):
        token = service.token.value if service.token is not None else ""
        sys.stdout.write(announcement(service.for_the_owner(status), as_json=options.json, token=token))
        sys.stdout.flush()


async def _until_stopped(service: Service, idle_exit: float | None) -> None:
    """Wait for a reason to end."""
    if idle_exit is None:
        await service.stop_requested.wait()
        return
    while not service.stop_requested.is_set():
        since = service.idle_since()
        idle = 0.0 if since is None else time.monotonic() - since
        if idle >= idle_exit:
            log.info("nobody has needed this daemon for %g s", idle_exit)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(service.stop_requested.wait(), min(idle_exit - idle, idle_exit / 4))


def _log_to_stderr() -> None:
    """Send log lines to stderr, from INFO for our own and from WARNING for libraries'."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("wiretape").setLevel(logging.INFO)
