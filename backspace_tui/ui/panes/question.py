"""The open question above the prompt line: its options are chosen by number or with the arrows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import Static

from backspace_tui.core import events as ev
from backspace_tui.core.terminal_text import clean
from backspace_tui.ui.panes.transcript import broken

if TYPE_CHECKING:
    from backspace_tui.ui.window import BackspaceApp

_EDGES = 4
"""Columns of the border and the space inside it."""


class Row(NamedTuple):
    """One line of the question; ``option`` counts from 1, and is 0 for the question itself."""

    text: str
    option: int = 0
    first: bool = True


def rows_of(question: str, options: Sequence[str], width: int, height: int) -> list[Row]:
    """The question and its options in ``height`` lines: the options go before the question, what is cut shows ``…``."""
    asked = [piece for line in clean(question).strip().expandtabs(4).split("\n") for piece in _broken(line, width)]
    offered = [_broken(" ".join(clean(option).split()), width - 2) for option in options]
    if height - sum(map(len, offered)) < min(len(asked), 2):
        offered = [_cut(pieces, 1, width - 2) for pieces in offered]
    asked = _cut(asked, max(1, height - sum(map(len, offered))), width)
    rows = [Row(line) for line in asked]
    for number, pieces in enumerate(offered, start=1):
        rows += [Row(line, number, at == 0) for at, line in enumerate(pieces)]
    if len(rows) > max(2, height):
        rows[max(1, height - 1) :] = [Row(f"… {len(options)}")]
    return rows


def _broken(line: str, width: int) -> list[str]:
    return broken(line, max(8, width), words=True)


def _cut(lines: list[str], most: int, width: int) -> list[str]:
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], lines[most - 1][: max(1, width - 2)].rstrip() + " …"]


class QuestionBar(Static, can_focus=True):
    """Hidden while nothing is asked. With the focus, numbers choose, and letters begin an answer of one's own."""

    class Chosen(Message):
        """An option was chosen."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Pasted(Message):
        """An answer was begun with this text."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)
        self.question: ev.Question | None = None
        self.edit_key = ""
        self.prompt_keys: tuple[str, ...] = ()
        self.display = False
        self._at = 0

    def ask(self, question: ev.Question | None) -> bool:
        """Show this question, or none; whether that is another one."""
        if question == self.question:
            return False
        self.question, self._at = question, 0
        self.display = question is not None
        self.fit()
        return True

    @property
    def is_plan(self) -> bool:
        """Whether the plan waits for the user's word."""
        return self.question is not None and self.question.about == "plan"

    def fit(self) -> None:
        """Draw it for the screen's size."""
        if self.question is None:
            return
        columns, height = self.app.size
        styles = cast("BackspaceApp", self.app).line_styles
        room = max(3, min(height * 6 // 10, height - 6))
        text = Text()
        for row in rows_of(self.question.question, self.question.options, columns - _EDGES, room):
            text.append("\n" if text else "")
            if not row.option:
                text.append(row.text, styles["strong"])
                continue
            text.append(f"{row.option} " if row.first else "  ", styles["key"])
            text.append(row.text, styles["accent" if row.option == self._at else "text"])
        self.border_subtitle = Text(self._hint())
        self.update(text)

    def _hint(self) -> str:
        options = self.question.options if self.question is not None else ()
        if self.is_plan:
            return f"{_span(options)}   {self.edit_key}: edit the plan   or type what should change"
        return f"{_span(options)}   or type an answer of your own" if options else "type your answer"

    def meaning(self, typed: str) -> str:
        """What a typed answer means: an option's number stands for the option."""
        options = self.question.options if self.question is not None else ()
        if typed.isdecimal() and typed not in options and 0 < int(typed) <= len(options):
            return options[int(typed) - 1]
        return typed

    def is_text(self, event: events.Key) -> bool:
        """Whether a key begins an answer of one's own: it chooses nothing and edits nothing."""
        options = self.question.options if self.question is not None else ()
        character = event.character or ""
        chooses = character.isdecimal() and 0 < int(character) <= len(options)
        kept = (*self.prompt_keys, self.edit_key if self.is_plan else "")
        return event.is_printable and not chooses and event.key not in kept

    def on_key(self, event: events.Key) -> None:
        options = self.question.options if self.question is not None else ()
        character = event.character or ""
        if event.key in ("up", "down") and options:
            step = 1 if event.key == "down" else -1
            self._at = (self._at - 1 + step) % len(options) + 1 if self._at else (1 if step > 0 else len(options))
            self.fit()
        elif event.key == "enter":
            if self._at:
                self.post_message(self.Chosen(options[self._at - 1]))
        elif character.isdecimal() and 0 < int(character) <= len(options):
            self.post_message(self.Chosen(options[int(character) - 1]))
        else:
            return
        event.stop()
        event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        if lines := event.text.splitlines():
            self.post_message(self.Pasted(lines[0]))


def _span(options: Sequence[str]) -> str:
    return "1: choose" if len(options) == 1 else f"1-{len(options)}: choose"
