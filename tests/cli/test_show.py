"""``wiretape show`` as people and programs read it."""

from __future__ import annotations

import json
from pathlib import Path

from harness.logs import Recording, new_session
from wiretape.cli.main import run


def test_people_read_errors_first_and_programs_read_json(root: Path, capfd: object) -> None:
    recording = Recording(new_session(root, "shop"))
    body = b'{"title":"Validation\\u001b[31m failed"}'
    recording.done(
        recording.open("http://api.example/users/7", method="PUT"),
        body,
        status=422,
        headers="Content-Type: application/json\r\n",
    )
    recording.exchange("http://api.example/users/8")
    recording.close()
    assert run(["show", "shop", "--root", str(root)]) == 0
    text = capfd.readouterr().out  # type: ignore[attr-defined]
    assert text.splitlines()[0].startswith("shop: 2 exchanges in 1.0s from 2027-01-15T08:00:01Z")
    assert "PUT /users/{id}  Validation\\x1b[31m failed" in text, "captured text never steers a terminal"
    assert all(len(line) <= 80 for line in text.splitlines())
    assert run(["show", "shop", "--root", str(root), "--json", "--status", "4xx"]) == 0
    found = json.loads(capfd.readouterr().out)  # type: ignore[attr-defined]
    assert found["errors"]["rows"] == [["PUT /users/{id}", 422, 1, 1, "Validation\x1b[31m failed"]]
    assert found["exchanges"] == 1
