"""What a request head is read as, and what is sent on in its place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.strategies import field_names, fields, lines, methods, paths
from wiretape.errors import ProtocolError
from wiretape.wire.http1 import CHUNKED, LENGTH, MAX_HEAD, NO_BODY, RequestHead, parse_request_head

BROWSER = (
    b"GET http://shop.example:8000/basket?item=7 HTTP/1.1\r\n"
    b"Host: shop.example:8000\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    b"ACCEPT:text/html\r\n"
    b"Accept-Language: \t en-US,en;q=0.5 \t\r\n"
    b"Cookie: a=1\r\n"
    b"cookie: b=2\r\n"
    b"X-Note: caf\xc3\xa9\r\n"
    b"X-Empty:\r\n"
    b"Proxy-Connection: keep-alive\r\n"
    b"\r\n"
)


def parse(raw: bytes) -> RequestHead:
    head = parse_request_head(raw)
    assert head is not None
    return head


def with_fields(*field_lines: bytes, start: bytes = b"POST / HTTP/1.1", host: bytes = b"Host: h\r\n") -> RequestHead:
    return parse(start + b"\r\n" + host + b"".join(line + b"\r\n" for line in field_lines) + b"\r\n")


def sent(*field_lines: bytes, upgrade: bool = False) -> list[bytes]:
    """Give the field lines sent on for a request with the given ones, Host left out."""
    start, host, *rest = with_fields(*field_lines).forward(b"/", upgrade=upgrade).split(b"\r\n")
    assert (start, host, rest[-2:]) == (b"POST / HTTP/1.1", b"Host: h", [b"", b""])
    return rest[:-2]


def test_a_browsers_request_is_read_as_it_was_sent() -> None:
    head = parse(BROWSER)
    assert head.raw == BROWSER
    assert head.consumed == len(BROWSER)
    assert (head.method, head.target, head.minor) == ("GET", "http://shop.example:8000/basket?item=7", 1)
    assert (head.framing, head.content_length) == (NO_BODY, 0)
    assert (head.keep_alive, head.expect_continue, head.upgrade) == (True, False, None)
    assert head.host == b"shop.example:8000"
    assert repr(head) == "<RequestHead GET 'http://shop.example:8000/basket?item=7' HTTP/1.1>"


def test_p12_headers_keep_order_case_and_duplicates() -> None:
    assert parse(BROWSER).headers() == [
        (b"Host", b"shop.example:8000"),
        (b"User-Agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        (b"ACCEPT", b"text/html"),
        (b"Accept-Language", b"en-US,en;q=0.5"),
        (b"Cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"X-Note", b"caf\xc3\xa9"),
        (b"X-Empty", b""),
        (b"Proxy-Connection", b"keep-alive"),
    ]


def test_p12_what_is_sent_on_differs_in_target_and_hop_by_hop_fields_alone() -> None:
    expected = BROWSER.replace(b"http://shop.example:8000/basket", b"/basket").replace(
        b"Proxy-Connection: keep-alive\r\n", b""
    )
    assert parse(BROWSER).forward(b"/basket?item=7", host=b"shop.example:8000") == expected


@pytest.mark.parametrize("size", range(len(BROWSER)))
def test_a_head_cut_anywhere_is_unfinished(size: int) -> None:
    assert parse_request_head(BROWSER[:size]) is None


@pytest.mark.parametrize("size", range(24))
def test_what_follows_the_head_is_left_alone(size: int) -> None:
    following = b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"[:size]
    head = parse(BROWSER + following)
    assert (head.raw, head.consumed) == (BROWSER, len(BROWSER))


def test_two_pipelined_requests_are_read_one_after_the_other() -> None:
    first = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
    second = b"GET /2 HTTP/1.1\r\nHost: b\r\n\r\n"
    head = parse(first + second)
    assert (head.raw, head.target) == (first, "/1")
    head = parse((first + second)[head.consumed :])
    assert (head.raw, head.target) == (second, "/2")


@pytest.mark.parametrize("empty_lines", [1, 2, 7])
def test_empty_lines_before_the_request_line_are_skipped_and_counted(empty_lines: int) -> None:
    before = b"\r\n" * empty_lines
    buf = before + BROWSER
    assert all(parse_request_head(buf[:size]) is None for size in range(len(buf)))
    head = parse(buf + b"rest")
    assert (head.raw, head.consumed) == (BROWSER, len(buf))


def test_a_head_without_any_field_is_whole() -> None:
    head = parse(b"GET / HTTP/1.0\r\n\r\n")
    assert (head.minor, head.keep_alive, head.host, head.headers()) == (0, False, None, [])
    assert head.forward(b"/", host=b"h") == b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    assert head.forward(b"/") == b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    ("field_lines", "framing", "length"),
    [
        ([], NO_BODY, 0),
        ([b"Content-Length: 0"], NO_BODY, 0),
        ([b"content-length:5"], LENGTH, 5),
        ([b"CONTENT-LENGTH: \t0007 \t"], LENGTH, 7),
        ([b"Content-Length: 999999999999999999"], LENGTH, 999999999999999999),
        ([b"Transfer-Encoding: chunked"], CHUNKED, -1),
        ([b"transfer-encoding:\tChunKed "], CHUNKED, -1),
    ],
)
def test_the_body_is_framed_by_its_length_or_by_chunks(field_lines: list[bytes], framing: int, length: int) -> None:
    head = with_fields(*field_lines)
    assert (head.framing, head.content_length) == (framing, length)


@pytest.mark.parametrize(
    ("start", "connection", "keep_alive"),
    [
        (b"GET / HTTP/1.1", None, True),
        (b"GET / HTTP/1.1", b"keep-alive", True),
        (b"GET / HTTP/1.1", b"Close", False),
        (b"GET / HTTP/1.1", b"keep-alive, close", False),
        (b"GET / HTTP/1.1", b"x-a,\tclose", False),
        (b"GET / HTTP/1.1", b"x-a, ,", True),
        (b"GET / HTTP/1.0", None, False),
        (b"GET / HTTP/1.0", b"Keep-Alive ", True),
        (b"GET / HTTP/1.0", b"Keep-Alive, x", True),
        (b"GET / HTTP/1.0", b"upgrade", False),
    ],
)
def test_the_connection_persists_as_the_version_and_connection_field_say(
    start: bytes, connection: bytes | None, keep_alive: bool
) -> None:
    field_lines = [] if connection is None else [b"Connection: " + connection]
    assert with_fields(*field_lines, start=start).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("start", "expect", "waits"),
    [
        (b"POST / HTTP/1.1", b"100-continue", True),
        (b"POST / HTTP/1.1", b"100-Continue ", True),
        (b"POST / HTTP/1.1", b"something", False),
        (b"POST / HTTP/1.0", b"100-continue", False),
    ],
)
def test_a_client_waits_for_100_only_in_http_1_1(start: bytes, expect: bytes, waits: bool) -> None:
    assert with_fields(b"Expect: " + expect, start=start).expect_continue is waits


@pytest.mark.parametrize(
    "field_line",
    [
        b"Connection: keep-alive",
        b"CONNECTION: x",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"proxy-authorization: Basic c2VjcmV0",
        b"Proxy-Authenticate: Basic",
        b"Proxy-Authentication-Info: x",
        b"TE: gzip",
        b"Upgrade: websocket",
    ],
)
def test_hop_by_hop_fields_are_not_sent_on(field_line: bytes) -> None:
    assert sent(b"A: 1", field_line, b"B: 2") == [b"A: 1", b"B: 2"]
    assert sent(field_line, b"B: 2", field_line) == [b"B: 2"]


@pytest.mark.parametrize("field_line", [b"Hosts: a", b"TEA: x", b"Upgrade-Insecure-Requests: 1", b"Proxy-Status: a"])
def test_fields_whose_names_only_resemble_hop_by_hop_ones_are_sent_on(field_line: bytes) -> None:
    assert sent(field_line) == [field_line]


def test_fields_that_connection_lists_are_not_sent_on() -> None:
    assert sent(b"X-Hop: 1", b"Connection: x-hop, close, X-Other", b"x-other: 2", b"X-Kept: 3") == [b"X-Kept: 3"]


def test_connection_cannot_remove_the_fields_that_frame_or_route_the_message() -> None:
    kept = [b"Content-Length: 5"]
    assert sent(b"Connection: host, content-length, transfer-encoding", *kept) == kept
    assert sent(b"Transfer-Encoding: chunked", b"Connection: Transfer-Encoding") == [b"Transfer-Encoding: chunked"]


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        (b"content-length:\t5", b"Content-Length: 5"),
        (b"content-length: 5 ", b"Content-Length: 5"),
        (b"content-length:  5", b"Content-Length: 5"),
        (b"content-length: 05", b"Content-Length: 5"),
        (b"content-length: 00", b"Content-Length: 0"),
        (b"transfer-encoding:\tChunked", b"Transfer-Encoding: chunked"),
        (b"transfer-encoding: Chunked\t", b"Transfer-Encoding: chunked"),
    ],
)
def test_odd_spellings_of_the_framing_are_sent_on_plainly(odd: bytes, plain: bytes) -> None:
    assert sent(b"A:\t1 ", odd, b"B: 2") == [b"A:\t1 ", plain, b"B: 2"]


@pytest.mark.parametrize("line", [b"content-length:5", b"CONTENT-LENGTH: 5", b"Transfer-Encoding: Chunked"])
def test_p12_plain_spellings_of_the_framing_are_sent_on_byte_for_byte(line: bytes) -> None:
    assert sent(line) == [line]


def test_te_is_sent_on_for_trailers_alone() -> None:
    assert sent(b"TE: gzip, trailers", b"Connection: TE") == [b"TE: trailers", b"Connection: TE"]
    assert sent(b"TE: trailers") == [b"TE: trailers"]
    assert sent(b"TE: gzip;q=0.5", b"Connection: TE, close") == []


def test_an_upgrade_is_offered_and_sent_on_when_asked() -> None:
    field_lines = (b"Upgrade: websocket", b"Connection: keep-alive, Upgrade", b"Sec-WebSocket-Version: 13")
    assert with_fields(*field_lines).upgrade == b"websocket"
    assert sent(*field_lines) == [b"Sec-WebSocket-Version: 13"]
    assert sent(*field_lines, upgrade=True) == [
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
    ]


@pytest.mark.parametrize(
    ("field_lines", "start"),
    [
        ([b"Upgrade: websocket"], b"GET / HTTP/1.1"),
        ([b"Connection: upgrade"], b"GET / HTTP/1.1"),
        ([b"Connection: upgrade", b"Upgrade: h2C"], b"GET / HTTP/1.1"),
        ([b"Connection: upgrade", b"Upgrade: websocket"], b"GET / HTTP/1.0"),
        ([b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"], b"GET / HTTP/1.1"),
    ],
)
def test_what_is_no_upgrade_is_never_sent_on_as_one(field_lines: list[bytes], start: bytes) -> None:
    head = with_fields(*field_lines, start=start)
    assert head.upgrade is None
    assert head.forward(b"/", upgrade=True) == b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def test_an_upgrade_of_a_request_with_a_body_is_never_sent_on() -> None:
    framed = b"Content-Length: 5"
    assert with_fields(b"Connection: upgrade", b"Upgrade: websocket", framed).upgrade is None
    assert sent(b"Connection: upgrade", b"Upgrade: websocket", framed, upgrade=True) == [framed]


def test_the_host_is_replaced_in_its_place_when_it_differs() -> None:
    head = parse(b"GET http://b/ HTTP/1.1\r\nA: 1\r\nhOsT: a\r\nB: 2\r\n\r\n")
    assert head.forward(b"/", host=b"b") == b"GET / HTTP/1.1\r\nA: 1\r\nHost: b\r\nB: 2\r\n\r\n"
    assert head.forward(b"/", host=b"a") == b"GET / HTTP/1.1\r\nA: 1\r\nhOsT: a\r\nB: 2\r\n\r\n"


def test_a_head_of_the_longest_size_is_taken_and_one_byte_more_is_not() -> None:
    start = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    fitting = start + b"x" * (MAX_HEAD - len(start) - 4) + b"\r\n\r\n"
    assert parse(fitting).consumed == MAX_HEAD
    too_long = start + b"x" * (MAX_HEAD - len(start) - 3) + b"\r\n\r\n"
    for buf in (too_long, too_long + b"rest", too_long[:-1]):
        with pytest.raises(ProtocolError, match="longer than 262144 bytes") as caught:
            parse_request_head(buf)
        assert caught.value.status == 431


def test_a_target_without_end_is_refused_at_the_limit() -> None:
    assert parse_request_head(b"GET /" + b"a" * 100_000) is None
    with pytest.raises(ProtocolError) as caught:
        parse_request_head(b"GET /" + b"a" * MAX_HEAD)
    assert caught.value.status == 431


def test_a_block_that_was_seen_before_means_the_same_for_another_request() -> None:
    block = b"Host: a\r\nContent-Length: 3\r\nConnection: close, x-a\r\nX-A: 1\r\n\r\n"
    first, second = parse(b"POST /1 HTTP/1.1\r\n" + block), parse(b"PUT /2 HTTP/1.1\r\n" + block)
    old = parse(b"PUT /2 HTTP/1.0\r\n" + block)
    assert first.forward(b"/1") == b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
    assert second.forward(b"/2") == b"PUT /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
    assert (first.minor, second.minor, old.minor) == (1, 1, 0)
    assert first.headers() == second.headers() == old.headers()


@settings(deadline=None)
@given(methods, paths, fields, st.sampled_from([b"", b" ", b"\t  "]), st.binary(max_size=8))
def test_any_valid_head_is_read_back(
    method: bytes, path: str, pairs: list[tuple[bytes, bytes]], space: bytes, following: bytes
) -> None:
    block = b"".join(b"%b:%b%b%b\r\n" % (name, space, value, space) for name, value in pairs)
    raw = b"%b %b HTTP/1.1\r\nHost: h\r\n%b\r\n" % (method, path.encode(), block)
    head = parse(raw + following)
    assert (head.raw, head.consumed) == (raw, len(raw))
    assert (head.method.encode(), head.target) == (method, path)
    assert head.headers() == [(b"Host", b"h"), *pairs]
    assert head.forward(path.encode()) == raw


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(field_names, st.just(b"v")),
            st.tuples(
                st.sampled_from([b"Connection", b"TE", b"Upgrade", b"Keep-Alive", b"Proxy-Connection"]),
                st.lists(
                    st.sampled_from([b"close", b"keep-alive", b"upgrade", b"te", b"trailers", b"x", b"websocket"]),
                    max_size=3,
                ).map(b", ".join),
            ),
        ),
        max_size=8,
    ),
    st.booleans(),
    st.sampled_from([None, b"h", b"other:81"]),
)
def test_what_is_sent_on_is_a_request_again_and_stays_as_it_is_when_sent_on_once_more(
    pairs: list[tuple[bytes, bytes]], upgrade: bool, host: bytes | None
) -> None:
    head = parse(b"GET http://h/x HTTP/1.1\r\nHost: h\r\n" + lines(pairs) + b"\r\n")
    again = parse(head.forward(b"/x", upgrade=upgrade, host=host))
    assert (again.method, again.target, again.framing) == ("GET", "/x", head.framing)
    assert again.host == (host or b"h")
    assert again.upgrade == (head.upgrade if upgrade else None)
    assert parse(again.forward(b"/x", upgrade=upgrade, host=host)).headers() == again.headers()
    names = {name.lower() for name, _ in again.headers()}
    assert not names & {b"keep-alive", b"proxy-connection"}


@pytest.mark.parametrize("following", [b"", b"rest"])
def test_a_request_line_alone_can_be_too_long_however_it_arrives(following: bytes) -> None:
    raw = b"GET /" + b"x" * MAX_HEAD + b" HTTP/1.1\r\nHost: h\r\n\r\n" + following
    for buf in (raw, raw[:-2], raw[: MAX_HEAD + 1]):
        with pytest.raises(ProtocolError) as caught:
            parse_request_head(buf)
        assert caught.value.status == 431
