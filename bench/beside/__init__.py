"""The same questions about the same recording, asked of other ways to keep one: side by side, answers compared."""
