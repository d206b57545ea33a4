"""The first screens of a review that takes long, for as long as it does."""

from __future__ import annotations

import os
from typing import Final

from backspace_tui.core.alignment import beginning
from backspace_tui.core.hunks import file_hunks
from backspace_tui.core.state import SessionState
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.protected import patterns, protected
from backspace_tui.sessions.review import ReviewFile, ReviewHunk, changes_between

_GROUPS: Final = 50
_LONG: Final = 500_000
"""Bytes of one file's diff."""
_MANY: Final = 50
"""Changed files."""


def glimpse(objects: Objects, state: SessionState) -> ReviewFile | None:
    """The first file that changed with its first hunks, as the review will have them.

    ``None`` where the review will not take long, has more to show than what the agent changed (decisions stand), or
    begins with one long hunk.

    Raises:
        SessionError: the session's repository cannot be read.
    """
    if not state.base_tree or state.accepted_tree != state.base_tree or state.rejected or state.marks:
        return None
    objects.prefetch(state.accepted_tree, state.work_tree)
    changes = changes_between(objects, state.accepted_tree, state.work_tree)
    if not changes:
        return None
    change = changes[min(changes, key=os.fsencode)]
    old, new, diff = objects.sides(change)
    if len(diff) < _LONG and len(changes) < _MANY:
        return None
    try:
        first = beginning(old, new, diff, _GROUPS)
        if len(first[-1]) > _LONG:
            return None
        hunks = file_hunks(change, *first)
    except ValueError:
        return None
    allowed, denied = patterns(state, "allow_paths"), patterns(state, "deny_paths")
    guarded = any(protected(name, allowed, denied) for name in (change.path, change.source) if name)
    items = tuple(ReviewHunk(hunk, "pending", 0, "", local=hunk.id) for hunk in hunks)
    return ReviewFile(change.path, "pending", items, change, guarded, change.source)
