"""What commands print with ``--json`` where they build it of single values: each document as a class, for the page."""

from __future__ import annotations

from typing import Literal

import msgspec

from wiretape.model import Lean, SessionSummary, Table, Value


class Failure(Value, frozen=True, kw_only=True):
    """What any command prints when it fails; the sentence and the hint are on stderr too."""

    status: Literal["error"] = "error"
    code: str
    """What kind of error it is, in a word that does not change."""
    message: str
    """A sentence that names the thing and where it is."""
    hint: str
    """What to do next; empty where there is nothing to say."""


class Ready(Value, frozen=True, kw_only=True):
    """The one line of ``serve``, printed once it accepts connections."""

    proxy: str | None
    """The URL of the recording proxy, null where there is none."""
    mcp: str | None
    """The address of MCP over HTTP; it wants the token in the file ``token`` of the root."""
    ui: str | None
    """The address for a browser, the token in it."""
    ca_cert: str
    """The file of the CA that clients must trust."""
    root: str
    session_id: str | None
    pid: int
    """Of the daemon."""
    recorder_pids: list[int]


class SessionPage(Lean, frozen=True, kw_only=True):
    """The sessions, newest first."""

    sessions: list[SessionSummary]
    next_cursor: str | None = None


class RunEnded(Lean, frozen=True, kw_only=True):
    """A command that has ended, and what it caused. The counts are missing where what was recorded cannot be read."""

    session_id: str
    exit_status: int
    """The command's."""
    exchanges: int | None = None
    failed: int | None = None
    """Exchanges that the server or the network failed, or whose client left."""
    errors: Table | None = None
    """A row for each kind: seq of the first, op, status, message."""
    warnings: list[str] = msgspec.field(default_factory=list)


class CaCertificate(Value, frozen=True, kw_only=True):
    """The CA of a root."""

    path: str
    certificate: str
    """PEM."""
    cert_fingerprint: str
    """SHA-256, in hex with colons."""


class Stopped(Value, frozen=True, kw_only=True):
    """What became of the daemon."""

    status: Literal["success"] = "success"
    stopped: bool
    """False where none ran."""


class NotRunning(Value, frozen=True, kw_only=True):
    """The status where no daemon runs."""

    status: Literal["stopped"] = "stopped"
    root: str


class SessionDeleted(Value, frozen=True, kw_only=True):
    """A session that is gone for ever."""

    status: Literal["success"] = "success"
    deleted: str
    """The session's id."""


class Pinned(Value, frozen=True, kw_only=True):
    """A session that is kept, or no longer."""

    status: Literal["success"] = "success"
    session_id: str
    pinned: bool
    changed: bool
    """Whether it was otherwise before."""


class Check(Value, frozen=True, kw_only=True):
    """One of the things that ``doctor`` looks at."""

    check: str
    result: Literal["ok", "warn", "fail"]
    detail: str
    """What was found."""
    hint: str
    """What to do about it."""


class RuleSwitched(Value, frozen=True, kw_only=True):
    """What ``rules enable``, ``disable`` and ``remove`` did."""

    rule_id: str
    now: Literal["enabled", "disabled", "removed"]
    """How the rule is now."""


class Checked(Value, frozen=True, kw_only=True):
    """What ``doctor`` found; ``failed`` where any check failed."""

    status: Literal["success", "failed"]
    checks: list[Check]


class Completion(Value, frozen=True, kw_only=True):
    """A completion script."""

    shell: str
    """bash, zsh or fish."""
    script: str
    """The script."""


class Guide(Value, frozen=True, kw_only=True):
    """The cookbook or one of its recipes, in Markdown."""

    topics: list[str]
    text: str


class Faults(Value, frozen=True, kw_only=True):
    """Up to twenty examples of each kind of fault of a demonstration: paths and seqs."""

    lost: dict[str, str]
    """Answered, and not recorded as it was: why, by path."""
    unseen: list[str]
    """Had reached the servers, and are not recorded."""
    twice: list[str]
    wrong: list[str]
    """Came to the client with other bytes."""


class Account(Value, frozen=True, kw_only=True):
    """What ``demo`` found: what client and servers saw, and what of it was recorded."""

    holds: bool
    """Whether nothing is lost, unseen, twice or wrong, and everybody counts the same."""
    sent: int
    answered: int
    reached_server: int
    refused: int
    """Requests that were refused while no recorder was there."""
    wrong: int
    recorded: int
    complete: int
    aborted: int
    failed: int
    interrupted: int
    in_flight: int
    lost: int
    unseen: int
    twice: int
    faults: Faults
    disagreements: list[str]
    """Where recover, verify and cat do not count the same."""
