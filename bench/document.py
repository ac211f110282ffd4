"""``python -m bench.document``: puts the goals' figures of kept runs into docs/benchmarks.md; nobody types any.

A block of the page names the run in ``bench/results/`` that it shows; a test holds that page and runs agree.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from bench.report import goal_table, method

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_BLOCK = re.compile(r"(<!-- run: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str, results: Path) -> str:
    """Return the page with the table of each run that it names.

    Raises:
        FileNotFoundError: ``results`` has no such run.
    """

    def block(found: re.Match[str]) -> str:
        run = json.loads((results / f"{found[2]}.json").read_text())
        versions = "".join(
            f"- {key}: {peer['version']}; {peer['note']}\n" for key, peer in run["peers"].items() if peer["version"]
        )
        table = goal_table(run["goals"])
        return f"{found[1]}\n`{run['command']}`, {run['date']}. {method(run)}\n{versions}\n{table}\n{found[3]}"

    return _BLOCK.sub(block, page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), RESULTS))
