"""JSON Web Tokens (RFC 7519): header and claims. The signature is never checked; nobody here has the key."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from wiretape.views.json_text import read_json
from wiretape.views.limits import ViewError

FOUND: Final = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{5,8192}+\.[A-Za-z0-9_-]{2,65536}\.[A-Za-z0-9_-]*+")
"""Tokens in a text: their header begins with ``{"``, which is ``eyJ`` in base64."""
_FORM: Final = re.compile(
    r"(?<![A-Za-z0-9_-])([A-Za-z0-9_-]{4,8192}+)\.([A-Za-z0-9_-]{2,65536}+)\.([A-Za-z0-9_-]{0,8192}+)"
)


def read_jwt(text: str) -> dict[str, Any]:
    """Return ``header`` and ``claims`` of a token, and that its signature was not checked.

    Raises:
        ViewError: it is no token.
    """
    text = text.strip()
    if text[:7].lower() == "bearer ":
        text = text[7:].strip()
    form = _FORM.fullmatch(text) or _FORM.search(text)
    if form is None:
        raise ViewError("There is no JSON Web Token in this text", hint="view text shows it as it is")
    header, claims = _part(form[1]), _part(form[2])
    if not isinstance(header, dict) or "alg" not in header:
        raise ViewError("There is no JSON Web Token in this text", hint="view text shows it as it is")
    return {"header": header, "claims": claims, "signature": "not checked" if form[3] else "none"}


def claims_of(text: str) -> dict[str, Any] | None:
    """Return the claims of a text that is a token as a whole; None where it is none."""
    form = _FORM.fullmatch(text)
    if form is None or not text.startswith("ey"):
        return None
    try:
        claims = _part(form[2])
    except ViewError:
        return None
    return claims if isinstance(claims, dict) else None


def _part(text: str) -> Any:
    try:
        return read_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        raise ViewError("This is not a JSON Web Token: a part of it is not base64", hint="view text shows it") from None
