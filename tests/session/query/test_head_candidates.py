"""Who can have a text in URL or headers, by the index."""

from __future__ import annotations

import sqlite3
import tracemalloc

from wiretape.session.index.headers import Headers
from wiretape.session.query.head_candidates import in_heads
from wiretape.session.query.needles import Needle


def test_p8_urls_are_looked_at_some_at_a_time() -> None:
    db = sqlite3.connect(":memory:")
    db.executescript(Headers.schema)
    db.execute("CREATE TABLE exchanges (seq INTEGER PRIMARY KEY, url TEXT NOT NULL)")
    urls = ((seq, f"http://a.example/{seq}/" + "x" * 1_000) for seq in range(1, 20_001))
    db.executemany("INSERT INTO exchanges VALUES (?, ?)", urls)
    tracemalloc.start()
    try:
        found = in_heads(db, Needle("example/1999"), ("request", "response"), 1, 19_995)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == {1999, *range(19_990, 19_996)}
    assert peak < 10_000_000
    db.close()
