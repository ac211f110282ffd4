"""P8: no log, forged as it may be, takes more memory than 64 MiB, or time without end, or the reader's composure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.malicious import LOGS
from tests.support.read_in_every_way import Reader
from wiretape.session.catalogue import Catalogue

BOUND = 64 * 1024
"""KiB over an idle process."""
SMALL, LARGE = 20_000, 8_000_000
"""Bytes of log. The larger ones took more than the bound before there was one to what is held of a log."""
CPU = 30
"""Seconds for everything that is asked of a log: hundreds of times what it takes."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured with Linux' /proc")


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """A process that reads."""
    made = Reader()
    yield made
    made.close()


@pytest.mark.parametrize("name", LOGS)
def test_p8_a_forged_log_is_read_in_every_way(root: Path, reader: Reader, name: str) -> None:
    made = Catalogue(root).create("forged")
    LOGS[name](made.log_dir, made.session_id, SMALL)
    found = reader.read(made.path, cpu=CPU)
    assert not found["faults"], found["faults"]
    assert found["memory"] < BOUND, found


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("nothing but empty frames of kind 8", ("verify", "verify --deep", "open_session")),
        ("exchanges far apart", ("verify",)),
        ("drops with long lists", ("verify", "query")),
        ("a bomb in zstd", ("detail",)),
    ],
)
def test_p8_the_memory_does_not_grow_with_a_forged_log(
    root: Path, reader: Reader, name: str, ways: tuple[str, ...]
) -> None:
    made = Catalogue(root).create("forged")
    LOGS[name](made.log_dir, made.session_id, LARGE)
    found = reader.read(made.path, cpu=2 * CPU, ways=ways)
    assert not found["faults"], found["faults"]
    assert found["memory"] < BOUND, found
