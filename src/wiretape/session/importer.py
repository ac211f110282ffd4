"""Import: recordings of other programs become a session, written by the log's own writer.

The session is built beside the others and put among them when it is whole, so that an import that is killed leaves
none. Numbers are given anew, in the recording's order; what each exchange was called there is in the log, in events of
kind ``import``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from google_crc32c import value as crc32c

from wiretape.errors import DamagedError, NotFoundError, UsageError
from wiretape.formats.foreign import ForeignExchange, ForeignMessage, Unreadable
from wiretape.formats.proxy_mcp import RECORDS, read_records
from wiretape.log.format import MAX_CHUNK, BodyChunk, Done, EndState, Event, FrameType, Opened, ResponseBegun
from wiretape.log.locks import writer_alive
from wiretape.log.writer import LogWriter, StreamIdentity
from wiretape.model import Value
from wiretape.session.catalogue import Catalogue, SessionDir
from wiretape.session.files import make_folder, storage_error, sync_folder
from wiretape.session.index import Progress

STAGING: Final = ".importing"
IMPORT_EVENT: Final = "import"
_NS: Final = 1_000_000
_BATCH: Final = 500
_WARNINGS: Final = 100
_MAX_HEAD: Final = 512 * 1024
_PORTS: Final = {"http": 80, "https": 443}


class ImportReport(Value, frozen=True):
    """What came in.

    ``imported`` counts exchanges, ``skipped`` ranges that are no exchange, ``damaged`` those and the exchanges of which
    a part could not be read; ``warnings`` says what of each.
    """

    session_id: str
    name: str
    imported: int
    skipped: int
    damaged: int
    warnings: list[str]


def import_proxy_mcp(
    root: Path, folder: Path, *, name: str | None = None, strict: bool = False, progress: Progress | None = None
) -> ImportReport:
    """Make a session of a proxy-mcp session folder, damaged or not.

    Args:
        folder: it has a ``records.ndjson``; nothing else in it is needed, and nothing is written there.
        name: what the new session is called; None calls it ``imported <folder's name>``.
        strict: fail at the first damage and leave nothing.
        progress: called with (bytes read, bytes in all).

    Raises:
        NotFoundError: there is no such recording. UsageError: nothing in it can be read, or the name cannot be one.
        DamagedError: ``strict``, and it is damaged. StorageError: it cannot be read, or the root not be written.
    """
    records = folder / RECORDS
    if not records.is_file():
        raise NotFoundError(
            f"{folder} has no {RECORDS}, so it is no session of proxy-mcp",
            hint="give the folder of one session, or the folder that holds them",
        )
    staging = _staging(root)
    try:
        made = Catalogue(staging).create(name or f"imported {folder.resolve().name}"[:128])
        with records.open("rb") as file:
            items = _counted(read_records(file), file.fileno(), file.tell, progress)
            report = _write(made, items, folder.resolve().name, strict=strict)
        return _put_in_place(root, made, report)
    except OSError as error:
        raise storage_error("import", records, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        with contextlib.suppress(OSError):
            staging.parent.rmdir()


def sessions_below(path: Path) -> list[Path]:
    """Give the proxy-mcp session folders that ``path`` means: itself, or those in it, by name.

    Raises:
        NotFoundError: there are none.
    """
    if (path / RECORDS).is_file():
        return [path]
    found = sorted(folder for folder in path.iterdir() if (folder / RECORDS).is_file()) if path.is_dir() else []
    if not found:
        raise NotFoundError(
            f"{path} is no session of proxy-mcp and holds none: there is no {RECORDS}",
            hint="its sessions are folders with records.ndjson, index.ndjson and manifest.json",
        )
    return found


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
    made: SessionDir, items: Iterable[ForeignExchange | Unreadable], source: str, *, strict: bool
) -> ImportReport:
    writer = _Writer(made, source)
    skipped = damaged = 0
    warnings: list[str] = []

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
            refusal = writer.write(item)
            if refusal is not None:
                skipped, damaged = skipped + 1, damaged + 1
                warn(f"exchange {item.number}: {refusal}")
            elif item.harmed:
                damaged += 1
                warn(f"exchange {item.number}: a part of it is not UTF-8; replacement characters stand there")
        if not writer.written:
            raise UsageError(
                f"nothing in {source} can be read", hint="is it a session of proxy-mcp with traffic in it?"
            )
        if writer.decoded:
            warnings.append(
                f"{writer.decoded} bodies are there without their content encoding alone; the header that names it is "
                "called x-imported-content-encoding"
            )
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
        self._source = source
        self._now = 0
        self._names: list[list[Any]] = []
        self._log: LogWriter | None = None
        self._made = made

    def write(self, exchange: ForeignExchange) -> str | None:
        """Write one exchange; a sentence when that cannot be."""
        parts = urlsplit(exchange.url)
        try:
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:
            port = 0
        if not parts.hostname or not port:
            return f"its URL {exchange.url[:80]!r} names no server"
        target = exchange.url if parts.scheme == "http" else exchange.url.split(parts.netloc, 1)[1] or "/"
        request = self._head(f"{exchange.method} {target} HTTP/1.1", exchange.request)
        response = self._head(f"HTTP/1.1 {exchange.status} {exchange.reason}", exchange.response)
        if max(len(request), len(response)) > _MAX_HEAD:
            return "its headers are larger than any real ones"
        self._now = exchange.wall_ms * _NS
        log = self._begun()
        seq = log.take_seq()
        opened = Opened(self._now, 0, parts.scheme, parts.hostname, port, "", len(request), source="import")
        self._body(FrameType.OPENED, seq, opened, request, exchange.request.body)
        self._end(seq, exchange, response)
        self._name(seq, exchange)
        self.written += 1
        log.flush()
        return None

    def _begun(self) -> LogWriter:
        if self._log is None:
            session_id = self._made.session_id
            run = secrets.randbits(63)
            identity = StreamIdentity(session_id, 0, 1, run, os.getpid(), "", "wiretape import")
            self._log = LogWriter(self._made.log_dir, identity, clock_ns=lambda: self._now, next_number=1, next_seq=1)
        return self._log

    def _head(self, line: str, message: ForeignMessage | None) -> bytes:
        if message is None:
            return b""
        self.decoded += message.decoded
        lines = [line]
        for name, value in message.headers:
            renamed = message.decoded and name.lower() in {"content-encoding", "content-length"}
            lines.append(f"{'x-imported-' if renamed else ''}{name}: {value}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace")

    def _body(self, kind: FrameType, seq: int, record: Any, head: bytes, body: bytes) -> None:
        """Write a head with the beginning of its body, the rest in chunks."""
        log = self._begun()
        log.append(kind, seq, record, head + body[:MAX_CHUNK])
        chunk = FrameType.REQUEST_BODY if kind == FrameType.OPENED else FrameType.RESPONSE_BODY
        for position in range(MAX_CHUNK, len(body), MAX_CHUNK):
            log.append(chunk, seq, BodyChunk(position), body[position : position + MAX_CHUNK])
            log.flush()

    def _end(self, seq: int, exchange: ForeignExchange, head: bytes) -> None:
        request, response = exchange.request, exchange.response
        elapsed = round((exchange.duration_ms or 0) * _NS)
        body = response.body if response is not None else b""
        if response is not None:
            begun = ResponseBegun(elapsed, exchange.status or 0, len(head))
            self._body(FrameType.RESPONSE_HEAD, seq, begun, head, body)
        done = Done(
            elapsed_ns=elapsed,
            state=EndState.COMPLETE if response is not None else EndState.FAILED,
            status=exchange.status or 0,
            head_size=0,
            request_size=_size(request),
            response_size=_size(response) if response is not None else 0,
            request_recorded=len(request.body),
            response_recorded=len(body),
            request_crc=crc32c(request.body),
            response_crc=crc32c(body),
            error="" if response is not None else "the recording it was imported from has no response",
        )
        self._begun().append(FrameType.DONE, seq, done)

    def _name(self, seq: int, exchange: ForeignExchange) -> None:
        self._names.append([seq, exchange.number, exchange.ident])
        if len(self._names) >= _BATCH:
            self._write_names()

    def _write_names(self) -> None:
        if self._names:
            detail = {"from": self._source, "exchanges": self._names}
            self._begun().append(FrameType.EVENT, 0, Event(self._now, IMPORT_EVENT, detail))
            self._names = []

    def finish(self, skipped: int, damaged: int) -> None:
        """Write down where everything came from."""
        self._write_names()
        detail = {"from": self._source, "imported": self.written, "skipped": skipped, "damaged": damaged}
        self._begun().append(FrameType.EVENT, 0, Event(self._now, IMPORT_EVENT, detail))

    def close(self) -> None:
        """Seal the log."""
        if self._log is not None:
            self._log.close()


def _size(message: ForeignMessage) -> int:
    return len(message.body) if message.decoded else max(message.size, len(message.body))
