"""The examples of docs/rules.md are rules; every field has its place there."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from wiretape.rules.ruleset import compiled
from wiretape.rules.values import STAGES, Changes, Handler, Matcher, RequestChanges, ResponseChanges, Rule, rule_from

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
EXAMPLES = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_rule(example: str) -> None:
    assert compiled(rule_from(json.loads(example))).stages


def test_the_file_has_rules() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert [bool(compiled(rule_from(one)).stages) for one in tomllib.loads(example)["rule"]] == [True, True]


@pytest.mark.parametrize("part", [Matcher, Handler, Changes, RequestChanges, ResponseChanges, Rule])
def test_every_field_is_explained(part: type) -> None:
    ours = {"id", "targets", "createdAt", "number", "revision", "enabled", "type", "description", "matcher", "handler"}
    names = {field.encode_name for field in msgspec.structs.fields(part)} - ours
    assert {name for name in names if f"`{name}`" not in PAGE and f"`{name}: true`" not in PAGE} == set()


def test_every_stage_is_explained() -> None:
    assert all(f"`{stage}`:" in PAGE for stage in STAGES)
