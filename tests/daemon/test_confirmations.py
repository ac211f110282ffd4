"""Tokens that confirm one act, once, for five minutes."""

from __future__ import annotations

import pytest

from wiretape.daemon.confirmations import VALID_SECONDS, Confirmations
from wiretape.errors import UsageError


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_token_confirms_its_act_once() -> None:
    confirmations = Confirmations()
    token = confirmations.give("delete a")
    confirmations.take("delete a", token)
    with pytest.raises(UsageError, match="not a valid token"):
        confirmations.take("delete a", token)


def test_a_token_confirms_no_other_act_and_is_not_used_up_by_the_attempt() -> None:
    confirmations = Confirmations()
    token = confirmations.give("delete a")
    with pytest.raises(UsageError):
        confirmations.take("delete b", token)
    confirmations.take("delete a", token)


def test_a_token_is_valid_for_five_minutes() -> None:
    clock = Clock()
    confirmations = Confirmations(clock)
    token, late = confirmations.give("a"), confirmations.give("a")
    assert VALID_SECONDS == 300
    clock.now += 299
    confirmations.take("a", token)
    clock.now += 2
    with pytest.raises(UsageError, match="not a valid token"):
        confirmations.take("a", late)


def test_p8_tokens_that_nobody_uses_are_forgotten() -> None:
    confirmations = Confirmations()
    first = confirmations.give("a")
    for _ in range(200):
        confirmations.give("b")
    with pytest.raises(UsageError):
        confirmations.take("a", first)
