"""A second HTTP/2 engine behind the port, of another making: python-hyper's h2. The suite holds both to the same."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from wiretape.wire.h2 import ErrorCode, Fields, Limits, Listener

_SETTINGS = h2.settings.SettingCodes
_GONE = (h2.exceptions.NoSuchStreamError, h2.exceptions.StreamClosedError)


class HyperEngine:
    """One connection's HTTP/2; see ``wire.h2.Engine``. Bodies wait here for the peer's windows: h2 has no queue."""

    def __init__(self, client: bool, limits: Limits, listener: Listener) -> None:
        self._client = client
        self._limits = limits
        self._listener = listener
        config = h2.config.H2Configuration(client, header_encoding=False, normalize_inbound_headers=False)
        self._connection = h2.connection.H2Connection(config)
        self._queues: dict[int, tuple[bytearray, bool, Fields]] = {}
        self._open: dict[int, int] = {}  # streams and which of their sides have ended: 1 the peer's, 2 ours
        self._last = b""
        self._broken = False

    def start(self) -> None:
        limits = self._limits
        values = {_SETTINGS.INITIAL_WINDOW_SIZE: limits.stream_window, _SETTINGS.ENABLE_PUSH: 0}
        if not self._client:
            values[_SETTINGS.MAX_CONCURRENT_STREAMS] = limits.streams
            values[_SETTINGS.MAX_HEADER_LIST_SIZE] = limits.head
        self._connection.local_settings = h2.settings.Settings(client=self._client, initial_values=values)
        self._connection.max_inbound_frame_size = 16_384
        self._connection.decoder.max_header_list_size = limits.head
        self._connection.initiate_connection()
        if limits.connection_window > 65_535:
            self._connection.increment_flow_control_window(limits.connection_window - 65_535)

    def receive(self, data: bytes) -> None:
        if self._broken:
            return
        try:
            events = self._connection.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self._broken = True
            self._last = self._connection.data_to_send()
            self._listener.broken(int(getattr(error, "error_code", ErrorCode.PROTOCOL_ERROR)), str(error))
            return
        for event in events:
            self._tell(event)
        for stream in list(self._queues):
            self._push(stream)

    def _tell(self, event: h2.events.Event) -> None:
        listener = self._listener
        match event:
            case h2.events.RequestReceived() | h2.events.ResponseReceived():
                self._open.setdefault(event.stream_id, 0)
                listener.head_came(event.stream_id, tuple(event.headers), event.stream_ended is not None)
            case h2.events.InformationalResponseReceived():
                listener.interim_came(event.stream_id, tuple(event.headers))
            case h2.events.DataReceived():
                listener.data_came(event.stream_id, event.data, event.stream_ended is not None)
            case h2.events.TrailersReceived():
                listener.trailers_came(event.stream_id, tuple(event.headers))
            case h2.events.StreamEnded():
                self._end(event.stream_id, 1)
            case h2.events.StreamReset():
                if event.remote_reset:
                    listener.reset_came(event.stream_id, int(event.error_code or 0))
                self._close(event.stream_id, int(event.error_code or 0))
            case h2.events.RemoteSettingsChanged():
                settings = self._connection.remote_settings
                listener.settings_came(settings.max_concurrent_streams)
            case h2.events.ConnectionTerminated():
                listener.going_away(event.last_stream_id or 0, int(event.error_code or 0), event.additional_data or b"")
            case _:
                pass

    def _end(self, stream: int, side: int) -> None:
        if stream in self._open:
            self._open[stream] |= side
            if self._open[stream] == 3:
                self._close(stream, 0)

    def _close(self, stream: int, code: int) -> None:
        self._queues.pop(stream, None)
        if self._open.pop(stream, None) is not None or code:
            self._listener.stream_closed(stream, code)

    def output(self, limit: int) -> bytes:
        if self._broken:
            last, self._last = self._last, b""
            return last
        return self._connection.data_to_send(limit) or b""

    @property
    def wants_output(self) -> bool:
        return bool(self._last if self._broken else self._connection._data_to_send)

    def request(self, fields: Fields, end: bool) -> int:
        stream: int = self._connection.get_next_available_stream_id()
        self._connection.send_headers(stream, list(fields), end_stream=end)
        self._open[stream] = 2 if end else 0
        return stream

    def send_head(self, stream: int, fields: Fields, end: bool) -> None:
        if stream in self._open:
            self._connection.send_headers(stream, list(fields), end_stream=end)
            if end:
                self._end(stream, 2)

    def send_interim(self, stream: int, fields: Fields) -> None:
        self.send_head(stream, fields, False)

    def send_data(self, stream: int, data: bytes, end: bool) -> None:
        self._queue(stream, data, end, ())

    def send_trailers(self, stream: int, fields: Fields) -> None:
        self._queue(stream, b"", True, fields)

    def _queue(self, stream: int, data: bytes, end: bool, trailers: Fields) -> None:
        if stream in self._open:
            waiting, _, _ = self._queues.get(stream, (bytearray(), False, ()))
            self._queues[stream] = (waiting + data, end, trailers)
            self._push(stream)

    def _push(self, stream: int) -> None:
        waiting, end, trailers = self._queues[stream]
        connection = self._connection
        end_sent = False
        try:
            while waiting:
                size = min(connection.local_flow_control_window(stream), connection.max_outbound_frame_size)
                if size <= 0:
                    return
                piece = bytes(waiting[:size])
                del waiting[:size]
                whole = end and not trailers and not waiting
                connection.send_data(stream, piece, end_stream=whole)
                if whole:
                    end_sent = True
            del self._queues[stream]
            if trailers:
                connection.send_headers(stream, list(trailers), end_stream=True)
            elif end and not end_sent:
                connection.end_stream(stream)
        except _GONE:
            self._queues.pop(stream, None)
            return
        if end:
            self._end(stream, 2)

    def reset(self, stream: int, code: int) -> None:
        if stream in self._open:
            self._connection.reset_stream(stream, code)
            self._close(stream, code)

    def acknowledge(self, stream: int, size: int) -> None:
        if size and not self._broken:
            self._connection.acknowledge_received_data(size, stream)

    def queued(self, stream: int = 0) -> int:
        return sum(len(waiting) for number, (waiting, _, _) in self._queues.items() if stream in (0, number))

    def go_away(self, code: int, reason: bytes = b"") -> None:
        self._connection.close_connection(code, reason or None)
