"""Entries of a HAR, whole and damaged: each that is whole is found, the rest is named by its place."""

from __future__ import annotations

import base64
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from wiretape.formats.foreign import Unreadable
from wiretape.formats.har_scan import Entry, Scanner
from wiretape.formats.har_text import base64_body, text_body

MITMPROXY = Path(__file__).parent / "fixtures" / "har" / "mitmproxy.har"


def entry(number: int, **more: Any) -> dict[str, Any]:
    url = f"http://a/{number}?\u00e9=\u65e5"
    return {"startedDateTime": "2026-01-01T00:00:00Z", "request": {"method": "GET", "url": url, "headers": []}, **more}


def har(*entries: Any, indent: int | None = None) -> bytes:
    pages = [{"startedDateTime": "2026-01-01T00:00:00Z", "id": "page_1"}]
    whole = {"log": {"version": "1.2", "pages": pages, "entries": list(entries), "comment": "x"}}
    return json.dumps(whole, ensure_ascii=False, indent=indent).encode()


class Found:
    """What a scanner says of some bytes: the entries, and the ranges that are none."""

    def __init__(self, path: Path, content: bytes, window: int | None = None) -> None:
        path.write_bytes(content)
        with path.open("rb") as file:
            items = list((Scanner(file, window) if window else Scanner(file)).items())
        self.entries = [item for item in items if isinstance(item, Entry)]
        self.lost = [(item.offset, item.length) for item in items if isinstance(item, Unreadable)]
        self.places = [(item.offset, item.length) for item in self.entries]
        self.values = [item.value for item in self.entries]
        places = sorted(self.places + self.lost)
        assert all(at + length <= following for (at, length), (following, _) in itertools.pairwise(places))
        assert all(at + length <= len(content) for at, length in places)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.har"


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\r\n  "])
def test_every_entry_is_given_with_its_place(file: Path, indent: int | None, before: bytes) -> None:
    content = before + har(*map(entry, range(5)), indent=indent)
    found = Found(file, content)
    assert found.values == [entry(number) for number in range(5)]
    assert [json.loads(content[at : at + length]) for at, length in found.places] == found.values
    assert found.lost == []


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 5000, b'{"log": {"entries": []}}', b'"entries" "request"'])
def test_where_there_is_no_entry_none_is_given(file: Path, content: bytes) -> None:
    found = Found(file, content)
    assert found.entries == []
    assert found.lost == []


def test_windows_of_any_size_give_the_same(file: Path) -> None:
    content = har(*(entry(number, comment="\u65e5" * (number * 37 % 400)) for number in range(300)))
    whole = Found(file, content)
    assert len(whole.entries) == 300
    for window in (4999, 8192, 50_001):
        again = Found(file, content, window)
        assert (again.places, again.values, again.lost) == (whole.places, whole.values, [])


def test_a_list_of_entries_that_is_the_whole_file_is_taken(file: Path) -> None:
    found = Found(file, json.dumps([entry(1), entry(2)]).encode())
    assert found.values == [entry(1), entry(2)]
    assert found.lost == []


def test_a_file_that_was_cut_has_lost_its_end_alone(file: Path) -> None:
    content = har(*map(entry, range(6)), indent=1)
    whole = Found(file, content).places
    for cut in range(whole[0][0], whole[-1][0] + whole[-1][1], 3):
        found = Found(file, content[:cut])
        assert found.places == [place for place in whole if sum(place) <= cut]
        assert len(found.lost) == 1
        assert sum(found.lost[0]) == cut
    for cut in range(whole[0][0], whole[-1][0], 5):
        found = Found(file, content[cut:])
        assert len(found.entries) == sum(at >= cut for at, _ in whole)


def test_a_flipped_bit_costs_one_entry_at_most(file: Path) -> None:
    sound = MITMPROXY.read_bytes()
    count = len(Found(file, sound).entries)
    assert count == 18
    chance = random.Random(3)
    for _ in range(150):
        content = bytearray(sound)
        bit = chance.randrange(len(content) * 8)
        content[bit // 8] ^= 1 << bit % 8
        found = Found(file, bytes(content))
        assert len(found.entries) >= count - 1
        assert len(found.entries) + len(found.lost) >= count


@pytest.mark.parametrize(
    ("old", "new", "entries"),
    [
        (b"}, {", b"} {", 6),
        (b"}, {", b"}] {", 6),
        (b"}, {", b"}\0\0{", 6),
        (b"}, {", b"}, 5, {", 6),
        (b'"headers": []}}, {', b'"headers": [{', 5),
        (b'"headers": []}}, {', b'"headers": [{}, {', 5),
        (b'"headers": []}}, {', b'"headers": "{', 5),
        (b'"headers": []}}, {', b'"headers": []}}}}, {', 6),
        (b'"headers": []}}, {', b'"headers": []}, {', 5),
        (b'"headers"', b'"headers', 5),
        (b'"request"', b'"require"', 5),
        (b'"log": {', b"\0" * 8, 6),
        (b'"entries"', b"\0" * 9, 6),
    ],
)
def test_damage_costs_the_entry_that_it_is_in_alone(file: Path, old: bytes, new: bytes, entries: int) -> None:
    sound = har(*map(entry, range(6)))
    at = sound.index(old, sound.index(b"a/1") if old[:2] in {b"}}", b"},", b'"h', b'"r'} else 0)
    found = Found(file, sound[:at] + new + sound[at + len(old) :])
    assert len(found.entries) == entries
    whole = [entry(number) for number in range(6)]
    assert all(value in whole for value in found.values)
    assert all(length < 700 for _, length in found.lost)


@pytest.mark.parametrize("length", [10, 30_000])
def test_p4_entries_that_have_run_into_the_next_ones_cost_themselves_however_many(file: Path, length: int) -> None:
    text = base64.b64encode(bytes(length))
    parts = [json.dumps(entry(number, response={"content": {"text": text.decode()}})).encode() for number in range(300)]
    torn = set(random.Random(5).sample(range(299), 90))
    listed = b"".join(
        part[: part.index(b'"headers": [') + 12] if number in torn else part + b"," for number, part in enumerate(parts)
    )
    # The brackets that end the file close what the first torn entry has left open.
    found = Found(file, b'{"log": {"entries": [' + listed[:-1] + b"]}}", 8192 if length < 100 else None)
    assert found.values == [json.loads(part) for number, part in enumerate(parts) if number not in torn]


def test_an_entry_with_times_of_its_own_inside_is_whole(file: Path) -> None:
    made = entry(1, _redirects=[{"startedDateTime": "x"}, {"startedDateTime": "y"}], comment='"startedDateTime"')
    assert Found(file, har(made, entry(2))).values == [made, entry(2)]


def test_p14_a_har_in_a_body_is_no_entry_of_this_one(file: Path) -> None:
    inner = har(*map(entry, range(3))).decode()
    found = Found(file, har(entry(1, response={"content": {"text": inner + '",'}}), entry(2)))
    assert len(found.entries) == 2
    torn = har(entry(1, response={"content": {"text": inner}}), entry(2)).replace(b'"request": {', b'"request": <', 1)
    assert Found(file, torn).values == [entry(2)]


def test_an_entry_longer_than_the_window_is_given_with_names_for_its_long_strings(file: Path) -> None:
    text = '"\\\n\u65e5\U0001f600' * 200_000
    content = har(entry(1), entry(2, comment=text, cache={"a": [1, {"b": "c"}]}), entry(3))
    file.write_bytes(content)
    with file.open("rb") as opened:
        scanner = Scanner(opened)
        items = scanner.items()
        assert next(items) is not None
        long = next(items)
        assert isinstance(long, Entry)
        assert scanner.texts.holds(long.value["comment"])
        assert "".join(scanner.texts.pieces(long.value["comment"])) == text
        assert long.value["cache"] == {"a": [1, {"b": "c"}]}
        assert json.loads(content[long.offset : long.offset + long.length])["comment"] == text
        last = next(items)
        assert isinstance(last, Entry)
        assert last.value == entry(3)


@pytest.mark.parametrize(
    "part", ['{"time":[', '{"time":{"_a":[0,0,', '{"_x":[{"request":{},"time":1},', '{"cache":"', "[{"]
)
def test_p14_a_file_made_to_be_read_again_and_again_is_not(file: Path, part: str) -> None:
    content = b'{"log":{"entries":[' + part.encode() * (300_000 // len(part)) + har(entry(1))
    file.write_bytes(content)
    with file.open("rb") as opened:
        scanner = Scanner(opened, 8192)
        for _ in scanner.items():
            pass
        # Every reading in vain is counted; the limit can be passed by the one that reaches it alone.
        assert scanner.vain > -2 * len(content)


@pytest.mark.parametrize(("text", "later"), [("AAAA", b"?"), ("AAAA", b'"'), ("\u00e9\u00e9", b"")])
def test_a_body_that_changes_while_it_is_read_is_said_to(file: Path, text: str, later: bytes) -> None:
    file.write_bytes(har(entry(1, comment=text * 800_000)))
    with file.open("rb") as opened:
        scanner = Scanner(opened)
        long = next(scanner.items())
        assert isinstance(long, Entry)
        named = long.value["comment"]
        body = text_body(scanner.texts, named, "", frozenset()) if not later else base64_body(scanner.texts, named)
        assert body is not None
        file.write_bytes(b"{" + later * file.stat().st_size)
        with pytest.raises(OSError, match="changed"):
            assert max(map(len, body.pieces())) <= 192 * 1024
