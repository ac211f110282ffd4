"""``wiretape secrets`` and ``wiretape export`` as processes."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.clients import needs
from harness.logs import Recording, new_session
from harness.origin import Origin
from tests.cli.support import wiretape, wiretape_json
from wiretape.cli.demo.certificates import OriginCA
from wiretape.session.answers.fingerprints import exchange_fingerprints, list_fingerprints
from wiretape.session.catalogue import Catalogue


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
    assert wiretape("export", "shop:1", "--curl", "--root", shop).stdout == done.stdout, "what people try first"


@pytest.fixture(scope="module")
def over_tls(tmp_path_factory: pytest.TempPathFactory, origin_ca: OriginCA) -> Iterator[tuple[Path, Path]]:
    """A root with the session ``tls`` of two requests over TLS, and the CA of their server, which still runs."""
    root = tmp_path_factory.mktemp("tls") / "root"
    ca = origin_ca.pem
    with Origin(tls=origin_ca.issue().server_context()) as origin:
        urls = [origin.url("/text/50"), origin.url("/status/404")]
        words = [needs("curl"), "-sS", "-o", os.devnull, "-o", os.devnull, *urls]
        done = wiretape("run", "--root", root, "--session", "tls", "--upstream-ca", ca, "--", *words)
        assert done.returncode == 0, done.stderr
        yield root, ca


def test_handshakes_have_the_fingerprints_of_the_recorded_hello(over_tls: tuple[Path, Path]) -> None:
    root, _ = over_tls
    found = wiretape_json("handshakes", "tls", "--root", root)
    assert (found["total"], found["withTlsMetadata"], found["withoutTlsMetadata"]) == (2, 2, 0)
    assert "unavailableReason" not in found
    newest, oldest = found["items"]
    assert newest["seq"] > oldest["seq"]
    assert re.fullmatch("[0-9a-f]{32}", newest["ja3"])
    assert re.fullmatch(r"t13[di]\d{4}(h2|h1|00)_[0-9a-f]{12}_[0-9a-f]{12}", newest["ja4"])
    assert newest["ja4"] == oldest["ja4"]
    assert newest["hostname"] == newest["sni"] == "localhost"
    assert wiretape_json("handshakes", "tls", "--status", "404", "--root", root)["total"] == 1
    done = wiretape("handshakes", "tls", "--root", root)
    assert newest["ja4"].encode() in done.stdout


def test_fingerprints_are_asked_for_by_filters_and_counted(over_tls: tuple[Path, Path]) -> None:
    root, _ = over_tls
    newest = wiretape_json("handshakes", "tls", "--root", root)["items"][0]
    assert re.fullmatch("[0-9a-f]{32}", newest["ja3s"])
    for operator in ("ja3", "ja4", "ja3s"):
        assert wiretape_json("query", "tls", f"~{operator} ^{newest[operator]}$", "--root", root)["matched"] == 2
        assert wiretape_json("query", "tls", f"!~{operator} .", "--root", root)["matched"] == 0
    mixed = f"(~ja4 {newest['ja4']} | ~b nowhere) & ~c 404"
    assert wiretape_json("query", "tls", mixed, "--root", root)["matched"] == 1
    assert wiretape_json("query", "tls", "~ja4 nobody | ~b nowhere", "--root", root)["matched"] == 0
    with Catalogue(root).open("tls") as session:
        counted = list_fingerprints(session)
        assert counted.total_exchanges_with_tls == 2
        assert [(one.fingerprint, one.count, one.hostnames) for one in counted.ja4] == [
            (newest["ja4"], 2, ["localhost"])
        ]
        assert list_fingerprints(session, host_contains="LOCAL").ja3[0].count == 2
        assert not list_fingerprints(session, host_contains="%").ja3
        both = exchange_fingerprints(session, newest["seq"])
        assert both.hostname == "localhost"
        assert both.tls is not None
        assert both.tls.client is not None
        assert both.tls.server is not None
        assert (both.tls.client.ja3, both.tls.client.ja4) == (newest["ja3"], newest["ja4"])
        assert both.tls.server.ja3s == newest["ja3s"]
        assert hashlib.md5((both.tls.server.ja3s_text or "").encode()).hexdigest() == newest["ja3s"]
        assert hashlib.md5((both.tls.client.ja3_text or "").encode()).hexdigest() == newest["ja3"]


def test_a_session_without_tls_says_so(shop: Path) -> None:
    found = wiretape_json("handshakes", "shop", "--root", shop)
    assert found["withTlsMetadata"] == 0
    assert found["unavailableReason"].startswith("No exchange came over TLS")
    assert found["items"][0]["hasTls"] is False


def test_send_goes_over_tls_and_is_recorded(over_tls: tuple[Path, Path]) -> None:
    root, ca = over_tls
    planned = wiretape_json("send", "tls:1", "--header", "X-One: 1", "--root", root)
    assert planned["changes"] == [["request.header.X-One", None, "1"]]
    assert "result" not in planned
    found = wiretape_json("send", "tls:1", "--header", "X-One: 1", "--execute", "--upstream-ca", ca, "--root", root)
    assert found["verdict"] == "200 as recorded, the same answer"
    again = wiretape_json("exchange", found["result"]["exchange"].rpartition(":")[0], "1", "--root", root)
    assert ["X-One", "1"] in again["request"]["headers"]
    failed = wiretape("send", "tls:1", "--execute", "--root", root)
    assert failed.returncode == 1
    assert b"self-signed certificate" in failed.stdout
