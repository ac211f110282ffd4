"""WebSocket (RFC 6455) without sockets: what passes in one direction, read as messages. Bytes in, values out.

A reader that stands between two others has to follow what they agree on, not to judge it. So nothing it meets ends it:
a frame that the RFC forbids has a length like any other, and reading goes on behind it. What is wrong is named, and the
bytes are given as they came.
"""

from __future__ import annotations

from typing import Final, NamedTuple

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
COMPRESSED: Final = 0x40
"""RSV1: the message is compressed where permessage-deflate was agreed on (RFC 7692 section 6)."""

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_CONTROL_MAX: Final = 125
_LENGTH_16: Final = 126
_LENGTH_64: Final = 127
_LENGTH_MAX: Final = 1 << 63
_STEP: Final = 4096
_KNOWN: Final = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})

NOT_MASKED: Final = "a client's frame is not masked (RFC 6455 section 5.1)"
MASKED: Final = "a server's frame is masked (RFC 6455 section 5.1)"
RESERVED_BITS: Final = "reserved bits are set in a frame (RFC 6455 section 5.2)"
RESERVED_OPCODE: Final = "the opcode is a reserved one (RFC 6455 section 5.2)"
LONG_CONTROL: Final = "a control frame is longer than 125 bytes (RFC 6455 section 5.5)"
CUT_CONTROL: Final = "a control frame is fragmented (RFC 6455 section 5.5)"
LONG_LENGTH: Final = "a frame's length takes more bytes than it needs (RFC 6455 section 5.2)"
HUGE_LENGTH: Final = "a frame says that it is longer than 2^63 bytes (RFC 6455 section 5.2)"
NOTHING_TO_CONTINUE: Final = "a frame continues a message that has not begun (RFC 6455 section 5.4)"
NOT_CONTINUED: Final = "the message before it was not ended (RFC 6455 section 5.4)"
BAD_CLOSE: Final = "a closing message of one byte says no code (RFC 6455 section 5.5.1)"
CUT: Final = "the connection ended in the middle of it"


class Part(NamedTuple):
    """Bytes of a message, unmasked.

    Attributes:
        number: the message's, of this direction, from 1.
        opcode: the message's.
        reserved: the reserved bits of its first frame, at their places (0x70).
        size: of the whole message as sent, -1 while it is not known because more frames follow.
        position: where in the message these bytes begin.
        data: the bytes; compressed where the message is.
        last: whether they end it.
        fault: what is wrong with a frame that they are from, or empty.
    """

    number: int
    opcode: int
    reserved: int
    size: int
    position: int
    data: bytes
    last: bool
    fault: str


class _Message:
    """A message that has begun."""

    __slots__ = ("fault", "number", "opcode", "position", "reserved", "size")

    def __init__(self, number: int, opcode: int, reserved: int, size: int) -> None:
        self.number = number
        self.opcode = opcode
        self.reserved = reserved
        self.size = size
        self.position = 0
        self.fault = ""  # of a frame without any byte


class MessageReader:
    """Reads one direction of a WebSocket, cut into pieces anywhere, in memory that does not grow with its messages.

    Attributes:
        fault: the first thing that was wrong, and with which message; empty where nothing was.
        closed: a closing message has come.
    """

    __slots__ = (
        "_compression",
        "_fault",
        "_from_client",
        "_head",
        "_key",
        "_last",
        "_left",
        "_message",
        "_number",
        "_open",
        "closed",
        "fault",
    )

    def __init__(self, *, from_client: bool, compression: bool) -> None:
        """``compression``: permessage-deflate was agreed on, so RSV1 has a meaning."""
        self.fault = ""
        self.closed = False
        self._from_client = from_client
        self._compression = compression
        self._number = 0
        self._open: _Message | None = None  # whose next frame has not come
        self._head = b""  # what came of a frame's head that is not whole
        self._message: _Message | None = None  # of the frame whose payload comes now
        self._left = 0  # bytes of that payload that have not come
        self._last = False  # that frame ends its message
        self._key = b""  # its masking key, turned to where the payload goes on
        self._fault = ""

    def feed(self, data: bytes) -> list[Part]:
        """Take bytes and return what messages they are of, in order; ``data`` may end anywhere."""
        parts: list[Part] = []
        at = 0
        if self._message is not None:
            at = self._payload(data, 0, parts)
        elif self._head:
            data = self._head + data
        end = len(data)
        while at < end:
            start = self._begin(data, at)
            if not start:
                self._head = data[at:]
                return parts
            at = self._payload(data, start, parts)
        self._head = b""
        return parts

    def end(self) -> Part | None:
        """Take note that nothing follows; return what says that a message was cut, if one was."""
        message = self._message or self._open
        if message is None and not self._head:
            return None
        if message is None:
            message = _Message(self._number + 1, self._head[0] & 0x0F, self._head[0] & _RESERVED, -1)
        data = b"" if self._message is not None else self._head
        return self._part(message, data, last=False, fault=CUT)

    def _begin(self, data: bytes, at: int) -> int:
        """Read a frame's head; return where its payload begins, 0 where the head is not whole."""
        end = len(data)
        if end - at < 2:
            return 0
        first, second = data[at], data[at + 1]
        size = second & 0x7F
        start, least = at + 2, 0
        if size == _LENGTH_16:
            start, least = at + 4, 126
        elif size == _LENGTH_64:
            start, least = at + 10, 65_536
        masked = second & _MASKED
        payload = start + 4 if masked else start
        if end < payload:
            return 0
        if least:
            size = int.from_bytes(data[at + 2 : start], "big")
        self._key = data[start:payload] if masked else b""
        self._left = size
        self._last = first & _FIN != 0
        self._fault = ""
        opcode = first & 0x0F
        self._message = self._message_of(opcode, first & _RESERVED, size)
        if size < least or size >= _LENGTH_MAX:
            self._note(LONG_LENGTH if size < least else HUGE_LENGTH)
        if bool(masked) is not self._from_client:
            self._note(NOT_MASKED if self._from_client else MASKED)
        if opcode >= CLOSE and (size > _CONTROL_MAX or not self._last):
            self._note(LONG_CONTROL if size > _CONTROL_MAX else CUT_CONTROL)
        if opcode == CLOSE:
            self.closed = True
            if size == 1:
                self._note(BAD_CLOSE)
        return payload

    def _message_of(self, opcode: int, reserved: int, size: int) -> _Message:
        """Return the message that a frame is of."""
        going_on = self._open
        allowed = COMPRESSED if self._compression and opcode in (TEXT, BINARY) else 0
        if opcode == CONTINUATION and going_on is not None:
            message = going_on
        else:
            self._number += 1
            message = _Message(self._number, opcode, reserved, size if self._last else -1)
            if opcode == CONTINUATION:
                self._note(NOTHING_TO_CONTINUE)
            elif opcode not in _KNOWN:
                self._note(RESERVED_OPCODE)
            elif opcode < CLOSE and going_on is not None:
                self._note(NOT_CONTINUED)
        if reserved & ~allowed:
            self._note(RESERVED_BITS)
        if opcode < CLOSE:
            self._open = None if self._last else message
        return message

    def _note(self, fault: str) -> None:
        self._fault = f"{self._fault}; {fault}" if self._fault else fault

    def _payload(self, data: bytes, start: int, parts: list[Part]) -> int:
        """Take what there is of a frame's payload from ``start`` on; return where the next frame begins."""
        message = self._message
        assert message is not None
        left = self._left
        available = len(data) - start
        whole = available >= left
        size = left if whole else available
        end = start + size
        # A control frame ends its message, also one that says it does not: nothing can continue it.
        last = whole and (self._last or message.opcode >= CLOSE)
        if size or last:
            payload = data[start:end]
            key = self._key
            if key and size:
                payload = unmask(payload, key)
                if not whole and size & 3:
                    turn = size & 3
                    self._key = key[turn:] + key[:turn]
            parts.append(self._part(message, payload, last=last, fault=self._fault))
            self._fault = ""
        elif self._fault:
            message.fault, self._fault = self._fault, ""
        if whole:
            self._message = None
        else:
            self._left = left - size
        return end

    def _part(self, message: _Message, data: bytes, *, last: bool, fault: str) -> Part:
        if message.fault:
            fault = f"{message.fault}; {fault}" if fault else message.fault
            message.fault = ""
        if fault and not self.fault:
            self.fault = f"message {message.number}: {fault}"
        position = message.position
        message.position = after = position + len(data)
        if last:
            message.size = after
        return Part(message.number, message.opcode, message.reserved, message.size, position, data, last, fault)


def unmask(data: bytes, key: bytes) -> bytes:
    """Return ``data`` with a masking key of four bytes put on it, or taken off (RFC 6455 section 5.3).

    As large numbers of 4 KB each: 3 µs for 1 KB, 13 for 4 KB; larger ones leave the processor's cache.
    """
    size = len(data)
    if size <= _STEP:
        return _xor(data, (key * ((size + 3) >> 2))[:size])
    keys = key * (_STEP >> 2)
    whole = size - size % _STEP
    out = [_xor(data[at : at + _STEP], keys) for at in range(0, whole, _STEP)]
    out.append(_xor(data[whole:], keys[: size - whole]))
    return b"".join(out)


def _xor(data: bytes, keys: bytes) -> bytes:
    return (int.from_bytes(data, "little") ^ int.from_bytes(keys, "little")).to_bytes(len(data), "little")
