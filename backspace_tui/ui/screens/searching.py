"""Searching: in the diff pane over all changed files, in the other panes in what they show."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from backspace_tui.ui.bridge import Failed
from backspace_tui.ui.diff_layout import Layout, Matches
from backspace_tui.ui.diff_rows import HunkView
from backspace_tui.ui.present import hunk_views
from backspace_tui.ui.raw_lines import matcher
from backspace_tui.ui.screens.showing import Lines, Showing

if TYPE_CHECKING:
    from backspace_tui.sessions.review import ReviewFile


class Wanted(NamedTuple):
    """A search under way: what for, in which direction, and the file that it goes to once that is found."""

    text: str
    direction: int
    path: str = ""


class Searching(Showing):
    """The keys that search."""

    _search = ""
    _seeking: Wanted | None = None

    def action_search(self) -> None:
        self.prompt.display = True
        self.prompt.use_for("search")
        self.set_focus(self.prompt.input)

    def action_search_next(self, direction: int) -> None:
        if not self._search:
            self.say("search first with /", "muted")
        else:
            self._find(direction, again=True)

    def search_for(self, text: str) -> None:
        """The line after ``/`` was entered."""
        self._search = text
        self.prompt.display = not self.launch.looks_only
        self.active_pane.focus()
        if not text:
            self.unmark()
        else:
            self._find(1, again=False)

    def unmark(self) -> None:
        """Forget the search; ``n`` still knows it."""
        self._seeking = None
        for pane in (self.files, self.diff, self.thinking, self.sandbox):
            pane.unmark()

    def _find(self, direction: int, *, again: bool) -> None:
        text, pane = self._search, self.active_pane
        if pane is not self.diff or self.directory is None:
            if not pane.find(text, direction, again=again):
                self.say(f"{text!r} is not in this pane", "muted")
            return
        if self._seeking is not None and self._seeking[:2] == (text, direction):
            return
        self._reveal(text)
        if not pane.find(text, direction, again=again, wrap=False):
            self._find_elsewhere(text, direction)

    def _find_elsewhere(self, text: str, direction: int) -> None:
        """Go on in the other changed files, in the background; the shown one comes last."""
        here = self.diff.path
        order = _after(self.desk.changed_paths(), here, direction)
        files = [file for path in order if (file := self.desk.file(path)) is not None]
        tree, context = self.desk.work_tree, self.diff.context
        self._seeking = wanted = Wanted(text, direction)

        def scan() -> str:
            matches = matcher(text)
            entries = self.objects().entries(tree)
            for file in files:
                entry = entries.get(file.path)
                if shows(file, self.blob_lines(entry.oid if entry is not None else ""), context, matches):
                    return file.path
            return ""

        def found(path: str) -> None:
            if self._seeking is not wanted:
                return
            self._seeking = None
            if not path:
                self.say(f"{text!r} is in no changed file", "muted")
                return
            if _key(path) == _key(here) or (_key(path) < _key(here)) == (direction > 0):
                self.say("wrapped", "muted")
            if path == here:
                self._find_from_edge(text, direction)
            else:
                self._seeking = Wanted(text, direction, path)
                self.show_file(path)

        self.content_work.run(scan, found)

    def content_shown(self, path: str) -> None:
        seeking = self._seeking
        if seeking is not None and seeking.path:
            self._seeking = None
            if seeking.path == path:
                self._find_from_edge(seeking.text, seeking.direction)

    def on_failed(self, message: Failed) -> None:
        self._seeking = None
        super().on_failed(message)

    def _find_from_edge(self, text: str, direction: int) -> None:
        self._reveal(text)
        self.diff.go_to(0 if direction > 0 else self.diff.line_count() - 1)
        if not self.diff.find(text, direction, again=False, wrap=False):
            self.say(f"{text!r} is in no changed file any more", "muted")

    def _reveal(self, text: str) -> None:
        """Unfold the folded hunks that hold the text."""
        matches, unfolded = matcher(text), self.diff.unfolded
        for view in self.diff.hunks:
            if (view.id in unfolded) == view.quiet or not _holds(view, matches):
                continue
            unfolded ^= {view.id}
            self.diff.change_context(0)


def shows(file: ReviewFile, work: Lines, context: int, matches: Matches) -> bool:
    """Whether the diff pane would show a match in ``file``, whose lines in W are ``work``, with its hunks unfolded."""
    views = hunk_views(file, {})
    if any(_holds(view, matches) for view in views):
        return True
    unfolded = {view.id for view in views if view.quiet}
    return Layout(views, work, context, unfolded).find(matches, 0, 1, wrap=False) is not None


def _holds(view: HunkView, matches: Matches) -> bool:
    """Whether a line that is shown with the hunk matches."""
    return any(matches(line) for _, line in view.lines[slice(*view.extent)])


def _after(paths: Sequence[str], here: str, direction: int) -> list[str]:
    """The paths in the order in which a search that begins behind ``here`` comes by them; ``here`` is the last."""
    before = [path for path in paths if _key(path) < _key(here)]
    after = [path for path in paths if _key(path) > _key(here)]
    around = [*after, *before] if direction > 0 else [*reversed(before), *reversed(after)]
    return [*around, here] if here in paths else around


def _key(path: str) -> bytes:
    return os.fsencode(path)
