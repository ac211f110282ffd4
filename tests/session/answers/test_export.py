"""Exports: what is recorded is what is in the file, and what is redacted is not."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from haralyzer import HarParser
from openapi_spec_validator import OpenAPIV31SpecValidator

from harness.clients import needs
from harness.logs import Recording, new_session
from tests.secrets.planting import encodings, planted, spellings
from tests.session.answers.conftest import Walked
from tests.session.answers.har_schema import HAR
from tests.session.answers.shop import EMAIL, PASSWORD, PICTURE
from wiretape.errors import NotFoundError, UsageError
from wiretape.model import ExchangeDetail, Filter
from wiretape.session.answers.curl import curl_command
from wiretape.session.answers.export import Exported, export_file
from wiretape.session.answers.export_formats import Export
from wiretape.session.catalogue import Catalogue
from wiretape.session.importing.importer import import_recording


def exported(walked: Walked, target: Path, what: Any, **rest: Any) -> Exported:
    return export_file([walked.session], Export(what, **rest), target)


def test_a_har_is_valid_and_another_program_reads_it(walked: Walked, tmp_path: Path) -> None:
    found = exported(walked, tmp_path / "walk.har", "har")
    assert (found.exchanges, found.bytes) == (7, (tmp_path / "walk.har").stat().st_size)
    assert (tmp_path / "walk.har").stat().st_mode & 0o777 == 0o600
    har = json.loads((tmp_path / "walk.har").read_bytes())
    jsonschema.validate(har, HAR)
    entries = HarParser(har).har_data["entries"]
    assert [entry["response"]["status"] for entry in entries] == [200, 200, 200, 201, 200, 200, 0]
    products, picture, gone = entries[1], entries[2], entries[6]
    assert products["request"]["queryString"] == [{"name": "page", "value": "1"}, {"name": "q", "value": 'it\'s "x"'}]
    content = products["response"]["content"]
    assert content["size"] - content["compression"] == products["response"]["bodySize"] < content["size"]
    assert base64.b64decode(picture["response"]["content"]["text"]) == PICTURE
    assert {cookie["name"] for cookie in products["request"]["cookies"]} == {"csrf_token", "sid"}
    assert entries[0]["response"]["cookies"][1]["httpOnly"] is True
    assert gone["response"]["_error"] == "nobody is there"
    timings = entries[0]["timings"]
    parts = [timings[name] for name in ("blocked", "dns", "connect", "send", "wait", "receive")]
    assert sum(part for part in parts if part > 0) == pytest.approx(entries[0]["time"])


def as_told(exchange: ExchangeDetail) -> Any:
    """Give what of an exchange a HAR can hold."""
    request, response = exchange.request, exchange.response
    assert request is not None
    told: list[Any] = [
        exchange.timestamp,
        exchange.state,
        exchange.timings,
        exchange.error and exchange.error["message"],
    ]
    told += [request.method, request.url, request.http_version, request.headers, request.body, request.body_base64]
    if response is not None:
        told += [response.status_code, response.status_message, response.headers, response.body, response.body_base64]
    return told


def test_import_then_export_then_import_loses_nothing(walked: Walked, tmp_path: Path) -> None:
    exported(walked, tmp_path / "first.har", "har")
    sessions: list[list[Any]] = []
    for name in ("first", "second"):
        root = tmp_path / name
        report = import_recording(root, tmp_path / f"{name}.har", strict=True)
        assert report.imported == 7
        with Catalogue(root).open("last") as session:
            sessions.append([as_told(one) for one in session.iterate()])
            if name == "first":
                export_file([session], Export("har"), tmp_path / "second.har")
    assert sessions[0] == sessions[1]
    originals = [as_told(one) for one in walked.session.iterate()]
    assert [one[4:6] + one[8:10] for one in sessions[0]] == [one[4:6] + one[8:10] for one in originals]


def test_a_redacted_har_has_none_of_them_in_any_encoding_and_its_lengths_are_right(root: Path, tmp_path: Path) -> None:
    secrets = planted(60, 7)
    recording = Recording(new_session(root))
    for number, (_, value) in enumerate(secrets):
        body = json.dumps({"password": value, "email": EMAIL, "echo": spellings(value, number)}).encode()
        seq = recording.open(
            "https://a.example/x", method="POST", headers=f"Content-Length: {len(body)}\r\n", body=body
        )
        recording.done(seq, spellings(value, number + 3).encode(), request=body)
    recording.close()
    with Catalogue(root).open("last") as session:
        found = export_file([session], Export("har", redact=True), tmp_path / "x.har")
    text = (tmp_path / "x.har").read_text()
    forms = [form for _, value in (*secrets, ("email", EMAIL)) for every in encodings(value).values() for form in every]
    assert [form for form in forms if form in text] == []
    assert found.check == "no secret found in a second scan of the file"
    assert found.redacted is not None
    assert found.redacted.values >= 61
    for entry in json.loads(text)["log"]["entries"]:
        body = entry["request"]["postData"]["text"]
        assert json.loads(body)["email"] == "person-1@redacted.invalid"
        lengths = [one["value"] for one in entry["request"]["headers"] if one["name"] == "Content-Length"]
        assert lengths == [str(len(body.encode()))]
        assert entry["request"]["bodySize"] == len(body.encode())


def test_a_redacted_token_has_the_same_shape_and_no_signature(walked: Walked, tmp_path: Path) -> None:
    exported(walked, tmp_path / "x.ndjson", "ndjson", redact=True)
    second = json.loads((tmp_path / "x.ndjson").read_text().splitlines()[1])
    token = dict(second["request"]["headers"])["Authorization"].removeprefix("Bearer ")
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert claims["email"] == claims["sub"] == "redacted"
    assert claims["exp"] == 1_900_000_000
    assert set(signature) == {"A"}
    assert len(signature) == 43
    assert json.loads(base64.urlsafe_b64decode(header + "=="))["alg"] == "HS256"


@pytest.mark.parametrize("what", ["har", "ndjson", "curl", "httpx", "pytest", "k6", "openapi"])
def test_no_format_has_a_secret_when_redacted(walked: Walked, tmp_path: Path, what: str) -> None:
    exported(walked, tmp_path / "x", what, redact=True)
    text = (tmp_path / "x").read_text()
    token, csrf = next(iter(walked.state.tokens.items()))
    for value in (PASSWORD, EMAIL, token, csrf, "seller1@market.example"):
        assert [form for every in encodings(value).values() for form in every if form in text] == []


def test_a_file_that_is_there_is_not_written_over_and_nothing_half_written_stays(
    walked: Walked, tmp_path: Path
) -> None:
    (tmp_path / "x.har").write_text("mine")
    with pytest.raises(UsageError, match="not written over"):
        exported(walked, tmp_path / "x.har", "har")
    assert (tmp_path / "x.har").read_text() == "mine"
    with pytest.raises(NotFoundError, match="nothing was written"):
        exported(walked, tmp_path / "y.har", "har", wanted=Filter(method="PATCH"))
    assert [path.name for path in tmp_path.iterdir()] == ["x.har"]


def test_the_curl_script_sends_what_was_recorded(walked: Walked, tmp_path: Path) -> None:
    needs("curl")
    exported(walked, tmp_path / "x.sh", "curl", wanted=Filter(seqs=[1, 2, 3, 5, 6]))
    before = len(walked.state.received)
    done = subprocess.run(["sh", str(tmp_path / "x.sh")], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    sent = walked.state.received[before:]
    recorded = [one for one in walked.session.iterate(Filter(seqs=[1, 2, 3, 5, 6])) if one.request is not None]
    for (method, path, headers, body), exchange in zip(sent, recorded, strict=True):
        request = exchange.request
        assert request is not None
        assert (method, walked.base + path) == (request.method, request.url)
        assert body.decode() == (request.body or "")
        wanted = {name.lower(): value for name, value in request.headers}
        told = {name.lower(): value for name, value in headers.items()}
        for name in ("authorization", "cookie", "x-csrf-token", "content-type", "accept", "user-agent"):
            assert told.get(name) == wanted.get(name), name


def test_one_request_as_curl_has_variables_with_their_origins(walked: Walked) -> None:
    command, lines = curl_command(walked.session, 5)
    assert command.env == {
        "TOKEN": "seq 1 response.body/data/session/accessToken",
        "COOKIES": "seq 1 response.cookie.csrf_token; seq 1 response.cookie.sid",
        "CSRF": "seq 1 response.cookie.csrf_token, percent-decoded",
    }
    token = next(iter(walked.state.tokens))
    assert command.text is not None
    assert token not in command.text
    assert f"TOKEN='{token}'" in lines
    assert '-H "Authorization: Bearer ${TOKEN}"' in command.text
    assert "--json" in command.text
    assert "Host:" not in command.text


def run_python(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=90, env=os.environ | env
    )


def test_the_httpx_program_runs(walked: Walked, tmp_path: Path) -> None:
    exported(walked, tmp_path / "x.py", "httpx", wanted=Filter(seqs=[1, 2, 3, 4, 5]))
    done = run_python(str(tmp_path / "x.py"))
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["200", "200", "200", "201", "200"], done.stderr


K6 = {
    "package.json": '{"type":"module"}',
    "node_modules/k6/package.json": '{"type":"module","exports":'
    '{".":"./k6.js","./http":"./http.js","./encoding":"./e.js"}}',
    "node_modules/k6/k6.js": "export const check = (answer, checks) => globalThis.checks.push(...Object.keys(checks));",
    "node_modules/k6/e.js": "export default { b64decode: (text) => ({ base64: text }) };",
    "node_modules/k6/http.js": "export default { request: (...given) => { globalThis.sent.push(given); return {}; } };",
    "run.js": "globalThis.__ENV = {}; globalThis.sent = []; globalThis.checks = [];"
    "(await import('./walk.js')).default(); console.log(JSON.stringify({ sent, checks }));",
}
"""As much of k6 as says what a script asks of it."""


def test_the_k6_script_sends_what_was_recorded_and_checks_what_came(walked: Walked, tmp_path: Path) -> None:
    (tmp_path / "node_modules" / "k6").mkdir(parents=True)
    for name, text in K6.items():
        (tmp_path / name).write_text(text)
    exported(walked, tmp_path / "walk.js", "k6")
    done = subprocess.run([needs("node"), "run.js"], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    ran = json.loads(done.stdout)
    recorded = list(walked.session.iterate())
    requests = [one.request for one in recorded if one.request is not None]
    assert [call[:2] for call in ran["sent"]] == [[one.method, one.url] for one in requests]
    assert json.loads(ran["sent"][0][2]) == {"email": EMAIL, "password": PASSWORD}
    assert base64.b64decode(ran["sent"][6][2]["base64"]) == b"\x00\x01 binary \xff"
    token = next(iter(walked.state.tokens))
    assert {name.lower(): value for name, value in ran["sent"][1][3]["headers"].items()}[
        "authorization"
    ] == f"Bearer {token}"
    assert ran["checks"][0] == "POST /auth/login: 200"
    assert len(ran["checks"]) == 6


def test_the_tests_pass_against_a_new_run_of_the_server_and_fail_where_it_changed(
    walked: Walked, tmp_path: Path
) -> None:
    exported(walked, tmp_path / "test_walk.py", "pytest")
    options = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(tmp_path / "test_walk.py")]
    done = run_python(*options)
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout
    text = (tmp_path / "test_walk.py").read_text()
    assert "seen[4].json()['data']['id']" in text
    (tmp_path / "test_walk.py").write_text(text.replace("'total': 12", "'total': 13"))
    assert "/data/total is 12, was 13" in run_python(*options).stdout


def test_openapi_is_valid_and_tells_operations_parameters_and_logins(walked: Walked, tmp_path: Path) -> None:
    found = exported(walked, tmp_path / "api.json", "openapi")
    document = json.loads((tmp_path / "api.json").read_text())
    OpenAPIV31SpecValidator(document).validate()
    assert found.operations is not None
    assert ["POST /cart/{cartId}/items", 1, [200], "bearer, cookie, csrf"] in found.operations.rows
    assert "/picture.png" not in document["paths"]
    assert document["components"]["securitySchemes"]["bearer"] == {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
    }
    products = document["paths"]["/products"]["get"]
    schema = products["responses"]["200"]["content"]["application/json"]["schema"]
    row = schema["properties"]["data"]["items"]
    assert row["properties"]["kind"] == {"type": "string", "enum": ["lamp", "shoe"]}
    assert set(row["required"]) == {"id", "kind", "price"}
    assert schema["properties"]["seller"]["properties"]["email"]["format"] == "email"
    assert {one["name"]: one["in"] for one in products["parameters"]} == {"page": "query", "q": "query"}


def test_a_body_that_was_not_recorded_whole_says_so(root: Path, tmp_path: Path) -> None:
    recording = Recording(new_session(root))
    seq = recording.open("http://a.example/big")
    recording.done(seq, b"x" * 4096, size=27_650)
    recording.close()
    with Catalogue(root).open("last") as session:
        found = export_file([session], Export("har"), tmp_path / "x.har")
    entry = json.loads((tmp_path / "x.har").read_text())["log"]["entries"][0]
    assert entry["response"]["content"]["comment"] == "Only the first 4096 of 27650 bytes were recorded."
    assert found.left[0].why == "4096 of 27650 bytes of the response's body were recorded"


def test_hostile_recordings_are_exported_in_every_format(root: Path, tmp_path: Path) -> None:
    recording = Recording(new_session(root))
    deep = b"[" * 100_000 + b"]" * 100_000
    for url, body in (
        ("http://a.example/'$(touch x)`\"\\", deep),
        ("http://a.example/{}[]?a=%FF%00", b'{"a":' * 5_000),
        ("http://a.example/x", '{"a":"\u2028\x7f\ufeff"}'.encode()),
    ):
        seq = recording.open(url, method="POST", headers="X-\xe4: \xff\r\nCookie: ;;=;a\r\n", body=body)
        recording.done(seq, body, request=body, headers="Content-Type: application/json\r\nSet-Cookie: ;=;\r\n")
    recording.close()
    with Catalogue(root).open("last") as session:
        for what in ("har", "ndjson", "curl", "httpx", "pytest", "k6", "openapi"):
            for redact in (False, True):
                found = export_file([session], Export(what, redact=redact), tmp_path / f"{what}{redact}")
                assert found.exchanges == 3
    jsonschema.validate(json.loads((tmp_path / "harTrue").read_text()), HAR)
    for name in ("httpxFalse", "pytestTrue"):
        compile((tmp_path / name).read_text(), name, "exec")
    OpenAPIV31SpecValidator(json.loads((tmp_path / "openapiFalse").read_text())).validate()


def test_messages_of_a_web_socket_go_out_and_come_back_and_are_redacted(root: Path, tmp_path: Path) -> None:
    began = "2026-11-27T10:00:00.000Z"
    at = datetime.fromisoformat(began).timestamp()
    secret = "sk_live_abcdefghijklmnop01234567"
    sent = [
        {"type": "send", "time": at + 1, "opcode": 1, "data": f'{{"key":"{secret}"}}'},
        {"type": "receive", "time": at + 1.5, "opcode": 2, "data": "AP8="},
        {"type": "receive", "time": at + 2, "opcode": 1, "data": "für dich"},
    ]
    plain = {"headers": [], "httpVersion": "HTTP/1.1"}
    request = {"method": "GET", "url": "wss://a.example/chat", "bodySize": 0, **plain}
    response = {"status": 101, "statusText": "Switching Protocols", "content": {"size": 0, "mimeType": ""}, **plain}
    entry = {"startedDateTime": began, "time": 2000, "request": request, "response": response}
    (tmp_path / "in.har").write_text(json.dumps({"log": {"entries": [{**entry, "_webSocketMessages": sent}]}}))
    import_recording(root, tmp_path / "in.har")
    with Catalogue(root).open("last") as session:
        found = export_file([session], Export("har"), tmp_path / "out.har")
        export_file([session], Export("har", redact=True), tmp_path / "redacted.har")
    assert found.left == []
    har = json.loads((tmp_path / "out.har").read_text())
    jsonschema.validate(har, HAR)
    assert har["log"]["entries"][0]["_webSocketMessages"] == sent
    redacted = json.loads((tmp_path / "redacted.har").read_text())["log"]["entries"][0]["_webSocketMessages"]
    assert [one["data"] for one in redacted] == ['{"key":"redacted-stripe-key-1"}', "AP8=", "für dich"]


def test_tests_leave_out_what_another_run_has_otherwise(root: Path, tmp_path: Path) -> None:
    for stock in (7, 9):
        recording = Recording(new_session(root, f"run {stock}"))
        seq = recording.open("http://a.example/stock/17")
        body = json.dumps({"stock": stock, "name": "lamp"}).encode()
        recording.done(seq, body, headers="Content-Type: application/json\r\n")
        recording.close()
    with Catalogue(root).open("run 7") as first, Catalogue(root).open("run 9") as second:
        export_file([first], Export("pytest"), tmp_path / "alone.py")
        export_file([first, second], Export("pytest"), tmp_path / "learned.py")
    assert "{'stock': 7, 'name': 'lamp'}" in (tmp_path / "alone.py").read_text()
    assert "{'stock': ANY, 'name': 'lamp'}" in (tmp_path / "learned.py").read_text()
