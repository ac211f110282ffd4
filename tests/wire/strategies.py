"""Hypothesis strategies for HTTP messages, and what the tests of this layer share."""

from __future__ import annotations

import string
from collections.abc import Callable
from itertools import pairwise

from hypothesis import strategies as st

TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters

# Fields that frame, route or end a message; the tests set these on purpose, never by chance.
MEANINGFUL = frozenset(
    {
        *(b"host", b"content-length", b"transfer-encoding", b"expect", b"connection", b"upgrade", b"te", b"keep-alive"),
        *(b"proxy-connection", b"proxy-authorization", b"proxy-authenticate", b"proxy-authentication-info", b"trailer"),
    }
)

tokens = st.text(TOKEN_CHARACTERS, min_size=1, max_size=12).map(str.encode)

field_names = tokens.filter(lambda name: name.lower() not in MEANINGFUL)

# Printable ASCII, tab and obs-text, without whitespace at the ends.
field_values = (
    st.lists(st.sampled_from([*range(0x20, 0x7F), 0x09, *range(0x80, 0x100)]), max_size=30)
    .map(bytes)
    .map(lambda value: value.strip(b" \t"))
)

fields = st.lists(st.tuples(field_names, field_values), max_size=8)

paths = st.text(string.ascii_letters + string.digits + "/?=&%-._~!$'()*+,;:@", max_size=30).map(lambda text: "/" + text)

methods = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"])

bodies = st.binary(max_size=200)


def lines(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Give field lines with one space after the colon."""
    return b"".join(b"%b: %b\r\n" % pair for pair in pairs)


def cuts(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """Give ``data`` cut into pieces at arbitrary places."""
    return st.lists(st.integers(0, len(data)), max_size=12).map(lambda at: cut(data, at))


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Cut ``data`` at the given offsets."""
    bounds = [0, *sorted(at), len(data)]
    return [data[a:b] for a, b in pairwise(bounds)]


@st.composite
def chunked(draw: Callable[[st.SearchStrategy[object]], object], body: bytes) -> bytes:
    """Give ``body`` in the chunked coding, cut into chunks at arbitrary places, with odd but legal spellings."""
    coded = b""
    pieces = draw(cuts(body))
    assert isinstance(pieces, list)
    for piece in pieces:
        if piece:
            size = draw(st.sampled_from([b"%x", b"%X", b"00%x"]))
            extension = draw(st.sampled_from([b"", b"", b";a=b", b';name="value"']))
            assert isinstance(size, bytes)
            assert isinstance(extension, bytes)
            coded += size % len(piece) + extension + b"\r\n" + piece + b"\r\n"
    return coded + b"0\r\n\r\n"
