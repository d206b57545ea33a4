"""The sessions that a repository has and that are not done with: what starting there again offers to rejoin."""

from __future__ import annotations

import os
from collections.abc import Sequence

from backspace_tui.sessions.store import SessionInfo

_OPEN = ("running", "waiting", "paused", "interrupted", "new")


def unfinished(sessions: Sequence[SessionInfo], repository: str) -> list[SessionInfo]:
    """Those of ``sessions`` on ``repository`` (a path or URL) that work, wait or were cut off, in the given order."""
    here = _same(repository)
    return [info for info in sessions if info.status in _OPEN and info.repository and _same(info.repository) == here]


def _same(repository: str) -> str:
    return repository.rstrip("/") if "://" in repository else os.path.realpath(repository)
