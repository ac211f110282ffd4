"""Logs that nobody's recorder wrote: each is made to cost whoever reads it memory, time or its composure.

Every checksum agrees, so that what is read is what was forged. A log is made as large as asked for; its shape is the
same at any size.
"""

from __future__ import annotations

from tests.support import malicious_shapes, malicious_values
from tests.support.forger import LOGS

__all__ = ["LOGS", "malicious_shapes", "malicious_values"]
