"""Reading one direction of a WebSocket: messages, cut anywhere; what is wrong is named and ends nothing."""

from __future__ import annotations

import random
import struct
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as Code

from wiretape.wire import websocket
from wiretape.wire.websocket import CLOSE, COMPRESSED, CUT, PING, TEXT, MessageReader, Part, unmask


def frame(data: bytes, opcode: int = TEXT, *, fin: bool = True, mask: bool = True) -> bytes:
    """Write a frame with the library of another making."""
    return Frame(Code(opcode), data, fin=fin).serialize(mask=mask)


def raw(first: int, data: bytes, *, key: bytes, length: bytes | None = None) -> bytes:
    """Write a masked frame of which every part is as told."""
    second = bytes([len(data) | 0x80]) if length is None else length
    return bytes([first]) + second + key + unmask(data, key)


def joined(parts: list[Part]) -> list[tuple[int, int, int, bytes, bool, str]]:
    """Put the parts of each message together: number, opcode, reserved bits, data, whole, faults."""
    found: dict[int, list[Part]] = {}
    for part in parts:
        found.setdefault(part.number, []).append(part)
    whole = []
    for number, these in sorted(found.items()):
        data = b"".join(part.data for part in these)
        starts = accumulate((len(part.data) for part in these), initial=0)
        assert all(part.position == start for part, start in zip(these, starts, strict=False))
        assert all(part.data or part.last or part.fault for part in these)
        assert not any(part.last for part in these[:-1])
        assert not these[-1].last or these[-1].size == len(data)
        faults = "; ".join(part.fault for part in these if part.fault)
        whole.append((number, these[0].opcode, these[0].reserved, data, these[-1].last, faults))
    return whole


def read(*pieces: bytes, from_client: bool = True, compression: bool = False, end: bool = False) -> list[Part]:
    reader = MessageReader(from_client=from_client, compression=compression)
    parts = [part for piece in pieces for part in reader.feed(piece)]
    if end and (last := reader.end()) is not None:
        parts.append(last)
    return parts


TALK = b"".join(
    [
        frame(b"hello"),
        frame(b""),
        frame(b"frag", fin=False),
        frame(b"ping", PING),
        frame(b"men", 0, fin=False),
        frame(b"", 0, fin=False),
        frame(b"ted", 0),
        frame(b"x" * 125, 2),
        frame(b"y" * 126, 2),
        frame(bytes(range(256)) * 257, 2),
        frame(b"\x03\xe8bye", CLOSE),
    ]
)
TOLD = [
    (1, 1, 0, b"hello", True, ""),
    (2, 1, 0, b"", True, ""),
    (3, 1, 0, b"fragmented", True, ""),
    (4, 9, 0, b"ping", True, ""),
    (5, 2, 0, b"x" * 125, True, ""),
    (6, 2, 0, b"y" * 126, True, ""),
    (7, 2, 0, bytes(range(256)) * 257, True, ""),
    (8, 8, 0, b"\x03\xe8bye", True, ""),
]


def test_messages_are_read_with_their_fragments_and_what_comes_between() -> None:
    assert joined(read(TALK)) == TOLD
    whole = [part.size for part in read(TALK) if part.number == 3]
    assert whole == [-1, -1, 10]


def test_messages_are_the_same_wherever_the_bytes_are_cut() -> None:
    for cut in [*range(1, 420), *range(len(TALK) - 25, len(TALK))]:
        assert joined(read(TALK[:cut], TALK[cut:])) == TOLD, cut


def test_messages_are_the_same_byte_by_byte() -> None:
    short = TALK[:350]
    assert joined(read(*(short[at : at + 1] for at in range(350)))) == joined(read(short))


@given(st.lists(st.tuples(st.binary(max_size=300), st.sampled_from([1, 2, 9, 10])), max_size=8), st.randoms())
def test_whatever_another_library_writes_is_read(messages: list[tuple[bytes, int]], rng: random.Random) -> None:
    data = b"".join(frame(content[:125] if opcode > 8 else content, opcode) for content, opcode in messages)
    cuts = sorted(rng.sample(range(len(data) + 1), min(4, len(data))))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    told = [(one[3], one[1]) for one in joined(read(*pieces))]
    assert told == [(content[:125] if opcode > 8 else content, opcode) for content, opcode in messages]


def test_what_a_server_sends_is_not_masked() -> None:
    data = frame(b"hello", mask=False) + frame(b"x" * 70_000, 2, mask=False)
    assert joined(read(data, from_client=False)) == [(1, 1, 0, b"hello", True, ""), (2, 2, 0, b"x" * 70_000, True, "")]


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 4095, 4096, 4097, 8192, 10_001])
def test_a_mask_is_taken_off_at_every_length(size: int) -> None:
    data, key = random.Random(size).randbytes(size), b"\x01\xfe\x00\x80"
    assert unmask(data, key) == bytes(byte ^ key[at % 4] for at, byte in enumerate(data))


FAULTS = [
    ("not masked", frame(b"plain", mask=False), [b"plain"], websocket.NOT_MASKED),
    ("reserved opcode", raw(0x83, b"what", key=b"abcd"), [b"what"], websocket.RESERVED_OPCODE),
    ("reserved control", raw(0x8B, b"what", key=b"abcd"), [b"what"], websocket.RESERVED_OPCODE),
    ("reserved bits", raw(0xB1, b"bits", key=b"abcd"), [b"bits"], websocket.RESERVED_BITS),
    ("compressed unasked", raw(0xC1, b"bits", key=b"abcd"), [b"bits"], websocket.RESERVED_BITS),
    ("long ping", raw(0x89, b"p" * 126, key=b"abcd", length=b"\xfe\x00\x7e"), [b"p" * 126], websocket.LONG_CONTROL),
    ("cut ping", raw(0x09, b"ping", key=b"abcd"), [b"ping"], websocket.CUT_CONTROL),
    ("length of 16 bits", raw(0x81, b"five!", key=b"abcd", length=b"\xfe\x00\x05"), [b"five!"], websocket.LONG_LENGTH),
    (
        "length of 64 bits",
        raw(0x81, b"five!", key=b"abcd", length=b"\xff" + struct.pack(">Q", 5)),
        [b"five!"],
        websocket.LONG_LENGTH,
    ),
    ("nothing to continue", frame(b"more", 0), [b"more"], websocket.NOTHING_TO_CONTINUE),
    ("not continued", frame(b"one", fin=False) + frame(b"two"), [b"one", b"two"], websocket.NOT_CONTINUED),
    ("close of one byte", raw(0x88, b"\x03", key=b"abcd"), [b"\x03"], websocket.BAD_CLOSE),
]


@pytest.mark.parametrize(("data", "told", "fault"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_frame_that_the_rfc_forbids_is_named_and_what_follows_is_read(
    data: bytes, told: list[bytes], fault: str
) -> None:
    after = frame(b"after it")
    for cut in range(len(data) + 1):
        reader = MessageReader(from_client=True, compression=False)
        found = joined(reader.feed(data[:cut]) + reader.feed(data[cut:] + after))
        assert [one[3] for one in found] == [*told, b"after it"]
        assert found[len(told) - 1][5] == fault
        assert found[-1][5] == ""
        assert reader.fault == f"message {len(told)}: {fault}"


def test_a_length_that_no_frame_can_have_takes_all_that_follows() -> None:
    data = raw(0x81, b"all of it", key=b"abcd", length=b"\xff" + b"\xff" * 8)
    parts = read(data, b"and more", end=True)
    assert [part.last for part in parts] == [False, False, False]
    assert parts[0].fault == websocket.HUGE_LENGTH
    assert parts[-1].fault == CUT
    assert parts[0].data == b"all of it"


def test_compressed_is_no_fault_where_it_was_agreed_on_and_stands_on_a_first_frame() -> None:
    data = raw(0x41, b"abc", key=b"abcd") + frame(b"def", 0)
    assert joined(read(data, compression=True)) == [(1, 1, COMPRESSED, b"abcdef", True, "")]
    [one] = joined(read(raw(0xC9, b"abc", key=b"abcd"), compression=True))
    assert one[5] == websocket.RESERVED_BITS


@pytest.mark.parametrize("cut", range(1, 11))
def test_a_connection_that_ends_within_a_frame_leaves_what_came_and_says_so(cut: int) -> None:
    data = frame(b"hello")
    parts = read(data[:cut], end=True)
    assert parts[-1].fault == CUT
    assert not any(part.last for part in parts)
    if cut > 6:
        assert b"".join(part.data for part in parts) == b"hello"[: cut - 6]
    elif cut < 6:
        assert parts[-1].data == data[:cut]


def test_a_connection_that_ends_between_messages_leaves_nothing_more() -> None:
    assert read(frame(b"hello"), end=True) == read(frame(b"hello"))
    assert [part.fault for part in read(frame(b"hello", fin=False), end=True)] == ["", CUT]


def test_a_closing_message_is_noticed() -> None:
    reader = MessageReader(from_client=True, compression=False)
    reader.feed(frame(b"", CLOSE)[:1])
    assert not reader.closed
    reader.feed(frame(b"", CLOSE)[1:])
    assert reader.closed


def test_p8_a_message_of_any_length_is_given_piece_by_piece() -> None:
    reader = MessageReader(from_client=False, compression=False)
    head = b"\x82\x7f" + struct.pack(">Q", 100_000_000)
    seen = 0
    piece = bytes(64 * 1024)
    for part in reader.feed(head + piece):
        seen += len(part.data)
    while seen < 100_000_000:
        (part,) = reader.feed(piece[: 100_000_000 - seen])
        assert part.position == seen
        seen += len(part.data)
    assert part.last
    assert (part.size, part.number) == (100_000_000, 1)
