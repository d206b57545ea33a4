"""Small screens over the workspace: a text to read, a question with yes and no, a line to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from backspace_tui.ui.panes.transcript import Entry, TranscriptView


class Dialog(ModalScreen[str | None]):
    """Base: escape closes it without a result."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "Close", show=False)]

    def __init__(self, title: str, hint: str) -> None:
        super().__init__()
        self._title, self._hint = title, hint

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = Text(self._title, style="bold")
            box.border_subtitle = Text(self._hint)
            yield from self.body()

    def body(self) -> ComposeResult:
        """What is in the box."""
        raise NotImplementedError

    def action_close(self) -> None:
        self.dismiss(None)

    def action_interrupt(self) -> None:
        """Ctrl-C."""
        self.action_close()


class DialogText(TranscriptView):
    """Text in a dialog: starts at its top, as high as it needs to be."""

    follows = False

    def __init__(self, entries: Sequence[Entry], indent: int) -> None:
        super().__init__(id="text")
        self.indent = indent
        self._given = entries

    def on_mount(self) -> None:
        self.extend(self._given)

    def relayout(self, width: int) -> None:
        super().relayout(width)
        self.styles.height = max(1, len(self._rows))


class TextDialog(Dialog):
    """A text to read, by the keys of the panes; keys of ``answers`` close it with that result."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,enter", "close", "Close", show=False),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
        Binding("ctrl+d,pagedown,space", "scroll(12)", "Page down", show=False),
        Binding("ctrl+u,pageup", "scroll(-12)", "Page up", show=False),
        Binding("g,home", "scroll(-100000)", "Top", show=False),
        Binding("G,end", "scroll(100000)", "End", show=False),
    ]

    def __init__(
        self,
        title: str,
        entries: Sequence[Entry],
        *,
        indent: int = 0,
        hint: str = "escape: close",
        answers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title, hint)
        self.entries = entries
        self._indent = indent
        for keys, answer in (answers or {}).items():
            self._bindings.bind(keys, f"answer({answer!r})", show=False)

    def body(self) -> ComposeResult:
        yield DialogText(self.entries, self._indent)

    def on_mount(self) -> None:
        self._fit()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        self.query_one(DialogText).styles.max_height = max(1, self.size.height * 84 // 100 - 2)

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)

    def action_scroll(self, lines: int) -> None:
        self.query_one(DialogText).move(lines)


class ConfirmDialog(Dialog):
    """Yes or no; its result is ``yes`` or ``None``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "yes", "Yes", show=False),
        Binding("n,q", "close", "No", show=False),
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__(title, "y: yes   n: no")
        self._text = text

    def body(self) -> ComposeResult:
        yield Static(self._text, markup=False)

    def action_yes(self) -> None:
        self.dismiss("yes")


class InterruptDialog(Dialog):
    """The agent is paused; its result is ``stop``, ``leave``, ``go on``, or ``None``: it stays paused."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "answer('stop')", "Stop", show=False),
        Binding("l,q", "answer('leave')", "Leave", show=False),
        Binding("g,enter", "answer('go on')", "Go on", show=False),
    ]

    def __init__(self) -> None:
        super().__init__("The agent is paused", "s: stop   l: leave   g: go on   escape: stay paused")

    def body(self) -> ComposeResult:
        yield Static(
            "Stop its work (the review keeps what there is), leave it paused and come back later, or let it go on?",
            markup=False,
        )

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)

    def action_interrupt(self) -> None:
        """A third time is meant."""
        self.dismiss("leave")


class LineDialog(Dialog):
    """One line to write; its result is the text, ``EMPTY`` where there is none, or ``None``."""

    EMPTY: ClassVar[str | None] = None

    def __init__(self, title: str, placeholder: str, value: str = "") -> None:
        super().__init__(title, "enter: send   escape: leave it")
        self._placeholder, self._value = placeholder, value

    def body(self) -> ComposeResult:
        yield Input(self._value, placeholder=self._placeholder, compact=True, id="line")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value.strip() or self.EMPTY)
