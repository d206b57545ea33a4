"""Replay: the same panes, stepped through a log that is only read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState
from backspace_tui.ui.feed import Feed
from backspace_tui.ui.screens.working import Working

if TYPE_CHECKING:
    from backspace_tui.sessions.timeline import Timeline

_SHOWN: Final = 3000
_BAR: Final = 12


class Replaying(Working):
    """The keys that move through time."""

    timeline: Timeline | None = None
    feed: Feed
    _step = -1
    _steps: list[int]

    def load_timeline(self) -> None:
        """Read the log in the background and show its end."""
        directory = self.directory
        assert directory is not None

        def read() -> Timeline:
            from backspace_tui.sessions.log import read_events
            from backspace_tui.sessions.timeline import Timeline

            return Timeline(read_events(directory))

        self.content_work.run(read, self._loaded)

    def _loaded(self, timeline: Timeline) -> None:
        self.timeline, self._steps = timeline, timeline.steps()
        self.desk.take(timeline.events, SessionState())
        if self._steps:
            self.show_step(len(self._steps) - 1)
        else:
            self.say("nothing happened in this session", "muted")

    def show_step(self, step: int) -> None:
        """Show the session as it was at a step."""
        assert self.timeline is not None
        step = max(0, min(step, len(self._steps) - 1))
        index = self._steps[step]
        last = self._steps[self._step] if self._step >= 0 else -1
        if index < last or index - last > _SHOWN:
            self.feed = Feed()
            self.thinking.clear()
            self.sandbox.clear()
            last = max(-1, index - _SHOWN)
        fed = self.feed.feed(self.timeline.events[last + 1 : index + 1])
        self.thinking.take(fed)
        self.sandbox.take(fed)
        self._step = step
        state = self.timeline.state_at(index)
        self.desk.rewind(state)
        done = round(_BAR * (step + 1) / len(self._steps))
        self.position = f"step {step + 1} of {len(self._steps)}|{'━' * done}{'╌' * (_BAR - done)}"
        self.state_changed(state)

    def state_changed(self, state: SessionState) -> None:
        """Show the state, and compute its review."""
        raise NotImplementedError

    def action_step(self, count: int) -> None:
        if self.timeline is not None and self._steps:
            self.show_step(self._step + count)

    def action_stage(self, direction: int) -> None:
        if self.timeline is None or not self._steps:
            return
        events = self.timeline.events
        step = self._step + direction
        while 0 < step < len(self._steps) - 1 and not isinstance(events[self._steps[step]], ev.StageStarted):
            step += direction
        self.show_step(step)
