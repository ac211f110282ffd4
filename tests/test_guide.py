"""The cookbook: one text, and commands that there are."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import click
import pytest

from tests.cli.support import wiretape, wiretape_json
from wiretape.cli.main import COMMANDS, MODULES
from wiretape.errors import NotFoundError
from wiretape.guide import guide, topic, topics

ROOT = Path(__file__).parents[1]
EXAMPLES = re.findall(r"^    (wiretape .*)$", guide(), re.MULTILINE)
"""Those after a ``$`` are run by the test of the page."""


def test_the_page_and_the_skill_are_the_same_text() -> None:
    assert (ROOT / "docs" / "cookbook.md").read_text() == guide()
    skill = (ROOT / "skills" / "wiretape" / "SKILL.md").read_text()
    front, _, text = skill.removeprefix("---\n").partition("\n---\n")
    assert text.lstrip("\n") == guide()
    assert front.startswith("name: wiretape\ndescription: ")


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_command_that_can_be_given(example: str) -> None:
    words = shlex.split(example.partition(" | ")[0])[1:]
    assert words[0] in COMMANDS
    command = import_module(f"wiretape.cli.commands.{MODULES.get(words[0], words[0])}").command
    with command.make_context(words[0], words[1:], obj={}) as context:
        assert isinstance(context, click.Context)


def test_a_topic_is_found_by_the_beginning_of_its_name() -> None:
    assert topic("comp") == topics()["compare"]
    with pytest.raises(NotFoundError, match="no topic 'x'") as missing:
        topic("x")
    assert "compare" in missing.value.hint


def test_the_command_prints_it() -> None:
    assert wiretape("guide").stdout.decode() == guide()
    assert wiretape("guide", "llm").stdout.decode() == topics()["llm"]
    assert wiretape_json("guide", "llm")["text"] == topics()["llm"]
