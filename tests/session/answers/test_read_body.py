"""A body, or the part of it that is asked for: small, whole where it is said to be, and true about what is missing."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brotli
import pytest

from harness.logs import Recording, flip_in, new_session, segment
from wiretape.errors import NotFoundError, UsageError, WiretapeError
from wiretape.log.format import EndState, FrameType
from wiretape.model import to_json
from wiretape.session.answers.body_file import body_file
from wiretape.session.answers.read_body import Wanted, read_body
from wiretape.session.catalogue import Catalogue
from wiretape.session.session import Session
from wiretape.views.limits import ViewError
from wiretape.views.path import NoMatchError

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\2\x80\0\0\1\xe0" + bytes(60_000)
PRODUCTS = {
    "meta": {"page": 2, "perPage": 150, "total": 600},
    "links": {"next": None},
    "data": [
        {
            "id": f"p_{number:04d}",
            "title": f"Nordic Parka {number}",
            "description": "waxed cotton, so it stays dry, and warm " * 20,
            "price": {"currency": "EUR", "net": number, "gross": number + 1},
            "variants": [
                {
                    "id": f"v_{number}_{size}",
                    "attributes": {"weightG": 1920, "labels": [{"code": "oeko", "since": 2023}]},
                }
                for size in ("S", "M", "L", "XL")
            ],
        }
        for number in range(150, 300)
    ],
}
PAGE = json.dumps(PRODUCTS).encode()
JSON, BROTLI = "Content-Type: application/json; charset=utf-8\r\n", "Content-Encoding: br\r\n"


class Hiding:
    """A veil that knows one secret and shows that it was given whole values."""

    def header(self, name: str, value: str) -> str:
        return self.text(value)

    def field(self, name: str, value: str) -> str:
        return "{{password:1}}" if name == "password" else self.text(value)

    def text(self, text: str) -> str:
        return text.replace("opensesame-12345", "{{token:2}}")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    root = tmp_path_factory.mktemp("bodies")
    made = new_session(root, "shop")
    recording = Recording(made)

    def answer(body: bytes, headers: str, **more: Any) -> int:
        seq = recording.open("https://shop.example/x")
        recording.done(seq, body, headers=headers, **more)
        return seq

    assert answer(brotli.compress(PAGE), JSON + BROTLI) == 1
    assert answer(PNG, "Content-Type: image/png\r\n") == 2
    assert answer(("word " * 2_000).encode(), "Content-Type: text/plain\r\n") == 3
    assert answer(b"\0\1\2binary" * 500, "Content-Type: application/octet-stream\r\n") == 4
    assert answer(b"", "") == 5
    secret = {"user": {"password": "hunter2!", "hint": "opensesame-12345"}, "log": "x opensesame-12345 y"}
    assert answer(json.dumps(secret).encode(), JSON) == 6
    assert answer(b'{"broken": ', JSON) == 7
    noise = json.dumps({"meta": random.Random(1).randbytes(20_000).hex()}).encode()
    preview = brotli.compress(noise, quality=1)
    assert answer(preview[:4096], JSON + BROTLI, size=len(preview)) == 8
    seq = recording.open("https://shop.example/ws")
    recording.done(seq, b"", status=101, headers="Upgrade: websocket\r\n", size=75)
    assert seq == 9
    seq = recording.open("https://shop.example/gone")
    recording.done(seq, b"", inline=False, state=EndState.FAILED, error="the server refused the connection", status=0)
    assert seq == 10
    seq = recording.open("https://shop.example/form", method="POST", body=b"user=ada&tag=a&tag=b")
    recording.done(seq, b"ok", request=b"user=ada&tag=a&tag=b")
    assert seq == 11
    assert answer(b"[" * 100_000, JSON) == 12
    assert answer(zlib.compress(b"0" * 20_000_000), "Content-Type: text/plain\r\nContent-Encoding: deflate\r\n") == 13
    seq = recording.open("https://shop.example/long")
    recording.head(seq, headers="Content-Type: text/plain\r\n")
    for at in range(3):
        recording.chunk(seq, at * 1000, bytes([65 + at]) * 1000, kind=FrameType.RESPONSE_BODY)
    recording.done(seq, b"A" * 1000 + b"B" * 1000 + b"C" * 1000, inline=False)
    assert seq == 14
    recording.close()
    flip_in(segment(made), b"B" * 1000)
    with Catalogue(root).open("shop") as opened:
        yield opened


def ask(session: Session, seq: int, side: Any = "response", *, veil: Any = None, **wanted: Any) -> dict[str, Any]:
    answer = read_body(session, seq, side, Wanted(**wanted), **({} if veil is None else {"veil": veil}))
    found: dict[str, Any] = to_json(answer)
    return found


# -- job 9 ------------------------------------------------------------------------------------------------------------


def test_the_shape_of_a_page_of_products_costs_a_hundred_tokens(session: Session) -> None:
    found = ask(session, 1, shape=True)
    assert found == {
        "seq": 1,
        "side": "response",
        "complete": True,
        "type": "application/json; charset=utf-8",
        "bytes": len(PAGE),
        "shape": "{meta:{page:int,perPage:int,total:int},links:{next:null},data:[150 x {id:str,title:str,"
        "description:str,price:{currency:str,net:int,gross:int},variants:[4 x {id:str,attributes:{weightG:int,"
        "labels:[1 x {code:str,since:int}]}}]}]}",
        "try": "path=/data/*[id=p_0150]/price",
    }
    assert len(json.dumps(found)) / 4 < 139 * 1.3


@pytest.mark.parametrize(
    "path",
    [
        "/data/*[id=p_0270]/variants/2/attributes",
        '$.data[?(@.id=="p_0270")].variants[2].attributes',
        ".data[120].variants[2].attributes",
    ],
)
def test_one_field_of_a_big_body_is_found_by_its_path_in_any_notation(session: Session, path: str) -> None:
    found = ask(session, 1, path=path)
    value = {"weightG": 1920, "labels": [{"code": "oeko", "since": 2023}]}
    assert found == {
        "seq": 1,
        "side": "response",
        "complete": True,
        "path": path,
        "matches": [{"path": "/data/120/variants/2/attributes", "value": value}],
        "of": 1,
        "bodyBytes": len(PAGE),
    }
    assert len(json.dumps(found)) / 4 < 59 * 1.3


def test_more_matches_than_fit_are_counted_and_a_value_too_long_gives_its_shape(session: Session) -> None:
    found = ask(session, 1, path="/data/*/id", length=200)
    assert found["of"] == 150
    assert 0 < len(found["matches"]) < 10
    assert found["left"] == 150 - len(found["matches"])
    [match] = ask(session, 1, path="/data", length=300)["matches"]
    assert match["shape"].startswith("[150 x {id:str")
    assert match["bytes"] > 100_000


def test_where_nothing_is_at_a_path_the_error_says_what_there_is(session: Session) -> None:
    with pytest.raises(NoMatchError, match="/data/0 exists and has id, title, description, price, variants"):
        ask(session, 1, path="/data/0/cost")


def test_big_json_is_shown_as_its_shape_and_first_element_and_small_json_whole(session: Session) -> None:
    found = ask(session, 1)
    assert found["shape"].startswith("{meta:")
    assert found["first"]["id"] == "p_0150"
    assert len(json.dumps(found)) < 4_000
    assert ask(session, 6)["value"]["user"]["hint"] == "opensesame-12345"


def test_grep_finds_values_with_their_path_and_context(session: Session) -> None:
    found = ask(session, 1, grep="parka 27")
    assert found["of"] == 10
    assert found["hits"]["columns"] == ["path", "text"]
    assert found["hits"]["rows"][0] == ["/data/120/title", "Nordic Parka 270"]
    assert ask(session, 1, grep='"id": "p_0270"')["hits"]["columns"] == ["at", "text"]
    assert ask(session, 1, grep="/p_02[78]0/")["of"] == 2


def test_p11_a_grep_that_looks_like_an_expression_and_finds_nothing_says_that_it_was_taken_literally(
    session: Session,
) -> None:
    found = ask(session, 3, grep=r"w\w+d")
    assert (found["of"], found["note"]) == (
        0,
        "grep takes text literally; /.../ around it makes it a regular expression.",
    )
    assert ask(session, 3, grep=r"/w\w+d/")["of"] == 2_000
    with pytest.raises(UsageError, match="not a regular expression"):
        ask(session, 3, grep="/(/")


def test_a_regular_expression_that_would_explode_elsewhere_takes_no_time(session: Session) -> None:
    assert ask(session, 3, grep="/(w+o*)+$x/")["of"] == 0


def test_text_is_read_on_by_its_offset(session: Session) -> None:
    first = ask(session, 3)
    assert (first["text"], first["left"], first["next"]) == ("word " * 800, 6_000, "offset=4000")
    last = ask(session, 3, offset=9_995)
    assert (last["text"], last.get("left")) == ("word ", None)
    with pytest.raises(UsageError, match="has 10000 characters"):
        ask(session, 3, offset=10_001)


def test_an_image_and_other_bytes_never_come_as_base64(session: Session) -> None:
    found = ask(session, 2)["value"]
    assert (found["type"], found["width"], found["height"], found["bytes"]) == ("image/png", 640, 480, len(PNG))
    shown = ask(session, 4)
    assert shown["view"] == "hex"
    assert shown["text"].splitlines()[0].endswith("  ...binary...bina")
    assert shown["left"] == 4_500 - 50 * 16
    assert ask(session, 4, offset=4_496)["text"].startswith("00001190  ")


def test_a_form_has_paths_and_a_shape_too(session: Session) -> None:
    assert ask(session, 11, "request", view="form")["value"] == {"user": "ada", "tag": ["a", "b"]}
    assert ask(session, 11, "request", view="form", path="/tag/*")["of"] == 2


def test_an_empty_body_is_said_to_be_empty(session: Session) -> None:
    assert ask(session, 5) == {"seq": 5, "side": "response", "complete": True, "bytes": 0}


def test_what_is_no_json_though_its_header_says_so_is_shown_as_text(session: Session) -> None:
    assert ask(session, 7)["text"] == '{"broken": '
    with pytest.raises(ViewError, match="This is not JSON"):
        ask(session, 7, view="json")


def test_nesting_of_100_000_is_refused_with_a_sentence_and_can_still_be_read_as_text(session: Session) -> None:
    with pytest.raises(ViewError, match="nested deeper"):
        ask(session, 12, shape=True)
    assert ask(session, 12)["text"] == "[" * 4_000
    assert ask(session, 12, grep="[[[")["of"] == 33_333


def test_p8_of_a_body_that_unfolds_to_20_mb_the_first_16_are_looked_at_and_that_is_said(session: Session) -> None:
    found = ask(session, 13)
    assert (found["complete"], found["missing"]) == (False, "Only the first 16,777,216 bytes were looked at.")


# -- what is not there ------------------------------------------------------------------------------------------------


def test_p11_of_a_preview_it_says_how_much_was_recorded_and_shows_what_decodes(session: Session) -> None:
    found = ask(session, 8, view="text")
    assert found["complete"] is False
    assert found["missing"].startswith("Only the first 4,096 of ")
    assert "the profile preview keeps 4,096 bytes" in found["missing"]
    assert found["text"].startswith('{"meta"')


def test_p11_of_an_upgrade_nothing_was_recorded_and_no_empty_body_is_made_of_that(session: Session, root: Path) -> None:
    with pytest.raises(WiretapeError, match=r"None of the 75 bytes .* what follows an upgrade is passed on") as raised:
        ask(session, 9)
    assert raised.value.code == "not-recorded"
    with pytest.raises(WiretapeError, match="None of the 75 bytes"):
        body_file(session, 9, "response", root / "empty")
    assert not (root / "empty").exists()


def test_p11_a_failed_exchange_has_no_response_and_says_why(session: Session) -> None:
    with pytest.raises(NotFoundError, match="Exchange 10 has no response: it failed: the server refused"):
        ask(session, 10)


def test_p4_of_a_damaged_body_the_lost_range_is_named(session: Session) -> None:
    found = ask(session, 14)
    assert found["complete"] is False
    assert "has lost its bytes 1000 to 2000 to damage" in found["missing"]
    assert found["text"].startswith("A" * 1000)


def test_what_is_asked_for_together_and_means_nothing_is_refused(session: Session) -> None:
    for wanted in ({"path": "/a", "grep": "x"}, {"shape": True, "offset": 1}, {"view": "hex", "path": "/a"}):
        with pytest.raises(UsageError):
            ask(session, 1, **wanted)
    with pytest.raises(UsageError, match="wants a text"):
        ask(session, 1, grep="")


# -- secrets and files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"path": "/user"},
        {"path": "/user/hint"},
        {"grep": "opensesame"},
        {"grep": "x"},
        {"offset": 0, "length": 60},
        {"offset": 50, "length": 20},
        {"view": "hex"},
        {"shape": True},
    ],
)
def test_p18_the_veil_sees_whole_values_before_anything_is_cut_or_searched(
    session: Session, wanted: dict[str, Any]
) -> None:
    shown = json.dumps(ask(session, 6, veil=Hiding(), **wanted))
    assert "opensesame" not in shown
    assert "12345" not in shown
    if "path" in wanted or not wanted:
        assert "hunter2" not in shown


def test_a_body_goes_into_a_new_private_file_and_never_over_another(session: Session, root: Path) -> None:
    target = root / "exports" / "page.json"
    target.parent.mkdir(parents=True)
    found = to_json(body_file(session, 1, "response", target))
    assert target.read_bytes() == PAGE
    assert target.stat().st_mode & 0o777 == 0o600
    assert (found["bytes"], found["complete"]) == (len(PAGE), True)
    with pytest.raises(UsageError, match="not written over"):
        body_file(session, 1, "response", target)
    assert [path.name for path in target.parent.iterdir()] == ["page.json"]


def test_p11_a_file_of_a_preview_says_that_it_is_not_whole(session: Session, tmp_path: Path) -> None:
    found = body_file(session, 8, "response", tmp_path / "half.json")
    assert not found.complete
    assert "Only the first 4,096 of" in (found.missing or "")
    assert (tmp_path / "half.json").read_bytes().startswith(b'{"meta": "')
    assert (tmp_path / "half.json").stat().st_size == found.bytes > 4_096
