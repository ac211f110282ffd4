"""Content codings, their bombs and their corruption; which bytes are text."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import brotli
import pytest
import zstandard

from wiretape.session.content import ContentError, Utf8Rewriter, as_text, content_codings, declared_charset, decode

PLAIN = b"The quick brown fox. " * 5000


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "two gzip members": ("x-gzip", lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:])),
    "gzip with zeros behind": ("gzip", lambda data: gzip.compress(data) + bytes(100)),
    "deflate": ("deflate", zlib.compress),
    "deflate without zlib": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.ZstdCompressor().compress),
    "two zstd frames": (
        "zstd",
        lambda data: b"".join(zstandard.ZstdCompressor().compress(part) for part in (data[:100], data[100:])),
    ),
    "identity": ("identity", bytes),
}


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_a_coding_comes_off_however_the_body_is_split(name: str, size: int) -> None:
    coding, pack = PACKERS[name]
    data = PLAIN[: 2000 if size == 1 else None]
    assert b"".join(decode(pieces(pack(data), size), content_codings([coding]))) == data


def test_codings_come_off_in_the_reverse_of_their_order() -> None:
    packed = brotli.compress(gzip.compress(PLAIN))
    assert b"".join(decode([packed], content_codings(["GZIP", "identity, br"]))) == PLAIN


@pytest.mark.parametrize("name", ["gzip", "deflate", "deflate without zlib", "br", "zstd"])
def test_what_is_cut_short_gives_its_beginning_and_an_error(name: str) -> None:
    coding, pack = PACKERS[name]
    packed = pack(PLAIN)
    given: list[bytes] = []
    with pytest.raises(ContentError, match="too early"):
        given.extend(decode([packed[:-3]], [coding]))
    assert PLAIN.startswith(b"".join(given))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_what_is_no_such_coding_is_an_error(coding: str) -> None:
    with pytest.raises(ContentError):
        list(decode([b"\xfe\xfe no such thing \xff" * 10], [coding]))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_an_empty_body_is_empty_in_every_coding(coding: str) -> None:
    assert list(decode([], [coding])) == []
    assert list(decode([b""], [coding])) == []


def test_unknown_and_endless_codings_are_refused() -> None:
    with pytest.raises(ContentError, match="not known"):
        list(decode([b"x"], ["compress"]))
    with pytest.raises(ContentError, match="5 content codings"):
        list(decode([b"x"], ["gzip"] * 5))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_p8_a_bomb_ends_at_the_limit_in_bounded_memory(coding: str) -> None:
    size = 40 * 1024 * 1024
    packers: dict[str, Callable[[], object]] = {
        "gzip": lambda: zlib.compressobj(wbits=31),
        "deflate": zlib.compressobj,
        "br": lambda: brotli.Compressor(quality=5),
        "zstd": lambda: zstandard.ZstdCompressor().compressobj(),
    }
    packer = packers[coding]()
    step = packer.process if coding == "br" else packer.compress  # type: ignore[attr-defined]
    finish = packer.finish if coding == "br" else packer.flush  # type: ignore[attr-defined]
    zeros = bytes(1 << 20)
    bomb = b"".join(step(zeros) for _ in range(size >> 20)) + finish()
    tracemalloc.start()
    try:
        sizes: list[int] = []
        with pytest.raises(ContentError, match="longer than"):
            sizes.extend(map(len, decode([bomb], [coding], limit=8 * 1024 * 1024)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) <= 8 * 1024 * 1024
    assert peak < 6 * 1024 * 1024


@pytest.mark.parametrize(
    ("data", "content_type", "text"),
    [
        (b"plain", None, "plain"),
        ("grün".encode(), "text/plain", "grün"),
        ("grün".encode("latin-1"), "text/plain", None),
        ("grün".encode("latin-1"), "text/plain; charset=ISO-8859-1", "grün"),
        ("grün".encode("latin-1"), 'text/plain;Charset="windows-1252"; x=y', "grün"),
        ("grün".encode("utf-16"), "text/plain; charset=utf-16", "grün"),
        ("plain".encode("utf-16-le"), "text/plain; charset=utf-16le", "plain"),
        ("plain".encode("utf-16-be"), "text/plain; charset=utf-16be", "plain"),
        ("plain".encode("utf-32"), "text/plain; charset=utf-32", "plain"),
        ("日本".encode("iso-2022-jp"), "text/plain; charset=ISO-2022-JP", "日本"),
        ("中文".encode("hz"), "text/plain; charset=hz-gb-2312", "中文"),
        (b"+ZeVnLA-", "text/plain; charset=utf-7", "日本"),
        (b"\xc3\xa9", "text/plain; charset=windows-1252", "Ã©"),
        (b"{\x00}\x00", "application/json; charset=utf-16le", "{}"),
        (b"\xc3\xa9", "text/plain; charset=us-ascii", "é"),
        (b"abc", "text/plain; charset=utf-16", "abc"),
        (b"abc", "text/plain; charset=undefined", "abc"),
        (b"\xff\xfe\x00", "image/png", None),
        (b"\xff", "text/plain; charset=none-such", None),
        (b"\xff", "text/plain; charset=zlib", None),
        (b"\xff", "text/plain; charset=rot13", None),
        (b"\x80\xd8", "text/plain; charset=unicode_escape", None),
        (b"+2AA-\xff", "text/plain; charset=utf-7", None),
        (b"", None, ""),
    ],
)
def test_text_is_what_is_valid_in_the_declared_charset_else_in_utf8(
    data: bytes, content_type: str | None, text: str | None
) -> None:
    assert as_text(data, content_type) == text


def test_lone_surrogates_are_no_text() -> None:
    assert as_text(b"\xff +2AA-", "text/plain; charset=utf-7") is None
    assert declared_charset("text/plain; charset=utf-7") == "utf-7"


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("utf-8", "aé€𝄞"),
        ("utf-16", "ab𝄞"),
        ("utf-32", "aé"),
        ("gb18030", "a中𝄞"),
        ("iso-2022-jp", "日本"),
        ("latin-1", "é"),
    ],
)
def test_a_text_that_was_cut_anywhere_is_shown_as_far_as_it_goes(charset: str, text: str) -> None:
    whole = text.encode(charset)
    for end in range(len(whole) + 1):
        shown = as_text(whole[:end], f"text/plain; charset={charset}", cut=True)
        assert shown is not None
        assert text.startswith(shown.lstrip("\ufeff"))


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        ("utf-16", "aé".encode("utf-16-le"), "aé"),
        ("utf-16", "aé".encode("utf-16"), "aé"),
        ("utf-16", b"\xfe\xff" + "aé".encode("utf-16-be"), "aé"),
        ("utf-32", b"\x00\x00\xfe\xff" + "aé".encode("utf-32-be"), "aé"),
        ("iso2022_jp", "日本a".encode("iso-2022-jp"), "日本a"),
        ("iso8859-1", b"\xe9", "é"),
        ("utf-16", b"a", "\ufffd"),
        ("utf-16", b"", ""),
        ("shift_jis", b"a\xff\xffb", "a\ufffd\ufffdb"),
    ],
)
def test_a_body_is_rewritten_in_utf8_however_it_is_cut(charset: str, data: bytes, text: str) -> None:
    for at in range(len(data) + 1):
        rewriter = Utf8Rewriter(charset)
        assert rewriter.feed(data[:at]) + rewriter.feed(data[at:]) + rewriter.finish() == text.encode()
