"""Why an exchange went wrong: what the answer says, which of the values sent it blames, and where those come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from wiretape.errors import WiretapeError
from wiretape.heads import field_values
from wiretape.log.store import list_segments
from wiretape.model import ExchangeDetail, Lean, Message
from wiretape.secrets.veil import Veil
from wiretape.session.answers.compare import named, request_differences, shown_value
from wiretape.session.answers.covered import called, missing
from wiretape.session.answers.fields import body_bytes, place_of, request_fields
from wiretape.session.answers.parts import operation_of
from wiretape.session.answers.signs import signs
from wiretape.session.answers.trace import Trace, trace
from wiretape.session.catalogue import Catalogue
from wiretape.session.index.endpoints import is_error, status_of
from wiretape.session.session import Session
from wiretape.views.problems import FieldError, Problem, problem_of

MAX_BODY: Final = 1024 * 1024
NEIGHBOURS: Final = 8
"""Other sessions of the root, the newest first, in which other outcomes are looked for."""
SMALL: Final = 4 * 1024 * 1024
"""Bytes of log of a session without an index that is looked into all the same: it takes a tenth of a second."""
_BLAMED: Final = 5
_OUTCOMES: Final = 3
_DIFFERS: Final = 6
_REPLAY: Final = re.compile("replay-[0-9]+")
_QUOTED: Final = re.compile(r'(\w+)\s*=\s*(?:"([^"]{0,300})"|([^\s,"]{1,300}))')


class Blamed(Lean, frozen=True, kw_only=True):
    """A field that the answer blames: what was sent, and whether an earlier answer had given that value."""

    pointer: str
    where: str = ""
    sent: Any = None
    seen_before: bool
    origin: str = ""
    near: list[str] = msgspec.field(default_factory=list)


class Outcome(Lean, frozen=True, kw_only=True):
    """The same operation with another outcome; rows of ``differs`` are ``[place, sent there, sent here]``.

    ``also`` are exchanges of which the same is to be said. ``from`` says where, in that session, the values come from
    that were sent there in the place of those that are blamed; ``near`` are sums of earlier numbers, a hint.
    """

    exchange: str
    status: int
    differs: list[list[Any]] = msgspec.field(default_factory=list)
    also: list[str] = msgspec.field(default_factory=list)
    from_: list[str] = msgspec.field(default_factory=list, name="from")
    near: list[str] = msgspec.field(default_factory=list)


class Explanation(Lean, frozen=True, kw_only=True):
    """Why an exchange ended as it did. ``signs`` are what else speaks for a cause, each a sentence; ``state``
    is told where it is not complete."""

    exchange: str
    op: str
    status_code: int = 0
    state: str = ""
    ms: int = 0
    problem: Problem | None = None
    blamed: list[Blamed] = msgspec.field(default_factory=list)
    signs: list[str] = msgspec.field(default_factory=list)
    other_outcomes: list[Outcome] = msgspec.field(default_factory=list)
    note: str = ""
    complete: bool
    missing: str = ""


def explain(
    session: Session,
    seq: int,
    *,
    veil: Veil,
    catalogue: Catalogue | None = None,
    before: Callable[[Session], None] | None = None,
) -> Explanation:
    """Explain one exchange.

    Args:
        session: the session.
        seq: the exchange.
        veil: hides secrets.
        catalogue: the sessions among which the same operation is looked for with another outcome; None: only this one.
        before: called with another session before something of it is shown.

    Raises:
        NotFoundError, StorageError: as ``Session.exchange``.
    """
    reach = session.follow()
    detail = session.exchange(seq, max_body=MAX_BODY)
    problem = problem_in(detail)
    found = list(signs(session, detail))
    lacking = [missing(reach)]
    if detail.notes:
        lacking += detail.notes
    errors = [one for one in (problem.errors if problem is not None else []) if one.pointer]
    others = _OtherOutcomes(session, detail, veil, [one.pointer for one in errors[:_BLAMED]], before)
    outcomes, unseen = others.find(catalogue)
    blamed = [_blame(session, detail, one, veil) for one in errors[:_BLAMED]]
    lacking += [unseen, *(text for _, text in blamed)]
    lacking = [text for text in lacking if text]
    note = "" if problem is not None or found else "Nothing in it says that it went wrong."
    return Explanation(
        exchange=f"{called(session)}:{seq}",
        op=veil.text(operation_of(session, seq)),
        status_code=detail.response.status_code or 0 if detail.response is not None else 0,
        state=detail.state if detail.state != "complete" else "",
        ms=round(detail.timings.total or 0),
        problem=_veiled(problem, veil),
        blamed=[one for one, _ in blamed],
        signs=[veil.text(sign) for sign in found],
        other_outcomes=outcomes,
        note=note,
        complete=not lacking,
        missing=" ".join(dict.fromkeys(lacking)),
    )


def problem_in(detail: ExchangeDetail) -> Problem | None:
    """Return what an exchange says went wrong; of one without an answer, what its end was."""
    response = detail.response
    if response is not None and not response.unparsed:
        status = response.status_code or 0
        found = problem_of(status, [*response.headers, *response.trailers], body_bytes(response))
        if found is not None:
            return found
        asked = _authenticate(response)
        if asked is not None:
            return asked
        if status >= 400:
            return Problem(form="status", title=f"{status} {response.status_message or ''}".strip())
    if detail.error is not None:
        tls = "tls" in detail.error["code"] or "certificate" in detail.error["message"].lower()
        return Problem(form="tls" if tls else "network", title=detail.error["message"], code=detail.error["code"])
    ends = {
        "aborted": "The client left before the answer was there.",
        "interrupted": "The recorder ended in the middle: whether an answer came is not known.",
        "failed": "The server or the network failed.",
        "dropped": "A rule broke the connection off.",
    }
    return Problem(form=detail.state, title=ends[detail.state]) if detail.state in ends else None


def _authenticate(response: Message) -> Problem | None:
    """Read WWW-Authenticate (RFC 9110 section 11.6.1, RFC 6750 section 3)."""
    for value in field_values(response.headers, "www-authenticate"):
        scheme, _, rest = value.partition(" ")
        said = {match[1].lower(): match[2] if match[2] is not None else match[3] for match in _QUOTED.finditer(rest)}
        text = said.get("error_description") or said.get("error") or f"{scheme} credentials are asked for"
        return Problem(form="www-authenticate", title=text[:300], code=said.get("error", "")[:100])
    return None


def _veiled(problem: Problem | None, veil: Veil) -> Problem | None:
    if problem is None:
        return None
    return Problem(
        form=problem.form,
        title=veil.text(problem.title),
        detail=veil.text(problem.detail),
        code=veil.text(problem.code),
        errors=[
            FieldError(veil.text(one.pointer), veil.text(one.code), veil.text(one.detail)) for one in problem.errors
        ],
    )


# -- the fields that it blames -----------------------------------------------------------------------------------------


def _blame(session: Session, detail: ExchangeDetail, error: FieldError, veil: Veil) -> tuple[Blamed, str]:
    """Return one field that is blamed, and what the search for its origin did not see."""
    pointer = veil.text(error.pointer)
    if detail.request is None:
        return Blamed(pointer=pointer, sent="(the request is lost)", seen_before=False), ""
    place, value = _sent(request_fields(detail.request).values, error.pointer)
    if place is None:
        return Blamed(pointer=pointer, sent="(absent)", seen_before=False), ""
    where = place_of("request", place)
    found = _lineage(session, value, veil)
    origin = found.origin if found is not None else None
    # An answer that came after it was sent cannot be where it is from.
    earlier = origin if origin is not None and origin.seq < detail.seq else None
    blamed = Blamed(
        pointer=pointer,
        where=where if where != f"request.body{error.pointer}" else "",
        sent=shown_value(place, value, veil),
        seen_before=earlier is not None,
        origin=f"{earlier.seq}:{earlier.where}" if earlier is not None else "",
        near=found.near if found is not None else [],
    )
    return blamed, found.missing if found is not None and earlier is None else ""


def _lineage(session: Session, value: Any, veil: Veil) -> Trace | None:
    if isinstance(value, (bool, bytes, dict, list)) or value is None:
        return None
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    try:
        return trace(session, veil=veil, value=text, direction="origin")
    except WiretapeError:
        return None  # too short to be followed


def _sent(values: dict[str, Any], pointer: str) -> tuple[str | None, Any]:
    """Return the place and the value of what a pointer means: in the body, the query, a header or a cookie."""
    wanted = pointer if pointer.startswith("/") else f"/{pointer}"
    if wanted in values:
        return wanted, values[wanted]
    last = wanted.rpartition("/")[2]
    for place in (f"query.{last}", f"header.{last}", f"cookie.{last}"):
        for name, value in values.items():
            if name.lower() == place.lower():
                return name, value
    ends = [name for name in values if name.startswith("/") and name.endswith(f"/{last}")]
    below = [name for name in values if name.startswith(f"{wanted}/")]
    if len(ends) == 1 and last and not last.isdigit():
        return ends[0], values[ends[0]]
    if below:
        return wanted, f"({len(below)} values below it)"
    return None, None


# -- the same operation, another outcome ------------------------------------------------------------------------------


class _OtherOutcomes:
    """Looks for exchanges of the same operation that ended otherwise, here and in other sessions."""

    def __init__(
        self,
        session: Session,
        detail: ExchangeDetail,
        veil: Veil,
        blamed: list[str],
        before: Callable[[Session], None] | None,
    ) -> None:
        self._session = session
        self._detail = detail
        self._veil = veil
        self._blamed = blamed
        self._before = before
        self._found: list[Outcome] = []
        self._operation: tuple[Any, ...] | None = session.index.one(
            "SELECT method, host, template FROM endpoint_of JOIN endpoints ON id = endpoint WHERE seq = ?",
            (detail.seq,),
        )
        here = session.index.one("SELECT outcome FROM problems WHERE seq = ?", (detail.seq,))
        status = detail.response.status_code or 0 if detail.response is not None else 0
        self._own: int = here[0] if here is not None else status

    def find(self, catalogue: Catalogue | None) -> tuple[list[Outcome], str]:
        """Return them, successes first; and what was not looked at."""
        if self._operation is None:
            return [], ""
        self._look_in(self._session)
        others = _others(catalogue, self._session.session_id) if catalogue is not None else []
        for session_id in others[:NEIGHBOURS]:
            if len(self._found) >= _OUTCOMES:
                break
            assert catalogue is not None
            with _opened(catalogue, session_id) as other:
                if other is not None:
                    self._look_in(other)
        found = sorted(self._found, key=lambda one: one.status >= 400)[:_OUTCOMES]
        left = len(others) - NEIGHBOURS
        unseen = (
            f"Other outcomes were looked for in this and the {NEIGHBOURS} newest other sessions, not in {left} more."
        )
        return _together(found), unseen if left > 0 and len(found) < _OUTCOMES else ""

    def _look_in(self, session: Session) -> None:
        assert self._operation is not None
        rows = session.index.rows(
            "SELECT outcome, min(first_seq) FROM endpoint_counts WHERE endpoint ="
            " (SELECT id FROM endpoints WHERE method = ? AND host = ? AND template = ?) AND outcome <> ?"
            " GROUP BY outcome",
            (*self._operation, self._own),
        )
        wanted = [(outcome, seq) for outcome, seq in rows if is_error(outcome) != is_error(self._own)][:_OUTCOMES]
        if wanted and self._before is not None and session is not self._session:
            self._before(session)
        self._found += [self._outcome(session, seq, status_of(outcome)) for outcome, seq in wanted]

    def _outcome(self, session: Session, seq: int, status: int) -> Outcome:
        other = session.exchange(seq, max_body=MAX_BODY)
        differences = request_differences(other, self._detail)
        came, near = [], []
        if not any(one.status == status for one in self._found):  # what holds for one holds for those like it
            for one in differences:
                if any(_means(one.place, pointer) for pointer in self._blamed):
                    origin, sums = _source(session, seq, one.a, self._veil)
                    came += origin
                    near += sums
        return Outcome(
            exchange=f"{called(session)}:{seq}",
            status=status,
            differs=[
                [self._veil.text(named(one)), *(shown_value(one.place, value, self._veil) for value in (one.a, one.b))]
                for one in differences[:_DIFFERS]
            ],
            from_=came,
            near=near,
        )


def _means(place: str, pointer: str) -> bool:
    """Return whether a place of a request may be the one that an error points to."""
    last = pointer.rpartition("/")[2].lower()
    return place == pointer or (bool(last) and place.lower().endswith((f"/{last}", f".{last}")))


def _source(session: Session, seq: int, value: Any, veil: Veil) -> tuple[list[str], list[str]]:
    """Return where a value that an exchange sent comes from, or sums that make it."""
    found = _lineage(session, value, veil)
    if found is None:
        return [], []
    origin = found.origin if found.origin is not None and found.origin.seq < seq else None
    return [f"{origin.seq}:{origin.where}"] if origin is not None else [], found.near


def _together(found: list[Outcome]) -> list[Outcome]:
    """Tell exchanges once that have the same status and differ in the same."""
    told: list[Outcome] = []
    for one in found:
        same = ((other.status, other.differs) == (one.status, one.differs) for other in told)
        like = next((number for number, is_same in enumerate(same) if is_same), None)
        if like is None or not one.differs:
            told.append(one)
        else:
            told[like] = msgspec.structs.replace(told[like], also=[*told[like].also, one.exchange])
    return told


def _others(catalogue: Catalogue, but: str) -> list[str]:
    """Return other sessions, the newest first; replays come last, they have nothing before them to learn from."""
    others = [(session_id, name or "") for session_id, name in catalogue.names().items() if session_id != but]
    others.sort(key=lambda one: _REPLAY.fullmatch(one[1]) is not None)
    return [session_id for session_id, _ in others]


@contextmanager
def _opened(catalogue: Catalogue, session_id: str) -> Iterator[Session | None]:
    """Open a session that has an index, or a small log: to index a large one would take longer than the answer may."""
    session = None
    try:
        session = catalogue.open(session_id)
        session.patience = 1.0
        if session.index.exists() or _log_bytes(session) <= SMALL:
            session.follow()
        else:
            session.close()
            session = None
    except (WiretapeError, OSError):
        session = None  # deleted meanwhile, or damaged beyond reading: it has no say here
    try:
        yield session
    finally:
        if session is not None:
            session.close()


def _log_bytes(session: Session) -> int:
    return sum(ref.path.stat().st_size for ref in list_segments(session.log_dir))
