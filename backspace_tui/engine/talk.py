"""What the window says to the session in words, and why a command is refused."""

from __future__ import annotations

from typing import Literal

from backspace_tui.core.stages import AGENT_STAGES
from backspace_tui.engine.job import Job


class DecisionRefused(Exception):
    """The decision cannot be made; the text is one line that says why."""


def kind_of_message(job: Job, text: str) -> Literal["steer", "prompt"]:
    """Whether a message steers an agent that works, or asks one that rests for more.

    Raises:
        DecisionRefused: the models at hand do not take such a request.
    """
    if job.state.stage_now in AGENT_STAGES and not job.control.stop:
        return "steer"
    if problem := job.parts.refuse(text):
        raise DecisionRefused(problem)
    return "prompt"
