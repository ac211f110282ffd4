"""Measurements on a real origin with a real wiretape: short, but nothing in them stands for anything else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import measure, workloads
from bench.errors import BenchError
from bench.load import run as load
from bench.measure import Ground
from bench.origin import start_origin
from bench.peers import others, wiretape
from bench.peers.base import Peer
from bench.procs import settle
from bench.workloads import Extent
from harness.clients import needs

_EXTENT = Extent(rounds=1, seconds=1.0, warmup=0.0, big=3_000_000, rest=0.4)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    for program in ("nginx", "taskset", "wrk"):
        needs(program)
    cpu = min(os.sched_getaffinity(0))
    home = tmp_path / "origin"
    home.mkdir()
    origin = start_origin(home, cpu=cpu, big=_EXTENT.big)
    yield Ground(origin, _EXTENT, cpu, cpu, tmp_path)
    origin.child.stop()


def test_all_that_wrk_was_answered_is_recorded(ground: Ground) -> None:
    (workload,) = (w for w in workloads.WORKLOADS if w.key == "http-100k-wrk")
    measured = measure.throughput(workload, wiretape.CURRENT.recording(), ground, 1)
    assert measured.figures[""] > 0
    assert not measured.errors
    assert measured.account is not None
    assert measured.account.answered > 1
    assert measured.account.holds


def test_a_download_gives_a_rate_and_the_memory_that_it_took(ground: Ground) -> None:
    measured = measure.download(wiretape.CURRENT.recording(), ground, 1)
    assert measured.figures["rate"] > 0
    assert measured.figures["highest"] > 1
    assert measured.account is not None
    assert (measured.account.answered, measured.account.recorded) == (2, 2)


def test_an_agent_finds_tools_in_a_running_wiretape(ground: Ground) -> None:
    with measure.running(wiretape.CURRENT.recording(), ground) as proxy:
        assert proxy.visit is not None
        assert proxy.visit() > 5


@pytest.mark.parametrize("peer", [others.NGINX, others.DIRECT], ids=lambda peer: peer.key)
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_who_stands_beside_wiretape_answers_as_the_origin_would(ground: Ground, peer: Peer, tls: bool) -> None:
    with measure.running(peer, ground) as proxy:
        load.probe(proxy, ground.origin, tls=tls)


def test_a_process_that_never_rests_is_an_error(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(1000))
    monkeypatch.setattr("bench.procs.cpu_seconds", lambda root: float(next(seconds)))
    monkeypatch.setattr("bench.procs._START_SECONDS", 0.5)
    with pytest.raises(BenchError, match="come to rest"):
        settle(os.getpid(), seconds=0.4)


def test_a_checkout_without_its_own_wiretape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"has no \.venv"):
        wiretape.before(tmp_path)


def test_a_checkout_says_its_version_and_commit() -> None:
    checkout = wiretape.CURRENT
    assert checkout.version().startswith("0.")
    assert checkout.recording().key == "wiretape"
    assert checkout.not_recording().key == "wiretape-no-record"
