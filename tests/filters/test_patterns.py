"""Patterns: RE2, unanchored, case ignored; and the literal text that each match has."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wiretape.filters.patterns import Pattern, PatternError, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (Pattern("b.d"), "aBcD", True),
        (Pattern("^b"), "ab", False),
        (Pattern("ключ"), "КЛЮЧ", True),
        (Pattern("b.d", "contains"), "abcd", False),
        (Pattern("B.D", "contains"), "ab.d", True),
        (Pattern("post", "equals"), "POST", True),
        (Pattern("post", "equals"), "POSTER", False),
        (Pattern("post", "equals"), "POST\n", False),
    ],
)
def test_a_pattern_is_found(pattern: Pattern, text: str, found: bool) -> None:
    assert pattern.in_text(text) is found
    assert pattern.in_bytes(text.encode()) is found


def test_a_dot_stands_for_any_byte_of_a_body() -> None:
    assert Pattern("a.b").in_bytes(b"a\xffb")
    assert Pattern("a.b").in_bytes(b"a\nb")
    assert not Pattern("a.b").in_text("a\nb")


@pytest.mark.parametrize("text", ["a[^x]*b", r"a\s*b", "a[^b]*b|^nowhere", r"[^?]*b$|[^?]*c$"])
def test_what_is_found_in_lines_stays_in_its_line(text: str) -> None:
    pattern = Pattern(text)
    lines = ["a", "b", "a b", "", "acb", "a"]
    assert list(pattern.lines_in("\n".join(lines).encode())) == [
        number for number, line in enumerate(lines) if pattern.in_text(line)
    ]


def test_an_expression_that_would_explode_elsewhere_takes_linear_time() -> None:
    begun = time.process_time()
    assert not Pattern(r"(a+)+$").in_bytes(b"a" * 200_000 + b"b")
    assert time.process_time() - begun < 5


def test_an_expression_too_large_is_refused() -> None:
    for text in ("(x{500}){500}", "x{1001}"):
        with pytest.raises(PatternError):
            compile_pattern(Pattern(text))


@pytest.mark.parametrize(
    ("regex", "needle"),
    [
        ("token", "token"),
        (r"example\.com", "example.com"),
        ("example.com", "example"),
        ("ab?cd", "cd"),
        ("ab*cdef", "cdef"),
        ("ab+cd", "ab"),
        ("a|b", ""),
        ("(token)", ""),
        ("[t]oken", "oken"),
        ("users/79(19|20)/", "users/79"),
        ("a(b|(c))?defg", "defg"),
        ("(a|b", ""),
        (r"ab[\]x]cde", "cde"),
        ("ab[[:alpha:]]cde", ""),
        ("(?i)token", ""),
        (r"^/v\d+/users", "/users"),
        (r"\x41bc", ""),
        ("to{2}ken", "ken"),
        ("ab{0}", "a"),
        ("(" * 5_000 + "a" + ")" * 5_000, ""),
    ],
)
def test_the_needle_of_a_pattern_is_plain_text(regex: str, needle: str) -> None:
    assert Pattern(regex).needle == needle


@given(
    st.text(alphabet="ab.?*+\\d^$-/()[]|{}0,", min_size=1, max_size=10),
    st.text(alphabet="ab0-/.", max_size=12),
)
def test_whatever_a_pattern_matches_has_its_needle(regex: str, text: str) -> None:
    try:
        compile_pattern(Pattern(regex))
    except PatternError:
        assume(False)
    if Pattern(regex).in_text(text):
        assert Pattern(regex).needle.lower() in text.lower()


@given(st.text(max_size=8), st.text(max_size=20))
def test_literal_text_is_literal(needle: str, text: str) -> None:
    if needle in text:
        assert Pattern(needle, "contains").in_text(text)
    assert (
        Pattern(needle, "contains").in_text(text) == bool(re.search(re.escape(needle), text, re.IGNORECASE))
        or not (needle + text).isascii()
    )
