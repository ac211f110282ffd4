"""The daemon with its MCP face, put together."""

from __future__ import annotations

from wiretape.daemon.faces import Face
from wiretape.daemon.main import run_serve as run_daemon
from wiretape.daemon.service import Service
from wiretape.daemon.traffic import Watcher
from wiretape.settings import ServeOptions


def run_serve(options: ServeOptions, *, client_comes: bool = False, watcher: Watcher | None = None) -> int:
    """Serve in the foreground until told to end; see ``wiretape.daemon.main.run_serve``.

    Args:
        options: what to serve.
        watcher: a person who is shown the traffic as it comes.
        client_comes: an MCP client has started this daemon: the SDK is imported at once, not when it is there.
    """

    def make_face(service: Service) -> Face:
        # Imported when the recorders are already starting: they take longest of all.
        from wiretape.mcpserver.face import McpFace  # noqa: PLC0415

        face = McpFace(service, options.mcp)
        if client_comes:
            face.warm_up()
        return face

    return run_daemon(options, make_face, watcher)
