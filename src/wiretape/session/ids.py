"""Session ids, names and references. What comes from outside becomes no path before it matched the listing (P14)."""

from __future__ import annotations

import calendar
import re
import secrets
import time
import unicodedata
from typing import Final, NamedTuple

from wiretape.errors import UsageError

_SESSION_ID: Final = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{6}", re.ASCII).fullmatch

MAX_NAME: Final = 128
"""Characters of a session's name at most."""

LAST: Final = "last"
"""The reference that means the newest session; no session may be named so."""


def is_session_id(text: str) -> bool:
    """Return whether ``text`` has the form ``YYYYMMDDTHHMMSS-xxxxxx``."""
    return _SESSION_ID(text) is not None


def new_session_id() -> str:
    """Make an id from the current time (UTC) and three random bytes."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def made_ms(session_id: str) -> int:
    """Return when an id was made, in milliseconds since the epoch; 0 for what is no id."""
    if not is_session_id(session_id):
        return 0
    try:
        return calendar.timegm(time.strptime(session_id[:15], "%Y%m%dT%H%M%S")) * 1000
    except ValueError:
        return 0


def exchange_id(session_id: str, seq: int) -> str:
    """Return the id by which one exchange is known outside."""
    return f"{session_id}.{seq}"


def split_exchange_id(text: str) -> tuple[str, int]:
    """Split an exchange's id into the session's id and the ``seq``.

    Raises:
        UsageError: it is no such id.
    """
    session, _, number = text.rpartition(".")
    if not is_session_id(session) or not number.isascii() or not number.isdigit() or len(number) > 18:
        raise UsageError(
            f"{text[:80]!r} is not an exchange id", hint="an exchange id is <sessionId>.<seq>, as query gives it"
        )
    return session, int(number)


class Address(NamedTuple):
    """One exchange, as people and models name it: its session (None: the one in question) and its seq."""

    session: str | None
    seq: int


def split_address(text: str) -> Address:
    """Read ``SESSION:SEQ``, ``<sessionId>.<seq>`` or a bare seq.

    Raises:
        UsageError: it is none of them.
    """
    session, colon, number = text.strip().rpartition(":")
    if not colon and "." in number:
        return Address(*split_exchange_id(number))
    if not number.isascii() or not number.isdigit() or len(number) > 18 or (colon and not session):
        raise UsageError(
            f"{text[:80]!r} names no exchange", hint="an exchange is SESSION:SEQ, such as last:31, or an exchangeId"
        )
    return Address(session or None, int(number))


def check_name(name: str) -> str:
    """Return a session's name back if it may be one.

    Raises:
        UsageError: it is empty, too long, has control characters, or would be mistaken for something else.
    """
    name = name.strip()
    if not name or len(name) > MAX_NAME:
        raise UsageError(f"A session's name has 1 to {MAX_NAME} characters, not {len(name)}", hint="shorten the name")
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in name):
        raise UsageError("A session's name has no control characters", hint="use letters, digits and spaces")
    if ":" in name:
        raise UsageError("A session's name has no colon: NAME:SEQ names an exchange", hint="use a dash instead")
    if name == LAST or is_session_id(name):
        raise UsageError(f"{name!r} means a session already, so none can be named so", hint="choose another name")
    return name
