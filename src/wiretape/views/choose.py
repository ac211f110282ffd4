"""Which view a body gets: by its content type, then by its first bytes; and the one door to all of them."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

from wiretape.views.binary import hex_rows, image_type, read_image, read_msgpack
from wiretape.views.form import read_form, read_multipart
from wiretape.views.graphql import describe, is_graphql
from wiretape.views.html import read_html
from wiretape.views.json_text import read_json
from wiretape.views.jwt import read_jwt
from wiretape.views.limits import ViewError
from wiretape.views.protobuf import read_grpc, read_protobuf
from wiretape.views.sse import read_events

View = Literal[
    "text", "json", "form", "multipart", "graphql", "protobuf", "grpc", "sse", "jwt", "msgpack", "html", "image", "hex"
]
VIEWS: Final[tuple[View, ...]] = get_args(View)
TREES: Final = frozenset(VIEWS) - {"text", "hex"}
"""Views that give a value with parts: shape and path work on these."""
_SNIFFED: Final = 2_048
_TYPES: Final[dict[str, View]] = {
    "application/x-www-form-urlencoded": "form",
    "multipart/form-data": "multipart",
    "multipart/mixed": "multipart",
    "application/graphql": "graphql",
    "application/x-protobuf": "protobuf",
    "application/protobuf": "protobuf",
    "application/vnd.google.protobuf": "protobuf",
    "text/event-stream": "sse",
    "application/jwt": "jwt",
    "application/jose": "jwt",
    "application/msgpack": "msgpack",
    "application/x-msgpack": "msgpack",
    "application/vnd.msgpack": "msgpack",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/json": "json",
    "text/json": "json",
    "application/octet-stream": "hex",
}
_LINES: Final = frozenset({"application/x-ndjson", "application/jsonl", "application/json-seq", "application/ndjson"})


def media_type(content_type: str | None) -> str:
    """Return the media type of a Content-Type, in lower case and without its parameters."""
    return (content_type or "").partition(";")[0].strip().lower()


def choose(content_type: str | None, start: bytes) -> View:
    """Return the view for a body with this content type and these first bytes."""
    kind = media_type(content_type)
    if kind.startswith("application/grpc"):
        return "grpc"
    if kind in _LINES:
        return "text"
    if kind in _TYPES and kind != "application/octet-stream":
        return _TYPES[kind]
    if kind.endswith("+json"):
        return "json"
    if kind.endswith("+proto"):
        return "protobuf"
    if kind.startswith("image/") and kind != "image/svg+xml":
        return "image"
    if kind.startswith(
        ("text/", "application/xml", "application/javascript", "application/x-javascript")
    ) or kind.endswith("+xml"):
        return "text"
    if kind.startswith(("audio/", "video/", "font/")):
        return "hex"
    return _sniffed(start[:_SNIFFED])


def _sniffed(start: bytes) -> View:
    """Guess from the first bytes, where no content type says what it is."""
    if image_type(start) is not None:
        return "image"
    lead = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].lower()
    if lead[:1] in {b"{", b"["}:
        return "json"
    if lead.startswith((b"<!doctype html", b"<html")):
        return "html"
    if lead.startswith((b"data:", b"event:")):
        return "sse"
    if lead.startswith(b"eyj") and start.count(b".") >= 2 and b" " not in start:
        return "jwt"
    return "text" if is_texty(start) else "hex"


def is_texty(start: bytes) -> bool:
    """Return whether bytes read as text: UTF-8 without control characters; the end may be half a character."""
    if any(byte < 9 or 13 < byte < 27 for byte in start):
        return False
    for spare in range(4):
        try:
            start[: len(start) - spare].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return True
    return not start


def see(view: View, data: bytes, content_type: str | None, text: str | None) -> Any:
    """Return a body in a view: a value of JSON types, text for ``text`` and ``hex``.

    Args:
        view: which one; ``choose`` tells which one fits.
        data: the body, content encoding removed.
        content_type: as its header says.
        text: the body as text where it is one.

    Raises:
        ViewError: it cannot be seen so.
    """
    if view == "hex":
        return hex_rows(data)
    if view in {"multipart", "protobuf", "grpc", "msgpack", "image", "sse"}:
        return _binary(view, data, content_type)
    if view == "json":
        return read_json(data if text is None else text)
    if text is None:
        raise ViewError(f"This body is bytes, not text, and has no view {view}", hint="view hex shows it as it is")
    if view == "text":
        return text
    if view == "form":
        return read_form(text.encode("utf-8", "replace"))
    if view == "graphql":
        return describe(text if media_type(content_type) == "application/graphql" else read_json(text))
    return read_html(text) if view == "html" else read_jwt(text)


def _binary(view: View, data: bytes, content_type: str | None) -> Any:
    if view == "multipart":
        return read_multipart(data, content_type)
    if view == "grpc":
        return read_grpc(data, content_type)
    if view == "protobuf":
        return read_protobuf(data)
    if view == "msgpack":
        return read_msgpack(data)
    return read_image(data) if view == "image" else read_events(data)


def refined(view: View, value: Any) -> tuple[View, Any]:
    """Return a request of GraphQL as such, where a body seen as JSON is one."""
    if view == "json" and is_graphql(value):
        return "graphql", describe(value)
    return view, value
