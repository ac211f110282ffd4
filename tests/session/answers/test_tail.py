"""Following a session: each exchange once, when it has ended."""

from __future__ import annotations

from pathlib import Path

from harness.logs import Recording, new_session
from wiretape.model import Filter
from wiretape.session.answers.tail import Tail
from wiretape.session.catalogue import Catalogue


def test_each_exchange_comes_once_when_it_has_ended(root: Path) -> None:
    recording = Recording(new_session(root))
    recording.exchange()
    slow = recording.open("http://example.com/slow")
    with Catalogue(root).open("last") as session:
        tail = Tail(session, Filter())
        assert [item.seq for item in tail.read()] == [1]
        assert tail.read() == []
        recording.exchange()
        assert [item.seq for item in tail.read()] == [3]
        recording.done(slow)
        assert [(item.seq, item.state) for item in tail.read()] == [(2, "complete")]
        recording.exchange()
        assert [item.seq for item in tail.read()] == [4]
        assert tail.read() == []
    recording.close()


def test_recorders_that_give_numbers_at_different_paces_lose_nothing(root: Path) -> None:
    made = new_session(root)
    fast, slow = (Recording(made, stream=stream, streams=2) for stream in (0, 1))
    with Catalogue(root).open("last") as session:
        tail = Tail(session, Filter(expression="~c 200"))
        for _ in range(3):
            fast.exchange()
        assert [item.seq for item in tail.read()] == [1, 3, 5]
        slow.exchange()
        fast.exchange()
        assert [item.seq for item in tail.read()] == [2, 7]
        assert tail.read() == []
    fast.close()
    slow.close()
