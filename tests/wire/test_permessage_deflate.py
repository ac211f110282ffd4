"""Messages of permessage-deflate inflated: with and without those before them, bounded, and what does not inflate."""

from __future__ import annotations

import zlib

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from wiretape.wire import permessage_deflate
from wiretape.wire.permessage_deflate import STEP, Compression, InflateError, Inflater, agreed_compression

MESSAGES = [b'{"price": 1, "symbol": "BTC"}', b'{"price": 2, "symbol": "BTC"}', b"", b"x" * 100_000, b"bye"]


def packed(messages: list[bytes], *, fresh: bool) -> list[bytes]:
    """Compress messages as the library of another making does."""
    sender = PerMessageDeflate(False, fresh, 15, 15)
    return [bytes(sender.encode(Frame(Opcode.TEXT, message)).data) for message in messages]


def inflated(inflater: Inflater, data: bytes) -> bytes:
    found = b"".join([*inflater.feed(data), *inflater.finish()])
    inflater.next()
    return found


@pytest.mark.parametrize("fresh", [False, True])
def test_messages_inflate_in_their_order(fresh: bool) -> None:
    inflater = Inflater(fresh=fresh)
    assert [inflated(inflater, one) for one in packed(MESSAGES, fresh=fresh)] == MESSAGES


def test_a_message_inflates_wherever_it_is_cut() -> None:
    first, second = packed(MESSAGES[:2], fresh=False)
    for cut in range(len(second) + 1):
        inflater = Inflater(fresh=False)
        inflated(inflater, first)
        pieces = [*inflater.feed(second[:cut]), *inflater.feed(second[cut:]), *inflater.finish()]
        assert b"".join(pieces) == MESSAGES[1]


def test_where_messages_refer_to_those_before_none_inflates_behind_a_broken_one() -> None:
    first, second, third = packed([*MESSAGES[:2], b"third" * 9], fresh=False)
    inflater = Inflater(fresh=False)
    assert inflated(inflater, first) == MESSAGES[0]
    with pytest.raises(InflateError, match="does not inflate"):
        list(inflater.feed(b"\xff\xff" + second))
    inflater.next()
    with pytest.raises(InflateError, match="a message before it"):
        list(inflater.feed(third))


def test_where_each_stands_alone_the_next_inflates_behind_a_broken_one() -> None:
    _, second = packed(MESSAGES[:2], fresh=True)
    inflater = Inflater(fresh=True)
    with pytest.raises(InflateError, match="does not inflate"):
        list(inflater.feed(b"\xff\xff\xff"))
    inflater.next()
    assert inflated(inflater, second) == MESSAGES[1]


def test_a_message_that_was_ended_with_a_last_block_inflates() -> None:
    pack = zlib.compressobj(wbits=-15)
    data = pack.compress(b"the end") + pack.flush()  # RFC 7692 section 7.2.3.5
    inflater = Inflater(fresh=True)
    assert inflated(inflater, data) == b"the end"
    assert inflated(inflater, packed([b"again"], fresh=True)[0]) == b"again"


def test_p8_a_bomb_is_given_in_steps_and_ends_at_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permessage_deflate, "MAX_INFLATED", 8 * STEP)
    (bomb,) = packed([bytes(20 * STEP)], fresh=True)
    inflater = Inflater(fresh=True)
    seen: list[int] = []
    with pytest.raises(InflateError, match="more than"):
        seen.extend(len(piece) for piece in inflater.feed(bomb))
    assert max(len(piece) for piece in Inflater(fresh=True).feed(packed([bytes(7 * STEP)], fresh=True)[0])) <= STEP


@pytest.mark.parametrize(
    ("values", "agreed"),
    [
        ([], None),
        (["x-webkit-deflate-frame"], None),
        (["permessage-deflate"], Compression(False, False)),
        (["permessage-deflate; server_no_context_takeover"], Compression(False, True)),
        (["foo, PERMESSAGE-DEFLATE; Client_No_Context_Takeover;server_max_window_bits=10"], Compression(True, False)),
        (["foo", "permessage-deflate"], Compression(False, False)),
    ],
)
def test_what_was_agreed_on_is_read_of_the_response(values: list[str], agreed: Compression | None) -> None:
    assert agreed_compression(values) == agreed
