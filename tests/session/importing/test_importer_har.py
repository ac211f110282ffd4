"""HARs become sessions: everything that can be read, with its times and bytes, in bounded memory."""

from __future__ import annotations

import base64
import json
import random
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.bodies import body_for, text_for
from tests.cli.support import wiretape, wiretape_json
from tests.formats.test_har import entry
from tests.session.importing.test_importer import FULL, imported
from wiretape.errors import DamagedError, NotFoundError, UsageError
from wiretape.session.catalogue import Catalogue
from wiretape.session.importing.importer import ImportReport, import_recording
from wiretape.session.importing.recordings import recordings_at

MITMPROXY = Path(__file__).parents[2] / "formats" / "fixtures" / "har" / "mitmproxy.har"
"""Written by mitmproxy 11.0.2, from requests to the test origin."""


def write(path: Path, *entries: Any) -> Path:
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}))
    return path


def bring_in(root: Path, tmp_path: Path, *entries: Any) -> ImportReport:
    return import_recording(root, write(tmp_path / "x.har", *entries))


def test_p12_header_bytes_that_a_browser_shows_as_characters_come_in_as_bytes(root: Path, tmp_path: Path) -> None:
    octets = 'attachment; filename="あР.txt"'.encode()
    headers = [{"name": "Content-Disposition", "value": octets.decode("latin-1")}, {"name": "Age", "value": 5}]
    made = entry(response_headers=headers, request_url="https://h/a\u00a0b\t\u200b?\x85#\xad")
    report = bring_in(root, tmp_path, made)
    assert (report.damaged, report.warnings) == (0, [])
    with imported(root) as session:
        found = session.exchange(1)
    assert found.request is not None
    assert found.response is not None
    assert found.request.url == "https://h/a%C2%A0b%09%E2%80%8B?%C2%85"
    assert [tuple(pair) for pair in found.response.headers or []] == [
        ("Content-Disposition", octets.decode()),
        ("Age", "5"),
    ]


def test_what_mitmproxy_has_written_comes_in_with_its_bytes(root: Path) -> None:
    report = import_recording(root, MITMPROXY)
    assert (report.name, report.imported, report.skipped, report.damaged) == ("har-import-mitmproxy", 18, 0, 0)
    assert len(report.warnings) == 1
    assert "4 bodies were stored decoded; their Content-Encoding is kept as" in report.warnings[0]
    entries = json.loads(MITMPROXY.read_text())["log"]["entries"]
    with imported(root) as session:
        assert session.verify(deep=True).state == "clean"
        items = session.query(sort="asc", limit=50).items
        assert [(item.method, item.url) for item in items] == [
            (one["request"]["method"], one["request"]["url"]) for one in entries
        ]
        assert [item.status_code or 0 for item in items] == [one["response"]["status"] for one in entries]
        by_path = {item.url.split("/", 3)[3]: item.seq for item in items}

        def body(path: str, side: Any = "response") -> bytes:
            return b"".join(session.raw_body(by_path[path], side))

        assert body("bytes/300") == body_for("/bytes/300", 300)
        for coding in ("gzip/400", "br/300", "zstd/300", "deflate/300"):
            assert body(coding) == text_for(f"/{coding}", int(coding.partition("/")[2]))
        assert body("echo", "request") == body("echo") == bytes(range(256))
        cookies = session.exchange(by_path["duplicate-headers"]).response.headers  # type: ignore[union-attr]
        assert [value for name, value in cookies or [] if name.lower() == "set-cookie"] == [
            "a=1; Path=/",
            "b=2",
            "a=1; Path=/",
        ]
        assert ("X-Latin", "caf\u00e9") in [tuple(header) for header in cookies or []]
        refused = session.exchange(by_path["refused"])
        assert (refused.state, refused.response) == ("failed", None)


def test_versions_timings_and_servers_come_in(root: Path, tmp_path: Path) -> None:
    bring_in(root, tmp_path, entry(request_httpVersion="h2", response_httpVersion="h2"))
    with imported(root) as session:
        found = session.exchange(1)
        assert session.query().items[0].url == "https://example.com/a?b"
    assert (found.timestamp, found.server, found.timings.total) == (1680134454253, "192.0.2.1", 42.5)
    assert (found.timings.dns, found.timings.connect, found.timings.tls, found.timings.receive) == (2, 4, 6, 9)
    assert found.request is not None
    assert found.response is not None
    assert (found.request.http_version, found.response.http_version) == ("HTTP/2", "HTTP/2")
    assert (found.response.status_code, found.response.status_message, found.response.body) == (200, "OK", "hello")


def test_what_is_sound_and_no_exchange_is_no_damage(root: Path, tmp_path: Path) -> None:
    data = entry(request_url="data:image/png;base64,AAAA")
    report = bring_in(root, tmp_path, data, entry(_webSocketMessages=[{}, {}]), data, entry(response_status=304))
    assert (report.imported, report.skipped, report.damaged) == (2, 2, 0)
    assert [warning.split()[0] for warning in report.warnings] == ["2", "2", "1"]


def test_damage_is_counted_and_named_by_its_place(root: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "x.har", entry(), entry(request_url="http://other/"), entry())
    content = path.read_bytes().replace(b"http://other/", b'http://oth"er', 1)
    path.write_bytes(content[:-40])
    report = import_recording(root, path)
    assert (report.imported, report.skipped, report.damaged) == (1, 1, 1)
    offset = int(report.warnings[0].split(" at ")[1].split(":")[0])
    assert content[offset:].startswith(b'{"_initiator"')
    with pytest.raises(DamagedError, match="no exchange"):
        import_recording(root, path, strict=True)
    path.write_bytes(b'{"log": {"entries": []}}')
    with pytest.raises(UsageError, match="nothing in"):
        import_recording(root, path)
    assert Catalogue(root).ids() == [report.session_id]


def test_p14_what_stands_in_an_entry_never_becomes_framing_or_a_path(root: Path, tmp_path: Path) -> None:
    headers = [{"name": "x\r\nHost: evil", "value": "a\r\n\r\nGET /evil HTTP/1.1"}]
    content = {"text": "x", "_file": "/etc/passwd", "size": 1}
    made = entry(request_headers=headers, response_statusText="OK\r\nA: b", response_content=content, server="\r\n")
    made["request"]["httpVersion"] = "HTTP/1.1\r\nEvil: 1"
    assert bring_in(root, tmp_path, made).imported == 1
    with imported(root) as session:
        found = session.exchange(1)
    assert found.request is not None
    assert found.response is not None
    names = [name for name, _ in [*(found.request.headers or []), *(found.response.headers or [])]]
    assert not {"Host", "Evil", "A"} & set(names)
    assert found.response.body == "x"


def test_p8_a_har_of_any_length_costs_bounded_memory(root: Path, tmp_path: Path) -> None:
    body = random.Random(1).randbytes(1 << 20) * 12
    text = ('\u65e5\U0001f600\\\n"' * 1000 + "x" * 3000) * 200
    path = tmp_path / "x.har"
    with path.open("w") as file:
        file.write('{"log": {"entries": [')
        for number in range(250):
            file.write(json.dumps(entry(comment="y" * 3000, request_url=f"http://a/{number}")) + ",\n")
        coded = {"text": base64.b64encode(body).decode(), "encoding": "base64", "size": len(body)}
        file.write(json.dumps(entry(response_content=coded)) + ",")
        file.write(json.dumps(entry(response_content={"text": text, "size": len(text.encode())})) + "]}}")
    del coded
    tracemalloc.start()
    try:
        report = import_recording(root, path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (report.imported, report.warnings) == (252, [])
    assert peak < 10 << 20
    with imported(root) as session:
        assert b"".join(session.raw_body(251, "response")) == body
        assert b"".join(session.raw_body(252, "response")) == text.encode()


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"\x1f\x8b\x08", "x.har", "gzip"),
        (b"PK\x03\x04", "x.har", "zip"),
        (b"\x78\xda", "x.zhar", "zlib"),
        (b"\xff\xfe{\0", "x.har", "UTF-16"),
        (b"%PDF", "x.pdf", "not a recording"),
        (b"", "empty", "not a recording"),
    ],
)
def test_a_file_of_another_kind_is_told_what_to_do(tmp_path: Path, content: bytes, name: str, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=said):
        recordings_at(tmp_path / name)


def test_a_recording_is_known_by_what_it_is(root: Path, tmp_path: Path) -> None:
    assert recordings_at(write(tmp_path / "noname", entry())) == [tmp_path / "noname"]
    assert recordings_at(FULL / "records.ndjson") == [FULL]
    (tmp_path / "damaged.har").write_bytes(bytes(100) + MITMPROXY.read_bytes())
    assert recordings_at(tmp_path / "damaged.har") == [tmp_path / "damaged.har"]
    assert import_recording(root, tmp_path / "damaged.har").imported == 18
    with pytest.raises(NotFoundError):
        import_recording(root, tmp_path / "none")


def test_the_command_imports_a_har_and_a_folder_of_all_kinds(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    write(folder / "a.har", entry())
    shutil.copytree(FULL, folder / "b")
    (folder / "notes.txt").write_text("no recording")
    one = wiretape_json("import", folder / "a.har", "--name", "mine", "--root", root)
    assert (one["name"], one["imported"], one["skipped"], one["damaged"], one["warnings"]) == ("mine", 1, 0, 0, [])
    both = wiretape_json("import", folder, "--root", root)
    assert [session["imported"] for session in both["sessions"]] == [1, 30]
    other = wiretape("import", folder / "notes.txt", "--root", root)
    assert (other.returncode, b"not a recording that wiretape knows" in other.stderr) == (2, True)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\ud800", "A" * 99]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


def _full_entry() -> dict[str, Any]:
    posted = {"mimeType": "x", "text": "a=b", "params": [{"name": "a", "value": "b"}], "encoding": "none"}
    made: dict[str, Any] = entry(request_postData=posted, _webSocketMessages=[{"type": "send"}], _error="x")
    return made


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from([place for place in _places(_full_entry()) if place]), _JSON), min_size=6, max_size=6
    )
)
def test_whatever_stands_in_an_entry_costs_that_entry_at_most(
    root: Path, tmp_path: Path, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    odd = [_full_entry() for _ in changes]
    for made, (path, value) in zip(odd, changes, strict=True):
        target: Any = made
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value
    report = bring_in(root, tmp_path, entry(), *(one for made in odd for one in (made, entry())))
    assert report.imported + report.skipped == 1 + 2 * len(odd)
    assert report.imported >= 1 + len(odd)
    with Catalogue(root).open(report.session_id) as session:
        assert session.query().matched == report.imported
        assert session.verify(deep=True).state == "clean"
    shutil.rmtree(Catalogue(root).folder / report.session_id)


def test_messages_of_a_websocket_are_in_the_log(root: Path, tmp_path: Path) -> None:
    large = "x" * 400_000
    messages = [
        {"type": "send", "opcode": 1, "data": "hello", "time": 1_700_000_000.5},
        {"type": "receive", "opcode": 1, "data": large, "time": 1_700_000_001.0},
        {"type": "receive", "opcode": 1, "data": ""},
    ]
    began = "2023-11-14T22:13:20.000Z"
    made = entry(request_url="wss://h/chat", response_status=101, _webSocketMessages=messages, startedDateTime=began)
    report = bring_in(root, tmp_path, made)
    assert (report.damaged, report.warnings) == (0, [])
    with imported(root) as session:
        session.follow()
        rows = session.index.rows(
            "SELECT side, number, max(size), sum(bytes), max(last), min(elapsed) FROM messages GROUP BY side, number"
        )
    assert rows == [
        (0, 1, 5, 5, 1, 500_000_000),
        (1, 1, 400_000, 400_000, 1, 1_000_000_000),
        (1, 2, 0, 0, 1, 0),
    ]
