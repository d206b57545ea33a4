"""Ctrl-C: once pauses the agent, twice offers to stop it; where no agent works, twice leaves."""

from __future__ import annotations

import time
from typing import Final, Literal

from backspace_tui.core import commands as cmd
from backspace_tui.core.stages import AGENT_STAGES
from backspace_tui.core.state import SessionState
from backspace_tui.ui.keymap import split
from backspace_tui.ui.screens.replaying import Replaying

AGAIN: Final = 5.0
"""Seconds in which a second press means more than the first."""

Doing = Literal["works", "paused", "rests"]


def doing(state: SessionState) -> Doing:
    """What the agent does, as far as an interrupt is concerned."""
    if state.stage_now not in AGENT_STAGES or state.status not in ("running", "paused"):
        return "rests"
    return "paused" if state.paused else "works"


class Interrupting(Replaying):
    """The key that every terminal has for it."""

    _interrupted_at = float("-inf")

    def action_interrupt(self) -> None:
        if self.launch.looks_only:
            self.action_leave()
            return
        now = time.monotonic()
        again, self._interrupted_at = now - self._interrupted_at < AGAIN, now
        at_work = doing(self.desk.state) if self.directory is not None else "rests"
        if again and at_work == "rests":
            self.action_leave()
        elif at_work == "works" and not again:
            self.send(cmd.Pause(), start=False)
            go_on = split(self.keys["agent.pause"])[0]
            self.say(f"paused: the agent takes no further step   again: stop or leave   {go_on}: go on", "alert")
        elif again:
            from backspace_tui.ui.screens.dialogs import InterruptDialog

            self._interrupted_at = float("-inf")
            self.app.push_screen(InterruptDialog(), self._decided)
        elif at_work == "paused":
            self.say("the agent is paused   again: stop or leave", "alert")
        else:
            if self.focused is self.prompt.input:
                self.prompt.input.value = ""
            leave = split(self.keys["quit"])[0]
            goes_on = "; the session goes on" if self.directory is not None else ""
            self.say(f"{leave} leaves, and so does this key again{goes_on}", "muted")

    def _decided(self, answer: str | None) -> None:
        match answer:
            case "stop":
                self.send(cmd.Stop(), start=False)
            case "leave":
                self.action_leave()
            case "go on":
                # Also where the pause is on its way still: commands keep their order.
                self.send(cmd.Resume(), start=False)
            case _:
                pass
