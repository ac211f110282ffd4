"""The daemon's log lines."""

from __future__ import annotations

import logging

import pytest

from wiretape.daemon.messages import OneLine


def formatted(message: str, *arguments: object, error: Exception | None = None) -> str:
    trace = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord("wiretape", logging.WARNING, __file__, 1, message, arguments, trace)
    return OneLine("%(levelname)s %(message)s").format(record)


@pytest.mark.parametrize(
    ("captured", "shown"),
    [
        ("a\n2026-01-01 ERROR forged", "a\\n2026-01-01 ERROR forged"),
        ("\r\x1b[2J\x9b31m", "\\r\\x1b[2J\\x9b31m"),
        ("\u202egpj.exe\u2028x", "\\u202egpj.exe\\u2028x"),
        ("\x00\udcff", "\\x00\\udcff"),
        ("Grüße\t日本", "Grüße\t日本"),
    ],
)
def test_p14_captured_text_forges_no_line_and_steers_no_terminal(captured: str, shown: str) -> None:
    assert formatted("host %s", captured) == f"WARNING host {shown}"


def test_p14_the_lines_of_a_traceback_cannot_pass_for_messages() -> None:
    try:
        raise ValueError("x\n2026-01-01 ERROR forged\x1b[2J")
    except ValueError as error:
        lines = formatted("it failed", error=error).split("\n")
    assert lines[0] == "WARNING it failed"
    assert len(lines) > 3
    assert all(line.startswith("  ") for line in lines[1:])
    assert "\x1b" not in "".join(lines)
