"""The rules of a root: kept, checked whole, sent to all recorders at once, counted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from wiretape.daemon.proxy import Capture
from wiretape.daemon.sessions import Library
from wiretape.errors import NotFoundError, UsageError, WiretapeError
from wiretape.model import Filter
from wiretape.private_files import read_private, replace_file
from wiretape.rules.explain import Explained, explain, simulated
from wiretape.rules.ruleset import CompiledRule, checked, compiled
from wiretape.rules.values import MAX_RULES, MAX_SET_BYTES, Rule, rule_from, to_json, wrong
from wiretape.secrets.veil import Veil
from wiretape.session.answers.rule_preview import Preview, explained, preview
from wiretape.session.session import Session

log = logging.getLogger(__name__)

FILE: Final = "rules.json"
_ID: Final = re.compile(r"rule_([1-9][0-9]{0,8})").fullmatch
_OF_A_FILE: Final = "file_"
_CHANGEABLE: Final = frozenset({"description", "priority", "matcher", "handler", "times", "persist"})


class Rules:
    """The rules that a daemon follows. A change is checked, then told to the recorders, then kept: all or nothing.

    Attributes:
        file_note: why the rules of the file of ``serve --rules`` are not those that it has now, or None.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / FILE
        self._rules: dict[str, Rule] = {}
        self._hits: dict[str, int] = {}
        self._made = 0
        self._revision = 0
        self._capture: Capture | None = None
        self._lock = asyncio.Lock()
        self._unread = False
        self._unread_note: str | None = None
        self.file_note: str | None = None
        self._load()

    # -- looking -----------------------------------------------------------------------------------------------------

    async def listed(self) -> list[dict[str, Any]]:
        """Return the rules as JSON, in the order in which they are tried, each with its ``hitCount``."""
        await self._count()
        return [self._shown(rule) for rule in self.in_order()]

    def in_order(self) -> list[Rule]:
        """Return the rules in the order in which they are tried, also those that are not enabled."""
        return sorted(self._rules.values(), key=lambda rule: (rule.priority, rule.number))

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._rules)

    @property
    def note(self) -> str | None:
        """Why rules that are to be followed are not, in words, or None."""
        return "; ".join(note for note in (self._unread_note, self.file_note) if note is not None) or None

    def find(self, rule_id: str) -> Rule:
        """Return a rule.

        Raises:
            NotFoundError: there is none of this id.
        """
        rule = self._rules.get(rule_id)
        if rule is None:
            known = ", ".join(list(self._rules)[:8]) or "there are none"
            raise NotFoundError(f"there is no rule {rule_id[:80]!r}", hint=f"`wiretape rules list` lists them: {known}")
        return rule

    # -- changing ----------------------------------------------------------------------------------------------------

    async def add(self, fields: Mapping[str, Any], targets: Sequence[str] | None = None) -> dict[str, Any]:
        """Add a rule, and follow it from the next request on.

        Args:
            fields: its JSON.
            targets: hosts that it may send to, see ``Rule.targets``.

        Raises:
            UsageError: it means nothing, which is named; nothing was changed.
        """
        self._refuse_unknown(fields, {*_CHANGEABLE, "enabled"})
        made = rule_from(dict(fields))
        await asyncio.to_thread(compiled, made)
        async with self._lock:
            number = self._made + 1
            self._revision += 1
            rule = msgspec.structs.replace(
                made,
                id=f"rule_{number}",
                targets=None if targets is None else list(targets),
                number=number,
                revision=self._revision,
                created_at=time.time_ns() // 1_000_000,
            )
            await self._follow({**self._rules, rule.id: rule}, to_json(rule), "added")
            self._made = number
        return self._shown(rule)

    async def update(
        self, rule_id: str, fields: Mapping[str, Any], targets: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Replace parts of a rule whole: matcher and handler are not merged.

        Raises:
            NotFoundError: no such rule. UsageError: as ``add``; or nothing is to be changed.
        """
        if not fields:
            raise UsageError("nothing is to be changed", hint=f"give one of {', '.join(sorted(_CHANGEABLE))}")
        self._refuse_unknown(fields, _CHANGEABLE)
        async with self._lock:
            before = self._own(rule_id)
            self._revision += 1
            merged = {**to_json(before), **fields}
            rule = msgspec.structs.replace(
                rule_from(merged),
                targets=before.targets if targets is None else list(targets),
                number=before.number,
                revision=self._revision,
                created_at=before.created_at,
            )
            await self._follow({**self._rules, rule_id: rule}, to_json(rule), "updated")
        return self._shown(rule)

    async def remove(self, rule_id: str) -> None:
        """Remove a rule.

        Raises:
            NotFoundError: no such rule.
        """
        async with self._lock:
            rule = self._own(rule_id)
            rest = {other: one for other, one in self._rules.items() if other != rule_id}
            await self._follow(rest, to_json(rule), "removed")
            self._hits.pop(rule_id, None)

    async def enable(self, rule_id: str, enabled: bool) -> None:
        """Switch a rule on or off; one that is so already is no error.

        Raises:
            NotFoundError: no such rule.
        """
        async with self._lock:
            before = self.find(rule_id)
            if before.enabled == enabled:
                return
            self._revision += 1
            rule = msgspec.structs.replace(before, enabled=enabled, revision=self._revision)
            await self._follow({**self._rules, rule_id: rule}, to_json(rule), "enabled" if enabled else "disabled")

    async def follow_file(self, path: Path, made: Sequence[Mapping[str, Any]]) -> None:
        """Put the rules of a file in the place of those that it had before; at equal priority they are tried first.

        Raises:
            UsageError: one means nothing, which is named; nothing was changed.
        """
        async with self._lock:
            found = {name: rule for name, rule in self._rules.items() if not name.startswith(_OF_A_FILE)}
            for number, fields in enumerate(made, 1):
                rule = self._of_a_file(number, fields)
                found[rule.id] = rule
            await self._follow(found, {"file": str(path), "rules": len(made)}, "loaded")

    def _of_a_file(self, number: int, fields: Mapping[str, Any]) -> Rule:
        """Make a rule of a file; one that is as it was goes on counting."""
        name = f"{_OF_A_FILE}{number}"
        try:
            self._refuse_unknown(fields, {*_CHANGEABLE, "enabled"} - {"persist"})
            rule = msgspec.structs.replace(rule_from(dict(fields)), id=name, number=number - MAX_RULES)
        except UsageError as error:
            raise UsageError(f"rule {number}: {error.message}", hint=error.hint) from None
        before = self._rules.get(name)
        if before is not None and msgspec.structs.replace(before, revision=0, created_at=0) == rule:
            return before
        self._revision += 1
        return msgspec.structs.replace(rule, revision=self._revision, created_at=time.time_ns() // 1_000_000)

    def _own(self, rule_id: str) -> Rule:
        """Return a rule that is no file's.

        Raises:
            NotFoundError: there is none. UsageError: it is one of a file's.
        """
        rule = self.find(rule_id)
        if rule_id.startswith(_OF_A_FILE):
            raise UsageError(f"{rule_id} is a rule of the file that `serve --rules` named", hint="change it there")
        return rule

    async def _follow(self, rules: dict[str, Rule], rule: Mapping[str, Any], change: str) -> None:
        """Check a whole set, have the recorders follow it, and keep it; ``rule`` is what the log says of the change."""
        await asyncio.to_thread(checked, rules.values())
        await self._keep(rules)
        try:
            await self._tell(rules, rule, change)
        except WiretapeError:
            with contextlib.suppress(WiretapeError):
                await self._keep(self._rules)
            raise
        self._rules = rules

    async def _tell(self, rules: dict[str, Rule], rule: Mapping[str, Any], change: str) -> None:
        """Have the recorders follow a set that was checked."""
        if self._capture is not None:
            event = {"rule": rule, "change": change, "enabled": sum(one.enabled for one in rules.values())}
            await self._capture.follow_rules(_wire(rules), event)

    async def _keep(self, rules: dict[str, Rule]) -> None:
        """Write what is to be there after a restart, before it is followed: on a full disk nothing is changed."""
        before = [one for one in self._rules.values() if one.persist]
        after = [one for one in rules.values() if one.persist]
        if not before and not after:
            return
        try:
            await asyncio.to_thread(self._save, after)
        except WiretapeError:
            if before != after:
                raise  # else it is only about how many rules were made

    @staticmethod
    def _refuse_unknown(fields: Mapping[str, Any], known: frozenset[str] | set[str]) -> None:
        for name in fields:
            if name not in known:
                raise wrong(str(name)[:80], "a rule has no such field that can be given here", ", ".join(sorted(known)))

    # -- the recorders -----------------------------------------------------------------------------------------------

    def attach(self, capture: Capture) -> None:
        """Have a proxy that is about to start follow the rules, and every change of them."""
        self._capture = capture
        capture.rules = _wire(self._rules)

    async def detach(self) -> None:
        """Take the last counts of a proxy that is about to stop."""
        await self._count()
        self._capture = None

    async def _count(self) -> None:
        if self._capture is not None:
            for rule_id, count in (await self._capture.hits()).items():
                self._hits[rule_id] = self._hits.get(rule_id, 0) + count

    def _shown(self, rule: Rule) -> dict[str, Any]:
        return {**to_json(rule), "hitCount": self._hits.get(rule.id, 0), "createdAt": rule.created_at}

    # -- trying ------------------------------------------------------------------------------------------------------

    async def tested(self, request: Mapping[str, Any], *, include_disabled: bool, limit: int | None) -> Explained:
        """Return what the rules say of a made-up request.

        Raises:
            UsageError: it is no request.
        """
        seen = simulated(request)
        return explain(await self._compiled(), seen, include_disabled=include_disabled, limit=limit)

    async def tested_exchange(
        self, library: Library, session_id: str, seq: int, *, include_disabled: bool, limit: int | None, veil: Veil
    ) -> Explained:
        """Return what the rules say of a recorded exchange.

        Raises:
            NotFoundError: there is none.
        """
        rules = await self._compiled()

        def ask(session: Session) -> Explained:
            return explained(session, seq, rules, include_disabled=include_disabled, limit=limit, veil=veil)

        return await library.ask(session_id, ask)

    async def previewed(
        self,
        library: Library,
        session_id: str,
        wanted: Filter,
        *,
        rule_id: str | None,
        rule: Mapping[str, Any] | None,
        limit: int,
        veil: Veil,
    ) -> Preview:
        """Return what one rule, or all that are enabled, would have done to recorded exchanges.

        Raises:
            NotFoundError: no such rule. UsageError: ``rule`` means nothing, or both are given.
        """
        if rule is not None and rule_id is not None:
            raise UsageError("give rule_id or rule, not both", hint="rule is one that is not added yet")
        if rule is not None:
            made = rule_from(dict(rule))
            chosen = [msgspec.structs.replace(made, id=made.id or "the rule")]
        elif rule_id is not None:
            chosen = [self.find(rule_id)]
        else:
            chosen = [one for one in self.in_order() if one.enabled]
        rules = await asyncio.to_thread(checked, chosen)
        return await library.ask(session_id, lambda session: preview(session, rules, wanted, limit=limit, veil=veil))

    async def _compiled(self) -> list[CompiledRule]:
        return await asyncio.to_thread(checked, self.in_order())

    # -- the file ----------------------------------------------------------------------------------------------------

    def _save(self, rules: Sequence[Rule]) -> None:
        if self._unread:
            # Somebody may mend it by hand: it is not overwritten.
            with contextlib.suppress(OSError):
                os.replace(self._path, self._path.with_name(f"{FILE}.unread"))
            self._unread = False
        kept = [msgspec.to_builtins(rule) for rule in rules]
        made = max([self._made, *(rule.number for rule in rules)])
        replace_file(self._path, msgspec.json.encode({"made": made, "rules": kept}))

    def _load(self) -> None:
        """Read the rules that are to be there again; a file that cannot be read is left, and said."""
        try:
            data = read_private(self._path, 2 * MAX_SET_BYTES)
            if data is None:
                if os.path.lexists(self._path):
                    raise ValueError("it is not a file that can be read")
                return
            found = msgspec.json.decode(data)
            rules = [rule_from(one) for one in found["rules"]]
            checked(rules)
            numbers = [_number_of(rule) for rule in rules]
            if len(set(numbers)) < len(numbers):
                raise ValueError("two rules have the same id")
            self._made = max([int(found["made"]), *numbers, *(rule.number for rule in rules), 0])
            self._revision = max((rule.revision for rule in rules), default=0)
            self._rules = {rule.id: rule for rule in rules}
        except (
            WiretapeError,
            msgspec.MsgspecError,
            KeyError,
            TypeError,
            ValueError,
            ArithmeticError,
            RecursionError,
        ) as error:
            self._unread = True
            self._unread_note = f"the rules in {self._path} cannot be read, and none of them is followed: {error}"
            log.warning("%s", self._unread_note)


def _number_of(rule: Rule) -> int:
    """Return the number in the id of a rule that was kept."""
    match = _ID(rule.id)
    if match is None:
        raise ValueError(f"{rule.id[:80]!r} is not the id of a rule, such as rule_1")
    return int(match[1])


def _wire(rules: Mapping[str, Rule]) -> list[dict[str, Any]]:
    """Return the rules as recorders take them; those that are not enabled do not concern them."""
    return [msgspec.to_builtins(rule) for rule in rules.values() if rule.enabled]
