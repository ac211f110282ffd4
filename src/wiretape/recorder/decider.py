"""Rules applied to live exchanges: each that a rule may be for is a case of its own.

A case goes through the stages in their order (see rules/ruleset.py) and tells the exchange what is to become of it. It
holds a body only where a rule asks for it, and no more of it than ``MAX_HELD`` bytes for ``HOLD_SECONDS``: then the
message goes on as it came, and the log says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, Literal

from wiretape.errors import ProtocolError
from wiretape.heads import content_type, field_values, fields
from wiretape.log.format import EndState
from wiretape.recorder.exchange_log import Act
from wiretape.recorder.ports import AnyRequestHead, AnyResponseHead, Change, Held, Pieces, Request
from wiretape.recorder.route import Route
from wiretape.rules.headers import edited
from wiretape.rules.regexes import NotAppliedError
from wiretape.rules.ruleset import CompiledRule, Edits, Ruleset, first, reason
from wiretape.rules.seen import NO_BODY, Seen, SeenBody
from wiretape.rules.url import host_of, is_url, leads_away
from wiretape.rules.values import Stage
from wiretape.session.content import ContentError, as_text, content_codings, declared_charset, decode, encode
from wiretape.wire.http1 import (
    LENGTH,
    parse_request_head,
    parse_response_head,
    split_target,
)

MAX_HELD: Final = 1024 * 1024
"""Bytes of a body, on the wire and decoded, that are held to be looked at or changed."""
MAX_HELD_TOGETHER: Final = 64 * 1024 * 1024
"""Bytes of bodies that all exchanges hold at the same time (P8)."""
HOLD_SECONDS: Final = 30.0
"""How long a body may take to come whole while it is held."""
_STREAMS: Final = ("text/event-stream", "application/grpc", "multipart/x-mixed-replace")
"""Bodies whose parts are waited for one by one: these are never held."""

Side = Literal["request", "response"]


@lru_cache(256)
def _origin(scheme: str, host: str, port: int) -> str:
    """Return the beginning of a server's URLs, as ``rules.url.plain_url`` has it."""
    name = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(scheme)
    return f"{scheme}://{name}" if port == default else f"{scheme}://{name}:{port}"


class Spent:
    """How often rules acted. It outlives a change of the rules: what was not changed goes on counting."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], int] = {}
        self._untold: dict[str, int] = {}

    def left(self, one: CompiledRule) -> bool:
        """Return whether a rule may act once more."""
        times = one.rule.times
        return times is None or self._counts.get((one.rule.id, one.rule.revision), 0) < times

    def add(self, one: CompiledRule) -> None:
        """Count an exchange."""
        key = (one.rule.id, one.rule.revision)
        self._counts[key] = self._counts.get(key, 0) + 1
        self._untold[one.rule.id] = self._untold.get(one.rule.id, 0) + 1

    def keep(self, rules: Iterable[CompiledRule]) -> None:
        """Forget rules that are not there any more."""
        there = {(one.rule.id, one.rule.revision) for one in rules}
        self._counts = {key: count for key, count in self._counts.items() if key in there}

    def tell(self) -> dict[str, int]:
        """Return what was counted since this was last asked, by rule."""
        told, self._untold = self._untold, {}
        return told


class Room:
    """What is left for the bodies that are held, of all exchanges together.

    Attributes:
        left: bytes; less than none where the pieces that have just come were too many.
    """

    def __init__(self, left: int = MAX_HELD_TOGETHER) -> None:
        self.left = left


class RuleDecider:
    """Decides by a set of rules. An exchange that has begun goes on with the set that it began with (P16)."""

    def __init__(self, rules: Ruleset, spent: Spent, loop: asyncio.AbstractEventLoop, room: Room | None = None) -> None:
        self._rules = rules
        self._spent = spent
        self._loop = loop
        self._room = room or Room()

    def request_seen(self, exchange: Held) -> RuleCase | None:
        """Return a case where a rule may be for the exchange."""
        request = exchange.request
        scheme, host, port = request.route[:3]
        target = request.target.decode("latin-1")
        url = _origin(scheme, host, port) + ("" if target == "*" else target)
        raw = request.head.raw
        found = self._rules.candidates(url, host.rstrip("."), raw)
        if not found:
            return None
        return RuleCase(exchange, url, found, self._spent, self._room, self._loop)


class RuleCase:
    """One exchange that rules may be for."""

    def __init__(
        self,
        exchange: Held,
        url: str,
        rules: Sequence[CompiledRule],
        spent: Spent,
        room: Room,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._exchange = exchange
        self._request = exchange.request
        self._rules = rules
        self._spent = spent
        self._room = room
        self._held = 0
        self._loop = loop
        self._decided = False
        self._answer_rule: CompiledRule | None = None
        self._answer_known = False
        self._hit: set[str] = set()
        self._for_response: list[CompiledRule] = []
        self._given_up = ""
        self._timer: asyncio.TimerHandle | None = None
        self._response: AnyResponseHead | None = None
        head = self._request.head
        client = exchange.client
        self._seen = Seen(
            head.method,
            url,
            head.raw,
            self._body_of,
            response_coming=True,
            client=client.name,
            source=client.source,
        )
        self._gathered: dict[Side, SeenBody] = {}

    # -- the request -------------------------------------------------------------------------------------------------

    @property
    def watches_response(self) -> bool:
        """Whether a rule may change the response."""
        return bool(self._for_response)

    def begin(self) -> None:
        """Decide about the request, or wait for more of it."""
        if not self._answer_known:
            self._answer_rule, waits = self._first("answer")
            if waits:
                self._hold()
                return
            self._answer_known = True
            if self._answer_rule is not None and self._answer_rule.rule.times is not None:
                self._count(self._answer_rule)  # others are not to be answered by it while this body comes
        answer = self._answer_rule
        request: CompiledRule | None = None
        if answer is not None and answer.answer is not None:
            if not self._all_came():
                self._hold()
                return
        elif answer is None or not answer.drops:
            request, waits = self._first("request")
            if waits or self._choose_for_response() or self._body_to_come(request):
                self._hold()
                return
        self._stop_waiting()
        self._decided = True
        for one in (answer, request):
            if one is not None:
                self._count(one)
        delay = max((one.delay for one in (answer, request) if one is not None), default=0.0)
        if delay:
            self._exchange.no_more()
            self._timer = self._loop.call_later(delay, self._act, answer, request)
        else:
            self._act(answer, request)

    def _body_to_come(self, request: CompiledRule | None) -> bool:
        edits = request.request if request is not None else None
        return edits is not None and bool(edits.body) and self._body("request").coming

    def _all_came(self) -> bool:
        """Return whether the request is whole, so that all of it is recorded; nobody is sent what has come."""
        if not self._exchange.body[1]:
            self._exchange.forget_body()
            return bool(self._given_up)
        return True

    def _hold(self) -> None:
        self._wait()
        self._exchange.more()

    def request_more(self) -> None:
        """Look whether it is enough."""
        if not self._decided and self._is_enough():
            self.begin()

    def _act(self, answer: CompiledRule | None, request: CompiledRule | None) -> None:
        """Do what was decided."""
        self._timer = None
        exchange = self._exchange
        if answer is not None and answer.drops:
            exchange.drop((_act(answer, "answer"),))
        elif answer is not None and answer.answer is not None:
            self._answer(answer)
        elif answer is None and request is None:
            exchange.proceed()
        else:
            exchange.proceed(self._changed_request(answer, request))

    def _answer(self, one: CompiledRule) -> None:
        answer = one.answer
        assert answer is not None
        method = self._request.head.method
        lines = "".join(f"{name}: {value}\r\n" for name, value in answer.fields)
        length = "" if answer.status in (204, 304) else f"Content-Length: {len(answer.body)}\r\n"
        raw = f"HTTP/1.1 {answer.status} {reason(answer.status)}\r\n{lines}{length}\r\n"
        head = parse_response_head(raw.encode("latin-1"), method)
        assert head is not None
        body = [answer.body] if answer.body and method != "HEAD" else []
        state = EndState.BLOCKED if one.blocks else EndState.MOCKED
        self._exchange.answer(head, body, (_act(one, "answer"),), state)

    def _changed_request(self, answer: CompiledRule | None, request: CompiledRule | None) -> Change:
        acts: list[Act] = []
        before = self._request
        head = before.head
        absolute = self._seen.url
        url = absolute
        if answer is not None:
            url, note = _rewritten(answer, absolute)
            acts.append(_act(answer, "answer", note))
        forwarded = head.forward(b"/", upgrade=head.upgrade is not None, host=before.authority)
        came = lines = _pairs(forwarded)
        if url != absolute and answer is not None and answer.rewrite_host:
            lines = [(name, _authority(url) if name.lower() == "host" else value) for name, value in lines]
        method, pieces = head.method, None
        if request is not None:
            edits = request.request or Edits()
            lines, kept = edited(lines, edits.headers)
            method, note = _method(head.method, edits.method)
            pieces, said = self._edited("request", edits, lines)
            acts.append(_act(request, "request", "; ".join(part for part in (kept, note, said) if part)))
            if pieces is not None:
                lines = _framed(lines, head.framing == LENGTH, sum(map(len, pieces)))
        if (url, method, pieces) == (absolute, head.method, None) and lines == came:
            return Change(tuple(acts))
        raw = _built(f"{method} {url} HTTP/1.1", lines)
        made = _request_of(raw, before)
        if isinstance(made, str):
            return Change((*acts[:-1], acts[-1]._replace(note=made)))
        return Change(tuple(acts), request=made, pieces=pieces)

    # -- the response ------------------------------------------------------------------------------------------------

    def response_seen(self, head: AnyResponseHead) -> bool:
        """Decide about the response, or wait for its body."""
        if not self._for_response:
            self._exchange.proceed()
            return False
        self._response = head
        seen = self._seen
        seen.response_head, seen.response_status, seen.response_coming = head.raw, head.status, False
        self._given_up = ""
        return self._judge()

    def response_more(self) -> None:
        """Look whether it is enough."""
        if self._is_enough():
            self._judge()

    def _judge(self) -> bool:
        """Decide, or return that more has to come."""
        rules = [one for one in self._for_response if one.rule.id in self._hit or self._spent.left(one)]
        one, verdict = first(rules, "response", self._seen)
        waits = one is not None and verdict is None
        edits = one.response if one is not None and verdict else None
        if waits or (edits is not None and edits.body and self._body("response").coming):
            self._wait()
            return True
        self._stop_waiting()
        if one is None or not verdict:
            self._exchange.proceed()
        else:
            self._count(one)
            self._exchange.proceed(self._changed_response(one, edits or Edits()))
        return False

    def _changed_response(self, one: CompiledRule, edits: Edits) -> Change:
        head = self._response
        assert head is not None
        forwarded = head.forward(upgrade=head.status == 426)
        before = _pairs(forwarded)
        lines, kept = edited(before, edits.headers)
        pieces, note = self._edited("response", edits, lines)
        note = "; ".join(part for part in (kept, note) if part)
        status = edits.status or head.status
        if pieces is not None:
            lines = _framed(lines, head.framing == LENGTH, sum(map(len, pieces)))
        elif status != head.status and head.status in (204, 205, 304):
            lines = _framed(lines, True, 0)  # what had no body has an empty one now
        if status == head.status and pieces is None and lines == before:
            return Change((_act(one, "response", note),))
        phrase = reason(status) if status != head.status else head.reason.decode("latin-1") or reason(status)
        try:
            made = parse_response_head(_built(f"HTTP/1.1 {status} {phrase}", lines), self._request.head.method)
        except ProtocolError as error:
            return Change((_act(one, "response", f"it made no response of it: {error.message}"),))
        assert made is not None
        return Change((_act(one, "response", note),), head=made, pieces=pieces)

    # -- what both need ----------------------------------------------------------------------------------------------

    def _first(self, stage: Stage) -> tuple[CompiledRule | None, bool]:
        """Return the rule that wins a stage of the request, or that more of the request has to come first."""
        rules = [one for one in self._rules if self._spent.left(one)]
        while True:
            one, verdict = first(rules, stage, self._seen)
            if one is None or verdict:
                return one, False
            if "request body" in self._seen.lacks:
                return None, True
            rules = rules[rules.index(one) + 1 :]  # it asks for the response, and this stage is before that

    def _choose_for_response(self) -> bool:
        """Keep the rules that may change the response; return whether more of the request has to come first."""
        self._for_response = []
        for one in self._rules:
            if "response" in one.stages and self._spent.left(one):
                self._seen.lacks.clear()
                verdict = one.matcher.matches(self._seen)
                if verdict is None and "request body" in self._seen.lacks:
                    return True
                if verdict or (verdict is None and self._seen.lacks):
                    self._for_response.append(one)
                if verdict:
                    break
        return False

    def _count(self, one: CompiledRule) -> None:
        if one.rule.id not in self._hit:
            self._hit.add(one.rule.id)
            self._spent.add(one)

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(HOLD_SECONDS, self._late)

    def _is_enough(self) -> bool:
        """Return whether what has come of a body is all of it, or all that may be held."""
        pieces, whole = self._exchange.body
        size = sum(map(len, pieces))
        self._room.left += self._held - size
        self._held = size
        if self._room.left < 0 and not whole and not self._given_up:
            self._given_up = "too much is held of other bodies at the moment"
        return whole or size > MAX_HELD or bool(self._given_up)

    def ended(self) -> None:
        """Wait for nothing any more, and leave the room to others."""
        self._decided = True
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        self._room.left += self._held
        self._held = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        self._given_up = f"the body had not come whole after {HOLD_SECONDS:.0f} s"
        if self._response is None:
            self.begin()
        else:
            self._judge()

    def _body_of(self, side: str) -> SeenBody:
        return self._body("request" if side == "request" else "response")

    def _body(self, side: Side) -> SeenBody:
        """Return a decoded body, or why there is none."""
        known = self._gathered.get(side)
        if known is not None:
            return known
        head = self._request.head if side == "request" else self._response
        if (side == "response") != (self._response is not None) or head is None:
            return SeenBody(None, "the body is not held any more")
        pieces, whole = self._exchange.body
        headers = fields(head.raw)
        reason = self._unheld(head, pieces, whole, headers)
        if not whole and not reason:
            return SeenBody(None, "the body has not come whole", coming=True)
        found = SeenBody(None, reason) if reason else _decoded(pieces, headers) if pieces else NO_BODY
        self._gathered[side] = found
        return found

    def _unheld(
        self, head: AnyRequestHead | AnyResponseHead, pieces: Pieces, whole: bool, headers: list[tuple[str, str]]
    ) -> str:
        """Return why a body is not held, empty where it is."""
        kind = next(iter(field_values(headers, "content-type")), "").lower()
        if max(head.content_length, sum(map(len, pieces))) > MAX_HELD:
            return f"the body is longer than {MAX_HELD:,} bytes"
        if not whole and kind.startswith(_STREAMS):
            return "the body is a stream of events"
        return "" if whole else self._given_up

    def _edited(self, side: Side, edits: Edits, lines: list[tuple[str, str]]) -> tuple[Pieces | None, str]:
        """Return the body that goes on, None for the one that came, and why it stays as it is."""
        if not edits.body:
            return None, ""
        body = self._body(side)
        if body.data is None:
            return None, f"{body.reason}: it went on unchanged"
        if not body.data:
            return None, "there is no body to change"
        head = self._request.head if side == "request" else self._response
        assert head is not None
        kind = content_type(head.raw)
        text = _text_of(self._exchange.body[0], fields(head.raw), kind)
        if text is None:
            return None, "the body is not text: it went on unchanged"
        notes, after = [], text
        for edit in edits.body:
            try:
                after = edit(after)
            except NotAppliedError as error:
                notes.append(str(error))
        if after == text:
            return None, "; ".join(notes) or "the text was not found in the body: it went on unchanged"
        try:
            data = after.encode(declared_charset(kind) or "utf-8")
            coded = encode(data, content_codings(value for name, value in lines if name.lower() == "content-encoding"))
        except (UnicodeError, ContentError) as error:
            return None, f"the changed body cannot be encoded again: {error}"
        return [coded], "; ".join(notes)


def _act(one: CompiledRule, stage: Stage, note: str = "") -> Act:
    return Act(one.rule.id, stage, one.rule.description, note)


def _rewritten(one: CompiledRule, absolute: str) -> tuple[str, str]:
    """Return the URL that a request goes to, and why it stays where it does."""
    if one.rewrite is None:
        return absolute, ""
    changed = one.rewrite(absolute)
    if changed is None:
        return absolute, "the URL stays as it was"
    if not is_url(changed):
        return absolute, f"it made {changed[:200]!r} of the URL, which is not a URL of HTTP: it stays as it was"
    if leads_away(absolute, changed, one.rule.targets):
        return absolute, f"it may not send to {host_of(changed)[:200]} (--allow-target): the URL stays as it was"
    return changed, ""


def _decoded(pieces: Pieces, headers: list[tuple[str, str]]) -> SeenBody:
    codings = content_codings(field_values(headers, "content-encoding"))
    try:
        data = b"".join(decode(pieces, codings, limit=MAX_HELD))
    except ContentError as error:
        return SeenBody(None, f"the body cannot be decoded: {error}")
    charset = declared_charset(next(iter(field_values(headers, "content-type")), None))
    if charset is not None and charset != "utf-8":
        data = data.decode(charset, "replace").encode("utf-8", "replace")
    return SeenBody(data)


def _text_of(pieces: Pieces, headers: list[tuple[str, str]], kind: str | None) -> str | None:
    codings = content_codings(field_values(headers, "content-encoding"))
    return as_text(b"".join(decode(pieces, codings, limit=MAX_HELD)), kind)


def _pairs(head: bytes) -> list[tuple[str, str]]:
    """Return the fields of a well-formed head, each character a byte."""
    found = []
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found.append((name, value.strip(" \t")))
    return found


def _built(start: str, lines: list[tuple[str, str]]) -> bytes:
    return "".join((start, "\r\n", *(f"{name}: {value}\r\n" for name, value in lines), "\r\n")).encode("latin-1")


def _framed(lines: list[tuple[str, str]], length: bool, size: int) -> list[tuple[str, str]]:
    """Return the fields of a message whose body has another length; what came in chunks goes on in chunks."""
    if not length:
        return [one for one in lines if one[0].lower() != "content-length"]
    kept = [one for one in lines if one[0].lower() != "content-length"]
    return [*kept, ("Content-Length", str(size))]


def _method(before: str, wanted: str | None) -> tuple[str, str]:
    if wanted is None or wanted == before:
        return before, ""
    if before == "HEAD":
        return before, "the method stays HEAD: the client expects no body"
    return wanted, ""


def _authority(url: str) -> str:
    rest = url.partition("://")[2]
    for end in "/?":
        rest = rest.partition(end)[0]
    return rest


def _request_of(raw: bytes, before: Request) -> Request | str:
    """Return the request that a changed head makes, or why it makes none."""
    try:
        head = parse_request_head(raw)
        assert head is not None
        scheme, host, port, target, _ = split_target(head)
    except ProtocolError as error:
        return f"it made no request of it, which goes on as it came: {error.message}"
    route = before.route
    if (scheme, host, port) != (route.scheme, route.host, route.port):
        route = Route(scheme, host, port)
    # Host says what the rule made of it, which may be another name than the URL's.
    return Request(head, route, target, None)
