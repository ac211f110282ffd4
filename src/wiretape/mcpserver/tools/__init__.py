"""The tools, one module per family. ``TOOLSETS`` is all there is, in the order in which it is listed.

``core`` is what a client gets that asks for nothing else; it may cost 4,500 tokens. ``legacy`` has what proxy-mcp has
besides.
"""

from __future__ import annotations

from typing import Final

from wiretape.mcpserver.tool import Spec
from wiretape.mcpserver.tools import (
    bodies,
    carrying,
    fingerprints,
    jobs,
    lifecycle,
    moments,
    rules,
    running,
    searching,
    sessions,
    traffic,
    transparent,
    understanding,
)

ALL: Final = "all"
"""The name that stands for every toolset."""

TOOLSETS: Final[dict[str, tuple[Spec, ...]]] = {
    "core": (
        lifecycle.proxy_start,
        lifecycle.proxy_stop,
        lifecycle.proxy_status,
        running.proxy_run,
        sessions.proxy_session_start,
        sessions.proxy_list_sessions,
        understanding.proxy_session_overview,
        traffic.proxy_list_traffic,
        sessions.proxy_query_session,
        sessions.proxy_get_session_exchange,
        understanding.proxy_explain_exchange,
        bodies.proxy_read_body,
        understanding.proxy_compare,
        understanding.proxy_trace_value,
        moments.proxy_mark,
        moments.proxy_wait_for,
        bodies.proxy_messages,
        bodies.proxy_llm_calls,
        carrying.proxy_find_secrets,
        carrying.proxy_export,
        carrying.proxy_send,
        sessions.proxy_session_recover,
    ),
    "rules": (
        rules.proxy_add_rule,
        rules.proxy_update_rule,
        rules.proxy_remove_rule,
        rules.proxy_list_rules,
        rules.proxy_test_rule_match,
        rules.proxy_enable_rule,
        rules.proxy_disable_rule,
        rules.proxy_inject_headers,
        rules.proxy_mock_response,
        rules.proxy_rewrite_url,
        rules.proxy_preview_rule,
    ),
    "sql": (searching.proxy_sql,),
    "tls": fingerprints.TOOLS,
    "replay": (jobs.proxy_job,),
    "legacy": (
        searching.proxy_search_session_bodies,
        lifecycle.proxy_get_ca_cert,
        traffic.proxy_get_exchange,
        traffic.proxy_search_traffic,
        traffic.proxy_clear_traffic,
        sessions.proxy_session_stop,
        sessions.proxy_session_status,
        sessions.proxy_get_session,
        sessions.proxy_delete_session,
        carrying.proxy_export_har,
        carrying.proxy_get_session_handshakes,
        carrying.proxy_import_har,
        *transparent.TOOLS,
    ),
}
