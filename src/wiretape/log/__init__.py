"""The log: its format, its writer, its readers. ``open_session`` is the way in for who wants to read one.

The names below are the public ones (docs/reading-a-log.md); they are imported when they are first asked for, so that a
recorder, which only writes, does not pay for the readers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from wiretape.log.exchange import Body, Exchange, Part, Request, Response
    from wiretape.log.report import LogReport
    from wiretape.log.session_log import SessionLog, open_session

__all__ = ["Body", "Exchange", "LogReport", "Part", "Request", "Response", "SessionLog", "open_session"]

_HOMES: Final = {
    "Body": "exchange",
    "Exchange": "exchange",
    "LogReport": "report",
    "Part": "exchange",
    "Request": "exchange",
    "Response": "exchange",
    "SessionLog": "session_log",
    "open_session": "session_log",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
