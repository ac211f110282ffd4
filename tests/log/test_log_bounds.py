"""Whatever is to be recorded fits into a frame: records are cut, and a frame refuses by name what cannot be in one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.log.test_stream_writer import make
from wiretape.errors import LogError
from wiretape.log.bounds import fitted
from wiretape.log.format import MAX_HEAD, MAX_PAYLOAD, RECORDS, Event, FrameType, Opened, Record, TlsSeen
from wiretape.log.frames import encode_frame
from wiretape.log.items import Frame
from wiretape.log.scan import scan_segment

VALUES = {int: st.integers(0, 2**63), str: st.text(), dict: st.dictionaries(st.text(), st.integers(0, 9))}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=6,
)


def opened(host: str) -> Opened:
    return Opened(1, 1, "http", host, 80, "client", 0)


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.name)
def test_a_record_with_every_text_too_long_is_cut_until_it_fits(kind: FrameType) -> None:
    fields = msgspec.structs.fields(RECORDS[kind])
    filled: dict[str, object] = {"int": 2**63 - 1, "str": "\U0001f4a5" * 70_000, "bytes": b"x" * 70_000}
    values = [{"much": ["x" * 100] * 5_000} if "dict" in str(f.type) else filled[f.type.__name__] for f in fields]
    record = RECORDS[kind](*values)
    head = fitted(record)
    assert len(head) <= MAX_HEAD
    again = msgspec.msgpack.decode(head, type=RECORDS[kind])
    for field in fields:
        value = getattr(again, field.name)
        if isinstance(value, str):
            assert len(value) in {1_000, 100, 10}
            assert value.endswith("\u2026")
        elif isinstance(value, bytes):
            assert len(value) in {1_000, 100, 10}
        elif isinstance(value, int):
            assert value == 2**63 - 1


@given(JSON)
def test_any_detail_of_an_event_can_be_written(value: object) -> None:
    head = fitted(Event(1, "kind", {"value": value}))
    assert msgspec.msgpack.decode(head, type=Event).kind == "kind"


@pytest.mark.parametrize("value", ["\ud800", 2**70, object(), [[[[[[[[[[[[1]]]]]]]]]]]], {"k": 1}])
def test_what_msgpack_has_no_form_for_is_written_all_the_same(tmp_path: Path, value: object) -> None:
    writer = make(tmp_path / "log")
    writer.append(FrameType.EVENT, 0, Event(1, "kind", {"value": value}))
    writer.append(FrameType.OPENED, 1, opened("half \udc00 a pair"))
    assert writer.flush()
    writer.close()
    frames = [item for item in scan_segment(next((tmp_path / "log").glob("*.wlog"))) if isinstance(item, Frame)]
    assert [frame.kind for frame in frames] == [1, 11, 2, 12]
    (record,) = (frame.record() for frame in frames if frame.kind == FrameType.OPENED)
    assert isinstance(record, Opened)
    assert record.host == "half ? a pair"


def test_a_record_that_fits_is_written_as_it_is(tmp_path: Path) -> None:
    writer = make(tmp_path / "log")
    record = opened("h" * 60_000)
    writer.append(FrameType.OPENED, 1, record)
    assert writer.flush()
    writer.close()
    frames = [item for item in scan_segment(next((tmp_path / "log").glob("*.wlog"))) if isinstance(item, Frame)]
    assert [frame.record() for frame in frames if frame.kind == FrameType.OPENED] == [record]


@pytest.mark.parametrize(("head", "data"), [(MAX_HEAD + 1, 0), (10, MAX_PAYLOAD - 9), (0, MAX_PAYLOAD + 1)])
def test_a_frame_refuses_by_name_what_does_not_fit(head: int, data: int) -> None:
    with pytest.raises(LogError, match=rf"a frame of kind 2 cannot hold a record of {head} bytes and {data} bytes"):
        encode_frame(FrameType.OPENED, 0, 0, 1, 1, bytes(head), bytes(data))


def test_a_refused_frame_costs_nothing_else(tmp_path: Path) -> None:
    writer = make(tmp_path / "log")
    before = writer.position
    record: Record = TlsSeen(1, 1, "server", "h", 1, "", "", "", "")
    with pytest.raises(LogError):
        writer.append(FrameType.TLS, 0, record, bytes(MAX_PAYLOAD))
    assert writer.position == before
    writer.append(FrameType.TLS, 0, record, b"certificate")
    assert writer.flush()
    writer.close()
    frames = [item for item in scan_segment(next((tmp_path / "log").glob("*.wlog"))) if isinstance(item, Frame)]
    assert [frame.kind for frame in frames] == [1, 9, 12]
