"""What is going on, in sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wiretape.cli.situation import sentences

STATUS: dict[str, Any] = {
    "pid": 9021,
    "running": True,
    "recording": True,
    "url": "http://127.0.0.1:8080",
    "sessionId": "20261127T104436-f4ed15",
    "exchanges": 3,
    "inFlight": 0,
    "refused": 0,
    "diskFree": 77_000_000_000,
}


def test_a_status_is_sentences_with_sizes_and_counts_for_people(root: Path) -> None:
    assert sentences(root, STATUS | {"url": None, "recording": False, "running": False}) == [
        "A daemon runs (pid 9021); no proxy.",
        "Nothing is recorded yet; 77.0 GB free.",
    ]
    assert sentences(root, None) == [f"No daemon runs for {root}.", "Nothing is recorded yet."]


def test_requests_that_were_refused_are_told_of_and_where_they_are_named(root: Path) -> None:
    assert not any("refused" in line for line in sentences(root, STATUS))
    assert "1 request was refused before there was an exchange; `wiretape query last` says which." in sentences(
        root, STATUS | {"refused": 1}
    )
    assert any(line.startswith("2 requests were refused") for line in sentences(root, STATUS | {"refused": 2}))
