"""A session whose frames were written again after a failed fsync: each counts once."""

from __future__ import annotations

from pathlib import Path

from harness.logs import Recording, new_session
from wiretape.session.catalogue import Catalogue


def test_p9_exchanges_and_drops_that_were_written_again_count_once(root: Path) -> None:
    recording = Recording(new_session(root))
    recording.exchange()
    partial = recording.open("http://example.com/cut")
    recording.dropped(12, [partial])
    assert recording.writer.rewrite_unsynced()
    recording.exchange()
    recording.close()
    with Catalogue(root).open("last") as session:
        page = session.query()
        assert (page.matched, page.coverage.dropped, page.coverage.damaged) == (3, 12, 0)
        assert session.summary().dropped == 12
