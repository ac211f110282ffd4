"""The index and the check of the log, made apart from each other, say the same about any damage."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.session.logs import Recording, new_session
from wiretape.session.catalogue import Catalogue, SessionDir


def record(session: SessionDir, chance: random.Random) -> None:
    """Write a session of one or two streams with everything that happens, killed recorders among it."""
    streams = chance.choice([1, 1, 2])
    size = chance.choice([800, 3000, 10**7])
    recordings = [Recording(session, stream=at, streams=streams, segment_bytes=size) for at in range(streams)]
    running: list[tuple[Recording, int]] = []
    for number in range(chance.randint(3, 25)):
        at = chance.randrange(streams)
        recording = recordings[at]
        what = chance.random()
        if what < 0.5:
            recording.exchange(f"http://example.com/{number}")
        elif what < 0.6:
            recording.large(f"http://example.com/{number}", b"B" * 500, piece=100)
        elif what < 0.8:
            running.append((recording, recording.open(f"http://example.com/{number}")))
        elif what < 0.95 and running:
            begun, seq = running.pop(chance.randrange(len(running)))
            if begun in recordings:
                begun.done(seq, b"late")
        elif what > 0.95:
            recording.kill(torn=chance.choice([b"", b"\x89WT\x01"]))
            recordings[at] = Recording(session, stream=at, streams=streams, segment_bytes=size)
    for recording in recordings:
        chance.choice([recording.close, recording.kill])()


def damage(session: SessionDir, chance: random.Random) -> None:
    """Flip bits, zero ranges, cut files short, remove them."""
    for _ in range(chance.choice([0, 1, 1, 1, 2, 5])):
        path = chance.choice(sorted(session.log_dir.glob("*.wlog")) or [session.log_dir / "none"])
        data = bytearray(path.read_bytes()) if path.exists() else bytearray()
        if not data:
            continue
        at, what = chance.randrange(len(data)), chance.random()
        if what < 0.6:
            data[at] ^= 1 << chance.randrange(8)
        elif what < 0.75:
            end = min(len(data), at + chance.randrange(1, 400))
            data[at:end] = bytes(end - at)
        elif what < 0.9:
            del data[at:]
        else:
            path.unlink()
            continue
        path.write_bytes(data)


@pytest.mark.parametrize("seed", range(30))
def test_p11_query_summary_and_verify_agree_about_any_damage(root: Path, seed: int) -> None:
    chance = random.Random(seed)
    made = new_session(root)
    record(made, chance)
    damage(made, chance)
    with Catalogue(root).open("last") as session:
        page = session.query(limit=1000)
        found = session.verify()
        summary = session.summary()
        details = [session.exchange(item.seq) for item in page.items]
    states = [item.state for item in page.items]
    assert page.matched == len(details) == found.exchanges == summary.exchanges
    assert states.count("interrupted") == found.interrupted == summary.interrupted
    assert page.coverage.damaged >= found.lost_exchanges
    assert [detail.state for detail in details] == states
    expected = {"clean": "clean", "unclean": "recovered", "damaged": "damaged"}[found.state]
    assert summary.recovery_state == expected
