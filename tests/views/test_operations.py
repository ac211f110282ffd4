"""What a request asks for, apart from its values."""

from __future__ import annotations

import time

import pytest

from wiretape.views.operations import folded, operation, operation_name, split_url, template


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("/", "/"),
        ("", "/"),
        ("/v3/users/12/orders", "/v3/users/{id}/orders"),
        ("/a/550e8400-e29b-41d4-a716-446655440000", "/a/{id}"),
        ("/assets/3fab12cd/app.js", "/assets/{id}/app.js"),
        ("/api/v2/cart/c_3dbc3ba302/items", "/api/v2/cart/{id}/items"),
        ("/api/v2/stock/v_0151_1", "/api/v2/stock/{id}"),
        ("/images/p_0151_0.png", "/images/{id}.png"),
        ("/orders/ORD-256EE152", "/orders/{id}"),
        ("/2026-11-27/report", "/{id}/report"),
        ("/u/ada@example.com/x", "/u/{id}/x"),
        ("/t/eyJhbGciOiJIUzI1NiJ9abc123", "/t/{id}"),
        ("/facade/decade", "/facade/decade"),
        ("/api_v2/oauth2/v1", "/api_v2/oauth2/v1"),
        ("/inventory.v1.Inventory/Reserve", "/inventory.v1.Inventory/Reserve"),
        ("/a;jsessionid=77/b", "/a/b"),
        ("/1/2/3", "/{id}/{id}/{id}"),
    ],
)
def test_values_in_paths_become_placeholders_and_words_stay(path: str, made: str) -> None:
    assert template(path) == made


def test_operations_of_one_path_are_told_apart_by_name() -> None:
    body = b'{"operationName":"Feed","query":"query Feed { me }"}'
    assert operation("POST", "https://g.example/graphql", body) == "POST /graphql#Feed"
    assert (
        operation("POST", "https://g.example/graphql", b'{"query":"mutation Pay($a: Int) { x }"}')
        == "POST /graphql#Pay"
    )
    assert operation("GET", "https://g.example/graphql?operationName=Me&x=1") == "GET /graphql#Me"
    assert operation("POST", "https://g.example/graphql", b'{"query":"{ me }"}') == "POST /graphql"
    assert operation_name("/mcp", "", b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}') == "tools/call"
    assert operation_name("/users", "", b'{"operationName":"Feed"}') == "", "only GraphQL's paths are looked at"


def test_urls_are_split_whatever_they_are() -> None:
    assert split_url("https://a.example/x?y=1#z") == ("/x", "y=1")
    assert split_url("https://a.example") == ("/", "")
    assert split_url("https://a.example?y=/2") == ("/", "y=/2")
    assert split_url("a.example:443") == ("a.example:443", ""), "of CONNECT"


def test_more_than_eight_siblings_are_one() -> None:
    chunks = [f"/assets/{{id}}/chunk-{number}.js" for number in range(9)]
    assert set(folded(chunks).values()) == {"/assets/{id}/{*}"}
    assert folded(chunks[:8]) == {one: one for one in chunks[:8]}
    inner = [f"/p/item-{number}/reviews" for number in range(9)]
    assert set(folded(inner).values()) == {"/p/{*}/reviews"}


def test_names_of_resources_are_never_folded() -> None:
    names = [f"/api/v2/{letter * 3}s/{{id}}" for letter in "abcdefghijklmnop"]
    assert folded(names) == {one: one for one in names}


def test_names_of_operations_survive_folding() -> None:
    paths = [f"/t/tenant-{number}/graphql#Feed" for number in range(20)]
    assert set(folded(paths).values()) == {"/t/{*}/graphql#Feed"}


def test_hostile_paths_take_no_time() -> None:
    began = time.perf_counter()
    for path in ("/" + "a" * 2_000_000, "/" * 100_000, "/a_" * 50_000, "/" + "1_" * 100_000 + "x", "/" + "@" * 100_000):
        assert len(template(path)) <= 2_000
    deep = "/" + "/".join("x" * 1 for _ in range(249))
    assert folded([deep]) == {deep: deep}
    operation_name("/graphql", "", b'{"query":"' + b"\\n" * 100_000)
    assert time.perf_counter() - began < 2
