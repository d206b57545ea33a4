"""Decisions as pure functions on plain data: no I/O and no threads."""
