"""JSON for people: what fits on one line stands on one."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from wiretape.formats.json_layout import laid_out

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=30,
)


@given(VALUES, st.integers(1, 80))
def test_it_is_the_same_value(value: object, width: int) -> None:
    assert json.loads(laid_out(value, width=width)) == value


def test_what_fits_stands_on_one_line_and_what_does_not_is_indented() -> None:
    assert laid_out({"a": [1, 2], "b": {}}) == '{"a": [1, 2], "b": {}}'
    assert laid_out({"a": [1, 2], "b": {"c": "ü"}}, width=15) == '{\n "a": [1, 2],\n "b": {"c": "ü"}\n}'
