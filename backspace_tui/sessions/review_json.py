"""The review as the plain data that ``backspace-tui review --json`` prints."""

from __future__ import annotations

import os
from typing import Any

from backspace_tui.core.state import SessionState
from backspace_tui.core.units import changed
from backspace_tui.sessions.review import HunkState, Review, ReviewFile, ReviewHunk


def _told_state(file: ReviewFile) -> HunkState:
    """A file's state in the words for hunks: what is still open comes first."""
    states = {item.state for item in file.hunks}
    order: tuple[HunkState, ...] = ("pending", "changed", "reviewed", "accepted", "rejected")
    return next(state for state in order if state in states)


def to_json(review: Review, state: SessionState) -> dict[str, Any]:
    """The plain data that ``backspace-tui review --json`` prints.

    A file is in the first of the states pending, changed, reviewed, accepted and rejected that one of its hunks is in.
    ``verification`` tells of the tree that is accepted now: its verdict is ``""`` where the tests were not run on it.
    A line's text has neither sign nor line feed, and U+FFFD for bytes that are not UTF-8. Keys beyond the lasting
    ones are there only where they say something: a file's ``renamed_from`` and ``protected``; a hunk's ``kind`` (unless
    it is text), ``comment``, ``changed`` (why it is in that state), ``rejected_lines`` (positions), ``kept``, ``redo``,
    ``gone``.
    """
    verdict = state.verdict
    return {
        "files": [_file(file) for file in review.files],
        "verification": {"tree": state.accepted_tree, "verdict": verdict.verdict if verdict else ""},
    }


def _file(file: ReviewFile) -> dict[str, Any]:
    more = {"renamed_from": _path(file.renamed_from), "protected": file.protected}
    return {
        "path": _path(file.path),
        "state": _told_state(file),
        "hunks": [_hunk(item) for item in file.hunks],
    } | {key: value for key, value in more.items() if value}


def _hunk(item: ReviewHunk) -> dict[str, Any]:
    hunk = item.hunk
    more = {
        "kind": hunk.kind if hunk.kind != "text" else "",
        "comment": item.comment,
        "changed": item.changed,
        "rejected_lines": sorted(item.rejected) if item.rejected != changed(hunk) else [],
        "kept": item.kept,
        "redo": item.redo,
        "gone": item.gone,
    }
    return {
        "id": hunk.id,
        "state": item.state,
        "old_start": hunk.old_start,
        "new_start": hunk.new_start,
        "lines": [[sign, line.decode("utf-8", "replace")] for sign, line in hunk.lines],
        "why": item.why,
    } | {key: value for key, value in more.items() if value}


def _path(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "replace")
