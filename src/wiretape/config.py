"""Where the data lives and what the user's words for sizes and addresses mean. Only the standard library at import."""

from __future__ import annotations

import os
import re
from pathlib import Path

from wiretape.errors import UsageError

ROOT_VARIABLE = "WIRETAPE_ROOT"

_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kmgt]?i?b?)", re.IGNORECASE)
_AGE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[mhdw])", re.IGNORECASE)
_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_MAX_PORT = 65535
_SERVER = re.compile(
    r"(?P<scheme>https?)://(?:\[(?P<ipv6>[0-9a-f:.]{2,45})\]|(?P<name>[-a-z0-9._]{1,253}))(?::(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE | re.ASCII,
)


def default_root() -> Path:
    """Return ``$WIRETAPE_ROOT``, else wiretape's folder among the user's data on this platform."""
    if given := os.environ.get(ROOT_VARIABLE):
        return Path(given).expanduser().absolute()
    # Imported late: `wiretape mcp --root ...` starts without it.
    from platformdirs import user_data_path  # noqa: PLC0415

    return user_data_path("wiretape", appauthor=False)


def resolve_root(given: str | os.PathLike[str] | None) -> Path:
    """Return the absolute path of the root that was asked for, or the default; nothing is created."""
    return default_root() if given is None else Path(given).expanduser().absolute()


def parse_size(text: str) -> int:
    """Turn ``500``, ``20MB``, ``1.5GiB`` or ``10G`` into bytes.

    ``kB``, ``MB``, ``GB``, ``TB`` are powers of 1000; ``KiB`` ... and the bare letters ``K``, ``M``, ``G``, ``T``
    (as dd and du take them) powers of 1024.

    Raises:
        UsageError: it is no size, or it is zero.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a size", hint="write it as 500MB, 10GiB or a number of bytes")
    unit = found["unit"].lower()
    base = 1000 if unit.endswith("b") and not unit.endswith("ib") else 1024
    size = int(float(found["number"]) * base ** _POWER[unit.rstrip("b").rstrip("i")])
    if size < 1:
        raise UsageError(f"the size {text!r} leaves no room for anything", hint="leave the option out for no limit")
    return size


def parse_age(text: str) -> float:
    """Turn ``90m``, ``12h``, ``7d`` or ``4w`` into seconds.

    Raises:
        UsageError: it is no age.
    """
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text[:40]!r} is not an age", hint="write it as 90m, 12h, 7d or 4w")
    return float(found["number"]) * _SECONDS[found["unit"].lower()]


def parse_address(text: str) -> tuple[str, int]:
    """Split ``HOST:PORT`` (``127.0.0.1:8080``, ``[::1]:0``) into host, without brackets, and port.

    Raises:
        UsageError: it is no address, or the port is out of range.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or (":" in host and not bracketed) or not (port.isascii() and port.isdigit()):
        raise UsageError(
            f"{text!r} is not an address", hint="write it as HOST:PORT, for example 127.0.0.1:8080 or [::1]:0"
        )
    if int(port) > _MAX_PORT:
        raise UsageError(f"port {port} in {text!r} is out of range", hint="ports go from 0 (any free one) to 65535")
    return (host[1:-1] if bracketed else host), int(port)


def parse_server(text: str) -> tuple[str, str, int]:
    """Split ``https://api.example.com`` or ``http://[::1]:3000`` into scheme, host (lower case, no brackets) and port.

    Raises:
        UsageError: it is no http or https URL, or it has more in it than a server.
    """
    found = _SERVER.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"{text[:200]!r} is not a server",
            hint="write it as https://HOST or http://HOST:PORT, without a path: requests bring theirs",
        )
    scheme = found["scheme"].lower()
    port = int(found["port"] or {"http": 80, "https": 443}[scheme])
    if not 0 < port <= _MAX_PORT:
        raise UsageError(f"port {port} in {text[:200]!r} is out of range", hint="ports go from 1 to 65535")
    return scheme, (found["ipv6"] or found["name"]).lower(), port
