"""The diff pane: one file's hunks with context, line numbers, syntax colours, and a cursor that selects units."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Final

from rich.segment import Segment
from textual.message import Message

from backspace_tui.ui import diff_heads, diff_lines, selection
from backspace_tui.ui.diff_anchor import Anchor, anchor, row_of
from backspace_tui.ui.diff_layout import Layout
from backspace_tui.ui.diff_rows import DiffRow, HunkView
from backspace_tui.ui.emphasis import mate
from backspace_tui.ui.highlight import Span
from backspace_tui.ui.panes.line_view import Drawn, LineView
from backspace_tui.ui.present import shown_path
from backspace_tui.ui.raw_lines import MAX_COLUMNS, matcher
from backspace_tui.ui.selection import MODES, Mode

DEFAULT_CONTEXT: Final = 3
MAX_CONTEXT: Final = 100
LEAST_PAIRED: Final = 80
"""How wide the pane must be to show both sides beside each other."""


class DiffView(LineView):
    """Shows one file at a time. A refresh keeps the cursor on the line it was on."""

    TITLE = "Diff"

    class HunkChanged(Message):
        """The cursor moved, and may be on another hunk."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.path = ""
        self.hunks: Sequence[HunkView] = ()
        self.busy: frozenset[str] = frozenset()
        self.context = DEFAULT_CONTEXT
        self.unfolded: set[str] = set()
        self.mode: Mode = "hunk"
        self.side_by_side = False
        self.emphasis = True
        self._work: Sequence[bytes | str] | None = None
        self._colours: Mapping[str, Sequence[Sequence[Span]]] = {}
        self._layout = Layout((), None, 0, ())
        self._empty = "what the agent changes shows here"
        self._left = 0
        self._digits = 3
        self._generation = 0
        self._version = 0
        self._shown = 0
        self._decided = 0
        self._busy_hunks: frozenset[str] = frozenset()
        self._range: Anchor | None = None
        self._selected: tuple[Hashable, range] = ((), range(0))

    # Content

    def show(self, path: str, hunks: Sequence[HunkView], *, empty: str = "") -> None:
        """Show ``hunks`` of ``path``; ``empty`` stands in the pane where there are none."""
        fresh = path != self.path
        if fresh:
            self.path, self._work, self._colours, self._left, self._range = path, None, {}, 0, None
        elif tuple(hunks) == tuple(self.hunks) and empty == self._empty:
            return
        kept = None if fresh else self._anchor()
        self.hunks, self._empty = hunks, empty
        self._decided = sum(not view.undecided for view in hunks)
        self._shown += 1
        self._rebuild(kept)
        if fresh:
            self.scroll_to(y=0, animate=False)
            self.cursor = 0
            self.first_hunk()

    def load(self, path: str, work: Sequence[bytes | str], spans: Mapping[str, Sequence[Sequence[Span]]]) -> None:
        """The file's lines in W and the colours of both sides (``old``, ``new``) have been read."""
        if path != self.path:
            return
        at_first = self._work is None and self.hunks
        if work is not self._work and work != self._work:
            kept = self._anchor()
            self._work = work
            self._rebuild(kept)
            if at_first:  # the context that came above the hunk is to be seen too
                self.scroll_to(y=max(0, self.cursor - self.page_height // 4), animate=False)
        self._colours = spans
        self._generation += 1
        self.forget()

    @property
    def coloured(self) -> bool:
        """Whether the file was read and lexed."""
        return bool(self._colours)

    def mark_busy(self, units: frozenset[str]) -> None:
        """The units whose decision is under way."""
        if units != self.busy:
            self.busy = units
            self._busy_hunks = frozenset(map(selection.hunk_of, units))
            self.refresh()
            self._headline()

    # Hunks

    @property
    def hunk_index(self) -> int:
        """The hunk at the cursor; between hunks the next one, and after the last the last; -1 without hunks.

        While a range is open it is the range's hunk, wherever the cursor is.
        """
        if not self.hunks:
            return -1
        if self._range is not None and (index := self._layout.index_of(self._range.hunk)) >= 0:
            return index
        return self._layout.owner(min(self.cursor, len(self._layout) - 1))

    @property
    def hunk(self) -> HunkView | None:
        """The hunk at the cursor."""
        index = self.hunk_index
        return self.hunks[index] if index >= 0 else None

    def select(self, index: int) -> None:
        """Put the cursor on the first row of a hunk; where units are smaller, on its first unit."""
        if 0 <= index < len(self.hunks):
            self._range = None
            self.go_to(self._layout.rows_of(index).start, centre=True)
            self._enter_selection()

    def select_id(self, hunk: str) -> None:
        """Put the cursor on the hunk with this id, if the file has it."""
        self.select(self._layout.index_of(hunk))

    def first_hunk(self) -> None:
        """The first hunk that is not decided, or the first."""
        self.select(next((number for number, view in enumerate(self.hunks) if view.undecided), 0))

    # Units

    @property
    def unit(self) -> str:
        """The name of what a decision at the cursor is about, as :mod:`backspace_tui.core.units` reads it."""
        index = self.hunk_index
        return selection.name(self._layout, index, self.selected) if index >= 0 else ""

    @property
    def selected(self) -> range:
        """The rows of that unit."""
        index = self.hunk_index
        if index < 0:
            return range(0)
        key = (self._version, self.cursor, self.mode, self._range, index)
        if self._selected[0] != key:
            start = self.cursor if self._range is None else row_of(self._layout, self._range)
            self._selected = key, selection.rows(self._layout, index, self.mode, start, self.cursor)
        return self._selected[1]

    @property
    def in_range(self) -> bool:
        """Whether a range is open."""
        return self._range is not None

    def cycle_unit(self) -> Mode:
        """From hunks to blocks to lines and back; the mode that is then in force."""
        self._range = None
        self.mode = MODES[(MODES.index(self.mode) + 1) % len(MODES)]
        self._enter_selection()
        self._changed_unit()
        return self.mode

    def start_range(self) -> bool:
        """Select from here to wherever the cursor goes in this hunk, or end that; whether a range is open now."""
        if self.end_range():
            return False
        view = self.hunk
        if view is None or not view.parted:
            return False
        if self.mode == "hunk":
            self.mode = "line"
        self._enter_selection()
        self._range = self._anchor()
        self._changed_unit()
        return self._range is not None

    def end_range(self) -> bool:
        """Select no range any more; whether there was one."""
        was, self._range = self._range is not None, None
        if was:
            self._changed_unit()
        return was

    def advance_unit(self) -> bool:
        """Go to the hunk's next undecided line or block, when units are such; ``False`` where it has no further one."""
        index = self.hunk_index
        if index < 0:
            return False
        taken = selection.taken(self._layout, index, self.busy)
        row = selection.following(self._layout, index, self.mode, self.selected, taken)
        self._range = None
        if row is None:
            self._changed_unit()
            return False
        self.go_to(row)
        return True

    def _enter_selection(self) -> None:
        """Where units are smaller than hunks, the cursor is on the one that is selected."""
        if self.mode != "hunk" and self.selected and self.cursor not in self.selected:
            self.go_to(self.selected.start)

    def _changed_unit(self) -> None:
        self._headline()
        self.refresh()

    # What is seen of it

    def fold(self) -> None:
        """Fold or unfold the hunk at the cursor."""
        if (view := self.hunk) is not None:
            self.unfolded ^= {view.id}
            self._rebuild(self._anchor())
            self.select_id(view.id)

    def unfold(self, hunks: Iterable[str]) -> None:
        """Unfold the hunks with these ids, as far as they are folded."""
        folded = {view.id for view in self.hunks if (view.id in self.unfolded) != view.quiet}
        if wanted := folded & set(hunks):
            self.unfolded ^= wanted
            self._rebuild(self._anchor())

    def change_context(self, lines: int) -> None:
        """More or fewer lines around each hunk."""
        self.context = max(0, min(self.context + lines, MAX_CONTEXT))
        self._rebuild(self._anchor())

    def toggle_side_by_side(self) -> bool:
        """Both sides beside each other, or below; ``False`` where the pane is too narrow to show them beside."""
        self.side_by_side = not self.side_by_side
        self._rebuild(self._anchor())
        self.refresh()
        return self._layout.paired == self.side_by_side

    def toggle_emphasis(self) -> bool:
        """Mark the words that differ, or do not; whether they are marked now."""
        self.emphasis = not self.emphasis
        self._generation += 1
        self.forget()
        return self.emphasis

    def shift_by(self, cells: int) -> None:
        self._left = max(0, min(self._left + cells, MAX_COLUMNS))
        self._headline()
        self.forget()

    # LineView

    def line_count(self) -> int:
        return len(self._layout) or 1

    def cursor_moved(self) -> None:
        self._headline()
        self.post_message(self.HunkChanged())

    def relayout(self, width: int) -> None:
        if self._layout.paired != self._can_pair():
            self._rebuild(self._anchor())

    def identity(self, index: int) -> Hashable:
        if not self._layout:
            return (self._empty, index)
        row = self._layout[index]
        view = self.hunks[row.hunk] if row.hunk >= 0 else None
        selected = view is not None and index in self.selected and row.hunk == self.hunk_index
        drawn = (row, selected, self._layout.paired, self._digits, self._generation, self._left)
        if view is None:
            return drawn
        if row.kind in ("line", "pair"):
            return (*drawn, view.state, row.position in view.rejected, row.other in view.rejected, self._mate(row))
        busy = view.hunk.id in self._busy_hunks
        return (*drawn, busy, row.hunk == self.hunk_index, self._shown, index)

    def plain(self, index: int) -> str:
        return self._layout[index].text if self._layout else ""

    def find(self, text: str, direction: int, *, again: bool, wrap: bool = True) -> bool:
        self.mark(text)
        start = self.cursor + direction if again else self.cursor
        if not self._layout:
            return False
        count = len(self._layout)
        if not 0 <= start < count:
            if not wrap:
                return False
            start %= count
        found = self._layout.find(matcher(text), start, direction, wrap=wrap)
        if found is None:
            return False
        self.go_to(found, centre=True)
        return True

    def draw(self, index: int) -> Drawn:
        styles = self.styles_of_app
        if not self._layout:
            return Drawn([Segment(f" {self._empty}", styles["muted"])])
        row = self._layout[index]
        view = self.hunks[row.hunk] if row.hunk >= 0 else None
        current = view is not None and row.hunk == self.hunk_index
        bar = Segment("▌" if current and index in self.selected else " ", styles["bar"])
        width = self.scrollable_content_region.width
        look = diff_lines.Look(styles, self._digits, self._left, width, self._colours, self.emphasis)
        if row.kind in ("line", "pair"):
            if self._layout.paired:
                pieces, fill = diff_lines.paired(look, row, view)
            else:
                pieces, fill = diff_lines.unified(look, row, view, self._mate(row))
            return Drawn([bar, *pieces], fill)
        busy = view is not None and view.hunk.id in self._busy_hunks
        if view is not None and row.kind == "fold":
            return Drawn([bar, *diff_heads.fold(look, view, row.words, busy=busy)])
        if view is not None and row.kind == "head":
            number = f"{row.hunk + 1}/{len(self.hunks)}"
            return Drawn([bar, *diff_heads.head(look, view, number, current=current, busy=busy)])
        first = row.kind == "tests" and self._layout[index - 1].kind != "tests"
        return Drawn([bar, *diff_heads.said(look, row, first=first)])

    def _mate(self, row: DiffRow) -> bytes | None:
        """The line that a changed line stands for."""
        if self._layout.paired or row.kind != "line" or row.hunk < 0 or row.sign == " ":
            return None
        lines, position = self.hunks[row.hunk].lines, row.position - 1
        other = mate(lines, *self._layout.shape(row.hunk).change_at(position), position)
        return lines[other][1] if other >= 0 else None

    def _headline(self) -> None:
        parts = [shown_path(self.path)] if self.path else []
        if self.hunks:
            parts.append(f"hunk {self.hunk_index + 1} of {len(self.hunks)}")
            parts.append(f"{self._decided}/{len(self.hunks)} decided")
        if self.mode != "hunk":
            parts.append(f"{self.mode}s" if self.in_range else f"by {self.mode}")
        if self.side_by_side:
            parts.append("side by side" if self._layout.paired else "too narrow for side by side")
        if self._left:
            parts.append(f"from column {self._left + 1}")
        self.headline("  ".join(parts))

    # Keeping the place

    def _anchor(self) -> Anchor | None:
        if not self._layout:
            return None
        return anchor(self._layout, min(self.cursor, len(self._layout) - 1), self.cursor - self.scroll_offset.y)

    def _can_pair(self) -> bool:
        return self.side_by_side and self.outer_size.width >= LEAST_PAIRED

    def _rebuild(self, kept: Anchor | None) -> None:
        work = self._work if self.hunks or self._work is not None else ()
        self._layout = Layout(
            self.hunks, work, self.context, self.unfolded, paired=self._can_pair(), previous=self._layout
        )
        self._version += 1
        self._digits = max(3, len(str(self._layout.greatest)))
        if self._range is not None and self._layout.index_of(self._range.hunk) < 0:
            self._range = None
        if kept is not None and self._layout:
            self.cursor = row_of(self._layout, kept)
            self.resize_to_lines()
            self.scroll_to(y=max(0, self.cursor - kept.below), animate=False)
        self.resize_to_lines()
        self._headline()
