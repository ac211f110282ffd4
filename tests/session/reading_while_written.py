"""Run as a program: asks a session that is being written, again and again, and checks every answer.

Arguments: root, session id, the number of exchanges at which to stop. Prints a line after the first answer, and at
the end how many answers there were.
"""

from __future__ import annotations

import sys
from pathlib import Path

from wiretape.session.catalogue import Catalogue


def main(root: Path, session_id: str, last: int) -> None:
    """Ask until everything is there."""
    answers = seen = 0
    with Catalogue(root).open(session_id) as session:
        while seen < last:
            page = session.query(limit=20)
            answers += 1
            if answers == 1:
                print("asked", flush=True)
            through = page.coverage.through_seq
            if through < seen:
                raise AssertionError(f"the answer went back from {seen} to {through}")
            if page.matched != through or page.coverage.damaged:
                raise AssertionError(f"{page.matched} of {through} exchanges, {page.coverage}")
            numbers = [item.seq for item in page.items]
            if numbers != list(range(through, max(0, through - 20), -1)):
                raise AssertionError(f"exchanges are missing: {numbers}")
            if numbers and session.exchange(numbers[-1]).request is None:
                raise AssertionError(f"exchange {numbers[-1]} cannot be read")
            seen = through
    print(answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
