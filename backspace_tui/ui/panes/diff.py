"""The diff pane: one file's hunks with context, line numbers, syntax colours and a hunk cursor."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.message import Message

from backspace_tui.ui.diff_rows import DiffRow, HunkView, build, plain_file
from backspace_tui.ui.highlight import Span
from backspace_tui.ui.panes.line_view import Drawn, LineView
from backspace_tui.ui.present import UNDECIDED

MAX_COLUMNS: Final = 3000
DEFAULT_CONTEXT: Final = 3

_BADGES: Final[Mapping[str, tuple[str, str, str]]] = {
    "pending": ("○", "undecided", "accent"),
    "reviewed": ("◐", "reviewed, undecided", "accent"),
    "changed": ("↻", "changed since your review", "warn"),
    "accepted": ("✓", "accepted", "good"),
    "rejected": ("✗", "rejected", "bad"),
    "busy": ("…", "deciding", "muted"),
}


class DiffView(LineView):
    """Shows one file at a time. It knows hunks by id: a refresh keeps the cursor on the hunk it was on."""

    TITLE = "Diff"

    class HunkChanged(Message):
        """The cursor is on another hunk."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.path = ""
        self.hunks: Sequence[HunkView] = ()
        self.busy: frozenset[str] = frozenset()
        self.context = DEFAULT_CONTEXT
        self.unfolded: set[str] = set()
        self._work: Sequence[str] | None = None
        self._spans: dict[str, list[list[Span]]] = {}
        self._rows: list[DiffRow] = []
        self._owners: list[int] = []
        self._empty = "what the agent changes shows here"
        self._left = 0
        self._digits = 3
        self._generation = 0

    # Content

    def show(self, path: str, hunks: Sequence[HunkView], *, empty: str = "") -> None:
        """Show ``hunks`` of ``path``; ``empty`` stands in the pane where there are none."""
        fresh = path != self.path
        if fresh:
            self.path, self._work, self._spans, self._left = path, None, {}, 0
        elif tuple(hunks) == tuple(self.hunks) and empty == self._empty:
            return
        anchor = None if fresh else self._anchor()
        self.hunks, self._empty = hunks, empty
        self._rebuild(anchor)
        if fresh:
            self.scroll_to(y=0, animate=False)
            self.cursor = 0
            self.first_hunk()

    def load(self, path: str, work: Sequence[str], spans: dict[str, list[list[Span]]]) -> None:
        """The file's lines in W and the colours of both sides (``old``, ``new``) have been read."""
        if path != self.path:
            return
        at_first = self._work is None and self.hunks
        anchor = self._anchor()
        if work != self._work:
            self._work = work
            self._rebuild(anchor)
            if at_first:  # the context that came above the hunk is to be seen too
                self.scroll_to(y=max(0, self.cursor - self.page_height // 4), animate=False)
        self._spans = spans
        self._generation += 1
        self.forget()

    @property
    def coloured(self) -> bool:
        """Whether the file was read and lexed."""
        return bool(self._spans)

    def mark_busy(self, ids: frozenset[str]) -> None:
        """Hunks whose decision is under way."""
        if ids != self.busy:
            self.busy = ids
            self.refresh()
            self._headline()

    # Hunks

    @property
    def hunk_index(self) -> int:
        """The hunk at the cursor; between hunks the next one, and after the last the last; -1 without hunks."""
        return self._owners[min(self.cursor, len(self._owners) - 1)] if self._owners else -1

    @property
    def hunk(self) -> HunkView | None:
        """The hunk at the cursor."""
        index = self.hunk_index
        return self.hunks[index] if 0 <= index < len(self.hunks) else None

    def select(self, index: int) -> None:
        """Put the cursor on the first line of a hunk."""
        for number, row in enumerate(self._rows):
            if row.hunk == index:
                self.go_to(number, centre=True)
                return

    def select_id(self, hunk: str) -> None:
        """Put the cursor on the hunk with this id, if the file has it."""
        for index, view in enumerate(self.hunks):
            if view.id == hunk:
                self.select(index)
                return

    def first_hunk(self) -> None:
        """The first hunk that is not decided, or the first."""
        index = next((number for number, hunk in enumerate(self.hunks) if hunk.state in UNDECIDED), 0)
        self.select(index)

    def fold(self) -> None:
        """Fold or unfold the hunk at the cursor."""
        if (hunk := self.hunk) is not None:
            self.unfolded ^= {hunk.id}
            self._rebuild(self._anchor())
            self.select_id(hunk.id)

    def change_context(self, lines: int) -> None:
        """More or fewer lines around each hunk."""
        self.context = max(0, min(self.context + lines, 100))
        self._rebuild(self._anchor())

    def shift_by(self, cells: int) -> None:
        self._left = max(0, min(self._left + cells, MAX_COLUMNS))
        self._headline()
        self.forget()

    # LineView

    def line_count(self) -> int:
        return len(self._rows) or 1

    def cursor_moved(self) -> None:
        self._headline()
        self.post_message(self.HunkChanged())

    def identity(self, index: int) -> Hashable:
        if not self._rows:
            return (self._empty, index)
        row = self._rows[index]
        current = row.hunk >= 0 and row.hunk == self.hunk_index
        hunk = self.hunks[row.hunk] if row.hunk >= 0 else None
        busy = hunk is not None and hunk.id in self.busy
        return (row, current, busy, hunk.state if hunk else "", self._generation, self._left, len(self.hunks))

    def plain(self, index: int) -> str:
        return self._rows[index].text if self._rows else ""

    def draw(self, index: int) -> Drawn:
        styles = self.styles_of_app
        if not self._rows:
            return Drawn([Segment(f" {self._empty}", styles["muted"])])
        row = self._rows[index]
        hunk = self.hunks[row.hunk] if row.hunk >= 0 else None
        current = row.hunk >= 0 and row.hunk == self.hunk_index
        bar = Segment("▌" if current else " ", styles["bar"])
        if row.kind == "line":
            return self._line(row, hunk, bar)
        pad = Segment(" " * (2 * self._digits + 2), styles["faint"])
        if row.kind == "gap":
            return Drawn([bar, pad, Segment(f"⋯ {row.text}", styles["faint"])])
        assert hunk is not None  # every other row belongs to one
        if row.kind == "fold":
            return Drawn([bar, *self._fold(row, hunk)])
        if row.kind == "head":
            return Drawn([bar, *self._head(row, hunk, current=current)])
        if row.kind == "why":
            return Drawn([bar, pad, Segment("w: why  ", styles["faint"]), Segment(f'"{row.text}"', styles["thought"])])
        label = "comment: " if row.kind == "comment" else ""
        return Drawn([bar, pad, Segment(f"{label}{row.text}", styles["user" if label else "warn"])])

    # Drawing

    def _line(self, row: DiffRow, hunk: HunkView | None, bar: Segment) -> Drawn:
        styles, digits = self.styles_of_app, self._digits
        rejected = hunk is not None and hunk.state == "rejected" and row.sign != " "
        names = {"+": ("added",), "-": ("removed",)}.get(row.sign, ())
        ground = styles.of(*names) if names and not rejected else None
        sign_style = styles["faint"] if rejected or not names else styles[f"{names[0]}-sign"]
        old = str(row.old) if row.old else ""
        new = str(row.new) if row.new else ""
        if row.sign == "-":
            gutter = f"{old:>{digits}} {'-':>{digits}} "
        elif row.sign == "+":
            gutter = f"{'':>{digits}} {new:>{digits}}+"
        else:
            gutter = f"{old:>{digits}} {new:>{digits}} "
        text = row.text[self._left : MAX_COLUMNS + self._left]
        body = [Segment(text, styles["rejected"])] if rejected else self._coloured(row, text, ground)
        divider = Segment("│", styles.of("faint", *names) if not rejected else styles["faint"])
        gutter_style = sign_style if names else styles["faint"]
        return Drawn([bar, Segment(gutter, gutter_style), divider, *body], ground)

    def _coloured(self, row: DiffRow, text: str, ground: Style | None) -> list[Segment]:
        styles = self.styles_of_app
        plain = styles["text"] + ground if ground else styles["text"]
        side, number = ("old", row.old) if row.sign == "-" else ("new", row.new)
        table = () if row.settled else self._spans.get(side, ())
        if not 0 < number <= len(table):
            return [Segment(text, plain)]
        segments: list[Segment] = []
        at = 0
        for start, end, name in table[number - 1]:
            start, end = max(0, start - self._left), min(end - self._left, len(text))
            if end <= at:
                continue
            if start > at:
                segments.append(Segment(text[at:start], plain))
            style = styles[name]
            segments.append(Segment(text[max(at, start) : end], style + ground if ground else style))
            at = end
        if at < len(text):
            segments.append(Segment(text[at:], plain))
        return segments

    def _badge(self, hunk: HunkView) -> tuple[str, str, str]:
        return _BADGES.get("busy" if hunk.id in self.busy else hunk.state, ("?", hunk.state, "muted"))

    def _head(self, row: DiffRow, hunk: HunkView, *, current: bool) -> list[Segment]:
        styles = self.styles_of_app
        sign, words, colour = self._badge(hunk)
        rule = styles["bar" if current else "faint"]
        segments = [
            Segment("── ", rule),
            Segment(f"{sign} ", styles[colour]),
            Segment(f"{row.hunk + 1}/{len(self.hunks)} ", styles["strong" if current else "muted"]),
            Segment(words, styles[colour]),
            Segment(f"  +{hunk.added} -{hunk.removed} ", styles["muted"]),
        ]
        if hunk.protected:
            segments.append(Segment(" runs on your machine: look twice ", styles["alert"]))
        segments.append(Segment("─" * self.scrollable_content_region.width, rule))
        return segments

    def _fold(self, row: DiffRow, hunk: HunkView) -> list[Segment]:
        styles = self.styles_of_app
        _, words, colour = self._badge(hunk)
        width = self.scrollable_content_region.width
        label = f" {words} {row.text} "
        left = max(3, (width - len(label)) // 2 - 1)
        return [
            Segment("~" * left, styles["faint"]),
            Segment(label, styles[colour]),
            Segment("~" * max(3, width - left - len(label) - 2), styles["faint"]),
        ]

    def _headline(self) -> None:
        parts = [self.path] if self.path else []
        if self.hunks:
            parts.append(f"hunk {self.hunk_index + 1} of {len(self.hunks)}")
        if self._left:
            parts.append(f"from column {self._left + 1}")
        self.headline("  ".join(parts))

    # Rows

    def _anchor(self) -> tuple[str, int, int] | None:
        """The hunk at the cursor, how far into it, and how far below the top of the view."""
        index = self.hunk_index
        if index < 0:
            return None
        first = next(number for number, row in enumerate(self._rows) if row.hunk == index)
        return self.hunks[index].id, self.cursor - first, self.cursor - self.scroll_offset.y

    def _rebuild(self, anchor: tuple[str, int, int] | None) -> None:
        if self.hunks:
            self._rows = build(self.hunks, self._work, self.context, self.unfolded)
        else:
            self._rows = plain_file(self._work or ())
        self._digits = max(3, len(str(max((max(row.old, row.new) for row in self._rows), default=0))))
        self._owners = []
        if self.hunks:
            owner = len(self.hunks) - 1
            for row in reversed(self._rows):
                owner = row.hunk if row.hunk >= 0 else owner
                self._owners.append(owner)
            self._owners.reverse()
        if anchor is not None:
            hunk, offset, below = anchor
            rows = [n for n, row in enumerate(self._rows) if row.hunk >= 0 and self.hunks[row.hunk].id == hunk]
            if rows:
                self.cursor = max(0, min(rows[0] + offset, rows[-1])) if offset >= 0 else max(0, rows[0] + offset)
                self.resize_to_lines()
                self.scroll_to(y=max(0, self.cursor - below), animate=False)
        self.resize_to_lines()
        self._headline()
