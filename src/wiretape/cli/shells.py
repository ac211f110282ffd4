"""Completion as bash takes it: values with blanks are quoted, and addresses are put together again.

bash puts an offered value into the line as it is; zsh and fish quote it themselves. It also takes a colon for the end
of a word, so of ``bad:3`` the program is asked about three words, and only what follows the colon is replaced.
"""

from __future__ import annotations

import os
import shlex

from click.shell_completion import BashComplete, CompletionItem, add_completion_class


class Bash(BashComplete):
    """bash, with the line that the user sees in mind."""

    _before = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is being written, and that one."""
        args, incomplete = super().get_completion_args()
        args, incomplete, self._before = joined(args, incomplete)
        return args, incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """Return what the script reads of one value."""
        value = str(item.value).removeprefix(self._before)
        return f"{item.type},{value if in_quotes(os.environ.get('COMP_WORDS', '')) else shlex.quote(value)}"


def joined(args: list[str], incomplete: str) -> tuple[list[str], str, str]:
    """Put words together that a colon divides; the last value is what stands before what will be replaced."""
    words: list[str] = []
    for word in [*args, incomplete]:
        if words and (word == ":" or words[-1].endswith(":")):
            words[-1] += word
        else:
            words.append(word)
    *before, whole = words
    return before, whole, whole if incomplete == ":" else whole[: len(whole) - len(incomplete)]


def in_quotes(line: str) -> bool:
    """Return whether a line of words ends within quotes."""
    try:
        shlex.split(line)
    except ValueError:
        return True
    return False


def use_bash() -> None:
    """Let click complete for bash as said above."""
    add_completion_class(Bash)
