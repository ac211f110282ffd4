"""What an error says to do next, for who has only tools: commands become the tools that do the same."""

from __future__ import annotations

import re
from typing import Final

from wiretape.errors import WiretapeError

TOOLS: Final = {
    "serve": "proxy_start",
    "run": "proxy_run",
    "status": "proxy_status",
    "stop": "proxy_stop",
    "sessions": "proxy_list_sessions",
    "query": "proxy_query_session",
    "grep": "proxy_search_session_bodies",
    "exchange": "proxy_get_session_exchange",
    "body": "proxy_read_body",
    "show": "proxy_session_overview",
    "diff": "proxy_compare",
    "trace": "proxy_trace_value",
    "messages": "proxy_messages",
    "llm": "proxy_llm_calls",
    "mark": "proxy_mark",
    "secrets": "proxy_find_secrets",
    "sql": "proxy_sql",
    "handshakes": "proxy_get_session_handshakes",
    "export": "proxy_export",
    "send": "proxy_send",
    "import": "proxy_import_har",
    "verify": "proxy_session_recover",
    "recover": "proxy_session_recover",
    "delete": "proxy_delete_session",
    "rules": "proxy_list_rules",
}
"""The tool that does what a command does."""

_NEXT: Final = {
    "not-found": "proxy_list_sessions names the sessions, proxy_query_session the exchanges of one",
    "busy": "proxy_status says what is being recorded",
}
"""What to call next after errors whose own hint is for the command line alone, by code."""

_COMMAND: Final = re.compile(r"`wiretape ([a-z]+)[^`]*`")
_OPTIONS: Final = re.compile(r"(^|\s)--[a-z]|WIRETAPE_|`wiretape")


def for_tools(text: str) -> str:
    """Return a sentence with tools in the place of the commands that it names."""
    return _COMMAND.sub(lambda found: TOOLS.get(found[1], found[0]), text)


def hint_for_tools(error: WiretapeError) -> str:
    """Return what to do next: the error's own hint, without what only the command line can do."""
    parts = [for_tools(part).strip() for part in error.hint.split("; ")]
    usable = [part for part in parts if part and not _OPTIONS.search(part)]
    return "; ".join(usable) or _NEXT.get(error.code, error.hint)
