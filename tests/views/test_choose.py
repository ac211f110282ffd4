"""Each kind of body is seen as what it is: by its content type, else by its first bytes."""

from __future__ import annotations

import struct
import zlib
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from wiretape.views.choose import TREES, VIEWS, choose, refined, see
from wiretape.views.limits import ViewError

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480) + b"\x08\x02\0\0\0" + bytes(20)


@pytest.mark.parametrize(
    ("content_type", "start", "view"),
    [
        ("application/json; charset=utf-8", b"{", "json"),
        ("application/problem+json", b"{", "json"),
        ("application/x-www-form-urlencoded", b"a=1", "form"),
        ("multipart/form-data; boundary=x", b"--x", "multipart"),
        ("application/grpc-web+proto", b"\0", "grpc"),
        ("application/x-protobuf", b"\x08\x01", "protobuf"),
        ("text/event-stream", b"data: x", "sse"),
        ("text/html", b"<p>", "html"),
        ("image/png", PNG, "image"),
        ("image/svg+xml", b"<svg>", "text"),
        ("text/plain", b'{"a":1}', "text"),
        ("application/x-ndjson", b"{}\n{}", "text"),
        ("video/mp4", b"\0", "hex"),
        (None, b'  {"a":1}', "json"),
        (None, b"<!DOCTYPE html><p>", "html"),
        (None, PNG, "image"),
        (None, b"event: x\n", "sse"),
        (None, b"eyJhbGciOiJub25lIn0.eyJhIjoxfQ.", "jwt"),
        (None, b"plain words \xc3", "text"),
        ("application/octet-stream", b"\0\1\2", "hex"),
        ("application/octet-stream", b"words", "text"),
        (None, b"", "text"),
    ],
)
def test_a_view_is_chosen_by_content_type_and_then_by_the_first_bytes(
    content_type: str | None, start: bytes, view: str
) -> None:
    assert choose(content_type, start) == view


def test_a_form_gives_its_fields_and_lists_for_names_that_come_again() -> None:
    found = see("form", b"a=1&b=x%20y&a=2&c=", None, "a=1&b=x%20y&a=2&c=")
    assert found == {"a": ["1", "2"], "b": "x y", "c": ""}


def test_parts_are_told_apart_and_files_are_not_shown_but_counted() -> None:
    body = (
        b'--X\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
        b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\nContent-Type: image/png\r\n\r\n'
        + b"\x00\xff" * 10
        + b"\r\n--X--\r\n"
    )
    assert see("multipart", body, 'multipart/form-data; boundary="X"', None) == [
        {"name": "note", "bytes": 5, "value": "hello"},
        {
            "name": "file",
            "filename": "a.bin",
            "type": "image/png",
            "bytes": 20,
            "sha256": sha256(b"\x00\xff" * 10).hexdigest(),
        },
    ]
    with pytest.raises(ViewError, match="does not occur"):
        see("multipart", b"no parts", "multipart/form-data; boundary=Y", None)


@pytest.mark.parametrize(
    ("query", "name", "operation", "fields"),
    [
        (
            'query Cart($id: ID = "a{") @x { cart(id: $id) { items { id } } mine: user { id } }',
            "Cart",
            "query",
            ["cart", "user"],
        ),
        ('mutation { applyCoupon(code: "}") { discount } }', None, "mutation", ["applyCoupon"]),
        ("{ me { name } ...F } fragment F on User { id }", None, "query", ["me"]),
        ("# query Not { x }\nsubscription OnPrice { price }", "OnPrice", "subscription", ["price"]),
    ],
)
def test_a_request_of_graphql_says_which_operation_it_is(
    query: str, name: str | None, operation: str, fields: list[str]
) -> None:
    view, found = refined("json", {"query": query, "variables": {"id": 7}})
    assert view == "graphql"
    assert (found["operation"], found.get("name"), found["fields"]) == (operation, name, fields)
    assert found["variables"] == {"id": 7}


def test_of_several_operations_the_one_that_is_named_counts() -> None:
    _, found = refined("json", {"query": "query A {a} query B {b}", "operationName": "B"})
    assert (found["name"], found["fields"]) == ("B", ["b"])
    assert refined("json", {"query": "shoes", "page": 1})[0] == "json"
    assert refined("json", {"operationName": "Persisted", "extensions": {"hash": "x"}})[1]["name"] == "Persisted"


def test_a_message_of_protobuf_is_read_without_its_schema() -> None:
    inner = b"\x0a\x08v_0042_1\x10\x07"
    message = b"\x0a\x05res_1\x10\x01" + b"\x1a" + bytes([len(inner)]) + inner + b"\x21" + struct.pack("<d", 2.5)
    assert see("protobuf", message, None, None) == {"1": "res_1", "2": 1, "3": {"1": "v_0042_1", "2": 7}, "4": 2.5}
    assert see("protobuf", b"\x08\x01\x08\x02", None, None) == {"1": [1, 2]}
    with pytest.raises(ViewError, match="not a Protocol Buffers message"):
        see("protobuf", b"\xff\xff\xff", None, None)


def test_messages_of_grpc_web_and_their_trailers_are_told_apart() -> None:
    trailers = b"grpc-status:0\r\ngrpc-message:OK\r\n"
    body = struct.pack(">BI", 0, 2) + b"\x08\x05" + struct.pack(">BI", 0x80, len(trailers)) + trailers
    shown = [{"1": 5}, {"trailers": {"grpc-status": "0", "grpc-message": "OK"}}]
    assert see("grpc", body, "application/grpc-web+proto", None) == shown
    packed = zlib.compressobj(wbits=31)
    zipped = packed.compress(b"\x08\x05") + packed.flush()
    assert see("grpc", struct.pack(">BI", 1, len(zipped)) + zipped, "application/grpc", None) == [{"1": 5}]
    assert see("grpc", struct.pack(">BI", 0, 9) + b"\x08", "application/grpc", None) == [{"incomplete": 1}]


def test_events_are_read_as_a_browser_reads_them() -> None:
    body = b': hi\n\nevent: a\r\nid: 7\r\ndata: {"x":1}\r\n\r\ndata: one\ndata: two\n\nretry: 5\n\ndata: half'
    assert see("sse", body, None, None) == [
        {"event": "a", "id": "7", "data": {"x": 1}},
        {"id": "7", "data": "one\ntwo"},
        {"id": "7", "data": "half", "complete": False},
    ]


def test_a_token_shows_header_and_claims_and_that_nobody_checked_it() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1XzEiLCJleHAiOjF9.c2ln"
    shown = {"header": {"alg": "HS256"}, "claims": {"sub": "u_1", "exp": 1}, "signature": "not checked"}
    assert see("jwt", b"", None, f"Bearer {token}") == shown
    assert see("jwt", b"", None, f'{{"token":"{token}"}}') == shown


def test_msgpack_is_shown_with_bytes_counted() -> None:
    data = msgspec.msgpack.encode({"a": [1, b"\0\1"], 5: None})
    assert see("msgpack", data, None, None) == {"a": [1, {"bytes": 2, "base64": "AAE="}], "5": None}


def test_a_page_is_shown_as_its_outline() -> None:
    page = (
        "<title>Shop &amp; more</title><h1>Hi</h1><form action=/login method=post>"
        "<input name=user><input name=p type=password></form>"
        "<a href=/a>x</a><a href=/a>y</a><script src=/s.js></script><script>1</script>"
    )
    assert see("html", b"", None, page) == {
        "title": "Shop & more",
        "headings": ["h1 Hi"],
        "forms": [{"method": "POST", "action": "/login", "fields": ["user:input", "p:password"]}],
        "links": ["/a"],
        "scripts": ["/s.js"],
        "inlineScripts": 1,
        "textCharacters": see("html", b"", None, page)["textCharacters"],
    }


@pytest.mark.parametrize(
    ("data", "kind", "size"),
    [
        (PNG, "image/png", (640, 480)),
        (b"GIF89a" + struct.pack("<HH", 3, 4), "image/gif", (3, 4)),
        (b"\xff\xd8\xff\xe0\0\4\0\0\xff\xc0\0\x11\x08\0\x10\0\x20" + bytes(9), "image/jpeg", (32, 16)),
        (b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x07\0\0\x0f\0\0", "image/webp", (8, 16)),
        (b"BM" + bytes(16) + struct.pack("<ii", 5, 6), "image/bmp", (5, 6)),
    ],
)
def test_an_image_says_its_type_and_size_and_never_its_bytes(data: bytes, kind: str, size: tuple[int, int]) -> None:
    assert see("image", data, None, None) == {
        "type": kind,
        "width": size[0],
        "height": size[1],
        "bytes": len(data),
        "sha256": sha256(data).hexdigest(),
    }


def test_hex_shows_offset_digits_and_letters() -> None:
    assert see("hex", b"GET /\0\xff", None, None) == f"00000000  {'47 45 54 20 2f 00 ff':<47}  GET /.."


def _nested_protobuf() -> bytes:
    data = b"\x08\x01"
    for _ in range(300):
        size, digits = len(data), b""
        while size > 0x7F:
            digits, size = digits + bytes([size & 0x7F | 0x80]), size >> 7
        data = b"\x0a" + digits + bytes([size]) + data
    return data


HOSTILE: dict[str, tuple[bytes, str | None]] = {
    "json": (b"[" * 100_000, None),
    "form": (b"a=1&" * 200_000, None),
    "multipart": (b"--x\r\n" * 100_000, "multipart/form-data; boundary=x"),
    "graphql": (b'{"query":"' + b"{a" * 100_000 + b'"}', None),
    "protobuf": (_nested_protobuf(), None),
    "grpc": (b"\0\xff\xff\xff\xff" + bytes(100), None),
    "sse": (b"data:x\n\n" * 150_000, None),
    "jwt": (b"eyJ" + b"a" * 100_000, None),
    "msgpack": (b"\x91" * 100_000, None),
    "html": (b"<div>" * 100_000, None),
    "image": (b"\xff\xd8" + b"\xff" * 100_000, None),
    "hex": (b"\0" * 1_000, None),
    "text": (b"\x1b[2J" * 1_000, None),
}


@pytest.mark.parametrize("view", VIEWS)
def test_hostile_bodies_are_shown_or_refused_in_a_sentence(view: Any) -> None:
    data, content_type = HOSTILE[view]
    refused = False
    try:
        found = see(view, data, content_type, data.decode("latin-1"))
    except ViewError as error:
        found = error.message
        refused = True
    assert msgspec.json.encode(found)
    assert not refused or "\n" not in found


@pytest.mark.parametrize("view", sorted(TREES))
def test_a_body_of_nothing_is_survived_by_every_view(view: Any) -> None:
    try:
        found = see(view, b"", None, "")
    except ViewError as error:
        found = error.hint
    assert msgspec.json.encode(found) != b'""'
