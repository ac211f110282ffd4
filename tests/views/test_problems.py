"""What an answer says went wrong, in every form that servers use."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wiretape.views.problems import FieldError, may_be_problem, problem_of

JSON = [("Content-Type", "application/json")]


def said(status: int, value: Any, kind: str = "application/json") -> tuple[str, str] | None:
    found = problem_of(status, [("Content-Type", kind)], json.dumps(value).encode())
    return None if found is None else (found.form, found.message())


@pytest.mark.parametrize(
    ("status", "value", "kind", "expected"),
    [
        (
            422,
            {
                "type": "https://shop.example/p",
                "title": "Validation failed",
                "status": 422,
                "errors": [{"pointer": "/payment/amount", "code": "amount_mismatch", "detail": "does not match"}],
            },
            "application/problem+json",
            ("problem+json", "Validation failed: /payment/amount amount_mismatch"),
        ),
        (404, {"error": {"code": 404, "message": "No such user", "status": "NOT_FOUND"}}, "", ("json", "No such user")),
        (401, {"error": "invalid_grant", "error_description": "expired"}, "", ("json", "invalid_grant")),
        (400, {"message": "name is required"}, "application/json", ("json", "name is required")),
        (
            422,
            {"detail": [{"loc": ["body", "user", "age"], "msg": "must be > 0", "type": "value_error"}]},
            "application/json",
            ("json", "/user/age value_error: must be > 0"),
        ),
        (422, {"errors": {"user.name": ["is too short"]}}, "application/json", ("json", "/user/name is too short")),
        (
            409,
            {"errors": [{"status": "409", "title": "Taken", "source": {"pointer": "/data/attributes/name"}}]},
            "application/vnd.api+json",
            ("json:api", "/data/attributes/name Taken"),
        ),
        (
            200,
            {"data": None, "errors": [{"message": "Coupon expired"}]},
            "application/json",
            ("graphql", "Coupon expired"),
        ),
        (200, {"success": False, "message": "no stock"}, "application/json", ("success:false", "no stock")),
        (200, {"ok": False, "error": "channel_not_found"}, "application/json", ("success:false", "channel_not_found")),
        (
            200,
            {"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no such method"}},
            "application/json",
            ("json-rpc", "no such method"),
        ),
        (200, {"data": {"me": 1}}, "application/json", None),
        (200, {"success": True, "message": "fine"}, "application/json", None),
        (200, {"error": None, "message": "fine"}, "application/json", None),
        (200, {"errors": []}, "application/json", None),
        (500, "boom", "application/json", ("json", "boom")),
    ],
)
def test_json(status: int, value: Any, kind: str, expected: tuple[str, str] | None) -> None:
    assert said(status, value, kind) == expected


def test_fields_that_are_blamed_are_pointers() -> None:
    found = problem_of(422, JSON, b'{"errors":[{"field":"items[2].price","message":"too low","code":"low"}]}')
    assert found is not None
    assert found.errors == [FieldError(pointer="/items/2/price", code="low", detail="too low")]


def test_grpc_says_it_in_headers_trailers_or_the_body_of_the_web() -> None:
    kind = ("content-type", "application/grpc")
    found = problem_of(200, [kind, ("grpc-status", "5"), ("grpc-message", "no%20such%20item")], b"")
    assert found is not None
    assert (found.form, found.message(), found.code) == ("grpc", "no such item", "5 NOT_FOUND")
    trailers = b"grpc-status:14\r\n"
    body = b"\0\0\0\0\2ab\x80" + len(trailers).to_bytes(4, "big") + trailers
    found = problem_of(200, [("content-type", "application/grpc-web+proto")], body)
    assert found is not None
    assert found.message() == "UNAVAILABLE"
    assert problem_of(200, [kind, ("grpc-status", "0")], b"") is None


def test_markup_and_text() -> None:
    xml = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>The key &amp; more</Message></Error>"
    found = problem_of(404, [("content-type", "application/xml")], xml)
    assert found is not None
    assert (found.form, found.message(), found.code) == ("xml", "The key & more", "NoSuchKey")
    page = problem_of(502, [("content-type", "text/html")], b"<html><title> 502 Bad\nGateway</title>")
    assert page is not None
    assert page.message() == "502 Bad Gateway"
    text = problem_of(500, [("content-type", "text/plain")], b"\nout of memory\nat x")
    assert text is not None
    assert text.message() == "out of memory"
    assert problem_of(200, [("content-type", "text/html")], b"<title>Error</title>") is None


def test_json_that_is_cut_still_gives_its_message() -> None:
    found = problem_of(500, JSON, b'{"trace":["a","b"],"message":"disk \\u0041 full","more":[1,2')
    assert found is not None
    assert found.message() == "disk A full"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"errors":' * 50_000,
        b'{"message":"' + b"\\" * 100_000,
        b'{"errors":[' + b"{}," * 10_000 + b"{}]}",
        b'{"errors":[1,null,[[]],{"source":3},{"loc":[[1]]}],"error":{"code":[]},"detail":{}}',
        b"\xff\xfe\x00",
        b"<" * 100_000,
        b'{"title":"\xed\xa0\x80"}',
        b'{"error":{"message":"' + b"x" * 1_000_000 + b'"}}',
    ],
)
def test_hostile_bodies_end_in_an_answer(body: bytes) -> None:
    for kind in ("application/json", "application/grpc-web", "text/html", "application/xml", ""):
        for status in (200, 500):
            found = problem_of(status, [("content-type", kind)], body)
            assert found is None or len(found.message()) <= 300


def test_only_a_suspicious_beginning_is_looked_at() -> None:
    assert may_be_problem(b'{"success" : false}')
    assert may_be_problem(b'{"data":null,"errors":[{}]}')
    assert not may_be_problem(b'{"success":true,"errors":[]}'[:16])
    assert not may_be_problem(b'{"items":[1,2,3]}')
