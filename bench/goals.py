"""What wiretape sets out to reach, as data: how each figure comes from one round, and what it has to be.

A figure is made of measurements of the same round only, which follow each other closely, so that what the machine does
in the meantime changes both sides of a ratio. With ``--against`` each is made for the other checkout too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from bench.peers.base import BEFORE, QUIET, THIS

# What one round gave, by peer, step and figure.
Figures = Mapping[tuple[str, str, str], float]


def _alone(ours: float, _: float) -> float:
    return ours


def _times(ours: float, theirs: float) -> float:
    return ours / theirs


def _percent(ours: float, theirs: float) -> float:
    return 100 * ours / theirs


def _cost(ours: float, theirs: float) -> float:
    return 100 - 100 * ours / theirs


def _added(ours: float, theirs: float) -> float:
    return ours - theirs


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and its bound; one without is there to be compared with.

    Attributes:
        title, unit: its line in the table.
        step, figure: what is measured for it.
        against: the peer whose figure stands against ours, QUIET for ourselves when not recording, empty for nobody.
        made: makes the goal's figure of ours and theirs.
        recording: whether ours is the figure of the peer that records.
        at_least, at_most: the bound.
        not_less: the bound is what it was before.
    """

    title: str
    unit: str
    step: str
    figure: str = ""
    against: str = ""
    made: Callable[[float, float], float] = _alone
    at_least: float | None = None
    at_most: float | None = None
    not_less: bool = False
    recording: bool = True

    def peers(self, checkout: str) -> tuple[str, str]:
        """Keys of the two peers that have to be measured for a checkout: the same one twice where one is enough."""
        ours = checkout if self.recording else checkout + QUIET
        theirs = {"": ours, QUIET: checkout + QUIET}.get(self.against, self.against)
        return ours, theirs

    @property
    def bound(self) -> str:
        """The bound in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return "not less than before" if self.not_less else ""


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a goal.

    Attributes:
        goal: the goal.
        now: what this checkout gave.
        before: what the other one gave; None where there was none.
        reached: whether now is within the bound; None where there is no bound.
    """

    goal: Goal
    now: Spread
    before: Spread | None
    reached: bool | None


GOALS = (
    Goal("HTTP, small GETs", "/s", "http", not_less=True),
    Goal("HTTPS, small GETs", "/s", "https", not_less=True),
    Goal("HTTP, small GETs, of nginx", "%", "http", "", "nginx", _percent, at_least=50),
    Goal("HTTPS, small GETs, of nginx", "%", "https", "", "nginx", _percent, at_least=60),
    Goal("HTTP, small GETs, of mockttp", "×", "http", "", "mockttp", _times, at_least=5),
    Goal("HTTPS, small GETs, of mockttp", "×", "https", "", "mockttp", _times, at_least=4),
    Goal("HTTP, small GETs, of mitmproxy", "×", "http", "", "mitmproxy", _times, at_least=20),
    Goal("HTTPS, small GETs, of mitmproxy", "×", "https", "", "mitmproxy", _times, at_least=15),
    Goal("HTTP, cost of recording small GETs", "%", "http", "", QUIET, _cost, at_most=12),
    Goal("HTTPS, cost of recording small GETs", "%", "https", "", QUIET, _cost, at_most=12),
    Goal("HTTP, 100 KB bodies", "/s", "http-100k", not_less=True),
    Goal("HTTP, 100 KB bodies, of mockttp", "×", "http-100k", "", "mockttp", _times, at_least=5),
    Goal("HTTP, 100 KB bodies, of not recording, by wrk", "%", "http-100k-wrk", "", QUIET, _percent, at_least=55),
    Goal("HTTP, latency added at 200/s, p99", "ms", "latency-http", "p99", "direct", _added, at_most=0.6),
    Goal("HTTPS, latency added at 200/s, p99", "ms", "latency-https", "p99", "direct", _added, at_most=0.6),
    Goal("HTTP, the same, not recording", "ms", "latency-http", "p99", "direct", _added, recording=False),
    Goal("HTTPS, the same, not recording", "ms", "latency-https", "p99", "direct", _added, recording=False),
    Goal("Memory, idle, before the first MCP client", "MiB", "memory", "idle", at_most=75),
    Goal("Memory, idle, after it", "MiB", "memory", "mcp", at_most=100),
    Goal("HTTPS, big download: this or the next line", "MB/s", "download", "rate", at_least=400),
    Goal("HTTPS, big download, of nginx", "%", "download", "rate", "nginx", _percent, at_least=60),
    Goal("Memory, big download, above idle", "MiB", "download", "above", at_most=64),
)


def needed() -> set[tuple[str, str]]:
    """Return each step and peer that has to be measured for the goals, with those of the other checkout."""
    return {(goal.step, peer) for goal in GOALS for checkout in (THIS, BEFORE) for peer in goal.peers(checkout)}


def outcomes(rounds: Iterable[Figures]) -> list[Outcome]:
    """Return what came of each goal that the rounds' figures are enough for."""
    rounds = list(rounds)
    found = []
    for goal in GOALS:
        now, before = _spread(goal, rounds, THIS), _spread(goal, rounds, BEFORE)
        if now is not None:
            found.append(Outcome(goal, now, before, _reached(goal, now, before)))
    return found


def _spread(goal: Goal, rounds: list[Figures], checkout: str) -> Spread | None:
    ours, theirs = ((peer, goal.step, goal.figure) for peer in goal.peers(checkout))
    values = [goal.made(figures[ours], figures[theirs]) for figures in rounds if ours in figures and theirs in figures]
    return Spread(median(values), min(values), max(values)) if values else None


def _reached(goal: Goal, now: Spread, before: Spread | None) -> bool | None:
    if goal.at_least is not None:
        return now.median >= goal.at_least
    if goal.at_most is not None:
        return now.median <= goal.at_most
    return now.median >= before.median if goal.not_less and before is not None else None
