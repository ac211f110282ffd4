"""The shape of a body fits in a line that a model reads at a glance."""

from __future__ import annotations

from typing import Any

from wiretape.views.shape import SHAPE_CHARACTERS, shape_of, try_path


def product(number: int) -> dict[str, Any]:
    return {
        "id": f"p_{number:04d}",
        "title": "Nordic Runner",
        "price": {"currency": "EUR", "net": 100, "gross": 119},
        "variants": [
            {"id": f"v_{number}_{size}", "attributes": {"weightG": 7, "labels": [{"code": "x"}]}} for size in "SM"
        ],
    }


def test_arrays_are_folded_to_what_their_elements_have() -> None:
    assert shape_of({"page": 1, "data": [product(number) for number in range(150)]}) == (
        "{page:int,data:[150 x {id:str,title:str,price:{currency:str,net:int,gross:int},"
        "variants:[2 x {id:str,attributes:{weightG:int,labels:[1 x {code:str}]}}]}]}"
    )


def test_keys_that_not_every_element_has_and_types_that_differ_are_told() -> None:
    assert shape_of([{"a": 1}, {"a": None, "b": "x"}, {"a": 2.5}]) == "[3 x {a:int|float|null,b?:str}]"
    assert (
        shape_of({"lists": [[1], [1, 2, 3]], "none": [], "empty": {}}) == "{lists:[2 x [1-3 x int]],none:[],empty:{}}"
    )


def test_a_shape_of_anything_fits_its_room() -> None:
    wide = {f"key {number}": {f"inner{other}": [{"x": number}] for other in range(50)} for number in range(5_000)}
    found = shape_of(wide)
    assert len(found) <= SHAPE_CHARACTERS
    assert "…" in found
    assert len(shape_of({"k" * 10_000: 1})) <= SHAPE_CHARACTERS


def test_what_has_parts_is_kept_before_single_values_because_paths_lead_through_it() -> None:
    flat = {f"f{number}": 1 for number in range(80)} | {"deep": {"x": {"y": 1}}}
    assert "deep:{" in shape_of({"data": [flat] * 3})


def test_an_example_of_a_path_leads_to_an_element_by_what_identifies_it() -> None:
    assert try_path({"meta": {"page": 1}, "data": [product(7), product(8)]}) == "/data/*[id=p_0007]/price"
    assert try_path({"a/b": [{"x": 1}]}) == "/a~1b/0"
    assert try_path("text") is None
