"""Sessions that earlier releases recorded open, verify, recover and are printed as they were (see record.py)."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from wiretape.cli.main import wiretape
from wiretape.log import open_session
from wiretape.log.format import FrameType
from wiretape.log.items import Frame
from wiretape.log.scan import scan_segment

RELEASES: Final = Path(__file__).with_name("sessions")
NAMES: Final = sorted(
    f"{release.name}/{path.name}" for release in RELEASES.iterdir() for path in release.iterdir() if path.is_dir()
)
MORE_IS_TOLD: Final[dict[str, dict[int, str]]] = {
    "0.1.0/interim": dict.fromkeys(range(1, 10), "interim responses are shown"),
    "0.1.0/damaged": dict.fromkeys(range(1, 10), "what damage took is noted")
    | dict.fromkeys(range(11, 14), "TLS has the client's fingerprints"),
    "0.1.0/complete": dict.fromkeys(range(11, 14), "TLS has the client's fingerprints"),
    "0.1.0/refused": {1: "TLS has the client's fingerprints"},
}
"""By session and seq: why a line of ``cat`` has keys today that the release did not print. None it printed is gone."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A session of an earlier release in a root of the test's own, and what the release said of it."""

    root: Path
    session_id: str
    cat: list[bytes]
    verify: dict[str, Any]
    more: dict[int, str]

    @property
    def folder(self) -> Path:
        """The session's folder."""
        return self.root / "sessions" / self.session_id

    def run(self, command: str, *options: str) -> bytes:
        """Run a command on it."""
        arguments = [command, self.session_id, "--root", str(self.root), *options]
        done = CliRunner().invoke(wiretape, arguments, standalone_mode=False)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        assert done.exit_code in (0, 1)
        return done.stdout_bytes

    def log(self) -> dict[str, bytes]:
        """Give the log's bytes."""
        return {path.name: path.read_bytes() for path in (self.folder / "log").glob("*.wlog")}


@pytest.fixture(params=NAMES)
def kept(request: pytest.FixtureRequest, root: Path) -> Kept:
    """Copy it, readable by its owner alone, which git does not remember."""
    source: Path = RELEASES / request.param
    (session,) = source.iterdir()
    shutil.copytree(session, root / "sessions" / session.name)
    for path in (root, *root.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    said = source.parent / source.name
    return Kept(
        root,
        session.name,
        said.with_suffix(".cat.ndjson").read_bytes().splitlines(),
        json.loads(said.with_suffix(".verify.json").read_bytes()),
        MORE_IS_TOLD.get(request.param, {}),
    )


def check_lines(kept: Kept, printed: bytes) -> None:
    """Compare byte for byte; a line that tells more today still tells all it did."""
    lines = printed.splitlines()
    assert len(lines) == len(kept.cat)
    for then, now in zip(kept.cat, lines, strict=True):
        seq = json.loads(then)["seq"]
        if seq in kept.more:
            assert_told(json.loads(then), json.loads(now))
        else:
            assert now == then


def assert_told(then: Any, now: Any) -> None:
    """Check that nothing that was said then is missing or other now."""
    if isinstance(then, dict):
        if "bodyParts" in now:  # what is left; the release showed zeros for what is lost
            whole = then["body"].encode()
            assert all(whole[part["offset"] :].startswith(part["body"].encode()) for part in now["bodyParts"])
            assert sum(part["size"] for part in now["bodyParts"]) == now["bodyRecorded"]
            then = {key: value for key, value in then.items() if key not in {"body", "bodyNote"}}
        for key, value in then.items():
            if key == "notes":
                assert [note for note in now[key] if note in value] == value
            else:
                assert_told(value, now[key])
    else:
        assert then == now


def test_cat_prints_byte_for_byte_what_it_printed(kept: Kept) -> None:
    check_lines(kept, kept.run("cat"))


def test_cat_prints_it_also_when_the_index_is_made_anew(kept: Kept) -> None:
    for path in kept.folder.glob("index.*"):
        path.unlink()
    check_lines(kept, kept.run("cat"))


def test_verify_and_recover_say_of_the_log_what_was_said_and_change_no_byte_of_it(kept: Kept) -> None:
    before = kept.log()
    assert_told(kept.verify, json.loads(kept.run("verify", "--json")))
    first = json.loads(kept.run("recover", "--json"))
    assert_told(kept.verify["gaps"], first["recovered"][0]["gaps"])
    second = json.loads(kept.run("recover", "--json"))
    assert second["recovered"][0]["gaps"] == first["recovered"][0]["gaps"]
    assert_told(kept.verify, json.loads(kept.run("verify", "--json")))
    check_lines(kept, kept.run("cat"))
    assert kept.log() == before


def test_the_log_alone_gives_every_exchange_with_the_bodies_that_were_recorded(kept: Kept) -> None:
    log = open_session(kept.folder)
    found = {exchange.seq: exchange for exchange in log}
    assert sorted(found) == [json.loads(line)["seq"] for line in kept.cat]
    for line in map(json.loads, kept.cat):
        exchange = found[line["seq"]]
        assert exchange.state == line["state"]
        if exchange.seq in {seq for gap in kept.verify["gaps"] for seq in gap["exchanges"]}:
            assert exchange.notes
            continue
        assert exchange.request.method == line["request"]["method"]
        assert exchange.request.url == line["request"]["url"]
        for body in (exchange.request.body, exchange.response.body if exchange.response else None):
            if body is not None and body.recorded is not None:
                assert len(body.read()) == body.recorded


def test_the_sessions_hold_every_kind_of_frame_that_the_first_release_wrote() -> None:
    seen: Counter[int] = Counter()
    for path in (RELEASES / "0.1.0").rglob("*.wlog"):
        seen.update(item.kind for item in scan_segment(path) if isinstance(item, Frame))
    assert set(seen) == set(FrameType) - {FrameType.MESSAGE, FrameType.MARKED, FrameType.SENT}
