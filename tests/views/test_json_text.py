"""JSON is read where it is sound or nearly so; what is hostile is refused with a sentence."""

from __future__ import annotations

import pytest

from wiretape.views.json_text import read_json, write_json
from wiretape.views.limits import MAX_PARSED, ViewError


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_nesting_of_100_000_is_refused_with_a_sentence(opening: str) -> None:
    with pytest.raises(ViewError, match="nested deeper than 200 levels"):
        read_json(opening * 100_000)


def test_nesting_that_the_parser_takes_and_walkers_would_not_is_refused_too() -> None:
    with pytest.raises(ViewError, match="nested deeper"):
        read_json("[" * 300 + "]" * 300)
    assert read_json("[" * 150 + "]" * 150)


def test_what_programs_write_though_it_is_no_json_is_read() -> None:
    assert read_json(b"\xef\xbb\xbf[1]") == [1]
    assert read_json('{"a":NaN,"b":[Infinity],"c":"\\ud800x"}') == {"a": "nan", "b": ["inf"], "c": "\ufffdx"}
    assert read_json('{"n":123456789012345678901234567890}') == {"n": 123456789012345678901234567890}


def test_of_equal_keys_the_last_one_counts_as_it_does_for_browsers() -> None:
    assert read_json('{"a":1,"a":2}') == {"a": 2}


def test_what_is_no_json_is_refused_with_the_place() -> None:
    with pytest.raises(ViewError, match=r"This is not JSON: .* at character 6, near"):
        read_json('{"a":1 "b":2}'.replace(" ", "", 1))
    with pytest.raises(ViewError, match="This is not JSON"):
        read_json(b"\xff\xfe\x00")


def test_p8_a_body_of_more_than_16_mb_is_not_taken_apart() -> None:
    with pytest.raises(ViewError, match="16,777,217 bytes"):
        read_json(b"[" + b" " * MAX_PARSED)


def test_a_value_is_laid_out_for_people() -> None:
    assert write_json({"a": [1, "ü"]}, indent=2) == '{\n  "a": [\n    1,\n    "ü"\n  ]\n}'
