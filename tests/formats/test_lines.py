"""Lines of any length: cut where they end, long bodies beside them, memory bounded."""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Iterator

import pytest

from wiretape.formats.lines import BLOCK, LONG_LINE, Line, Spool, read_lines, spool


@pytest.fixture
def spooled() -> Iterator[Spool]:
    with spool() as opened:
        yield opened


class Trickle(io.BytesIO):
    """A file that gives as few or as many bytes at a time as it likes."""

    def __init__(self, content: bytes, sizes: random.Random) -> None:
        super().__init__(content)
        self._sizes = sizes

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, self._sizes.choice((1, 2, 7, 1000, BLOCK))))


def lines(content: bytes, spooled: Spool) -> list[Line]:
    return list(read_lines(io.BytesIO(content), spooled))


def test_short_lines_are_given_as_they_are_with_where_they_stand(spooled: Spool) -> None:
    content = b"one\n\n{}\nlast"
    found = lines(content, spooled)
    assert [(line.offset, line.length, line.text) for line in found] == [
        (0, 3, b"one"),
        (4, 0, b""),
        (5, 2, b"{}"),
        (8, 4, b"last"),
    ]


def test_a_long_body_waits_beside_its_line(spooled: Spool) -> None:
    body = random.Random(1).randbytes(LONG_LINE + 12_345)
    record = {"url": "http://a/", "body": base64.b64encode(body).decode(), "text": 'a "quoted" \\ one'}
    content = b"first\n" + json.dumps(record).encode() + b"\nlast\n"
    reading = read_lines(io.BytesIO(content), spooled)
    assert next(reading).text == b"first"
    line = next(reading)
    assert (line.offset, line.length) == (6, len(json.dumps(record)))
    assert line.text is not None
    assert len(line.text) < 1000
    parsed = json.loads(line.text)
    assert (parsed["url"], parsed["text"]) == (record["url"], record["text"])
    read = spooled.body(parsed["body"])
    assert read.size == len(body)
    assert b"".join(read.pieces()) == body
    last = next(reading)
    assert (last.offset, last.text) == (len(content) - 5, b"last")


@pytest.mark.parametrize("seed", range(4))
def test_blocks_of_any_size_give_the_same(seed: int, spooled: Spool) -> None:
    chance = random.Random(seed)
    body = chance.randbytes(300_000)
    record = json.dumps({"body": base64.b64encode(body).decode(), "text": '\\"' * 5})
    # A long line is one that is longer than what is held; numbers in it are long, too.
    content = f"a\n{' ' * (LONG_LINE - 100_000)}{record}\nb\n{record}\n".encode()
    whole = [(line.offset, line.length) for line in lines(content, spooled)]
    found = []
    for line in read_lines(Trickle(content, chance), spooled):
        found.append((line.offset, line.length))
        if line.length > LONG_LINE and line.text is not None:
            assert b"".join(spooled.body(json.loads(line.text)["body"]).pieces()) == body
    assert found == whole


@pytest.mark.parametrize(
    "line",
    [
        b"x" * (2 * LONG_LINE),
        b'{"text": "' + b"\xff" * (2 * LONG_LINE) + b'"}',
        b'{"body": "' + b"A" * LONG_LINE + b"!" * LONG_LINE,
        b'"\\' * LONG_LINE,
    ],
    ids=["no string", "a text", "base64 that ends", "escapes"],
)
def test_a_long_line_of_something_else_is_named_and_left_out(line: bytes, spooled: Spool) -> None:
    found = lines(b"a\n" + line + b"\nb\n", spooled)
    assert [(one.offset, one.length) for one in found[:3]] == [(0, 1), (2, len(line)), (3 + len(line), 1)]
    assert found[1].text is None
    assert found[2].text == b"b"


def test_a_string_that_never_ends_ends_with_its_line(spooled: Spool) -> None:
    torn = b'{"body": "' + b"A" * (2 * LONG_LINE) + b"\\"
    found = list(read_lines(io.BytesIO(torn + b'\n{"seq": 2}\n'), spooled))
    assert found[1].text == b'{"seq": 2}'


@pytest.mark.parametrize("text", ["AAA", "A===", "AA=A", "€"])
def test_what_is_no_base64_is_said_before_anything_is_written(text: str, spooled: Spool) -> None:
    with pytest.raises(ValueError, match="base64"):
        spooled.body(text)
    spooled.clear()
    name = spooled.begin().decode()
    spooled.add(b"A" * 400_000 + text.encode("ascii", "replace"))
    with pytest.raises(ValueError, match="base64"):
        spooled.body(name)
