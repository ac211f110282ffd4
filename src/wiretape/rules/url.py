"""Another URL: by a regular expression, or another server by its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from wiretape.rules.regexes import NotAppliedError, expression, template
from wiretape.rules.values import UrlRewrite, wrong

_HOST: Final = r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[-A-Za-z0-9._]{1,255})"
_TARGET: Final = re.compile(rf"(?:(?P<scheme>https?)://)?(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?/?").fullmatch
_URL: Final = re.compile(rf"(?P<scheme>(?i:https?))://(?P<authority>{_HOST}(?::[0-9]{{1,5}})?)(?P<rest>[/?][!-~]*)?")
_ANY: Final = re.compile(r"([A-Za-z]+)://(\[[^\]/]*\]|[^/?#:]*)(?::([0-9]*))?")
_PORTS: Final = {"http": "80", "https": "443", "ws": "80", "wss": "443"}

Rewrite = Callable[[str], str | None]
"""The absolute URL in; the new one out, or None where it stays."""


def plain_url(url: str) -> str:
    """Return a URL as patterns see it: scheme and host in lower case, without the port that goes without saying."""
    match = _ANY.match(url)
    if match is None:
        return url
    scheme, host, port = match[1].lower(), match[2].lower(), match[3]
    port = f":{port}" if port and port != _PORTS.get(scheme) else ""
    return f"{scheme}://{host}{port}{url[match.end() :]}"


def path_of(url: str) -> str:
    """Return path and query of an absolute URL."""
    match = _ANY.match(url)
    rest = url[match.end() :] if match is not None else url
    return rest if rest[:1] == "/" else "/" + rest


def host_of(url: str) -> str:
    """Return the host of an absolute URL, in lower case, without brackets and port, and without the dot of its end."""
    match = _ANY.match(url)
    return match[2].lower().strip("[]").rstrip(".") if match is not None else ""


def rewriting(field: str, rewrite: UrlRewrite) -> Rewrite:
    """Compile a rewrite.

    Raises:
        UsageError: it is no regular expression, or has no such group.
    """
    compiled = expression(f"{field}.match", rewrite.match)
    made = template(f"{field}.replaceWith", rewrite.replace_with, compiled)

    def change(url: str) -> str | None:
        try:
            changed, count = compiled.subn(made, url, 1)
        except NotAppliedError:
            return None
        if "#" not in url:
            changed = changed.partition("#")[0]  # a fragment is never sent (RFC 9110 section 7.1)
        return str(changed) if count and changed != url else None

    return change


def forwarding(field: str, target: str) -> Rewrite:
    """Compile what sends a request to another server, same path and query.

    Raises:
        UsageError: the target is no server, or has a path.
    """
    match = _TARGET(target)
    port = int(match["port"]) if match is not None and match["port"] else 1
    if match is None or not 0 < port < 65536:
        raise wrong(
            field,
            f"{target[:200]!r} is not a server",
            "it is host, host:port or scheme://host[:port], without a path; rewriteUrl changes paths",
        )
    authority = match["host"] + (f":{match['port']}" if match["port"] else "")

    def change(url: str) -> str:
        scheme = match["scheme"] or url.partition("://")[0]
        return f"{scheme}://{authority}{path_of(url)}"

    return change


_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def leads_away(url: str, changed: str, targets: list[str] | None) -> bool:
    """Return whether a request would go to a host that it may not be sent to (see ``values.Rule.targets``)."""
    host = host_of(changed)
    return targets is not None and host != host_of(url) and host not in _HERE and host not in targets


def is_url(url: str) -> bool:
    """Return whether a request can be sent there."""
    return _URL.fullmatch(url) is not None
