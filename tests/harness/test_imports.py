"""Who may use whom: the program nothing of these folders, the harness and the tools nothing of the tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


def imported(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in folder.rglob("*.py"):
        if ".peers" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield path, node.module.partition(".")[0]
            elif isinstance(node, ast.Import):
                yield from ((path, name.name.partition(".")[0]) for name in node.names)


@pytest.mark.parametrize(
    ("folder", "others"),
    [
        ("src", {"harness", "tests", "bench", "prove"}),
        ("harness", {"tests", "bench", "prove"}),
        ("bench", {"tests", "prove"}),
        ("prove", {"tests", "bench"}),
    ],
)
def test_imports_go_from_tests_and_tools_to_the_harness_and_from_there_to_the_program(
    folder: str, others: set[str]
) -> None:
    found = list(imported(PROJECT / folder))
    assert len(found) > 20
    assert [(path, name) for path, name in found if name in others] == []
