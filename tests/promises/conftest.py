"""A whole wiretape, as users run it, to be killed."""

from __future__ import annotations

import json
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.clients import RawClient
from harness.origin import Origin
from tests.cli.support import wiretape, wiretape_json
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.stage import Daemon
from wiretape.cli.demo.waiting import wait_until
from wiretape.daemon.client import request


class Recording:
    """A `wiretape serve` on free ports and what can be asked of its session afterwards."""

    def __init__(self, root: Path, upstream_ca: Path, folder: Path) -> None:
        self.root = root
        self.daemon = Daemon(root, "--upstream-ca", str(upstream_ca), messages=folder / "daemon.log")
        self.session_id = str(self.daemon.ready["sessionId"])
        host, _, port = self.daemon.address.rpartition(":")
        self.address = (host, int(port))

    def client(self, origin: Origin) -> tuple[RawClient, str]:
        """Connect to the proxy for an origin; gives the client and what stands before a path in its request line."""
        if origin.tls is None:
            return RawClient.plain(self.address), origin.url("")
        context = ssl.create_default_context(cafile=str(self.daemon.ready["caCert"]))
        return RawClient.tunnel(self.address, "localhost", origin.port, tls=context), ""

    def kill(self) -> None:
        """SIGKILL to recorders, background and daemon, at once.

        The background would end by itself; on a busy machine it may recover the session before it gets to know.
        """
        background = request(self.root, {"cmd": "status"})["background"]["pid"]
        for pid in filter(None, [*self.daemon.recorder_pids, background, self.daemon.process.pid]):
            os.kill(pid, signal.SIGKILL)
        self.daemon.process.wait()
        # A lock outlives its holder by the moment that the system needs to clear a killed process away.
        wait_until(lambda: self.verify()["state"] != "live", what="the recorders' end")

    def verify(self) -> Any:
        """Run verify."""
        done = wiretape("verify", self.session_id, "--root", self.root, "--json")
        return json.loads(done.stdout)

    def recover(self) -> Any:
        """Run recover, which must lose nothing; gives the session's part of the report."""
        (report,) = wiretape_json("recover", self.session_id, "--root", self.root)["recovered"]
        assert report["lostExchanges"] == 0
        assert report["gaps"] == []
        return report

    def exchanges(self) -> list[dict[str, Any]]:
        """Give every exchange of the session, as `wiretape cat` prints them."""
        done = wiretape("cat", self.session_id, "--root", self.root)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def recording(root: Path, origin_ca: OriginCA, tmp_path: Path) -> Iterator[Recording]:
    """A wiretape that records, with the test origins' authority trusted."""
    made = Recording(root, origin_ca.pem, tmp_path)
    yield made
    made.daemon.close()


@pytest.fixture(params=["http", "https"])
def origin(request: pytest.FixtureRequest) -> Origin:
    """An origin of each kind."""
    found = request.getfixturevalue(f"{request.param}_origin")
    assert isinstance(found, Origin)
    return found
