"""What differs between two runs, without what is different every time."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from harness.logs import Recording, new_session
from wiretape.errors import NotFoundError, UsageError
from wiretape.log.format import FrameType, Marked
from wiretape.model import Message, to_json
from wiretape.secrets.veil import UNVEILED
from wiretape.session.answers.compare import compare
from wiretape.session.answers.fields import both_fields
from wiretape.session.answers.noise import ABSENT, Difference, Renames, kind_of
from wiretape.session.answers.parts import Item, aligned, part_of
from wiretape.session.catalogue import Catalogue
from wiretape.session.session import Session

JSON = "Content-Type: application/json\r\n"
HOST = "https://shop.example"


def run_of(root: Path, name: str, number: int, *, bug: bool = False, extra: str = "") -> None:
    """A purchase: ids, tokens and times are new in each run; with the bug the amount is wrong."""
    recording = Recording(new_session(root, name))
    cart, token = f"c_{0xA3F1E0 + number * 7919:08x}", f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1{number}In0.sig{number}nature"
    headers = f"Authorization: Bearer {token}\r\nCookie: sid=s{number}; theme=dark\r\n"

    def ask(method: str, path: str, sent: Any, status: int, answer: Any, more: str = "") -> None:
        body = b"" if sent is None else json.dumps(sent).encode()
        seq = recording.open(HOST + path, method=method, headers=headers + JSON + more, body=body)
        date = f"Date: Fri, 27 Nov 2026 10:00:{number:02} GMT\r\nX-Request-Id: {uuid.UUID(int=number)}\r\n"
        recording.done(seq, json.dumps(answer).encode(), status=status, headers=JSON + date, request=body)

    ask("POST", "/cart", {}, 201, {"id": cart, "at": 1_795_776_381 + number})
    ask("GET", f"/cart/{cart}", None, 200, {"id": cart, "stock": number, "orderId": 1000 + number})
    ask("GET", f"/orders/{1000 + number}", None, 200, {"lines": [{"orderId": 1000 + number, "n": 1}]})
    amount = 29_314 if bug else 34_790
    problem = {"title": "Invalid", "errors": [{"pointer": "/payment/amount", "code": "mismatch", "detail": "wrong"}]}
    sent = {"cart": cart, "payment": {"amount": amount}, "ref": str(uuid.UUID(int=number + 77))}
    ask("POST", "/checkout", sent, 422 if bug else 201, problem if bug else {"state": "confirmed", "total": amount})
    if not bug:
        ask("GET", "/receipt", None, 200, {"ok": True})
    ask("POST", "/telemetry", {"event": "failed" if bug else "done"}, 204, None, extra)
    recording.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    run_of(root, "good", 1)
    run_of(root, "good-run", 2)
    run_of(root, "bad", 3, bug=True)
    run_of(root, "build", 4, extra="X-Build: 7\r\n")
    return root


@pytest.fixture
def opened(runs: Path) -> Iterator[Any]:
    with ExitStack() as stack:

        def open_(name: str) -> Session:
            return stack.enter_context(Catalogue(runs).open(name))

        yield open_


def compared(opened: Any, a: str, b: str, noise: tuple[str, ...] = (), **wishes: Any) -> dict[str, Any]:
    others = [part_of(opened, name) for name in noise]
    found: dict[str, Any] = to_json(
        compare(part_of(opened, a), part_of(opened, b), veil=UNVEILED, noise_from=others, **wishes)
    )
    return found


def test_a_bug_is_named_and_nothing_else(opened: Any) -> None:
    found = compared(opened, "good", "bad", ("good-run",))
    assert found["verdict"] == "differs"
    assert found["first"] == {
        "a": 4,
        "b": 4,
        "op": "POST /checkout",
        "status": [201, 422],
        "request": [["/payment/amount", 34_790, 29_314]],
        "response": {"errors": ["/payment/amount mismatch: wrong"]},
    }
    assert found["then"] == [
        {"onlyA": 5, "op": "GET /receipt"},
        {"a": 6, "b": 5, "op": "POST /telemetry", "request": [["/event", "done", "failed"]]},
    ]
    assert (found["same"], found["complete"]) == (3, True)
    assert found["ignored"]["learnedFrom"] == ["good-run"]
    assert found["ignored"]["rules"] > 5
    assert len(json.dumps(found)) < 1000


def test_without_another_run_only_true_values_of_no_kind_are_left(opened: Any) -> None:
    found = compared(opened, "good", "good-run")
    assert found["verdict"] == "differs"
    assert found["first"] == {"a": 2, "b": 2, "op": "GET /cart/{id}", "response": [["/stock", 1, 2]]}
    assert "then" not in found, "order numbers are renamed everywhere alike"
    assert found["ignored"]["kinds"].keys() >= {"jwt", "cookie", "header", "uuid", "time", "renamed"}
    assert compared(opened, "good", "good-run", ignore=["/stock"])["verdict"] == "same"
    assert compared(opened, "good", "good-run", ignore=["response.body/stock"])["verdict"] == "same"


def test_what_was_ignored_can_be_read(opened: Any) -> None:
    found = compared(opened, "good", "good-run", detail="noise")
    rows = found["ignored"]["listed"]
    assert len(rows) == found["ignored"]["values"] == sum(found["ignored"]["kinds"].values())
    assert ["renamed", 3, "response.body/lines/0/orderId", 1001, 1002] in rows
    assert found["ignored"]["renamed"]["1001"] == "1002"


def test_a_header_that_only_one_has_is_a_difference(opened: Any) -> None:
    found = compared(opened, "good", "build", ("good-run",))
    assert found["first"]["request"] == [["header.X-Build", "(absent)", "7"]]


def test_two_exchanges_are_compared_whatever_they_asked_for(opened: Any) -> None:
    assert compared(opened, "good:4", "bad:4")["first"]["request"] == [["/payment/amount", 34_790, 29_314]]
    assert compared(opened, "good:1", "bad:4")["first"]["op"] == "POST /cart"
    assert compared(opened, "good:4", "good:4") == {
        "a": "good:4",
        "b": "good:4",
        "verdict": "same",
        "same": 1,
        "complete": True,
    }
    with pytest.raises(NotFoundError, match="does not exist"):
        compared(opened, "good:99", "bad:4")


def test_requests_of_another_order_find_their_partners(root: Path) -> None:
    for name, paths in (("one", "abcd"), ("two", "acbd")):
        recording = Recording(new_session(root, name))
        for path in paths:
            recording.exchange(f"http://a.example/{path}", path.encode())
        recording.close()
    with Catalogue(root).open("one") as one, Catalogue(root).open("two") as two:
        sessions = {"one": one, "two": two}
        found = compare(part_of(sessions.__getitem__, "one"), part_of(sessions.__getitem__, "two"), veil=UNVEILED)
    assert (found.verdict, found.same) == ("same", 4)


@pytest.mark.parametrize(
    ("place", "a", "b", "kind"),
    [
        ("header.Date", "x", "y", "header"),
        ("header.content-length", "1", "2", "header"),
        ("cookie.sid", "abc", "def", "cookie"),
        ("/id", str(uuid.UUID(int=5)), str(uuid.UUID(int=6)), "uuid"),
        ("/at", "2026-11-27T10:00:00Z", "2026-11-27T11:00:00.5Z", "time"),
        ("/at", 1_795_776_381.5, 1_795_776_399, "time"),
        ("/at", "1795776381000", "1795776399000", "time"),
        ("/cart", "c_3dbc3ba302", "c_feface39e5", "id"),
        ("header.Location", "/orders/ORD-256EE152", "/orders/ORD-6CFACA8E", "id"),
        ("/trace", "551fd7c76fc167e7", "6b989e8887d841fe", "hex"),
        ("/refresh", "rt_Gn3ovf6_2lAw4K26idMPnQiUQvuRpl4s", "rt_NjSf5R77g1BTAUvr7gyciai8i9Z7KyGz", "token"),
        ("header.Content-Type", "multipart/form-data; boundary=aa", "multipart/form-data; boundary=bb", "boundary"),
        ("body", b"\x01res_a0aa7132\x10", b"\x01res_9737c0d0\x10", "id"),
        ("/amount", 34_790, 29_314, ""),
        ("/product", "p_0151", "p_0152", ""),
        ("/name", "Ada", "Bob", ""),
        ("/state", "confirmed", "checkout_failed", ""),
        ("/ok", True, False, ""),
        ("/at", "2026-11-27T10:00:00Z", "never", ""),
        ("/id", str(uuid.UUID(int=5)), ABSENT, ""),
        ("/v", "1.2.3", "1.2.4", ""),
    ],
)
def test_kinds_of_noise(place: str, a: Any, b: Any, kind: str) -> None:
    assert kind_of(place, a, b) == kind


def test_ids_are_renamed_only_where_they_are_so_everywhere() -> None:
    def at(place: str, a: Any, b: Any) -> Difference:
        return Difference("response", place, a, b)

    renames = Renames([at("/userId", 7, 9), at("/lines/0/userId", 7, 9), at("/orderId", 1, 2), at("/orderId", 1, 3)])
    assert renames.pairs == {"7": "9"}
    assert renames.explain(7, 9)
    assert not renames.explain(1, 2)
    words = Renames([at("/id", "alpha", "beta"), at("/items/0/id", "alpha", "beta")])
    assert words.explain("/x/alpha/y", "/x/beta/y")
    assert not words.explain("/x/alpha/y", "/x/beta/z")


def test_hostile_bodies_are_compared_in_bounded_time(root: Path) -> None:
    bodies = [b"[" * 100_000, b'{"a":' * 1000 + b"1" + b"}" * 1000, b"\xff" * 5000, b'{"x":NaN}', b"a" * 2_000_000]
    for name in ("one", "two"):
        recording = Recording(new_session(root, name))
        for at, body in enumerate(bodies):
            recording.done(recording.open(f"http://a.example/{at}"), body[:1_500_000] + name.encode(), headers=JSON)
        recording.close()
    with Catalogue(root).open("one") as one, Catalogue(root).open("two") as two:
        sessions = {"one": one, "two": two}
        found = compare(part_of(sessions.__getitem__, "one"), part_of(sessions.__getitem__, "two"), veil=UNVEILED)
    assert found.verdict == "differs"
    assert (found.complete, "one:5" in found.missing) == (False, True)


def test_what_follows_a_mark_is_compared_alone(root: Path) -> None:
    for name, before, after in (("one", 1, 7), ("two", 2, 8)):
        recording = Recording(new_session(root, name))
        recording.done(recording.open("http://a.example/before"), b'{"n":%d}' % before, headers=JSON)
        recording.writer.append(FrameType.MARKED, 1, Marked(1, "click"))
        recording.done(recording.open("http://a.example/after"), b'{"n":%d}' % after, headers=JSON)
        recording.close()
    with Catalogue(root).open("one") as one, Catalogue(root).open("two") as two:
        sessions = {"one": one, "two": two}.__getitem__
        found = compare(part_of(sessions, "one@click"), part_of(sessions, "two@click"), veil=UNVEILED)
        with pytest.raises(UsageError, match="nowhere"):
            compare(part_of(sessions, "one@nowhere"), part_of(sessions, "two"), veil=UNVEILED)
    assert (found.a, found.same, found.then) == ("one@click", 0, [])
    assert found.first is not None
    assert found.first.response == [["/n", 7, 8]]


@pytest.mark.parametrize(
    ("a", "b", "differs"),
    [
        ('{"a":1,"b":[1,2]}', '{"b":[1,2],"a":1}', {}),
        ('{"ok":1}', '{"ok":true}', {"/ok": (1, True)}),
        ('{"n":1}', '{"n":1.0}', {"/n": (1, 1.0)}),
        ('{"l":[{"x":1},{"x":2}]}', '{"l":[{"x":1},{"x":3},{}]}', {"/l/1/x": (2, 3), "/l/2": (ABSENT, {})}),
        ('{"o":{}}', '{"o":{"x":null}}', {"/o": ({}, ABSENT), "/o/x": (ABSENT, None)}),
        ("[1]", "{}", {"/0": (1, ABSENT), "body": (ABSENT, {})}),
        ('"a"', '"b"', {"body": ("a", "b")}),
        ('{"deep":' * 600 + "1" + "}" * 600, '{"deep":' * 600 + "2" + "}" * 600, None),
    ],
)
def test_json_bodies_are_compared_leaf_by_leaf(a: str, b: str, differs: dict[str, Any] | None) -> None:
    def message(body: str) -> Message:
        return Message(
            http_version="HTTP/1.1",
            headers=[("Content-Type", "application/json")],
            body_size=len(body),
            body_recorded=len(body),
            body=body,
        )

    left, right = both_fields(message(a), message(b))
    if differs is None:
        assert left.cut, "nesting is bounded, and that is told"
        return
    found = {
        place: (left.values.get(place, ABSENT), right.values.get(place, ABSENT))
        for place in {**left.values, **right.values}
        if place.startswith("/") or place == "body"
    }
    assert found == differs
    assert all(
        type(one) is type(other) for place in found for one, other in [*zip(found[place], differs[place], strict=True)]
    )


def test_thousands_of_exchanges_are_aligned_in_no_time() -> None:
    def items(ops: str) -> list[Item]:
        return [Item(at, f"GET /{op}", "a.example", "", 200, "complete", 1.0) for at, op in enumerate(ops, 1)]

    began = time.process_time()
    pairs = aligned(items("ab" * 2_500), items("ba" * 2_400 + "c"))
    assert time.process_time() - began < 3, "of CPU; comparing each with each takes minutes"
    both = [(one.op, other.op) for one, other in pairs if one is not None and other is not None]
    assert len(both) == 4_800
    assert all(one == other for one, other in both)
    assert sum(one is None for one, _ in pairs) == 1
