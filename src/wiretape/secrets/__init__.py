"""Secrets in what was recorded: how they are found, and what stands for them in what goes to a model (P18)."""
