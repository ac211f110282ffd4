"""The twelve jobs on the command line: one command each, the right answer, and no more to read than the ideal has."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.support import wiretape
from tests.jobs.asking import FACTOR, tokens
from tests.jobs.recordings import MARK
from tests.jobs.shop import DUE, NET, PASSWORD, SAID, SHIPPING, WRONG
from tests.jobs.test_jobs import BODY
from tests.support.terminal import on_terminal

TOKENS: Final = 150
"""Tokens of the variables with their values, which the command line shows above the command."""

JOBS: Final[dict[str, tuple[str, int]]] = {
    "why": ("explain bad:31", 153),
    "origin": ("trace bad:31 X-Csrf-Token", 126),
    "no origin": (f"trace bad --value {WRONG}", 78),
    "compare": ("diff good bad --noise-from good-run", 153),
    "since": (f"query bad --since {MARK}", 83),
    "har": ("export bad --format har --redact", 89),
    "curl": ("export bad:31 --format curl", 136 + BODY + TOKENS),
    "crash": ("recover crash", 117),
    "overview": ("show big", 848),
    "llm": ("llm bad:20", 216),
    "llm, the list": ("llm bad", 61),
    "field": ("body bad:8 --path '/data/*[id=p_0270]/variants/2/attributes'", 59),
    "shape": ("body bad:8 --shape", 139),
    "secrets": ("secrets bad", 406),
    "openapi": ("export good bad --format openapi", 310),
}
"""The command of each job, and the tokens of the ideal answer."""


@pytest.fixture(scope="module")
def shown(recordings: Path) -> dict[str, str]:
    """What each command prints into a pipe, which is what an agent with a shell reads: stdout, then stderr."""
    found = {}
    for name, (command, _) in JOBS.items():
        done = wiretape(*shlex.split(command), "--root", recordings, env={"TZ": "UTC"})
        assert done.returncode in {0, 1}, done.stderr.decode()
        found[name] = (done.stdout + done.stderr).decode()
    return found


def on_80_columns(recordings: Path, name: str) -> str:
    """Return what a job's command shows on a terminal of 80 columns."""
    plain = {"COLUMNS": "80", "TERM": "dumb", "PAGER": "cat", "TZ": "UTC"}
    return on_terminal(*shlex.split(JOBS[name][0]), "--root", recordings, env=plain)[1].replace("\r\n", "\n")


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_one_command_and_hardly_more_to_read_than_the_ideal_answer(
    shown: dict[str, str], recordings: Path, name: str
) -> None:
    assert tokens(shown[name], recordings) <= JOBS[name][1] * FACTOR, shown[name]


def document(recordings: Path, name: str) -> Any:
    """Return what a job's command prints for programs."""
    done = wiretape(*shlex.split(JOBS[name][0]), "--json", "--root", recordings)
    assert done.returncode in {0, 1}, done.stderr.decode()
    return json.loads(done.stdout)


def test_1_the_wrong_amount_is_named_with_where_it_may_come_from(shown: dict[str, str], recordings: Path) -> None:
    found = document(recordings, "why")
    assert found["blamed"][0]["near"] == [f"22:/data/totals/net {2 * NET} + 27:/data/cost {SHIPPING}"]
    assert f"may be 22:/data/totals/net {2 * NET} + 27:/data/cost {SHIPPING}" in shown["why"]
    assert f"there /payment/amount: {DUE}, here {WRONG}" in shown["why"]


def test_2_a_value_is_followed_to_its_origin(shown: dict[str, str], recordings: Path) -> None:
    assert document(recordings, "origin")["origin"]["seq"] == 5
    assert "csrf_token" in shown["origin"]
    assert "POST /auth/login" in shown["origin"]
    assert "percent" in shown["origin"]
    assert "origin" not in {key for key, value in document(recordings, "no origin").items() if value}
    assert "No searched answer before seq 31 holds it." in shown["no origin"]


def test_3_the_cause_comes_first(shown: dict[str, str], recordings: Path) -> None:
    assert wiretape(*shlex.split(JOBS["compare"][0]), "--root", recordings).returncode == 1
    lines = shown["compare"].splitlines()
    assert "POST /api/v2/checkout" in lines[0]
    assert f"/payment/amount: {DUE} -> {WRONG}" in lines[1]
    assert document(recordings, "compare")["same"] == 30


def test_4_what_follows_a_mark_is_a_line_each(recordings: Path) -> None:
    heading, *rows = on_80_columns(recordings, "since").splitlines()
    assert "path on localhost:29443" in heading
    assert [row.split()[0] for row in rows[:3]] == ["30", "31", "32"]
    assert [item["seq"] for item in document(recordings, "since")["items"]] == [30, 31, 32]


def test_5_what_a_colleague_needs_has_no_secret(shown: dict[str, str], recordings: Path) -> None:
    found = document(recordings, "har")
    text = Path(found["file"]).read_text()
    assert PASSWORD not in text
    assert found["check"] == "no secret found in a second scan of the file"
    assert shown["curl"].count("curl ") == 1
    assert f'"amount":{WRONG}' in shown["curl"]


def test_6_what_a_kill_cut_is_named(shown: dict[str, str], recordings: Path) -> None:
    assert "27 exchanges, 1 interrupted, 0 lost" in on_80_columns(recordings, "crash")
    assert "27  GET /api/v2/shipping/quote" in shown["crash"]
    assert "no answer came" in shown["crash"]


def test_7_an_unfamiliar_session_fits_the_terminal_with_its_messages(recordings: Path) -> None:
    seen = on_80_columns(recordings, "overview")
    assert "200!" in seen
    assert "Version conflict" in seen
    assert max(map(len, seen.splitlines())) <= 80


def test_8_a_stream_reads_as_a_conversation(shown: dict[str, str]) -> None:
    assert SAID in shown["llm"]
    assert 'add_to_cart({"productId":"p_0151","quantity":1})' in shown["llm"]


def test_9_a_field_is_given_alone(shown: dict[str, str]) -> None:
    assert "/data/120/variants/2/attributes" in shown["field"]
    assert '"weightG"' in shown["field"]


def test_10_secrets_are_listed_without_their_values(shown: dict[str, str]) -> None:
    assert PASSWORD not in shown["secrets"]
    assert "eyJhbGci" not in shown["secrets"]
    assert "17 at marketplace.example" in shown["secrets"]


def test_11_a_change_is_shown_before_anything_is_sent(recordings: Path) -> None:
    done = wiretape("send", "bad:31", "--set", f"/payment/amount={DUE}", "--root", recordings)
    assert f"/payment/amount: {WRONG} -> {DUE}" in done.stdout.decode()


def test_12_an_api_is_described(recordings: Path) -> None:
    found = document(recordings, "openapi")
    assert {row[0] for row in found["operations"]["rows"]} >= {"POST /api/v2/checkout", "POST /auth/login"}
    assert json.loads(Path(found["file"]).read_text())["openapi"].startswith("3.1")
