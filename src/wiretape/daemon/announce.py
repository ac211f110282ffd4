"""What `wiretape serve` prints once it serves."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from wiretape.daemon.values import DaemonStatus


def announcement(status: DaemonStatus, *, as_json: bool) -> str:
    """Give the one line of JSON for programs, or what a person needs to begin."""
    return _line(status) if as_json else _page(status)


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


def _page(status: DaemonStatus) -> str:
    session = f"recording session {status.session_id}" if status.recording else "not recording"
    lines = [f"wiretape {status.version}, {session}", ""]
    rows = [("proxy", status.url), ("mcp", status.mcp), ("ca", status.ca_cert), ("root", status.root)]
    lines += [f"  {name:<6} {value}" for name, value in rows if value is not None]
    if status.url is not None:
        lines += ["", "Try it:", ""]
        lines.append(f"  curl --proxy {status.url} --cacert {shlex.quote(status.ca_cert)} https://example.com/")
    lines += ["", "For the configuration of an MCP client:", ""]
    lines.append(json.dumps(client_configuration(Path(status.root)), indent=2))
    return "\n".join(lines) + "\n\n"


def client_configuration(root: Path) -> dict[str, object]:
    """Give the block that makes an MCP client start the stdio bridge for ``root``."""
    script = Path(sys.executable).with_name("wiretape")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "wiretape"]
    return {"mcpServers": {"wiretape": {"command": command[0], "args": [*command[1:], "mcp", "--root", str(root)]}}}
