"""Pinning and pruning, as a user does them."""

from __future__ import annotations

from pathlib import Path

from harness.logs import closed_session
from tests.cli.support import wiretape, wiretape_json


def test_prune_deletes_what_the_rules_name_and_says_what_it_freed(root: Path) -> None:
    first, second, third = (closed_session(root, name=name) for name in ("first", "second", "third"))
    assert wiretape_json("pin", "first", "--root", root)["pinned"]
    planned = wiretape_json("prune", "--keep-last", "1", "--dry-run", "--root", root)
    assert [session["sessionId"] for session in planned["pruned"]] == [second.session_id]
    assert planned["dryRun"]
    refused = wiretape("prune", "--keep-last", "1", "--root", root)
    assert refused.returncode == 2
    assert b"would delete 1 sessions" in refused.stderr
    assert b"--yes" in refused.stderr
    done = wiretape("prune", "--keep-last", "1", "--yes", "--root", root)
    assert done.returncode == 0
    assert second.session_id in done.stdout.decode()
    assert b"freed" in done.stderr
    left = wiretape_json("sessions", "--root", root)["sessions"]
    assert [(session["sessionId"], session["pinned"]) for session in left] == [
        (third.session_id, False),
        (first.session_id, True),
    ]
    refused = wiretape("delete", "first", "--yes", "--root", root)
    assert refused.returncode == 1
    assert b"--off" in refused.stderr
    assert not wiretape_json("pin", "first", "--off", "--root", root)["pinned"]
    assert wiretape("delete", "first", "--yes", "--root", root).returncode == 0


def test_prune_without_a_rule_or_with_a_wrong_one_says_what_to_give(root: Path) -> None:
    closed_session(root)
    for arguments, word in (
        ([], b"--older-than"),
        (["--older-than", "soon"], b"12h"),
        (["--max-total", "much"], b"10GiB"),
    ):
        done = wiretape("prune", *arguments, "--yes", "--root", root)
        assert done.returncode == 2
        assert word in done.stderr
        assert b"Traceback" not in done.stderr
    assert len(wiretape_json("sessions", "--root", root)["sessions"]) == 1
