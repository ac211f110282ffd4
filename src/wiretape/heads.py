"""Raw message heads, read leniently: what is shown of them, whatever a client or server sent."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_LINES: Final = re.compile(rb"\r?\n")
_CONTENT_TYPE: Final = re.compile(rb"\ncontent-type[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_CODED: Final = re.compile(
    rb"\ncontent-(?:encoding[ \t]*:[ \t]*+(?!identity\r|\r)|type[ \t]*:[ \t]*application/grpc"
    rb"|type[ \t]*:[^\r\n]*charset[ \t]*=[ \t]*+\"?(?!utf-8|us-ascii))",
    re.IGNORECASE,
)
_STATUS_LINE: Final = re.compile(rb"(HTTP/[0-9.]{1,8})[\t ]+([0-9]{3})(?:[\t ]([^\n]*?))?\r?(?:\n|$)", re.IGNORECASE)
_SHORT_LINE: Final = 200
_KNOWN_LINES: Final = 512
"""Lines with a content type whose meaning is remembered: servers have some dozen."""
_MAX_FIELDS: Final = 20_000
"""Fields that are told apart: above what any server takes, and 2 MiB of empty ones would be a million."""
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def as_str(data: bytes) -> str:
    """Return bytes of a head as text: UTF-8 where they are, else latin-1 (RFC 9110 section 5.5), never an error."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def start_line(head: bytes) -> tuple[str, str, str]:
    """Split the first line into its three parts; missing ones are empty.

    A request gives method, target, version; a response version, status, reason. A head of HTTP/2 or HTTP/3 has its
    pseudo-header fields instead (FORMAT.md).
    """
    if head[:1] == b":":
        return _from_pseudo_fields(head)
    line = head[: _end_of_line(head)]
    plain = line.isascii()  # nearly always
    words = line.decode("ascii").split(" ", 2) if plain else [as_str(word) for word in line.split(b" ", 2)]
    if len(words) < 3:
        words += [""] * (3 - len(words))
    first, second, third = words
    return first, second, third


def pseudo_fields(head: bytes) -> list[tuple[str, str]]:
    """Return the pseudo-header fields of a head of HTTP/2 or HTTP/3, with their colons; none of a head of HTTP/1."""
    found = []
    for line in _LINES.split(head, _MAX_FIELDS):
        name, colon, value = line[1:].partition(b":")
        if line[:1] != b":" or not colon:
            break
        found.append((":" + as_str(name), as_str(value.strip(b" \t"))))
    return found


def _from_pseudo_fields(head: bytes) -> tuple[str, str, str]:
    pseudo = dict(pseudo_fields(head))
    if ":status" in pseudo:
        return "HTTP/2", pseudo[":status"], ""
    return pseudo.get(":method", ""), pseudo.get(":path", pseudo.get(":authority", "")), "HTTP/2"


def status_line(head: bytes) -> tuple[str, str, str]:
    """Split the first line of a response into version, status and reason, at any whitespace (RFC 9112 section 4)."""
    match = _STATUS_LINE.match(head)
    if match is None:
        return start_line(head)
    return as_str(match[1]), match[2].decode("ascii"), as_str(match[3] or b"")


def _end_of_line(head: bytes) -> int:
    end = head.find(b"\n")
    if end < 0:
        return len(head)
    return end - 1 if head[end - 1 : end] == b"\r" else end


def fields(block: bytes, *, skip_first: bool = True) -> list[tuple[str, str]]:
    """Return the fields as (name, value), order, case and duplicates kept.

    A line that continues the one before (obsolete folding) is joined to it with one space; one without a colon is given
    with an empty value, so that nothing that was there is missing. Of more than 20,000 lines the rest is given as one.
    """
    if not block:
        return []
    plain = _plain_fields(block, skip_first=skip_first)
    if plain is not None:
        return plain
    first = 0 if not skip_first else len(pseudo_fields(block)) if block[:1] == b":" else 1
    lines = _LINES.split(block, _MAX_FIELDS)[first:]
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if not line:
            continue
        if line[:1] in b" \t" and found:
            found[-1][1].append(as_str(line.strip()))
            continue
        name_part, _, value_part = line.partition(b":")
        found.append((as_str(name_part), [as_str(value_part.strip(b" \t"))]))
    return [(name, " ".join(values)) for name, values in found]


def _plain_fields(block: bytes, *, skip_first: bool) -> list[tuple[str, str]] | None:
    """Return the fields of a block that is as RFC 9112 has it, as nearly all are, and of ASCII; None of any other."""
    if not block.isascii() or block[:1] == b":" or b"\n " in block or b"\n\t" in block:
        return None
    lines = block.decode("ascii").split("\r\n")
    if len(lines) > _MAX_FIELDS or block.count(b"\n") != len(lines) - 1:
        return None
    parts = (line.partition(":") for line in (lines[1:] if skip_first else lines) if line)
    return [(name, value.strip(" \t")) for name, _, value in parts]


def content_type(head: bytes) -> str | None:
    """Return the value of the first Content-Type of a raw head."""
    match = _CONTENT_TYPE.search(head)
    return as_str(match[1].strip()) if match else None


def is_coded(head: bytes) -> bool:
    """Return whether the text of a body with this head may look otherwise in bytes: content coding, charset, gRPC."""
    return content_facts(head)[1]


def content_facts(head: bytes) -> tuple[str | None, bool]:
    """Return ``content_type`` and ``is_coded`` of a head: an index asks both of each message."""
    lowered = head.lower()
    at = lowered.find(b"\ncontent-")
    if at < 0:  # as most requests are
        return None, False
    begin = lowered.find(b"\ncontent-type", at)
    if begin < 0:
        return None, lowered.find(b"\ncontent-encoding", at) >= 0 and _CODED.search(head) is not None
    end = head.find(b"\n", begin + 1)
    end = len(head) if end < 0 else end
    plain = (
        end - begin <= _SHORT_LINE
        and lowered.find(b"\ncontent-type", end) < 0
        and lowered.find(b"\ncontent-encoding", at) < 0
    )
    if plain:
        return _facts_of_line(head[begin:end])
    return content_type(head), _CODED.search(head) is not None


@lru_cache(_KNOWN_LINES)
def _facts_of_line(line: bytes) -> tuple[str | None, bool]:
    """Return ``content_facts`` of a head in which they follow from this one line, with the line end before it."""
    return content_type(line), _CODED.search(line) is not None


def field_values(headers: list[tuple[str, str]], name: str) -> list[str]:
    """Return the values of all fields of one name (lower case); whitespace before the colon is no part of a name."""
    size = len(name)  # most names are shorter, or told apart by their length
    return [
        value
        for field, value in headers
        if (length := len(field)) >= size and (field if length == size else field.rstrip(" \t")).lower() == name
    ]


def full_url(method: str, target: str, scheme: str, host: str, port: int) -> str:
    """Put together the URL of a request (RFC 9112 section 3.3).

    An absolute target is given as the client wrote it; the target of CONNECT, ``host:port``, is the URL itself; ``*``
    stands for no path.
    """
    if method == "CONNECT" or (target[:1] != "/" and _ABSOLUTE.match(target)):
        return target
    return origin(scheme, host, port) + ("" if target == "*" else target)


def origin(scheme: str, host: str, port: int) -> str:
    """Return what URLs of one server begin with, up to the path (RFC 6454 section 6.2)."""
    authority = f"[{host}]" if ":" in host else host
    if port and _DEFAULT_PORTS.get(scheme) != port:
        authority = f"{authority}:{port}"
    return f"{scheme}://{authority}"
