"""What counts as a secret, by its name and by its looks."""

from __future__ import annotations

import random

import pytest

from tests.secrets.planting import MAKERS
from wiretape.secrets.find import addresses, in_field, in_header, in_text
from wiretape.secrets.names import kind_of


def texts(text: str) -> list[tuple[str, str]]:
    return [(kind, text[start:end]) for kind, start, end in in_text(text)]


@pytest.mark.parametrize("kind", ["jwt", "stripe-key", "github-token", "aws-key-id"])
def test_a_known_format_is_found_in_the_middle_of_a_text(kind: str) -> None:
    value = MAKERS[kind](random.Random(1))
    assert texts(f"grüße, here is {value}: use it") == [(kind, value)]


def test_a_value_is_found_by_the_name_before_it_in_json_forms_and_logs() -> None:
    assert texts('{"user":"ada","password":"hun\\"ter2!","n":1}') == [("password", 'hun\\"ter2!')]
    assert texts("user=ada&client_secret=abc123xyz&x=1") == [("secret", "abc123xyz")]
    assert texts('{\\"password\\":\\"hunter2!\\",\\"a\\":1}') == [("password", "hunter2!")]
    assert texts("Authorization: Bearer abcdef123456 sent") == [("token", "abcdef123456")]
    assert texts("https://ada:pa55word@db.example/x") == [("password", "pa55word")]


def test_what_only_looks_like_one_is_none() -> None:
    assert texts('{"tokenType":"Bearer","nextPageToken":"abcdefgh","max_tokens":4096,"password":null}') == []
    assert texts("order 4111111111111112, id 1790000000000, v1.4242424242424242") == []
    assert texts("{{jwt:000000}} and {{password:0a1b2c}}") == []
    assert texts("the token was refused") == []


def test_a_card_number_is_found_with_and_without_separators() -> None:
    assert texts("pay 4242 4242 4242 4242 now") == [("card", "4242 4242 4242 4242")]
    assert texts('{"n":"5555555555554444"}') == [("card", "5555555555554444")]


def test_a_private_key_is_found_whole() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----"
    assert texts(f"key:\n{key}\nend") == [("private-key", key)]


def test_headers_are_taken_apart_by_what_they_are() -> None:
    def found(name: str, value: str) -> list[str]:
        return [value[start:end] for _, start, end in in_header(name, value)]

    assert found("Authorization", "Basic YWRhOmh1bnRlcjIh") == ["YWRhOmh1bnRlcjIh"]
    assert found("Cookie", "theme=dark; sid=0123456789ab; n=1") == ["0123456789ab"]
    assert found("Set-Cookie", 'id="abc def"; Path=/secretplace; HttpOnly') == ["abc def"]
    assert found("X-Api-Key", "k-123456") == ["k-123456"]
    assert found("Accept", "application/json") == []


def test_a_field_of_a_telling_name_is_a_secret_whole() -> None:
    assert [one.kind for one in in_field("accessToken", "some words here")] == ["token"]
    assert in_field("description", "some words here") == []
    assert [kind_of(name) for name in ("X-CSRF-Token", "api_key", "clientSecret", "page_token", "id")] == [
        "csrf",
        "api-key",
        "secret",
        None,
        None,
    ]


def test_places_in_a_text_that_is_not_ascii_are_counted_in_characters() -> None:
    text = "für 'ü' password=geheimnis€1 und ada@example.com"
    assert texts(text) == [("password", "geheimnis€1")]
    assert [text[start:end] for _, start, end in addresses(text)] == ["ada@example.com"]


def test_hostile_texts_take_linear_time() -> None:
    assert texts("eyJ" * 50_000) == []
    assert texts('password:"' * 20_000) != []
    assert texts("\\" * 100_000 + "token=") == []
