"""Run the MCP conformance suite against the fixtures and the product: ``python -m tests.mcpserver.conformance``.

It needs npx and the npm registry (or an installed suite, whose ``conformance`` is then given as the argument). What is
expected to fail stands in ``expected-failures.txt`` with the reason; the exit status is 1 when anything else does, and
when something of it passes.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import tempfile
from pathlib import Path

from tests.mcpserver.conformance.fixtures import fixture_server
from wiretape.api.server import serve
from wiretape.daemon.service import Service
from wiretape.mcpserver.http import McpOverHttp
from wiretape.settings import UpstreamSettings

SUITE = ("npx", "-y", "-p", "node@22", "-p", "@modelcontextprotocol/conformance@0.2.0-alpha.12", "conformance")
ERAS = ("2025-11-25", "2026-07-28")
TOKEN = "t" * 64
EXPECTED = Path(__file__).with_name("expected-failures.txt")
RESULT = re.compile(r"^([✓✗]) ([a-z0-9-]+): \d+ passed, \d+ failed$", re.MULTILINE)


async def results(command: tuple[str, ...], url: str) -> dict[str, bool]:
    """Return which scenarios passed, by ``ERA scenario``."""
    found: dict[str, bool] = {}
    for era in ERAS:
        process = await asyncio.create_subprocess_exec(
            *command, "server", "--url", url, "--requirements", era, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        found |= {f"{era} {name}": mark == "✓" for mark, name in RESULT.findall(out.decode())}
    return found


async def main(command: tuple[str, ...]) -> int:
    """Serve the fixtures, run the suite, compare with what is expected."""
    with tempfile.TemporaryDirectory() as root, socket.create_server(("127.0.0.1", 0)) as listener:
        service = Service(Path(root), UpstreamSettings())

        async def make() -> object:
            return fixture_server(service)

        async def page() -> str:
            return ""

        app = McpOverHttp(make)  # type: ignore[arg-type]
        running = asyncio.create_task(serve(listener, app, page, TOKEN))
        try:
            port = listener.getsockname()[1]
            found = await results(command, f"http://127.0.0.1:{port}/mcp?token={TOKEN}")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await service.close()
    expected = {line.partition("#")[0].strip() for line in EXPECTED.read_text().splitlines()} - {""}
    failed = {name for name, passed in found.items() if not passed}
    print(f"{sum(found.values())} of {len(found)} scenarios pass")
    for name in sorted(failed - expected):
        print(f"FAILED {name}")
    for name in sorted(expected - failed):
        print(f"passes, and is expected to fail: {name}")
    return int(failed != expected or not found)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(tuple(sys.argv[1:]) or SUITE)))
