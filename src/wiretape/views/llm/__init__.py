"""Calls of large language models: what was asked, what was answered, whichever API and however it was streamed."""
