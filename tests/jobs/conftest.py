"""The recordings, made once, and the shop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.live import Shop
from tests.jobs.recordings import record_all
from wiretape.cli.demo.certificates import OriginCA


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of all recordings. Nobody sends anything to the shop that is in them."""
    root = tmp_path_factory.mktemp("recordings") / "root"
    record_all(root)
    return root


@pytest.fixture(scope="session")
def shop(origin_ca: OriginCA) -> Iterator[Shop]:
    """The shop, running."""
    running = Shop(origin_ca.issue().server_context())
    yield running
    running.close()
