"""The commands that read sessions, on a session that was really recorded."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.bodies import body_for
from harness.logs import Recording, closed_session, new_session
from tests.cli.support import COMMAND, wiretape, wiretape_json
from tests.cli.terminals import shown
from wiretape.cli.main import run


def copy(recorded: Path, tmp_path: Path) -> Path:
    """A root of one's own, to change."""
    return Path(shutil.copytree(recorded, tmp_path / "copy"))


def session_folder(root: Path) -> Path:
    (folder,) = (root / "sessions").iterdir()
    return folder


def tear(root: Path) -> None:
    """Cut the log's seal off and leave half a frame, as a kill in the middle of a write would."""
    (segment,) = (session_folder(root) / "log").glob("*.wlog")
    os.truncate(segment, segment.stat().st_size - 30)


def test_sessions_lists_what_there_is_with_the_keys_of_the_contract(recorded: Path) -> None:
    (session,) = wiretape_json("sessions", "--root", recorded)["sessions"]
    assert session["name"] == "made"
    assert session["status"] == "stopped"
    assert session["recoveryState"] == "clean"
    assert session["exchanges"] == 5
    assert session["interrupted"] == 0
    assert session["bytes"] > 0
    assert session["startedAt"] <= session["endedAt"]


def test_a_root_without_sessions_is_no_error(root: Path) -> None:
    assert wiretape_json("sessions", "--root", root) == {"sessions": []}
    assert b"wiretape serve" in wiretape("sessions", "--root", root).stdout


def test_the_root_may_stand_before_the_command_behind_it_or_in_the_environment(recorded: Path) -> None:
    before = wiretape("--root", recorded, "sessions", "--json").stdout
    variable = wiretape("sessions", "--json", env={"WIRETAPE_ROOT": str(recorded)}).stdout
    assert before == variable == wiretape("sessions", "--root", recorded, "--json").stdout


@pytest.mark.parametrize("reference", ["made", "last", "2"])
def test_a_session_is_found_by_name_by_prefix_and_as_the_last(recorded: Path, reference: str) -> None:
    page = wiretape_json("query", reference, "--root", recorded)
    assert page["matched"] == 5
    assert page["coverage"]["throughSeq"] == 5


@pytest.mark.parametrize(
    ("arguments", "seqs"),
    [
        ([], [5, 4, 3, 2, 1]),
        (["--sort", "asc"], [1, 2, 3, 4, 5]),
        (["--status", "4xx"], [4]),
        (["--status", "200", "--sort", "asc"], [1, 2, 3]),
        (["--state", "failed"], [5]),
        (["--url-contains", "bytes"], [2]),
        (["--method", "POST"], []),
        (["--limit", "2"], [5, 4]),
        (["--to-ts", "1"], []),
        (["--filter", "~c 4xx"], [4]),
    ],
)
def test_query_filters_sorts_and_limits(recorded: Path, arguments: list[str], seqs: list[int]) -> None:
    page = wiretape_json("query", "made", *arguments, "--root", recorded)
    assert [item["seq"] for item in page["items"]] == seqs
    assert page["returned"] == len(seqs)


def test_a_filter_that_is_given_twice_is_refused(recorded: Path) -> None:
    done = wiretape("query", "made", "~c 4xx", "--filter", "~m GET", "--root", recorded)
    assert (done.returncode, b"the filter is given twice" in done.stderr) == (2, True)


def test_pages_follow_each_other_by_cursor_without_gap_or_overlap(recorded: Path) -> None:
    seen: list[int] = []
    cursor: list[str] = []
    while True:
        page = wiretape_json("query", "made", "--limit", "2", *cursor, "--root", recorded)
        seen += [item["seq"] for item in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = ["--cursor", page["nextCursor"]]
    assert seen == [5, 4, 3, 2, 1]


def test_for_people_query_says_what_the_answer_covers(recorded: Path) -> None:
    done = wiretape("query", "made", "--limit", "2", "--root", recorded)
    assert done.stdout.count(b"\n") == 3
    assert b"2 of 5 shown; everything recorded so far was searched" in done.stderr
    assert b"--cursor" in done.stderr


def test_exchange_shows_one_whole_in_json_and_in_words(recorded: Path) -> None:
    detail = wiretape_json("exchange", "made", "4", "--root", recorded)
    assert detail["seq"] == 4
    assert detail["response"]["statusCode"] == 404
    assert detail["request"]["method"] == "GET"
    words = wiretape("exchange", "made", "4", "--root", recorded).stdout.decode()
    assert words.startswith("GET /status/404  404 ")
    assert "timings (ms)" in words


def test_the_body_of_an_exchange_goes_to_a_pipe_or_a_file_byte_by_byte(recorded: Path, tmp_path: Path) -> None:
    arguments = ("exchange", "made", "2", "--body", "response", "--root", recorded)
    assert wiretape(*arguments).stdout == body_for("/bytes/3000", 3000)
    assert wiretape(*arguments, "-o", tmp_path / "body").stdout == b""
    assert (tmp_path / "body").read_bytes() == body_for("/bytes/3000", 3000)


def test_raw_leaves_the_content_encoding_on(recorded: Path) -> None:
    arguments = ("exchange", "made", "3", "--body", "response", "--root", recorded)
    encoded = wiretape(*arguments, "--raw").stdout
    assert gzip.decompress(encoded) == wiretape(*arguments).stdout
    assert len(wiretape(*arguments).stdout) == 900


def test_a_body_that_cannot_be_written_is_an_error_with_the_path(recorded: Path, tmp_path: Path) -> None:
    target = tmp_path / "no" / "such" / "folder"
    done = wiretape("exchange", "made", "2", "--body", "response", "-o", target, "--root", recorded)
    assert done.returncode == 1
    assert str(target).encode() in done.stderr


def test_p14_a_body_that_is_written_to_a_new_file_is_its_owners_alone(recorded: Path, tmp_path: Path) -> None:
    target, theirs = tmp_path / "body", tmp_path / "theirs"
    theirs.write_text("what somebody else has written")
    for path, status in ((target, 0), (theirs, 2)):
        done = wiretape("exchange", "made", "2", "--body", "response", "-o", path, "--root", recorded)
        assert done.returncode == status
    assert target.stat().st_mode & 0o777 == 0o600
    assert theirs.read_text() == "what somebody else has written"


@pytest.mark.parametrize("arguments", [["cat", "made"], ["exchange", "made", "2", "--body", "response"]])
def test_an_output_that_takes_nothing_is_named(recorded: Path, arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        command = [*COMMAND, *arguments, "--root", str(recorded)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(b"wiretape: standard output cannot be written: ")
    assert done.stderr.count(b"\n") == 2


def test_cat_writes_one_line_an_exchange_for_every_reader(tmp_path: Path) -> None:
    root, text = tmp_path / "root", "a\x85b\u2028c\u2029d"
    recording = Recording(new_session(root))
    recording.done(recording.open(headers=f"X-Text: {text.encode().decode('latin-1')}\r\n"), text.encode())
    recording.close()
    lines = wiretape("cat", "last", "--root", root).stdout.decode().splitlines()
    assert len(lines) == 1
    document = json.loads(lines[0])
    assert document["response"]["body"] == text
    assert [tuple(pair) for pair in document["request"]["headers"]][-1] == ("X-Text", text)


def test_cat_gives_every_exchange_as_one_line_oldest_first(recorded: Path) -> None:
    lines = wiretape("cat", "made", "--root", recorded).stdout.splitlines()
    documents = [json.loads(line) for line in lines]
    assert [document["seq"] for document in documents] == [1, 2, 3, 4, 5]
    assert documents[4]["state"] == "failed"
    assert documents[4]["error"]


def test_cat_ends_quietly_when_its_reader_leaves(recorded: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [*COMMAND, "cat", "made", "--root", str(recorded)]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_verify_of_a_closed_session_is_clean_with_status_0(recorded: Path) -> None:
    report = wiretape_json("verify", "made", "--root", recorded)
    assert report["state"] == "clean"
    assert report["exchanges"] == 5
    assert report["gaps"] == []
    assert (report["interrupted"], report["lostExchanges"], report["tornTailBytes"]) == (0, 0, 0)
    assert b": clean." in wiretape("verify", "--root", recorded).stdout


def test_verify_tells_of_a_torn_tail_with_status_1_before_and_after_recovery(recorded: Path, tmp_path: Path) -> None:
    root = copy(recorded, tmp_path)
    tear(root)
    before = wiretape_json("verify", "made", "--root", root, status=1)
    report = wiretape_json("recover", "made", "--root", root)
    assert report["status"] == "success"
    assert report["recovered"][0]["exchanges"] == 5
    assert before["state"] == "unclean"
    assert wiretape_json("verify", "made", "--root", root, status=1) == before


def test_recover_dry_run_prints_the_report_and_writes_nothing(recorded: Path, tmp_path: Path) -> None:
    root = copy(recorded, tmp_path)
    tear(root)
    folder = session_folder(root)
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    dry = wiretape_json("recover", "--dry-run", "--root", root)
    assert {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()} == before
    assert wiretape_json("recover", "--root", root) == dry


def test_delete_asks_for_yes_where_nobody_can_be_asked(recorded: Path, tmp_path: Path) -> None:
    root = copy(recorded, tmp_path)
    refused = wiretape("delete", "made", "--root", root)
    assert refused.returncode == 2
    assert b"--yes" in refused.stderr
    assert session_folder(root).exists()
    assert wiretape_json("delete", "made", "--yes", "--root", root)["status"] == "success"
    assert wiretape_json("sessions", "--root", root) == {"sessions": []}


@pytest.mark.parametrize("reference", ["nope", "..", "../..", "/etc", "", "a/b", "\x1b[2J", "made\n"])
@pytest.mark.parametrize("command", [["query"], ["verify"], ["cat"], ["recover"], ["delete", "--yes"]])
def test_what_is_no_session_is_a_clear_error_and_nothing_is_harmed(
    recorded: Path, command: list[str], reference: str
) -> None:
    done = wiretape(command[0], "--root", recorded, *command[1:], "--", reference)
    assert done.returncode in {1, 2}
    assert done.stderr.startswith(b"wiretape: ")
    assert b"Traceback" not in done.stderr
    assert b"bug" not in done.stderr
    assert b"\x1b" not in done.stderr
    assert session_folder(recorded).exists()


def test_an_exchange_that_does_not_exist_is_a_clear_error(recorded: Path) -> None:
    done = wiretape("exchange", "made", "99", "--root", recorded)
    assert done.returncode == 1
    assert b"99" in done.stderr
    assert wiretape_json("exchange", "made", str(2**63), "--root", recorded, status=1)["status"] == "error"


def flip(root: Path, pattern: bytes) -> None:
    """Damage one byte of what the log holds of a body."""
    (segment,) = (session_folder(root) / "log").glob("*.wlog")
    data = bytearray(segment.read_bytes())
    data[data.index(pattern) + 7] ^= 1
    segment.write_bytes(data)


def test_damage_is_found_named_and_status_1(recorded: Path, tmp_path: Path) -> None:
    root = copy(recorded, tmp_path)
    # The beginning alone: a body may lie in several frames, as it arrived.
    flip(root, body_for("/bytes/3000", 3000)[:64])
    report = wiretape_json("verify", "made", "--root", root, status=1)
    assert report["state"] == "damaged"
    (gap,) = report["gaps"]
    assert gap["exchanges"] == [2]
    assert gap["length"] > 0
    recovered = wiretape_json("recover", "made", "--root", root, status=1)
    assert recovered["recovered"][0]["gaps"] == report["gaps"]
    assert [item["seq"] for item in wiretape_json("query", "made", "--sort", "asc", "--root", root)["items"]]
    words = wiretape("verify", "made", "--root", root).stdout.decode()
    assert gap["segment"] in words
    assert gap["reason"] in words


def test_a_shell_is_offered_the_names_of_sessions(recorded: Path, root: Path) -> None:
    def offered(words: str, at: Path) -> bytes:
        env = {"_WIRETAPE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "2", "WIRETAPE_ROOT": str(at)}
        return wiretape(env=env).stdout

    assert offered("wiretape query ma", recorded) == b"plain,made\n"
    assert offered("wiretape verify ", root) == b"plain,last\n"


def test_p11_a_query_of_a_log_that_is_far_ahead_of_its_index_is_bounded_and_says_how_far_it_goes(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed_session(root, 40)
    monkeypatch.setattr("wiretape.cli.commands.query.WAIT", 0.0)
    monkeypatch.setattr("wiretape.session.index.follow.BATCH_FRAMES", 8)
    answers = []
    for _ in range(50):
        assert run(["query", "last", "--json", "--root", str(root)]) == 0
        answers.append(json.loads(capsys.readouterr().out))
        if answers[-1]["matched"] == 40:
            break
    assert answers[0]["matched"] < 40
    assert answers[0]["coverage"]["throughSeq"] < 40
    assert answers[0]["coverage"]["notes"]
    assert answers[-1]["matched"] == 40


def test_a_session_in_which_there_is_nothing_says_so_and_why(root: Path) -> None:
    closed_session(root, 0)
    done = wiretape("query", "last", "--root", root)
    assert done.stdout == b"The session is empty: no client has sent anything through its proxy.\n"
    assert wiretape("query", "last", "--method", "GET", "--root", root).stdout == done.stdout


def test_lists_tell_of_errors_that_no_status_tells(root: Path) -> None:
    recording = Recording(new_session(root, "shop"))
    seq = recording.open("http://example.com/graphql", method="POST")
    recording.done(seq, b'{"errors":[{"message":"Coupon expired"}]}', headers="Content-Type: application/json\r\n")
    recording.exchange()
    recording.close()
    rows = shown("query", "shop", "--sort", "asc", "--root", root)
    assert [line.split()[3] for line in rows[1:3]] == ["200!", "200"]
    heading, row = shown("sessions", "--root", root)[:2]
    assert heading.split() == ["name", "when", "took", "exchanges", "errors", "size", "id"]
    assert re.search(r" 2 +1 +[0-9.]+ k?B +2", row)
    assert wiretape_json("sessions", "--root", root)["sessions"][0]["errors"] == 1


def test_the_time_since_when_may_be_written_with_or_without_a_minus(root: Path) -> None:
    closed_session(root, 2)
    for since in ("5m", "-5m"):
        assert wiretape_json("query", "last", "--since", since, "--root", root)["matched"] == 2
