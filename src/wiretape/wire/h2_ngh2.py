"""The product's HTTP/2 engine: libnghttp2, through the package ngh2."""

from __future__ import annotations

import contextlib
from typing import Final

import ngh2
from ngh2 import events

from wiretape.wire.h2 import ErrorCode, Fields, Limits, Listener, go_away_frame

_INITIAL_WINDOW: Final = 65_535  # RFC 9113 section 6.9.2
_GONE: Final = (ngh2.StreamProtocolError, ngh2.ConnectionStateError, ngh2.ConnectionClosingError)

_HEADS: Final = (events.RequestReceived, events.ResponseReceived)


class Ngh2Engine:
    """One connection's HTTP/2; see ``wire.h2.Engine``."""

    __slots__ = ("_broken", "_connection", "_last", "_limits", "_listener", "_server", "_streams")

    def __init__(self, client: bool, limits: Limits, listener: Listener) -> None:
        self._server = not client
        self._limits = limits
        self._listener = listener
        self._broken = False
        self._last = b""
        self._streams = 1 << 31  # what the peer allows
        self._connection = ngh2.Connection(ngh2.Role.CLIENT if client else ngh2.Role.SERVER, _configuration(limits))

    def start(self) -> None:
        """Queue our settings, and of a client the preface."""
        limits = self._limits
        settings = {ngh2.Setting.INITIAL_WINDOW_SIZE: limits.stream_window}
        if self._server:
            settings[ngh2.Setting.MAX_CONCURRENT_STREAMS] = limits.streams
            settings[ngh2.Setting.MAX_HEADER_LIST_SIZE] = limits.head
        else:
            settings[ngh2.Setting.ENABLE_PUSH] = 0
        self._connection.initiate_connection(settings)
        if limits.connection_window > _INITIAL_WINDOW:
            self._connection.set_local_window_size(limits.connection_window)

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer and tell the listener."""
        if self._broken:
            return
        try:
            self._connection.receive_data(data)
        except ngh2.DenialOfServiceError as error:
            self._break(ErrorCode.ENHANCE_YOUR_CALM, error)
        except ngh2.NGH2Error as error:
            self._break(ErrorCode.PROTOCOL_ERROR, error)
        else:
            self._tell()

    def output(self, limit: int) -> bytes:
        """Return up to about ``limit`` bytes for the peer; b"" where nothing can be sent now."""
        last, self._last = self._last, b""
        try:
            data = self._connection.data_to_send(limit)
        except ngh2.NGH2Error as error:
            if not self._broken:
                self._break(ErrorCode.INTERNAL_ERROR, error)
            return last
        if not self._broken:
            self._tell()
            self._last = b""  # what is broken while it is put out has its last word in there
        return data or last

    @property
    def wants_output(self) -> bool:
        """Whether ``output`` has something for the peer, windows permitting."""
        return self._connection.want_write

    def _break(self, code: int, error: ngh2.NGH2Error) -> None:
        self._tell()
        self._end(code, str(error))

    def _end(self, code: int, reason: str) -> None:
        """Note the end; the library has no GOAWAY for all that it takes for an attack, so there is one of ours."""
        if not self._broken:
            self._broken = True
            self._last = go_away_frame(code, reason.encode("ascii", "replace")) if code else b""
            self._listener.broken(code, reason)

    def _tell(self) -> None:
        listener = self._listener
        for event in self._connection.events():
            if isinstance(event, events.DataReceived):
                listener.data_came(event.stream_id, event.data, event.end_stream)
            elif isinstance(event, _HEADS):
                listener.head_came(event.stream_id, event.headers, event.end_stream)
            elif isinstance(event, events.StreamClosed):
                listener.stream_closed(event.stream_id, event.error_code)
            else:
                self._tell_rarer(event)

    def _tell_rarer(self, event: events.Event) -> None:
        listener = self._listener
        match event:
            case events.TrailersReceived():
                listener.trailers_came(event.stream_id, event.headers)
            case events.InformationalResponseReceived():
                listener.interim_came(event.stream_id, event.headers)
            case events.StreamReset():
                listener.reset_came(event.stream_id, event.error_code)
            case events.SettingsReceived():
                self._streams = event.settings.get(ngh2.Setting.MAX_CONCURRENT_STREAMS, self._streams)
                listener.settings_came(self._streams)
            case events.GoAwayReceived():
                listener.going_away(event.last_stream_id, event.error_code, event.debug_data)
            case events.ConnectionClosed():
                self._end(event.error_code, event.debug_data.decode("ascii", "replace"))
            case _:
                pass  # what the library deals with by itself: PING, windows, priorities

    def request(self, fields: Fields, end: bool) -> int:
        """Queue a request; return its stream's number, 0 where no further stream can be opened."""
        try:
            return self._connection.send_request(fields, end_stream=end)
        except (*_GONE, ngh2.NoAvailableStreamIDError):
            return 0

    def send_head(self, stream: int, fields: Fields, end: bool) -> None:
        """Queue a final response's head."""
        with contextlib.suppress(*_GONE):
            self._connection.send_response(stream, fields, end_stream=end)

    def send_interim(self, stream: int, fields: Fields) -> None:
        """Queue a 1xx response's head."""
        with contextlib.suppress(*_GONE):
            self._connection.send_informational_response(stream, fields)

    def send_data(self, stream: int, data: bytes, end: bool) -> None:
        """Queue a piece of a body; it goes out as the peer's windows allow."""
        try:
            self._connection.send_data(stream, data, end_stream=end)
        except _GONE:
            pass

    def send_trailers(self, stream: int, fields: Fields) -> None:
        """Queue a trailer section, the end of our message."""
        with contextlib.suppress(*_GONE):
            self._connection.send_trailers(stream, fields)

    def reset(self, stream: int, code: int) -> None:
        """Queue the end of a stream; what was queued for it and not sent is dropped."""
        with contextlib.suppress(*_GONE):
            self._connection.reset_stream(stream, code)

    def acknowledge(self, stream: int, size: int) -> None:
        """Let the peer send ``size`` more bytes of the body."""
        try:
            self._connection.acknowledge_received_data(size, stream)
        except _GONE:
            pass

    def queued(self, stream: int = 0) -> int:
        """Return how many bytes of a stream's body, or of all, wait to be sent."""
        return self._connection.queued_body_size(stream or None)

    def go_away(self, code: int, reason: bytes = b"") -> None:
        """Queue GOAWAY: no new streams are taken, those that run go on."""
        with contextlib.suppress(*_GONE):
            self._connection.send_goaway(code, debug_data=reason)


def _configuration(limits: Limits) -> ngh2.Configuration:
    return ngh2.Configuration(
        auto_window_update=False,
        max_send_header_block_length=2 * limits.head,
        max_outbound_ack=limits.replies,
        max_settings=limits.settings,
        stream_reset_rate_limit=limits.resets,
        max_continuations=limits.continuations,
        glitch_rate_limit=limits.glitches,
        max_inbound_header_list_size=limits.head,
        max_inbound_header_count=limits.fields,
    )
