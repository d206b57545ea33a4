"""Replay: the same panes at any point of a log that is only read."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from backspace_tui.core import events as ev
from backspace_tui.core.playback import KINDS, Kind, Marks, Texts, index_of, marks, moments, path_at
from backspace_tui.core.state import SessionState
from backspace_tui.ui.feed import Feed
from backspace_tui.ui.file_tree import FileTree
from backspace_tui.ui.panes.timebar import TimeBar
from backspace_tui.ui.panes.transcript import Entry
from backspace_tui.ui.screens.working import Working

if TYPE_CHECKING:
    from backspace_tui.sessions.timeline import Timeline

_SHOWN: Final = 3000
"""Events that the transcripts are made from where they cannot just go on."""

_SCRUB: Final = 20
"""Parts of the whole: one is as far as a key scrubs."""

_PLURAL: Final[dict[Kind | Literal[""], str]] = {
    "": "marks", "stage": "stages", "edit": "edits", "command": "commands", "failure": "failures",
    "decision": "decisions",
}  # fmt: skip


class Recording(NamedTuple):
    """A log as replay needs it, read in the background."""

    timeline: Timeline
    marks: Marks
    played: list[float]


class Replaying(Working):
    """The keys that move through time. :attr:`index` counts the events from 0."""

    timeline: Timeline | None = None
    recording: Recording
    texts: Texts | None = None
    feed: Feed
    index = -1
    speed = 1.0
    kind: Kind | Literal[""] = ""
    playing = False
    _wanted = 0
    _steps: list[int]

    def load_timeline(self) -> None:
        """Read the log in the background and show its end, or where the command line asks for."""
        directory = self.directory
        assert directory is not None

        def read() -> Recording:
            from backspace_tui.sessions.log import read_events
            from backspace_tui.sessions.timeline import Timeline

            timeline = Timeline(read_events(directory))
            return Recording(timeline, Marks(marks(timeline.events)), moments([one.time for one in timeline.events]))

        self.content_work.run(read, self._loaded)

    def _loaded(self, recording: Recording) -> None:
        self.recording, self.timeline = recording, recording.timeline
        self._steps = self.timeline.steps()
        events = self.timeline.events
        self.desk.take(events, SessionState())
        if not events:
            self.say("nothing happened in this session", "muted")
            return
        self.time_bar.load(recording.marks, len(events))
        at = self.launch.at
        if at:
            self.show_at(index_of(events, at))
        if self.launch.speed:
            self.speed = self.launch.speed
            if not at:
                self.show_at(0)
            self.action_play()
        elif not at:
            self.show_at(len(events) - 1)

    @property
    def time_bar(self) -> TimeBar:
        return self.query_one(TimeBar)

    def show_at(self, index: int) -> None:
        """Show the session as it was after the event at ``index``, or the nearest one there is."""
        assert self.timeline is not None
        events, last = self.timeline.events, self.index
        index = max(0, min(index, len(events) - 1))
        if index < last or index - last > _SHOWN:
            last = self._start_over(events, index)
        fed = self.feed.feed(events[last + 1 : index + 1])
        self.thinking.take(fed)
        self.sandbox.take(fed)
        self.index = index
        state = self.timeline.state_at(index)
        self.desk.rewind(state)
        self.refresh_position()
        if state.accepted_tree and state.work_tree:
            self.state_changed(state)
        else:
            self._wanted = 0
            self.show_nothing(state)

    def _start_over(self, events: list[ev.AnyEvent], index: int) -> int:
        """Begin the transcripts anew, and say up to where they leave out what was before."""
        self.feed = Feed()
        self.thinking.clear()
        self.sandbox.clear()
        skipped = max(0, index + 1 - _SHOWN)
        if skipped:
            self.feed.feed(events[:1])  # the models in their order
            note = Entry("earlier lines are at earlier steps", "faint")
            self.thinking.extend([note])
            self.sandbox.extend([note])
        return skipped - 1

    def show_nothing(self, state: SessionState) -> None:
        """There was no tree yet: nothing to review, no files."""
        self.desk.forget_review()
        self.files.show_progress(0, 0)
        self._tree_of = ("", -1, False, False)
        self.files.show(FileTree([], {}), "no files yet")
        self.diff.show("", (), empty="no changes yet")
        self.state_changed(state)

    def refresh_position(self) -> None:
        """Where the shown event is: on the time line and, as words, in the status line."""
        assert self.timeline is not None
        event = self.timeline.events[self.index]
        step = max(1, bisect_right(self._steps, self.index))
        clock = f"{event.time.astimezone():%H:%M:%S}"
        speed = f"{'▶ ' if self.playing else ''}{self.speed:g}x"
        self.position = f"step {step} of {len(self._steps)}|{clock}|{speed}|{_PLURAL[self.kind]}"
        self.time_bar.show(self.index, playing=self.playing)

    def state_changed(self, state: SessionState) -> None:
        """Show the state, and compute its review."""
        raise NotImplementedError

    def moved_by_hand(self, *, stop: bool = False) -> None:
        """The user went to another place: playing goes on from there, or with ``stop`` ends."""

    def go_to(self, index: int | None, *, stop: bool = False) -> None:
        """Go where a key leads; ``None`` is nowhere."""
        if index is not None:
            self.show_at(index)
            self.moved_by_hand(stop=stop)

    def action_play(self) -> None:
        """Play or pause."""
        raise NotImplementedError

    # Keys

    def action_step(self, direction: int) -> None:
        if self.timeline is not None and self._steps:
            timeline = self.timeline
            step = timeline.next_step(self.index) if direction > 0 else timeline.previous_step(self.index)
            self.go_to(self.index if step is None else step, stop=True)

    def action_stage(self, direction: int) -> None:
        if self.timeline is not None and self._steps:
            ends = len(self.timeline) - 1 if direction > 0 else 0
            stage = self.recording.marks.next(self.index, "stage", direction)
            self.go_to(ends if stage is None else stage)

    def action_scrub(self, direction: int) -> None:
        if self.timeline is not None and self._steps:
            count = len(self.timeline)
            self.go_to(self.index + direction * max(1, round(count / _SCRUB)))

    def action_ends(self, direction: int) -> None:
        if self.timeline is not None and self._steps:
            self.go_to(len(self.timeline) - 1 if direction > 0 else 0)

    def action_mark(self, direction: int) -> None:
        if self.timeline is None or not self._steps:
            return
        index = self.recording.marks.next(self.index, self.kind, direction)
        if index is None:
            where = "further on" if direction > 0 else "before this"
            self.say(f"there are no {_PLURAL[self.kind]} {where}", "muted")
            return
        self.go_to(index)
        path = path_at(self.timeline.events, index)
        if path and path != self.diff.path:
            self.show_file(path)

    def action_mark_kind(self) -> None:
        if self.timeline is not None and self._steps:
            order: tuple[Kind | Literal[""], ...] = ("", *KINDS)
            self.kind = order[(order.index(self.kind) + 1) % len(order)]
            self.refresh_position()
            self.refresh_status()

    def on_time_bar_chosen(self, message: TimeBar.Chosen) -> None:
        message.stop()
        if self.timeline is not None and message.index != self.index:
            self.go_to(message.index)
