"""Damage: every bit of a log flipped, every length cut to, every page ruined, every file misplaced; what it cost (P4).

A flipped bit and a cut are read back by the real reader from the frame before to the second one behind, which is all
that they can reach; a share of them, and everything else, is read whole, as verify does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

from harness.specimen import LOG, BytesFiles, Seen, Specimen, make_specimen, read
from prove.part import Figure, Result, Task, all_cores
from prove.tally import Tally
from wiretape.log.items import OF_AN_EXCHANGE, Damage, Frame
from wiretape.log.scan import scan_segment

PAGE = 4096
_WHOLE = 97
"""Of so many flips or cuts one is also read whole."""
_OF_AN_EXCHANGE = frozenset(map(int, OF_AN_EXCHANGE))


class Bench:
    """A specimen under the hammer."""

    def __init__(self, specimen: Specimen, tally: Tally) -> None:
        self.specimen = specimen
        self.tally = tally
        self._content = specimen.copy()
        self._files = BytesFiles(self._content)

    # -- one bit ------------------------------------------------------------------------------------------------

    def flip(self, name: str, bit: int) -> None:
        """Flip one bit, read, and flip it back."""
        content = self._content[name]
        content[bit // 8] ^= 1 << bit % 8
        try:
            self._after_flip(name, bit // 8, f"bit {bit} of {name}")
            if bit % _WHOLE == 0:
                self._whole(name, bit // 8, bit // 8 + 1, f"bit {bit} of {name}, read whole")
        finally:
            content[bit // 8] ^= 1 << bit % 8
        self.tally.counts["bits flipped"] += 1

    def _after_flip(self, name: str, at: int, where: str) -> None:
        frames = self.specimen.frames[name]
        hit = self.specimen.frame_at(name, at)
        first, last = max(0, hit - 1), min(len(frames), hit + 3)
        start, end = frames[first].offset, frames[last].offset if last < len(frames) else None
        # The salt is a part of the first frame's header: there the reader has to find it by itself.
        salt = self.specimen.salts[name] if hit else None
        items = list(scan_segment(LOG / name, start=start, end=end, salt=salt, files=self._files))
        damage = [item for item in items if isinstance(item, Damage)]
        frame = frames[hit]
        exact = [(frame.offset, frame.size)]
        found = [(item.offset, item.length) for item in damage]
        self.tally.counts["bits found"] += found == exact
        self.tally.expect(found == exact, f"{where}: {found} reported instead of {exact}")
        rest = [other for index, other in enumerate(frames[first:last], first) if index != hit]
        read_back = [item for item in items if isinstance(item, Frame)]
        self.tally.expect(read_back == rest, f"{where}: other frames are not read as they were")
        hints = {seq for item in damage for seq in item.seqs_hint}
        self.tally.expect(hints <= {frame.seq}, f"{where}: {hints} blamed instead of {frame.seq}")
        self.tally.most = max(self.tally.most, int(frame.kind in _OF_AN_EXCHANGE))

    # -- lengths ------------------------------------------------------------------------------------------------

    def cut(self, name: str, length: int) -> None:
        """Cut a segment to ``length`` bytes and read its end."""
        frames = self.specimen.frames[name]
        hit = self.specimen.frame_at(name, length) if length else 0
        first = max(0, hit - 2)
        files = BytesFiles({name: self._content[name][:length]})
        salt = self.specimen.salts[name] if hit else None
        scan = scan_segment(LOG / name, start=frames[first].offset if hit else 0, salt=salt, files=files)
        items = list(scan)
        where = f"{name} cut to {length}"
        self.tally.expect([item for item in items if isinstance(item, Frame)] == frames[first:hit], f"{where}: frames")
        damage = [(item.offset, item.length) for item in items if isinstance(item, Damage)]
        start = frames[hit].offset
        self.tally.expect(damage == ([(start, length - start)] if length > start else []), f"{where}: {damage}")
        self.tally.counts["lengths cut to"] += 1
        if length % (_WHOLE * 8) == 0:
            content = self.specimen.copy()
            content[name] = content[name][:length]
            self._lost(read(content), frames[hit:], where)

    # -- ranges -------------------------------------------------------------------------------------------------

    def ruin(self, name: str, page: int, how: str, chance: random.Random) -> None:
        """Ruin one page, read everything."""
        content = self._content[name]
        start, end = page * PAGE, min((page + 1) * PAGE, len(content))
        before = bytes(content)
        first, last = ruin_page(content, start, end, how, chance)
        try:
            self._whole(name, first, last, f"page {page} of {name}, {how}")
        finally:
            content[:] = before
        self.tally.counts["pages ruined"] += 1

    def _whole(self, name: str, start: int, end: int, where: str) -> None:
        """Read the whole log; only frames that overlap the range may be missing, and they have to be reported."""
        touched = self.specimen.touched(name, start, end)
        original = self.specimen.segments[name]
        changed = [at for at in range(start, end) if self._content[name][at] != original[at]]
        seen = read(self._content)
        if changed:
            covered = any(gap.offset <= changed[0] < gap.offset + gap.length for gap in seen.damage)
            self.tally.expect(covered, f"{where}: byte {changed[0]} is not in a damaged range")
        low, high = touched[0].offset, touched[-1].end
        for gap in seen.damage:
            inside = gap.segment == name and low <= gap.offset and gap.end <= high
            self.tally.expect(inside, f"{where}: {gap.segment} is said to be damaged at {gap.offset}")
        self._lost(seen, touched, where)

    def _lost(self, seen: Seen, touched: list[Frame], where: str) -> None:
        """Every other frame is read as it was, and no exchange is lost that has no frame in what was touched."""
        names = {frame.segment for frame in touched}
        for name, frames in self.specimen.frames.items():
            gone = {frame.offset for frame in touched} if name in names else set()
            expected = [frame for frame in frames if frame.offset not in gone]
            there = [frame for frame in seen.frames.get(name, []) if frame.offset not in gone]
            self.tally.counts["frames lost beyond"] += len(expected) - len(there) if there != expected else 0
            self.tally.expect(there == expected, f"{where}: frames of {name} are missing or changed")
        assert seen.report is not None
        own = {frame.seq for frame in touched if frame.kind in _OF_AN_EXCHANGE}
        beyond = set(seen.report.lost) - own
        self.tally.counts["exchanges lost beyond"] += len(beyond)
        self.tally.expect(not beyond, f"{where}: exchanges {sorted(beyond)[:10]} are lost")
        left = {frame.seq for frames in seen.frames.values() for frame in frames if frame.kind in _OF_AN_EXCHANGE}
        silently = own - left - set(seen.report.lost)
        # Nobody can know of numbers behind the last frame of a log.
        ending = max(left, default=0)
        silently = {seq for seq in silently if seq < ending}
        self.tally.expect(not silently, f"{where}: nobody says that {sorted(silently)[:10]} are lost")


def ruin_page(content: bytearray, start: int, end: int, how: str, chance: random.Random) -> tuple[int, int]:
    """Ruin ``start`` to ``end``; give the range that was touched."""
    page = bytes(content[start:end])
    following = bytes(content[end : end + len(page)])
    if how == "zeroed":
        content[start:end] = bytes(len(page))
    elif how == "filled with garbage":
        content[start:end] = chance.randbytes(len(page))
    elif how == "covered by its neighbour" and len(following) == len(page):
        content[start:end] = following
    elif how == "swapped with its neighbour" and len(following) == len(page):
        content[start : end + len(page)] = following + page
        return start, end + len(page)
    return start, end


RUINS = ("zeroed", "filled with garbage", "covered by its neighbour", "swapped with its neighbour")


def misplace(specimen: Specimen, tally: Tally) -> None:
    """Delete, empty, rename, swap and mix in segments; what the report says of each."""
    names = sorted(specimen.segments)
    stranger = make_specimen(2).segments[names[0]]
    for index, name in enumerate(names):
        last = index == len(names) - 1
        own = {frame.seq for frame in specimen.frames[name] if frame.kind in _OF_AN_EXCHANGE}
        elsewhere = {
            frame.seq
            for other, frames in specimen.frames.items()
            for frame in frames
            if other != name and frame.kind in _OF_AN_EXCHANGE
        }
        for how in ("deleted", "emptied"):
            content = specimen.copy()
            if how == "deleted":
                del content[name]
            else:
                content[name].clear()
            report = read(content).report
            assert report is not None
            expected = set() if last else own - elsewhere
            tally.expect(set(report.lost) == expected, f"{name} {how}: {len(report.lost)} lost, not {len(expected)}")
            told = not report.closed_cleanly if last else any(gap.segment == name for gap in report.gaps)
            tally.expect(told, f"{name} {how}: the report does not say so")
            tally.counts["files misplaced"] += 1
        _renamed(specimen, tally, name, names)
    content = specimen.copy()
    forged = bytearray(stranger)
    content["0-00000099.wlog"] = forged
    report = read(content).report
    assert report is not None
    # It says of itself that it is segment 1, of the same session: a copy.
    tally.expect(any("copy" in gap.reason for gap in report.gaps), "a second segment 1 is not called a copy")
    tally.expect(report.exchanges == len(specimen.seqs), "a copy changes what is counted")
    tally.counts["files misplaced"] += 1


def _renamed(specimen: Specimen, tally: Tally, name: str, names: list[str]) -> None:
    content = specimen.copy()
    content["0-00000777.wlog"] = content.pop(name)
    seen = read(content)
    assert seen.report is not None
    tally.expect(seen.report.exchanges == len(specimen.seqs), f"{name} renamed: exchanges are missing")
    tally.expect(not seen.report.gaps, f"{name} renamed: {seen.report.gaps}")
    tally.expect(any("read as that" in note for note in seen.report.notes), f"{name} renamed: no note says so")
    content = specimen.copy()
    other = names[(names.index(name) + 1) % len(names)]
    content[name], content[other] = content[other], content[name]
    report = read(content).report
    assert report is not None
    tally.expect(report.exchanges == len(specimen.seqs) and not report.gaps, f"{name} and {other} swapped")
    tally.counts["files misplaced"] += 2


# ------------------------------------------------------------------------------------------------------- the part


def some_flips(share: tuple[int, int], step: int) -> Tally:
    """Flip every ``step``-th bit of one share of ``share[1]``."""
    specimen, tally = make_specimen(), Tally()
    bench = Bench(specimen, tally)
    for name, bit in islice(_bits(specimen, step), share[0], None, share[1]):
        bench.flip(name, bit)
    return tally


def _bits(specimen: Specimen, step: int) -> Iterator[tuple[str, int]]:
    for name, content in specimen.segments.items():
        for bit in range(0, len(content) * 8, step):
            yield name, bit


def some_cuts(share: tuple[int, int], step: int) -> Tally:
    """Cut to every ``step``-th length of one share."""
    specimen, tally = make_specimen(), Tally()
    bench = Bench(specimen, tally)
    for name, content in specimen.segments.items():
        for length in range(share[0] * step, len(content), share[1] * step):
            bench.cut(name, length)
    return tally


def some_pages(share: tuple[int, int], step: int, seed: str) -> Tally:
    """Ruin every ``step``-th page of one share in every way."""
    specimen, tally = make_specimen(), Tally()
    bench = Bench(specimen, tally)
    for name, content in specimen.segments.items():
        pages = (len(content) + PAGE - 1) // PAGE
        for page in range(share[0] * step, pages, share[1] * step):
            for how in RUINS:
                bench.ruin(name, page, how, random.Random(f"{seed}/{name}/{page}/{how}"))
    return tally


def run(task: Task) -> Result:
    """Damage everything, on all cores."""
    whole = Tally()
    misplace(make_specimen(), whole)
    shares = 64 if task.effort > 0.2 else 4
    # A prime step meets every bit of a byte.
    bits = next(prime for prime in _PRIMES if prime * task.effort >= 1 or prime == _PRIMES[-1])
    cuts, pages = max(1, round(0.2 / task.effort)), max(1, round(0.1 / task.effort))
    with all_cores() as pool:
        jobs = [
            *(pool.submit(some_flips, (index, shares), bits) for index in range(shares)),
            *(pool.submit(some_cuts, (index, shares), cuts) for index in range(shares)),
            *(pool.submit(some_pages, (index, shares), pages, task.seed) for index in range(shares)),
        ]
        for number, job in enumerate(jobs, 1):
            whole.add(job.result())
            task.report(number, len(jobs), f"{whole.counts['bits flipped']:,} bits")
    counts = whole.counts
    figures: dict[str, Figure] = {
        "bytes of log": make_specimen().size,
        "bits flipped": counts["bits flipped"],
        "found, %": round(100 * counts["bits found"] / max(1, counts["bits flipped"]), 6),
        "most exchanges affected by one bit": int(whole.most),
        "lengths cut to": counts["lengths cut to"],
        "pages ruined": counts["pages ruined"],
        "files misplaced": counts["files misplaced"],
        "exchanges lost beyond what was touched": counts["exchanges lost beyond"],
        "frames lost beyond what was touched": counts["frames lost beyond"],
    }
    return Result(figures=figures, failures=whole.failures)


_PRIMES = (1, 3, 11, 101, 211, 503, 1009, 2003)
