"""Done: the work stands on its branch; a follow-up or another decision reopens it."""

from __future__ import annotations

from backspace_tui.engine.job import Job, StageResult, WaitsForPerson
from backspace_tui.engine.stages.review import wanted
from backspace_tui.engine.turns import wait


def run(job: Job) -> StageResult:
    """Wait for what comes after; a headless session ends here."""
    if job.exit_when_waiting and not (wanted(job) or job.state.request_stale):
        raise WaitsForPerson("done")
    wait(job, lambda: wanted(job) or job.state.request_stale)
    if job.state.unheard is not None:
        return StageResult("revise", "follow-up")
    # A command still waits; the review takes it up.
    return StageResult("again", "the review goes on")
