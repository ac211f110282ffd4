"""The one matcher: live traffic, test tool and preview ask the same object. It explains itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from wiretape.errors import UsageError
from wiretape.filters import content, operators, tree
from wiretape.filters.exchange import Verdict
from wiretape.filters.parse import parse
from wiretape.filters.patterns import Pattern
from wiretape.rules.headers import TOKEN
from wiretape.rules.regexes import expression
from wiretape.rules.seen import Seen
from wiretape.rules.values import Matcher, wrong

FIELDS: Final = ("method", "urlPattern", "hostname", "pathPattern", "headers", "bodyIncludes", "filter")
_SHOWN: Final = 200
"""Characters of a body that an explanation shows."""
_LATER: Final = (
    operators.InState, operators.Failed, operators.Erroneous, operators.Milliseconds, operators.Size, operators.Seq,
    operators.Ruled, operators.Changed,
    operators.SeqByStream, operators.Time, content.Server, content.FingerprintOperator,
)  # fmt: skip
"""They ask for what is known when an exchange has ended, or not before a server was reached."""
_OF_THE_RESPONSE: Final = (
    operators.Code, operators.ResponseType, operators.Asset, operators.NoResponse, operators.WithResponse,
    content.ResponseHeader, content.ResponseBody, content.WebSocket,
)  # fmt: skip


class Mismatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """A ``header`` that is not as it is ``expected``; ``actual`` is null where there is none."""

    header: str
    expected: str
    actual: str | None


class Check(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """How one field of a matcher came out: ``expected`` is what it asks for, ``actual`` what is there.

    Attributes:
        applies: the rule has this field.
        passed: it holds; a field that does not apply holds.
        reason: why it could not be decided.
        mismatch: the headers that differ.
    """

    applies: bool
    passed: bool
    expected: Any = None
    actual: Any = None
    reason: str | None = None
    mismatch: list[Mismatch] = []


_NOT_ASKED: Final = Check(applies=False, passed=True)


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a matcher, compiled."""

    name: str
    verdict: Callable[[Seen], Verdict]
    expected: Any
    actual: Callable[[Seen], Any]


class CompiledMatcher:
    """A matcher that was checked.

    Attributes:
        host: the only host it takes, in lower case; None for any.
        needle: a text in lower case that stands in every URL that it takes; empty where none is known.
        header: the name of a field that has to be there, in lower case; empty for none.
        asks_for_response: nothing can be said before there is a response.
    """

    __slots__ = ("_fields", "asks_for_response", "header", "host", "needle")

    def __init__(self, matcher: Matcher) -> None:
        """Compile.

        Raises:
            UsageError: a field means nothing; the message names it.
        """
        self._fields: list[_Field] = []
        self.host: str | None = None
        self.needle = ""
        self.header = ""
        self.asks_for_response = False
        if matcher.method is not None:
            self._method(matcher.method)
        if matcher.hostname is not None:
            self._hostname(matcher.hostname)
        if matcher.url_pattern is not None:
            self._url(matcher.url_pattern)
        if matcher.path_pattern is not None:
            self._path(matcher.path_pattern)
        if matcher.headers:
            self._headers(matcher.headers)
        if matcher.body_includes is not None:
            self._body(matcher.body_includes)
        if matcher.filter is not None:
            self._filter(matcher.filter)

    def matches(self, seen: Seen) -> Verdict:
        """Return whether an exchange is meant; None where that cannot be decided yet, or at all (``seen.lacks``)."""
        undecided = False
        for field in self._fields:
            verdict = field.verdict(seen)
            if verdict is False:
                return False
            undecided |= verdict is None
        return None if undecided else True

    def explain(self, seen: Seen) -> dict[str, Check]:
        """Return how each field came out."""
        found = dict.fromkeys(FIELDS, _NOT_ASKED)
        for field in self._fields:
            seen.reasons.clear()
            verdict = field.verdict(seen)
            mismatch: list[Mismatch] = []
            if field.name == "headers" and verdict is not True:
                mismatch = [
                    Mismatch(name, value, ", ".join(seen.request_values(name)) if seen.request_values(name) else None)
                    for name, value in field.expected.items()
                    if not _has(seen, name, value)
                ]
            reason = None if verdict is not None else "; ".join(seen.reasons) or "there is no response yet"
            found[field.name] = Check(
                applies=True,
                passed=verdict is True,
                expected=field.expected,
                actual=field.actual(seen),
                reason=reason,
                mismatch=mismatch,
            )
        return found

    def _add(self, name: str, expected: Any, actual: Callable[[Seen], Any], verdict: Callable[[Seen], Verdict]) -> None:
        self._fields.append(_Field(name, verdict, expected, actual))

    def _method(self, method: str) -> None:
        if TOKEN(method) is None:
            raise wrong("matcher.method", f"{method[:80]!r} is not a method")
        wanted = method.upper()
        self._add("method", method, lambda seen: seen.method, lambda seen: seen.method.upper() == wanted)

    def _hostname(self, hostname: str) -> None:
        wanted = self.host = _host(hostname)
        self._add("hostname", hostname, lambda seen: seen.host, lambda seen: seen.host == wanted)

    def _url(self, pattern: str) -> None:
        search = expression("matcher.urlPattern", pattern).search
        self.needle = _needle(pattern)
        if pattern.startswith(("/", "^/")):
            self._add(
                "urlPattern",
                pattern,
                lambda seen: seen.url,
                lambda seen: search(seen.url) is not None or search(seen.path) is not None,
            )
        else:
            self._add("urlPattern", pattern, lambda seen: seen.url, lambda seen: search(seen.url) is not None)

    def _path(self, pattern: str) -> None:
        search = expression("matcher.pathPattern", pattern).search
        self.needle = self.needle or _needle(pattern)
        self._add("pathPattern", pattern, lambda seen: seen.path, lambda seen: search(seen.path) is not None)

    def _headers(self, headers: dict[str, str]) -> None:
        for name in headers:
            if TOKEN(name) is None:
                raise wrong(f"matcher.headers.{name[:80]}", "that is not the name of a header")
        self.header = min(name.lower() for name in headers)
        self._add(
            "headers",
            headers,
            lambda seen: {name: ", ".join(seen.request_values(name)) for name in headers if seen.request_values(name)},
            lambda seen: all(_has(seen, name, value) for name, value in headers.items()),
        )

    def _body(self, text: str) -> None:
        wanted = text.encode("utf-8", "replace")

        def verdict(seen: Seen) -> Verdict:
            data = seen.request_body().data
            return None if data is None else wanted in data

        def actual(seen: Seen) -> str | None:
            data = seen.request_body().data
            return None if data is None else data[: 4 * _SHOWN].decode("utf-8", "replace")[:_SHOWN]

        self._add("bodyIncludes", text, actual, verdict)

    def _filter(self, text: str) -> None:
        try:
            node = parse(text)
        except UsageError as error:
            raise wrong("matcher.filter", error.message, error.hint) from None
        parts = list(tree.walk(node))
        if any(isinstance(part, _LATER) for part in parts):
            raise wrong(
                "matcher.filter",
                "it asks how the exchange ended, and a rule decides before that",
                "rules can ask for URL, headers, bodies, the status and the client",
            )
        self.asks_for_response = any(isinstance(part, _OF_THE_RESPONSE) for part in parts)
        self._add("filter", text, lambda seen: seen.url, lambda seen: _decided(node, seen))


def _decided(node: tree.Node, seen: Seen) -> Verdict:
    """Return what a filter says; None where it asked for something that has not come, whatever it made of that."""
    before, seen.lacks = seen.lacks, set()
    verdict = node.matches(seen)
    verdict = None if seen.lacks else verdict
    seen.lacks |= before
    return verdict


def _has(seen: Seen, name: str, value: str) -> bool:
    values = seen.request_values(name)
    return value in values or (len(values) > 1 and value == ", ".join(values))


def _host(text: str) -> str:
    """Return a host's name without port and brackets, in lower case."""
    host = text.strip().lower()
    if "/" in host:
        raise wrong("matcher.hostname", f"{text[:80]!r} is not a host", "urlPattern takes URLs")
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    host = host.rstrip(".")
    if not host:
        raise wrong("matcher.hostname", "it is empty", "leave it out to match every host")
    return host


def _needle(pattern: str) -> str:
    return Pattern(pattern).needle.lower()
