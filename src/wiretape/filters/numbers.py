"""Values that are numbers: codes, sizes, durations, ranges of seqs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_MOST: Final = 2**62
_NUMBER: Final = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)([a-zA-Z]*)", re.ASCII)
_COMPARED: Final = re.compile(r"(>=|<=|>|<|=)?\s*(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from ``low`` to ``high``; None for no end. The ends are in it unless it is ``open``."""

    low: float | None = None
    high: float | None = None
    open: bool = False

    def __contains__(self, number: float) -> bool:
        if self.open:
            return (self.low is None or number > self.low) and (self.high is None or number < self.high)
        return (self.low is None or number >= self.low) and (self.high is None or number <= self.high)


def read_range(text: str, units: dict[str, float], *, exact: bool) -> Range:
    """Read ``>N``, ``>=N``, ``<N``, ``<=N``, ``=N``, ``A..B``, ``A..``, ``..B``; ``N`` alone only if ``exact``.

    Raises:
        ValueError: it is none of these; the text says what may stand there.
    """
    low, dots, high = text.partition("..")
    if dots:
        if not low and not high:
            raise ValueError("give at least one end of the range")
        found = Range(_number(low, units) if low else None, _number(high, units) if high else None)
        if found.low is not None and found.high is not None and found.low > found.high:
            raise ValueError(f"the range ends before it begins: {high}..{low} is the other way round")
        return found
    match = _COMPARED.fullmatch(text)
    sign, number = (match[1], _number(match[2], units)) if match else (None, _number(text, units))
    if sign is None and not exact:
        raise ValueError(f"say whether more or less is meant: >{text} or <{text}")
    match sign:
        case ">" | ">=":
            return Range(low=number, open=sign == ">")
        case "<" | "<=":
            return Range(high=number, open=sign == "<")
    return Range(number, number)


def _number(text: str, units: dict[str, float]) -> float:
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match[2].lower() not in units:
        known = ", ".join(unit for unit in units if unit)
        raise ValueError(f"{text!r} is not a number" + (f"; units are {known}" if known else ""))
    number = float(match[1]) if "." in match[1] else int(match[1])
    found = number * units[match[2].lower()]
    if found > _MOST:
        raise ValueError(f"{text!r} is too large")
    return found
