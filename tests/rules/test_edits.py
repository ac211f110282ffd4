"""Edits of URLs, bodies and headers; RFC 6902's own examples."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from wiretape.rules.body import body_edits
from wiretape.rules.headers import edited, header_edits
from wiretape.rules.regexes import LONGEST, NotAppliedError
from wiretape.rules.url import forwarding, host_of, leads_away, path_of, plain_url, rewriting
from wiretape.rules.values import Changes, UrlRewrite


def body_after(text: str, **changes: Any) -> str:
    """Return what changes make of a body."""
    for edit in body_edits("handler.transformRequest", msgspec.convert(changes, Changes)):
        text = edit(text)
    return text


def headers_after(fields: list[tuple[str, str]], **changes: Any) -> list[tuple[str, str]]:
    """Return what changes make of fields."""
    for edit in header_edits("handler.transformRequest", msgspec.convert(changes, Changes)):
        fields = edit(fields)
    return fields


def test_pairs_replace_the_first_occurrence_literally_on_both_sides() -> None:
    assert body_after("a.c abc a.c", matchReplaceBody=[["a.c", "$&$1\\1"], ["abc", ""]]) == "$&$1\\1  a.c"


@pytest.mark.parametrize(
    ("replacement", "expected"),
    [
        ({"find": "a", "replaceWith": "b"}, "baa $"),
        ({"find": "a", "replaceWith": "b", "all": True}, "bbb $"),
        ({"find": "(a)(a)", "replaceWith": "$2-${1}$$", "regex": True}, "a-a$a $"),
        ({"find": "a", "replaceWith": "<$0>", "regex": True, "all": True}, "<a><a><a> $"),
        ({"find": "A", "replaceWith": "b", "regex": True}, "aaa $"),
    ],
)
def test_replacements(replacement: dict[str, Any], expected: str) -> None:
    assert body_after("aaa $", replaceBody=[replacement]) == expected


PATCHES: list[tuple[Any, list[dict[str, Any]], Any]] = [  # RFC 6902 appendix A
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
    (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "qux"}], {"baz": "qux"}),
    ({"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"a": {}}}], {"foo": "bar", "child": {"a": {}}}),
    ({"/": 9, "~1": 10}, [{"op": "replace", "path": "/~01", "value": 11}], {"/": 9, "~1": 11}),
    ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc"]}], {"foo": ["bar", ["abc"]]}),
    ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": [2]}], [2]),
]


@pytest.mark.parametrize(("before", "patch", "after"), PATCHES)
def test_json_patch_as_the_rfc_has_it(before: Any, patch: list[dict[str, Any]], after: Any) -> None:
    assert json.loads(body_after(json.dumps(before), jsonPatch=patch)) == after


@pytest.mark.parametrize(
    ("text", "patch", "why"),
    [
        ("no json", [{"op": "add", "path": "/a", "value": 1}], "not JSON"),
        ("NaN", [{"op": "add", "path": "", "value": 1}], "not JSON"),
        ("[" * 100_000, [{"op": "add", "path": "", "value": 1}], "not JSON"),
        ('{"a": 1}', [{"op": "remove", "path": "/b"}], "no value at /b"),
        ('{"a": [1]}', [{"op": "replace", "path": "/a/1", "value": 2}], "no value at /a/1"),
        ('{"a": [1]}', [{"op": "replace", "path": "/a/01", "value": 2}], "no value at /a/01"),
        ('{"a": 1}', [{"op": "add", "path": "/a/b", "value": 2}], "no value at /a/b"),
        ('{"a": 1}', [{"op": "test", "path": "/a", "value": 2}], "test"),
        ('{"a": {}}', [{"op": "move", "from": "/a", "path": "/a/b"}], "itself"),
    ],
)
def test_a_patch_that_does_not_fit_changes_nothing_and_says_why(
    text: str, patch: list[dict[str, Any]], why: str
) -> None:
    with pytest.raises(NotAppliedError, match=why):
        body_after(text, jsonPatch=patch)


def test_json_set_replaces_or_adds() -> None:
    assert json.loads(body_after('{"a": [1, 2]}', jsonSet={"/a/1": 3, "/b": None})) == {"a": [1, 3], "b": None}


def test_fields_are_set_in_their_place_removed_added_and_edited_value_by_value() -> None:
    fields = [("A", "1"), ("b", "x"), ("a", "2"), ("C", "id=1"), ("C", "id=2")]
    assert headers_after(fields, updateHeaders={"a": "9"}) == [("A", "9"), ("b", "x"), ("C", "id=1"), ("C", "id=2")]
    assert headers_after(fields, updateHeaders={"B": None, "New": "n"})[-1] == ("New", "n")
    assert headers_after(fields, removeHeaders=["a"])[0] == ("b", "x")
    assert headers_after(fields, removeHeaders=[{"name": "a", "value": "2"}]) == [*fields[:2], *fields[3:]]
    assert headers_after(fields, addHeaders=[{"name": "a", "value": "3"}]) == [*fields, ("a", "3")]
    changed = headers_after(fields, replaceInHeaders=[{"name": "c", "find": "id", "replaceWith": "ü"}])
    assert changed[3:] == [("C", "Ã¼=1"), ("C", "Ã¼=2")]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://old/v1/a?b=1", "https://new/a?b=1"),
        ("http://other/v1/a", None),
    ],
)
def test_a_url_is_rewritten_by_its_groups(url: str, expected: str | None) -> None:
    change = rewriting("rewriteUrl", UrlRewrite(match="^http://old/v1/(.*)", replace_with="https://new/$1"))
    assert change(url) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("h", "https://h/p?q=1"),
        ("h:81", "https://h:81/p?q=1"),
        ("http://h", "http://h/p?q=1"),
        ("http://[::1]:8080", "http://[::1]:8080/p?q=1"),
    ],
)
def test_forward_keeps_path_and_query_and_the_scheme_unless_told(target: str, expected: str) -> None:
    assert forwarding("forwardTo", target)("https://old:8443/p?q=1") == expected


def test_where_a_rule_may_send_to() -> None:
    assert not leads_away("http://a/", "http://b/", None)
    assert leads_away("http://a/", "http://b/", [])
    for url in ("https://A:8443/x", "http://localhost:3000/", "http://[::1]/", "http://friend/"):
        assert not leads_away("http://a/", url, ["friend"])


def test_urls_are_taken_apart() -> None:
    assert plain_url("HTTP://EXAMPLE.com:80/A?b") == "http://example.com/A?b"
    assert plain_url("https://h:80/") == "https://h:80/"
    assert (path_of("http://h"), path_of("http://h?a=1"), path_of("http://h/p?a")) == ("/", "/?a=1", "/p?a")
    assert (host_of("http://[::1]:80/x"), host_of("https://H:1/")) == ("::1", "h")


def test_p14_what_a_patch_copied_from_one_body_never_gets_into_the_next() -> None:
    patch = [{"op": "add", "path": "/seen", "value": []}, {"op": "copy", "from": "/user", "path": "/seen/-"}]
    (edit,) = body_edits("handler.transformResponse", msgspec.convert({"jsonPatch": patch}, Changes))
    assert json.loads(edit('{"user":"alice"}'))["seen"] == ["alice"]
    assert json.loads(edit('{"user":"bob"}'))["seen"] == ["bob"]


def test_p14_what_is_set_in_two_places_is_not_one_value() -> None:
    patch = [{"op": "add", "path": "/a", "value": {}}, {"op": "copy", "from": "/a", "path": "/b"}]
    assert body_after("{}", jsonPatch=[*patch, {"op": "add", "path": "/a/x", "value": 1}]) == '{"a":{"x":1},"b":{}}'


@pytest.mark.parametrize(
    "changes",
    [
        {"replaceBody": [{"find": "a", "replaceWith": "b" * 1000, "all": True}]},
        {"replaceBody": [{"find": "(a{100})", "replaceWith": "$1" * 500, "all": True, "regex": True}]},
        {"replaceBody": [{"find": "(a+)", "replaceWith": "$1" * 1000, "regex": True}]},
    ],
)
def test_p8_a_body_does_not_grow_without_bound(changes: dict[str, Any]) -> None:
    with pytest.raises(NotAppliedError, match="longer than"):
        body_after("a" * 20_000, **changes)


def test_p8_more_matches_than_others_can_wait_for_stay_as_they_are() -> None:
    with pytest.raises(NotAppliedError, match="10,000 matches"):
        body_after("1" * 10_001, replaceBody=[{"find": "[0-9]", "replaceWith": "x", "regex": True, "all": True}])


def test_p8_a_document_copied_into_itself_again_and_again_stays_as_it_was() -> None:
    document = json.dumps({"a": ["x" * 1000]})
    copies = [{"op": "copy", "from": "", "path": f"/b{number}"} for number in range(40)]
    with pytest.raises(NotAppliedError, match="longer than"):
        body_after(document, jsonPatch=copies)


def test_p8_a_field_that_would_grow_without_bound_stays_and_it_is_said() -> None:
    changes = {"replaceInHeaders": [{"name": "X", "find": "a", "replaceWith": "b" * 16_000, "all": True}]}
    edits = header_edits("handler.transformRequest", msgspec.convert(changes, Changes))
    before = [("X", "a" * 60_000)]
    after, note = edited(before, edits)
    assert (after, f"{LONGEST:,}" in note) == (before, True)
    assert "longer than" in note


@pytest.mark.parametrize(
    ("body", "after"),
    [('{"x":"\\ud800"}', '{"x":"\\ud800","a":1}'), ('{"x":"é"}', '{"x":"é","a":1}')],
)
def test_a_changed_document_can_be_encoded_whatever_it_says(body: str, after: str) -> None:
    assert body_after(body, jsonSet={"/a": 1}).encode() == after.encode()


@pytest.mark.parametrize("body", ['{"x":1e400}', '{"x":-1e999}', "[" * 100_000])
def test_a_document_that_cannot_be_written_again_stays_as_it_came(body: str) -> None:
    with pytest.raises(NotAppliedError):
        body_after(body, jsonSet={"/a": 1})


def test_p12_a_value_of_other_bytes_than_utf_8_that_has_nothing_to_replace_stays() -> None:
    fields = [("X", "caf\xe9")]
    assert headers_after(fields, replaceInHeaders=[{"name": "X", "find": "zzz", "replaceWith": ""}]) == fields


def test_p14_a_fragment_that_a_rewrite_makes_is_not_sent() -> None:
    change = rewriting("f", UrlRewrite(match="^http://a/(.*)$", replace_with="http://b/$1#top"))
    assert change("http://a/x?y=1") == "http://b/x?y=1"
