"""Schemas that stand in several places are written once."""

from __future__ import annotations

from typing import Any

from wiretape.formats.openapi_schemas import shared


def thing(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": sorted(fields)}


TEXT = {"type": "string"}
ADDRESS = thing(street=TEXT, zip=TEXT, city=TEXT, country=TEXT)


def operation(schema: dict[str, Any], kind: str = "application/json", words: str = "get_users") -> dict[str, Any]:
    return {"operationId": words, "responses": {"200": {"content": {kind: {"schema": schema}}}}}


def schema_of(paths: dict[str, Any], path: str) -> Any:
    (holder,) = paths[path]["get"]["responses"]["200"]["content"].values()
    return holder["schema"]


def test_an_object_in_two_places_is_a_component_called_after_its_field() -> None:
    orders = {"type": "array", "items": thing(id=TEXT, address=ADDRESS)}
    paths = {"/a": {"get": operation(thing(address=ADDRESS))}, "/b": {"get": operation(thing(orders=orders))}}
    assert shared(paths) == {"Address": ADDRESS}
    reference = {"$ref": "#/components/schemas/Address"}
    assert schema_of(paths, "/a")["properties"]["address"] == reference
    assert schema_of(paths, "/b")["properties"]["orders"]["items"]["properties"]["address"] == reference


def test_what_stands_in_a_shared_object_alone_has_no_name_of_its_own() -> None:
    user = thing(id=TEXT, address=ADDRESS)
    lists = {"type": "array", "items": user}
    paths = {"/a": {"get": operation(thing(users=lists))}, "/b": {"get": operation(thing(user=user))}}
    assert shared(paths) == {"User": user}


def test_names_are_free_and_whole_bodies_are_called_after_their_operation() -> None:
    other = thing(street=TEXT, zip=TEXT, city=TEXT, planet=TEXT)
    paths = {
        f"/{number}": {"get": operation(thing(address=one), words="get_user_list")}
        for number, one in enumerate((ADDRESS, other, ADDRESS, other))
    }
    assert set(shared(paths)) == {"UserListAnswer", "UserListAnswer2"}
    problems = {f"/{number}": {"get": operation(ADDRESS, "application/problem+json")} for number in (1, 2)}
    assert set(shared(problems)) == {"Problem"}


def test_what_is_small_or_stands_once_stays_where_it_is() -> None:
    small = thing(id=TEXT)
    paths = {"/a": {"get": operation(small)}, "/b": {"get": operation(small)}, "/c": {"get": operation(ADDRESS)}}
    assert shared(paths) == {}
    assert schema_of(paths, "/c") == ADDRESS
