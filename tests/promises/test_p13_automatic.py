"""P13: nobody has to know that recovery exists: what a killed wiretape left is in order when it is next looked at."""

from __future__ import annotations

import json

import pytest

from harness.origin import Origin
from tests.cli.support import wiretape_json
from tests.promises.conftest import Recording
from wiretape.cli.demo.stage import Daemon
from wiretape.cli.demo.waiting import wait_until
from wiretape.daemon.client import request
from wiretape.session.catalogue import Catalogue


def killed(recording: Recording, origin: Origin) -> None:
    """Answer some exchanges, leave one in flight, kill everything."""
    client, prefix = recording.client(origin)
    with client:
        for number in range(5):
            assert client.get(f"{prefix}/bytes/{number}", host=origin.authority).status == 200
    running, prefix = recording.client(origin)
    with origin.hold("/slow/2000") as hold, running:
        running.send(f"GET {prefix}/slow/2000 HTTP/1.1\r\nHost: {origin.authority}\r\n\r\n".encode())
        hold.wait_reached()
        recording.kill()


@pytest.mark.parametrize("command", ["query", "sessions"])
def test_p13_the_first_command_after_a_kill_finds_everything_recovered(
    recording: Recording, http_origin: Origin, command: str
) -> None:
    killed(recording, http_origin)
    if command == "query":
        page = wiretape_json("query", "last", "--root", recording.root)
        assert [item["state"] for item in page["items"]] == ["interrupted", *["complete"] * 5]
    (summary,) = wiretape_json("sessions", "--root", recording.root)["sessions"]
    assert (summary["recoveryState"], summary["interrupted"], summary["exchanges"]) == ("recovered", 1, 6)
    folder = recording.root / "sessions" / recording.session_id
    assert json.loads((folder / "recovery.json").read_bytes())["report"]["interrupted"] == 1


def test_p13_a_daemon_recovers_what_the_one_before_left_and_verifies_it_later(
    recording: Recording, http_origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(recording, http_origin)
    # At its own priority the background work gets hardly any time on a machine that is busy with other tests.
    monkeypatch.setenv("WIRETAPE_BACKGROUND", "eager")
    with Daemon(recording.root):
        wait_until(
            lambda: recording.session_id in request(recording.root, {"cmd": "status"})["background"]["recovered"],
            what="the recovery in the daemon's status",
        )
        with Catalogue(recording.root).open(recording.session_id) as session:
            wait_until(lambda: session.summary().verified, what="every byte read again")
            assert session.summary().recovery_state == "recovered"
