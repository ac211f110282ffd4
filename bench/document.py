"""``python -m bench.document``: puts figures of kept runs into docs/benchmarks.md; nobody types any.

A block of the page names the run in ``bench/results/`` that it shows, and its kind. ``run`` is one of ``make bench``,
and its goals are shown; ``answers`` and ``beside`` are of the benchmarks so called. A test holds that they agree.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from bench.answers.__main__ import table as answers_table
from bench.beside.__main__ import table as beside_table
from bench.report import goal_table, method

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_BLOCK = re.compile(r"(<!-- (run|answers|beside): ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str, results: Path) -> str:
    """Return the page with the table of each run that it names.

    Raises:
        FileNotFoundError: ``results`` has no such run.
    """

    def block(found: re.Match[str]) -> str:
        run = json.loads((results / f"{found[3]}.json").read_text())
        if found[2] != "run":
            return f"{found[1]}\n{(answers_table if found[2] == 'answers' else beside_table)(run)}\n{found[4]}"
        versions = "".join(
            f"- {key}: {peer['version']}; {peer['note']}\n" for key, peer in run["peers"].items() if peer["version"]
        )
        table = goal_table(run["goals"])
        return f"{found[1]}\n`{run['command']}`, {run['date']}. {method(run)}\n{versions}\n{table}\n{found[4]}"

    return _BLOCK.sub(block, page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), RESULTS))
