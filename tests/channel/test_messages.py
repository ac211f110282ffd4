"""Lines of a channel, split at every byte."""

from __future__ import annotations

import pytest

from wiretape.channel.messages import Lines, decode, encode, error_from, failed, result
from wiretape.errors import DaemonError, NotFoundError, StorageError, UsageError, WiretapeError


def test_lines_come_out_whole_wherever_the_bytes_are_split() -> None:
    data = b'{"a":1}\n\n{"b":2}\nrest'
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            lines = Lines()
            found = lines.feed(data[:first]) + lines.feed(data[first:second]) + lines.feed(data[second:])
            assert found == [b'{"a":1}', b"", b'{"b":2}']
            assert lines.rest() == b"rest"


@pytest.mark.parametrize("piece", [1, 3, 7, 100])
def test_a_line_that_is_too_long_is_none_and_the_next_one_is_read(piece: int) -> None:
    data = b"x" * 11 + b"\n" + b"y" * 10 + b"\n" + b"z" * 50
    lines = Lines(limit=10)
    found = [line for at in range(0, len(data), piece) for line in lines.feed(data[at : at + piece])]
    assert found == [None, b"y" * 10]
    assert lines.rest() is None
    assert lines.feed(b"after\n") == [b"after"]


def test_messages_are_one_line_whatever_is_in_them() -> None:
    message = {"text": 'a\nb\r\u2028\ud800"\\', "number": 1}
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode(line) == message


@pytest.mark.parametrize("line", [b"", b"null", b"[1]", b"7", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_a_usage_error(line: bytes) -> None:
    with pytest.raises(UsageError, match="the line is not"):
        decode(line)


def test_errors_cross_the_channel_with_their_kind_code_and_hint() -> None:
    for error in (
        UsageError("a", hint="h"),
        NotFoundError("b"),
        StorageError("c"),
        DaemonError("d", code="proxy-running"),
    ):
        with pytest.raises(type(error)) as raised:
            result({"id": 1, **failed(error)})
        assert raised.value.to_json() == error.to_json()
    assert result({"id": 1, "ok": True, "x": 2}) == {"x": 2}


@pytest.mark.parametrize("value", [None, 5, {}, {"code": 7}])
def test_an_error_that_is_none_is_one_all_the_same(value: object) -> None:
    assert isinstance(error_from(value), WiretapeError)
