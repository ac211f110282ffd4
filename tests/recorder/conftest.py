"""The recorder that the tests of this folder send traffic through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.recorder import RecorderProcess
from wiretape.cli.demo.certificates import OriginCA


@pytest.fixture(params=["uvloop", "asyncio"])
def recorder(root: Path, origin_ca: OriginCA, request: pytest.FixtureRequest) -> Iterator[RecorderProcess]:
    """A recorder that records, on either loop."""
    root.mkdir()
    with RecorderProcess(root, upstream_ca=origin_ca.pem, loop=request.param) as process:
        process.record()
        yield process
