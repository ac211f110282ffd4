"""Known secrets are found in every encoding, and handles lead back to them."""

from __future__ import annotations

import base64
import json
import random
import time
from urllib.parse import quote

import pytest

from tests.secrets.planting import MAKERS, encodings, planted, spellings
from wiretape.errors import NotFoundError
from wiretape.secrets.known import Known, forms

KEY = bytes(range(32))


@pytest.mark.parametrize("seed", range(5))
def test_a_secret_is_hidden_in_each_of_ten_encodings(seed: int) -> None:
    known = Known(KEY)
    secrets = planted(len(MAKERS), seed)
    for kind, value in secrets:
        known.handle_of(kind, value)
    for _, value in secrets:
        for at in range(10):
            text = known.hide(f"before {spellings(value, at)} behind")
            assert "{{" in text, (at, value)
            assert text.startswith("before ")
            assert text.endswith(" behind")
            left = [form for every in encodings(value).values() for form in every if form in text]
            assert left == []


def test_encodings_within_each_other_are_taken_off() -> None:
    known = Known(KEY)
    name = known.handle_of("password", 'pass "word" 9&x')
    value = json.dumps({"p": 'pass "word" 9&x'})
    assert name in known.hide(json.dumps(value))
    assert known.hide(base64.b64encode(value.encode()).decode()).count(name) == 1
    assert name in known.hide(quote(json.dumps(value)))


def test_a_text_without_a_secret_stays_as_it_is() -> None:
    known = Known(KEY)
    known.handle_of("token", "abcdefghijklmnop")
    text = 'ordinary \\u0041 %41 &amp; 6162636465 "YWJjZGVmZw==" \ud800 text'
    assert known.hide(text) == text


def test_many_secrets_cost_no_more_to_look_for_than_one() -> None:
    known = Known(KEY)
    for number in range(5_000):
        known.handle_of("token", f"{number:05d}-{number * 7919:024x}")
    value = f"{4_321:05d}-{4_321 * 7919:024x}"
    assert known.hide(f"x{value}y") == f"x{known.handle_of('token', value)}y"


def test_handles_are_stable_and_lead_back() -> None:
    first, second = Known(KEY), Known(KEY)
    name = first.handle_of("jwt", "a.b.c-value")
    assert second.handle_of("jwt", "a.b.c-value") == name
    assert first.resolve(f"Bearer {name}!") == "Bearer a.b.c-value!"
    assert Known(bytes(32)).handle_of("jwt", "a.b.c-value") != name
    with pytest.raises(NotFoundError, match=r"\{\{jwt:ffffff\}\}"):
        first.resolve("{{jwt:ffffff}}")


def test_a_value_and_its_percent_encoded_form_have_one_handle_that_means_the_plain_one() -> None:
    known = Known(KEY)
    name = known.handle_of("csrf", "e9Kk8sivW9mf%3D%3D")
    assert known.resolve(name) == "e9Kk8sivW9mf%3D%3D", "the only form that was met"
    assert known.handle_of("csrf", "e9Kk8sivW9mf==") == name
    assert known.handle_of("csrf", "e9Kk8sivW9mf%3d%3d") == name
    assert known.resolve(name) == "e9Kk8sivW9mf=="
    other_order = Known(KEY)
    assert other_order.handle_of("csrf", "e9Kk8sivW9mf==") == name
    assert other_order.handle_of("csrf", "e9Kk8sivW9mf%3D%3D") == name
    assert known.hide("a=e9Kk8sivW9mf%3D%3D; b=e9Kk8sivW9mf==") == f"a={name}; b={name}"
    assert known.handle_of("csrf", "abcdefgh%FF1") != known.handle_of("csrf", "abcdefgh%FE1"), "no text when decoded"


def test_two_values_with_the_same_digits_have_two_handles() -> None:
    known = Known(KEY)
    handles = {known.handle_of("token", f"value-{number}") for number in range(6_000)}
    assert len(handles) == 6_000


def test_words_and_small_numbers_are_not_looked_for_elsewhere() -> None:
    assert forms("password", "password") == set()
    assert forms("card-code", "123") == set()
    assert forms("cookie", "dark-mode") == set()
    assert forms("password", "hunter2!") == {"hunter2!"}
    assert forms("csrf", "abc%2Fdef%3D%3D") == {"abc%2Fdef%3D%3D", "abc/def=="}
    assert forms("basic", base64.b64encode(b"ada:hunter2!").decode()) >= {"hunter2!"}


def test_a_long_line_of_base64_takes_the_time_of_its_bytes() -> None:
    """A picture in a HAR; looked for line by line from each of its letters, it took minutes."""
    known = Known(KEY)
    name = known.handle_of("password", "correct horse battery")
    picture = base64.b64encode(random.Random(1).randbytes(300_000)).decode()
    begun = time.process_time()
    assert known.hide(f'"{picture}","correct horse battery"').endswith(f'","{name}"')
    assert time.process_time() - begun < 10


def test_a_secret_beside_an_escape_far_from_others_is_found() -> None:
    known = Known(KEY)
    name = known.handle_of("password", 'pass "word" 9&x')
    value = json.dumps(["a%20b", "x" * 50_000, json.dumps({"p": 'pass "word" 9&x'}), "y" * 50_000, "&amp;"])
    assert known.hide(value).count(name) == 1
