"""The parts of the proof, in the order in which they run; nothing registers itself."""

from __future__ import annotations

from prove import kills
from prove.part import Part

PARTS = (
    Part(
        "kills", "SIGKILL of recorder, daemon or both under real traffic: every answered exchange is found", kills.run
    ),
)
