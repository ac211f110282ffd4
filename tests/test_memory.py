"""Memory that a burst has left is given back, and nothing is tried in vain again and again."""

from __future__ import annotations

import subprocess
import sys

from wiretape.memory import WORTH, Trimmer, resident_bytes

BURST = """
import sys
from wiretape.memory import Trimmer, resident_bytes
trimmer = Trimmer()
idle = resident_bytes()
pieces = [bytearray(3000) for _ in range(60_000)]
high = resident_bytes()
kept = pieces[::500]
pieces.clear()
assert trimmer.look(busy=True) is False
trimmer.look()
print(idle, high, resident_bytes())
"""

TURNS = """
import resource, sys
from wiretape.memory import keep_freed
if sys.argv[1] == "kept":
    keep_freed()
def turn(size=100_000):
    for body in [b"x" * size for _ in range(20)]:
        len(body)
turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    turn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", TURNS, how], capture_output=True, check=True, text=True)
    return int(done.stdout)


def test_the_bodies_of_one_turn_lie_where_those_of_the_last_one_lay() -> None:
    # Bodies of 2 MB are 488 pages.
    assert _faults("given back") > 50 * 400
    assert _faults("kept") < 500


def test_p8_what_a_burst_left_in_pieces_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", BURST], capture_output=True, check=True, text=True)
    idle, high, after = map(int, done.stdout.split())
    assert high - idle > 150 << 20
    assert after - idle < 20 << 20


def test_it_is_tried_when_the_process_has_grown_and_not_while_it_is_busy() -> None:
    size = [100 << 20]
    tried: list[int] = []

    def trim() -> None:
        tried.append(size[0])
        size[0] -= 5 << 20

    trimmer = Trimmer(lambda: size[0], trim)
    assert not trimmer.look()
    size[0] += WORTH
    assert not trimmer.look(busy=True)
    assert trimmer.look()
    assert not trimmer.look()  # it gave 5 of 16 MiB: what is left is what the process needs
    size[0] += WORTH
    assert trimmer.look()
    size[0] = 50 << 20
    assert not trimmer.look()
    size[0] += WORTH
    assert trimmer.look()
    assert len(tried) == 3


def test_after_much_was_found_it_is_tried_again_until_little_is_found() -> None:
    size = [100 << 20]
    gains = [300 << 20, 50 << 20, 1 << 20]
    tried: list[int] = []

    def trim() -> None:
        tried.append(gains[len(tried)])
        size[0] -= tried[-1]

    trimmer = Trimmer(lambda: size[0], trim)
    size[0] = 600 << 20
    assert [trimmer.look() for _ in range(5)] == [True, True, True, False, False]
    assert tried == gains


def test_this_process_can_be_measured() -> None:
    assert resident_bytes() > 1 << 20
