"""Which server a request-target means."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wiretape.errors import ProtocolError
from wiretape.wire.http1 import parse_authority, parse_request_head, split_target


def split(target: bytes, method: bytes = b"GET", host: bytes | None = b"h") -> tuple[str, str, int, bytes, bytes]:
    field_line = b"" if host is None else b"Host: " + host + b"\r\n"
    head = parse_request_head(method + b" " + target + b" HTTP/1.0\r\n" + field_line + b"\r\n")
    assert head is not None
    return split_target(head)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"http://a/", ("http", "a", 80, b"/", b"a")),
        (b"http://a", ("http", "a", 80, b"/", b"a")),
        (b"http://a?q", ("http", "a", 80, b"/?q", b"a")),
        (b"http://a?q=/b?c", ("http", "a", 80, b"/?q=/b?c", b"a")),
        (b"HTTP://A.Example:8080/B?C", ("http", "a.example", 8080, b"/B?C", b"A.Example:8080")),
        (b"https://a/b", ("https", "a", 443, b"/b", b"a")),
        (b"https://a:80/b", ("https", "a", 80, b"/b", b"a:80")),
        (b"http://a:/b", ("http", "a", 80, b"/b", b"a:")),
        (b"http://a:00080/b", ("http", "a", 80, b"/b", b"a:00080")),
        (b"http://127.0.0.1:1/", ("http", "127.0.0.1", 1, b"/", b"127.0.0.1:1")),
        (b"http://[::1]/x", ("http", "::1", 80, b"/x", b"[::1]")),
        (b"http://[FE80::A]:65535/x", ("http", "fe80::a", 65535, b"/x", b"[FE80::A]:65535")),
        (b"http://a//b//../c%2F%00?d#e", ("http", "a", 80, b"//b//../c%2F%00?d#e", b"a")),
        (b"http://a/http://b/", ("http", "a", 80, b"/http://b/", b"a")),
        (b"http://a/@b:c", ("http", "a", 80, b"/@b:c", b"a")),
        (b"http://a/\xc3\xa9", ("http", "a", 80, b"/\xc3\xa9", b"a")),
        (b"/", ("", "", 0, b"/", b"")),
        (b"//a/b", ("", "", 0, b"//a/b", b"")),
        (b"/\xff?\xfe", ("", "", 0, b"/\xff?\xfe", b"")),
    ],
)
def test_a_target_is_split_into_server_and_path(target: bytes, expected: tuple[str, str, int, bytes, bytes]) -> None:
    assert split(target) == expected


def test_options_may_be_about_the_server_as_a_whole() -> None:
    assert split(b"*", b"OPTIONS") == ("", "", 0, b"*", b"")
    assert split(b"http://a:8001", b"OPTIONS") == ("http", "a", 8001, b"*", b"a:8001")
    assert split(b"http://a/", b"OPTIONS")[3] == b"/"
    assert split(b"http://a?q", b"OPTIONS")[3] == b"/?q"


@pytest.mark.parametrize(
    ("target", "host", "authority"),
    [
        (b"http://a/", b"a", b"a"),
        (b"http://a/", b"A", b"A"),
        (b"http://a:80/", b"a", b"a"),
        (b"http://a/", b"a:80", b"a:80"),
        (b"https://a/", b"a:443", b"a:443"),
        (b"http://a/", b"a:443", b"a"),
        (b"http://a:8080/", b"a", b"a:8080"),
        (b"http://a/", b"b", b"a"),
        (b"http://a/", b"", b"a"),
        (b"http://a/", None, b"a"),
    ],
)
def test_the_clients_own_host_stays_where_it_means_the_same(
    target: bytes, host: bytes | None, authority: bytes
) -> None:
    assert split(target, host=host)[4] == authority


@pytest.mark.parametrize(
    "target",
    [
        *(
            b"*",
            b"a",
            b"a:80",
            b"?q",
            b"#f",
            b"ftp://a/",
            b"http:/a/",
            b"http:a",
            b"http://",
            b"http:///x",
            b"http://:80/",
        ),
        *(
            b"http://u@a/",
            b"http://u:p@a/",
            b"http://@a/",
            b"http://a@",
            b"http://a@b?c",
            b"http://a\\@b/",
            b"http://a\\b/",
        ),
        *(b"http://a#f", b"http://a#@b/", b"http://a%41/", b"http://a,b/", b"http://caf\xc3\xa9/", b"http://a;b/"),
        *(
            b"http://a:0/",
            b"http://a:65536/",
            b"http://a:99999/",
            b"http://a:100000/",
            b"http://a:+1/",
            b"http://a:8x/",
        ),
        *(b"http://[::1/", b"http://::1/", b"http://[::1]x/", b"http://[1::2::3]/", b"http://[fe80::1%25eth0]/"),
        *(b"http://[127.0.0.1]/", b"http://[]/", b"httpx://a/", b"http://" + b"a" * 256 + b"/"),
    ],
)
def test_a_target_that_is_not_plainly_one_server_is_refused(target: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        split(target)
    assert caught.value.status == 400
    assert caught.value.message.isprintable()


def test_user_information_is_named_as_the_reason() -> None:
    with pytest.raises(ProtocolError, match="user information"):
        split(b"http://user:secret@a/")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("a:443", ("a", 443)),
        ("A.Example.:1", ("a.example.", 1)),
        ("127.0.0.1:65535", ("127.0.0.1", 65535)),
        ("[::1]:8443", ("::1", 8443)),
        ("[::FFFF:127.0.0.1]:8443", ("::ffff:127.0.0.1", 8443)),
    ],
)
def test_an_authority_is_split_into_host_and_port(target: str, expected: tuple[str, int]) -> None:
    assert parse_authority(target) == expected


@pytest.mark.parametrize(
    "target",
    [
        *(
            "",
            "a",
            "a:",
            ":443",
            "a:0",
            "a:65536",
            "a:x",
            "a:4 3",
            "a:443 ",
            " a:443",
            "a:443\n",
            "a\r\nb:443",
            "a\x00:443",
        ),
        *("a:443/", "/a:443", "u@a:443", "a:1:2", "::1:443", "[::1]", "[::1]443", "[x]:443", "a,b:443", "h\xe9:443"),
        *("h\u0661:443", "a:\u0664\u0664\u0663", "a" * 256 + ":443"),
    ],
)
def test_an_authority_that_is_not_exactly_host_and_port_is_refused(target: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_authority(target)
    assert caught.value.status == 400
    assert caught.value.message.isascii()


@settings(deadline=None)
@given(
    st.text("abcXYZ019-._", min_size=1, max_size=40),
    st.integers(1, 65535),
    st.text("abc/?=&%@:#", max_size=20),
)
def test_any_server_is_found_again_in_a_target_made_of_it(host: str, port: int, path: str) -> None:
    target = f"http://{host}:{port}/{path}".encode()
    assert split(target) == ("http", host.lower(), port, f"/{path}".encode(), f"{host}:{port}".encode())
    assert parse_authority(f"{host}:{port}") == (host.lower(), port)


@settings(deadline=None)
@given(st.text(st.characters(codec="latin-1"), max_size=40))
def test_any_text_is_an_authority_or_refused(text: str) -> None:
    try:
        host, port = parse_authority(text)
    except ProtocolError:
        return
    assert text.lower() in {f"{host}:{port:0{len(text.rpartition(':')[2])}}", f"[{host}]:{text.rpartition(':')[2]}"}
