"""``wiretape secrets`` and ``wiretape export`` as processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from tests.cli.support import wiretape, wiretape_json


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the session ``shop`` of one login."""
    root = tmp_path_factory.mktemp("shop") / "root"
    recording = Recording(new_session(root, "shop"))
    body = b'{"email":"ada@example.com","password":"hunter2!x"}'
    kind = "Content-Type: application/json\r\nAccept: application/json\r\n"
    seq = recording.open("https://shop.example/login", method="POST", headers=kind, body=body)
    recording.done(seq, b'{"ok":true}', headers=kind, request=body)
    recording.close()
    return root


def test_secrets_are_listed_for_people_and_programs(shop: Path) -> None:
    done = wiretape("secrets", "shop", "--root", shop)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert "password" in text
    assert "request.body/password x1" in text
    assert "hunter2" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert wiretape_json("secrets", "shop", "--kind", "email", "--root", shop)["values"][0]["value"] == "ada***om"


def test_exports_go_to_a_file_of_the_root_to_one_that_is_named_or_to_stdout(shop: Path, tmp_path: Path) -> None:
    found = wiretape_json("export", "shop", "--redact", "--root", shop)
    assert Path(found["file"]).parent == shop / "exports"
    assert found["redacted"]["kinds"] == {"email": 1, "password": 1}
    done = wiretape("export", "shop", "--format", "ndjson", "-o", "-", "--root", shop)
    assert json.loads(done.stdout)["request"]["method"] == "POST"
    (tmp_path / "there").write_text("mine")
    refused = wiretape("export", "shop", "-o", tmp_path / "there", "--root", shop)
    assert refused.returncode == 2
    assert b"not written over" in refused.stderr


def test_one_exchange_as_curl_is_printed(shop: Path) -> None:
    done = wiretape("export", "shop:1", "--format", "curl", "--root", shop)
    first, second = done.stdout.decode().splitlines()
    assert first == "PASSWORD='hunter2!x'  # seq 1 request.body"
    assert second.startswith("curl https://shop.example/login --json ")
