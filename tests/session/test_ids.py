"""Addresses of exchanges, and names that would be mistaken for them."""

from __future__ import annotations

import pytest

from wiretape.errors import UsageError
from wiretape.session.ids import Address, check_name, split_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("bad:31", Address("bad", 31)),
        ("last:1", Address("last", 1)),
        ("a name: with:7", Address("a name: with", 7)),
        ("20261127T104436-f4ed15:31", Address("20261127T104436-f4ed15", 31)),
        ("20261127T104436-f4ed15.31", Address("20261127T104436-f4ed15", 31)),
        (" 31 ", Address(None, 31)),
    ],
)
def test_an_exchange_is_named_by_its_session_and_seq(text: str, address: Address) -> None:
    assert split_address(text) == address


@pytest.mark.parametrize("text", ["", ":", ":31", "bad:", "bad", "bad:x", "bad:-1", "bad:٣", "a.31", "bad:" + "9" * 19])
def test_what_names_no_exchange_is_refused_with_the_forms_that_do(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        split_address(text)
    assert "SESSION:SEQ" in refused.value.hint or "<sessionId>.<seq>" in refused.value.hint


def test_a_session_cannot_be_named_like_an_address() -> None:
    with pytest.raises(UsageError, match="no colon"):
        check_name("good:run")
