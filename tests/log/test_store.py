"""Names and order of segment files."""

from __future__ import annotations

from pathlib import Path

import pytest

from wiretape.errors import NotFoundError, StorageError
from wiretape.log.format import lock_name, segment_name
from wiretape.log.store import foreign_names, list_segments, parse_segment_name, stream_locks


@pytest.mark.parametrize("stream", [0, 1, 9, 10, 9999])
@pytest.mark.parametrize("number", [1, 99_999_999, 100_000_000])
def test_a_name_is_read_as_it_was_made(stream: int, number: int) -> None:
    assert parse_segment_name(segment_name(stream, number)) == (stream, number)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "0-1.wlog",
        "00-00000001.wlog",
        "0-000000001.wlog",
        "0-00000001.wlog\n",
        "-1-00000001.wlog",
        "٣-00000001.wlog",
    ],
)
def test_any_other_name_is_none(name: str) -> None:
    assert parse_segment_name(name) is None


def test_segments_are_ordered_by_stream_and_number_not_by_name(tmp_path: Path) -> None:
    expected = [(0, 1), (0, 2), (0, 100_000_000), (2, 1), (10, 1)]
    for stream, number in reversed(expected):
        (tmp_path / segment_name(stream, number)).write_bytes(b"x" * number if number < 10 else b"")
        (tmp_path / lock_name(stream)).touch()
    assert [(ref.stream, ref.number) for ref in list_segments(tmp_path)] == expected
    assert [ref.size for ref in list_segments(tmp_path)] == [1, 2, 0, 1, 1]
    assert [stream for stream, _ in stream_locks(tmp_path)] == [0, 2, 10]
    assert foreign_names(tmp_path) == []


def test_a_folder_that_is_not_there_or_no_folder_is_an_error_by_name(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        list_segments(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        list_segments(tmp_path / "file")
    assert stream_locks(tmp_path / "nowhere") == []
