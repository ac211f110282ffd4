"""P5: numbers and ids are never given anew, by recovery, by opening, by a successor, or by anything else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harness.logs import Recording, flip_in, new_session, segment
from tests.session.test_agreement import damage, record
from wiretape.session.catalogue import Catalogue, SessionDir
from wiretape.session.session import Session


def urls(made: SessionDir) -> dict[str, str]:
    """Give what each id names."""
    with Session(made.path, made.session_id) as session:
        return {item.exchange_id: item.url for item in session.query(limit=1000).items}


@pytest.mark.parametrize("seed", range(10))
def test_p5_whatever_is_left_after_damage_keeps_its_number(root: Path, seed: int) -> None:
    chance = random.Random(seed)
    made = new_session(root)
    record(made, chance)
    before = urls(made)
    damage(made, chance)
    for derived in ("index.sqlite", "manifest.json", "recovery.json"):
        (made.path / derived).unlink(missing_ok=True)
    opened = urls(made)
    Catalogue(root).recover()
    recovered = urls(made)
    assert opened == recovered
    # Of an exchange whose request is damaged the URL is gone; its number is not.
    named = {seq: url for seq, url in recovered.items() if url}
    assert named == {seq: before[seq] for seq in named}


def test_p5_a_successor_goes_on_behind_the_highest_number_though_the_exchange_is_lost(root: Path) -> None:
    made = new_session(root)
    first = Recording(made)
    numbers = [first.exchange(f"http://example.com/{number}") for number in range(5)]
    first.close()
    flip_in(segment(made), b"GET /4 ")
    flip_in(segment(made), b"HTTP/1.1 200 OK")
    Catalogue(root).recover()
    second = Recording(made)
    assert second.exchange("http://example.com/new") == numbers[-1] + 1
    second.kill()
    assert urls(made)[f"{made.session_id}.6"] == "http://example.com/new"
