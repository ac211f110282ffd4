"""docs/json.md: every key of every document that leaves the program, written from the values' classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, get_type_hints

import msgspec

from tests.docs import documents
from tests.docs.reference_pages import MADE, every_command
from tests.docs.values import Key, below, keys, prose, structs_in, unknown_keys, written
from tests.docs.words import WORDS
from wiretape.daemon.values import DaemonStatus
from wiretape.mcpserver.tools import TOOLSETS
from wiretape.mcpserver.tools.rules import OneRule, RuleList
from wiretape.model import (
    ExchangeDetail,
    ExchangeSummary,
    Groups,
    MarkSet,
    QueryPage,
    RecoverReport,
    VerifyReport,
)
from wiretape.rules.explain import Explained
from wiretape.session.answers.compare import Comparison
from wiretape.session.answers.endpoints import Drift, Endpoints
from wiretape.session.answers.explain import Explanation
from wiretape.session.answers.export import Exported
from wiretape.session.answers.handshakes import Handshakes
from wiretape.session.answers.llm import LlmCall, LlmCalls
from wiretape.session.answers.messages import Messages
from wiretape.session.answers.overview import Overview
from wiretape.session.answers.read_body import BodyPart
from wiretape.session.answers.resend import Planned
from wiretape.session.answers.rule_preview import Preview
from wiretape.session.answers.search import SearchPage
from wiretape.session.answers.secrets import SecretsFound
from wiretape.session.answers.sql import SqlAnswer
from wiretape.session.answers.trace import Trace
from wiretape.session.importing.importer import ImportReport
from wiretape.session.prune import PruneReport
from wiretape.session.recovery.heal import ParityReport

Struct = type[msgspec.Struct]

PRINTED: Final[dict[str, tuple[tuple[Struct, str], ...]]] = {
    "serve": ((documents.Ready, "one line, once it serves"),),
    "run": ((documents.RunEnded, ""),),
    "status": ((DaemonStatus, "with `status: running`"), (documents.NotRunning, "where no daemon runs")),
    "stop": ((documents.Stopped, ""),),
    "sessions": ((documents.SessionPage, ""),),
    "show": ((Overview, ""),),
    "query": (
        (QueryPage, ""),
        (Groups, "with `--group-by`"),
        (ExchangeSummary, "a line each with `--follow`"),
    ),
    "grep": ((SearchPage, ""),),
    "sql": ((SqlAnswer, ""),),
    "rules list": ((RuleList, ""),),
    "rules add": ((OneRule, ""),),
    "rules test": ((Explained, ""),),
    "rules preview": ((Preview, ""),),
    "rules enable": ((documents.RuleSwitched, ""),),
    "rules disable": ((documents.RuleSwitched, ""),),
    "rules remove": ((documents.RuleSwitched, ""),),
    "mark": ((MarkSet, ""),),
    "exchange": ((ExchangeDetail, ""),),
    "diff": ((Comparison, ""),),
    "explain": ((Explanation, ""),),
    "endpoints": ((Endpoints, ""), (Drift, "of two sessions")),
    "trace": ((Trace, ""),),
    "body": ((BodyPart, ""),),
    "messages": ((Messages, ""),),
    "llm": ((LlmCalls, ""), (LlmCall, "of one exchange")),
    "cat": ((ExchangeDetail, "a line each"),),
    "secrets": ((SecretsFound, ""),),
    "handshakes": ((Handshakes, ""),),
    "export": ((Exported, ""),),
    "send": ((Planned, ""),),
    "import": ((ImportReport, "with `status`; of several recordings a list, `sessions`"),),
    "verify": ((VerifyReport, ""),),
    "recover": ((RecoverReport, ""),),
    "parity": ((ParityReport, "a list, `sessions`, with `status`"),),
    "delete": ((documents.SessionDeleted, ""),),
    "prune": ((PruneReport, "with `status`"),),
    "pin": ((documents.Pinned, ""),),
    "ca": ((documents.CaCertificate, ""),),
    "guide": ((documents.Guide, ""),),
    "completion": ((documents.Completion, ""),),
    "doctor": ((documents.Checked, ""),),
    "demo": ((documents.Account, ""),),
}
"""What each command prints with ``--json``, and when it prints that."""
HEAD: Final = f"""# JSON

Every key of every document. {MADE}
`--json` prints one document on one line of stdout (`cat` and `query --follow`: one a line) and nothing else there.
Keys are camelCase, times are milliseconds since the epoch unless the key says otherwise, sizes are bytes. A key marked
*where there is one* is absent where it would say nothing: null, empty or false; a number that counts is told also when
it is 0. More keys may come; none changes its meaning. A command that fails prints a [Failure](#failure).

Tools of MCP answer with the same values, `status` first, and leave out there what is null, empty or false.
"""


def json_page() -> str:
    """Return the page."""
    parts = [HEAD, "## Commands\n\n| command | prints |\n|---|---|"]
    parts += [f"| `{name}` | {_printed(name)} |" for name, _ in every_command() if name in PRINTED]
    parts.append("\n## Tools\n\n| tool | answers with |\n|---|---|")
    by_tool: dict[str, list[Struct]] = {}
    for name, struct in answered():
        by_tool.setdefault(name, []).append(struct)
    parts += [f"| `{name}` | {', or '.join(map(written, kinds))} |" for name, kinds in by_tool.items()]
    parts.append("\n## Values\n")
    return "\n".join([*parts, *(line for struct in every_struct() for line in _described(struct))])


def every_struct() -> list[Struct]:
    """Return the values that are on the page, in their order."""
    roots = [struct for printed in PRINTED.values() for struct, _ in printed]
    roots += [struct for _, struct in answered()]
    return below([documents.Failure, *dict.fromkeys(roots)])


def answered() -> Iterator[tuple[str, Struct]]:
    """Yield each tool with each value that it may answer with."""
    for specs in TOOLSETS.values():
        for spec in specs:
            for struct in structs_in(get_type_hints(spec.function)["return"]):
                yield spec.name, struct


def _printed(name: str) -> str:
    return "; ".join(written(struct) + (f", {when}" if when else "") for struct, when in PRINTED[name])


def _described(struct: Struct) -> Iterator[str]:
    yield f"### {struct.__name__}\n\n{prose(struct)}\n"
    yield "| key | value | told | |\n|---|---|---|---|"
    for key in keys(struct):
        yield f"| `{key.name}` | {written(key.kind)} | {key.when} | {explanation(struct, key)} |"
    yield ""


def explanation(struct: Struct, key: Key) -> str:
    """Return what is said of a key beside it; the rest is in the value's own sentences."""
    if key.text:
        return key.text.replace("|", "\\|")
    return WORDS.get(_word(struct, key), "")


def _word(struct: Struct, key: Key) -> str:
    """Return which of WORDS says what a key is, where its class says nothing beside it; none where its prose does."""
    own = f"{struct.__name__}.{key.name}"
    return own if own in WORDS else "" if f"`{key.name}`" in prose(struct) else key.name


def unexplained() -> list[str]:
    """Return the keys of which nobody says what they are: not their class, and no word of WORDS."""
    return [
        f"{struct.__name__}.{key.name}"
        for struct in every_struct()
        for key in keys(struct)
        if not explanation(struct, key) and f"`{key.name}`" not in prose(struct)
    ]


def unused() -> list[str]:
    """Return the words of WORDS that say nothing of any key."""
    return sorted(
        WORDS.keys() - {_word(struct, key) for struct in every_struct() for key in keys(struct) if not key.text}
    )


def check(command: str, document: Any) -> None:
    """Hold a document that a command printed to the page.

    Raises:
        AssertionError: it has a key that the page does not have, or lacks one that is always there.
    """

    faults = [
        [fault for one in _values(document, when) for fault in unknown_keys(one, struct)]
        for struct, when in PRINTED[command]
    ]
    assert [] in faults, f"{command}: {min(faults, key=len)}"


def _values(document: Any, when: str) -> list[Any]:
    """Return the values in a document that is more than one of them."""
    if "`status" in when:
        document = {name: value for name, value in document.items() if name != "status"}
    return list(document["sessions"]) if "`sessions`" in when and "sessions" in document else [document]
