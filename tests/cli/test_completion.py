"""What a shell offers while a filter is written."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from harness.logs import Recording, new_session
from wiretape.cli import options
from wiretape.cli.commands.query import command

CONTEXT = click.Context(command)
PARAMETER = command.params[0]


@pytest.mark.parametrize(
    ("complete", "begun", "offered"),
    [
        (options.complete_state, "in", ["inFlight", "interrupted"]),
        (options.complete_status, "42", ["422", "429"]),
        (options.complete_method, "p", ["POST", "PUT", "PATCH"]),
        (options.complete_sort, "d", ["desc", "down"]),
        (options.complete_group, "m", ["method", "minute"]),
    ],
)
def test_values_are_offered(complete: object, begun: str, offered: list[str]) -> None:
    assert complete(CONTEXT, PARAMETER, begun) == offered  # type: ignore[operator]


def test_operators_are_offered_where_one_is_begun() -> None:
    offered = options.complete_filter(CONTEXT, PARAMETER, "~m POST & ~js")
    assert [item.value for item in offered] == ["~m POST & ~json"]
    assert "JSON" in str(offered[0].help)
    assert len(options.complete_filter(CONTEXT, PARAMETER, "")) > 20


def test_marks_of_the_session_are_offered_the_newest_first(root: Path) -> None:
    recording = Recording(new_session(root))
    recording.mark("click-one", at_ms=1)
    recording.mark("click-two", at_ms=2)
    recording.close()
    context = click.Context(command)
    context.params = {"root": str(root), "session": "last"}
    assert options.complete_moment(context, PARAMETER, "cl") == ["click-two", "click-one"]
    context.params["session"] = "nobody"
    assert options.complete_moment(context, PARAMETER, "-") == ["-1m", "-5m", "-1h"]
