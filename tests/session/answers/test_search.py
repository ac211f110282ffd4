"""Search: in every encoding, everywhere in an exchange, with the place of each hit and an account of the rest."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.logs import Recording, new_session
from wiretape.errors import UsageError
from wiretape.log.format import FrameType, MessageSeen
from wiretape.model import Filter, to_json
from wiretape.secrets.veil import UNVEILED
from wiretape.session.answers.search import SearchPage, search
from wiretape.session.catalogue import SessionDir
from wiretape.session.query.account import CUT
from wiretape.session.query.needles import LITERAL, Needle
from wiretape.session.session import Session

EMAIL = "ada.byron@marketplace.example"
CSRF = "I1LhXZ/ab+cdefghijklmnopqrstuvtB0=="
JSON = "Content-Type: application/json\r\n"


def token(claims: dict[str, Any]) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in ({"alg": "HS256"}, claims)
    ]
    return f"{parts[0]}.{parts[1]}.c2lnbmF0dXJl"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    made = new_session(tmp_path_factory.mktemp("root"))
    recording = Recording(made)
    login = recording.open(
        "https://shop.example/login", method="POST", headers=JSON, body=b'{"email":"%s"}' % EMAIL.encode()
    )
    assert login == 1
    cookie = "Set-Cookie: csrf=I1LhXZ%2Fab%2BcdefghijklmnopqrstuvtB0%3D%3D; Path=/\r\n"
    recording.done(login, b'{"data":{"accessToken":"%s"}}' % token({"email": EMAIL}).encode(), headers=JSON + cookie)
    items = [{"id": f"p_{number:04d}", "labels": [{"code": "oeko"}]} for number in range(300)]
    recording.zipped("https://shop.example/products", json.dumps({"data": items}).encode())
    cart = recording.open("https://shop.example/cart?coupon=caf%C3%A9", headers=f"X-Csrf-Token: {CSRF}\r\n")
    recording.done(cart, "Café au lait".encode("latin-1"), headers="Content-Type: text/plain; charset=iso-8859-1\r\n")
    recording.large("https://shop.example/big", b"x" * 100_000 + b" the needle " + b"y" * 100_000)
    image = recording.open("https://shop.example/a.png")
    recording.done(image, b"\x89PNG needle", headers="Content-Type: image/png\r\n")
    cut = recording.open("https://shop.example/cut")
    recording.done(cut, b"only the beginn", size=1000)
    pairs, kind = b"card=42&owner=Ada+Byron", "Content-Type: application/x-www-form-urlencoded\r\n"
    form = recording.open("https://shop.example/pay", method="POST", headers=kind, body=pairs)
    recording.done(form, b"", status=204, headers="", request=pairs)
    recording.close()
    with Session(made.path, made.session_id) as opened:
        yield opened


def look(session: Session, pattern: str, **options: Any) -> SearchPage:
    return search(session, pattern, veil=UNVEILED, **options)


def places(page: SearchPage) -> dict[int, list[str]]:
    return {item.seq: [item.in_, *item.also] for item in page.items}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("p_0270", {2: ["response.body/data/270/id"]}),
        ("coupon=", {3: ["request.url"]}),
        ("SHOP.example/BIG", {4: ["request.url"]}),
        ("the needle", {4: ["response.body"]}),
        ("Ada Byron", {7: ["request.body/owner"]}),
        ("iso-8859", {3: ["response.header.Content-Type"]}),
        ("Café au", {3: ["response.body"]}),
        ("nothing like that", {}),
    ],
)
def test_each_hit_says_where_it_stands(session: Session, pattern: str, expected: dict[int, list[str]]) -> None:
    page = look(session, pattern)
    assert places(page) == expected
    assert page.matched == len(expected)


def test_a_text_is_found_in_every_encoding_and_the_encoding_is_told(session: Session) -> None:
    page = look(session, CSRF)
    assert [(item.seq, item.in_, item.encoding) for item in page.items] == [
        (1, "response.header.Set-Cookie", "percent"),
        (3, "request.header.X-Csrf-Token", "plain"),
    ]
    page = look(session, EMAIL)
    assert [(item.seq, item.in_, item.encoding) for item in page.items] == [
        (1, "response.body/data/accessToken", "jwt-payload")
    ]
    assert page.items[0].also == ["request.body/email"]
    assert page.coverage.encodings == ["plain", "percent", "base64", "json", "jwt-payload", "hex"]


@pytest.mark.parametrize(
    "written",
    [
        "a/b cé?d",
        "a%2Fb%20c%C3%A9%3Fd",
        "a%2fb+c%c3%a9%3fd",
        "a\\/b c\\u00e9?d",
        "a/b c\\u00E9?d",
        "a/b cé?d".encode().hex().upper(),
        *(base64.b64encode(b"x" * before + "a/b cé?d".encode() + b"yz").decode() for before in range(4)),
        *(base64.urlsafe_b64encode(b"x" * before + "a/b cé?d".encode() + b"yz").decode() for before in range(4)),
    ],
)
def test_every_encoding_of_a_text_is_one_of_its_needles(written: str) -> None:
    assert Needle("a/b cé?d").find(f"...{written}...".encode()) is not None


def test_40_characters_around_a_hit_are_shown(session: Session) -> None:
    snippet = look(session, "the needle").items[0].snippet
    assert snippet == f"…{'x' * 39} the needle {'y' * 39}…"


def test_what_was_not_searched_is_named(session: Session) -> None:
    page = look(session, "needle")
    assert places(page) == {4: ["response.body"]}
    assert to_json(page)["coverage"]["notSearched"] == {
        "image, sound, font or archive": 1,
        "not recorded whole": 1,
    }
    assert page.coverage.missing == {"image, sound, font or archive": [5], "not recorded whole": [6]}
    assert page.coverage.searched == 7
    assert page.coverage.complete is False


def test_sides_filters_and_types_narrow_the_search(session: Session) -> None:
    assert places(look(session, EMAIL, sides="request")) == {1: ["request.body/email"]}
    assert places(look(session, "e", wanted=Filter(method="POST"), sides="request")).keys() == {1, 7}
    assert places(look(session, "oeko", content_type="text/plain")).keys() == {2}
    assert look(session, "oeko", content_type="json").matched == 0


def test_regular_expressions_are_linear_and_case_can_count(session: Session) -> None:
    page = look(session, r"p_02[67]\d", regex=True)
    assert places(page)[2][0] == "response.body/data/260/id"
    assert look(session, "(a+)+$", regex=True).coverage.searched == 7
    assert look(session, "CAFÉ", case_sensitive=True).matched == 0
    assert look(session, "CAFÉ").matched == 1
    assert places(look(session, "^only the", regex=True)) == {6: ["response.body"]}


@pytest.mark.parametrize("pattern", ["(", r"(a)\1", "(?=x)", "a{1000}{1000}{1000}", "[z-a]"])
def test_what_is_no_regular_expression_is_a_clear_error(session: Session, pattern: str) -> None:
    with pytest.raises(UsageError, match="not a regular expression"):
        look(session, pattern, regex=True)


@pytest.mark.parametrize("pattern", ["", "a" * 9000, "\ud800"])
def test_what_is_no_pattern_is_a_clear_error(session: Session, pattern: str) -> None:
    with pytest.raises(UsageError):
        look(session, pattern)


def test_pages_follow_each_other_and_account_for_every_exchange(session: Session) -> None:
    page = look(session, "shop.example", limit=2, seconds=0)
    seqs = [item.seq for item in page.items]
    while page.next_cursor is not None:
        assert isinstance(page.matched_at_least, int)
        page = look(session, "shop.example", limit=2, cursor=page.next_cursor, seconds=0)
        seqs += [item.seq for item in page.items]
    assert seqs == [1, 2, 3, 4, 5, 6, 7]
    assert page.matched == 7
    limited = look(session, "no such text", max_scan=3)
    assert limited.coverage.searched == 3
    assert limited.coverage.complete is False
    assert limited.next_cursor is not None
    assert limited.next_cursor is not None
    assert look(session, "no such text", cursor=limited.next_cursor).coverage.searched == 4
    for cursor in ("s1.x", "s1.1.1.1", limited.next_cursor, "s1.1.1.1.1"):
        with pytest.raises(UsageError, match="cursor"):
            look(session, "a", cursor=cursor)


def test_hostile_bodies_cost_bounded_time_and_are_searched(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    deep = recording.open("http://example.com/deep")
    recording.done(deep, b"[" * 100_000 + b'"needle"' + b"]" * 100_000, headers=JSON)
    broken = recording.open("http://example.com/broken")
    recording.done(broken, b'{"a":"needle', headers=JSON)
    bomb = recording.open("http://example.com/bomb")
    recording.done(bomb, gzip.compress(bytes(80_000_000)), headers="Content-Encoding: gzip\r\n")
    wrong = recording.open("http://example.com/wrong")
    recording.done(wrong, b"not gzip at all", headers="Content-Encoding: gzip\r\n")
    running = recording.open("http://example.com/running")
    recording.head(running)
    recording.chunk(running, 0, b"a needle ")
    with Session(made.path, made.session_id) as session:
        page = look(session, "needle")
        assert places(page) == {deep: ["response.body"], broken: ["response.body/a"], running: ["response.body"]}
        assert page.coverage.not_searched["content coding could not be removed"] == 2
        assert page.coverage.missing["content coding could not be removed"] == [bomb, wrong]
    recording.close()


class Hiding:
    """A veil that hides one word."""

    def header(self, name: str, value: str) -> str:
        return self.text(value)

    def field(self, name: str, value: str) -> str:
        return self.text(value)

    def text(self, text: str) -> str:
        return text.replace("hunter2!x", "{{password:cb1ade}}")


def test_p18_what_a_veil_hides_is_neither_shown_nor_guessed(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    seq = recording.open("http://example.com/", headers="Authorization: hunter2!x\r\nX-Other: plain\r\n")
    recording.done(seq, b'{"password":"hunter2!x","name":"ada"}', headers=JSON)
    recording.close()
    with Session(made.path, made.session_id) as session:
        for guess in ("hunter2", "nter2!x", "hunter2!"):
            assert search(session, guess, veil=Hiding()).matched == 0
        for guess in ("h.nter2", "hunter2!x", "Authorization: h"):
            assert search(session, guess, veil=Hiding(), regex=True).matched == 0
        page = search(session, "hunter2!x", veil=Hiding())
        assert places(page) == {seq: ["response.body/password", "request.header.Authorization"]}
        assert "hunter" not in json.dumps(to_json(page))
        assert search(session, '"ada', veil=Hiding()).items[0].snippet == '"ada"'
        assert (
            "Secrets are not searched by regular expression."
            in search(session, "ada", veil=Hiding(), regex=True).coverage.notes
        )


EVENTS = b'data: {"n":1}\n\nevent: more\ndata: {"delta":{"text":"a needle"}}\n\n'


def framed(*messages: bytes, compressed: bool = False) -> bytes:
    """Return messages as gRPC frames them, each with one field of protobuf."""
    fields = [b"\x0a" + bytes([len(one)]) + one for one in messages]
    if compressed:
        fields = [gzip.compress(one, mtime=0) for one in fields]
    return b"".join(struct.pack(">BI", compressed, len(one)) + one for one in fields)


def talked(root: Path) -> tuple[SessionDir, list[int]]:
    """Record a WebSocket, a stream of events and two bodies of gRPC in which there is a needle."""
    made = new_session(root)
    recording = Recording(made)
    upgraded = recording.open("https://shop.example/ws")
    recording.message(upgraded, 1, b'{"op":"sub","id":"needle 1"}', response=False)
    recording.message(upgraded, 1, b"hello")
    recording.message(upgraded, 2, b'{"items":[{"note":"a needle"}]}')
    recording.done(upgraded, b"", status=101, headers="")
    stream = recording.open("https://shop.example/events")
    recording.done(stream, EVENTS, headers="Content-Type: text/event-stream\r\n")
    calls = []
    for compressed in (False, True):
        call = recording.open("https://shop.example/grpc", method="POST")
        body = framed(b"hay", b"a needle", compressed=compressed)
        recording.done(call, body, headers="Content-Type: application/grpc-web+proto\r\n")
        calls.append(call)
    recording.close()
    return made, [upgraded, stream, *calls]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("x-tight: needle", "request.header.X-Tight"),
        ("of two lines", "response.header.X-Folded"),
        ("x-wide: three", "request.header.X-Wide"),
        ("GRÜSSE", "response.header.X-Latin"),
    ],
)
def test_p11_a_header_is_found_as_it_is_shown_however_it_was_sent(root: Path, text: str, where: str) -> None:
    made = new_session(root)
    recording = Recording(made)
    seq = recording.open(headers="X-Tight:needle\r\nX-Wide:  \t three \r\n")
    recording.done(seq, b"", headers="X-Folded: of two\r\n\tlines\r\nX-Latin: gr\xfcsse\r\n")
    recording.exchange()
    recording.close()
    with Session(made.path, made.session_id) as opened:
        assert places(look(opened, text)) == {seq: [where]}


def test_messages_are_searched_and_their_places_told(root: Path) -> None:
    made, (upgraded, stream, *calls) = talked(root)
    with Session(made.path, made.session_id) as opened:
        page = look(opened, "needle")
        assert places(page) == {
            upgraded: ["message.2/items/0/note", "message.1/id"],
            stream: ["message.2/delta/text"],
            calls[0]: ["message.2"],
            calls[1]: ["message.2"],
        }
        assert page.coverage.complete is True
        assert page.items[0].snippet == '"a needle"'
        assert places(look(opened, "needle", sides="request")) == {upgraded: ["message.1/id"]}
        assert places(look(opened, "nee[d]le", regex=True)) == places(page)
        assert look(opened, "needle", content_type="json").matched == 0


@pytest.mark.parametrize("indexed", [False, True])
def test_filters_find_the_same_messages_as_grep(root: Path, indexed: bool) -> None:
    made, seqs = talked(root)
    with Session(made.path, made.session_id) as opened:
        opened.follow()
        if indexed:
            opened.index_more(2**40, lambda: None)
        found = list(places(look(opened, "needle")))
        assert found == seqs
        assert list(opened.chosen(Filter(text="needle")).seqs) == seqs
        assert list(opened.chosen(Filter(expression="~b 'needle'")).seqs) == seqs
        assert look(opened, "needle").coverage.indexed_through == (seqs[-1] if indexed else 0)


def test_p11_a_call_of_grpc_is_read_also_where_its_answer_is_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wiretape.session.query.selection._SCAN_FROM", 0)
    made = new_session(root)
    recording = Recording(made)
    body = framed(b"a needle", compressed=True)
    seq = recording.open(method="POST", headers="Content-Type: application/grpc\r\n", body=body)
    recording.done(seq, b"busy", status=503, request=body)
    recording.close()
    with Session(made.path, made.session_id) as opened:
        assert places(look(opened, "needle")) == {seq: ["message.1"]}
        assert list(opened.chosen(Filter(text="needle")).seqs) == [seq]
        assert list(opened.chosen(Filter(expression="~b 'needle'")).seqs) == [seq]


def test_p11_a_message_that_is_not_whole_is_named(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    upgraded = recording.open("https://shop.example/ws")
    recording.writer.append(FrameType.MESSAGE, upgraded, MessageSeen(1_000, 1, 1, "", 100), b"only the begin")
    recording.done(upgraded, b"", status=101, headers="")
    silent = recording.open("https://shop.example/tunnel")
    recording.done(silent, b"", status=101, headers="", size=75)
    recording.close()
    with Session(made.path, made.session_id) as opened:
        page = look(opened, "needle")
        notes = opened.query(Filter(text="needle")).coverage.notes
    assert not page.items
    assert page.coverage.missing == {CUT: [upgraded], "not recorded whole": [silent]}
    assert page.coverage.complete is False
    assert [f"{CUT} (seq {upgraded})" in notes[0], f"(seq {silent})" in notes[1]] == [True, True]


def test_p11_what_an_interrupted_exchange_lacks_is_named(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    seq = recording.open("http://example.com/half")
    recording.head(seq)
    recording.chunk(seq, 0, b"half of")
    with Session(made.path, made.session_id) as opened:
        assert look(opened, "needle").coverage.missing == {"still running": [seq]}
        recording.kill()
        assert look(opened, "needle").coverage.missing == {"not recorded whole": [seq]}


def test_p18_secrets_in_messages_are_neither_shown_nor_guessed(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    upgraded = recording.open("https://shop.example/ws")
    recording.message(upgraded, 1, b'{"password":"hunter2!x"}', response=False)
    recording.done(upgraded, b"", status=101, headers="")
    recording.close()
    with Session(made.path, made.session_id) as opened:
        assert search(opened, "nter2!", veil=Hiding()).matched == 0
        page = search(opened, "hunter2!x", veil=Hiding())
    assert places(page) == {upgraded: ["message.1/password"]}
    assert "hunter" not in json.dumps(to_json(page))


@pytest.mark.parametrize("text", ["[a-z]+@.*", r"p_\d\d", "(ada|bob)", "^only"])
def test_a_text_that_looks_like_an_expression_and_is_found_nowhere_gets_a_note(session: Session, text: str) -> None:
    assert LITERAL in look(session, text).coverage.notes
    assert LITERAL in session.query(Filter(text=text)).coverage.notes


@pytest.mark.parametrize("text", ["nothing like that", "a.b.c", "f(x)", "[1,2]", "1+1", "C:\\\\x"])
def test_other_texts_get_none(session: Session, text: str) -> None:
    assert LITERAL not in look(session, text).coverage.notes
