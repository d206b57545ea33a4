"""The lines at the edge of the screen: tabs, prompt and status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from backspace_tui.core.terminal_text import clean

if TYPE_CHECKING:
    from backspace_tui.ui.styles import Styles
    from backspace_tui.ui.window import BackspaceApp

PANES: Final[tuple[tuple[str, str], ...]] = (
    ("files", "Files"),
    ("diff", "Diff"),
    ("thinking", "Thinking"),
    ("sandbox", "Sandbox"),
)
_MESSAGE_SECONDS: Final = 6.0
_MARKS: Final = {"prompt": "> ", "answer": "? ", "search": "/ "}
_HINTS: Final = {"answer": "your answer", "search": ""}


class Part(NamedTuple):
    """A piece of the status line. Where there is no room, parts with a high ``rank`` go first."""

    text: str
    style: str = "muted"
    rank: int = 0


class _Bar(Widget):
    """A line that draws itself from the theme's styles."""

    @property
    def line_styles(self) -> Styles:
        return cast("BackspaceApp", self.app).line_styles


class TabBar(_Bar):
    """The names of the panes where only one of them fits."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.active = "files"

    def activate(self, pane: str) -> None:
        self.active = pane
        self.refresh()

    def render(self) -> Text:
        styles = self.line_styles
        text = Text(" ", no_wrap=True)
        for number, (pane, title) in enumerate(PANES, start=1):
            text.append(f"{number} ", styles["key"])
            text.append(title, styles["title" if pane == self.active else "muted"])
            text.append("   ")
        return text


class PromptInput(Input):
    """One line with a history."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, compact=True, select_on_focus=False)
        self._history: list[str] = []
        self._at = 0

    def remember(self, text: str) -> None:
        """Keep ``text`` for the arrow keys."""
        if not self._history or self._history[-1] != text:
            self._history.append(text)
        self._at = len(self._history)

    def on_key(self, event: events.Key) -> None:
        if event.key not in ("up", "down"):
            return
        event.stop()
        event.prevent_default()
        if not self._history:
            return
        self._at = max(0, min(self._at + (1 if event.key == "down" else -1), len(self._history)))
        self.value = self._history[self._at] if self._at < len(self._history) else ""
        self.cursor_position = len(self.value)


class PromptBar(Horizontal):
    """``> `` and the input. One input for prompts, answers and searches; :attr:`purpose` says which."""

    class Sent(Message):
        """The user entered a line."""

        def __init__(self, purpose: str, text: str) -> None:
            super().__init__()
            self.purpose, self.text = purpose, text

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.purpose = self.home = "prompt"
        self._question = 0
        self._hint = ""
        self._drafts: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        yield Static("> ", id="prompt-mark", markup=False)
        yield PromptInput(id="prompt-input")

    @property
    def input(self) -> PromptInput:
        return self.query_one("#prompt-input", PromptInput)

    def use_for(self, purpose: str) -> None:
        """Take the line for another purpose; a half-written prompt or answer comes back later."""
        if purpose == self.purpose:
            return
        if self.purpose != "search":
            self._drafts[self.purpose] = self.input.value
        self.purpose = purpose
        self.input.value = self._drafts.pop(purpose, "")
        self.input.cursor_position = len(self.input.value)
        self.query_one("#prompt-mark", Static).update(_MARKS[purpose])
        self.hint(self._hint)

    def expect(self, question: int, *, now: bool) -> None:
        """The line is for the answer to this question (0: to none), ``now`` or once it was sent or left.

        An answer that was begun for another question is not the answer to this one.
        """
        if question == self._question:
            return
        if self.purpose == "answer":
            self.input.value = ""
        self._drafts.pop("answer", None)
        self._question = question
        self.home = "answer" if question else "prompt"
        if self.purpose != "search" and (now or not question):
            self.use_for(self.home)
            self._drafts.pop("answer", None)

    def give_back(self, text: str) -> None:
        """What was sent and not taken stands in the line again, unless there is something else by now."""
        if self.purpose != "search" and not self.input.value:
            self.input.value = text
            self.input.cursor_position = len(text)

    def hint(self, text: str) -> None:
        """What stands in the empty line when it is for prompts."""
        self._hint = text
        self.input.placeholder = _HINTS.get(self.purpose, text)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        text = event.value.strip()
        purpose = self.purpose
        if purpose != "search" and text:
            self.input.remember(text)
        self.input.value = ""
        self.use_for(self.home)
        self.post_message(self.Sent(purpose, text))


class StatusBar(_Bar):
    """The status in parts; a message stands before them for some seconds."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._parts: Sequence[Part] = ()
        self._message = ""
        self._style = "warn"
        self._count = 0

    def show(self, parts: Sequence[Part]) -> None:
        """The parts, from left to right."""
        if parts != self._parts:
            self._parts = parts
            self.refresh()

    def say(self, message: str, style: str = "warn", *, seconds: float = _MESSAGE_SECONDS) -> None:
        """Show one line for a while."""
        self._message = " ".join(clean(message).split())
        self._style = style
        self._count += 1
        self.refresh()
        count = self._count
        self.set_timer(seconds, lambda: self.unsay(count))

    def unsay(self, count: int | None = None) -> None:
        """Take the message away, or only the one with this number."""
        if self._message and count in (None, self._count):
            self._message = ""
            self.refresh()

    @property
    def text(self) -> str:
        """What stands in the line."""
        return self.render().plain

    def render(self) -> Text:
        styles = self.line_styles
        text = Text(" ", no_wrap=True, overflow="ellipsis")
        message = [Part(self._message, self._style, -1)] if self._message else []
        for number, part in enumerate(fitting([*message, *self._parts], self.size.width - 2)):
            text.append("   " if number else "")
            text.append(part.text, styles[part.style])
        return text


def fitting(parts: Sequence[Part], width: int) -> list[Part]:
    """The parts that fit: the one with the highest rank goes first, the last of several."""
    kept = [part for part in parts if part.text]
    while len(kept) > 1 and sum(cell_len(part.text) + 3 for part in kept) - 3 > width:
        kept.remove(max(reversed(kept), key=lambda part: part.rank))
    return kept
