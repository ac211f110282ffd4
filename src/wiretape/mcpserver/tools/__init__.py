"""The tools, one module per family. ``TOOLSETS`` is all there is, in the order in which it is listed."""

from __future__ import annotations

from typing import Final

from wiretape.mcpserver.tool import Spec
from wiretape.mcpserver.tools import lifecycle, sessions, traffic

TOOLSETS: Final[dict[str, tuple[Spec, ...]]] = {
    "lifecycle": lifecycle.TOOLS,
    "traffic": traffic.TOOLS,
    "sessions": sessions.TOOLS,
}
