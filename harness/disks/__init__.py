"""Disks for tests and the proof: one in memory whose power can be cut, and one that fails on order over any other."""
