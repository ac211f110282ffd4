"""Raw message heads, read leniently: what is shown of them, whatever a client or server sent."""

from __future__ import annotations

import re
from typing import Final

_LINES: Final = re.compile(rb"\r?\n")
_CONTENT_TYPE: Final = re.compile(rb"\ncontent-type[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_CODED: Final = re.compile(
    rb"\ncontent-(?:encoding[ \t]*:[ \t]*+(?!identity\r|\r)|type[ \t]*:[ \t]*application/grpc"
    rb"|type[ \t]*:[^\r\n]*charset[ \t]*=[ \t]*+\"?(?!utf-8|us-ascii))",
    re.IGNORECASE,
)
_STATUS_LINE: Final = re.compile(rb"(HTTP/[0-9.]{1,8})[\t ]+([0-9]{3})(?:[\t ]([^\n]*?))?\r?(?:\n|$)", re.IGNORECASE)
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
    if line.isascii():  # nearly always
        first, _, rest = line.decode("ascii").partition(" ")
        second, _, third = rest.partition(" ")
        return first, second, third
    parts = line.split(b" ", 2)
    parts += [b""] * (3 - len(parts))
    return as_str(parts[0]), as_str(parts[1]), as_str(parts[2])


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
    return _may_be_coded(head.lower()) and _CODED.search(head) is not None


def content_facts(head: bytes) -> tuple[str | None, bool]:
    """Return ``content_type`` and ``is_coded`` of a head: an index asks both of each response."""
    lowered = head.lower()
    at = lowered.find(b"\ncontent-type")
    kind = None
    if at >= 0:
        begin = at + 14
        if lowered[begin - 1 : begin] == b":":
            kind = as_str(head[begin : _end_of_value(head, begin)].strip())
        else:
            kind = content_type(head)
    return kind, _may_be_coded(lowered) and _CODED.search(head) is not None


def _end_of_value(head: bytes, begin: int) -> int:
    end = head.find(b"\n", begin)
    end = len(head) if end < 0 else end
    cut = head.find(b"\r", begin, end)
    return end if cut < 0 else cut


def _may_be_coded(lowered: bytes) -> bool:
    """Return what a look at a head in lower case tells; an expression is asked where that is not enough."""
    if b"\ncontent-encoding" in lowered or b"application/grpc" in lowered:
        return True
    named = lowered.count(b"charset")
    return bool(named) and named != lowered.count(b"charset=utf-8")


def field_values(headers: list[tuple[str, str]], name: str) -> list[str]:
    """Return the values of all fields of one name (lower case); whitespace before the colon is no part of a name."""
    return [value for field, value in headers if field.rstrip(" \t").lower() == name]


def full_url(method: str, target: str, scheme: str, host: str, port: int) -> str:
    """Put together the URL of a request (RFC 9112 section 3.3).

    An absolute target is given as the client wrote it; the target of CONNECT, ``host:port``, is the URL itself; ``*``
    stands for no path.
    """
    if method == "CONNECT" or (target[:1] != "/" and _ABSOLUTE.match(target)):
        return target
    authority = f"[{host}]" if ":" in host else host
    if port and _DEFAULT_PORTS.get(scheme) != port:
        authority = f"{authority}:{port}"
    return f"{scheme}://{authority}{'' if target == '*' else target}"
