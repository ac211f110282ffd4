"""Understanding bodies: decoded bytes in, values of JSON types out. Pure, and bounded in memory, depth and time."""
