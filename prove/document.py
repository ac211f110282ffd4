"""``python -m prove.document ACCOUNT.json``: puts an account's figures into docs/reliability.md; nobody types any.

The account is kept as docs/reliability.json; a test holds that page and account agree.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "reliability.md"
ACCOUNT = DOCS / "reliability.json"
_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(name: str, part: dict[str, Any]) -> str:
    """Return one part's figures as Markdown."""
    figures = part["figures"]
    rows = "".join(f"| {key} | {_shown(value)} |\n" for key, value in figures.items())
    verdict = "holds" if part["holds"] else "**does not hold**"
    return f"| `{name}`, {verdict} | |\n|---|---:|\n{rows}"


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def filled(page: str, account: dict[str, Any]) -> str:
    """Return the page with the tables of the account.

    Raises:
        KeyError: the page wants a part that the account does not have.
    """
    return _BLOCK.sub(lambda found: found[1] + table(found[2], account["parts"][found[2]]) + found[3], page)


def main(argv: list[str]) -> int:
    """Put a new account in place of the old one."""
    account = json.loads(Path(argv[1]).read_text())
    account.pop("kept", None)
    ACCOUNT.write_text(json.dumps(account, indent=1) + "\n")
    PAGE.write_text(filled(PAGE.read_text(), account))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
