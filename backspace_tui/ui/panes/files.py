"""The file tree, with what is decided of each changed file."""

from __future__ import annotations

from collections.abc import Hashable

from rich.cells import cell_len
from rich.segment import Segment
from textual.message import Message

from backspace_tui.core.terminal_text import clean
from backspace_tui.ui.file_tree import FILTER_NAMES, FILTERS, FileTree, Filter, TreeRow
from backspace_tui.ui.panes.line_view import Drawn, LineView


class FilesView(LineView):
    """Moving in it shows the file at the cursor in the diff pane."""

    TITLE = "Files"

    class Chosen(Message):
        """The cursor is on a file; ``enter`` when the user wants to go there."""

        def __init__(self, path: str, *, enter: bool = False) -> None:
            super().__init__()
            self.path, self.enter = path, enter

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._progress = ""
        self._tree = FileTree((), {})
        self._opened: dict[str, bool] = {}
        self._rows: list[TreeRow] = []
        self._wanted = ""
        self.filter: Filter = "all"
        self.note = "reading the repository ..."

    def show(self, tree: FileTree, note: str) -> None:
        """Show a tree that was built elsewhere, since building takes time; ``note`` stands for an empty one."""
        self.note = note
        self._tree = tree
        self._relist(self.selected)
        if self._wanted:
            self.select(self._wanted)

    @property
    def selected(self) -> str:
        """The path at the cursor, or empty."""
        return self._rows[self.cursor].path if self._rows else ""

    def select(self, path: str) -> None:
        """Put the cursor on ``path`` without announcing it; its folders open."""
        self._wanted = path  # the tree may come later
        if self.selected == path:
            self._wanted = ""
            return
        parts = path.split("/")
        for count in range(1, len(parts)):
            folder = "/".join(parts[:count])
            row = next((row for row in self._rows if row.is_folder and row.path == folder), None)
            if row is not None and not row.is_open:
                self._opened[folder] = True
                self._rows = self._tree.rows(self._opened, self.filter)
        for index, row in enumerate(self._rows):
            if row.path == path:
                self._wanted = ""
                self.cursor = index
                self.resize_to_lines()
                self.go_to(index)
                return

    def enter_folder(self) -> None:
        """Open or close the folder at the cursor, or the one around the file."""
        if self._rows:
            row = self._rows[self.cursor]
            folder = row.path if row.is_folder else row.path.rpartition("/")[0]
            found = next((other for other in self._rows if other.is_folder and other.path == folder), None)
            if found is not None:
                self._opened[folder] = not found.is_open
                self._relist(folder)

    def enter(self) -> None:
        """Open or close the folder at the cursor, or go to the file."""
        if not self._rows:
            return
        row = self._rows[self.cursor]
        if row.is_folder:
            self.enter_folder()
        else:
            self.post_message(self.Chosen(row.path, enter=True))

    def cycle_filter(self) -> Filter:
        """All files, then the changed ones, then those with something to look at; the filter that is then in force."""
        self.filter = FILTERS[(FILTERS.index(self.filter) + 1) % len(FILTERS)]
        self._headline()
        self._relist(self.selected)
        return self.filter

    def show_progress(self, decided: int, total: int) -> None:
        """How many hunks of all files are decided."""
        self._progress = f"{decided}/{total}" if total else ""
        self._headline()

    def _headline(self) -> None:
        shown = "decided" if self.filter == "all" else f" {self.filter}"
        self.headline(f"{self._progress} {shown}" if self._progress or self.filter != "all" else "")

    def move(self, count: int) -> None:
        super().move(count)
        if self._rows and not self._rows[self.cursor].is_folder:
            self.post_message(self.Chosen(self._rows[self.cursor].path))

    def line_count(self) -> int:
        return len(self._rows) or 1

    def identity(self, index: int) -> Hashable:
        return self._rows[index] if self._rows else ("", self.note, self.filter)

    def draw(self, index: int) -> Drawn:
        styles = self.styles_of_app
        if not self._rows:
            note = self.note if self.filter == "all" else f"no file is {FILTER_NAMES[self.filter]} (f: the next filter)"
            return Drawn([Segment(f" {note}", styles["muted"])])
        row = self._rows[index]
        width = self.scrollable_content_region.width
        mark = ("▾ " if row.is_open else "▸ ") if row.is_folder else "  "
        badge = row.badge.text if row.badge else ""
        room = max(1, width - 2 * row.depth - len(mark) - cell_len(badge) - 2)
        name = clean(row.name).replace("\n", "?").replace("\t", "?")
        if cell_len(name) > room:
            from rich.cells import set_cell_size

            name = set_cell_size(name, room - 1).rstrip() + "…"
        if row.badge is not None:
            style = "strong" if row.badge.undecided else "text"
        else:
            style = "text" if row.is_folder and row.changed else "muted"
        segments = [
            Segment(" " * (2 * row.depth), None),
            Segment(mark, styles["faint"]),
            Segment(name, styles[style]),
        ]
        if row.badge is not None:
            gap = width - 2 * row.depth - len(mark) - cell_len(name) - cell_len(badge) - 1
            segments.append(Segment(" " * max(1, gap)))
            for number, (text, colour) in enumerate(row.badge.pieces):
                segments.append(Segment(" " if number else ""))
                segments.append(Segment(text, styles[colour]))
        return Drawn(segments)

    def _relist(self, path: str) -> None:
        self._rows = self._tree.rows(self._opened, self.filter)
        self.cursor = next((index for index, row in enumerate(self._rows) if row.path == path), self.cursor)
        self.resize_to_lines()
