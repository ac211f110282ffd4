"""What was recorded of HTTP/2, as every reader gives it: exchanges, filters, HAR, curl, SQL, messages of gRPC."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from harness.h2_peers import H2Origin
from harness.recorder import RecorderProcess
from tests.cli.support import wiretape, wiretape_json
from tests.recorder.test_grpc import serve
from tests.recorder.test_h2 import connect, recorded
from wiretape.cli.demo.certificates import OriginCA


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, origin_ca: OriginCA) -> Path:
    """A root with one session: three exchanges of HTTP/2, the last of them of gRPC."""
    folder = tmp_path_factory.mktemp("h2") / "root"
    folder.mkdir()
    issued = origin_ca.issue()
    with RecorderProcess(folder, upstream_ca=origin_ca.pem) as recorder:
        recorder.record()
        with H2Origin(issued.server_context(alpn=("h2",))) as origin, connect(recorder, origin.port) as client:
            cookies = [(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-token", b"needle")]
            assert client.get("/bytes/10?q=1", cookies).status == 200
            assert client.answer(client.send("POST", "/trailers", body=b"abc")).status == 200
        with pytest.MonkeyPatch.context() as patch, serve(issued) as port:
            patch.setenv("grpc_proxy", f"http://{recorder.address[0]}:{recorder.address[1]}")
            trust = grpc.ssl_channel_credentials((folder / "ca" / "ca.pem").read_bytes())
            with grpc.secure_channel(f"localhost:{port}", trust) as channel:
                gzip = grpc.Compression.Gzip
                assert channel.unary_unary("/t.T/Unary")(b"question" * 100, timeout=20, compression=gzip)
        recorded(recorder, 3)
        recorder.close()
        recorder.stop()
    return folder


def exchange(root: Path, seq: int) -> Any:
    return wiretape_json("exchange", f"last:{seq}", "--root", root)


def test_an_exchange_says_what_each_side_spoke_and_finds_nothing_wrong(root: Path) -> None:
    found = exchange(root, 1)
    assert found["request"]["httpVersion"] == found["response"]["httpVersion"] == "HTTP/2"
    assert found["request"]["url"].endswith("/bytes/10?q=1")
    assert ["cookie", "b=2"] in found["request"]["headers"]
    assert not [name for name, _ in found["request"]["headers"] if name.startswith(":")]
    assert found["response"]["statusCode"] == 200
    assert found["tls"]["client"]["alpn"] == found["tls"]["server"]["alpn"] == "h2"
    assert found["connections"]["client"]["stream"] == 1
    assert found["notes"] == []


def test_trailers_are_shown(root: Path) -> None:
    assert exchange(root, 2)["response"]["trailers"] == [["x-sum", "42"], ["x-more", "a"]]


@pytest.mark.parametrize(
    ("expression", "seqs"),
    [("~hq needle", [1]), ("~m POST & ~u trailers", [2]), ("~c 200", [1, 2, 3]), ("~t octet-stream", [1]), ("~q", [])],
)
def test_filters_find_it(root: Path, expression: str, seqs: list[int]) -> None:
    found = wiretape_json("query", "last", expression, "--root", root)
    assert sorted(row["seq"] for row in found["items"]) == seqs


def test_a_text_is_found_in_its_head(root: Path) -> None:
    done = wiretape("grep", "last", "needle", "--root", root)
    assert b"request.header.x-token" in done.stdout


def test_a_har_has_its_version_cookies_and_headers(root: Path) -> None:
    done = wiretape("export", "last:1", "--format", "har", "-o", "-", "--root", root)
    entry = json.loads(done.stdout)["log"]["entries"][0]
    assert entry["request"]["httpVersion"] == entry["response"]["httpVersion"] == "HTTP/2"
    assert [(cookie["name"], cookie["value"]) for cookie in entry["request"]["cookies"]] == [("a", "1"), ("b", "2")]
    assert "comment" not in entry


def test_curl_repeats_it(root: Path) -> None:
    done = wiretape("export", "last:2", "--format", "curl", "-o", "-", "--root", root)
    assert b"/trailers" in done.stdout
    assert b"--data-binary abc" in done.stdout.replace(b"'", b"")
    assert b":path" not in done.stdout


def test_a_grpc_call_is_shown_with_its_messages_and_status(root: Path) -> None:
    found = exchange(root, 3)
    assert ["grpc-encoding", "gzip"] in found["request"]["headers"]
    assert ["grpc-status", "0"] in found["response"]["trailers"]
    done = wiretape("messages", "last:3", "--root", root)
    assert done.returncode == 0, done.stderr
    assert base64.b64encode(b"question" * 3) in done.stdout  # taken out of its gzip
