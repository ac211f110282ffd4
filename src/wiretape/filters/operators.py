"""The operators that the index alone can decide: who, where, when, how it ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from wiretape.filters.exchange import Exchange, Verdict
from wiretape.filters.numbers import Range, read_range
from wiretape.filters.patterns import Pattern, compile_pattern
from wiretape.filters.tree import Operator

STATES: Final = ("inFlight", "complete", "aborted", "failed", "interrupted", "mocked", "blocked", "dropped")
DAMAGED: Final = "damaged"

_CODE_CLASS: Final = re.compile(r"([1-9])xx", re.ASCII | re.IGNORECASE)
_SIZES: Final[dict[str, float]] = {
    "": 1, "b": 1, "k": 1000, "kb": 1000, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9,
    "ki": 1024, "kib": 1024, "mi": 1024**2, "mib": 1024**2, "gi": 1024**3, "gib": 1024**3,
}  # fmt: skip
_TIMES: Final[dict[str, float]] = {"": 1, "ms": 1, "s": 1000, "m": 60_000, "min": 60_000}
ASSETS: Final = (
    "text/javascript", "application/x-javascript", "application/javascript", "text/css", "image/", "font/",
    "application/font",
)  # fmt: skip
"""How media types of scripts, styles, images and fonts begin."""


@dataclass(frozen=True, slots=True)
class PatternOperator(Operator):
    """An operator whose value is a regular expression."""

    pattern: Pattern
    takes: ClassVar[str] = "REGEX"

    @classmethod
    def read(cls, value: str) -> Operator:
        """Take a regular expression."""
        pattern = Pattern(value)
        compile_pattern(pattern)
        return cls(pattern)


@dataclass(frozen=True, slots=True)
class Bare(Operator):
    """An operator without a value."""


class Everything(Bare):
    """Takes every exchange."""

    __slots__ = ()
    symbols = ("~all",)
    help = "every exchange"
    example = "~all"

    def matches(self, exchange: Exchange) -> Verdict:  # noqa: ARG002
        """Return True."""
        return True


class Http(Everything):
    """Takes every exchange: what is recorded is HTTP."""

    __slots__ = ()
    symbols = ("~http",)
    help = "HTTP exchanges: all that is recorded"
    example = "~http"


class Method(PatternOperator):
    """The request's method."""

    __slots__ = ()
    symbols = ("~m",)
    help = "the method"
    example = "~m POST"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the method is such."""
        return self.pattern.in_text(exchange.method)


class Domain(PatternOperator):
    """The request's host, by an expression."""

    __slots__ = ()
    symbols = ("~d",)
    help = "the host (domain) of the request"
    example = "~d example.com"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the host is such."""
        return self.pattern.in_text(exchange.host)


class Url(PatternOperator):
    """The request's URL."""

    __slots__ = ()
    symbols = ("~u",)
    help = "the URL; a word without an operator means the same"
    example = "~u /api/v[12]/"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the URL is such."""
        return self.pattern.in_text(exchange.url)


@dataclass(frozen=True, slots=True)
class Host(Operator):
    """A host and the hosts below it, literally."""

    host: str
    symbols = ("~host",)
    takes = "HOST"
    help = "this host and the hosts below it, literally"
    example = "~host example.com"

    @classmethod
    def read(cls, value: str) -> Operator:
        """Take a host's name or address."""
        host = value.lower().strip("[]").rstrip(".")
        if not host or "/" in host:
            raise ValueError("give a host alone, such as api.example.com; ~u takes URLs")
        return cls(host)

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether it is the host or one below."""
        return exchange.host == self.host or exchange.host.endswith("." + self.host)


@dataclass(frozen=True, slots=True)
class Code(Operator):
    """The response's status."""

    ranges: tuple[Range, ...]
    symbols = ("~c",)
    takes = "CODE"
    help = "the response's status: 404, 4xx, >=400, 200..299, or several with commas"
    example = "~c 4xx"

    @classmethod
    def read(cls, value: str) -> Operator:
        """Take codes and classes of them."""
        return cls(tuple(cls._one(part.strip()) for part in value.split(",")))

    @staticmethod
    def _one(text: str) -> Range:
        match = _CODE_CLASS.fullmatch(text)
        if match:
            return Range(int(match[1]) * 100, int(match[1]) * 100 + 99)
        try:
            found = read_range(text, {"": 1}, exact=True)
        except ValueError as error:
            raise ValueError(f"{error}; a status is 404, 4xx, >=400 or 200..299") from None
        if not any(100 <= end <= 1000 for end in (found.low, found.high) if end is not None):
            raise ValueError("a status has three digits; classes are 4xx")
        return found

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether there is a response with such a status."""
        status = exchange.status
        return status is not None and any(status in one for one in self.ranges)


@dataclass(frozen=True, slots=True)
class InState(Operator):
    """How the exchange ended, or that it runs."""

    state: str
    symbols = ("~st",)
    takes = "STATE"
    help = f"the state: {', '.join(STATES)}; or {DAMAGED}"
    example = "~st interrupted"

    @classmethod
    def read(cls, value: str) -> Operator:
        """Take the name of a state in any case."""
        for state in (*STATES, DAMAGED):
            if value.lower().replace("-", "").replace("_", "") == state.lower():
                return cls(state)
        raise ValueError(f"{value!r} is not a state; there are {', '.join((*STATES, DAMAGED))}")

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether it is in the state."""
        return exchange.damaged if self.state == DAMAGED else exchange.state == self.state


class Failed(Bare):
    """No whole response, because something went wrong."""

    __slots__ = ()
    symbols = ("~e",)
    help = "ended by an error: failed, aborted or interrupted"
    example = "~e"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether it was ended so."""
        return exchange.state in {"failed", "aborted", "interrupted"}


class Erroneous(Bare):
    """What a person would call an error, whatever its status."""

    __slots__ = ()
    symbols = ("~err",)
    help = "errors: 4xx, 5xx, failed, and responses of 2xx that say so (GraphQL errors, gRPC status, success: false)"
    example = "~err & ~host api.example.com"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether it is an error."""
        status = exchange.status
        if exchange.state == "failed" or (status is not None and status >= 400):
            return True
        if status is None or not 200 <= status < 300:
            return False
        return exchange.says_error()


@dataclass(frozen=True, slots=True)
class Milliseconds(Operator):
    """How long it took."""

    range: Range
    symbols = ("~ms",)
    takes = "NUMBER"
    help = "how long it took, in ms (or 2s, 1m): >1000, <=50, 100..200; what runs still is not meant"
    example = "~ms >1000"

    @classmethod
    def read(cls, value: str) -> Operator:
        """Take a comparison."""
        return cls(read_range(value, _TIMES, exact=False))

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether it took so long."""
        taken = exchange.milliseconds
        return taken is not None and taken in self.range


@dataclass(frozen=True, slots=True)
class Size(Operator):
    """Bytes on the wire of the larger body."""

    range: Range
    symbols = ("~size",)
    takes = "NUMBER"
    help = "bytes on the wire of the larger of both bodies: >100k, <2M, 1k..2k (powers of 1000; Ki, Mi of 1024)"
    example = "~size >100k"

    @classmethod
    def read(cls, value: str) -> Operator:
        """Take a comparison."""
        return cls(read_range(value, _SIZES, exact=True))

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the larger body is so large."""
        return max(exchange.size("request"), exchange.size("response")) in self.range


class RequestSize(Size):
    """Bytes on the wire of the request's body."""

    __slots__ = ()
    symbols = ("~sizeq",)
    help = "bytes on the wire of the request's body"
    example = "~sizeq >1M"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the request's body is so large."""
        return exchange.size("request") in self.range


class ResponseSize(Size):
    """Bytes on the wire of the response's body."""

    __slots__ = ()
    symbols = ("~sizes",)
    help = "bytes on the wire of the response's body"
    example = "~sizes 0"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the response's body is so large."""
        return exchange.size("response") in self.range


@dataclass(frozen=True, slots=True)
class Seq(Operator):
    """The exchange's number."""

    ranges: tuple[Range, ...]
    symbols = ("~seq",)
    takes = "SEQS"
    help = "numbers of exchanges: 31, 20..31, 20.., or several with commas"
    example = "~seq 20..31"

    @classmethod
    def read(cls, value: str) -> Operator:
        """Take numbers and ranges of them."""
        return cls(tuple(read_range(part.strip(), {"": 1}, exact=True) for part in value.split(",")))

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the number is one of them."""
        return any(exchange.seq in one for one in self.ranges)


@dataclass(frozen=True, slots=True)
class SeqByStream(Operator):
    """Numbers beyond, or up to, the last of each stream; marks of recordings by several recorders ask for it.

    Attributes:
        last: of each stream the last number; stream w of W gives w + 1, w + 1 + W ... (FORMAT.md).
        after: those beyond are meant.
    """

    last: tuple[int, ...]
    after: bool

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the number is meant."""
        return (exchange.seq > self.last[(exchange.seq - 1) % len(self.last)]) is self.after


@dataclass(frozen=True, slots=True)
class Time(Operator):
    """When it began, in milliseconds since the epoch; asked for by plain parameters."""

    range: Range

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether it began then."""
        return exchange.timestamp in self.range


@dataclass(frozen=True, slots=True)
class Source(Operator):
    """The way the client came."""

    sources: tuple[str, ...]
    symbols = ("~source",)
    takes = "NAME"
    help = "the way the client came: explicit, connect, reverse, socks, transparent, import; or several with commas"
    example = "~source import"

    @classmethod
    def read(cls, value: str) -> Operator:
        """Take names; those of a later version are no error."""
        return cls(tuple(name.strip().lower() for name in value.split(",")))

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether it came so."""
        return exchange.source in self.sources


class Replayed(Bare):
    """Sent again by wiretape."""

    __slots__ = ()
    symbols = ("~replay",)
    help = "requests that were sent again (replay, send)"
    example = "~replay & ~err"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether it was sent again."""
        return exchange.source == "replay"


@dataclass(frozen=True, slots=True)
class Ruled(Operator):
    """Exchanges on which a rule acted."""

    rule: str
    symbols = ("~rule",)
    takes = "ID"
    help = "exchanges on which this rule acted (rule_3); * for any"
    example = "~rule rule_3"

    @classmethod
    def read(cls, value: str) -> Operator:
        """Take the id of a rule."""
        if not value or " " in value:
            raise ValueError("give the id of a rule, such as rule_3, or * for any")
        return cls(value)

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the rule acted."""
        return bool(exchange.rules) if self.rule == "*" else self.rule in exchange.rules


class Changed(Bare):
    """Exchanges of which a rule changed the request or the response."""

    __slots__ = ()
    symbols = ("~changed",)
    help = "exchanges of which a rule changed the request or the response"
    example = "~changed"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether one did."""
        return exchange.changed


class NoResponse(Bare):
    """A request without a response."""

    __slots__ = ()
    symbols = ("~q",)
    help = "requests without a response"
    example = "~q & ~st failed"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether there is no response."""
        return exchange.status is None


class WithResponse(Bare):
    """A request with a response."""

    __slots__ = ()
    symbols = ("~s",)
    help = "requests with a response"
    example = "~s & ~ms >1000"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether there is a response."""
        return exchange.status is not None


class ResponseType(PatternOperator):
    """The response's Content-Type."""

    __slots__ = ()
    symbols = ("~ts",)
    help = "the response's Content-Type"
    example = "~ts json"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the type is such."""
        return exchange.response_type is not None and self.pattern.in_text(exchange.response_type)


class Asset(Bare):
    """Scripts, styles, images and fonts."""

    __slots__ = ()
    symbols = ("~a",)
    help = "assets: responses that are scripts, styles, images or fonts"
    example = "!~a"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the response is an asset."""
        return exchange.response_type is not None and is_asset(exchange.response_type)


def is_asset(content_type: str) -> bool:
    """Return whether a Content-Type is of a script, style, image or font."""
    return content_type.lower().startswith(ASSETS)
