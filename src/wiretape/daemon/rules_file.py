"""A file of rules in TOML (``serve --rules``), followed while it is edited."""

from __future__ import annotations

import asyncio
import logging
import tomllib
from pathlib import Path
from typing import Any, Final

from wiretape.daemon.rules import Rules
from wiretape.errors import UsageError, WiretapeError
from wiretape.rules.values import MAX_SET_BYTES

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.5
"""Seconds between two looks at the file."""


class RulesFile:
    """Has the rules of a file followed, and those of its next version once it is saved."""

    def __init__(self, path: Path, rules: Rules) -> None:
        self._path = path
        self._rules = rules
        self._seen: tuple[int, ...] | None = None

    async def load(self) -> None:
        """Follow the rules that the file has now.

        Raises:
            UsageError: it cannot be read, or a rule means nothing; the message names file and field.
        """
        self._seen = self._stamp()
        try:
            made = await asyncio.to_thread(self._read)
            await self._rules.follow_file(self._path, made)
        except WiretapeError as error:
            raise UsageError(f"{self._path}: {error.message}", hint=error.hint) from error

    async def watch(self) -> None:
        """Load the file whenever it was saved; one that means nothing changes nothing, and the status says so."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if self._stamp() == self._seen:
                continue
            try:
                await self.load()
                log.info("the rules in %s are followed", self._path)
                self._rules.file_note = None
            except UsageError as error:
                self._rules.file_note = f"the rules before are still followed: {error.message}"
                log.warning("%s", self._rules.file_note)

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> list[dict[str, Any]]:
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_SET_BYTES + 1)
            if len(data) > MAX_SET_BYTES:
                raise UsageError(
                    f"it is longer than {MAX_SET_BYTES:,} bytes", hint="one filter can stand for many rules"
                )
            found = tomllib.loads(data.decode())
        except OSError as error:
            raise UsageError(f"it cannot be read: {error.strerror}", hint="give another --rules FILE") from error
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"it is not TOML: {error}", hint="each rule is a table [[rule]]; see docs/rules.md"
            ) from error
        rules = found.pop("rule", [])
        if found or not isinstance(rules, list) or not all(isinstance(one, dict) for one in rules):
            other = ", ".join(list(found)[:5]) or "rule"
            raise UsageError(f"{other} is not a table [[rule]]", hint="the file has tables [[rule]] and nothing else")
        return rules
