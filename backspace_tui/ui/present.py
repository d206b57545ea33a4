"""From the review to what the panes show: pure, and everything made visible for a reader's eyes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from backspace_tui.core.terminal_text import visible
from backspace_tui.ui.diff_rows import HunkView
from backspace_tui.ui.raw_lines import shown

if TYPE_CHECKING:
    from backspace_tui.sessions.review import ReviewFile, ReviewHunk

_FAILING_LINES: Final = 12


def hunk_views(
    file: ReviewFile, thoughts: Mapping[int, str], failing: Mapping[str, Sequence[str]] | None = None
) -> tuple[HunkView, ...]:
    """The hunks of ``file`` in the order of their place; ``thoughts`` gives the words behind an edit by its seq.

    Words that stand behind several open hunks stand once, under the last of them. ``failing`` gives the lines of the
    tests' output to be shown under a hunk, by its id; of many the last ones are shown.
    """
    views = []
    said: set[int] = set()
    for item in reversed(ordered(file)):
        why = ""
        if item.state != "accepted" and item.why not in said:
            said.add(item.why)
            why = thoughts.get(item.why, "")
        view = _view(item, file, why)
        if failing and (lines := failing.get(view.id)):
            view = view._replace(failing=_failing(lines))
        views.append(view)
    return tuple(reversed(views))


def ordered(file: ReviewFile) -> list[ReviewHunk]:
    """The hunks of ``file`` by the line of A at which they change something; those that are gone come last."""

    def key(item: ReviewHunk) -> tuple[bool, int, bool]:
        leading = item.hunk.extent[0]
        settled = item.state == "accepted"
        return item.gone, (item.hunk.new_start if settled else item.hunk.old_start) + leading, not settled

    return sorted(file.hunks, key=key)


def _view(item: ReviewHunk, file: ReviewFile, why: str) -> HunkView:
    return HunkView(
        item.hunk,
        item.state,
        settled=item.state == "accepted",
        gone=item.gone,
        note=_note(item, file),
        why=why,
        comment=" ".join(visible(item.comment).split()) if item.comment else "",
        protected=file.protected,
        changed=item.changed,
        rejected=item.rejected,
        kept=item.kept,
        redo=item.redo,
    )


_NOTES: Final = {
    "mode": "the file's mode changes",
    "binary": "a binary file changes",
    "symlink": "a symbolic link",
    "type": "a file becomes a link, or the reverse",
    "added": "a new, empty file",
    "deleted": "the file is deleted",
}


def _note(item: ReviewHunk, file: ReviewFile) -> str:
    """What the lines do not say."""
    hunk = item.hunk
    notes = [_NOTES[hunk.kind]] if hunk.kind in _NOTES else []
    if hunk.kind == "text" and file.change.old is None:
        notes.append("a new file")
    if hunk.kind == "rename":
        notes.append(f"renamed from {shown_path(file.renamed_from)}" if file.renamed_from else "renamed")
    if hunk.old_open and not hunk.new_open:
        notes.append("the old file ends without a line feed")
    if hunk.new_open and not hunk.old_open:
        notes.append("the new file ends without a line feed")
    if item.redo:
        notes.append("waits for a new version" if item.state == "rejected" else "the new version you asked for")
    if item.gone:
        notes.append("no longer in the agent's files (u: undo)")
    return "; ".join(notes)


def _failing(lines: Sequence[str]) -> tuple[str, ...]:
    """The last lines of a failing test's output."""
    last = [shown(line) for line in lines[-_FAILING_LINES:]]
    if len(lines) > _FAILING_LINES:
        last[0] = f"... {len(lines) - _FAILING_LINES + 1} lines above"
    return tuple(last)


def shown_path(path: str) -> str:
    """A path as it is shown."""
    return visible(os.fsencode(path))
