"""Which pages are made of the program, and of what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.docs.json_page import json_page
from tests.docs.reference_pages import commands_page, tools_page

ROOT: Final = Path(__file__).parents[2]
PAGES: Final[dict[str, Callable[[], str]]] = {
    "docs/json.md": json_page,
    "docs/tools.md": tools_page,
    "docs/commands.md": commands_page,
}
COOKBOOK: Final = ROOT / "src" / "wiretape" / "guide.md"
"""The cookbook's one text; docs/cookbook.md and the skill are copies of it."""
SKILL: Final = ROOT / "skills" / "wiretape" / "SKILL.md"


def skill(text: str) -> str:
    """Return the skill with another cookbook in it."""
    front = SKILL.read_text(encoding="utf-8").split("---\n")[1]
    return f"---\n{front}---\n\n{text}"
