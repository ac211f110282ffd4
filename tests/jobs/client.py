"""Run as a program: walks through a running shop with the bug, and ends with 3 where the checkout failed.

Argument: HOST:PORT of the shop. Proxy and CA are those of the environment.
"""

from __future__ import annotations

import sys

from tests.jobs.live import CHECKOUT, send
from tests.jobs.recordings import bad_walk


def main(host: str) -> int:
    """Walk."""
    walk = bad_walk(host)
    at = next(at for at, talk in enumerate(walk.talks) if talk.path == CHECKOUT)
    answer = send(walk, walk.talks[: at + 1])
    assert answer is not None
    print("checkout", answer.status_code, answer.json().get("title", ""))
    send(walk, walk.talks[at + 1 :])
    return 0 if answer.status_code == 201 else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
