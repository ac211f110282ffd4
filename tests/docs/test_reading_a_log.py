"""The example of docs/reading-a-log.md runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from harness.logs import Recording, flip_in, new_session, segment

PAGE = Path(__file__).parents[2] / "docs" / "reading-a-log.md"


def run_example(tmp_path: Path, session: Path) -> list[str]:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(code, encoding="utf-8")
    command = [sys.executable, "-W", "error", str(script), str(session)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.splitlines()


def test_the_example_reads_a_session_whose_recorder_was_killed_and_whose_log_is_damaged(tmp_path: Path) -> None:
    made = new_session(tmp_path / "root")
    recording = Recording(made)
    recording.exchange("http://example.com/first", b"hello")
    recording.exchange("http://example.com/second", b"damaged")
    recording.open("http://example.com/third")
    recording.kill()
    at = flip_in(segment(made), b"damaged")
    lines = run_example(tmp_path, made.path)
    assert lines[:2] == [
        "1 complete GET http://example.com/first 200",
        "   text/plain; charset=utf-8 5 bytes",
    ]
    assert lines[2] == "2 interrupted GET http://example.com/second -"
    assert lines[3].startswith("   Its DONE frame is damaged: 0-00000001.wlog")
    assert lines[4:6] == ["3 interrupted GET http://example.com/third -", "3 exchanges, 2 interrupted, 0 lost"]
    assert lines[6].startswith("damaged: 0-00000001.wlog")
    assert lines[6].endswith("exchanges [2]")
    assert int(re.findall(r"at (\d+)", lines[6])[0]) < at


def test_the_example_reads_a_session_that_is_being_written(tmp_path: Path) -> None:
    made = new_session(tmp_path / "root")
    recording = Recording(made)
    recording.exchange("http://example.com/first", b"hello")
    recording.open("http://example.com/second")
    lines = run_example(tmp_path, made.log_dir)
    recording.close()
    assert lines[-2:] == ["2 inFlight GET http://example.com/second -", "2 exchanges, 0 interrupted, 0 lost"]
