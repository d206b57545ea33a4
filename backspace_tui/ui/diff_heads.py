"""The rows of a diff that are no lines: what a hunk is, what became of it, what was said about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.segment import Segment

from backspace_tui.ui.diff_lines import Look
from backspace_tui.ui.diff_rows import DiffRow, HunkView

_BADGES: Final[Mapping[str, tuple[str, str, str]]] = {
    "pending": ("○", "undecided", "accent"),
    "reviewed": ("◐", "reviewed, undecided", "accent"),
    "changed": ("↻", "changed since your review", "warn"),
    "accepted": ("✓", "accepted", "good"),
    "rejected": ("✗", "rejected", "bad"),
    "busy": ("…", "deciding", "muted"),
    "kept": ("≠", "the agent's version; yours is accepted", "muted"),
}
_CHANGED: Final[Mapping[str, str]] = {
    "seen": "changed since you looked",
    "accepted": "changes lines you accepted",
    "rejected": "made again after you rejected it",
}


def badge(view: HunkView, *, busy: bool) -> tuple[str, str, str]:
    """A sign, words and a style for what became of a hunk."""
    if busy:
        return _BADGES["busy"]
    if view.kept:
        return _BADGES["kept"]
    sign, words, style = _BADGES.get(view.state, ("?", view.state, "muted"))
    return sign, _CHANGED.get(view.changed, words) if view.state == "changed" else words, style


def head(look: Look, view: HunkView, number: str, *, current: bool, busy: bool) -> list[Segment]:
    """The row above a hunk's lines; ``number`` is its place among those of the file."""
    styles = look.styles
    sign, words, colour = badge(view, busy=busy)
    added, removed = view.counts
    rule = styles["bar" if current else "faint"]
    segments = [
        Segment("── ", rule),
        Segment(f"{sign} ", styles[colour]),
        Segment(f"{number} ", styles["strong" if current else "muted"]),
        Segment(words, styles[colour]),
        Segment(f"  +{added} -{removed} ", styles["muted"]),
    ]
    if view.rejected and view.state != "rejected":
        count = len(view.rejected)
        segments.append(Segment(f" {count} line{'s' * (count > 1)} rejected ", styles["bad"]))
    if view.protected:
        segments.append(Segment(" runs on your machine: look twice ", styles["alert"]))
    segments.append(Segment("─" * look.width, rule))
    return segments


def fold(look: Look, view: HunkView, counts: str, *, busy: bool) -> list[Segment]:
    """The one row of a folded hunk."""
    styles = look.styles
    _, words, colour = badge(view, busy=busy)
    label = f" {words} {counts} "
    left = max(3, (look.width - len(label)) // 2 - 1)
    return [
        Segment("~" * left, styles["faint"]),
        Segment(label, styles[colour]),
        Segment("~" * max(3, look.width - left - len(label) - 2), styles["faint"]),
    ]


def said(look: Look, row: DiffRow, *, first: bool) -> list[Segment]:
    """A row of words: a note, the tests' output (``first`` is its first line), a comment, a thought."""
    styles = look.styles
    pad = Segment(" " * (2 * look.digits + 2), styles["faint"])
    match row.kind:
        case "gap":
            return [pad, Segment(f"⋯ {row.words}", styles["faint"])]
        case "why":
            return [pad, Segment("w: why  ", styles["faint"]), Segment(f'"{row.words}"', styles["thought"])]
        case "tests":
            return [pad, Segment("tests: " if first else "       ", styles["faint"]), Segment(row.words, styles["bad"])]
        case "comment":
            return [pad, Segment(f"comment: {row.words}", styles["user"])]
        case _:
            return [pad, Segment(row.words, styles["warn"])]
