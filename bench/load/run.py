"""Runs loads on their core, and the tools whose limits the results state."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

from bench.errors import BenchError
from bench.load import wrk
from bench.load.spec import LoadResult, LoadSpec
from bench.origin import SMALL, Origin
from bench.peers.base import HOST, Running

_PROJECT = Path(__file__).parents[2]


def run(spec: LoadSpec, *, cpu: int) -> LoadResult:
    """Run the load in a process of its own on core ``cpu``.

    Raises:
        BenchError: it failed, or answers were not what they should be.
    """
    result = wrk.run(spec, cpu=cpu) if spec.tool == "wrk" else _client(spec, cpu)
    if not result.measured:
        raise BenchError(f"nothing was answered: {result.errors or 'no errors either'}")
    return result


def _client(spec: LoadSpec, cpu: int) -> LoadResult:
    command = ["taskset", "-c", str(cpu), sys.executable, "-m", "bench.load.client", json.dumps(spec.as_dict())]
    limit = spec.warmup + spec.duration + 60
    done = subprocess.run(command, cwd=_PROJECT, capture_output=True, text=True, check=False, timeout=limit)
    if done.returncode:
        raise BenchError(f"the load client failed: {done.stderr.strip()[-400:]}")
    return LoadResult(**json.loads(done.stdout))


def probe(running: Running, origin: Origin, *, tls: bool) -> None:
    """Ask once as a careful client would: the peer's certificate verified, the body compared. One more answer.

    Raises:
        BenchError: it was not answered as the origin would.
    """
    port = running.https_port if tls else running.http_port
    connection: http.client.HTTPConnection
    if tls:
        context = ssl.create_default_context(cafile=str(running.ca))
        # Signed by the peer's CA is what matters; mockttp writes an address into its certificates as if it were a name.
        context.check_hostname = False
        connection = http.client.HTTPSConnection(HOST, port, context=context, timeout=30)
        if running.is_proxy:
            connection.set_tunnel(*_split(origin.host(tls=True)))
    else:
        connection = http.client.HTTPConnection(HOST, port, timeout=30)
    host = origin.host(tls=tls)
    target = f"http://{host}/small" if running.is_proxy and not tls else "/small"
    try:
        connection.request("GET", target, headers={"Host": host})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"the first request failed: {error}") from error
    finally:
        connection.close()
    if answer.status != 200 or body.decode(errors="replace") != SMALL:
        raise BenchError(f"the first request was answered with {answer.status} {body[:200]!r}")


def tool_limits(origin: Origin, *, cpu: int, seconds: float) -> dict[str, float]:
    """Requests per second that other load tools reach straight against the origin, on the core they share with it."""
    limits = {}
    for tls in (False, True):
        url = f"{'https' if tls else 'http'}://{origin.host(tls=tls)}/small"
        for tool, options in (
            ("wrk", ["-t1", "-c50", f"-d{seconds:.0f}s"]),
            ("hey", ["-c", "50", "-z", f"{seconds}s"]),
        ):
            program = shutil.which(tool)
            if program is not None:
                limits[f"{tool} {url.partition(':')[0]}"] = _tool([program, *options, url], cpu, seconds)
    return limits


def _tool(command: list[str], cpu: int, seconds: float) -> float:
    pinned = ["taskset", "-c", str(cpu), *command]
    done = subprocess.run(pinned, capture_output=True, text=True, check=False, timeout=seconds + 60)
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if found is None:
        raise BenchError(f"{command[0]} printed no rate: {(done.stdout + done.stderr).strip()[-300:]}")
    return float(found[1])


def _split(host: str) -> tuple[str, int]:
    name, _, port = host.rpartition(":")
    return name, int(port)
