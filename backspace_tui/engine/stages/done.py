"""Done: the work stands on its branch; a follow-up or another decision reopens it."""

from __future__ import annotations

from backspace_tui.engine.job import Job, StageResult
from backspace_tui.engine.stages.review import rest, wanted


def run(job: Job) -> StageResult:
    """Wait for what comes after; a headless session ends here."""
    rest(job, lambda: wanted(job) or job.state.request_stale, "done")
    if job.state.unheard is not None:
        return StageResult("revise", "follow-up")
    # A command still waits; the review takes it up.
    return StageResult("again", "the review goes on")
