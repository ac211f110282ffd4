"""A full segment with parity, damaged in every way that is promised to heal, and in ways that are not."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

from harness.specimen import BytesFile
from prove.part import Figure, Result, Task
from wiretape.errors import DamagedError
from wiretape.log.format import SEGMENT_BYTES
from wiretape.log.parity import BLOCK, PARITY, Layout, Repair, encode, read_parity

CASES = 600
_RUN = 64 * 1024

Damage = Callable[[bytearray, bytearray, random.Random], None]
"""Changes a segment, its parity file, or both."""


def run(task: Task) -> Result:
    """Encode once, then damage, heal and compare."""
    size = max(4 << 20, round(SEGMENT_BYTES * min(1.0, task.effort * 10)))
    sound = random.Random(task.seed).randbytes(size)
    began = time.perf_counter()
    parity = b"".join(encode(BytesFile(bytearray(sound)), size))
    rate = size / (time.perf_counter() - began) / 1e6
    cases = task.share(CASES, at_least=2 * len(_WITHIN))
    counts: Counter[str] = Counter()
    failures: list[str] = []
    for number in range(cases):
        within = number % 10 != 9
        ways = _WITHIN if within else _BEYOND
        chance = random.Random(f"{task.seed}/{number}")
        damage = ways[number % len(ways)]
        outcome = _heal(sound, parity, damage, chance)
        counts[f"{outcome} {'within' if within else 'beyond'}"] += 1
        if outcome == "wrong" or (within and outcome == "refused"):
            failures.append(f"{damage.__name__.strip('_')}, case {task.seed}/{number}: {outcome}")
        task.report(number + 1, cases, f"{number + 1} damaged segments")
    figures: dict[str, Figure] = {
        "bytes of the segment": size,
        "damaged within the bound": sum(counts[f"{what} within"] for what in ("healed", "refused", "wrong")),
        "of these healed byte for byte": counts["healed within"],
        "damaged beyond it": sum(counts[f"{what} beyond"] for what in ("healed", "refused", "wrong")),
        "of these refused": counts["refused beyond"],
        "given back wrong": counts["wrong within"] + counts["wrong beyond"],
        "parity, % of the log": round(100 * len(parity) / size, 2),
        "made, MB/s": round(rate),
    }
    return Result(figures=figures, failures=failures[:20])


def _heal(sound: bytes, parity: bytes, damage: Damage, chance: random.Random) -> str:
    segment, file = bytearray(sound), bytearray(parity)
    damage(segment, file, chance)
    found = read_parity(BytesFile(file))
    if found is None:
        return "refused"
    repair = Repair(BytesFile(segment), found)
    try:
        repair.heal(BytesFile(file))
        at = 0
        for piece in repair.whole():
            if sound[at : at + len(piece)] != piece:
                return "wrong"
            at += len(piece)
    except DamagedError:
        return "refused"
    return "healed" if at == len(sound) else "wrong"


def _fill(data: bytearray, start: int, length: int, chance: random.Random) -> None:
    end = min(len(data), start + length)
    data[start:end] = chance.choice((bytes(end - start), chance.randbytes(end - start)))


def _a_run(segment: bytearray, _: bytearray, chance: random.Random) -> None:
    _fill(segment, chance.choice((0, chance.randrange(len(segment)), len(segment) - _RUN)), _RUN, chance)


def _scattered_blocks(segment: bytearray, _: bytearray, chance: random.Random) -> None:
    for block in chance.sample(range(len(segment) // BLOCK), PARITY):
        _fill(segment, block * BLOCK, BLOCK, chance)


def _blocks_of_one_group(segment: bytearray, _: bytearray, chance: random.Random) -> None:
    layout = Layout.of(len(segment))
    group = chance.randrange(layout.groups)
    for index in chance.sample(range(layout.data - 1), PARITY):
        _fill(segment, (index * layout.groups + group) * BLOCK, BLOCK, chance)


def _scattered_bits(segment: bytearray, _: bytearray, chance: random.Random) -> None:
    for _bit in range(PARITY):
        segment[chance.randrange(len(segment))] ^= 1 << chance.randrange(8)


def _a_torn_end(segment: bytearray, _: bytearray, chance: random.Random) -> None:
    del segment[-chance.randint(1, _RUN) :]


def _as_much_as_there_is_parity(segment: bytearray, _: bytearray, chance: random.Random) -> None:
    length = (Layout.of(len(segment)).groups * PARITY - 1) * BLOCK
    _fill(segment, chance.randrange(len(segment) - length), length, chance)


def _garbage_behind(segment: bytearray, _: bytearray, chance: random.Random) -> None:
    _a_run(segment, bytearray(), chance)
    segment += chance.randbytes(chance.randint(1, 100_000))


def _parity_damaged_too(segment: bytearray, parity: bytearray, chance: random.Random) -> None:
    """Half of the parity's bound in each of the two."""
    layout = Layout.of(len(segment))
    _fill(segment, chance.randrange(len(segment)), (layout.groups * 8 - 1) * BLOCK, chance)
    _fill(parity, chance.randrange(len(parity)), (layout.groups * 8 - 1) * BLOCK, chance)


def _too_many_of_one_group(segment: bytearray, _: bytearray, chance: random.Random) -> None:
    layout = Layout.of(len(segment))
    for index in chance.sample(range(layout.data - 1), PARITY + 1):
        segment[index * layout.groups * BLOCK] ^= 1


def _most_of_it(segment: bytearray, _: bytearray, chance: random.Random) -> None:
    _fill(segment, 0, len(segment) * 3 // 4, chance)


def _no_parity_left(segment: bytearray, parity: bytearray, chance: random.Random) -> None:
    _a_run(segment, parity, chance)
    _fill(parity, 0, len(parity), chance)


_WITHIN: tuple[Damage, ...] = (
    _a_run,
    _scattered_blocks,
    _blocks_of_one_group,
    _scattered_bits,
    _a_torn_end,
    _as_much_as_there_is_parity,
    _garbage_behind,
    _parity_damaged_too,
)
_BEYOND: tuple[Damage, ...] = (_too_many_of_one_group, _most_of_it, _no_parity_left)
