"""The cookbook: one text for ``wiretape guide``, the resource, docs/cookbook.md and the skill."""

from __future__ import annotations

from importlib.resources import files

from wiretape.errors import NotFoundError


def guide() -> str:
    """Return the whole cookbook, Markdown."""
    return files("wiretape").joinpath("guide.md").read_text(encoding="utf-8")


def topics() -> dict[str, str]:
    """Return the recipes by their names."""
    found = {}
    for part in guide().split("\n## ")[1:]:
        name = part.partition("\n")[0].partition(":")[0].strip()
        found[name] = f"## {part.rstrip()}\n"
    return found


def topic(name: str) -> str:
    """Return one recipe; the beginning of its name is enough.

    Raises:
        NotFoundError: there is none; the hint names those there are.
    """
    known = topics()
    found = [text for key, text in known.items() if key.startswith(name.lower())]
    if len(found) != 1:
        raise NotFoundError(f"the guide has no topic {name[:80]!r}", hint=f"it has {', '.join(known)}", code="no-topic")
    return found[0]
