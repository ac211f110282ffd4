"""`wiretape run`: a command under the recorder."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
from pathlib import Path

from harness.clients import needs
from harness.origin import Origin
from tests.cli.support import COMMAND, wiretape, wiretape_json
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.waiting import wait_until
from wiretape.daemon.environment import BUNDLE_VARIABLES, EXTRA_VARIABLES, PROXY_VARIABLES, Trust, environment

SESSION = re.compile(rb"^wiretape: session (\d{8}T\d{6}-[0-9a-f]{6})$", re.MULTILINE)

TRUST = Trust(bundle=Path("/bundle.pem"), extra=Path("/extra.pem"), wgetrc=Path("/wgetrc"))


def test_the_environment_sends_everything_through_the_proxy_and_trusts_the_ca() -> None:
    base = {"PATH": "/bin", "no_proxy": "localhost", "NO_PROXY": "*", "http_proxy": "http://other"}
    made = environment(base | {"NPM_CONFIG_CAFILE": "/old.pem"}, proxy="http://127.0.0.1:1", trust=TRUST)
    assert made["PATH"] == "/bin"
    assert {made[name] for name in PROXY_VARIABLES} == {"http://127.0.0.1:1"}
    assert {made[name] for name in BUNDLE_VARIABLES} == {"/bundle.pem"}
    assert {made[name] for name in EXTRA_VARIABLES} == {"/extra.pem"}
    assert "NPM_CONFIG_CAFILE" not in made
    assert made["WGETRC"] == "/wgetrc"
    assert "CURL_HOME" not in made
    assert "no_proxy" not in made
    assert "NO_PROXY" not in made
    assert base["http_proxy"] == "http://other"


def test_exceptions_from_the_proxy_can_be_kept() -> None:
    made = environment({"NO_PROXY": "x"}, proxy="p", trust=TRUST, keep_no_proxy=True)
    assert made["NO_PROXY"] == "x"


def test_the_command_runs_with_its_own_status_output_and_session(root: Path, http_origin: Origin) -> None:
    url = http_origin.url("/text/300")
    done = wiretape("run", "--root", root, "--", "sh", "-c", f'"{needs("curl")}" -sS {url}; exit 7')
    assert done.returncode == 7
    assert len(done.stdout) == 300
    found = SESSION.search(done.stderr)
    assert found is not None
    page = wiretape_json("query", found[1].decode(), "--root", root)
    assert [item["url"] for item in page["items"]] == [url]
    (session,) = wiretape_json("sessions", "--root", root)["sessions"]
    assert (session["name"], session["status"]) == ("sh", "stopped")
    assert wiretape_json("verify", "last", "--root", root)["state"] == "clean"


def test_https_is_recorded_because_the_command_trusts_the_ca(
    root: Path, https_origin: Origin, origin_ca: OriginCA
) -> None:
    code = "import sys, urllib.request as u; sys.stdout.buffer.write(u.urlopen(sys.argv[1]).read())"
    url = https_origin.url("/text/300")
    done = wiretape("run", "--root", root, "--upstream-ca", origin_ca.pem, "--", sys.executable, "-c", code, url)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == 300
    (item,) = wiretape_json("query", "last", "--root", root)["items"]
    assert (item["url"], item["statusCode"], item["state"]) == (url, 200, "complete")


def test_the_bundle_that_the_command_gets_holds_the_ca_and_the_systems_roots(root: Path) -> None:
    done = wiretape("run", "--root", root, "--", "sh", "-c", 'cat "$SSL_CERT_FILE"')
    own = wiretape("ca", "show", "--root", root).stdout.decode()
    assert own.strip() in done.stdout.decode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=done.stdout.decode())
    assert len(context.get_ca_certs()) >= 1


def test_several_runs_at_once_have_sessions_of_their_own(root: Path, http_origin: Origin) -> None:
    wiretape("ca", "--root", root)
    runs = []
    with http_origin.hold("/bytes/10", at="request") as held:
        for number in range(3):
            words = [needs("curl"), "-sS", "-o", os.devnull, http_origin.url(f"/bytes/10?{number}")]
            runs.append(
                subprocess.Popen([*COMMAND, "run", "--root", str(root), "--session", f"r{number}", "--", *words])
            )
        held.wait_reached(3)
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    for number in range(3):
        (item,) = wiretape_json("query", f"r{number}", "--root", root)["items"]
        assert item["url"] == http_origin.url(f"/bytes/10?{number}")


def test_a_command_ended_by_a_signal_gives_the_status_that_shells_give(root: Path) -> None:
    assert wiretape("run", "--root", root, "--", "sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_sigterm_is_passed_on_and_the_session_is_closed_cleanly(root: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap 'exit 5' TERM; touch '{ready}'; while :; do read -r x < /dev/null; done"
    process = subprocess.Popen([*COMMAND, "run", "--root", str(root), "--", "sh", "-c", script])
    wait_until(ready.exists, what="the command's start")
    process.terminate()
    assert process.wait(60) == 5
    assert wiretape_json("verify", "last", "--root", root)["state"] == "clean"


def test_a_command_that_does_not_exist_is_a_clear_error_and_leaves_no_session(root: Path) -> None:
    done = wiretape("run", "--root", root, "--", "no-such-program")
    assert done.returncode == 127
    assert b"no-such-program" in done.stderr
    assert not (root / "sessions").exists()


def test_a_file_that_cannot_be_executed_gives_the_status_that_shells_give(root: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("no program")
    done = wiretape("run", "--root", root, "--", tmp_path / "plain")
    assert done.returncode == 126
    assert b"cannot be executed" in done.stderr


def test_at_the_end_it_says_what_was_recorded(root: Path, http_origin: Origin) -> None:
    done = wiretape("run", "--root", root, "--", needs("curl"), "-sS", http_origin.url("/status/404"))
    said = done.stderr.decode().splitlines()
    assert said[1].startswith("wiretape: 1 exchange in session ")
    assert said[2] == "wiretape: errors: 404 GET /status/{id} (seq 1)"
    assert "`wiretape show last`" in said[3]
    assert len(said) == 4


def test_a_command_that_did_not_use_the_proxy_is_said_to_be_silent(root: Path) -> None:
    done = wiretape("run", "--root", root, "--", "true")
    assert b"0 exchanges: the command did not use the proxy" in done.stderr


def test_the_two_dashes_can_be_left_out(root: Path) -> None:
    assert wiretape("run", "--root", root, "sh", "-c", "echo --json").stdout == b"--json\n"


def test_with_json_stdout_is_the_document_and_what_the_command_prints_goes_to_stderr(root: Path) -> None:
    done = wiretape("run", "--root", root, "--json", "--", "sh", "-c", "echo said; exit 3")
    assert done.returncode == 3
    document = json.loads(done.stdout)
    assert document["exitStatus"] == 3
    assert b"said\n" in done.stderr
    assert (document["exchanges"], document["failed"]) == (0, 0)
    assert document["warnings"]
    assert wiretape_json("query", document["sessionId"], "--root", root)["matched"] == 0
