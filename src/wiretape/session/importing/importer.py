"""Import: recordings of other programs become a session, written by the log's own writer.

The session is built beside the others and put among them when it is whole, so that an import that is killed leaves
none. Numbers are given anew, in the recording's order; what each exchange was called there is in the log, in events of
kind ``import``.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from google_crc32c import extend
from google_crc32c import value as crc32c

from wiretape.errors import DamagedError, NotFoundError, UsageError
from wiretape.formats.foreign import Body, ForeignExchange, ForeignFrame, ForeignMessage, LeftOut, Unreadable
from wiretape.formats.har import read_har
from wiretape.formats.proxy_mcp import RECORDS, read_records
from wiretape.log.format import (
    BodyChunk,
    Done,
    EndState,
    Event,
    Flag,
    FrameType,
    MessageSeen,
    Opened,
    ResponseBegun,
)
from wiretape.log.locks import writer_alive
from wiretape.log.stream_writer import StreamIdentity, StreamWriter
from wiretape.model import Value
from wiretape.private_files import make_folder, storage_error, sync_folder
from wiretape.session.catalogue import Catalogue, SessionDir
from wiretape.session.index.database import Progress
from wiretape.session.manifest import read_manifest

STAGING: Final = ".importing"
IMPORT_EVENT: Final = "import"
_NS: Final = 1_000_000
_BATCH: Final = 500
_NAMED: Final = 10_000
"""Characters of foreign ids in one event: with 500 numbers and four bytes each they fit into its head."""
_WARNINGS: Final = 100
_MAX_HEAD: Final = 512 * 1024
_MAX_HOST: Final = 1024
_NOT_VISIBLE: Final = re.compile(rb"[^\x21-\x7e]")
_BEYOND: Final = re.compile(r"[?#\\ ]")
"""What does not stand before the path of a URL as programs write it."""
_SERVERS: Final = 1_000
_AT_ONCE: Final = 64
"""Exchanges that are written with one call, and bytes that are enough for one."""
_AT_ONCE_BYTES: Final = 1024 * 1024
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class ImportReport(Value, frozen=True):
    """What came in.

    ``imported`` counts exchanges, ``skipped`` what is no exchange, ``damaged`` what of that could not be read and the
    exchanges of which a part could not be read; ``warnings`` says what of each.
    """

    session_id: str
    name: str
    imported: int
    skipped: int
    damaged: int
    warnings: list[str]


def import_recording(
    root: Path, path: Path, *, name: str | None = None, strict: bool = False, progress: Progress | None = None
) -> ImportReport:
    """Make a session of another program's recording, damaged or not.

    Args:
        path: a HAR file, or a session folder of proxy-mcp, of which ``records.ndjson`` is enough. Nothing is written
            there.
        name: what the new session is called; None calls it ``har-import-<path's name>``,
            as proxy-mcp does, or ``import-<folder's name>``.
        strict: fail at the first damage and leave nothing.
        progress: called with (bytes read, bytes in all).

    Raises:
        NotFoundError: there is no such recording. UsageError: nothing in it can be read, or the name cannot be one.
        DamagedError: ``strict``, and it is damaged. StorageError: it cannot be read, or the root not be written.
    """
    file, read = (path / RECORDS, read_records) if path.is_dir() else (path, read_har)
    if not file.is_file():
        raise NotFoundError(
            f"{path} is not a HAR, and without {RECORDS} it is not a session of proxy-mcp either",
            hint="give a HAR file, the folder of one session, or the folder that holds them",
        )
    source = path.resolve().name
    name = name or _default_name(source, har=not path.is_dir())
    before = _imported_before(root, name)
    staging = _staging(root)
    try:
        made = Catalogue(staging).create(name)
        with file.open("rb") as opened:
            items = _counted(read(opened), opened.fileno(), opened.tell, progress)
            report = _write(made, items, source, strict=strict)
        if before is not None:
            again = f"{source} was imported before, as {before}; everything is there twice now"
            report = msgspec.structs.replace(report, warnings=[again, *report.warnings])
        return _put_in_place(root, made, report)
    except OSError as error:
        raise storage_error("import", file, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        with contextlib.suppress(OSError):
            staging.parent.rmdir()


def _imported_before(root: Path, name: str) -> str | None:
    """Return the session of the name that this recording gets: it became that in an earlier import, as a rule."""
    catalogue = Catalogue(root)
    for session_id in catalogue.ids():
        manifest = read_manifest(catalogue.folder / session_id, session_id)
        if manifest is not None and manifest.name == name:
            return session_id
    return None


def _default_name(source: str, *, har: bool) -> str:
    name = f"har-import-{Path(source).stem}" if har else f"import-{source}"
    return name.replace(":", "-")[:128]


def _staging(root: Path) -> Path:
    """Make a folder to build in; what imports that were killed have left goes."""
    beside = root / STAGING
    make_folder(beside)
    for left in beside.iterdir():
        if not any(writer_alive(log) for log in left.glob("sessions/*/log")):
            shutil.rmtree(left, ignore_errors=True)
    return beside / secrets.token_hex(8)


def _put_in_place(root: Path, made: SessionDir, report: ImportReport) -> ImportReport:
    target = Catalogue(root).folder
    make_folder(target)
    made.path.rename(target / made.session_id)
    sync_folder(target)
    return report


def _counted(items: Iterable[Any], fd: int, tell: Any, progress: Progress | None) -> Iterable[Any]:
    size = os.fstat(fd).st_size
    for number, item in enumerate(items):
        yield item
        if progress is not None and number % 100 == 0:
            progress(min(tell(), size), size)


def _write(
    made: SessionDir, items: Iterable[ForeignExchange | Unreadable | LeftOut], source: str, *, strict: bool
) -> ImportReport:
    writer = _Writer(made, source)
    skipped = damaged = 0
    warnings: list[str] = []
    left_out: dict[str, int] = {}

    def warn(sentence: str) -> None:
        if strict:
            raise DamagedError(f"{source}: {sentence}", hint="without --strict everything else is imported")
        if len(warnings) < _WARNINGS:
            warnings.append(sentence)

    try:
        for item in items:
            if isinstance(item, Unreadable):
                skipped, damaged = skipped + 1, damaged + 1
                warn(f"{item.length} bytes at {item.offset}: {item.reason}")
                continue
            if isinstance(item, LeftOut):
                skipped += item.exchange
                left_out[item.what] = left_out.get(item.what, 0) + item.count
                continue
            refusal = writer.write(item)
            if refusal is not None:
                skipped, damaged = skipped + 1, damaged + 1
                warn(f"exchange {item.number}: {refusal}")
            elif item.harmed:
                damaged += 1
                warn(f"exchange {item.number}: {item.harmed}")
        if not writer.written:
            raise UsageError(
                f"nothing in {source} can be read", hint="is it a HAR or a session of proxy-mcp with traffic?"
            )
        if writer.garbled:
            warnings.append(
                f"{writer.garbled} bodies are lost: they were no text, and {source} has nothing but a text of them"
            )
        if writer.decoded:
            warnings.append(
                f"{writer.decoded} bodies were stored decoded; their Content-Encoding is kept as "
                "X-Imported-Content-Encoding"
            )
        warnings.extend(f"{count} {what}" for what, count in left_out.items())
        writer.finish(skipped, damaged)
    finally:
        writer.close()
    return ImportReport(
        session_id=made.session_id,
        name=made.name,
        imported=writer.written,
        skipped=skipped,
        damaged=damaged,
        warnings=warnings,
    )


class _Writer:
    """Writes foreign exchanges to one log, with the times they had."""

    def __init__(self, made: SessionDir, source: str) -> None:
        self.written = 0
        self.decoded = 0
        self.garbled = 0
        self._source = source
        self._now = 0
        self._servers: dict[str, tuple[str, str, int, str] | None] = {}
        self._flushed = 0
        self._names: list[list[Any]] = []
        self._named = 0
        self._log: StreamWriter | None = None
        self._made = made

    def write(self, exchange: ForeignExchange) -> str | None:
        """Write one exchange; a sentence when that cannot be."""
        server = self._server(exchange.url)
        if server is None:
            return f"its URL {exchange.url[:80]!r} names no server"
        scheme, host, port, target = server
        request = self._head(f"{exchange.method} {target} {exchange.request.version}", exchange.request)
        version = exchange.response.version if exchange.response is not None else ""
        response = self._head(f"{version} {exchange.status} {exchange.reason}", exchange.response)
        if max(len(request), len(response)) > _MAX_HEAD:
            return "its headers are larger than any real ones"
        if exchange.wall_ms is not None:  # else that of the exchange before is near enough
            self._now = exchange.wall_ms * _NS
        log = self._begun()
        seq = log.take_seq()
        opened = Opened(self._now, 0, scheme, host, port, "", len(request), source="import")
        crc = self._body(FrameType.OPENED, seq, opened, request, exchange.request.body)
        self._end(seq, exchange, response, crc)
        self._name(seq, exchange)
        self.written += 1
        if not self.written % _AT_ONCE or log.size - self._flushed > _AT_ONCE_BYTES:
            log.flush()
            self._flushed = log.size
        return None

    def _server(self, url: str) -> tuple[str, str, int, str] | None:
        """Return scheme, host, port and target of a URL; what stands before the path is taken apart once."""
        slash = url.find("/", url.find("//") + 2)
        before = url[:slash]
        if slash < 0 or not (before.isascii() and before.isprintable()) or _BEYOND.search(before):
            return _server(url)
        if before not in self._servers:
            if len(self._servers) >= _SERVERS:
                self._servers.clear()
            self._servers[before] = _server(f"{before}/")
        known = self._servers[before]
        if known is None:
            return None
        scheme, host, port, root = known
        return scheme, host, port, root[:-1] + _percent_encoded(url[slash:].partition("#")[0].replace("\t", "%09"))

    def _begun(self) -> StreamWriter:
        if self._log is None:
            session_id = self._made.session_id
            run = secrets.randbits(63)
            identity = StreamIdentity(session_id, 0, 1, run, os.getpid(), "", "wiretape import")
            self._log = StreamWriter(
                self._made.log_dir, identity, clock_ns=lambda: self._now, next_number=1, next_seq=1
            )
        return self._log

    def _head(self, line: str, message: ForeignMessage | None) -> bytes:
        if message is None:
            return b""
        self.decoded += message.decoded
        self.garbled += message.garbled
        if not message.decoded:
            text = "\r\n".join([line, *[f"{name}: {value}" for name, value in message.headers], "\r\n"])
            if text.isascii():  # nearly always
                return text.encode("ascii")
        lines = [line.encode("utf-8", "replace")]
        for name, value in message.headers:
            renamed = message.decoded and name.lower() in {"content-encoding", "content-length"}
            lines.append(_octets(f"{'x-imported-' if renamed else ''}{name}: {value}"))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _body(self, kind: FrameType, seq: int, record: Any, head: bytes, body: Body) -> int:
        """Write a head with the beginning of its body, the rest in chunks; return the body's CRC."""
        log = self._begun()
        pieces = body.pieces()
        first = next(pieces, b"")
        log.append(kind, seq, record, head + first)
        chunk = FrameType.REQUEST_BODY if kind == FrameType.OPENED else FrameType.RESPONSE_BODY
        position, crc = len(first), int(crc32c(first))
        for piece in pieces:
            log.append(chunk, seq, BodyChunk(position), piece)
            log.flush()
            position, crc = position + len(piece), extend(crc, piece)
        return crc

    def _end(self, seq: int, exchange: ForeignExchange, head: bytes, request_crc: int) -> None:
        request, response = exchange.request, exchange.response
        elapsed = round((exchange.duration_ms or 0) * _NS)
        response_crc = 0
        took = exchange.timings
        if response is not None:
            begun = ResponseBegun(max(elapsed - max(_ns(took.receive), 0), 0), exchange.status or 0, len(head))
            response_crc = self._body(FrameType.RESPONSE_HEAD, seq, begun, head, response.body)
        self._messages(seq, exchange.messages)
        done = Done(
            elapsed_ns=elapsed,
            state=EndState.COMPLETE if response is not None else EndState.FAILED,
            status=exchange.status or 0,
            head_size=0,
            request_size=_size(request),
            response_size=_size(response) if response is not None else 0,
            request_recorded=request.body.size,
            response_recorded=response.body.size if response is not None else 0,
            request_crc=request_crc,
            response_crc=response_crc,
            dns_ns=_ns(took.dns),
            connect_ns=_ns(took.connect),
            tls_ns=_ns(took.tls),
            send_ns=_ns(took.send),
            wait_ns=_ns(took.wait),
            receive_ns=_ns(took.receive),
            server=exchange.server,
            messages=len(exchange.messages),
            error="" if response is not None else exchange.error,
        )
        self._begun().append(FrameType.DONE, seq, done)

    def _messages(self, seq: int, messages: tuple[ForeignFrame, ...]) -> None:
        """Write the messages of a WebSocket, each in frames that end with one that says so."""
        log = self._begun()
        numbers = {False: 0, True: 0}
        for message in messages:
            numbers[message.from_server] += 1
            side = Flag.RESPONSE if message.from_server else 0
            position, size = 0, message.body.size
            for piece in (*message.body.pieces(), b"") if not size else message.body.pieces():
                after = position + len(piece)
                seen = MessageSeen(
                    round(message.at_ms * _NS), numbers[message.from_server], message.opcode, "", size, position
                )
                log.append(FrameType.MESSAGE, seq, seen, piece, side | (Flag.LAST if after >= size else 0))
                log.flush()
                position = after

    def _name(self, seq: int, exchange: ForeignExchange) -> None:
        self._names.append([seq, exchange.number, exchange.ident])
        self._named += len(exchange.ident or "")
        if len(self._names) >= _BATCH or self._named >= _NAMED:
            self._write_names()

    def _write_names(self) -> None:
        if self._names:
            detail = {"from": self._source, "exchanges": self._names}
            self._begun().append(FrameType.EVENT, 0, Event(self._now, IMPORT_EVENT, detail))
            self._names, self._named = [], 0

    def finish(self, skipped: int, damaged: int) -> None:
        """Write down where everything came from."""
        self._write_names()
        detail = {"from": self._source, "imported": self.written, "skipped": skipped, "damaged": damaged}
        self._begun().append(FrameType.EVENT, 0, Event(self._now, IMPORT_EVENT, detail))

    def close(self) -> None:
        """Seal the log."""
        if self._log is not None:
            self._log.close()


def _ns(milliseconds: float | None) -> int:
    return -1 if milliseconds is None else round(milliseconds * _NS)


def _size(message: ForeignMessage) -> int:
    return message.body.size if message.decoded else max(message.size, message.body.size)


def _server(url: str) -> tuple[str, str, int, str] | None:
    """Take a URL apart: scheme, host, port and what stands in the request line; None when it names no server."""
    url = url.replace("\t", "%09")  # urlsplit would take it out, and the parts no longer be where they are
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    host = parts.hostname
    if not host or not port or len(host) > _MAX_HOST:
        return None
    before, _, after = url.partition("#")[0].partition("//")
    netloc, target = after[: len(parts.netloc)].replace(" ", "%20"), _percent_encoded(after[len(parts.netloc) :])
    if parts.scheme == "http":
        return parts.scheme, host, port, f"{before}//{netloc}{target}"
    return parts.scheme, host, port, target if target.startswith("/") else f"/{target}"


def _percent_encoded(target: str) -> str:
    """Return a target as a browser sends it: what is not visible ASCII is percent-encoded (RFC 3987 section 3.1)."""
    if target.isascii() and target.isprintable() and " " not in target:
        return target
    try:
        octets = target.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair of surrogates
        octets = target.encode("utf-8", "surrogatepass")
    return _NOT_VISIBLE.sub(lambda found: b"%%%02X" % found[0][0], octets).decode("ascii")


def _octets(line: str) -> bytes:
    """Return a header line as the bytes it was made of: Node shows each as one character (RFC 9110 section 5.5)."""
    try:
        return line.encode("latin-1")
    except UnicodeEncodeError:
        return line.encode("utf-8", "replace")
