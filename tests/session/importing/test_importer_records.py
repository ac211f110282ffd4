"""Records of proxy-mcp that are odd: what can be read comes in, what cannot is counted, nothing ends the import."""

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

from tests.session.importing.test_importer import FULL, imported, records
from wiretape.errors import UsageError, WiretapeError
from wiretape.model import ExchangeDetail
from wiretape.session.catalogue import Catalogue
from wiretape.session.importing.importer import ImportReport, import_recording


def record(**changes: Any) -> dict[str, Any]:
    """Give a record with parts of its exchange changed: ``request_url`` is ``exchange.request.url``."""
    made: dict[str, Any] = records(FULL)[1]
    for name, value in changes.items():
        part, _, key = name.partition("_")
        target = made["exchange"][part] if part in {"request", "response"} else made["exchange"]
        target[key or part] = value
    return made


def bring_in(root: Path, tmp_path: Path, *made: dict[str, Any]) -> ImportReport:
    folder = tmp_path / "recording"
    folder.mkdir(exist_ok=True)
    (folder / "records.ndjson").write_text("".join(json.dumps(one) + "\n" for one in [record(), *made]))
    return import_recording(root, folder)


def detail(root: Path, seq: int) -> ExchangeDetail:
    with imported(root) as session:
        assert session.verify(deep=True).state == "clean"
        return session.exchange(seq)


@pytest.mark.parametrize("url", ["http://[::1/x", "http://a:99999/", "nonsense", "http://", "//", "http:///x", ""])
def test_a_url_that_names_no_server_costs_its_exchange_alone(root: Path, tmp_path: Path, url: str) -> None:
    report = bring_in(root, tmp_path, record(request_url=url))
    assert (report.imported, report.skipped, report.damaged) == (1, 1, 1)
    assert "names no server" in report.warnings[0]


@pytest.mark.parametrize("name", ["timestamp", "duration"])
@pytest.mark.parametrize("value", [9e15, -1, "soon", [], 1e400])
def test_a_time_that_is_none_costs_the_time_alone(root: Path, tmp_path: Path, name: str, value: Any) -> None:
    report = bring_in(root, tmp_path, record(**{name: value}))
    assert (report.imported, report.skipped, report.damaged) == (2, 0, 1)
    assert "times" in report.warnings[0]


def test_half_a_character_in_an_id_costs_nothing(root: Path, tmp_path: Path) -> None:
    assert bring_in(root, tmp_path, record(id="\ud800\udc80x\n")).imported == 2


@pytest.mark.parametrize(
    ("url", "target", "shown"),
    [
        ("https://s/path", "/path", "https://s/path"),
        ("https://https/https?https#https", "/https?https", "https://https/https?https"),
        ("https://user:secret@host:8443/a;b/c;d?e=f?g", "/a;b/c;d?e=f?g", "https://host:8443/a;b/c;d?e=f?g"),
        ("https://host", "/", "https://host/"),
        ("https://host?", "/?", "https://host/?"),
        ("https://[::1]:444/x", "/x", "https://[::1]:444/x"),
        ("https://host/a b\x00c", "/a%20b%20c", "https://host/a%20b%20c"),
        ("wss://host/chat", "/chat", "wss://host/chat"),
        ("ws://host:81/chat", "/chat", "ws://host:81/chat"),
        ("http://host/a?b#c", "http://host/a?b", "http://host/a?b"),
    ],
)
def test_a_url_comes_in_as_it_was_sent(root: Path, tmp_path: Path, url: str, target: str, shown: str) -> None:
    assert bring_in(root, tmp_path, record(request_url=url)).imported == 2
    found = detail(root, 2).request
    assert found is not None
    assert found.url == shown
    segment = next((Catalogue(root).folder).glob("*/log/*.wlog")).read_bytes()
    assert segment.count(f" {target} HTTP/1.1\r\n".encode()) == 1


@pytest.mark.parametrize("method", ["M-SEARCH", "PROPFIND", "a!#$%&'*+.^_`|~9"])
def test_every_method_that_http_allows_comes_in(root: Path, tmp_path: Path, method: str) -> None:
    assert bring_in(root, tmp_path, record(request_method=method)).imported == 2
    found = detail(root, 2).request
    assert found is not None
    assert found.method == method


@pytest.mark.parametrize("method", ["", "GET /", "G\nET", "GÉT", "X" * 33, 5, None])
def test_what_is_no_method_costs_its_exchange_alone(root: Path, tmp_path: Path, method: Any) -> None:
    report = bring_in(root, tmp_path, record(request_method=method))
    assert (report.imported, report.skipped) == (1, 1)


@pytest.mark.parametrize("status", [0, None])
def test_an_answer_without_a_status_was_none(root: Path, tmp_path: Path, status: int | None) -> None:
    assert bring_in(root, tmp_path, record(response_statusCode=status)).imported == 2
    with imported(root) as session:
        assert session.query(sort="asc").items[1].state == "failed"


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "*/*", "X-Two": ["a", "b"]},
        [["Accept", "*/*"], ["X-Two", "a"], ["X-Two", "b"]],
        [{"name": "Accept", "value": "*/*"}, {"name": "X-Two", "value": "a"}, {"name": "X-Two", "value": "b"}],
        ["Accept", "*/*", "X-Two", "a", "X-Two", "b"],
    ],
    ids=["object", "pairs", "objects", "flat"],
)
def test_headers_come_in_however_they_are_written(root: Path, tmp_path: Path, headers: Any) -> None:
    assert bring_in(root, tmp_path, record(request_headers=headers)).imported == 2
    found = detail(root, 2).request
    assert found is not None
    assert [tuple(pair) for pair in found.headers or []] == [("Accept", "*/*"), ("X-Two", "a"), ("X-Two", "b")]


def test_long_and_foreign_header_values_come_in_as_their_bytes(root: Path, tmp_path: Path) -> None:
    headers = {"X-Long": "y" * 100_000, "X-Latin": "caf\xe9", "X-Utf": "日本", "X-Number": 5}
    assert bring_in(root, tmp_path, record(request_headers=headers)).imported == 2
    found = detail(root, 2).request
    assert found is not None
    values = dict(found.headers or [])
    assert len(values["X-Long"]) == 100_000
    assert (values["X-Latin"], values["X-Utf"], values["X-Number"]) == ("café", "日本", "5")


def test_p12_header_values_keep_every_byte_and_one_that_is_none_costs_itself_alone(root: Path, tmp_path: Path) -> None:
    octets = "".join(map(chr, range(0x80, 0x100)))
    headers = [{"name": "A"}, {"name": "X-Bytes", "value": octets}, {"name": "X-True", "value": True}]
    report = bring_in(root, tmp_path, record(request_headers=headers, request_url="http://e/\u00a0b\u200c"))
    assert (report.imported, report.damaged) == (2, 1)
    assert any("some of its headers are none" in warning for warning in report.warnings)
    found = detail(root, 2).request
    assert found is not None
    assert found.url == "http://e/%C2%A0b%E2%80%8C"
    assert [tuple(pair) for pair in found.headers or []] == [("X-Bytes", octets), ("X-True", "true")]


def test_the_dots_that_end_a_cut_preview_are_no_part_of_the_body(root: Path, tmp_path: Path) -> None:
    cut = record(request_bodyPreview="é" * 4096 + "...", request_bodySize=20_000)
    whole = record(request_bodyPreview="x" * 4096 + "...", request_bodySize=4099)
    short = record(request_bodyPreview="and so on...", request_bodySize=12)
    for one in (cut, whole, short):
        one.pop("requestBodyBase64", None)
    assert bring_in(root, tmp_path, cut, whole, short).imported == 4
    with imported(root) as session:
        pieces = session.raw_body(2, "request")
        assert next(pieces) == ("é" * 4096).encode()
        with pytest.raises(WiretapeError, match="8,192 of 20,000 bytes"):
            next(pieces)
        bodies = [b"".join(session.raw_body(seq, "request")) for seq in (3, 4)]
    assert bodies == [b"x" * 4096 + b"...", b"and so on..."]


def test_a_body_that_was_no_text_is_said_to_be_lost(root: Path, tmp_path: Path) -> None:
    lost = record(request_bodyPreview="a\ufffdb", request_bodySize=3)
    lost.pop("requestBodyBase64", None)
    report = bring_in(root, tmp_path, lost)
    assert report.imported == 2
    assert any(warning.startswith("1 bodies are lost") for warning in report.warnings)


def test_a_body_that_really_has_replacement_characters_is_not(root: Path, tmp_path: Path) -> None:
    whole = record(request_bodyPreview="a\ufffdb", request_bodySize=5)
    whole.pop("requestBodyBase64", None)
    assert bring_in(root, tmp_path, whole).warnings == []
    with imported(root) as session:
        assert b"".join(session.raw_body(2, "request")) == "a\ufffdb".encode()


def test_what_is_wrong_is_told_by_its_place_in_the_file(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    folder.mkdir()
    good = json.dumps(record()).encode()
    torn = b'{"seq":1,"caf\xff\xff\xe9": nonsense '
    (folder / "records.ndjson").write_bytes(good + b"\n" + torn + good.replace(b'{"seq": ', b'{"seq":') + b"\n")
    report = import_recording(root, folder)
    assert report.imported == 2
    assert f"{len(torn)} bytes at {len(good) + 1}:" in report.warnings[0]


def test_a_recording_that_comes_in_twice_says_so(root: Path, tmp_path: Path) -> None:
    first = bring_in(root, tmp_path)
    assert first.warnings == []
    assert first.session_id in bring_in(root, tmp_path).warnings[0]


def test_p8_a_body_of_any_length_costs_bounded_memory(root: Path, tmp_path: Path) -> None:
    body = random.Random(1).randbytes(1 << 20) * 24
    made = record()
    made["responseBodyBase64"] = base64.b64encode(body).decode()
    made["exchange"]["response"] |= {"bodySize": len(body), "headers": {}}
    folder = tmp_path / "recording"
    folder.mkdir()
    (folder / "records.ndjson").write_text(json.dumps(made) + "\n")
    del made
    tracemalloc.start()
    try:
        report = import_recording(root, folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (report.imported, report.warnings) == (1, [])
    assert peak < 20 << 20
    with imported(root) as session:
        at = 0
        for piece in session.raw_body(1, "response"):
            assert piece == body[at : at + len(piece)]
            at += len(piece)
    assert at == len(body)


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
    inner = list(value.items()) if isinstance(value, dict) else []
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from([place for place in _places(record()) if place]), _JSON), min_size=12, max_size=12
    )
)
def test_whatever_stands_in_a_record_costs_that_record_at_most(
    root: Path, tmp_path: Path, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    odd = [record() for _ in changes]
    for made, (path, value) in zip(odd, changes, strict=True):
        target = made
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value
    try:
        report = bring_in(root, tmp_path, *(one for made in odd for one in (made, record())))
    except UsageError:
        pytest.fail("half of the records were sound")
    assert report.imported + report.skipped == 1 + 2 * len(odd)
    assert report.imported >= 1 + len(odd)
    with Catalogue(root).open(report.session_id) as session:
        assert session.query().matched == report.imported
        assert session.verify(deep=True).state == "clean"
    shutil.rmtree(Catalogue(root).folder / report.session_id)
