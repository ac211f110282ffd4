"""Progress bars: for people who wait, and for nobody else."""

from __future__ import annotations

import io
import sys

import pytest

from wiretape.cli.progress import progress


class Terminal(io.StringIO):
    """A stderr that somebody looks at."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stderr a terminal; in the test itself, because pytest puts its own stderr there before each."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    return terminal


def test_a_bar_shows_how_much_is_done_how_fast_it_goes_and_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with progress("recover") as report:
        assert report is not None
        for done in range(0, 40_000_001, 10_000_000):
            report(done, 80_000_000)
    text = terminal.getvalue()
    assert "recover" in text
    assert "40.0/80.0 MB" in text
    assert "B/s" in text
    assert "0:00:" in text


def test_work_that_is_soon_done_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with progress("index", patience=3600) as report:
        assert report is not None
        report(1, 2)
    assert terminal.getvalue() == ""


def test_programs_see_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    with progress("verify", quiet=True) as report:
        assert report is None
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress("verify") as report:
        assert report is None
