"""HTTP/1.1 without sockets: heads, request targets and bodies. The face of this layer; the parts are imported below.

A connection is read like this: ``parse_request_head`` or ``parse_response_head`` over what has arrived until it gives
a head; ``body_reader(head)``; ``feed`` it ``buf[head.consumed:]`` and what follows until it is ``finished``; its
``rest`` begins the next message. What goes on to the next hop is ``head.forward(...)``, then the body's pieces, for
CHUNKED through ``encode_chunk`` and ``encode_last_chunk``.
"""

from __future__ import annotations

from wiretape.wire.body import BodyReader, CloseReader, LengthReader, body_reader
from wiretape.wire.chunked import MAX_TRAILERS, ChunkedDecoder, encode_chunk, encode_last_chunk
from wiretape.wire.grammar import CHUNKED, LENGTH, MAX_HEAD, NO_BODY, UNTIL_CLOSE
from wiretape.wire.request import RequestHead, parse_request_head
from wiretape.wire.response import ResponseHead, parse_response_head, response_faults
from wiretape.wire.target import parse_authority, split_target

__all__ = [
    "CHUNKED",
    "LENGTH",
    "MAX_HEAD",
    "MAX_TRAILERS",
    "NO_BODY",
    "UNTIL_CLOSE",
    "BodyReader",
    "ChunkedDecoder",
    "CloseReader",
    "LengthReader",
    "RequestHead",
    "ResponseHead",
    "body_reader",
    "encode_chunk",
    "encode_last_chunk",
    "parse_authority",
    "parse_request_head",
    "parse_response_head",
    "response_faults",
    "split_target",
]
