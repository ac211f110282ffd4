"""What `wiretape serve` prints once it serves."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from wiretape.daemon.values import DaemonStatus


def announcement(status: DaemonStatus, *, as_json: bool, token: str = "") -> str:
    """Return the one line of JSON for programs, or what a person needs to begin.

    Args:
        status: what runs; its ``ui`` carries the token where that may be shown.
        as_json: for programs.
        token: the API's token for the configuration of an MCP client over HTTP; "" leaves that block out.
    """
    return _line(status) if as_json else _page(status, token)


def _line(status: DaemonStatus) -> str:
    return (
        json.dumps(
            {
                "proxy": status.url,
                "mcp": status.mcp,
                "ui": status.ui,
                "caCert": status.ca_cert,
                "root": status.root,
                "sessionId": status.session_id,
                "pid": status.pid,
                "recorderPids": status.recorder_pids,
            }
        )
        + "\n"
    )


def _page(status: DaemonStatus, token: str) -> str:
    session = f"recording session {status.session_id}" if status.recording else "not recording"
    lines = [f"wiretape {status.version}, {session}", ""]
    rows = [
        ("proxy", status.url),
        ("mcp", status.mcp),
        ("ui", status.ui),
        ("ca", status.ca_cert),
        ("root", status.root),
    ]
    lines += [f"  {name:<6} {value}" for name, value in rows if value is not None]
    lines += ["", *status.warnings] if status.warnings else []
    if status.url is not None:
        lines += ["", "Try it:", ""]
        # Broken where it can be copied: a terminal breaks it anywhere.
        lines.append(f"  curl --proxy {status.url} --cacert {shlex.quote(status.ca_cert)} \\")
        lines.append("      https://example.com/")
        if status.reverse:
            lines += ["", f"Or without a proxy, for {', '.join(status.reverse)}:", "", f"  curl {status.url}/"]
    lines += ["", "For the configuration of an MCP client:", ""]
    lines.append(json.dumps(client_configuration(Path(status.root)), indent=2))
    if token and status.mcp is not None:
        lines += ["", "Or over HTTP (the token is in the file `token` of the root: whoever has it can read all):", ""]
        lines.append(json.dumps(http_configuration(status.mcp, token), indent=2))
    return "\n".join(lines) + "\n\n"


def http_configuration(mcp: str, token: str) -> dict[str, object]:
    """Return the block that makes an MCP client speak Streamable HTTP with the daemon."""
    server = {"type": "http", "url": mcp, "headers": {"Authorization": f"Bearer {token}"}}
    return {"mcpServers": {"wiretape": server}}


def client_configuration(root: Path) -> dict[str, object]:
    """Return the block that makes an MCP client start the stdio bridge for ``root``."""
    script = Path(sys.executable).with_name("wiretape")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "wiretape"]
    return {"mcpServers": {"wiretape": {"command": command[0], "args": [*command[1:], "mcp", "--root", str(root)]}}}
