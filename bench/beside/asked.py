"""What the peers' programs in Python have in common: made once, then asked several times, on the clock.

It is run by the peers' interpreters, and needs nothing but Python.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

Answer = Callable[[str, dict[str, Any]], Any]
"""Answers a question: what is asked, and its arguments."""


def run(make: Callable[[str, str], None], opened: Callable[[str], Answer]) -> None:
    """Make a recording of ours the peer's, or print the answers to questions and the ms that each took.

    Args:
        make: writes the recording FLAT into FOLDER as the peer keeps it.
        opened: opens that folder for questions.
    """
    what, *rest = sys.argv[1:]
    if what == "make":
        flat, folder = rest
        make(flat, folder)
        return
    folder, calls, questions = rest
    answer = opened(folder)
    found = {}
    for question in json.loads(questions):
        key, ask = question.pop("key"), question.pop("ask")
        times: list[float] = []
        result = None
        for _ in range(int(calls)):
            begun = time.perf_counter()
            result = answer(ask, question)
            times.append((time.perf_counter() - begun) * 1000)
        found[key] = {"times": times, "answer": result}
    print(json.dumps(found))
