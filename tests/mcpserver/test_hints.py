"""Errors speak of what the reader has: tools."""

from __future__ import annotations

import pytest

from wiretape.errors import BusyError, NotFoundError, UsageError, WiretapeError
from wiretape.mcpserver.hints import TOOLS, for_tools, hint_for_tools


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (NotFoundError("x", hint="`wiretape serve` records one"), "proxy_start records one"),
        (
            NotFoundError("x", hint="`wiretape sessions` lists ids and names; `last` is the newest"),
            "proxy_list_sessions lists ids and names; `last` is the newest",
        ),
        (UsageError("x", hint="give a code such as 404"), "give a code such as 404"),
        (BusyError("x", hint="`wiretape unheardof --off` does it"), "proxy_status says what is being recorded"),
        (UsageError("x", hint="give another port; or start with --root DIR"), "give another port"),
        (NotFoundError("x"), "proxy_list_sessions names the sessions, proxy_query_session the exchanges of one"),
    ],
)
def test_a_hint_names_tools_and_no_commands(error: WiretapeError, hint: str) -> None:
    assert hint_for_tools(error) == hint


def test_a_command_with_its_arguments_becomes_its_tool() -> None:
    assert for_tools("see `wiretape query last --text x` and `wiretape frobnicate`") == (
        "see proxy_query_session and `wiretape frobnicate`"
    )
    assert all(name.startswith("proxy_") for name in TOOLS.values())
