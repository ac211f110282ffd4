"""What can be set, as values that go unchanged from the command line or a tool to the process that acts on them.

``to_wire`` and ``from_wire`` carry them over a channel as JSON. The variables of the background and of the
loop are read here, when a program begins (``maintenance_from``); ``WIRETAPE_ROOT`` is read in config.py, and
``WIRETAPE_TRACEBACK`` in cli/main.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from wiretape.config import parse_age, parse_server, parse_size
from wiretape.errors import UsageError

Profile = Literal["full", "preview"]
Durability = Literal["os", "group", "always"]
OnFull = Literal["pass", "refuse"]

SCRUB_HOURS: Final = 24.0
"""How often every finished segment is read again."""

LOOP: Final = "WIRETAPE_LOOP"
BACKGROUND: Final = "WIRETAPE_BACKGROUND"
SCRUB: Final = "WIRETAPE_SCRUB_HOURS"
PROXY_AUTH: Final = "WIRETAPE_PROXY_AUTH"
PARITY: Final = "WIRETAPE_PARITY"
RETAIN_DAYS: Final = "WIRETAPE_RETAIN_DAYS"
RETAIN_TOTAL: Final = "WIRETAPE_RETAIN_TOTAL"
TEXT_INDEX: Final = "WIRETAPE_TEXT_INDEX"
"""Bytes that an index of substrings of one session may take on disk, such as ``500MB``; ``0`` makes none."""
TEXT_BYTES: Final = 4 * 1024**3
"""The environment's variables."""

SESSION_GONE: Final = "session-gone"
"""The code of a recorder's error when the log that it is to go on with has been deleted."""

S = TypeVar("S", bound="Setting")


class Setting(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A value that can be set."""


class Address(Setting, frozen=True):
    """A host and port to listen on; port 0 picks a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class SessionSettings(Setting, frozen=True):
    """How a session is recorded.

    Attributes:
        name: what it is called, or None.
        profile: bodies whole, or their first 4 KiB.
        durability: what a power cut may cost.
        max_disk: bytes the log may take, None for no cap.
        on_full: what happens to traffic that cannot be recorded.
        keep: False drops the session when the proxy stops.
    """

    name: str | None = None
    profile: Profile = "full"
    durability: Durability = "group"
    max_disk: int | None = None
    on_full: OnFull = "pass"
    keep: bool = True


CONNECT_SECONDS: Final = 20.0
WAIT_SECONDS: Final = 900.0
"""The SDKs of language models wait ten minutes for a first byte: who gives up before its client does hides it."""


class UpstreamSettings(Setting, frozen=True):
    """How servers are trusted and waited for, and by how many recorders they are asked.

    Attributes:
        workers: recorder processes.
        insecure: do not verify the servers' certificates.
        ca: a PEM file of further roots to trust.
        strict_http: refuse responses that RFC 9112 forbids, instead of mending what clients live with.
        connect_timeout: seconds for one address of a server, and again for the TLS handshake.
        first_byte_timeout: seconds from the last byte of a request to the first of the response.
        idle_timeout: seconds between two pieces of a body.
    """

    workers: int = 1
    insecure: bool = False
    ca: Path | None = None
    strict_http: bool = False
    connect_timeout: float = CONNECT_SECONDS
    first_byte_timeout: float = WAIT_SECONDS
    idle_timeout: float = WAIT_SECONDS


class Server(Setting, frozen=True):
    """A server that stands behind us: ``https://api.example.com``; ``port`` is never 0, ``host`` has no brackets."""

    scheme: Literal["http", "https"]
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Return what its Host header says: the host, and the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def server_of(url: str) -> Server:
    """Read ``https://api.example.com``.

    Raises:
        UsageError: it is no http or https URL, or it has more in it than a server.
    """
    scheme, host, port = parse_server(url)
    return Server(scheme="https" if scheme == "https" else "http", host=host, port=port)


class ArrivalSettings(Setting, frozen=True):
    """How clients may come to the proxy's port.

    Attributes:
        reverse: servers that requests are for which name none of their own; the first takes what names no other.
        pass_hosts: patterns of hosts whose TLS is not intercepted.
        pass_refused: nor that of hosts for which a client has refused our certificate.
        credentials: ``USER:PASSWORD`` that the proxy asks for; empty asks nobody.
        unix: a Unix socket at which the proxy listens, too.
    """

    reverse: tuple[Server, ...] = ()
    pass_hosts: tuple[str, ...] = ()
    pass_refused: bool = False
    credentials: str = ""
    unix: Path | None = None


class MaintenanceSettings(Setting, frozen=True):
    """What the background process does besides following and recovering.

    Attributes:
        retain_seconds: sessions that ended longer ago are deleted; None never.
        retain_total: the oldest are deleted while all together take more bytes; None never.
        parity: what is recorded from now on gets parity.
        scrub_seconds: how often every finished segment is read again; 0 never.
        text_bytes: an index of substrings of one session may take so many bytes on disk; 0 makes none.
        eager: work at everybody's priority.
        problems: sentences about settings that could not be read, and are not followed.
    """

    retain_seconds: float | None = None
    retain_total: int | None = None
    parity: bool = False
    scrub_seconds: float = SCRUB_HOURS * 3600
    text_bytes: int = TEXT_BYTES
    eager: bool = False
    problems: tuple[str, ...] = ()


class RecorderSettings(Setting, frozen=True):
    """What a recorder is told first.

    Attributes:
        root: the folder with the CA.
        listen_fd: the listening socket that it inherited.
        handover_fd: the Unix socket on which further ones come later, -1 for none.
        stream: the log stream that it alone writes, of ``streams``.
        upstream: how servers are trusted.
        api: where the daemon's API listens: what leads there is refused, so that no recording has its token (P14).
        source: what the log says of how clients came (``replay``); empty: how each did come.
        arrivals: how they may come.
    """

    root: Path
    listen_fd: int
    handover_fd: int = -1
    stream: int = 0
    streams: int = 1
    upstream: UpstreamSettings = UpstreamSettings()
    arrivals: ArrivalSettings = ArrivalSettings()
    api: Address | None = None
    source: str = ""


class RecordTarget(Setting, frozen=True):
    """The session that new exchanges are recorded to.

    Attributes:
        session_id: its id.
        dir: its folder.
        settings: how it is recorded.
        resume: a recorder has written it before and was replaced.
    """

    session_id: str
    dir: Path
    settings: SessionSettings = SessionSettings()
    resume: bool = False


class McpSettings(Setting, frozen=True):
    """What an MCP client is offered, and what it may do.

    Attributes:
        toolsets: the groups of tools.
        schemas: list the schemas of results too; they cost more tokens than all the rest.
        read_only: only tools that change nothing.
        reveal: show recorded secrets instead of handles.
        folder: where the client was started.
        files: folders below which tools may write files, besides ``<root>/exports``.
        allow_targets: hosts that recorded secrets may be sent to, besides those where the recording shows them.
    """

    toolsets: tuple[str, ...] = ("core",)
    schemas: bool = False
    read_only: bool = False
    reveal: bool = False
    folder: Path | None = None
    files: tuple[Path, ...] = ()
    allow_targets: tuple[str, ...] = ()


class ServeOptions(Setting, frozen=True):
    """How a daemon starts.

    Attributes:
        root: the folder that holds the CA and the sessions; made when it is not there.
        proxy: where the recording proxy listens; None starts none until a client asks (`proxy_start`).
        api: where MCP over Streamable HTTP is served; None serves the Unix socket alone.
        session: the session to open at once; None passes traffic on unrecorded until a session is started.
        upstream: how servers are trusted.
        arrivals: how clients may come to the proxy's port.
        rules: a file of rules in TOML, followed while it is edited.
        maintenance: what is done in the background.
        mcp: what clients of the API's address are offered; each bridge of ``wiretape mcp`` brings its own.
        json: print the one line of JSON when connections are accepted, and nothing else, on stdout.
        idle_exit: end after this many seconds without a bridge and without a proxy; None never.
        loop: the recorders' event loop; uvloop only where it is installed.
    """

    root: Path
    proxy: Address | None = Address(host="127.0.0.1", port=8080)
    api: Address | None = Address(host="127.0.0.1", port=8081)
    session: SessionSettings | None = SessionSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    arrivals: ArrivalSettings = ArrivalSettings()
    rules: Path | None = None
    maintenance: MaintenanceSettings = MaintenanceSettings()
    mcp: McpSettings = McpSettings()
    json: bool = False
    idle_exit: float | None = None
    loop: Literal["uvloop", "asyncio"] = "uvloop"


def to_wire(setting: Setting) -> dict[str, Any]:
    """Return a setting as JSON has it."""
    fields = msgspec.to_builtins(setting, enc_hook=str)
    assert isinstance(fields, dict)
    return fields


def from_wire(kind: type[S], fields: object) -> S:
    """Read a setting that came as JSON.

    Raises:
        UsageError: it is none of that kind; the sentence names the key.
    """
    try:
        return msgspec.convert(fields, kind, dec_hook=lambda wanted, value: wanted(value))
    except (msgspec.ValidationError, TypeError) as error:
        raise UsageError(f"settings that cannot be read: {error}", hint="are both of the same version?") from error


def loop_from(environ: Mapping[str, str]) -> Literal["uvloop", "asyncio"]:
    """Read which event loop recorders run on."""
    return "asyncio" if environ.get(LOOP) == "asyncio" else "uvloop"


def maintenance_from(environ: Mapping[str, str]) -> MaintenanceSettings:
    """Read the environment's settings. What cannot be read is told in ``problems``; nothing is deleted by it."""
    problems: list[str] = []
    days, total = environ.get(RETAIN_DAYS), environ.get(RETAIN_TOTAL)
    retain_seconds, retain_total = None, None
    try:
        retain_seconds = parse_age(f"{days}d") if days else None
        retain_total = parse_size(total) if total else None
    except UsageError as error:
        retain_seconds = retain_total = None
        problems.append(f"no session is deleted automatically: {error}")
    return MaintenanceSettings(
        retain_seconds=retain_seconds,
        retain_total=retain_total,
        parity=environ.get(PARITY, "") not in {"", "0"},
        scrub_seconds=_scrub_seconds(environ.get(SCRUB), problems),
        text_bytes=_text_bytes(environ.get(TEXT_INDEX), problems),
        eager=environ.get(BACKGROUND) == "eager",
        problems=tuple(problems),
    )


def _text_bytes(size: str | None, problems: list[str]) -> int:
    if not size or size == "0":
        return TEXT_BYTES if not size else 0
    try:
        return parse_size(size)
    except UsageError as error:
        problems.append(f"indexes of substrings take {TEXT_BYTES} bytes at most: {error}")
        return TEXT_BYTES


def _scrub_seconds(hours: str | None, problems: list[str]) -> float:
    if hours is None:
        return SCRUB_HOURS * 3600
    try:
        seconds = float(hours) * 3600
    except ValueError:
        seconds = math.nan
    if math.isfinite(seconds):
        return max(0.0, seconds)
    problems.append(f"{SCRUB}={hours[:40]!r} is not a number of hours: every {SCRUB_HOURS:g} hours it is")
    return SCRUB_HOURS * 3600
