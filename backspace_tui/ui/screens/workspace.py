"""The workspace: the log feeds the panes, the keys ask the session."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Final

from backspace_tui.core import events as ev
from backspace_tui.core.spending import MODELS, REASON
from backspace_tui.core.state import SessionState
from backspace_tui.ui.bridge import Batch, Follower, Glimpsed, LogGrew, Reviewed, Reviewer
from backspace_tui.ui.feed import Feed
from backspace_tui.ui.keymap import split
from backspace_tui.ui.panes.transcript import Entry
from backspace_tui.ui.present import hunk_views
from backspace_tui.ui.screens.interrupting import Interrupting
from backspace_tui.ui.screens.playing import Playing
from backspace_tui.ui.screens.rejoining import Rejoining

FRAME: Final = 1 / 30
_DRAIN_SECONDS: Final = 0.012


class Workspace(Interrupting, Rejoining, Playing):
    """Wires the log, the review and the panes together."""

    follower: Follower | None = None
    _begun = False
    _caught_up = False
    _drained = 0.0
    _drain_planned = False
    _reviewed_of: tuple[object, ...] = ()
    _ahead: Reviewed | None = None

    def on_mount(self) -> None:
        super().on_mount()
        self.feed = Feed()
        self.reviewer = Reviewer(self.review_work, self.post_message, self.objects)
        self._hint()
        if self.launch.session:
            self.activate("diff")
        else:
            self.prompt.input.focus()
        if self.launch.session and not self.launch.replay:
            self.follower = Follower(Path(self.launch.session), self.post_message)
        # Nothing but the first frame happens here before the first frame; git may be at work meanwhile.
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """The first frame stands: now the rest."""
        self._begun = True
        if not (gc.isenabled() or self.reviewer.computing):
            gc.freeze()
            gc.enable()
        for line in self.backspace.notices:
            self.app.notify(line, severity="warning", markup=False)
        if self.launch.notice:
            self.thinking.extend([Entry(self.launch.notice, "warn", "note")])
        if self.launch.replay:
            self.load_timeline()
        elif self.launch.session:
            self.attach(self.launch.session)
        else:
            self.list_files()
            template = self.launch.template
            if template is not None and template.models_reason:
                self.thinking.extend([Entry(template.models_reason, "muted", "model")])
            if self.launch.initial_prompt:
                self.start(self.launch.initial_prompt)
            elif template is not None:
                self.look_for_sessions(template.repository)

    def attach(self, directory: str) -> None:
        self.directory = Path(directory)
        self.backspace.session = self.directory.name
        self._caught_up = not self.launch.session
        self.connect()
        if self.follower is None:
            self.follower = Follower(self.directory, self.post_message)
        self._drain()
        self.refresh_status()
        self._hint()
        sent = self.focused is self.files and not self.launch.session
        if sent or (self.focused is self.prompt.input and not self.prompt.input.value):
            # Keys mean the panes from now on; where only one fits, the one where something happens first.
            self.activate("diff" if self.wide else "thinking")

    def on_unmount(self) -> None:
        if self.follower is not None:
            self.follower.stop()
        if self._objects is not None:
            self._objects.close()

    # The log

    def on_log_grew(self, message: LogGrew) -> None:
        """Take what has come, at most thirty times a second and never for long."""
        message.stop()
        if not self._begun:
            self._look_ahead()
            return
        wait = self._drained + FRAME - time.monotonic()
        if wait <= 0:
            self._drain()
        elif not self._drain_planned:
            self._drain_planned = True
            self.set_timer(wait, self._drain)

    def _look_ahead(self) -> None:
        """Begin with the review of what the log says so far."""
        if self.follower is not None and self.follower.batches:
            state = self.follower.batches[-1].state
            self._reviewed_of = _shown(state)
            self.reviewer.want(state)

    def answered(self, seq: int) -> None:
        if self.follower is not None:
            self.follower.hurry()
        if self.desk.busy and self.desk.state.last_seq >= seq:
            self.reviewer.want(self.desk.state, now=True)

    def _drain(self) -> None:
        self._drain_planned = False
        self._drained = time.monotonic()
        if self.follower is None:
            return
        batches = self.follower.drain(_DRAIN_SECONDS)
        if batches:
            self._take(batches)
        if self.follower.batches:
            self._drain_planned = True
            self.set_timer(FRAME, self._drain)
        elif self.follower.read_all:
            self._caught_up = True
        if (ahead := self._ahead) is not None and ahead.seq <= self.desk.state.last_seq:
            self._ahead = None
            self._show_review(ahead)

    def _take(self, batches: list[Batch]) -> None:
        events = [event for batch in batches for event in batch.events]
        self.desk.take(events, batches[-1].state)
        fed = self.feed.feed(events)
        self.thinking.take(fed)
        self.sandbox.take(fed)
        self.state_changed(batches[-1].state)
        if self._caught_up:
            for event in events:
                self._announce(event)

    def state_changed(self, state: SessionState) -> None:
        # A replay also stops between the edits that lead to one tree.
        shown = (state.edits, *_shown(state)) if self.launch.replay else _shown(state)
        if shown != self._reviewed_of or self.desk.busy:
            decided = self._reviewed_of[-1:] != shown[-1:]
            self._reviewed_of, self._wanted = shown, state.last_seq
            self.reviewer.want(state, now=decided or bool(self.desk.busy) or self.launch.replay)
            if self.desk.review is None:
                self.list_files()
        self.refresh_status()
        self._hint()

    def on_reviewed(self, message: Reviewed) -> None:
        message.stop()
        if self.launch.replay:
            # What was wanted at a place that is left by now is void, unless playing comes from there.
            if message.seq == self._wanted or (self.playing and message.seq <= self.desk.state.last_seq):
                self._show_review(message)
        elif message.seq > self.desk.state.last_seq:
            self._ahead = message
        else:
            self._show_review(message)

    def on_glimpsed(self, message: Glimpsed) -> None:
        """Something to read until the review is there; nothing can be decided before."""
        message.stop()
        if self.desk.review is None and not self.launch.replay:
            self.diff.show(message.file.path, hunk_views(message.file, {}))
        self.set_timer(FRAME, message.drawn.set)

    def _show_review(self, message: Reviewed) -> None:
        if self.desk.take_review(message.review, message.seq, message.work, message.failing):
            self.refresh_diff()
            self.list_files()
            self.refresh_status()

    def _announce(self, event: ev.AnyEvent) -> None:
        """What must not be missed, while the window is open."""
        match event:
            case ev.PrCreation():
                self.status.unsay()
                self.show_request()
            case ev.GitOperation(operation="apply", detail=detail):
                self.say(detail, "good")
            case ev.Verification(verdict="passes") if self.asked_verdict:
                self.asked_verdict = False
                self.say("verified: what is accepted passes the tests", "good")
            case ev.Verification(verdict=verdict) if verdict not in ("running", "baseline"):
                if self.asked_verdict or verdict == "newly fails":
                    self._show_verdict(event)
                self.asked_verdict = False
            case ev.Error():
                self.say(event.message, "bad")
            case ev.StageStarted(stage="review") if self._pane != "diff" and not self.wide:
                self.say("ready for your review   2: diff", "good")
            case _:
                pass

    def _show_verdict(self, event: ev.Verification) -> None:
        from backspace_tui.ui.screens.texts import verdict_entries

        self.show_tests("Verification", verdict_entries(event), event)

    def _hint(self) -> None:
        """What the empty prompt line says."""
        if self.directory is None:
            hint = f"what should be done?{self.offer}"
        elif self.desk.state.paused.startswith((REASON, MODELS)):
            hint = f"{split(self.keys['agent.pause'])[0]} lets the agent go on"
        elif self.desk.state.status in ("running", "paused"):
            hint = "steer the agent, or /command"
        else:
            hint = "ask for more, or /command"
        self.prompt.hint(f"{hint}   ({split(self.keys['help'])[0]}: keys)" if self.directory else hint)


def _shown(state: SessionState) -> tuple[object, ...]:
    """What of a state the review shows; the group of decisions comes last."""
    return (state.accepted_tree, state.work_tree, state.rejected, state.marks, state.verdicts, state.group)
