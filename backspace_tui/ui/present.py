"""From the review to what the panes show: pure, and everything made visible for a reader's eyes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from backspace_tui.core.terminal_text import visible
from backspace_tui.ui.diff_rows import HunkView
from backspace_tui.ui.file_tree import Badge

if TYPE_CHECKING:
    from backspace_tui.sessions.review import Review, ReviewFile, ReviewHunk

TAB: Final = "    "
UNDECIDED: Final = frozenset({"pending", "reviewed", "changed"})


class Place(NamedTuple):
    """A hunk among all: its file's path, its id and its state."""

    path: str
    id: str
    state: str

    @property
    def undecided(self) -> bool:
        return self.state in UNDECIDED


def badges(review: Review) -> dict[str, Badge]:
    """What stands behind each changed file in the tree."""
    found = {}
    for file in review.files:
        decided = sum(item.state in ("accepted", "rejected") for item in file.hunks)
        found[file.path] = Badge(decided, len(file.hunks), all(item.state == "rejected" for item in file.hunks))
    return found


def hunk_views(file: ReviewFile, thoughts: Mapping[int, str]) -> tuple[HunkView, ...]:
    """The hunks of ``file`` in the order of their place; ``thoughts`` gives the words behind an edit by its seq.

    Words that stand behind several open hunks stand once, under the last of them.
    """
    views = []
    said: set[int] = set()
    for item in reversed(ordered(file)):
        view = _view(item, file)
        if not view.settled and item.why not in said:
            said.add(item.why)
            view = view._replace(why=thoughts.get(item.why, ""))
        views.append(view)
    return tuple(reversed(views))


def ordered(file: ReviewFile) -> list[ReviewHunk]:
    """The hunks of ``file`` by the line of A at which they change something; those that are gone come last."""

    def key(item: ReviewHunk) -> tuple[bool, int, bool]:
        leading = next((count for count, (sign, _) in enumerate(item.hunk.lines) if sign != " "), 0)
        settled = item.state == "accepted"
        return item.gone, (item.hunk.new_start if settled else item.hunk.old_start) + leading, not settled

    return sorted(file.hunks, key=key)


def places(review: Review) -> list[Place]:
    """All hunks in the order in which the panes show them."""
    return [Place(file.path, item.hunk.id, item.state) for file in review.files for item in ordered(file)]


def _view(item: ReviewHunk, file: ReviewFile) -> HunkView:
    hunk = item.hunk
    return HunkView(
        id=hunk.id,
        state=item.state,
        kind=hunk.kind,
        old_start=hunk.old_start,
        new_start=hunk.new_start,
        lines=tuple((sign, shown(line)) for sign, line in hunk.lines),
        settled=item.state == "accepted",
        gone=item.gone,
        note=_note(item, file),
        comment=" ".join(visible(item.comment).split()),
        protected=file.protected,
    )


def _note(item: ReviewHunk, file: ReviewFile) -> str:
    """What the lines do not say."""
    hunk = item.hunk
    words = {
        "mode": "the file's mode changes",
        "binary": "a binary file changes",
        "symlink": "a symbolic link",
        "type": "a file becomes a link, or the reverse",
        "added": "a new, empty file",
        "deleted": "the file is deleted",
    }.get(hunk.kind, "")
    notes = [words] if words else []
    if hunk.kind == "text" and file.change.old is None:
        notes.append("a new file")
    if file.renamed_from:
        notes.append(f"the same content as {shown_path(file.renamed_from)}, which is deleted")
    if hunk.old_open and not hunk.new_open:
        notes.append("the old file ends without a line feed")
    if hunk.new_open and not hunk.old_open:
        notes.append("the new file ends without a line feed")
    if item.gone:
        notes.append("no longer in the agent's files (u: undo)")
    return "; ".join(notes)


def shown(line: bytes) -> str:
    """A line of a file as it is shown: nothing invisible, tabs as blanks."""
    return visible(line).replace("\t", TAB)


def shown_path(path: str) -> str:
    """A path as it is shown."""
    return visible(os.fsencode(path))


def shown_lines(data: bytes) -> list[str]:
    """A whole file as lines, split at line feeds alone; a file that looks binary is one note."""
    if b"\0" in data[:8000]:
        return [f"binary file, {len(data)} bytes"]
    lines = data.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return [shown(line) for line in lines]
