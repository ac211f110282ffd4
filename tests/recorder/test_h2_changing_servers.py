"""Servers of HTTP/2 that change: they go away, speak something else than before, or speak nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.clients import RawClient
from harness.h2_peers import H2Origin, OriginWire, ReceivedRequest
from harness.origin import Origin
from harness.recorder import RecorderProcess, trusting
from tests.recorder.conftest import LOOPS
from tests.recorder.test_h2 import connect, the_one
from wiretape.cli.demo.certificates import OriginCA


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_that_goes_away_and_says_nothing_more_is_not_waited_for_longer_than_any_other(
    root: Path, origin_ca: OriginCA, loop: str
) -> None:
    def leave(wire: OriginWire, request: ReceivedRequest) -> None:
        wire.connection.close_connection(last_stream_id=request.stream)

    root.mkdir()
    with (
        RecorderProcess(root, upstream_ca=origin_ca.pem, loop=loop, first_byte_timeout=0.5) as process,
        H2Origin(origin_ca.issue().server_context(alpn=("h2",))) as server,
    ):
        process.record()
        server.on("/leave", leave)
        with connect(process, server.port) as client:
            assert client.get("/leave").status == 504
        exchange = the_one(process)
        assert exchange.done is not None
        assert exchange.done.error_code == "server-timeout"


def test_a_server_of_http1_that_has_become_one_of_http2_alone_is_reached(
    recorder: RecorderProcess, origin_ca: OriginCA
) -> None:
    issued = origin_ca.issue()
    with Origin(tls=issued.server_context()) as before:
        port = before.port
        context = trusting(recorder)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with RawClient.tunnel(recorder.address, "localhost", port, tls=context) as client:
            assert client.get("/bytes/5").status == 200
    with H2Origin(issued.server_context(alpn=("h2",)), port=port), connect(recorder, port) as later:
        assert later.get("/bytes/5").status == 200
