"""Changes between two trees as a unified diff for people: with paths and modes, clean, and without secrets."""

from __future__ import annotations

from backspace_tui.core.redact import Redactor
from backspace_tui.core.terminal_text import clean, visible
from backspace_tui.core.trees import GITLINK, Entry, FileChange
from backspace_tui.sessions.objects import Objects


def tree_diff(objects: Objects, old: str, new: str, redactor: Redactor) -> str:
    """All of it, empty where nothing differs."""
    return "".join(file_diff(objects, change, redactor) for change in objects.changes(old, new, renames=True))


def file_diff(objects: Objects, change: FileChange, redactor: Redactor) -> str:
    """One path's change as ``git diff`` prints it."""
    before, after, diff = objects.sides(change)
    # A key of several lines is one only without the signs in front of them.
    for side in (before, after):
        if b"\0" not in side[:8000]:
            redactor.learn(side.decode("utf-8", "replace"))
    body = clean(diff[diff.find(b"\n@@") + 1 :]) if b"\n@@" in diff else _without_lines(change)
    return redactor.redact("\n".join(_head(change)) + "\n" + (body if body.endswith("\n") or not body else body + "\n"))


def counts(diff: str) -> tuple[int, int]:
    """Lines that were added and removed."""
    lines = diff.partition("\n@@")[2].split("\n")
    return sum(line.startswith("+") for line in lines), sum(line.startswith("-") for line in lines)


def _head(change: FileChange) -> list[str]:
    source, path = visible(change.source or change.path), visible(change.path)
    lines = [f"diff --git a/{source} b/{path}"]
    match change.old, change.new:
        case None, Entry(mode=mode):
            lines.append(f"new file mode {mode:o}")
        case Entry(mode=mode), None:
            lines.append(f"deleted file mode {mode:o}")
        case Entry(mode=was), Entry(mode=now) if was != now:
            lines += [f"old mode {was:o}", f"new mode {now:o}"]
        case _:
            pass
    if change.source:
        lines += [f"rename from {source}", f"rename to {path}"]
    if change.old is None or change.new is None or change.old.oid != change.new.oid:
        lines.append("--- " + ("/dev/null" if change.old is None else f"a/{source}"))
        lines.append("+++ " + ("/dev/null" if change.new is None else f"b/{path}"))
    return lines


def _without_lines(change: FileChange) -> str:
    sides = [entry for entry in (change.old, change.new) if entry is not None]
    if len(sides) == 2 and sides[0].oid == sides[1].oid:
        return ""
    if any(entry.mode == GITLINK for entry in sides):
        return "Submodules differ"
    return "Binary files differ" if len(sides) == 2 else ""
