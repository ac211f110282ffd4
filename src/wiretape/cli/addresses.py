"""Exchanges as they are named on the command line: ``SESSION:SEQ``, ``SESSION SEQ``, or a bare SEQ of the last one."""

from __future__ import annotations

from typing import Any, Final

import click

from wiretape.cli.options import complete_exchange
from wiretape.errors import UsageError

_HINT: Final = "name an exchange as SESSION:SEQ, such as last:31"


def address_argument(function: Any) -> Any:
    """Add the words that name an exchange, and what follows them; the command gets ``words: tuple[str, ...]``."""
    return click.argument("words", metavar="SESSION:SEQ", nargs=-1, required=True, shell_complete=complete_exchange)(
        function
    )


def take_address(words: tuple[str, ...]) -> tuple[str, int, tuple[str, ...]]:
    """Return the session, the seq, and the words that follow.

    Raises:
        UsageError: no exchange is named.
    """
    from wiretape.session.ids import LAST, split_address  # noqa: PLC0415

    session, seq, rest = take_place(words)
    if seq is None:
        if rest and not session.isdigit():
            raise UsageError(f"the seq {rest[0][:80]!r} is not a whole number.", hint=_HINT)
        if not session.isascii() or not session.isdigit():
            raise UsageError(f"{session[:80]!r} names a session and no exchange of it", hint=_HINT)
        address = split_address(session)
        session, seq = address.session or LAST, address.seq
    return session, seq, rest


def take_place(words: tuple[str, ...]) -> tuple[str, int | None, tuple[str, ...]]:
    """Return the session, the seq if one is named, and the words that follow.

    Raises:
        UsageError: the words name nothing.
    """
    from wiretape.session.ids import split_address  # noqa: PLC0415

    first, *rest = words
    if ":" in first or _is_exchange_id(first):
        address = split_address(first)
        assert address.session is not None
        return address.session, address.seq, tuple(rest)
    if rest and rest[0].isascii() and rest[0].isdigit() and len(rest[0]) <= 40:
        return first, int(rest[0]), tuple(rest[1:])
    return first, None, tuple(rest)


def _is_exchange_id(word: str) -> bool:
    session, dot, number = word.rpartition(".")
    return bool(dot) and number.isdigit() and len(session) == 22
