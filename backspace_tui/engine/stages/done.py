"""Done: the work stands on its branch; a follow-up or another decision reopens it."""

from __future__ import annotations

from backspace_tui.core import commands as cmd
from backspace_tui.engine.job import Job, StageResult, WaitsForPerson
from backspace_tui.engine.stages.review import next_work
from backspace_tui.engine.turns import wait


def run(job: Job) -> StageResult:
    """Wait for what comes after; a headless session ends here."""
    if not job.control.work and not job.state.request_stale:
        if job.exit_when_waiting:
            raise WaitsForPerson("done")
        wait(job, lambda: bool(job.control.work) or job.state.request_stale)
    with job.recorder.changed:
        command = job.control.work[0] if job.control.work else None
    if isinstance(command, cmd.Say):
        return next_work(job)
    # Anything else is the review's: it finds the command still waiting.
    return StageResult("again", "the review goes on")
