"""The workspace's panes and their layout: columns where there is room, else one pane at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingsMap
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from backspace_tui.ui import status
from backspace_tui.ui.bridge import Background, Done, Failed
from backspace_tui.ui.desk import Desk
from backspace_tui.ui.keymap import bindings
from backspace_tui.ui.launch import Launch
from backspace_tui.ui.panes.bars import PANES, PromptBar, StatusBar, TabBar
from backspace_tui.ui.panes.diff import DiffView
from backspace_tui.ui.panes.files import FilesView
from backspace_tui.ui.panes.line_view import LineView
from backspace_tui.ui.panes.question import QuestionBar
from backspace_tui.ui.panes.thinking import SandboxView, ThinkingView
from backspace_tui.ui.panes.timebar import TimeBar
from backspace_tui.ui.panes.transcript import Entry

if TYPE_CHECKING:
    from backspace_tui.sessions.objects import Objects
    from backspace_tui.ui.window import BackspaceApp

WIDE: Final = 120
SMALLEST: Final = (40, 10)
SHORT: Final = 30


class WorkspaceBase(Screen[None]):
    """Composes the panes and keeps what all parts of the workspace share."""

    AUTO_FOCUS = ""
    ESCAPE_TO_MINIMIZE: ClassVar[bool] = False

    def __init__(self, launch: Launch, keys: dict[str, str]) -> None:
        super().__init__()
        self.launch, self.keys = launch, keys
        self.desk = Desk()
        self.directory = Path(launch.session) if launch.session else None
        self.position = ""
        self.splits: dict[str, str] = {}
        self._pane = "files"
        self._objects: Objects | None = None
        # Textual binds tab and ctrl+c for every screen; here they are keys like the others.
        self._bindings = BindingsMap(bindings(keys, replay=launch.replay, read_only=launch.read_only))

    @property
    def backspace(self) -> BackspaceApp:
        """The application, by its own type."""
        return cast("BackspaceApp", self.app)

    def compose(self) -> ComposeResult:
        self.files = FilesView(id="files")
        self.diff = DiffView(id="diff")
        self.thinking = ThinkingView(id="thinking")
        self.sandbox = SandboxView(id="sandbox")
        self.tabs = TabBar(id="tabs")
        self.question = QuestionBar(id="question")
        self.prompt = PromptBar(id="prompt")
        self.status = StatusBar(id="status")
        yield self.tabs
        with Horizontal(id="panes"):
            yield self.files
            yield self.diff
            with Vertical(id="side"):
                yield self.thinking
                yield self.sandbox
        if self.launch.replay:
            yield TimeBar(id="time-bar")
        yield self.question
        yield self.prompt
        yield self.status
        yield Static(id="too-small", markup=False)

    def on_mount(self) -> None:
        self.review_work = Background("review", self.post_message)
        self.content_work = Background("content", self.post_message)
        if self.launch.looks_only:
            self.prompt.display = False
        self._lay_out(*self.app.size)
        self.refresh_status()

    # Layout

    @property
    def wide(self) -> bool:
        """Whether all panes are on the screen at once."""
        return self.size.width >= WIDE

    def on_resize(self, event: events.Resize) -> None:
        self._lay_out(event.size.width, event.size.height)

    def _lay_out(self, width: int, height: int) -> None:
        tiny = width < SMALLEST[0] or height < SMALLEST[1]
        self.set_class(tiny, "tiny")
        if tiny:
            message = f"{width}x{height} is too small: make it {SMALLEST[0]}x{SMALLEST[1]}"
            self.query_one("#too-small", Static).update(message)
        self.set_class(width < WIDE, "narrow")
        self.set_class(height < SHORT, "short")
        for name, _ in PANES:
            _show(self.pane(name), width >= WIDE or name == self._pane)
        _show(self.query_one("#side"), width >= WIDE or self._pane in ("thinking", "sandbox"))
        self.tabs.activate(self._pane)
        self.question.fit()

    def pane(self, name: str) -> LineView:
        """A pane by its name."""
        return {"files": self.files, "diff": self.diff, "thinking": self.thinking, "sandbox": self.sandbox}[name]

    @property
    def active_pane(self) -> LineView:
        """The pane that keys about lines mean: the focused one, or the one that was."""
        return self.pane(self._pane)

    def activate(self, name: str, *, focus: bool = True) -> None:
        """Bring a pane to the front, where panes share the room, and focus it."""
        self._pane = name
        self._lay_out(self.size.width, self.size.height)
        if focus:
            self.pane(name).focus()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, LineView) and event.widget.id:
            self._pane = event.widget.id
            self.tabs.activate(self._pane)

    # What all parts use

    def objects(self) -> Objects:
        """The session's objects; for background threads."""
        from backspace_tui.sessions.objects import Objects

        if self._objects is None:
            assert self.directory is not None
            self._objects = Objects(self.directory / "repo.git")
        return self._objects

    def say(self, message: str, style: str = "warn") -> None:
        """One line on the status line for a while; more of them in a dialog as well."""
        first, _, rest = message.partition("\n")
        self.status.say(first, style)
        if rest:
            from backspace_tui.ui.screens.dialogs import TextDialog

            self.app.push_screen(TextDialog(first, [Entry(line, "text") for line in rest.split("\n")]))

    def refresh_status(self) -> None:
        """The status line and the open question, from the state."""
        if self.directory is None:
            template = self.launch.template
            models = template.models if template else ()
            self.status.show(status.before_session(self.launch.title, models, self.launch.notice))
            return
        self.status.show(
            status.of_session(
                self.desk.state,
                self.desk.review,
                position=self.position,
                shown=self.files.filter,
                read_only=self.launch.read_only,
            )
        )
        if not self.launch.looks_only and self.question.ask(self.desk.state.question):
            self.question_changed()

    def question_changed(self) -> None:
        """Another question is open, or none any more."""
        raise NotImplementedError

    def on_done(self, message: Done) -> None:
        message.deliver()

    def on_failed(self, message: Failed) -> None:
        self.say(message.text, "bad")


def _show(widget: Widget, shown: bool) -> None:
    if widget.display != shown:  # setting it lays the whole screen out anew
        widget.display = shown
