"""One body as answers look at it: decoded as far as it can be, with a sentence for everything that is not there."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from wiretape.errors import NotFoundError, WiretapeError
from wiretape.heads import field_values
from wiretape.model import ExchangeDetail, Message
from wiretape.session.bodies import NOT_RECORDED
from wiretape.session.content import as_text
from wiretape.session.session import Session

MAX_WHOLE: Final = 16 * 1024 * 1024
"""Decoded bytes of a body that an answer looks at; all of it goes to a file."""


_WITHOUT: Final = {
    "inFlight": "it is still running",
    "interrupted": "the recording ended before one came",
    "aborted": "the client left before one came",
    "dropped": "a rule broke the connection off",
}


Side = Literal["request", "response", "sent request", "received response"]
"""Whose body; the server's sides are there where a rule changed a message."""


class WholeBody(msgspec.Struct, frozen=True):
    """A body, content encoding removed.

    Attributes:
        seq: its exchange.
        side: ``request`` or ``response``.
        type: its content type as its header says, or None.
        data: the bytes, as far as they are there and can be decoded, MAX_WHOLE at most.
        missing: what is not in ``data`` and why, in a sentence; None where it is whole.
    """

    seq: int
    side: str
    type: str | None
    data: bytes
    missing: str | None

    @property
    def text(self) -> str | None:
        """The body as text; None where it is none."""
        return as_text(self.data, self.type, cut=self.missing is not None)


def side_of(detail: ExchangeDetail, side: Literal["request", "response"]) -> Message:
    """Return one side of an exchange.

    Raises:
        NotFoundError: it has none; the message says why.
    """
    message = detail.request if side == "request" else detail.response
    if message is not None:
        return message
    why = f": {detail.error['message'] or detail.error['code']}" if detail.error else ""
    state = _WITHOUT.get(detail.state, f"it {detail.state}{why}")
    raise NotFoundError(f"Exchange {detail.seq} has no {side}: {state}", hint="ask for the other side")


def read_whole(session: Session, seq: int, side: Side, *, message: Message | None = None) -> WholeBody:
    """Read one body.

    Args:
        session: where it is.
        seq: its exchange.
        side: which of the two.
        message: the message that it is of, where that has just been read.

    Raises:
        NotFoundError: no such exchange, or it has no such side. WiretapeError: nothing of the body was recorded.
    """
    if message is None:
        message = side_of(session.exchange(seq, bodies=False), "request" if "request" in side else "response")
    data, missing = _gathered(session, seq, side)
    if missing is not None and not data:
        # What cannot be decoded at all is looked at as it was on the wire.
        data, _ = _gathered(session, seq, side, decoded=False)
    content_type = next(iter(field_values(message.headers, "content-type")), None)
    return WholeBody(seq, side, content_type, data, missing)


def _gathered(session: Session, seq: int, side: str, *, decoded: bool = True) -> tuple[bytes, str | None]:
    data = bytearray()
    try:
        for piece in session.raw_body(seq, side, decoded=decoded, follow=False):
            data += piece
            if len(data) > MAX_WHOLE:
                del data[MAX_WHOLE:]
                return bytes(data), f"Only the first {MAX_WHOLE:,} bytes were looked at."
    except WiretapeError as error:
        if error.code == NOT_RECORDED and not data:
            raise
        return bytes(data), f"{error.message}."
    return bytes(data), None
