"""The list of sessions, one a line."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple

from rich.segment import Segment
from rich.text import Text
from textual.message import Message

from backspace_tui.core.sizes import show_megabytes
from backspace_tui.core.terminal_text import visible
from backspace_tui.sessions.store import SessionInfo
from backspace_tui.sessions.table import HEADER, Row, fit
from backspace_tui.ui.panes.line_view import Drawn, LineView
from backspace_tui.ui.styles import Styles

_STATES: Final = {
    "running": "good", "new": "good", "waiting": "accent", "paused": "warn", "interrupted": "warn", "failed": "bad",
    "broken": "bad",
}  # fmt: skip
_VERDICTS: Final = {"passes": "good", "as before": "warn", "fails": "bad"}
_COLUMNS: Final = {"title": "text", "cost": "text", "hunks": "text", "request": "accent"}


class Shown(NamedTuple):
    """A session and its cells."""

    info: SessionInfo
    cells: Row


class SessionList(LineView):
    """Draws what is on the screen alone, whatever the number of sessions."""

    TITLE = "Sessions"

    class Moved(Message):
        """The cursor is on another session."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._rows: Sequence[Shown] = ()
        self._note = "reading the sessions ..."
        self._columns = fit((), None)

    @property
    def selected(self) -> SessionInfo | None:
        """The session at the cursor."""
        return self._rows[self.cursor].info if self._rows else None

    def show(self, rows: Sequence[Shown], note: str) -> None:
        """Show these, the cursor where it was; ``note`` stands for none at all."""
        here = self.selected
        same = [(row.info.id, row.cells) for row in rows] == [(row.info.id, row.cells) for row in self._rows]
        self._rows, self._note = rows, note
        if here is not None:
            ids = [row.info.id for row in rows]
            self.cursor = ids.index(here.id) if here.id in ids else min(self.cursor, max(0, len(ids) - 1))
        if not same:
            self.relayout(self.scrollable_content_region.width)
            self.forget()
            self.resize_to_lines()
            self.go_to(self.cursor)
        self.refresh()

    @property
    def header(self) -> str:
        """The names of the columns, above them."""
        return self._columns.line(HEADER) if self._rows else ""

    def relayout(self, width: int) -> None:
        self._columns = fit([row.cells for row in self._rows], max(1, width - 2), without=("id",))
        self.post_message(self.Moved())

    def cursor_moved(self) -> None:
        self.post_message(self.Moved())

    def line_count(self) -> int:
        return len(self._rows) or 1

    def identity(self, index: int) -> Hashable:
        return (self._rows[index].info.id, self._rows[index].cells) if self._rows else self._note

    def draw(self, index: int) -> Drawn:
        styles = self.styles_of_app
        if not self._rows:
            return Drawn([Segment(f" {self._note}", styles["muted"])])
        info, cells = self._rows[index]
        segments = [Segment(" ")]
        for number, name in enumerate(self._columns.widths):
            text = getattr(cells, name)
            style = _COLUMNS.get(name, "muted")
            if name == "state":
                style = _STATES.get(info.status, "muted")
            elif name == "verdict":
                style = _VERDICTS.get(text, "muted")
            segments += [Segment("  " if number else ""), Segment(self._columns.cell(name, text), styles[style])]
        return Drawn(segments)


def details(info: SessionInfo, found: str, styles: Styles) -> Text:
    """A session in three lines; ``found`` is where a search hit it."""
    summary = info.summary
    text = Text(no_wrap=True, overflow="ellipsis")
    prompt = " ".join(summary.prompt.split()) if summary is not None else info.title
    text.append(visible(prompt)[:400] + "\n", styles["text"])
    facts = [info.id, visible(info.repository)]
    if summary is not None:
        facts.append(show_megabytes(summary.size))
    text.append("   ".join(facts) + "\n", styles["muted"])
    more = []
    if summary is not None and summary.request:
        more.append(visible(summary.request))
    elif summary is not None and summary.branch:
        more.append(visible(summary.branch))
    if summary is not None and summary.uncommitted:
        more.append("accepted work is in no commit")
    if found:
        more.append(f"found: {found}")
    text.append("   ".join(more), styles["accent"])
    return text
