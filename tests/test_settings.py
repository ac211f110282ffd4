"""Settings: one value from the command line to the process that acts on it, and what the environment says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wiretape.errors import UsageError
from wiretape.settings import (
    SCRUB_HOURS,
    Address,
    MaintenanceSettings,
    RecorderSettings,
    RecordTarget,
    ServeOptions,
    SessionSettings,
    Setting,
    UpstreamSettings,
    from_wire,
    loop_from,
    maintenance_from,
    to_wire,
)


@pytest.mark.parametrize(
    "setting",
    [
        Address(host="::1", port=1),
        SessionSettings(name="ü", profile="preview", durability="always", max_disk=1, on_full="refuse", keep=False),
        UpstreamSettings(workers=4, insecure=True, ca=Path("/a b/c.pem")),
        MaintenanceSettings(
            retain_seconds=1.5, retain_total=2, parity=True, scrub_seconds=0, eager=True, problems=("x",)
        ),
        RecorderSettings(root=Path("/r"), listen_fd=3, api=Address(host="127.0.0.1", port=1)),
        RecordTarget(session_id="s", dir=Path("/r/s"), settings=SessionSettings(name="n"), resume=True),
        ServeOptions(root=Path("/r"), proxy=None, session=None),
    ],
)
def test_a_setting_comes_out_of_a_channel_as_it_went_in(setting: Setting) -> None:
    assert from_wire(type(setting), json.loads(json.dumps(to_wire(setting)))) == setting


@pytest.mark.parametrize("fields", [None, [], {}, {"root": 5, "listenFd": 3}, {"root": "/r", "listenFd": "x"}])
def test_what_is_no_setting_is_refused_by_name(fields: object) -> None:
    with pytest.raises(UsageError, match="settings"):
        from_wire(RecorderSettings, fields)
    with pytest.raises(UsageError, match="profile"):
        from_wire(SessionSettings, {"profile": "all"})


@pytest.mark.parametrize(
    ("text", "hours"),
    [(None, SCRUB_HOURS), ("0", 0), ("1.5", 1.5), ("x", SCRUB_HOURS), ("-1", 0), ("nan", SCRUB_HOURS)],
)
def test_how_often_is_a_setting_of_the_environment(text: str | None, hours: float) -> None:
    found = maintenance_from({} if text is None else {"WIRETAPE_SCRUB_HOURS": text})
    assert found.scrub_seconds == hours * 3600
    assert len(found.problems) == (text in {"x", "nan"})


def test_retention_that_cannot_be_read_deletes_nothing_and_says_so() -> None:
    found = maintenance_from({"WIRETAPE_RETAIN_DAYS": "many", "WIRETAPE_RETAIN_TOTAL": "2GB"})
    assert (found.retain_seconds, found.retain_total) == (None, None)
    assert "no session is deleted" in found.problems[0]
    assert maintenance_from({}) == MaintenanceSettings()
    found = maintenance_from({"WIRETAPE_RETAIN_DAYS": "1.5", "WIRETAPE_RETAIN_TOTAL": "2GB"})
    assert (found.retain_seconds, found.retain_total, found.problems) == (1.5 * 86400, 2_000_000_000, ())


def test_the_environment_chooses_loop_parity_and_priority() -> None:
    assert (loop_from({}), loop_from({"WIRETAPE_LOOP": "asyncio"}), loop_from({"WIRETAPE_LOOP": "x"})) == (
        "uvloop",
        "asyncio",
        "uvloop",
    )
    assert maintenance_from({"WIRETAPE_PARITY": "1"}).parity
    assert not maintenance_from({"WIRETAPE_PARITY": "0"}).parity
    assert maintenance_from({"WIRETAPE_BACKGROUND": "eager"}).eager


@pytest.mark.parametrize(
    ("text", "size", "problems"),
    [(None, 4 * 1024**3, 0), ("0", 0, 0), ("500MB", 500_000_000, 0), ("much", 4 * 1024**3, 1)],
)
def test_the_cap_of_the_index_of_substrings_is_a_size(text: str | None, size: int, problems: int) -> None:
    found = maintenance_from({} if text is None else {"WIRETAPE_TEXT_INDEX": text})
    assert (found.text_bytes, len(found.problems)) == (size, problems)
