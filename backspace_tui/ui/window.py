"""The application: themes, keys and the workspace, wired together."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Final

from msgspec.structs import replace
from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen, Screen

from backspace_tui.paths import config_file, resource_dir
from backspace_tui.ui import keymap, styles, themes
from backspace_tui.ui.launch import Launch
from backspace_tui.ui.panes.line_view import LineView
from backspace_tui.ui.screens.workspace import Workspace
from backspace_tui.ui.type_ahead import TypeAhead

_HANGUP_SECONDS: Final = 2.0


class BackspaceApp(App[int]):
    """One window on one session."""

    TITLE = "backspace-tui"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "interrupt", show=False, priority=True)]
    ENABLE_COMMAND_PALETTE = True

    def __init__(self, launch: Launch) -> None:
        found = themes.load([resource_dir("themes"), config_file().parent / "themes"])
        self._own_themes = found.themes
        super().__init__()
        self.launch = launch
        self.session = Path(launch.session).name if launch.session else ""
        self.crash: BaseException | None = None
        self.following: Launch | None = None
        self.notices = list(found.problems)
        for theme in found.themes.values():
            self.register_theme(theme)
        wanted = launch.theme or themes.DEFAULT_THEME
        if wanted not in self.available_themes:
            self.notices.append(f"[ui] theme {wanted!r} is not known; it is {themes.DEFAULT_THEME}")
            wanted = themes.DEFAULT_THEME
        if wanted in self.available_themes:
            self.theme = wanted
        self.type_ahead = TypeAhead(self)
        self.keys, problems = keymap.resolve(launch.keys)
        self.notices += problems

    # Themes

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return styles.defaults(self.current_theme)

    @property
    def line_styles(self) -> styles.Styles:
        """The styles of the panes in the theme at hand."""
        if self._styles_of != self.theme:
            self._styles = styles.Styles(self.theme_variables)
            self._styles_of = self.theme
        return self._styles

    _styles: styles.Styles
    _styles_of = ""

    # Screens

    def get_default_screen(self) -> Screen[Any]:
        return Workspace(self.launch, self.keys)

    def open_session(self, directory: Path, repository: str, title: str, *, replay: bool = False) -> None:
        """End this window, and open one on that session in its place; its process runs, unless it is replayed."""
        self.following = replace(
            self.launch,
            repository=repository,
            title=title,
            template=None,
            session=str(directory),
            replay=replay,
            at=0,
            speed=0.0,
            initial_prompt="",
            notice="",
        )
        self.exit(0)

    pressed = ""
    pressed_at = 0.0
    pressed_in_pane = False
    """The last key, when it was, by the monotonic clock, and whether it was for a pane."""
    in_key = False
    """Whether a key is being handled right now."""

    async def on_event(self, event: events.Event) -> None:
        typed = _typed(event)
        if typed is not None and (not self.screen_stack or self.type_ahead.holds(typed)):
            return
        if isinstance(event, events.Key) and self.screen_stack:
            if isinstance(self.screen, Workspace):
                self.screen.before_key(event)
            self.pressed, self.pressed_at = event.key, time.monotonic()
            self.pressed_in_pane = isinstance(self.focused, LineView)
            self.in_key = True
        try:
            await super().on_event(event)
        finally:
            self.in_key = False
        if typed is not None:
            self.type_ahead.follow(typed)

    def action_interrupt(self) -> None:
        """Ctrl-C: the workspace's, or a dialog's; it closes one that knows nothing of it."""
        from backspace_tui.ui.screens.dialogs import Dialog

        screen = self.screen
        if isinstance(screen, Workspace | Dialog):
            screen.action_interrupt()
        elif isinstance(screen, ModalScreen):
            screen.dismiss(None)
        else:
            self.exit(0)

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGHUP, signal.SIGTERM):
                loop.add_signal_handler(number, self._hang_up)

    def _hang_up(self) -> None:
        """The terminal went away: the window ends, the session does not notice."""
        timer = threading.Timer(_HANGUP_SECONDS, os._exit, (129,))
        timer.daemon = True  # a driver may hang on a terminal that is gone
        timer.start()
        self.exit(0)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        if isinstance(screen, Workspace):
            for key in keymap.KEYS:
                if keymap.applies(key, replay=self.launch.replay, read_only=self.launch.read_only):
                    shown = " ".join(keymap.split(self.keys[key.id]))

                    async def act(action: str = key.action) -> None:
                        await screen.run_action(action)

                    yield SystemCommand(key.text.capitalize(), f"{shown}   id: {key.id}", act)
        yield SystemCommand("Theme", "Choose another theme", self.action_change_theme)
        yield SystemCommand("Screenshot", "Save a picture of the screen as SVG", self.action_screenshot)

    # Errors

    def _handle_exception(self, error: Exception) -> None:
        """Textual would print pages of locals; the caller says it in one line."""
        self.crash = error
        super()._handle_exception(error)

    def _print_error_renderables(self) -> None:
        self._exit_renderables.clear()


def _typed(event: events.Event) -> events.Key | events.Paste | None:
    """``event`` if it comes from the user's hand and has not been handed to a widget yet."""
    return event if isinstance(event, events.Key | events.Paste) and not event.is_forwarded else None
