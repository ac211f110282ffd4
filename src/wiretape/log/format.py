"""The log's constants and record types: the one place that writer and reader share. FORMAT.md explains every byte.

Records are the msgpack "heads" of frames: arrays, positional, frozen. A later version may append fields with
defaults (old readers ignore what follows, old files take the default); it never removes or reorders one.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any, Final

import msgspec

MARK: Final = b"\x89WT"
"""What a frame starts with; a high byte first, so that text never contains it by chance."""
FORMAT_VERSION: Final = 1
MAGIC: Final = MARK + bytes([FORMAT_VERSION])

# magic+version, type, flags, head length, payload length, own offset, seq, segment's salt, payload CRC
HEADER: Final = struct.Struct("<4sBBHIIQQI")
HEADER_CRC: Final = struct.Struct("<I")
HEADER_SIZE: Final = HEADER.size + HEADER_CRC.size  # 40

SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""A segment is sealed and a new one begun when it has reached this size."""
MAX_CHUNK: Final = 256 * 1024
"""Bytes of body in one frame at most: what one damaged byte in a body can cost."""
MAX_HEAD: Final = 0xFFFF
MAX_PAYLOAD: Final = 2 * 1024 * 1024
"""No frame's payload is longer; a header that says so is damaged even if its CRC agrees."""
MAX_CERTIFICATES: Final = 256 * 1024
"""Bytes of a server's certificates in one TLS frame."""
MAX_PARTIAL: Final = 4_000
"""Seqs in one report of what was dropped: nine bytes each, at most, in a head."""


class FrameType(IntEnum):
    """Kinds of frames. Unknown kinds are skipped with a note by readers."""

    SEGMENT = 1
    OPENED = 2
    REQUEST_BODY = 3
    RESPONSE_HEAD = 4
    RESPONSE_BODY = 5
    TRAILERS = 6
    DONE = 7
    MESSAGE = 8
    TLS = 9
    MARKED = 10
    EVENT = 11
    SEAL = 12
    SENT = 13


class Flag:
    """Bits of a frame's flags byte; their meaning depends on the frame's type."""

    REQUEST_COMPLETE: Final = 0x01  # OPENED: the whole request body is inline
    INTERIM: Final = 0x01  # RESPONSE_HEAD: a 1xx answer, another head follows
    UNPARSED: Final = 0x02  # RESPONSE_HEAD: bytes that came where a head should be; status is 0
    RESPONSE: Final = 0x01  # TRAILERS, MESSAGE: of the response / from the server; SENT: to the client
    HAS_RESPONSE: Final = 0x01  # DONE: response head and body are inline
    FINAL: Final = 0x01  # SEAL: the stream ends here, the session was closed cleanly
    LAST: Final = 0x02  # MESSAGE, SENT: no more of this message follows
    SAME_BODY: Final = 0x04  # SENT: the body went on as it came


class DoneFlag:
    """Bits of DONE's ``flags`` field."""

    RETRIED: Final = 0x01  # the request was sent a second time, on a fresh connection
    REUSED: Final = 0x02  # the connection to the server had served an exchange before
    REQUEST_WHOLE: Final = 0x04  # the client sent its whole request
    CHANGED: Final = 0x08  # a rule changed the request or the response


class EndState(IntEnum):
    """How an exchange ended, as DONE records it."""

    COMPLETE = 0
    ABORTED = 1
    FAILED = 2
    MOCKED = 3
    BLOCKED = 4
    DROPPED = 5


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of the frames' heads; no collector of garbage need look at them, for none refers to itself."""


class SegmentHead(Record, frozen=True):
    """Head of the SEGMENT frame at offset 0: whose segment this is and who writes it.

    ``run`` is random and the same in all segments one recorder process writes to a session: an exchange opened in an
    earlier run and not done is ``interrupted``. ``first_seq`` is the next seq the stream will give, ``streams`` the
    step between the seqs of one stream.
    """

    session_id: str
    stream: int
    streams: int
    number: int
    first_seq: int
    wall_ns: int
    run: int
    pid: int
    boot_id: str
    program: str


class Opened(Record, frozen=True):
    """Head of OPENED; the data is the raw request head (``head_size`` bytes) and the first bytes of the body.

    ``connection`` names the client connection (see TlsSeen); ``source`` is how it came: ``explicit``, ``connect``,
    ``reverse``, ``socks``, ``transparent``, ``replay``, ``import``. ``client`` is the client's address and
    ``accepted_at`` the one it had connected to, both ``HOST:PORT``. ``protocol`` is ``h2`` or ``h3``, empty for HTTP/1;
    ``stream`` is the number of its stream there. ``process`` is the client's, ``PID NAME``.
    """

    wall_ns: int
    connection: int
    scheme: str
    host: str
    port: int
    client: str
    head_size: int
    source: str = "explicit"
    protocol: str = ""
    stream: int = 0
    process: str = ""
    accepted_at: str = ""


class BodyChunk(Record, frozen=True):
    """Head of REQUEST_BODY and RESPONSE_BODY: where in the body these bytes belong, and when they had arrived.

    ``elapsed_ns`` counts from the exchange's beginning, -1 where it is not known.
    """

    position: int
    elapsed_ns: int = -1


class ResponseBegun(Record, frozen=True):
    """Head of RESPONSE_HEAD; the data is the raw response head, then the first bytes of the body."""

    elapsed_ns: int
    status: int
    head_size: int


class TrailersSeen(Record, frozen=True):
    """Head of TRAILERS; the data is the raw trailer section, without the empty line."""

    count: int = 0


class Done(Record, frozen=True):
    """Head of DONE; the data, with HAS_RESPONSE, is the raw response head and the whole body.

    Sizes count body bytes on the wire, transfer coding removed; CRCs are CRC-32C of those bytes; ``*_recorded`` is how
    many of them the log holds (fewer than the size in the preview profile). Times are nanoseconds, -1 where there was
    no such part. ``server`` is the server's address, ``sent_from`` our own on that connection, both ``HOST:PORT``;
    ``upstream_connection`` names it (see TlsSeen), 0 for none. ``messages`` counts those of an upgraded or streaming
    exchange, ``flags`` are the bits of DoneFlag.
    """

    elapsed_ns: int
    state: int
    status: int
    head_size: int
    request_size: int
    response_size: int
    request_recorded: int
    response_recorded: int
    request_crc: int
    response_crc: int
    dns_ns: int = -1
    connect_ns: int = -1
    tls_ns: int = -1
    send_ns: int = -1
    wait_ns: int = -1
    receive_ns: int = -1
    server: str = ""
    upstream_connection: int = 0
    error_code: str = ""
    error: str = ""
    messages: int = 0
    flags: int = 0
    sent_from: str = ""


class MessageSeen(Record, frozen=True):
    """Head of MESSAGE; the data are bytes of the message from ``position`` on; the frame with the flag LAST ends it.

    ``number`` counts the messages of one side from 1; ``opcode`` is WebSocket's, 0 elsewhere; ``event`` is the type of
    a server-sent event, empty elsewhere; ``size`` is the whole message's, -1 while nobody knows. ``reserved`` are the
    reserved bits of a WebSocket's first frame, at their places (0x40 where the data are compressed); ``fault`` is what
    was wrong with a frame that these bytes are from, empty where nothing was.
    """

    elapsed_ns: int
    number: int
    opcode: int = 0
    event: str = ""
    size: int = -1
    position: int = 0
    reserved: int = 0
    fault: str = ""


class SentOn(Record, frozen=True):
    """Head of SENT: what the rule named ``rule`` did in a stage, and what went on after it.

    Each rule that acted on a message has a frame; the last of them has the message that went on, where it was changed:
    the raw head (``head_size`` bytes), then bytes of the body. Further frames have more of the body from ``position``
    on; the last frame has the flag LAST. ``stage`` is ``answer``, ``request`` or ``response``; ``description`` is the
    rule's; ``note`` says what it could not do.
    """

    elapsed_ns: int
    rule: str
    head_size: int = 0
    position: int = 0
    stage: str = ""
    description: str = ""
    note: str = ""


PASSED: Final = "passed"
"""``TlsSeen.verified`` of a client's handshake that was not intercepted."""


class TlsSeen(Record, frozen=True):
    """Head of TLS: one handshake; the data is the client's raw ClientHello where it was seen, or the certificates.

    ``side`` is ``client`` (towards us) or ``server`` (ours towards the server); ``error_code`` is empty when
    it succeeded. ``verified`` is empty where no server was verified, ``ok``, ``off``, or why it is not trusted, and
    of a client's that was not intercepted ``PASSED``;
    ``certificates`` is how many the server sent, ``hello`` its ServerHello message, empty where it was not seen.
    """

    wall_ns: int
    connection: int
    side: str
    host: str
    port: int
    sni: str
    alpn: str
    version: str
    cipher: str
    error_code: str = ""
    error: str = ""
    verified: str = ""
    certificates: int = 0
    hello: bytes = b""


class Event(Record, frozen=True):
    """Head of EVENT: something that happened to the recording itself; EVENT_KEYS has the kinds."""

    wall_ns: int
    kind: str
    detail: dict[str, Any]


class Marked(Record, frozen=True):
    """Head of MARKED: a label set by the user; frame seq is the last seq given before it."""

    wall_ns: int
    label: str


class Seal(Record, frozen=True):
    """Head of SEAL, the last frame of a finished segment.

    ``opened``/``done`` count those frames; ``next_seq`` is the seq the stream gives next. ``digest`` is 0; earlier
    releases summed the segment's bytes there.
    """

    wall_ns: int
    frames: int
    opened: int
    done: int
    first_seq: int
    next_seq: int
    digest: int = 0


RECORDS: Final[dict[FrameType, type[Record]]] = {
    FrameType.SEGMENT: SegmentHead,
    FrameType.OPENED: Opened,
    FrameType.REQUEST_BODY: BodyChunk,
    FrameType.RESPONSE_HEAD: ResponseBegun,
    FrameType.RESPONSE_BODY: BodyChunk,
    FrameType.TRAILERS: TrailersSeen,
    FrameType.DONE: Done,
    FrameType.MESSAGE: MessageSeen,
    FrameType.TLS: TlsSeen,
    FrameType.MARKED: Marked,
    FrameType.EVENT: Event,
    FrameType.SEAL: Seal,
    FrameType.SENT: SentOn,
}

EVENT_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "session": ("name", "createdNs", "profile", "durability", "maxDisk"),
    "dropped": ("exchanges", "partial", "fromTs", "toTs", "reason"),
    "suspect": ("segment", "cause", "rewritten"),
    "refused": ("client", "error", "code", "head"),
    "import": ("from", "exchanges", "imported", "skipped", "damaged"),
    "rules": ("rule", "change", "enabled"),
}
"""Every kind of EVENT, and the keys that its detail may have."""


def segment_name(stream: int, number: int) -> str:
    """Return the file name of a segment: ``0-00000001.wlog``."""
    return f"{stream}-{number:08d}.wlog"


def lock_name(stream: int) -> str:
    """Return the file name of a stream's lock: ``0.lock``."""
    return f"{stream}.lock"
