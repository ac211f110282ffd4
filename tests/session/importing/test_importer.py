"""Import of proxy-mcp's sessions, whole and damaged: what can be read comes in, the rest is counted."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import wiretape, wiretape_json
from wiretape.errors import DamagedError, NotFoundError, UsageError
from wiretape.session.catalogue import Catalogue
from wiretape.session.importing.importer import import_recording
from wiretape.session.importing.recordings import recordings_at
from wiretape.session.session import Session

FIXTURES = Path(__file__).parents[2] / "formats" / "fixtures" / "proxy-mcp-sessions"
FULL, PREVIEW = FIXTURES / "20261123035604_ngk6cukk", FIXTURES / "20261123035611_awv3xfe3"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FULL, tmp_path / "session"))


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "records.ndjson").read_text().split("\n") if line]


def imported(root: Path) -> Session:
    return Catalogue(root).open("last")


def test_a_whole_session_comes_in_in_its_order_with_its_times_and_its_bytes(root: Path) -> None:
    report = import_recording(root, FULL)
    assert (report.imported, report.skipped, report.damaged, report.warnings) == (30, 0, 0, [])
    with imported(root) as session:
        assert session.verify(deep=True).state == "clean"
        page = session.query(sort="asc", limit=50)
        for item, record in zip(page.items, records(FULL), strict=True):
            exchange = record["exchange"]
            assert (item.timestamp, item.method, item.url) == (
                exchange["timestamp"],
                exchange["request"]["method"],
                exchange["request"]["url"],
            )
            assert item.status_code == exchange["response"]["statusCode"]
        zipped = next(item for item in page.items if "/gzip/" in item.url)
        assert b'"compressed": true' in b"".join(session.raw_body(zipped.seq, "response"))
        assert session.exchange(zipped.seq).response.headers  # type: ignore[union-attr]
        summary = session.summary()
    first = records(FULL)[0]["exchange"]["timestamp"]
    assert (summary.name, summary.started_at, summary.recovery_state) == (f"import-{FULL.name}", first, "clean")
    assert not (root / ".importing").exists()


def test_previews_say_how_much_of_a_body_they_are(root: Path) -> None:
    report = import_recording(root, PREVIEW, name="previews")
    assert (report.name, report.imported, report.damaged) == ("previews", 30, 0)
    assert "6 bodies are lost: they were no text" in report.warnings[0]
    assert "X-Imported-Content-Encoding" in report.warnings[1]
    with imported(root) as session:
        assert session.verify(deep=True).state == "clean"
        found = {item.url.rpartition("9701")[2]: item.seq for item in session.query(limit=50).items}
        text = next(seq for path, seq in found.items() if path.startswith("/gzip"))
        assert b'"compressed": true' in b"".join(session.raw_body(text, "response"))
        binary = [record for record in records(PREVIEW) if "\ufffd" in record["exchange"]["response"]["bodyPreview"]]
        assert binary
        for record in binary:
            detail = session.exchange(record["seq"])
            assert detail.response is not None
            assert detail.response.body_size == record["exchange"]["response"]["bodySize"]
            assert not detail.response.body


Damage = Callable[[Path], None]


def edit_lines(change: Callable[[list[bytes]], bytes]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "records.ndjson"
        path.write_bytes(change(path.read_bytes().splitlines(keepends=True)))

    return damage


DAMAGED: dict[str, tuple[Damage, int, int]] = {
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), 30, 0),
    "no index": (lambda folder: (folder / "index.ndjson").unlink(), 30, 0),
    "a torn tail": (edit_lines(lambda lines: b"".join(lines)[:-100]), 29, 1),
    "a bad line in the middle": (edit_lines(lambda lines: b"".join([*lines[:9], b"{nonsense\n", *lines[9:]])), 30, 1),
    "a line that lost its beginning": (
        edit_lines(lambda lines: b"".join([*lines[:9], lines[9][50:], *lines[10:]])),
        29,
        1,
    ),
    "lines run together": (edit_lines(lambda lines: b"".join(lines).replace(b"\n", b"")), 30, 0),
    "a torn line run into the next": (
        edit_lines(lambda lines: b"".join([*lines[:9], lines[9][:200], *lines[10:]])),
        29,
        1,
    ),
    "NUL bytes between lines": (edit_lines(lambda lines: b"".join([*lines[:5], bytes(4096), *lines[5:]])), 30, 0),
    "invalid UTF-8 in a body": (
        edit_lines(lambda lines: b"".join([*lines[:5], lines[5].replace(b"curl", b"cur\xff", 1), *lines[6:]])),
        30,
        1,
    ),
    "a record twice": (edit_lines(lambda lines: b"".join([*lines[:5], lines[4], *lines[5:]])), 31, 0),
    "a gigantic number": (
        edit_lines(lambda lines: b"".join([*lines[:5], lines[5].replace(b'"seq":6', b'"seq":1e400', 1), *lines[6:]])),
        29,
        1,
    ),
    "a line that is no record": (edit_lines(lambda lines: b"".join([*lines, b'{"seq":31}\n', b"[]\n"])), 30, 2),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_everything_that_can_still_be_read_comes_in_and_the_report_counts_the_rest(
    root: Path, copy: Path, name: str
) -> None:
    damage, readable, damaged = DAMAGED[name]
    damage(copy)
    report = import_recording(root, copy)
    assert (report.imported, report.damaged) == (readable, damaged)
    with imported(root) as session:
        assert session.query().matched == readable
        assert session.verify(deep=True).state == "clean"


def test_flipped_bits_anywhere_cost_at_most_what_they_hit(root: Path, copy: Path) -> None:
    path = copy / "records.ndjson"
    sound = path.read_bytes()
    chance = random.Random(7)
    for _ in range(25):
        content = bytearray(sound)
        bit = chance.randrange(len(content) * 8)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        report = import_recording(root, copy)
        assert report.imported >= 29
        assert report.imported + report.skipped >= 30
        Catalogue(root).delete(report.session_id)


def test_strict_fails_at_the_first_damage_and_leaves_nothing(root: Path, copy: Path) -> None:
    DAMAGED["a bad line in the middle"][0](copy)
    with pytest.raises(DamagedError, match="no exchange"):
        import_recording(root, copy, strict=True)
    assert Catalogue(root).ids() == []


def test_what_is_no_recording_or_holds_nothing_is_said(root: Path, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="not a session of proxy-mcp"):
        import_recording(root, tmp_path / "empty")
    with pytest.raises(NotFoundError, match="holds none"):
        recordings_at(tmp_path / "empty")
    for content in (b"", b"\0" * 100, b"no json at all\n"):
        (copy / "records.ndjson").write_bytes(content)
        with pytest.raises(UsageError, match="nothing in session can be read"):
            import_recording(root, copy)
    assert Catalogue(root).ids() == []


def test_p14_what_stands_in_a_record_never_becomes_framing_or_a_path(root: Path, copy: Path) -> None:
    record = records(FULL)[0]
    record["exchange"]["request"]["headers"] = {"x\r\nHost: evil": "a\r\n\r\nGET /evil HTTP/1.1"}
    record["exchange"]["id"] = "../../../evil"
    record["sessionId"] = "../.."
    (copy / "records.ndjson").write_text(json.dumps(record) + "\n")
    (copy / "manifest.json").write_text('{"id": "../../evil", "storageDir": "/etc"}')
    assert import_recording(root, copy).imported == 1
    with imported(root) as session:
        headers = session.exchange(1).request.headers  # type: ignore[union-attr]
    assert len(headers) == 1
    assert not any("\n" in text or "\r" in text for header in headers for text in header)


def test_the_command_imports_a_folder_of_sessions_and_exits_1_when_something_was_damaged(
    root: Path, copy: Path
) -> None:
    found = wiretape_json("import", FIXTURES, "--root", root)
    assert [session["imported"] for session in found["sessions"]] == [30, 30]
    DAMAGED["a torn tail"][0](copy)
    one = wiretape_json("import", copy, "--name", "torn", "--root", root, status=1)
    assert (one["imported"], one["skipped"], one["damaged"]) == (29, 1, 1)
    assert {session["name"] for session in wiretape_json("sessions", "--root", root)["sessions"]} >= {"torn"}
    refused = wiretape("import", FIXTURES, "--name", "two", "--root", root)
    assert refused.returncode == 2
    assert b"one by one" in refused.stderr
