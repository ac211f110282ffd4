"""Simulated crashes: the recorder's stream and writer over a simulated disk, stopped at every call that changes it.

In front of every such call two worlds are looked at: the process is killed there, and the power is cut there, with
what survives drawn from everything that the model of the disk allows (``tests/support/disks/memory.py``). Both are read
by the real reader and held against what clients had been told.
"""

from __future__ import annotations

import random

from harness.disks.machine import LOG, SLOWEST_SYNC, Found, Machine, Recorded, read_log
from harness.disks.memory import MemoryDisk, MemoryFiles
from prove.part import Figure, Result, Task, all_cores
from prove.tally import Tally
from wiretape.log.resume import resume_point
from wiretape.settings import Durability

CUTS = 100_000
WINDOW = 0.2
"""Seconds that a loss of power may cost at ``group``."""
_RUNS_AT_ONCE = 20


class Life:
    """One simulated life: a recorder runs, is stopped at every call, crashes in earnest, and is resumed."""

    def __init__(self, seed: str, tally: Tally, *, calm: bool | None = None) -> None:
        """Draw what the life is like.

        Args:
            seed: decides everything.
            tally: where it is counted.
            calm: every run is closed, on a disk that is well by then; None draws that.
        """
        self._seed = seed
        self._ends = random.Random(f"{seed}/ends")
        self._calm = self._ends.random() < 0.4 if calm is None else calm
        self._chance = random.Random(seed)
        self._tally = tally
        self._durability: Durability = self._chance.choice(("group", "always"))
        self._faults = self._chance.choice((0.0, 0.0, 0.03))
        # Each sync that fails has to be made up for by another.
        self._window = WINDOW + (2 * SLOWEST_SYNC if self._faults else 0)
        self._kept: set[int] = set()

    def live(self) -> None:
        """Run it."""
        disk = MemoryDisk()
        disk.make_folder(LOG)
        recorded = Recorded()
        for run in range(3):
            before = disk.content(LOG)
            machine = Machine(disk, self._chance, self._durability, recorded, self._stop, self._faults)
            self._expect(machine.first_seq > max(self._kept, default=0), f"run {run} gives a seq again")
            closes = self._calm or self._ends.random() < 0.6
            machine.run(self._chance.randint(3, 12), closes=closes, calm=self._calm)
            self._expect(not machine.loop.errors, f"errors in the loop: {machine.loop.errors}")
            after = disk.content(LOG)
            for name, content in before.items():
                unchanged = name.endswith(".lock") or after.get(name) == content
                self._expect(unchanged, f"{name} was changed by the run that resumed it")
            disk = self._crash(machine) if closes else self._kill(machine)
        self._tally.counts["acknowledged"] += len(recorded.acknowledged)

    def _crash(self, machine: Machine) -> MemoryDisk:
        """End the run for good; it was closed, and with that synced, so that everything has to survive either end."""
        self._kept |= set(machine.recorded.acknowledged)
        killed = self._chance.random() < 0.5
        return machine.disk.after_kill() if killed else machine.disk.after_power_cut(self._chance)

    def _kill(self, machine: Machine) -> MemoryDisk:
        """Kill the run; what the disk has not saved by then is the next run's to save, in the time of one sync."""
        recorded, now = machine.recorded, machine.loop.time()
        for seq in set(recorded.acknowledged) - self._kept:
            if machine.durability == "always" or now - recorded.acknowledged[seq] > self._window:
                self._kept.add(seq)
            else:
                recorded.acknowledged[seq] = 0.0
        return machine.disk.after_kill()

    def _stop(self, machine: Machine, call: str) -> None:
        """Look at both worlds in front of a call."""
        self._tally.counts["kills"] += 1
        where = f"kill in front of {call} at {machine.loop.time():.4f} s" if machine_ready(machine) else call
        found = self._read(machine.disk.after_kill(), machine.recorded, where)
        told = set(machine.recorded.acknowledged)
        self._count_lost("lost to kills", told - set(found.ends), where)
        # What a full disk dropped is explained by an event that comes later; until then its numbers are missing. And a
        # segment whose sync failed, or was not waited for, may have holes: what they took stands in another one.
        explained = self._faults or not self._calm
        gaps = [gap for gap in found.report.gaps if not explained or set(gap.lost) & told]
        self._expect(not gaps, f"{where}: damage is reported where there is none: {gaps}")
        self._tally.counts["power cuts"] += 1
        where = where.replace("kill", "power cut")
        disk = machine.disk.after_power_cut(self._chance)
        found = self._read(disk, machine.recorded, where)
        self._lost_to_power(machine, found, where)
        following = resume_point(LOG, 0, 1, files=MemoryFiles(disk))[1]
        self._expect(following > max(found.seqs, default=0), f"{where}: {following} would be given again")

    def _lost_to_power(self, machine: Machine, found: Found, where: str) -> None:
        now = machine.loop.time() if machine_ready(machine) else 0.0
        lost = {seq for seq in machine.recorded.acknowledged if seq not in found.ends}
        too_many = lost & self._kept
        for seq in lost - self._kept:
            age = now - machine.recorded.acknowledged[seq]
            if machine.durability == "always" or age > self._window:
                too_many.add(seq)
            elif not self._faults:
                self._tally.most = max(self._tally.most, age)
        self._count_lost(f"lost to power cuts at {machine.durability}", too_many, where)

    def _read(self, disk: MemoryDisk, recorded: Recorded, where: str) -> Found:
        found = read_log(disk)
        for seq, versions in found.ends.items():
            if versions != {recorded.written.get(seq)}:
                self._tally.counts["wrong"] += 1
                self._expect(False, f"{where}: exchange {seq} is not what was recorded")
        self._expect(found.report.exchanges == len(found.seqs), f"{where}: {found.report.exchanges} counted")
        return found

    def _count_lost(self, what: str, seqs: set[int], where: str) -> None:
        self._tally.counts[what] += len(seqs)
        self._expect(not seqs, f"{where}: {what}: {sorted(seqs)[:10]}")

    def _expect(self, holds: bool, otherwise: str) -> None:
        self._tally.expect(holds, f"life {self._seed}: {otherwise}")


def machine_ready(machine: Machine) -> bool:
    """Return whether the machine has its clock: its first calls come while it is being made."""
    return hasattr(machine, "stream")


def live_some(seed: str, first: int, count: int) -> Tally:
    """Run lives ``first`` to ``first + count``."""
    tally = Tally()
    for number in range(first, first + count):
        Life(f"{seed}/{number}", tally).live()
    return tally


def run(task: Task) -> Result:
    """Run lives, on all cores, until the cuts are enough."""
    wanted = task.share(CUTS, at_least=500)
    whole = Tally()
    number = 0
    with all_cores() as pool:
        while whole.counts["power cuts"] < wanted:
            starts = range(number, number + 4 * _RUNS_AT_ONCE, _RUNS_AT_ONCE)
            number += 4 * _RUNS_AT_ONCE
            for tally in pool.map(live_some, *zip(*((task.seed, at, _RUNS_AT_ONCE) for at in starts), strict=True)):
                whole.add(tally)
            task.report(whole.counts["power cuts"], wanted, f"{whole.counts['power cuts']:,} cuts")
    figures: dict[str, Figure] = {
        "lives": number,
        **{
            key: whole.counts[key]
            for key in (
                "power cuts",
                "kills",
                "acknowledged",
                "lost to kills",
                "lost to power cuts at always",
                "lost to power cuts at group",
                "wrong",
            )
        },
        "longest window at group, ms": round(whole.most * 1000),
    }
    return Result(figures=figures, failures=whole.failures)
