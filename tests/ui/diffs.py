"""Hunks by hand: of two lists of lines, and a window with nothing but the diff pane."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any, Literal

from msgspec.structs import replace
from textual.app import App, ComposeResult

from backspace_tui.core.hunks import Hunk
from backspace_tui.paths import resource_dir
from backspace_tui.ui import styles, themes
from backspace_tui.ui.diff_rows import HunkView
from backspace_tui.ui.panes.diff import DiffView

Line = tuple[Literal[" ", "-", "+"], bytes]


def hunks(old: Sequence[bytes], new: Sequence[bytes]) -> list[Hunk]:
    """The hunks from ``old`` to ``new`` with three lines of context."""
    found = []
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for group in matcher.get_grouped_opcodes(3):
        lines: list[Line] = []
        deletions: set[int] = set()
        additions: set[int] = set()
        for kind, start, end, begin, stop in group:
            if kind == "equal":
                lines += [(" ", line) for line in old[start:end]]
                continue
            lines += [("-", line) for line in old[start:end]]
            lines += [("+", line) for line in new[begin:stop]]
            deletions.update(range(start + 1, end + 1))
            additions.update(range(begin + 1, stop + 1))
        name = hashlib.sha256(repr([line for line in lines if line[0] != " "]).encode()).hexdigest()[:12]
        first = group[0]
        found.append(
            Hunk(
                name, "f.py", "text", first[1] + 1, first[3] + 1, tuple(lines), frozenset(deletions),
                frozenset(additions),
            )
        )  # fmt: skip
    return found


def views(base: Sequence[bytes], accepted: Sequence[bytes], work: Sequence[bytes]) -> list[HunkView]:
    """What the pane shows of three versions of a file, in order."""
    found = [HunkView(hunk, "accepted", settled=True) for hunk in hunks(base, accepted)]
    found += [HunkView(hunk, "pending") for hunk in hunks(accepted, work)]
    found.sort(key=lambda view: (view.accepted_start, not view.settled))
    seen: dict[str, int] = {}
    for at, view in enumerate(found):
        count = seen[view.id] = seen.get(view.id, 0) + 1
        if count > 1:
            found[at] = view._replace(hunk=replace(view.hunk, id=f"{view.id}-{count}"))
    return found


def one(signs: str, texts: str = "", **fields: Any) -> HunkView:
    """A pending hunk whose lines have these signs; the lines are letters, or ``texts`` at blanks."""
    names = texts.split() if texts else [chr(97 + at % 26) for at in range(len(signs))]
    marks: dict[str, Literal[" ", "-", "+"]] = {" ": " ", "-": "-", "+": "+"}
    lines = tuple((marks[sign], name.encode()) for sign, name in zip(signs, names, strict=True))
    deletions: set[int] = set()
    additions: set[int] = set()
    old = new = 1
    for sign in signs:
        if sign == "-":
            deletions.add(old)
        elif sign == "+":
            additions.add(new)
        old, new = old + (sign != "+"), new + (sign != "-")
    hunk = Hunk("abc", "f.py", "text", 1, 1, lines, frozenset(deletions), frozenset(additions))
    return HunkView(hunk, fields.pop("state", "pending"), **fields)


class DiffApp(App[None]):
    """A window with nothing but the diff pane."""

    def __init__(self) -> None:
        super().__init__()
        for theme in themes.load([resource_dir("themes")]).themes.values():
            self.register_theme(theme)
        self.theme = themes.DEFAULT_THEME
        self.diff = DiffView(id="diff")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return styles.defaults(self.current_theme)

    @cached_property
    def line_styles(self) -> styles.Styles:
        return styles.Styles(self.theme_variables)

    def compose(self) -> ComposeResult:
        yield self.diff
