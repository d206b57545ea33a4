"""What the panes show: a file's hunks, its content and colours, the tree of files. Read in the background."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, Entry
from backspace_tui.ui.diff_rows import HunkView
from backspace_tui.ui.file_tree import FileTree
from backspace_tui.ui.highlight import Span, line_spans, moved
from backspace_tui.ui.launch import Launch
from backspace_tui.ui.places import badges, beside
from backspace_tui.ui.present import hunk_views
from backspace_tui.ui.raw_lines import raw_lines
from backspace_tui.ui.screens.base import WorkspaceBase

MAX_SHOWN: Final = 32 << 20
_LIST_SECONDS: Final = 20.0
_SHOWN_MODES: Final = frozenset({REGULAR, EXECUTABLE, SYMLINK})

_REST: Final = 1.0
"""Seconds after a decision until the file is lexed again."""
_KEPT: Final = 4

Lines = Sequence[bytes | str]


class Side(NamedTuple):
    """One side of a file. Colours that are not ``exact`` are those of the file before, where they can be known."""

    lines: Lines
    colours: Sequence[list[Span]]
    exact: bool = True


NO_SIDE: Final = Side((), (), exact=False)


class Showing(WorkspaceBase):
    """Brings files into the panes."""

    _content: tuple[str, str, str] = ("", "", "")
    _tree_of: tuple[str, int, bool, bool] = ("", -1, False, False)
    _sides: tuple[str, Side, Side] = ("", NO_SIDE, NO_SIDE)

    def __init__(self, launch: Launch, keys: dict[str, str]) -> None:
        super().__init__(launch, keys)
        self._lexed: dict[tuple[str, str], Side] = {}

    def show_file(self, path: str, hunk: str = "") -> None:
        """Show ``path`` in the diff pane, at ``hunk`` or at its first undecided one."""
        if path != self.diff.path:
            self._content = ("", "", "")
        self.diff.show(path, self.views(path), empty="reading ...")
        if hunk:
            self.diff.select_id(hunk)
        self.files.select(path)
        self.load_content()

    def refresh_diff(self) -> None:
        """The review changed: show the same file as it is now, or the first one there is."""
        paths = self.desk.changed_paths()
        if not self.diff.path or (not self.diff.hunks and self.diff.path not in paths and self._pane != "files"):
            place = self.desk.next_open("", "")
            if place is not None or paths:
                self.show_file(place.path if place else paths[0], place.id if place else "")
        else:
            self.diff.show(self.diff.path, self.views(self.diff.path), empty="no changes")
            self.load_content()
        self.diff.mark_busy(self.desk.deciding)

    def views(self, path: str) -> tuple[HunkView, ...]:
        """The hunks of ``path`` as the pane shows them."""
        file = self.desk.file(path)
        if file is None:
            return ()
        thoughts = {why: self.desk.thought_of(why) for why in {item.why for item in file.hunks}}
        return hunk_views(file, thoughts, beside(file, self.desk.failing_of(path)))

    # Content

    def load_content(self) -> None:
        """Read the shown file's two sides in the background: first its lines, then its colours."""
        path, state = self.diff.path, self.desk.state
        old_tree, new_tree = state.accepted_tree, self.desk.work_tree or state.work_tree
        if not path:
            return
        if self.directory is None:
            self.content_work.run(lambda: _read_file(Path(self.launch.repository), path), self._plain(path))
            return
        if not (old_tree and new_tree):
            return
        file = self.desk.file(path)
        source = file.renamed_from if file is not None else ""

        def blobs() -> tuple[str, str]:
            before, after = (self.objects().entries(tree) for tree in (old_tree, new_tree))
            return _oid(before.get(path) or before.get(source)), _oid(after.get(path))

        def found(oids: tuple[str, str]) -> None:
            if path != self.diff.path or self._content == (path, *oids):
                return
            self._content = (path, *oids)
            self._load_blobs(path, *oids)

        self.content_work.run(blobs, found)

    def _load_blobs(self, path: str, old: str, new: str) -> None:
        content = (path, old, new)
        last, lexed = self._sides if self._sides[0] == path else ("", NO_SIDE, NO_SIDE), self._lexed

        def side(oid: str, before: Side) -> Side:
            if (known := lexed.get((path, oid))) is not None:
                return known
            lines = self.blob_lines(oid)
            return Side(lines, moved(before.colours, before.lines, lines), exact=False)

        def deliver(sides: tuple[Side, Side]) -> None:
            if content != self._content:
                return
            self._show_sides(content, sides)
            self.content_shown(path)
            if all(one.exact for one in sides):
                return
            if self.diff.coloured:
                # Most colours are there, and lexing takes seconds in which keys would wait.
                self.set_timer(_REST, lambda: self._lex(content, sides))
            else:
                self._lex(content, sides)

        self.content_work.run(lambda: (side(old, last[1]), side(new, last[2])), deliver)

    def _lex(self, content: tuple[str, str, str], sides: tuple[Side, Side]) -> None:
        """Colour what is not, unless something else is shown by now."""

        def exact(one: Side) -> Side:
            return one if one.exact or content != self._content else Side(one.lines, line_spans(content[0], one.lines))

        def deliver(found: tuple[Side, Side]) -> None:
            for oid, one in zip(content[1:], found, strict=True):
                if one.exact:
                    self._lexed[content[0], oid] = one
            while len(self._lexed) > _KEPT:
                del self._lexed[next(iter(self._lexed))]
            if content == self._content:
                self._show_sides(content, found)

        if content == self._content:
            self.content_work.run(lambda: (exact(sides[0]), exact(sides[1])), deliver)

    def _show_sides(self, content: tuple[str, str, str], sides: tuple[Side, Side]) -> None:
        old, new = sides
        self._sides = (content[0], old, new)
        known = any(one.exact or one.colours for one in sides)
        self.diff.load(content[0], new.lines, {"old": old.colours, "new": new.colours} if known else {})

    def content_shown(self, path: str) -> None:
        """The lines of ``path`` are in the diff pane."""

    def blob_lines(self, oid: str) -> Lines:
        """The lines of a blob (empty: absent); for a background thread."""
        if not oid:
            return []
        if self.objects().size(oid) > MAX_SHOWN:
            return [f"{self.objects().size(oid):,} bytes: too large to show"]
        return raw_lines(self.objects().blob(oid))

    def _plain(self, path: str) -> Callable[[Lines], None]:
        def deliver(lines: Lines) -> None:
            self._content = ("", "", "")
            self.diff.load(path, lines, {})
            self.content_work.run(
                lambda: line_spans(path, lines), lambda new: self.diff.load(path, lines, {"new": new})
            )

        return deliver

    # The tree of files

    def list_files(self) -> None:
        """Build the tree of files in the background."""
        if self.directory is None:
            self.content_work.run(
                lambda: FileTree(_tracked(self.launch.repository), {}),
                lambda tree: self.files.show(tree, "no files here: they come with the session"),
            )
            return
        state, review = self.desk.state, self.desk.review
        tree = self.desk.work_tree or state.work_tree
        verification, stale = self.desk.verdict
        passes = verification is not None and verification.verdict == "passes" and not stale
        shown = (tree, self.desk.review_seq, passes, stale)
        if not tree or self._tree_of == shown:
            return
        self._tree_of = shown
        marks = badges(review, self.desk.failing, passes=passes, stale=stale) if review is not None else {}
        if review is not None:
            self.files.show_progress(review.decided, review.total)
        self.content_work.run(
            lambda: FileTree(list(self.objects().entries(tree)), marks),
            lambda found: self.files.show(found, "no files"),
        )


def _oid(entry: Entry | None) -> str:
    return entry.oid if entry is not None and entry.mode in _SHOWN_MODES else ""


def _tracked(repository: str) -> list[str]:
    """The files git knows in the user's checkout; for a background thread. Empty for a URL."""
    if not os.path.isdir(repository):
        return []
    done = subprocess.run(
        ["git", "-c", "core.fsmonitor=false", "ls-files", "-z", "--full-name", ":/"],
        cwd=repository,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=_LIST_SECONDS,
        env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
    )
    return sorted({os.fsdecode(path) for path in done.stdout.split(b"\0") if path})


def _read_file(repository: Path, path: str) -> Lines:
    """A file of the user's checkout, before there is a session; links are not followed out of it."""
    file = repository / path
    if file.is_symlink() or not file.resolve().is_relative_to(repository.resolve()) or not file.is_file():
        return ["(not a regular file)"]
    if file.stat().st_size > MAX_SHOWN:
        return [f"{file.stat().st_size:,} bytes: too large to show"]
    return raw_lines(file.read_bytes())
