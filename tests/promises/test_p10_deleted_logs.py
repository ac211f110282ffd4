"""P10, P11: a log that somebody deletes while it is written is noticed, said and counted, and the recording goes on."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.clients import RawClient
from harness.origin import Origin
from tests.cli.support import wiretape_json
from wiretape.cli.demo.stage import Daemon
from wiretape.cli.demo.waiting import wait_until
from wiretape.daemon.client import request
from wiretape.session.catalogue import Catalogue


class Deleted:
    """A daemon whose session can be deleted while it records."""

    def __init__(self, daemon: Daemon, origin: Origin) -> None:
        self.daemon = daemon
        self.root = daemon.root
        self._origin = origin
        host, _, port = daemon.proxy.removeprefix("http://").rpartition(":")
        self._address = (host, int(port))

    @property
    def log(self) -> Path:
        """The log folder of the first session."""
        return self.root / "sessions" / self.daemon.session_id / "log"

    def status(self) -> dict[str, Any]:
        return request(self.root, {"cmd": "status"})

    def get(self, count: int = 1) -> None:
        for _ in range(count):
            with RawClient.plain(self._address) as client:
                assert client.get(self._origin.url("/bytes/10"), host=self._origin.authority).status == 200

    def wait_for_another_session(self) -> str:
        return str(
            wait_until(
                lambda: next((i for i in [self.status()["sessionId"]] if i != self.daemon.session_id), None),
                what="another session",
            )
        )

    def kill_recorder(self) -> None:
        (old,) = self.status()["recorderPids"]
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: self.status()["recorderPids"] not in ([], [old]), what="the recorder's successor")


@pytest.fixture
def deleted(root: Path, http_origin: Origin) -> Iterator[Deleted]:
    with Daemon(root, "--session", "shop") as daemon:
        yield Deleted(daemon, http_origin)


@pytest.mark.parametrize("what", ["session", "log", "moved"])
def test_p10_a_deleted_session_is_followed_by_a_new_one_that_counts_what_passed_in_between(
    deleted: Deleted, what: str
) -> None:
    deleted.get(3)
    folder = deleted.log if what == "log" else deleted.log.parent
    if what == "moved":
        folder.rename(folder.with_name("elsewhere"))
    else:
        shutil.rmtree(folder)
    deleted.get(2)
    new = deleted.wait_for_another_session()
    deleted.get(4)
    status = deleted.status()
    assert status["recording"]
    assert status["dropped"] >= 2
    assert [deleted.daemon.session_id in sentence and new in sentence for sentence in status["warnings"]].count(
        True
    ) == 1
    assert new in deleted.daemon.messages.read_text()
    deleted.kill_recorder()
    deleted.get(1)
    assert deleted.status()["sessionId"] == new
    deleted.daemon.stop()
    with Catalogue(deleted.root).open(new) as session:
        assert session.summary().name == "shop"
        page = session.query()
        assert page.matched == 5
        assert page.coverage.dropped >= 2


@pytest.mark.parametrize("what", ["session", "log", "segments"])
def test_p5_a_recorder_that_is_killed_with_its_log_gone_has_a_successor_that_gives_no_number_twice(
    deleted: Deleted, what: str
) -> None:
    deleted.get(2)
    (old,) = deleted.status()["recorderPids"]
    os.kill(old, signal.SIGSTOP)  # it must not notice
    if what == "segments":
        for segment in deleted.log.glob("*.wlog"):
            segment.unlink()
    else:
        shutil.rmtree(deleted.log if what == "log" else deleted.log.parent)
    os.kill(old, signal.SIGKILL)
    deleted.get(2)
    new = deleted.wait_for_another_session()
    assert deleted.status()["recording"]
    deleted.daemon.stop()
    with Catalogue(deleted.root).open(new) as session:
        assert [item.seq for item in session.query().items] == [2, 1]


def test_p11_a_deleted_segment_is_followed_by_another_one_and_what_was_in_it_is_named(deleted: Deleted) -> None:
    deleted.get(3)
    (segment,) = deleted.log.glob("*.wlog")
    segment.unlink()
    wait_until(lambda: list(deleted.log.glob("*.wlog")), what="another segment")
    (after,) = deleted.log.glob("*.wlog")
    assert after.name != segment.name
    deleted.get(2)
    status = deleted.status()
    assert status["sessionId"] == deleted.daemon.session_id
    assert [deleted.daemon.session_id in sentence for sentence in status["warnings"]].count(True) == 1
    deleted.daemon.stop()
    items = wiretape_json("query", "last", "--root", deleted.root)
    assert [item["seq"] for item in items["items"]] == [5, 4]
    report = wiretape_json("verify", "last", "--root", deleted.root, status=1)
    assert report["lostExchanges"] == 3
