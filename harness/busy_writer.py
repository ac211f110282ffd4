"""Run as a program: writes one session's log after another at full speed until stdin ends; prints each id as it begins.

Arguments: the root, and how many bytes a log gets.
"""

from __future__ import annotations

import select
import sys
from itertools import count
from pathlib import Path

from harness.logs import Recording, new_session

_SEGMENT = 300_000


def main(root: Path, size: int) -> None:
    """Write."""
    for _ in count():
        made = new_session(root)
        print(made.session_id, flush=True)
        recording = Recording(made, segment_bytes=_SEGMENT)
        while recording.writer.size < size:
            recording.exchange("http://example.com/")
            recording.open("http://example.com/running")
            if select.select([0], [], [], 0)[0]:
                return
        recording.writer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
