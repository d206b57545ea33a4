"""The time line of a replay: one line with the marks of the whole session and the place that is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, cast

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widget import Widget

from backspace_tui.core.playback import Kind, Marks, column_of, index_at

if TYPE_CHECKING:
    from backspace_tui.ui.window import BackspaceApp

LOOKS: Final[Mapping[Kind, tuple[str, str]]] = {
    "stage": ("┃", "title"),
    "edit": ("+", "good"),
    "command": ("$", "accent"),
    "failure": ("x", "bad"),
    "decision": ("o", "user"),
}
"""A mark's sign, so that kinds differ without colours, and its style."""

_HERE: Final = "█"
_EDGE: Final = 4
"""Columns before the bar: whether it plays."""


class TimeBar(Widget):
    """Draws the marks; a click on it, or dragging along it, asks for that place."""

    class Chosen(Message):
        """The user pointed at the event with this index."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._marks = Marks(())
        self._total = 0
        self._index = 0
        self._playing = False
        self._cells: tuple[int, list[Kind | Literal[""]]] = (0, [])

    def load(self, marks: Marks, total: int) -> None:
        """The marks of a session with ``total`` events."""
        self._marks, self._total, self._cells = marks, total, (0, [])
        self.refresh()

    def show(self, index: int, *, playing: bool) -> None:
        """The place that is shown, and whether it moves by itself."""
        if (index, playing) != (self._index, self._playing):
            self._index, self._playing = index, playing
            self.refresh()

    @property
    def columns(self) -> int:
        """Columns of the bar itself."""
        return max(1, self.size.width - _EDGE - 1)

    def render(self) -> Text:
        styles, columns = cast("BackspaceApp", self.app).line_styles, self.columns
        text = Text(no_wrap=True, overflow="crop")
        text.append(f" {'▶' if self._playing else '‖'}  ", styles["title" if self._playing else "muted"])
        if not self._total:
            return text
        if self._cells[0] != columns:
            self._cells = (columns, self._marks.bar(self._total, columns))
        here = column_of(self._index, self._total, columns)
        for column, kind in enumerate(self._cells[1]):
            if column == here:
                text.append(_HERE, styles["title"])
            elif kind:
                text.append(LOOKS[kind][0], styles[LOOKS[kind][1]])
            else:
                text.append("━" if column < here else "╌", styles["muted" if column < here else "faint"])
        return text

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.capture_mouse()
        self._point(event.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if event.button and self.app.mouse_captured is self:
            self._point(event.x)

    def on_mouse_up(self) -> None:
        self.release_mouse()

    def _point(self, x: int) -> None:
        if self._total and (x >= _EDGE or self.app.mouse_captured is self):
            self.post_message(self.Chosen(index_at(x - _EDGE, self._total, self.columns)))
