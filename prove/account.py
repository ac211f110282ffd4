"""The account of a proof: kept in a file while it runs, gone on with, printed at the end."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from prove.part import Part, Result


@dataclass(slots=True)
class Account:
    """What the parts have found. ``parts`` are those that are through, ``kept`` is what they go on from."""

    seed: str
    effort: float
    rounds: int
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every part that is through held."""
        return all(part["holds"] for part in self.parts.values())

    def take(self, part: Part, result: Result, seconds: float) -> None:
        """Write down what a part found."""
        self.parts[part.name] = {
            "holds": result.holds,
            "says": part.says,
            "figures": result.figures,
            "failures": result.failures,
            "seconds": round(seconds, 1),
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        return {
            "holds": self.holds,
            "seed": self.seed,
            "effort": self.effort,
            "rounds": self.rounds,
            "parts": self.parts,
            "kept": self.kept,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Account:
        """Take up what ``to_json`` gave."""
        return cls(
            seed=document["seed"],
            effort=document["effort"],
            rounds=document["rounds"],
            parts=document["parts"],
            kept=document.get("kept", {}),
        )

    def save(self, path: Path) -> None:
        """Replace the file in one step: a proof that is killed itself goes on where it was."""
        beside = path.with_name(path.name + ".new")
        beside.write_text(json.dumps(self.to_json(), indent=1) + "\n")
        os.replace(beside, path)

    def show(self, console: Console) -> None:
        """Print the account for a person."""
        for name, part in self.parts.items():
            verdict = "holds" if part["holds"] else "DOES NOT HOLD"
            table = Table(title=f"{name}: {verdict}", caption=part["says"], title_justify="left", min_width=60)
            table.add_column("figure")
            table.add_column("value", justify="right")
            for key, value in part["figures"].items():
                table.add_row(key, f"{value:,}" if isinstance(value, int) else str(value))
            table.add_row("seconds", str(part["seconds"]))
            console.print(table)
            for failure in part["failures"][:20]:
                console.print(f"  {name}: {failure[:2000]}", markup=False, soft_wrap=True)
