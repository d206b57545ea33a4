"""Panes that only grow: entries broken to the width, the newest ten thousand lines kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from rich.cells import cell_len, chop_cells
from rich.segment import Segment

from backspace_tui.ui.panes.line_view import Drawn, LineView

MAX_LINES: Final = 10_000
_SLACK: Final = 1_000


class Entry(NamedTuple):
    """One logical line. ``label`` (padded, in its own style) stands before the first of its broken lines."""

    text: str
    style: str = "text"
    label: str = ""
    label_style: str = "muted"


class Row(NamedTuple):
    """One line of the screen; ``number`` never repeats, so that drawings can be kept by it."""

    number: int
    text: str
    style: str
    label: str
    label_style: str


class TranscriptView(LineView):
    """Grows at its end. The last entry may be open: :meth:`stream` replaces it until :meth:`close_stream`."""

    has_cursor = False
    follows = True
    indent = 0
    words = True

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._entries: deque[Entry] = deque(maxlen=MAX_LINES)
        self._rows: list[Row] = []
        self._open: Entry | None = None
        self._open_rows = 0
        self._number = 0
        self._dropped = False

    def clear(self) -> None:
        """Forget all lines."""
        self._entries.clear()
        self._rows.clear()
        self._open, self._open_rows, self._dropped = None, 0, False
        self._at_end = True
        self.forget()
        self.resize_to_lines()

    def extend(self, entries: Iterable[Entry]) -> None:
        """Add entries before an open one."""
        new = list(entries)
        if not new:
            return
        opened = self._open
        self._cut_open()
        if len(self._entries) + len(new) > MAX_LINES:
            self._dropped = True
        self._entries.extend(new)
        width = self._width()
        for entry in new[-MAX_LINES:]:
            self._rows.extend(self._broken(entry, width))
        self._trim()
        if opened is not None:
            self._set_open(opened)
        self.resize_to_lines()

    def stream(self, entry: Entry) -> None:
        """Show ``entry`` as the last one, in place of what was streamed before."""
        self._cut_open()
        self._set_open(entry)
        self.resize_to_lines()

    def close_stream(self, *, keep: bool) -> None:
        """The open entry is complete, or void."""
        opened = self._open
        self._cut_open()
        if keep and opened is not None:
            self.extend([opened])
        else:
            self.resize_to_lines()

    def line_count(self) -> int:
        return len(self._rows)

    def identity(self, index: int) -> Hashable:
        return self._rows[index].number

    def draw(self, index: int) -> Drawn:
        row, styles = self._rows[index], self.styles_of_app
        segments = [Segment(row.text, styles[row.style])]
        if self.indent:
            segments.insert(0, Segment(row.label.ljust(self.indent), styles[row.label_style]))
        return Drawn(segments)

    def relayout(self, width: int) -> None:
        opened = self._open
        self._cut_open()
        self._rows = [row for entry in self._entries for row in self._broken(entry, self._width())]
        self._trim()
        if opened is not None:
            self._set_open(opened)

    def _width(self) -> int:
        return max(8, self.scrollable_content_region.width - self.indent)

    def _set_open(self, entry: Entry) -> None:
        self._open = entry
        rows = list(self._broken(entry, self._width()))
        self._open_rows = len(rows)
        self._rows.extend(rows)

    def _cut_open(self) -> None:
        if self._open_rows:
            del self._rows[-self._open_rows :]
        self._open, self._open_rows = None, 0

    def _trim(self) -> None:
        if len(self._rows) > MAX_LINES + _SLACK:
            self._dropped = True
            del self._rows[: len(self._rows) - MAX_LINES]
        if self._dropped and self._rows and self._rows[0].style != "faint":
            note = Entry(f"earlier lines are in the log; the newest {MAX_LINES:,} are kept here", "faint")
            self._rows[0] = next(iter(self._broken(note, 10_000)))

    def _broken(self, entry: Entry, width: int) -> Iterator[Row]:
        """The rows of ``entry``."""
        label = entry.label
        for line in entry.text.expandtabs(4).split("\n"):
            for piece in broken(line, width, words=self.words):
                self._number += 1
                yield Row(self._number, piece, entry.style, label, entry.label_style)
                label = ""


def broken(line: str, width: int, *, words: bool) -> list[str]:
    """``line`` in pieces of at most ``width`` cells, with ``words`` broken at blanks where there are any."""
    if len(line) <= width and (line.isascii() or cell_len(line) <= width):
        return [line]
    if not words:
        return chop_cells(line, width)
    pieces: list[str] = []
    current = ""
    for word in _words(line):
        if cell_len(current) + cell_len(word.rstrip()) <= width:
            current += word
            continue
        if current:
            pieces.append(current.rstrip())
        *full, current = chop_cells(word, width) or [""]
        pieces += full
    pieces.append(current.rstrip())
    return pieces


def _words(line: str) -> Iterator[str]:
    """The words of ``line`` with the blanks that follow each."""
    start = 0
    for at in islice(range(len(line)), 1, None):
        if line[at - 1] == " " and line[at] != " ":
            yield line[start:at]
            start = at
    yield line[start:]
