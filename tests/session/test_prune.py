"""Retention: what each rule names, and what never goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.logs import Recording, closed_session, new_session
from wiretape.errors import BusyError, UsageError
from wiretape.model import SessionSummary
from wiretape.session.catalogue import Catalogue
from wiretape.session.pin import is_pinned, set_pin
from wiretape.session.prune import PruneRules, plan, prune

HOUR = 3_600_000


def summary(
    number: int, *, hours_ago: int, size: int = 100, pinned: bool = False, active: bool = False
) -> SessionSummary:
    return SessionSummary(
        session_id=str(number),
        name=f"name-{number}",
        status="active" if active else "stopped",
        recovery_state="clean",
        exchanges=1,
        interrupted=0,
        bytes=size,
        started_at=1000 * HOUR - hours_ago * HOUR,
        ended_at=None if active else 1000 * HOUR - hours_ago * HOUR,
        pinned=pinned,
    )


SESSIONS = [
    summary(6, hours_ago=0, active=True),
    summary(5, hours_ago=1),
    summary(4, hours_ago=2),
    summary(3, hours_ago=30, pinned=True),
    summary(2, hours_ago=40, size=500),
    summary(1, hours_ago=50),
]


@pytest.mark.parametrize(
    ("rules", "gone"),
    [
        (PruneRules(older_than=24 * 3600), ["1", "2"]),
        (PruneRules(older_than=0.5 * 3600), ["1", "2", "4", "5"]),
        (PruneRules(keep_last=2), ["1", "2", "4"]),
        (PruneRules(keep_last=0), ["1", "2", "4", "5"]),
        (PruneRules(max_total=1_000), []),
        (PruneRules(max_total=900), ["1"]),
        (PruneRules(max_total=899), ["1", "2"]),
        (PruneRules(max_total=1), ["1", "2", "4", "5"]),
        (PruneRules(name="*-[45]"), ["4", "5"]),
        (PruneRules(name="*-[45]", older_than=1.5 * 3600), ["4"]),
        (PruneRules(older_than=45 * 3600, keep_last=3), ["1", "2"]),
        (PruneRules(older_than=45 * 3600, max_total=300), ["1", "2", "4"]),
    ],
)
def test_each_rule_names_its_sessions_and_neither_the_active_nor_the_pinned(rules: PruneRules, gone: list[str]) -> None:
    assert [session.session_id for session in plan(SESSIONS, rules, 1000 * HOUR)] == gone


def test_no_rule_deletes_nothing(root: Path) -> None:
    closed_session(root)
    with pytest.raises(UsageError, match="no rule"):
        prune(root, PruneRules())


def test_p3_pruning_removes_what_was_asked_for_and_a_dry_run_nothing(root: Path) -> None:
    old, kept, pinned = (closed_session(root, name=name) for name in ("old", "kept", "pinned"))
    set_pin(pinned.path, pinned=True)
    live = new_session(root, "live")
    recording = Recording(live)
    recording.exchange("http://example.com/")
    rules = PruneRules(name="[!k]*")
    dry = prune(root, rules, dry_run=True)
    assert old.path.exists()
    report = prune(root, rules)
    assert [session.session_id for session in report.pruned] == [old.session_id]
    assert (dry.pruned, dry.freed_bytes) == (report.pruned, report.freed_bytes)
    assert report.freed_bytes > 0
    assert (report.kept, report.pinned) == (3, 1)
    recording.writer.close()
    assert Catalogue(root).ids() == [live.session_id, pinned.session_id, kept.session_id]


def test_a_pinned_session_is_not_deleted_until_the_pin_is_taken_away(root: Path) -> None:
    made = closed_session(root)
    assert set_pin(made.path, pinned=True)
    assert not set_pin(made.path, pinned=True)
    assert (made.path / "pinned").stat().st_mode & 0o777 == 0o600
    catalogue = Catalogue(root)
    assert catalogue.list()[0].pinned
    with pytest.raises(BusyError, match="pinned") as refused:
        catalogue.delete(made.session_id, force=True)
    assert "--off" in refused.value.hint
    catalogue.recover()
    assert is_pinned(made.path)
    assert set_pin(made.path, pinned=False)
    catalogue.delete(made.session_id)
    assert catalogue.ids() == []
