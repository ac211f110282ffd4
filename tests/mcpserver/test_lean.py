"""Absent means nothing, and only there where it does."""

from __future__ import annotations

from typing import Any

import msgspec

from wiretape.mcpserver.lean import Whole, lean
from wiretape.model import Lean, Value


class Inner(Value, frozen=True):
    notes: list[str] = msgspec.field(default_factory=list)
    count: int = 0


class Outer(Value, frozen=True):
    running: bool
    items: list[Inner]
    maybe: str | None
    data: dict[str, Any]
    truncated: bool = False
    fields_left: int = 0


class Short(Lean, frozen=True):
    total: int
    extra: int = 0


class Seed(Whole, frozen=True):
    upstream: str | None
    hosts: dict[str, str]


def test_null_and_what_says_nothing_is_left_out_numbers_and_plain_answers_stay() -> None:
    value = Outer(running=False, items=[Inner()], maybe=None, data={"kept": None, "list": [], "no": False})
    assert lean(value) == {
        "running": False,
        "items": [{"count": 0}],
        "data": {"kept": None, "list": [], "no": False},
        "fieldsLeft": 0,
    }


def test_an_empty_list_that_is_the_answer_is_told() -> None:
    assert lean(Outer(running=True, items=[], maybe="x", data={})) == {
        "running": True,
        "items": [],
        "maybe": "x",
        "data": {},
        "fieldsLeft": 0,
    }


def test_a_struct_that_omits_defaults_keeps_only_the_numbers_without_one() -> None:
    assert lean(Short(total=0)) == {"total": 0}


def test_what_users_of_proxy_mcp_read_is_told_whole() -> None:
    assert lean(Seed(upstream=None, hosts={})) == {"upstream": None, "hosts": {}}
