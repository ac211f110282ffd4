"""What a response head is read as, and what is sent on in its place."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.strategies import fields, lines
from wiretape.errors import ProtocolError
from wiretape.wire.http1 import (
    CHUNKED,
    LENGTH,
    MAX_HEAD,
    NO_BODY,
    UNTIL_CLOSE,
    ResponseHead,
    parse_response_head,
    response_faults,
)

SERVER = (
    b"HTTP/1.1 200 OK\r\n"
    b"Server: nginx\r\n"
    b"Date: Sat, 01 Nov 2025 00:00:00 GMT\r\n"
    b"Content-Length: 12\r\n"
    b"Connection: keep-alive\r\n"
    b"Set-Cookie: a=1\r\n"
    b"set-cookie:b=2; Path=/\t\r\n"
    b"Keep-Alive: timeout=5\r\n"
    b"X-Note: \xfc\r\n"
    b"\r\n"
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b"A: b", b"C : d", b"E", b"\0"]), max_size=12).map(b"".join)
)
def test_how_a_head_is_cut_never_changes_what_it_is_taken_for(block: bytes) -> None:
    raw = b"HTTP/1.1 200 OK" + block + b"\n\n"
    whole = _outcome(raw)
    for size in range(len(raw)):
        earlier = _outcome(raw[:size])
        assert earlier in (None, whole) or (earlier is not True and raw.startswith(earlier or b"?"))


def _outcome(raw: bytes) -> bytes | bool | None:
    """Return the bytes of a head that was taken, True for a refused one, None for an unfinished one."""
    try:
        head = parse_response_head(raw, "GET")
    except ProtocolError:
        return True
    return None if head is None else head.raw


def parse(raw: bytes, method: str = "GET") -> ResponseHead:
    head = parse_response_head(raw, method)
    assert head is not None
    return head


def with_fields(*field_lines: bytes, start: bytes = b"HTTP/1.1 200 OK", method: str = "GET") -> ResponseHead:
    return parse(start + b"\r\n" + b"".join(line + b"\r\n" for line in field_lines) + b"\r\n", method)


def refusal(raw: bytes, method: str = "GET", *, strict: bool = False) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        parse_response_head(raw, method, strict=strict)
    assert caught.value.status == 502
    assert caught.value.hint
    assert caught.value.message.isprintable()
    assert caught.value.message.isascii()
    return caught.value


def test_a_servers_response_is_read_as_it_was_sent() -> None:
    head = parse(SERVER + b"hello, world")
    assert (head.raw, head.consumed) == (SERVER, len(SERVER))
    assert (head.minor, head.status, head.reason) == (1, 200, b"OK")
    assert (head.framing, head.content_length, head.keep_alive, head.upgrade) == (LENGTH, 12, True, None)
    assert repr(head) == "<ResponseHead 200 b'OK' HTTP/1.1>"


def test_p12_headers_keep_order_case_and_duplicates() -> None:
    assert parse(SERVER).headers() == [
        (b"Server", b"nginx"),
        (b"Date", b"Sat, 01 Nov 2025 00:00:00 GMT"),
        (b"Content-Length", b"12"),
        (b"Connection", b"keep-alive"),
        (b"Set-Cookie", b"a=1"),
        (b"set-cookie", b"b=2; Path=/"),
        (b"Keep-Alive", b"timeout=5"),
        (b"X-Note", b"\xfc"),
    ]


def test_p12_what_is_sent_on_differs_in_hop_by_hop_fields_alone() -> None:
    expected = SERVER.replace(b"Connection: keep-alive\r\n", b"").replace(b"Keep-Alive: timeout=5\r\n", b"")
    assert parse(SERVER).forward() == expected
    assert parse(SERVER).forward(close=True) == expected[:-2] + b"Connection: close\r\n\r\n"
    assert parse(SERVER).forward(close=False) == expected[:-2] + b"Connection: keep-alive\r\n\r\n"


@pytest.mark.parametrize("size", range(len(SERVER)))
def test_a_head_cut_anywhere_is_unfinished(size: int) -> None:
    assert parse_response_head(SERVER[:size], "GET") is None


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"HTTP/1.1 200 OK", 200, b"OK"),
        (b"HTTP/1.1 200 ", 200, b""),
        (b"HTTP/1.1 200", 200, b""),
        (b"HTTP/1.0 404 Not  Found ", 404, b"Not  Found "),
        (b"HTTP/1.1 599 \xc3\xa9\t!", 599, b"\xc3\xa9\t!"),
        (b"HTTP/1.1 999 x", 999, b"x"),
    ],
)
def test_status_lines_are_taken_as_servers_send_them(line: bytes, status: int, reason: bytes) -> None:
    for block in (b"", b"A: b\r\n"):
        head = parse(line + b"\r\n" + block + b"\r\n")
        assert (head.status, head.reason) == (status, reason)
        assert head.forward() == b"HTTP/1.1" + line[8:] + b"\r\n" + block + b"\r\n"


REFUSED_STRICTLY = [
    *(b"HTTP/2 200 OK\r\n\r\n", b"HTTP/1.2 200 OK\r\n\r\n", b"HTTP/1.1  200 OK\r\n\r\n", b"http/1.1 200\r\n\r\n"),
    *(b"HTTP/1.1 200 O\x00K\r\n\r\n", b"HTTP/1.1 200 O\rK\r\n\r\n", b"HTTP/1.1\t200 OK\r\n\r\n"),
    *(b"HTTP/1.1 200 OK\nA: b\n\n", b"HTTP/1.1 200 OK\r\nA: b\n\r\n", b"HTTP/1.1 200\n\r\n"),
]
REFUSED = [
    *(b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1 099 OK\r\n\r\n", b"HTTP/1.1 200OK\r\n\r\n"),
    *(
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 O\nK\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/1.10 200 OK\r\n\r\n",
    ),
    *(b"ICY 200 OK\r\n\r\n", b"\r\nHTTP/1.1 200 OK\r\n\r\n", b" HTTP/1.1 200 OK\r\n\r\n", b"220 mail ESMTP\r\n"),
    *(b"SSH-2.0-x\r\n", b"\x15\x03\x01", b"<html>", b"H\n", b"X", b"HTTP/\n", b"HTTP/1.1 200 OK\r\n folded\r\n\r\n"),
]


@pytest.mark.parametrize("raw", REFUSED)
def test_what_is_no_http_1_response_is_refused(raw: bytes) -> None:
    refusal(raw)
    refusal(raw, strict=True)


@pytest.mark.parametrize("raw", REFUSED_STRICTLY)
def test_what_clients_live_with_is_refused_strictly_and_passed_on_else(raw: bytes) -> None:
    refusal(raw, strict=True)
    head = parse(raw)
    assert head.raw == raw
    assert head.faults
    assert not head.keep_alive
    sent = head.forward()
    assert parse_response_head(sent, "GET", strict=True) is not None


@pytest.mark.parametrize(
    ("field_line", "reason"),
    [
        (b"nothing", "no colon"),
        (b"X: a\nb", "no colon"),
        (b"Content-Length\xa0: 5", "no token"),
        (b"\x00Transfer-Encoding: chunked", "no token"),
        (b"Transfer_Encoding(: chunked", "no token"),
        (b"X\rContent-Length: 5", "no token"),
        (b"X\x00Y: 5", "no token"),
        (b"Content-Length: 5\x01", "control character"),
        (b"Transfer-Encoding: \x0bchunked", "control character"),
        (b"Transfer-Encoding: chunked\rX: y", "control character"),
        (b"Content-Length : 5\r\nContent-Length: 6", "Content-Length"),
        (b"Transfer-Encoding: chunked,\r\n chunked", "Transfer-Encoding"),
        (b"Content-Length: 5\r\nContent-Length: 6", "Content-Length"),
        (b"Content-Length: 5, 6", "Content-Length"),
        (b"Content-Length: 5,", "Content-Length"),
        (b"Content-Length: 5, 05x", "Content-Length"),
        (b"Content-Length:", "Content-Length"),
        (b"Content-Length: +5", "Content-Length"),
        (b"Content-Length: -1", "Content-Length"),
        (b"Content-Length: 0x5", "Content-Length"),
        (b"Content-Length: 5 5", "Content-Length"),
        (b"Content-Length: 1000000000000000000", "Content-Length"),
        (b"Transfer-Encoding: chunked, chunked", "Transfer-Encoding"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding"),
        (b"Transfer-Encoding: chunked, gzip", "Transfer-Encoding"),
        (b"Transfer-Encoding:", "Transfer-Encoding"),
        (b"Transfer-Encoding: ,", "Transfer-Encoding"),
    ],
)
def test_ambiguous_fields_are_refused(field_line: bytes, reason: str) -> None:
    for _ in range(2):
        assert reason in refusal(b"HTTP/1.1 200 OK\r\nA: b\r\n" + field_line + b"\r\n\r\n").message
    long = b"HTTP/1.1 200 OK\r\nA: " + b"b" * 3000 + b"\r\n" + field_line + b"\r\n\r\n"
    assert reason in refusal(long).message
    refusal(long, strict=True)


@pytest.mark.parametrize(
    ("field_line", "reason"),
    [
        (b" X: a", "folded"),
        (b"X: a\r\n b", "folded"),
        (b"X: a\nb", "bare CR or LF"),
        (b"X: a\nb: c", "bare CR or LF"),
        (b"X: a\rb", "bare CR or LF"),
        (b"X: a\x00b", "control character"),
        (b"X: a\x01", "control character"),
        (b"nothing", "no colon"),
        (b": x", "no token"),
        (b"X(Y): 1", "no token"),
        (b"X\xa0: 1", "no token"),
        (b"A : b\r\nX Y: 1", "no token"),
    ],
)
def test_fields_that_rfc_9112_forbids_are_refused_strictly(field_line: bytes, reason: str) -> None:
    assert reason in refusal(b"HTTP/1.1 200 OK\r\nA: b\r\n" + field_line + b"\r\n\r\n", strict=True).message


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("spaces", [b" ", b"\t", b" \t "])
def test_whitespace_before_a_colon_is_removed_as_rfc_9112_section_5_1_has_it(spaces: bytes, strict: bool) -> None:
    raw = b"HTTP/1.1 200 OK\r\nX-A: b : c\r\nX-B" + spaces + b": one\r\ncontent-length" + spaces + b":5\r\n\r\n"
    head = parse_response_head(raw, "GET", strict=strict)
    assert head is not None
    assert (head.raw, head.content_length, head.keep_alive) == (raw, 5, True)
    assert head.forward() == b"HTTP/1.1 200 OK\r\nX-A: b : c\r\nX-B: one\r\ncontent-length:5\r\n\r\n"
    assert head.headers()[1] == (b"X-B", b"one")
    assert head.faults == ("a header name has a space before its colon",)
    for size in range(len(raw)):
        assert parse_response_head(raw[:size], "GET", strict=strict) is None


@pytest.mark.parametrize(
    ("raw", "sent", "faults"),
    [
        (
            b"HTTP/1.1 200 OK\nA: b\nContent-Length: 5\n\n",
            b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\n",
            ("lines end with LF alone",),
        ),
        (b"HTTP/1.1 200\n\r\n", b"HTTP/1.1 200\r\n\r\n", ("lines end with LF alone",)),
        (
            b"http/1.0  200\tOK\r\nA: b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
            ("the status line is not in the form of RFC 9112 section 4",),
        ),
        (
            b"HTTP/2 200\r\n\r\n",
            b"HTTP/1.1 200\r\n\r\n",
            ("the status line is not in the form of RFC 9112 section 4",),
        ),
        (
            b"HTTP/1.1 200 a\x00b\x1bc\r\n\r\n",
            b"HTTP/1.1 200 a b c\r\n\r\n",
            ("the status line is not in the form of RFC 9112 section 4",),
        ),
        (
            b"HTTP/1.1 200 OK\r\nA: b\r\n\t c\r\n  \r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b c \r\nTransfer-Encoding: chunked\r\n\r\n",
            ("a line is folded",),
        ),
        (
            b"HTTP/1.1 200 OK\r\nX(Y): 1\r\nX Y : 2\r\n: 3\r\n\xe9: 4\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX(Y): 1\r\nX Y: 2\r\n: 3\r\n\xe9: 4\r\n\r\n",
            ("a header name is no token", "a header name has a space before its colon"),
        ),
        (
            b"HTTP/1.1 200 OK\r\nA: \x00b\rc\x01\x1b\x7f\xff\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA:  b c\x01\x1b\x7f\xff\r\n\r\n",
            ("a header value has a control character",),
        ),
    ],
)
def test_what_clients_live_with_is_mended_before_it_is_sent_on_and_named(
    raw: bytes, sent: bytes, faults: tuple[str, ...]
) -> None:
    following = b"HTTP/1.1 500 No\r\n\r\n"
    head = parse(raw + following)
    assert (head.raw, head.consumed, head.faults, head.keep_alive) == (raw, len(raw), faults, False)
    assert head.forward() == sent
    assert response_faults(raw) == faults
    for size in range(len(raw)):
        assert parse_response_head(raw[:size], "GET") is None


def test_a_recorded_head_is_named_for_what_is_wrong_with_it() -> None:
    assert response_faults(SERVER) == ()
    assert response_faults(SERVER[:-1]) == ("it has no end",)
    assert "malformed Content-Length" in response_faults(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")[0]


def test_a_head_of_folds_alone_costs_time_in_proportion_to_its_length() -> None:
    raw = b"HTTP/1.1 200 OK\nA: b\n" + b" c\n" * 80_000 + b"\n"
    started = time.process_time()
    assert parse(raw).consumed == len(raw)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("field_lines", "framing", "length", "keep_alive"),
    [
        ([], UNTIL_CLOSE, -1, False),
        ([b"Connection: keep-alive"], UNTIL_CLOSE, -1, False),
        ([b"Content-Length: 0"], NO_BODY, 0, True),
        ([b"content-length:\t5 "], LENGTH, 5, True),
        ([b"Content-Length: 5", b"Content-Length: 5"], LENGTH, 5, True),
        ([b"Content-Length: 5, 5 ,5"], LENGTH, 5, True),
        ([b"Content-Length: 5, 05"], LENGTH, 5, True),
        ([b"Content-Length: 5", b"Connection: close"], LENGTH, 5, False),
        ([b"Transfer-Encoding: chunked"], CHUNKED, -1, True),
        ([b"Transfer-Encoding: gzip,\tChunked "], CHUNKED, -1, True),
        ([b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"], CHUNKED, -1, True),
        ([b"Transfer-Encoding: gzip"], UNTIL_CLOSE, -1, False),
        ([b"Transfer-Encoding: chunked", b"Content-Length: 5"], CHUNKED, -1, False),
        ([b"Content-Length: 5", b"Transfer-Encoding: gzip"], UNTIL_CLOSE, -1, False),
    ],
)
def test_the_body_is_framed_as_rfc_9112_section_6_3_says(
    field_lines: list[bytes], framing: int, length: int, keep_alive: bool
) -> None:
    head = with_fields(*field_lines)
    assert (head.framing, head.content_length, head.keep_alive) == (framing, length, keep_alive)


@pytest.mark.parametrize(
    ("start", "method"),
    [
        (b"HTTP/1.1 100 Continue", "POST"),
        (b"HTTP/1.1 101 Switching Protocols", "GET"),
        (b"HTTP/1.1 103 Early Hints", "GET"),
        (b"HTTP/1.1 204 No Content", "GET"),
        (b"HTTP/1.1 304 Not Modified", "GET"),
        (b"HTTP/1.1 200 OK", "HEAD"),
        (b"HTTP/1.1 404 Not Found", "HEAD"),
        (b"HTTP/1.1 200 Connection established", "CONNECT"),
    ],
)
@pytest.mark.parametrize("field_line", [b"A: b", b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_responses_that_have_no_body_have_none_whatever_their_fields_say(
    start: bytes, method: str, field_line: bytes
) -> None:
    head = with_fields(field_line, start=start, method=method)
    assert (head.framing, head.content_length, head.keep_alive) == (NO_BODY, 0, True)


def test_connect_that_was_refused_has_a_body() -> None:
    assert with_fields(b"Content-Length: 5", start=b"HTTP/1.1 403 No", method="CONNECT").content_length == 5


@pytest.mark.parametrize("status", [100, 101, 103, 204])
@pytest.mark.parametrize("field_line", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Transfer-Encoding: x"])
def test_framing_that_such_a_response_must_not_have_is_not_sent_on(status: int, field_line: bytes) -> None:
    head = with_fields(b"A: b", field_line, start=b"HTTP/1.1 %d x" % status)
    assert head.forward() == b"HTTP/1.1 %d x\r\nA: b\r\n\r\n" % status


def test_the_length_that_head_and_304_announce_is_sent_on() -> None:
    raw = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
    assert parse(raw).forward() == raw
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    assert parse(raw, "HEAD").forward() == raw
    raw = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
    assert parse(raw).forward() == raw


def test_repeated_lengths_are_sent_on_as_one() -> None:
    head = with_fields(b"A: b", b"Content-Length: 5", b"C: d", b"content-length: 5, 5")
    assert head.forward() == b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\nC: d\r\n\r\n"


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        (b"content-length:\t5", b"Content-Length: 5"),
        (b"content-length: 05", b"Content-Length: 5"),
        (b"transfer-encoding: Chunked\t", b"Transfer-Encoding: chunked"),
        (b"transfer-encoding: chunked,", b"Transfer-Encoding: chunked"),
        (b"transfer-encoding: gzip ,, Chunked", b"Transfer-Encoding: gzip, chunked"),
    ],
)
def test_odd_spellings_of_the_framing_are_sent_on_plainly(odd: bytes, plain: bytes) -> None:
    head = with_fields(b"A:\t1 ", odd)
    assert head.forward() == b"HTTP/1.1 200 OK\r\nA:\t1 \r\n" + plain + b"\r\n\r\n"
    assert head.forward(dechunk=True).count(b"hunked") == 0


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_length_beside_a_transfer_coding_is_not_sent_on(method: str) -> None:
    head = with_fields(b"Content-Length: 5", b"Transfer-Encoding: chunked", method=method)
    assert head.keep_alive is False
    assert head.forward(close=True) == (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")


def test_http_1_0_with_a_transfer_coding_is_refused() -> None:
    assert "Transfer-Encoding" in refusal(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").message


@pytest.mark.parametrize(
    ("start", "connection", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK", b"keep-alive", True),
        (b"HTTP/1.1 200 OK", b"CLOSE", False),
        (b"HTTP/1.1 200 OK", b"x, close", False),
        (b"HTTP/1.1 200 OK", b"x", True),
        (b"HTTP/1.0 200 OK", b"x", False),
        (b"HTTP/1.0 200 OK", b"Keep-Alive", True),
        (b"HTTP/1.0 200 OK", b"Keep-Alive, x", True),
    ],
)
def test_the_connection_persists_as_the_version_and_connection_field_say(
    start: bytes, connection: bytes, keep_alive: bool
) -> None:
    head = with_fields(b"Content-Length: 1", b"Connection: " + connection, start=start)
    assert head.keep_alive is keep_alive


def test_fields_that_connection_lists_are_not_sent_on() -> None:
    head = with_fields(b"X-A: 1", b"Connection: x-a, content-length", b"Content-Length: 1", b"X-a: 2")
    assert head.forward(close=True) == b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "field_line",
    [
        b"Proxy-Connection: close",
        b"Proxy-Authenticate: Basic",
        b"Proxy-Authentication-Info: x",
        b"TE: a",
        b"Upgrade: h2",
    ],
)
def test_hop_by_hop_fields_are_not_sent_on(field_line: bytes) -> None:
    head = with_fields(b"A: b", field_line, b"Content-Length: 0")
    assert head.forward() == b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\n\r\n"


def test_an_upgrade_is_sent_on_when_asked() -> None:
    head = with_fields(
        b"upgrade: websocket", b"connection: Upgrade", b"A: b", start=b"HTTP/1.1 101 Switching Protocols"
    )
    assert head.upgrade == b"websocket"
    assert head.forward() == b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n"
    assert head.forward(upgrade=True, close=True) == (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: Upgrade\r\nA: b\r\n\r\n"
    )
    assert with_fields(b"Upgrade: websocket").upgrade is None


def test_a_response_for_an_http_1_0_client_loses_its_chunks() -> None:
    head = with_fields(b"Transfer-Encoding: chunked", b"Trailer: X", b"A: b")
    assert head.forward(close=True, dechunk=True) == b"HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\n"


def test_a_head_of_the_longest_size_is_taken_and_one_byte_more_is_not() -> None:
    start = b"HTTP/1.1 200 OK\r\nX: "
    assert parse(start + b"x" * (MAX_HEAD - len(start) - 4) + b"\r\n\r\n").consumed == MAX_HEAD
    too_long = start + b"x" * (MAX_HEAD - len(start) - 3) + b"\r\n\r\n"
    for buf in (too_long, too_long + b"rest", too_long[:-1]):
        assert "longer than" in refusal(buf).message


def test_a_reason_without_end_is_refused_at_the_limit() -> None:
    assert parse_response_head(b"HTTP/1.1 200 " + b"x" * 100_000, "GET") is None
    assert "longer than" in refusal(b"HTTP/1.1 200 " + b"x" * MAX_HEAD).message


@settings(deadline=None)
@given(
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 418", b"HTTP/1.1 500 "]),
    fields,
    st.sampled_from([b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""]),
    st.binary(max_size=8),
)
def test_any_valid_head_is_read_back(
    start: bytes, pairs: list[tuple[bytes, bytes]], framing: bytes, following: bytes
) -> None:
    raw = start + b"\r\n" + lines(pairs) + framing + b"\r\n"
    head = parse(raw + following)
    assert (head.raw, head.consumed) == (raw, len(raw))
    assert head.headers()[: len(pairs)] == pairs
    assert head.forward() == raw
    assert parse(head.forward(close=True)).headers() == [*head.headers(), (b"Connection", b"close")]


@settings(deadline=None, max_examples=300)
@given(
    st.binary(max_size=80)
    | st.lists(st.sampled_from([b"\r", b"\n", b" ", b":", b"A", b"\0", b"Content-Length", b"5", b"\xa0"])).map(
        b"".join
    ),
    st.sampled_from(["GET", "HEAD", "CONNECT"]),
)
def test_no_bytes_at_all_lead_to_anything_but_a_head_a_wait_or_a_refusal(data: bytes, method: str) -> None:
    for raw in (data, b"HTTP/1.1 " + data + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + data + b"\r\n\r\n"):
        try:
            head = parse_response_head(raw, method)
        except ProtocolError:
            with pytest.raises(ProtocolError):
                parse_response_head(raw, method, strict=True)
            continue
        if head is not None:
            assert head.forward().count(b"\n") == head.forward().count(b"\r") == head.forward().count(b"\r\n")
            assert b"\0" not in head.forward()
            again = parse(head.forward(close=not head.keep_alive), method)
            assert (again.status, again.framing, again.content_length) == (
                head.status,
                head.framing,
                head.content_length,
            )
