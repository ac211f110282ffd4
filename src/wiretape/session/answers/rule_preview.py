"""What rules would do to recorded exchanges: the same matcher and the same edits as in live traffic, nothing sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from wiretape.errors import WiretapeError
from wiretape.filters.exchange import Side
from wiretape.heads import fields, full_url, start_line
from wiretape.log.assembly import ExchangeTape
from wiretape.model import Filter
from wiretape.rules.explain import Explained, explain
from wiretape.rules.headers import edited
from wiretape.rules.matcher import Check
from wiretape.rules.regexes import NotAppliedError
from wiretape.rules.ruleset import CompiledRule, Edits
from wiretape.rules.seen import NO_BODY, Seen, SeenBody
from wiretape.rules.url import plain_url
from wiretape.rules.values import STAGES
from wiretape.secrets.veil import UNVEILED, Veil
from wiretape.session.answers.whole_body import read_whole
from wiretape.session.session import Session

MOST: Final = 2_000
"""Exchanges that one preview looks at, the newest."""
MOST_BODY: Final = 1024 * 1024
"""Bytes of a body that a rule changes in live traffic; larger ones pass as they are."""
_SHOWN: Final = 200
"""Characters of a body that are shown around the first difference."""
_HEADERS: Final = 20
_HIDDEN: Final = "(the change is in what is hidden)"


class Difference(msgspec.Struct, frozen=True, rename="camel"):
    """What of a message would be another; each is before and after."""

    url: tuple[str, str] | UnsetType = UNSET
    method: tuple[str, str] | UnsetType = UNSET
    status: tuple[int, int] | UnsetType = UNSET
    headers: list[tuple[str, str | None, str | None]] | UnsetType = UNSET
    body: tuple[str, str] | UnsetType = UNSET
    note: str | UnsetType = UNSET


class Previewed(msgspec.Struct, frozen=True, rename="camel"):
    """One exchange that rules would act on.

    Attributes:
        would: ``mocked``, ``blocked``, ``dropped``, ``changed``, or ``unchanged`` where a rule finds nothing to change.
        rules: the rules that would act, by stage.
    """

    seq: int
    method: str
    url: str
    would: str
    rules: dict[str, str]
    request: Difference | UnsetType = UNSET
    response: Difference | UnsetType = UNSET


class Preview(msgspec.Struct, frozen=True, rename="camel"):
    """What rules would do.

    Attributes:
        looked_at: recorded exchanges that were tried; ``complete`` says whether those are all.
        matched: exchanges on which a rule would act.
        by_rule: how many, by the rule.
        exchanges: the first of them.
        not_decided: exchanges of which not enough is recorded to say.
    """

    session_id: str
    looked_at: int
    complete: bool
    matched: int
    by_rule: dict[str, int]
    exchanges: list[Previewed]
    not_decided: int


def seen_of(session: Session, seq: int) -> Seen:
    """Return a recorded exchange as matchers see it: the request that the client sent, the response that came.

    Raises:
        NotFoundError: there is no such exchange, or its request is lost.
    """
    tape = session.tape(seq)
    detail = session.exchange(seq, bodies=False)
    head = tape.request_head or b""
    opened = tape.opened[1] if tape.opened is not None else None
    method, target, _ = start_line(head)
    url = full_url(method, target, opened.scheme, opened.host, opened.port) if opened is not None else ""
    received = detail.received_response or detail.response
    return Seen(
        method,
        plain_url(url),
        head,
        lambda side: _body(session, tape, seq, side),
        response_head=tape.received_head,
        response_status=received.status_code if received is not None else None,
        client=detail.client or "",
        source=opened.source if opened is not None else "",
        seq=seq,
    )


def _body(session: Session, tape: ExchangeTape, seq: int, side: Side) -> SeenBody:
    if side == "response" and tape.received_head is None:
        return NO_BODY
    try:
        body = read_whole(session, seq, "request" if side == "request" else "received response")
    except WiretapeError as error:
        return SeenBody(None, error.message)
    if body.missing is not None:
        return SeenBody(None, body.missing)
    text = body.text
    return SeenBody(body.data if text is None else text.encode("utf-8", "replace"))


def explained(
    session: Session,
    seq: int,
    rules: Sequence[CompiledRule],
    *,
    include_disabled: bool,
    limit: int | None,
    veil: Veil = UNVEILED,
) -> Explained:
    """Return what rules say of a recorded exchange.

    Raises:
        NotFoundError: there is none.
    """
    found = explain(rules, seen_of(session, seq), include_disabled=include_disabled, limit=limit)
    return found if veil is UNVEILED else _veiled(found, veil)


def _veiled(found: Explained, veil: Veil) -> Explained:
    """Hide the secrets of what was recorded; what a rule asks for is its author's."""
    results = [
        msgspec.structs.replace(one, checks={name: _veiled_check(check, veil) for name, check in one.checks.items()})
        for one in found.results
    ]
    request = {name: veil.text(value) for name, value in found.request.items()}
    return msgspec.structs.replace(found, request=request, results=results)


def _veiled_check(check: Check, veil: Veil) -> Check:
    actual = check.actual
    if isinstance(actual, dict):
        actual = {name: veil.header(name, value) for name, value in actual.items()}
    elif isinstance(actual, str):
        actual = veil.text(actual)
    mismatch = [
        msgspec.structs.replace(one, actual=veil.header(one.header, one.actual)) if one.actual else one
        for one in check.mismatch
    ]
    return msgspec.structs.replace(check, actual=actual, mismatch=mismatch)


def preview(
    session: Session, rules: Sequence[CompiledRule], wanted: Filter, *, limit: int, veil: Veil = UNVEILED
) -> Preview:
    """Try rules on the newest exchanges of a session.

    Args:
        session: the recording.
        rules: in their order; ``times`` does not count here.
        wanted: which exchanges to try.
        limit: differences to show at most.
        veil: hides secrets.
    """
    page = session.query(wanted, limit=1_000, sort="desc")
    items = list(page.items)
    while page.next_cursor is not None and len(items) < MOST:
        page = session.query(wanted, limit=1_000, sort="desc", cursor=page.next_cursor)
        items += page.items
    found: list[Previewed] = []
    by_rule: dict[str, int] = {}
    matched = undecided = 0
    for item in items:
        seen = seen_of(session, item.seq)
        winners, unsure = _winners(rules, seen)
        undecided += unsure and not winners
        if not winners:
            continue
        matched += 1
        for rule_id in {one.rule.id for one in winners.values()}:
            by_rule[rule_id] = by_rule.get(rule_id, 0) + 1
        if len(found) < limit:
            found.append(_previewed(seen, winners, veil))
    return Preview(
        session_id=session.session_id,
        looked_at=len(items),
        complete=page.next_cursor is None,
        matched=matched,
        by_rule=by_rule,
        exchanges=found,
        not_decided=undecided,
    )


def _winners(rules: Sequence[CompiledRule], seen: Seen) -> tuple[dict[str, CompiledRule], bool]:
    """Return the rule that wins each stage, and whether one could not be decided."""
    found: dict[str, CompiledRule] = {}
    unsure = False
    for one in rules:
        stages = [stage for stage in STAGES if stage in one.stages and stage not in found]
        if stages:
            verdict = one.matcher.matches(seen)
            unsure |= verdict is None
            found.update(dict.fromkeys(stages, one) if verdict else {})
    answer = found.get("answer")
    if answer is not None and (answer.answer is not None or answer.drops):
        return {"answer": answer}, unsure
    return found, unsure


def _previewed(seen: Seen, winners: dict[str, CompiledRule], veil: Veil) -> Previewed:
    answer = winners.get("answer")
    request = response = Difference()
    if answer is not None and (answer.answer is not None or answer.drops):
        would = "dropped" if answer.drops else "blocked" if answer.blocks else "mocked"
        if answer.answer is not None and seen.status is not None:
            response = Difference(status=(seen.status, answer.answer.status))
    else:
        request = _of_request(seen, answer, winners.get("request"), veil)
        if "response" in winners and seen.response_head is not None:
            response = _of_response(seen, winners["response"].response or Edits(), veil)
        would = "changed" if _changes(request) or _changes(response) else "unchanged"
    return Previewed(
        seq=seen.seq,
        method=seen.method,
        url=veil.text(seen.url),
        would=would,
        rules={stage: one.rule.id for stage, one in winners.items()},
        request=request if request != Difference() else UNSET,
        response=response if response != Difference() else UNSET,
    )


def _changes(found: Difference) -> bool:
    return any(part is not UNSET for part in (found.url, found.method, found.status, found.headers, found.body))


def _of_request(seen: Seen, answer: CompiledRule | None, one: CompiledRule | None, veil: Veil) -> Difference:
    changed = answer.rewrite(seen.url) if answer is not None and answer.rewrite is not None else None
    edits = (one.request if one is not None else None) or Edits()
    method = edits.method if edits.method not in (None, seen.method) else None
    return Difference(
        url=(veil.text(seen.url), _url(seen.url, changed, answer, veil)) if changed is not None else UNSET,
        method=(seen.method, method) if method is not None else UNSET,
        headers=_headers(seen.request_fields, edits, veil) or UNSET,
        **_body_difference(seen, "request", edits, veil),
    )


def _of_response(seen: Seen, edits: Edits, veil: Veil) -> Difference:
    status = seen.status
    return Difference(
        status=(status, edits.status) if status is not None and edits.status not in (None, status) else UNSET,
        headers=_headers(fields(seen.response_head or b""), edits, veil) or UNSET,
        **_body_difference(seen, "response", edits, veil),
    )


def _headers(before: list[tuple[str, str]], edits: Edits, veil: Veil) -> list[tuple[str, str | None, str | None]]:
    lines = [(name, value.encode("utf-8", "surrogateescape").decode("latin-1")) for name, value in before]
    shown = [(name, veil.header(name, _text(value)).encode().decode("latin-1")) for name, value in lines]
    found = _line_differences(lines, edits, veil)
    if not found or all(_text(one[1]) == _text(two[1]) for one, two in zip(lines, shown, strict=True)):
        return found
    # What was hidden stays hidden, whatever a rule makes of it.
    return _line_differences(shown, edits, veil) or [(found[0][0], _HIDDEN, _HIDDEN)]


def _line_differences(
    lines: list[tuple[str, str]], edits: Edits, veil: Veil
) -> list[tuple[str, str | None, str | None]]:
    after, _ = edited(lines, edits.headers)
    gone = [one for one in lines if one not in after]
    new = [one for one in after if one not in lines]
    found: list[tuple[str, str | None, str | None]] = []
    for name, value in gone:
        other = next((one for one in new if one[0].lower() == name.lower()), None)
        if other is not None:
            new.remove(other)
        found.append((name, _value(name, value, veil), None if other is None else _value(name, other[1], veil)))
    found += [(name, None, _value(name, value, veil)) for name, value in new]
    return found[:_HEADERS]


def _url(before: str, changed: str, answer: CompiledRule | None, veil: Veil) -> str:
    """Return the new URL as it may be shown: one with a secret is made again of what is shown of the old one.

    A rule can take a secret apart, and nobody knows its parts for one (P18). So it is with headers and bodies.
    """
    shown = veil.text(before)
    if shown == before:
        return veil.text(changed)
    again = answer.rewrite(shown) if answer is not None and answer.rewrite is not None else None
    return _HIDDEN if again is None else veil.text(again)


def _value(name: str, value: str, veil: Veil) -> str:
    return veil.header(name, _text(value))[:_SHOWN]


def _text(value: str) -> str:
    return value.encode("latin-1").decode("utf-8", "replace")


def _body_difference(seen: Seen, side: Side, edits: Edits, veil: Veil) -> dict[str, Any]:
    if not edits.body:
        return {}
    body = seen.body_of(side)
    if body.data is None:
        return {"note": f"{body.reason}: it would go on unchanged"}
    if len(body.data) > MOST_BODY:
        return {"note": f"the body is longer than {MOST_BODY:,} bytes: it would go on unchanged"}
    try:
        text = body.data.decode()
    except UnicodeDecodeError:
        return {"note": "the body is not text: it would go on unchanged"} if body.data else {}
    after, notes = _after(text, edits)
    found: dict[str, Any] = {"note": "; ".join(notes)} if notes else {}
    if after != text:
        at = next((at for at, pair in enumerate(zip(text, after, strict=False)) if pair[0] != pair[1]), len(text))
        start = max(0, at - _SHOWN // 4)
        whole_before = veil.text(text)
        # What was hidden stays hidden, whatever a rule makes of it.
        again = after if whole_before == text else _after(whole_before, edits)[0]
        whole_after = veil.text(again) if again != whole_before else _HIDDEN
        shown = whole_after if whole_after != _HIDDEN else whole_before
        shift = min(start, len(whole_before), len(shown))
        ends = whole_after if whole_after == _HIDDEN else whole_after[shift : shift + _SHOWN]
        found["body"] = (whole_before[shift : shift + _SHOWN], ends)
    return found


def _after(text: str, edits: Edits) -> tuple[str, list[str]]:
    """Return a body after its edits, and what could not be done."""
    notes: list[str] = []
    for edit in edits.body:
        try:
            text = edit(text)
        except NotAppliedError as error:
            notes.append(str(error))
    return text, notes
