"""mitmproxy's way of keeping and asking a recording: its own reader goes through the file for each question.

Run by mitmproxy's interpreter::

    python -m bench.beside.mitmproxy_reader make FLAT FOLDER
    python -m bench.beside.mitmproxy_reader ask FOLDER CALLS QUESTIONS
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mitmproxy import connection, flowfilter, http, io  # type: ignore[import-not-found]

from bench.beside.asked import run


def make(flat: str, folder: str) -> None:
    """Write the flows of a recording as mitmproxy keeps them."""
    client = connection.Client(peername=("127.0.0.1", 50000), sockname=("127.0.0.1", 8080))
    servers: dict[tuple[str, int], connection.Server] = {}
    with open(flat, "rb") as lines, (Path(folder) / "flows").open("wb") as file:
        writer = io.FlowWriter(file)
        for line in lines:
            one = json.loads(line)
            place = (one["host"], one["port"])
            server = servers.setdefault(place, connection.Server(address=place))
            writer.add(_flow(one, client, server))


def _flow(one: dict[str, Any], client: connection.Client, server: connection.Server) -> http.HTTPFlow:
    flow = http.HTTPFlow(client, server)
    flow.metadata["seq"] = one["seq"]
    begun = one["timestamp"] / 1000
    ended = begun + (one["duration"] or 0) / 1000
    flow.request = http.Request(
        one["host"], one["port"], one["method"].encode(), one["scheme"].encode(), b"", one["path"].encode(),
        b"HTTP/1.1", _headers(one["requestHeaders"]), one["requestBody"].encode(), None, begun, begun,
    )  # fmt: skip
    if one["status"] is not None:
        flow.response = http.Response(
            b"HTTP/1.1", one["status"], b"OK", _headers(one["responseHeaders"]), one["responseBody"].encode(),
            None, begun, ended,
        )  # fmt: skip
    return flow


def _headers(pairs: list[list[str]]) -> http.Headers:
    return http.Headers([(name.encode(), value.encode()) for name, value in pairs])


def _flows(folder: str) -> Iterator[http.HTTPFlow]:
    with (Path(folder) / "flows").open("rb") as file:
        for flow in io.FlowReader(file).stream():
            if isinstance(flow, http.HTTPFlow):
                yield flow


def _matching(folder: str, expression: str) -> list[int]:
    meant = flowfilter.parse(expression)
    return [flow.metadata["seq"] for flow in _flows(folder) if meant(flow)]


def answer(folder: str, ask: str, wanted: dict[str, Any]) -> Any:
    """Answer one question."""
    if ask == "page":
        status, url = wanted.get("status"), wanted.get("url")
        if url is not None:
            return _matching(folder, f"~u {re.escape(url)}")[: -20 - 1 : -1]
        found = [
            one.metadata["seq"] for one in _flows(folder) if one.response and one.response.status_code // 100 == status
        ]
        return found[: -20 - 1 : -1]
    if ask == "one":
        return [next(flow.metadata["seq"] for flow in _flows(folder) if flow.metadata["seq"] == wanted["seq"])]
    if ask == "text":
        return _matching(folder, f"~b {re.escape(wanted['text'])}")[:20]
    if ask == "overview":
        hosts: Counter[str] = Counter()
        others: Counter[tuple[str, int | None]] = Counter()
        for flow in _flows(folder):
            hosts[flow.request.host] += 1
            others[flow.request.method, flow.response.status_code if flow.response else None] += 1
        return sorted(map(list, hosts.items()))
    if ask == "timeline":
        minutes = Counter(int(flow.request.timestamp_start * 1000) // 60_000 * 60_000 for flow in _flows(folder))
        return sorted(map(list, minutes.items()))
    endpoints: Counter[tuple[str, str, str]] = Counter()
    for flow in _flows(folder):
        path = re.sub(r"/\d+(?=/|$)", "/{id}", flow.request.path.partition("?")[0])
        endpoints[flow.request.method, flow.request.host, path] += 1
    return [count for _, count in endpoints.most_common(10)]


if __name__ == "__main__":
    run(make, lambda folder: partial(answer, folder))
