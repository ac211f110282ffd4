"""What an export can be, and the bytes of each: exchanges in, pieces of a file out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import msgspec

from wiretape import __version__
from wiretape.formats.curl import assignments, curl
from wiretape.formats.har_entry import har_entry
from wiretape.formats.json_layout import laid_out
from wiretape.formats.k6_code import k6_script
from wiretape.formats.openapi import OpenApi
from wiretape.formats.python_code import Tests, httpx_program
from wiretape.formats.replayable import Variables
from wiretape.json_lines import one_line
from wiretape.model import ExchangeDetail, Filter, Table

Format = Literal["har", "ndjson", "curl", "httpx", "pytest", "k6", "openapi"]
Exchanges = Iterator[ExchangeDetail]
MessagesOf = Callable[[ExchangeDetail], list[dict[str, Any]]]

SUFFIXES: Final[dict[str, str]] = {
    "har": ".har",
    "ndjson": ".ndjson",
    "curl": ".sh",
    "httpx": ".py",
    "pytest": ".py",
    "k6": ".js",
    "openapi": ".json",
}
"""The formats, and how their files end."""


@dataclass(frozen=True, slots=True)
class Export:
    """What is wanted.

    Attributes:
        format: one of ``SUFFIXES``.
        wanted: which exchanges; None takes all.
        redact: replace secrets and e-mail addresses.
        bodies: with bodies (HAR).
        sort: ``asc``, or ``desc`` for the newest first.
        shell: ``sh`` or ``powershell``, for curl.
        title: what the document is called.
        noise: JSON pointers in answers that are another in each run, by seq: tests do not assert them.
    """

    format: Format
    wanted: Filter | None = None
    redact: bool = False
    bodies: bool = True
    sort: str = "asc"
    shell: str = "sh"
    title: str = "recorded"
    noise: Mapping[int, frozenset[str]] = field(default_factory=dict)


class Writing(Protocol):
    """Makes one file."""

    def write(self, exchanges: Exchanges) -> Iterator[bytes]:
        """Yield the file's bytes."""

    def told(self) -> dict[str, Any]:
        """Return what else there is to say of the file, by the names of ``Exported``."""


def writing(export: Export, messages: MessagesOf) -> Writing:
    """Return what writes a format; ``messages`` gives those of a WebSocket as HAR has them."""
    if export.format == "har":
        return _Har(export, messages)
    makers: dict[str, Callable[[Export], Writing]] = {
        "ndjson": _Lines,
        "curl": _Curl,
        "httpx": _Httpx,
        "pytest": _Pytest,
        "k6": _K6,
        "openapi": _Document,
    }
    return makers[export.format](export)


class _Plain:
    def __init__(self, export: Export) -> None:
        self._export = export

    def told(self) -> dict[str, Any]:
        """Say nothing more."""
        return {}


class _Har(_Plain):
    def __init__(self, export: Export, messages: MessagesOf) -> None:
        super().__init__(export)
        self._messages = messages

    def write(self, exchanges: Exchanges) -> Iterator[bytes]:
        """Yield a HAR, an entry at a time."""
        encode = msgspec.json.Encoder().encode
        creator = encode({"name": "wiretape", "version": __version__})
        yield b'{"log":{"version":"1.2","creator":' + creator + b',"pages":[],"entries":['
        between = b"\n"
        for exchange in exchanges:
            yield between + encode(har_entry(exchange, bodies=self._export.bodies, messages=self._messages(exchange)))
            between = b",\n"
        yield b"\n]}}\n"


class _Lines(_Plain):
    def write(self, exchanges: Exchanges) -> Iterator[bytes]:
        """Yield a line of JSON for each exchange, as ``wiretape cat`` writes it."""
        encode = msgspec.json.Encoder().encode
        for exchange in exchanges:
            line = encode(exchange)
            yield (line if line.isascii() else one_line(line.decode()).encode()) + b"\n"


class _Curl(_Plain):
    def __init__(self, export: Export) -> None:
        super().__init__(export)
        self._variables = Variables()

    def write(self, exchanges: Exchanges) -> Iterator[bytes]:
        """Yield a script: variables for the secrets, then a command for each request."""
        shell = self._export.shell
        commands = []
        for exchange in exchanges:
            request = self._variables.request(exchange)
            self._variables.learn(exchange)
            if request is not None:
                commands.append(f"\n# seq {exchange.seq}\n{curl(request, shell)}\n")
        found = list(self._variables.by_value.values())
        first = "#!/bin/sh\n" if shell == "sh" else ""
        yield f"{first}# Requests that wiretape recorded; {len(commands)} in their order.\n".encode()
        yield assignments(found, shell, values=not self._export.redact).encode("utf-8", "surrogatepass")
        for command in commands:
            yield command.encode("utf-8", "surrogatepass")

    def told(self) -> dict[str, Any]:
        """Tell where the variables come from."""
        return {"env": {one.name: one.origin for one in self._variables.by_value.values()}}


class _Httpx(_Plain):
    def write(self, exchanges: Exchanges) -> Iterator[bytes]:
        """Yield a program."""
        for piece in httpx_program(exchanges, values=not self._export.redact):
            yield piece.encode("utf-8", "surrogatepass")


class _Pytest(_Plain):
    def write(self, exchanges: Exchanges) -> Iterator[bytes]:
        """Yield a file of tests."""
        for piece in Tests(self._export.noise).write(exchanges, values=not self._export.redact):
            yield piece.encode("utf-8", "surrogatepass")


class _K6(_Plain):
    def write(self, exchanges: Exchanges) -> Iterator[bytes]:
        """Yield a script for k6."""
        for piece in k6_script(exchanges, values=not self._export.redact):
            yield piece.encode("utf-8", "surrogatepass")


class _Document(_Plain):
    def __init__(self, export: Export) -> None:
        super().__init__(export)
        self._api = OpenApi(export.title)

    def write(self, exchanges: Exchanges) -> Iterator[bytes]:
        """Yield an OpenAPI document."""
        for exchange in exchanges:
            self._api.take(exchange)
        yield laid_out(self._api.document()).encode("utf-8", "surrogatepass") + b"\n"

    def told(self) -> dict[str, Any]:
        """Tell the operations."""
        columns = ["operation", "n", "statuses", "auth"]
        left = {"exchanges": self._api.skipped} if self._api.skipped else {}
        return {"openapi": "3.1.0", "operations": Table(columns=columns, rows=self._api.rows(), left=left)}
