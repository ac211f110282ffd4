"""The filter language: what is read as what, and what errors say."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiretape.errors import UsageError
from wiretape.filters.catalogue import OPERATORS
from wiretape.filters.content import Header, ResponseBody
from wiretape.filters.numbers import Range
from wiretape.filters.operators import Code, Domain, Method, NoResponse, Url, WithResponse
from wiretape.filters.parse import EXAMPLES, MAX_DEPTH, MAX_LENGTH, parse
from wiretape.filters.patterns import Pattern
from wiretape.filters.tree import And, Node, Not, Or


def url(text: str) -> Url:
    return Url(Pattern(text))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("foobar", url("foobar")),
        ("~u foobar", url("foobar")),
        ("~q", NoResponse()),
        ("~m POST & ~d example.com & ~c 5xx & !~bs token",
         And((Method(Pattern("POST")), Domain(Pattern("example.com")), Code((Range(500, 599),)),
              Not(ResponseBody(Pattern("token")))))),
        ("foobar ~h rex", And((url("foobar"), Header(Pattern("rex"))))),
        ("~q ~s", And((NoResponse(), WithResponse()))),
        ("~u 'foo ~u bar' ~u voing", And((url("foo ~u bar"), url("voing")))),
        (r"~u 'foobar\"\''", url("foobar\"'")),
        (r'~u "foo \'bar"', url("foo 'bar")),
        (r"~u '\d+'", url(r"\d+")),
        (r"~u '\\d+'", url(r"\d+")),
        ("!~h test", Not(Header(Pattern("test")))),
        ("!(a & b)", Not(And((url("a"), url("b"))))),
        ("!!a", Not(Not(url("a")))),
        ("a & b | c & d", Or((And((url("a"), url("b"))), And((url("c"), url("d")))))),
        ("!a & b", And((Not(url("a")), url("b")))),
        ("a | b c", And((Or((url("a"), url("b"))), url("c")))),
        ("(a b) | c", Or((And((url("a"), url("b"))), url("c")))),
        ("~u a|b", url("a|b")),
        ("~m POST&~c 200", And((Method(Pattern("POST")), Code((Range(200, 200),))))),
        ("~m POST|(~q)", Or((Method(Pattern("POST")), NoResponse()))),
        ("~u a&b", url("a&b")),
        ("шгн", url("шгн")),
        ("~c 404,5xx", Code((Range(404, 404), Range(500, 599)))),
        ("~c >=400", Code((Range(400),))),
        ("~c <400", Code((Range(high=400, open=True),))),
        ("  ~q  ", NoResponse()),
    ],
)  # fmt: skip
def test_a_filter_is_read_as_a_tree(text: str, tree: Node) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        ("", 1, "empty"),
        ("   ", 1, "empty"),
        ("~b", 3, "~b needs a value"),
        ("~h & ~q", 4, "~h needs a value"),
        ("~h [", 4, "not a regular expression"),
        (r"~b '(a)\1'", 4, "back-references are not supported"),
        ("~b '(?=a)'", 4, "look-around is not supported"),
        ("~b 'x{1000}{1000}'", 4, "repetition"),
        ("~q & ~cc 404", 6, "There is no operator ~cc; did you mean ~c"),
        ("~hostname x", 1, "did you mean ~host"),
        ("~rule", 6, "value"),
        ("~proc x", 1, "not recorded yet"),
        ("~dns", 1, "only HTTP is recorded"),
        ("(~q", 1, "never closed"),
        ("~q)", 3, "no bracket that this one closes"),
        ("'abc", 1, "quotation mark is never closed"),
        ("~q &", 5, "missing at the end"),
        ("~q & & ~s", 6, "nothing on its left"),
        ("| ~q", 1, "nothing on its left"),
        ("()", 2, "nothing on its left"),
        ("~c 4yx", 4, "a status is 404, 4xx, >=400 or 200..299"),
        ("~c 7", 4, "a status has three digits"),
        ("~ms 1000", 5, ">1000 or <1000"),
        ("~ms >1lightyear", 5, "units are ms, s"),
        ("~size >x", 7, "not a number"),
        ("~seq 31..20", 6, "20..31 is the other way round"),
        ("~seq ..", 6, "at least one end"),
        ("~st broken", 5, "inFlight, complete, aborted, failed, interrupted"),
        ("~json data/state", 7, "begins with a slash"),
        ("~host http://x/", 7, "a host alone"),
    ],
)
def test_an_error_points_at_the_character_and_shows_three_examples(text: str, at: int, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    error = caught.value
    assert error.code == "filter"
    assert says in error.message
    assert f"At character {at}:" in error.message
    _, shown, caret = error.message.split("\n")
    assert shown == f"  {text}"
    assert caret == " " * (at + 1) + "^"
    assert all(example in error.hint for example in EXAMPLES)


def test_the_examples_of_errors_and_of_the_help_are_filters() -> None:
    for example in (*EXAMPLES, *(operator.example for operator in OPERATORS.values())):
        parse(example)


def test_the_place_in_a_long_filter_is_shown_with_what_is_around_it() -> None:
    with pytest.raises(UsageError) as caught:
        parse("a " * 100 + "~nope" + " b" * 100)
    _, shown, caret = caught.value.message.split("\n")
    assert len(shown) < 140
    assert shown.startswith("  ...")
    assert shown.endswith("...")
    assert shown[caret.index("^") :].startswith("~nope")


def test_what_a_filter_may_be_is_bounded() -> None:
    for text in ("a" * (MAX_LENGTH + 1), "!" * (MAX_DEPTH + 2) + "a", "(" * 4000 + "a" + ")" * 4000, "a " * 1001):
        with pytest.raises(UsageError):
            parse(text)
    parse("!" * MAX_DEPTH + "a")


def test_control_characters_of_a_filter_do_not_get_into_the_message() -> None:
    with pytest.raises(UsageError) as caught:
        parse("~c '\x1b[31m'")
    assert "\x1b" not in caught.value.message.split("\n")[1]


@given(st.text(alphabet="~abchmqsu !&|()'\"\\[x.*+?0123456789éß\x00\ud800", max_size=40))
def test_any_text_is_a_filter_or_an_error_that_says_so(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(parse(text), Node)
