"""What ``wiretape doctor`` looks at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wiretape.cli.checks import Check, run_checks


def check(root: Path, name: str) -> Check:
    return next(found for found in run_checks(root) if found.name == name)


def test_http2_is_there_with_its_library(root: Path) -> None:
    found = check(root, "HTTP/2")
    assert found.result == "ok"
    assert found.detail.startswith("ngh2 0.3")


def test_without_its_library_there_is_http1_only_and_doctor_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ngh2", None)
    found = check(root, "HTTP/2")
    assert found.result == "warn"
    assert found.detail.startswith("not offered to clients: ")
    assert "HTTP/1.1" in found.hint
