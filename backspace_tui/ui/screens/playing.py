"""Replay: playing, searching the whole session, and going on from a point of it as a new session."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from textual.timer import Timer

from backspace_tui.core.playback import Texts, faster, playing_at, until_next
from backspace_tui.ui.bridge import Forked, fork_session
from backspace_tui.ui.keymap import split
from backspace_tui.ui.screens.dialogs import LineDialog
from backspace_tui.ui.screens.replaying import Replaying

if TYPE_CHECKING:
    from collections.abc import Callable

_FRAME: Final = 1 / 30


class Playing(Replaying):
    """Time goes on by itself, by :attr:`clock`."""

    clock: Callable[[], float] = staticmethod(time.monotonic)
    _began = 0.0
    _began_at = 0
    _timer: Timer | None = None
    _looking = False
    _forking = False

    # Playing

    def action_play(self) -> None:
        if self.timeline is None or not len(self.timeline):
            return
        if self.playing:
            self._stop()
        else:
            if self.index >= len(self.timeline) - 1:
                self.show_at(0)
            self.playing = True
            self._begin_here()
        self._show_playing()

    def action_speed(self, direction: int) -> None:
        if self.timeline is not None and len(self.timeline):
            self.speed = faster(self.speed, direction)
            if self.playing:
                self._begin_here()
            self._show_playing()

    def moved_by_hand(self, *, stop: bool = False) -> None:
        if self.playing:
            if stop or self.index >= len(self.recording.played) - 1:
                self._stop()
            else:
                self._begin_here()
            self._show_playing()

    def _show_playing(self) -> None:
        self.refresh_position()
        self.refresh_status()

    def _begin_here(self) -> None:
        """From now on time is counted from the shown event."""
        self._began, self._began_at = self.clock(), self.index
        self._plan()

    def _stop(self) -> None:
        self.playing = False
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        passed = self.clock() - self._began
        wait = until_next(self.recording.played, self._began_at, self.index, passed, self.speed)
        self._timer = self.set_timer(max(wait, _FRAME), self._tick)

    def _tick(self) -> None:
        if not self.playing:
            return
        played = self.recording.played
        index = playing_at(played, self._began_at, self.clock() - self._began, self.speed)
        if index >= len(played) - 1:
            self._stop()
        if index > self.index:
            self.show_at(index)
        if self.playing:
            self._plan()
        else:
            self._show_playing()

    # Searching

    def _find(self, direction: int, *, again: bool) -> None:
        """In a replay the whole session is searched, wherever the cursor is."""
        timeline, text = self.timeline, self._search
        if not self.launch.replay:
            super()._find(direction, again=again)
            return
        if timeline is None or self._looking:
            return
        here, texts = self.index, self.texts
        self._looking = True

        def look() -> tuple[Texts, int | None]:
            known = texts if texts is not None else Texts(timeline.events)
            return known, known.find(text, here + direction if again else here, direction)

        def found(result: tuple[Texts, int | None]) -> None:
            self._looking = False
            self.texts, index = result
            if index is None:
                self.say(f"{text!r} is nowhere in this session", "muted")
                return
            if (index < here and direction > 0) or (index > here and direction < 0):
                self.say("wrapped", "muted")
            self.go_to(index, stop=True)
            self.files.mark(text)
            self.diff.mark(text)
            for pane in (self.thinking, self.sandbox):
                # What has just been told stands at the end.
                pane.find(text, -1, again=False)

        self.content_work.run(look, found)

    # Going on from here

    def action_fork(self) -> None:
        if self.timeline is None or not len(self.timeline) or self._forking:
            return
        if self.playing:
            self._stop()
            self._show_playing()
        seq = self.timeline.events[self.index].seq
        self.app.push_screen(ForkDialog(seq), lambda prompt: self._fork(seq, prompt))

    def _fork(self, seq: int, prompt: str | None) -> None:
        directory = self.directory
        if prompt is None or directory is None:
            return
        self._forking = True
        self.say("forking ...", "accent")
        self.content_work.run(lambda: self.post_message(fork_session(directory, seq, prompt)))

    def on_forked(self, message: Forked) -> None:
        """The new session runs: this window is its window from now on."""
        message.stop()
        self._forking = False
        if message.error:
            key = split(self.keys["fork"])[0]
            self.say(f"{message.error} ({key}: try again)", "bad")
            return
        started = self.desk.state.started
        directory = Path(message.directory)
        self.backspace.open_session(directory, started.repository if started else "", directory.name)


class ForkDialog(LineDialog):
    """The prompt of a new session; its result may be empty, and is ``None`` when none is wanted."""

    EMPTY = ""

    def __init__(self, seq: int) -> None:
        super().__init__(f"Fork at event {seq}", "what should be done from here? empty: go on as it was")
