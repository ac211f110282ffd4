"""Carrying exchanges away: a file in another program's format, with or without what is secret in it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from wiretape.errors import NotFoundError, WiretapeError
from wiretape.model import ExchangeDetail, Lean, Table
from wiretape.new_file import new_file
from wiretape.secrets.redaction import Redaction, chunks
from wiretape.session.answers.covered import UPGRADED
from wiretape.session.answers.export_formats import Exchanges, Export, writing
from wiretape.session.answers.learned import learned_noise
from wiretape.session.answers.web_socket import Message, as_har, web_socket_messages
from wiretape.session.session import Session

_LEFT: Final = 20
_SWITCHED: Final = 101
_EVERY: Final = 100

Progress = Callable[[int, int], None]


class Redacted(Lean, frozen=True):
    """What was replaced: distinct values, places, and places by kind."""

    values: int
    places: int
    kinds: dict[str, int]


class LeftOut(Lean, frozen=True):
    """Something of an exchange that is not in the file."""

    seq: int
    why: str


class Exported(Lean, frozen=True):
    """What was carried away: a file, or one request as ``text`` (curl).

    ``operations`` are those of an OpenAPI document; ``env`` names the variables of a script and where the recording has
    their values from, which stand in ``env_file``.
    """

    format: str
    file: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    exchanges: int | None = None
    seq: int | None = None
    text: str | None = None
    env: dict[str, str] = msgspec.field(default_factory=dict)
    env_file: str | None = None
    redacted: Redacted | None = None
    check: str | None = None
    left: list[LeftOut] = msgspec.field(default_factory=list)
    left_more: int = 0
    openapi: str | None = None
    operations: Table | None = None


def export_file(sessions: list[Session], export: Export, target: Path, *, progress: Progress | None = None) -> Exported:
    """Write the exchanges of sessions to a new file.

    Args:
        sessions: one, or several: OpenAPI is made of all, tests of the first, and they leave out what is another in the
            others.
        export: what is wanted.
        target: the file; it must not be there.
        progress: called with (exchanges done, exchanges in all).

    Raises:
        UsageError: the file is there. NotFoundError: no exchange is taken. StorageError: it cannot be written.
        WiretapeError: a redacted file still had a secret in it, and was thrown away.
    """
    if export.format == "pytest" and len(sessions) > 1:
        export = dataclasses.replace(export, noise=learned_noise(sessions[0], sessions[1:], export.wanted))
        sessions = sessions[:1]
    taken = _Taken(sessions, export, progress)
    with new_file(target) as file:
        writer = taken.writer()
        for piece in writer:
            file.write(piece)
        if not taken.count:
            raise NotFoundError("No exchange matches, so nothing was written", hint="leave filters out, or widen them")
        size, digest, leaks = _looked_through(file, taken.redaction)
        if leaks:
            raise WiretapeError(
                f"A second scan of the export found what was to be replaced ({', '.join(leaks)}); it was thrown away",
                hint="please report this; `wiretape secrets` says where such values stand",
                code="leak",
            )
    redaction = taken.redaction
    return Exported(
        format=export.format,
        file=str(target),
        bytes=size,
        sha256=digest,
        exchanges=taken.count,
        redacted=None if redaction is None else _told(redaction),
        check=None if redaction is None else "no secret found in a second scan of the file",
        left=taken.left[:_LEFT],
        left_more=max(0, len(taken.left) - _LEFT),
        **taken.result.told(),
    )


def _told(redaction: Redaction) -> Redacted:
    places = dict(sorted(redaction.places.items()))
    return Redacted(values=sum(redaction.kinds.values()), places=sum(places.values()), kinds=places)


def _looked_through(file: BinaryIO, redaction: Redaction | None) -> tuple[int, str, list[str]]:
    """Return the size and digest of what was written, and what of it a redaction should have replaced."""
    file.flush()
    file.seek(0)
    digest = hashlib.sha256()
    size = 0

    def pieces() -> Iterator[bytes]:
        nonlocal size
        for piece in chunks(file.read):
            digest.update(piece)
            size += len(piece)
            yield piece

    leaks: list[str] = []
    if redaction is not None:
        leaks = redaction.leaks(pieces())
    else:
        for _ in pieces():
            pass
    return size, digest.hexdigest(), leaks


class _Taken:
    """The exchanges of an export, counted as they go by."""

    def __init__(self, sessions: list[Session], export: Export, progress: Progress | None) -> None:
        self.count = 0
        self.left: list[LeftOut] = []
        self.redaction = Redaction() if export.redact else None
        self.result = writing(export, self._messages)
        self._current = sessions[0]
        self._sessions = sessions
        self._export = export
        self._progress = progress
        self._passes = 2 if export.redact else 1
        self._total = sum(session.follow().log.exchanges for session in sessions) * self._passes
        self._done = 0

    def writer(self) -> Iterator[bytes]:
        """Yield the file's bytes."""
        if self.redaction is not None:
            for session in self._sessions:
                for exchange in session.iterate(None):
                    self.redaction.learn(exchange)
                    for _, _, _, data in _web_socket(session, exchange)[0]:
                        self.redaction.learn_text(data.decode("utf-8", "replace"))
                    self._step()
        return self.result.write(self._exchanges())

    def _exchanges(self) -> Exchanges:
        for session in self._sessions:
            self._current = session
            for exchange in session.iterate(self._export.wanted, self._export.sort):
                self.count += 1
                self._note(exchange)
                yield exchange if self.redaction is None else self.redaction.redacted(exchange)
                self._step()

    def _step(self) -> None:
        self._done += 1
        if self._progress is not None and self._done % _EVERY == 0:
            self._progress(self._done, max(self._total, self._done))

    def _messages(self, exchange: ExchangeDetail) -> list[dict[str, Any]]:
        """Return the messages of a WebSocket as HAR has them."""
        messages, whole = _web_socket(self._current, exchange)
        if not whole:
            self._leave(exchange, "not all messages of its WebSocket are there")
        if self.redaction is not None:
            messages = [(*one[:3], self.redaction.data(one[3])) for one in messages]
        return list(as_har(exchange.timestamp, messages))

    def _note(self, exchange: ExchangeDetail) -> None:
        response = exchange.response
        switched = response is not None and response.status_code == _SWITCHED
        if switched and self._export.format != "har":
            self._leave(exchange, f"{self._export.format} has no place for messages")
        elif switched and not _web_socket(self._current, exchange)[0]:
            self._leave(exchange, UPGRADED)
        # What follows on a connection that was switched are its messages, of which that was said.
        for side, message in (("request", exchange.request), ("response", None if switched else response)):
            if message is not None and message.body_truncated:
                self._leave(
                    exchange, f"{message.body_recorded} of {message.body_size} bytes of the {side}'s body were recorded"
                )

    def _leave(self, exchange: ExchangeDetail, why: str) -> None:
        """Note what is not in the file; what two sessions have alike is told once."""
        one = LeftOut(seq=exchange.seq, why=why)
        if one not in self.left[-_LEFT:]:
            self.left.append(one)


def _web_socket(session: Session, exchange: ExchangeDetail) -> tuple[list[Message], bool]:
    if exchange.response is None or exchange.response.status_code != _SWITCHED:
        return [], True
    return web_socket_messages(session, exchange.seq)
