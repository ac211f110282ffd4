"""Where an exchange can stand, and every move from there."""

from __future__ import annotations

from typing import Final

# States. Plain numbers: members of an Enum cost a look-up each time.
OPENING: Final = 1  # OPENED is gathered, not yet written
ASKED: Final = 2  # a decision about the request is awaited
SETTLED: Final = 3  # what rules did to the request is gathered, not yet written
SEEKING: Final = 4  # a connection to the server is looked for or made
WAITING: Final = 5  # the server has the request, or what there is of it; no final response yet
JUDGED: Final = 6  # a decision about the response is awaited
ANSWERING: Final = 7  # the response's head has come
ENDING: Final = 8  # DONE is gathered; the last byte is not released
SWITCHED: Final = 9  # a tunnel goes on with both ports and the log
ENDED: Final = 10  # nothing is to be done any more
# From ENDING on the exchange has its end in the log: what still comes is not heard.

MOVES: Final[dict[int, dict[str, int]]] = {
    OPENING: {"written": SEEKING, "written, and there are rules": ASKED, "client left": ENDED, "failed": ENDING},
    ASKED: {
        "let go": SEEKING,
        "let go changed": SETTLED,
        "answered": ENDING,
        "dropped": ENDING,
        "client left": ENDED,
        "failed": ENDING,
    },
    SETTLED: {"written": SEEKING, "client left": ENDED, "failed": ENDING},
    SEEKING: {"connected": WAITING, "client left": ENDED, "failed": ENDING},
    WAITING: {
        "head came": ANSWERING,
        "held": JUDGED,
        "whole response came": ENDING,
        "sent again": SEEKING,
        "protocol switched": SWITCHED,
        "client left": ENDED,
        "failed": ENDING,
    },
    JUDGED: {
        "let go": ANSWERING,
        "let go whole": ENDING,
        "dropped": ENDING,
        "client left": ENDED,
        "failed": ENDING,
    },
    ANSWERING: {"end came": ENDING, "client left": ENDED, "failed": ENDING},
    ENDING: {"last byte released": ENDED},
    SWITCHED: {},
    ENDED: {},
}
"""For each state the state that each happening leads to. DONE is gathered on the way into ENDING and from any other
state into ENDED, and nowhere else, so there is exactly one; SWITCHED leaves it to the tunnel."""
