"""What rounds of kills have found so far: added up, and taken up again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

SUMMED = (
    *("sent", "answered", "reachedServer", "refused", "recorded", "complete", "aborted", "failed", "interrupted"),
    *("lost", "unseen", "twice", "wrong", "tornTailBytes", "bytes", "seconds"),
)


@dataclass(slots=True)
class Proof:
    """The sums over the rounds run so far; ``failures`` are the whole accounts of those that did not hold."""

    seed: str
    rounds: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    victims: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def take(self, result: dict[str, Any]) -> None:
        """Add one round."""
        self.rounds += 1
        self.victims[result["victim"]] += 1
        for key in SUMMED:
            self.sums[key] += result.get(key, 0)
        if not result["holds"]:
            self.failures.append(result)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        sums = {key: round(self.sums[key], 1) if key == "seconds" else self.sums[key] for key in SUMMED}
        return {
            "holds": not self.failures,
            "seed": self.seed,
            "rounds": self.rounds,
            "victims": dict(self.victims),
            **sums,
            "failures": self.failures,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Proof:
        """Take up what ``to_json`` gave."""
        return cls(
            seed=document["seed"],
            rounds=document["rounds"],
            sums=Counter({key: document[key] for key in SUMMED}),
            victims=Counter(document["victims"]),
            failures=document["failures"],
        )
