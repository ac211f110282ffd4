"""The account: what the client and the servers saw, held against what the recovered session says."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wiretape.cli.demo.plan import parse_path


@dataclass(frozen=True, slots=True)
class Witness:
    """What was seen outside of wiretape, by path; every path was used once.

    Attributes:
        sent: requests that the client began to send.
        answered: those whose response the client received whole and right.
        refused: those that the proxy itself answered.
        wrong: those whose response was not what the server had sent.
        reached: requests whose head the server received.
    """

    sent: frozenset[str]
    answered: frozenset[str]
    refused: frozenset[str]
    wrong: frozenset[str]
    reached: frozenset[str]


@dataclass(slots=True)
class Account:
    """The result, complete when every line of the session was given to ``take``.

    Attributes:
        recorded: exchanges in the session, ``states`` how they ended.
        lost: answered, but not in the session as complete with the same bytes: each with what is wrong.
        unseen: reached the server and are not in the session.
        twice: paths or seq numbers that are in the session more than once.
        lines: exchanges that the session lists, whosever they are, ``interrupted`` those of them in that state.
    """

    witness: Witness
    recorded: int = 0
    states: Counter[str] = field(default_factory=Counter)
    lost: dict[str, str] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    lines: int = 0
    interrupted: int = 0
    _seqs: set[int] = field(default_factory=set)
    _paths: set[str] = field(default_factory=set)

    def take(self, exchange: dict[str, Any]) -> None:
        """Count one exchange of the session, as ``wiretape cat`` prints it."""
        self.lines += 1
        self.interrupted += exchange["state"] == "interrupted"
        if exchange["seq"] in self._seqs:
            self.twice.append(f"seq {exchange['seq']}")
        self._seqs.add(exchange["seq"])
        request = exchange["request"]
        path = "/" + request["url"].split("/", 3)[3] if request and "/" in request["url"] else ""
        if path not in self.witness.sent:
            return
        if path in self._paths:
            self.twice.append(path)
        self._paths.add(path)
        self.recorded += 1
        self.states[exchange["state"]] += 1
        if path in self.witness.answered and (fault := _fault(exchange, path)):
            self.lost[path] = fault

    def close(self) -> None:
        """Find what is missing, once every exchange was taken."""
        for path in self.witness.answered - self._paths:
            self.lost[path] = "not in the session"
        self.unseen = sorted(self.witness.reached - self._paths)

    @property
    def holds(self) -> bool:
        """Whether every promise was kept: nothing lost, nothing unseen, nothing twice, no wrong byte."""
        return not (self.lost or self.unseen or self.twice or self.witness.wrong)

    def to_json(self) -> dict[str, Any]:
        """Return the figures, and up to twenty examples of each fault."""
        return {
            "sent": len(self.witness.sent),
            "answered": len(self.witness.answered),
            "reachedServer": len(self.witness.reached),
            "refused": len(self.witness.refused),
            "wrong": len(self.witness.wrong),
            "recorded": self.recorded,
            **{state: self.states[state] for state in ("complete", "aborted", "failed", "interrupted", "inFlight")},
            "lost": len(self.lost),
            "unseen": len(self.unseen),
            "twice": len(self.twice),
            "faults": {
                "lost": dict(list(self.lost.items())[:20]),
                "unseen": self.unseen[:20],
                "twice": self.twice[:20],
                "wrong": sorted(self.witness.wrong)[:20],
            },
        }


def read_witness(client_log: Path, origin_log: Path, *, start: int = 0) -> Witness:
    """Read what the client and the servers wrote down.

    Args:
        client_log: lines ``outcome path``.
        origin_log: lines ``path``.
        start: where in ``origin_log`` to begin, in bytes.
    """
    by_outcome: dict[str, set[str]] = {}
    for line in client_log.read_text().splitlines():
        outcome, _, path = line.partition(" ")
        by_outcome.setdefault(outcome, set()).add(path)
    with origin_log.open("rb") as file:
        file.seek(start)
        reached = file.read().decode().splitlines()
    return Witness(
        sent=frozenset(by_outcome.get("sent", ())),
        answered=frozenset(by_outcome.get("answered", ())),
        refused=frozenset(by_outcome.get("refused", ())),
        wrong=frozenset(by_outcome.get("wrong", ())),
        reached=frozenset(reached),
    )


def make_account(witness: Witness, lines: Iterable[bytes]) -> Account:
    """Hold the lines of ``wiretape cat`` against the witness."""
    account = Account(witness)
    for line in lines:
        account.take(json.loads(line))
    account.close()
    return account


def _fault(exchange: dict[str, Any], path: str) -> str:
    plan = parse_path(path)
    response = exchange["response"]
    if exchange["state"] != "complete":
        return f"state {exchange['state']}"
    if response is None or response["statusCode"] != 200:
        return "no response" if response is None else f"status {response['statusCode']}"
    if _body(exchange["request"]) != plan.request_body:
        return "other bytes in the request's body"
    if _body(response) != plan.response_body:
        return "other bytes in the response's body"
    return ""


def _body(message: dict[str, Any]) -> bytes:
    if (text := message.get("body")) is not None:
        return str(text).encode()
    return base64.b64decode(message.get("bodyBase64") or "")
