"""Forms: URL-encoded ones and those in parts (RFC 7578)."""

from __future__ import annotations

import re
from email.message import Message
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qsl

from wiretape.views.limits import MAX_NODES, ViewError, check_size

_MAX_PARTS: Final = 1_000
_TEXT: Final = 4_096
"""Bytes of a part's text that are given; the rest is in the body."""
_BOUNDARY: Final = re.compile(r"boundary\s*=\s*(?:\"([^\"]{1,200})\"|([^\s;\"]{1,200}))", re.IGNORECASE)


def read_form(data: bytes) -> dict[str, Any]:
    """Return the fields of ``application/x-www-form-urlencoded``; a name that comes more than once has a list.

    Raises:
        ViewError: it has too many fields, or is too long.
    """
    check_size(data, "This form")
    try:
        pairs = parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_NODES // 10)
    except ValueError as error:
        raise ViewError(f"This form cannot be taken apart: {error}", hint="view text shows it as it is") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def read_multipart(data: bytes, content_type: str | None) -> list[dict[str, Any]]:
    """Return the parts: ``name``, ``filename``, ``type``, ``bytes``, and their text, or ``sha256`` where it is none.

    Raises:
        ViewError: there is no boundary, or too many parts.
    """
    check_size(data, "This body of parts")
    found = _BOUNDARY.search(content_type or "")
    boundary = (found[1] or found[2]).encode("latin-1", "replace") if found else _first_line(data)
    if not boundary:
        raise ViewError("This body has no parts: no boundary is named", hint="view text or hex shows it as it is")
    pieces = (b"\r\n" + data).split(b"\r\n--" + boundary, _MAX_PARTS + 2)
    if len(pieces) > _MAX_PARTS + 2:
        raise ViewError(f"This body has more than {_MAX_PARTS} parts", hint="view text shows it as it is")
    parts = [_part(piece) for piece in pieces[1:] if not piece.startswith(b"--")]
    if not parts:
        raise ViewError(f"The boundary {boundary[:80].decode('latin-1')!r} does not occur", hint="view text shows it")
    return parts


def _first_line(data: bytes) -> bytes:
    line = data[:250].partition(b"\r\n")[0]
    return line[2:] if line.startswith(b"--") else b""


def _part(piece: bytes) -> dict[str, Any]:
    head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    fields = Message()
    for line in head.split(b"\r\n")[:50]:
        name, colon, value = line.partition(b":")
        if colon:
            fields[name.decode("latin-1").strip()] = value.decode("utf-8", "replace").strip()[:2_000]
    found: dict[str, Any] = {}
    called, filename = _parameter(fields, "name"), fields.get_filename()
    if called is not None:
        found["name"] = called
    if filename is not None:
        found["filename"] = filename
    if fields["content-type"]:
        found["type"] = str(fields["content-type"])
    found["bytes"] = len(content)
    text = _text(content)
    if text is None:
        found["sha256"] = sha256(content).hexdigest()
    elif len(content) > _TEXT:
        found["text"] = text[:_TEXT] + "…"
    else:
        found["value" if filename is None else "text"] = text
    return found


def _parameter(fields: Message, name: str) -> str | None:
    found = fields.get_param(name, header="content-disposition")
    return found if isinstance(found, str) else found[2] if isinstance(found, tuple) else None


def _text(content: bytes) -> str | None:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if any(ord(char) < 9 for char in text[:_TEXT]) else text
