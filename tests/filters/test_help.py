"""docs/filters.md and the help are made of the operators."""

from __future__ import annotations

from pathlib import Path

from wiretape.filters import help as filter_help
from wiretape.filters.catalogue import GROUPS, NOT_RECORDED, OPERATORS

PAGE = Path(__file__).parents[2] / "docs" / "filters.md"


def test_the_page_is_what_the_operators_say() -> None:
    assert PAGE.read_text() == filter_help.page(), "run `python -m wiretape.filters.help`"


def test_every_operator_is_in_the_page_and_in_the_table() -> None:
    page, table = filter_help.page(), filter_help.table()
    for _, group in GROUPS:
        for operator in group:
            assert operator.help in table
            assert f"`{operator.symbols[0]}" in page


def test_the_operators_of_the_specification_are_there() -> None:
    # answers of the specification, 4.5; what they ask for is recorded.
    expected = (
        "~c ~err ~st ~ms ~size ~json ~host ~seq ~hq ~hs ~bq ~bs ~b ~h ~t ~tq ~ts ~m ~d ~u ~q ~s ~a ~all ~http",
        "~websocket ~replay ~src ~dst ~e",
    )
    for symbol in " ".join(expected).split():
        assert symbol in OPERATORS
    assert not set(OPERATORS) & set(NOT_RECORDED)
