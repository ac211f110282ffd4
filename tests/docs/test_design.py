"""The map in docs/design.md names every room, in the order that ``make check`` holds, and nothing that is gone."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
MAP = PAGE[PAGE.index("## The map") : PAGE.index("## The promise")]
PACKAGE = ROOT / "src" / "wiretape"
ROOMS = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
OF_THE_PACKAGE = {"__init__", "__main__"}


def drawing() -> tuple[list[set[str]], list[set[str]]]:
    """Return the layers of the package and those of a session, as they are drawn."""
    lines = [line[4:] for line in MAP.splitlines() if line.startswith("    ")]
    inside = " ".join(line for line in lines if line.startswith(" "))
    layers = [re.split(r" {4,}", line)[0] for line in lines if not line.startswith(" ")]
    return [names(layer) for layer in layers], [names(layer) for layer in inside.split(">")]


def names(layer: str) -> set[str]:
    return set(re.findall(r"[a-z0-9_]+", layer))


def contract(container: str) -> list[set[str]]:
    """Return the layers that import-linter holds, without those that are planned."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts: list[dict[str, Any]] = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one.get("containers") == [container])
    folder = ROOT / "src" / container.replace(".", "/")
    there = {path.stem for path in folder.iterdir()}
    return [found for layer in layers if (found := names(layer) & there)]


def test_the_map_draws_every_room_in_its_layer() -> None:
    drawn, inside = drawing()
    planned = set(re.findall(r"\(([a-z]+)\)", "".join(line for line in MAP.splitlines() if line.startswith("    "))))
    assert [layer - (planned - ROOMS) for layer in drawn] == contract("wiretape")
    assert inside == contract("wiretape.session")
    assert set().union(*drawn) - planned <= ROOMS


def test_the_map_says_of_every_room_what_is_in_it() -> None:
    said = " ".join(line.split("|")[1] for line in MAP.splitlines() if line.startswith("| `"))
    silent = {"errors", "config", "json_lines"}  # their names say it
    assert ROOMS - OF_THE_PACKAGE - silent == names(said.replace(".py", "")), "a line of the table is missing, or stale"


def test_every_file_that_the_page_names_is_there() -> None:
    folders = ("src", "docs", "harness", "tests")
    files = [path.relative_to(ROOT).as_posix() for folder in folders for path in (ROOT / folder).rglob("*.[pm]*")]
    named = set(re.findall(r"`([\w./-]+\.(?:py|md))`", PAGE))
    assert len(named) > 50
    assert not [name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in files)]


def test_every_function_that_the_page_names_is_there() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    named = re.findall(r"`([A-Z]\w+)\.((?!md)\w+)`", PAGE)
    assert len(named) > 10
    gone = [f"{of}.{it}" for of, it in named if f"class {of}" not in source or not re.search(rf"\b{it}\b", source)]
    assert not gone
