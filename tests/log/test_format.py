"""FORMAT.md says what the code does: its tables and its worked example are compared with the real thing."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import wiretape.log.format as log_format
from tests.log.logbuilder import SegmentBuilder
from wiretape.log.format import (
    EVENT_KEYS,
    FORMAT_VERSION,
    HEADER,
    HEADER_CRC,
    HEADER_SIZE,
    MARK,
    MAX_CERTIFICATES,
    MAX_CHUNK,
    MAX_HEAD,
    MAX_PARTIAL,
    MAX_PAYLOAD,
    RECORDS,
    SEGMENT_BYTES,
    DoneFlag,
    EndState,
    Flag,
    FrameType,
    lock_name,
    segment_name,
)
from wiretape.log.frames import decode_header
from wiretape.log.items import Frame
from wiretape.log.scan import scan_segment

DOCUMENT = Path(log_format.__file__).with_name("FORMAT.md")


def document() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def example() -> SegmentBuilder:
    segment = SegmentBuilder(session="example", salt=0x0123456789ABCDEF, run=1)
    segment.small(1, response=b"hello\n")
    segment.seal()
    return segment


def hexdump(content: bytes) -> str:
    """Print bytes as ``hexdump -C`` does."""
    lines = []
    for at in range(0, len(content), 16):
        row = content[at : at + 16]
        left, right = (" ".join(f"{byte:02x}" for byte in half) for half in (row[:8], row[8:]))
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:08x}  {left:<23}  {right:<23}  |{text}|")
    return "\n".join(lines)


def worked_example() -> str:
    """Give the example's text as it stands in FORMAT.md."""
    segment = example()
    parts = []
    for offset, size, kind, seq in segment.frames:
        content = bytes(segment.buffer[offset : offset + size])
        header = decode_header(content)
        assert header is not None
        lines = [line.rstrip() for line in hexdump(content).splitlines()]
        title = f"{FrameType(kind).name} at {offset}, {size} bytes: head {header.head_length}, seq {seq}"
        title += f", payload CRC {header.payload_crc:08x}"
        parts.append("\n".join([title, *lines]))
    return "\n\n".join(parts)


def rows(heading: str, number: int = 0) -> list[list[str]]:
    """Give the cells of a table behind a heading, by default of the first."""
    section = document().split(f"\n{heading}\n", 1)[1]
    table = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)[number]
    lines = table.strip().splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def test_the_worked_example_is_what_the_code_writes() -> None:
    blocks = re.findall(r"```text\n(.*?)\n```", document().split("\n## Worked example\n", 1)[1], re.DOTALL)
    assert blocks[0] == worked_example()


def test_the_bytes_printed_in_the_document_are_read_by_the_reader(tmp_path: Path) -> None:
    block = re.findall(r"```text\n(.*?)\n```", document().split("\n## Worked example\n", 1)[1], re.DOTALL)[0]
    content = b"".join(
        bytes.fromhex(line[10:59].replace(" ", "")) for line in block.splitlines() if re.match(r"[0-9a-f]{8}  ", line)
    )
    path = tmp_path / segment_name(0, 1)
    path.write_bytes(content)
    items = list(scan_segment(path))
    assert [item.kind for item in items if isinstance(item, Frame)] == [
        FrameType.SEGMENT,
        FrameType.OPENED,
        FrameType.DONE,
        FrameType.SEAL,
    ]
    assert len(items) == 4


def test_the_header_table_has_the_headers_layout() -> None:
    table = rows("### Header")
    offset = 0
    for row in table:
        assert int(row[0]) == offset
        offset += int(row[1])
    assert offset == HEADER_SIZE
    sizes = [4, 1, 1, 2, 4, 4, 8, 8, 4, 4]
    assert HEADER.size + HEADER_CRC.size == sum(sizes)
    assert [int(row[1]) for row in table[-len(sizes) + 1 :]] == sizes[1:]


def test_the_table_of_frame_types_is_complete() -> None:
    assert [(int(row[0]), row[1]) for row in rows("## Frame types")] == [(kind.value, kind.name) for kind in FrameType]


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.name)
def test_each_records_fields_are_listed_in_order(kind: FrameType) -> None:
    fields = [field.name for field in msgspec.structs.fields(RECORDS[kind])]
    listed = next(row[1] for row in rows("## Records") if kind.name in row[0].replace("`", "").split(", "))
    assert [name.strip().strip("`") for name in listed.split(",")] == fields


def test_the_flags_are_all_described() -> None:
    listed = {row[1]: (int(row[0], 16)) for row in rows("## Flags")}
    assert listed == {name: value for name, value in vars(Flag).items() if name.isupper()}


def test_the_table_of_events_has_every_kind_with_its_keys() -> None:
    listed = {row[0]: tuple(key.strip().strip("`") for key in row[1].split(",")) for row in rows("### Events")}
    assert listed == EVENT_KEYS


def test_the_bits_of_dones_flags_are_all_described() -> None:
    listed = {row[1]: int(row[0], 16) for row in rows("## Records", 1)}
    assert listed == {name: value for name, value in vars(DoneFlag).items() if name.isupper()}


def test_the_limits_and_names_are_the_documents() -> None:
    text = document()
    assert f"{SEGMENT_BYTES // 2**20} MiB" in text
    assert f"{MAX_CHUNK // 1024} KiB" in text
    assert f"{MAX_PAYLOAD // 2**20} MiB" in text
    assert f"format version {FORMAT_VERSION}" in text
    assert MARK.hex(" ") in text
    assert segment_name(0, 1) in text
    assert lock_name(0) in text
    assert f"| {MAX_HEAD:,} bytes |" in text
    assert f"| {MAX_PARTIAL:,} seqs |" in text
    assert f"| certificates | {MAX_CERTIFICATES // 1024} KiB |" in text
    for state in EndState:
        assert f"{state.value} {state.name.lower()}" in text


if __name__ == "__main__":
    print(worked_example())
