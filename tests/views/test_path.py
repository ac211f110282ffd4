"""Paths lead to what was meant, in whichever notation, and say how far they go where they lead nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from wiretape.views.limits import ViewError
from wiretape.views.path import NoMatchError, find

VALUE: dict[str, Any] = {
    "data": [{"id": f"p_{number}", "price": {"net": number}, "tags": ["a", "b"]} for number in range(150)],
    "a/b": {"m~n": 1},
    "items[]": {"x": 2},
    "by": {"k1": {"id": 1, "on": True}, "k2": {"id": 2, "on": False}},
}


@pytest.mark.parametrize(
    ("path", "pointer", "value"),
    [
        ("/data/120/price/net", "/data/120/price/net", 120),
        ("data/120/id", "/data/120/id", "p_120"),
        ("/data/-1/id", "/data/149/id", "p_149"),
        ("/data/*[id=p_120]/price", "/data/120/price", {"net": 120}),
        ("/data/[id=p_120]/price", "/data/120/price", {"net": 120}),
        ("/data[id=p_120]/price", "/data/120/price", {"net": 120}),
        ('/data/*[id="p_120"]/price/net', "/data/120/price/net", 120),
        ("/data/*[price/net=7]/id", "/data/7/id", "p_7"),
        ("/data/[7]/id", "/data/7/id", "p_7"),
        ("/by/*[on=true]/id", "/by/k1/id", 1),
        ("/by/*[on=false][id=2]/id", "/by/k2/id", 2),
        ("/a~1b/m~0n", "/a~1b/m~0n", 1),
        ("/items[]/x", "/items[]/x", 2),
        ('$.data[?(@.id=="p_120")].price', "/data/120/price", {"net": 120}),
        ("$.data[120].id", "/data/120/id", "p_120"),
        (".data[120].id", "/data/120/id", "p_120"),
        ("$..k2.id", "/by/k2/id", 2),
    ],
)
def test_a_path_in_any_notation_gives_the_place_and_its_value(path: str, pointer: str, value: Any) -> None:
    assert [(one.pointer, one.value) for one in find(VALUE, path)] == [(pointer, value)]


@pytest.mark.parametrize("path", ["/data/*/id", "$.data[*].id", ".data[].id"])
def test_a_star_takes_all(path: str) -> None:
    assert [one.value for one in find(VALUE, path)] == [f"p_{number}" for number in range(150)]


def test_the_empty_path_is_the_whole_value() -> None:
    assert next(find([1], "")) == ("", [1])
    assert next(find([1], "$")) == ("", [1])


@pytest.mark.parametrize(
    ("path", "prefix", "said"),
    [
        ("/data/3/cost/net", "/data/3", "/data/3 exists and has id, price, tags"),
        ("/nothing", "", "/ exists and has data, a/b, items[], by"),
        ("/data/150", "/data", "/data exists and has 0..149"),
        ("/data/*[id=p_999]/price", "/data", "of 150 values of id in /data none is p_999; they are p_0, p_1, p_2, p_3"),
        ("/data/0/id/x", "/data/0/id", "/data/0/id exists and has nothing below it"),
        ("$.data.nope", "", "/ exists and has data"),
    ],
)
def test_where_nothing_is_the_longest_beginning_that_exists_is_named_with_its_keys(
    path: str, prefix: str, said: str
) -> None:
    with pytest.raises(NoMatchError) as raised:
        list(find(VALUE, path))
    assert raised.value.prefix == prefix
    assert said in raised.value.message


@pytest.mark.parametrize("path", ["/data/*[id=1", "$[?", "$.a[?(@.b =~ '(a+)+$')]", "$..a..b", "/" * 3_000])
def test_a_path_that_means_nothing_or_could_take_for_ever_is_refused_in_one_line(path: str) -> None:
    with pytest.raises(ViewError) as raised:
        list(find(VALUE, path))
    assert "\n" not in raised.value.message


def test_a_key_that_is_called_star_is_found() -> None:
    assert [one.value for one in find({"*": 1, "b": 2}, "/*")] == [1]
