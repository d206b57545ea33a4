"""A virtualised view of lines: only what is on the screen is drawn, and what was drawn is kept."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.cache import LRUCache
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

if TYPE_CHECKING:
    from backspace_tui.ui.styles import Styles
    from backspace_tui.ui.window import BackspaceApp

_CACHED_LINES: Final = 2000
_SHIFT: Final = 8


class Drawn(NamedTuple):
    """One line: its pieces, and what fills the rest of the width."""

    segments: list[Segment]
    fill: Style | None = None


class LineView(ScrollView, can_focus=True, inherit_bindings=False):
    """Base of the panes; keys are the workspace's alone. A subclass says how many lines it has and draws one of them.

    Lines are drawn again only when :meth:`identity` says that they differ, when the width or the theme changed, or
    after :meth:`forget`. With :attr:`follows` the view stays at its end while lines arrive, until it is
    scrolled up.
    """

    TITLE = ""
    has_cursor = True
    follows = False

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, classes="pane")
        self.cursor = 0
        self.query_text = ""
        self._strips: LRUCache[Hashable, Strip] = LRUCache(_CACHED_LINES)
        self._at_end = True
        self._base: Style | None = None
        self.headline("")

    # What a subclass provides

    def line_count(self) -> int:
        """How many lines there are."""
        raise NotImplementedError

    def draw(self, index: int) -> Drawn:
        """The line at ``index``; anything from files or agents must have been cleaned."""
        raise NotImplementedError

    def identity(self, index: int) -> Hashable:
        """What the drawing of the line depends on."""
        return index

    def relayout(self, width: int) -> None:
        """The width changed: break lines anew, where lines are broken."""

    def cursor_moved(self) -> None:
        """The cursor stands elsewhere."""

    # What the workspace uses

    @property
    def styles_of_app(self) -> Styles:
        """The theme's styles."""
        return cast("BackspaceApp", self.app).line_styles

    def headline(self, text: str) -> None:
        """Show ``text`` beside the pane's title."""
        title = Text(self.TITLE, style="bold")
        if text:
            title.append(f"  {text}", style="not bold")
        self.border_title = title

    def forget(self) -> None:
        """Everything must be drawn again."""
        self._strips.clear()
        self.refresh()

    def resize_to_lines(self, *, changed: bool = True) -> None:
        """The number of lines changed; follow the end if the reader was there."""
        count = self.line_count()
        self.cursor = max(0, min(self.cursor, count - 1))
        follow = self.follows and self._at_end
        self.virtual_size = Size(self.scrollable_content_region.width, count)
        if follow:
            self.cursor = max(0, count - 1)
            self.scroll_to(y=max(0, count - self.page_height), animate=False, force=True)
        if changed:
            self.refresh()

    @property
    def page_height(self) -> int:
        """How many lines fit."""
        return max(1, self.scrollable_content_region.height)

    def move(self, count: int) -> None:
        """Move the cursor, or scroll where there is none."""
        if not self.has_cursor:
            self.scroll_to(y=self.scroll_offset.y + count, animate=False)
            return
        self.go_to(self.cursor + count)

    def go_to(self, index: int, *, centre: bool = False) -> None:
        """Put the cursor on a line and bring it into view, with ``centre`` into the upper third."""
        last = self.line_count() - 1
        self.cursor = max(0, min(index, last))
        if not self.has_cursor:
            self.scroll_to(y=self.cursor - self.page_height // 2, animate=False)
        else:
            top, height = self.scroll_offset.y, self.page_height
            if centre and not top + 1 <= self.cursor < top + height * 2 // 3:
                self.scroll_to(y=max(0, self.cursor - height // 4), animate=False)
            elif self.cursor < top:
                self.scroll_to(y=self.cursor, animate=False)
            elif self.cursor >= top + height:
                self.scroll_to(y=self.cursor - height + 1, animate=False)
        self._at_end = self.cursor >= last
        self.cursor_moved()
        self.refresh()

    def shift(self, direction: int) -> None:
        """Scroll sideways."""
        self.shift_by(direction * _SHIFT)

    def shift_by(self, cells: int) -> None:
        """Scroll sideways by cells; panes that break their lines have nothing to do."""

    def find(self, text: str, direction: int, *, again: bool, wrap: bool = True) -> bool:
        """Go to the next line that contains ``text`` (without regard to case); ``False`` if there is none.

        With ``again`` the line at the cursor does not count, and with ``wrap`` the search goes on around the end.
        """
        self.mark(text)
        count = self.line_count()
        if not count:
            return False
        start = self.cursor if self.has_cursor else self.scroll_offset.y + self.page_height // 2
        for offset in range(1 if again else 0, count + 1):
            index = start + direction * offset
            if not wrap and not 0 <= index < count:
                return False
            if self.query_text in self.plain(index % count).casefold():
                self.go_to(index % count, centre=True)
                return True
        return False

    def mark(self, text: str) -> None:
        """Mark ``text`` wherever it is shown."""
        self.query_text = text.casefold()
        self.forget()

    def unmark(self) -> None:
        """Forget the search."""
        if self.query_text:
            self.query_text = ""
            self.forget()

    def plain(self, index: int) -> str:
        """The line's text, for searching."""
        return "".join(segment.text for segment in self.draw(index).segments)

    # Textual

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()
        self._base = None

    def on_resize(self, event: events.Resize) -> None:
        self.relayout(self.scrollable_content_region.width)
        self._strips.clear()
        self.resize_to_lines()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if not self.has_cursor:
            self._at_end = round(new_value) >= self.line_count() - self.page_height

    def on_click(self, event: events.Click) -> None:
        if (position := event.get_content_offset(self)) is not None and self.has_cursor:
            self.go_to(position.y + self.scroll_offset.y)

    def render_line(self, y: int) -> Strip:
        index = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        base = self._base
        if base is None:
            base = self._base = self.rich_style
        if index >= self.line_count():
            return Strip.blank(width, base)
        at_cursor = self.has_cursor and index == self.cursor
        key = (self.identity(index), at_cursor and (1 + self.has_focus), width)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._drawn(index, width, base, at_cursor=at_cursor)
            self._strips[key] = strip
        return strip

    def _drawn(self, index: int, width: int, base: Style, *, at_cursor: bool) -> Strip:
        segments, fill = self.draw(index)
        styles = self.styles_of_app
        over = styles["cursor" if self.has_focus else "cursor-blurred"] if at_cursor else None
        strip = Strip(Segment.apply_style(segments, base, over))
        rest = Style.combine([style for style in (base, fill, over) if style is not None])
        strip = strip.adjust_cell_length(width, rest)
        if self.query_text:
            strip = _marked(strip, self.query_text, styles["match"])
        return strip


def _marked(strip: Strip, query: str, style: Style) -> Strip:
    """The strip with each occurrence of ``query`` in ``style``."""
    text = strip.text
    folded = text.casefold()
    if len(folded) != len(text):  # case folding moved the columns
        return strip
    cuts: list[int] = []
    at = folded.find(query)
    while at >= 0:
        cuts += [cell_len(text[:at]), cell_len(text[: at + len(query)])]
        at = folded.find(query, at + len(query))
    if not cuts:
        return strip
    pieces = strip.divide([*cuts, strip.cell_length])
    marked = [
        Strip(Segment.apply_style(piece, None, style)) if number % 2 else piece for number, piece in enumerate(pieces)
    ]
    return Strip.join(marked)
