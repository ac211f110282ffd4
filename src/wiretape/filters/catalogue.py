"""All operators, in the order in which they are told of; and those that are known elsewhere and mean nothing yet."""

from __future__ import annotations

from typing import Final

from wiretape.filters import content, operators
from wiretape.filters.tree import Operator

GROUPS: Final[tuple[tuple[str, tuple[type[Operator], ...]], ...]] = (
    ("Request", (operators.Url, operators.Method, operators.Domain, operators.Host)),
    ("Outcome", (operators.Code, operators.Erroneous, operators.Failed, operators.InState, operators.NoResponse,
                 operators.WithResponse, operators.Milliseconds)),
    ("Headers and types", (content.Header, content.RequestHeader, content.ResponseHeader, content.AnyType,
                           content.RequestType, operators.ResponseType, operators.Asset)),
    ("Bodies", (content.AnyBody, content.RequestBody, content.ResponseBody, content.Json, operators.Size,
                operators.RequestSize, operators.ResponseSize)),
    ("Where it belongs", (operators.Seq, operators.Source, operators.Replayed, operators.Ruled,
                          operators.Changed, content.Client, content.Server,
                          content.Ja3, content.Ja4, content.Ja3s,
                          content.WebSocket, operators.Http, operators.Everything)),
)  # fmt: skip

OPERATORS: Final[dict[str, type[Operator]]] = {
    symbol: operator for _, group in GROUPS for operator in group for symbol in operator.symbols
}

_NO_OTHER: Final = "only HTTP is recorded"
_NOT_YET: Final = "what it asks for is not recorded yet"
NOT_RECORDED: Final[dict[str, str]] = {
    **dict.fromkeys(("~tcp", "~udp", "~dns"), _NO_OTHER),
    **dict.fromkeys(("~proc", "~conn", "~replays", "~msg"), _NOT_YET),
    **dict.fromkeys(
        ("~marked", "~marker"), "marks are points in time here; --since and --until (since, until) take them"
    ),
    **dict.fromkeys(("~meta", "~comment"), "recordings are never written to after the fact"),
    "~replayq": "~replay says the same",
}
"""Operators that somebody may know, and why there are none here."""
