"""Review: the human's stage. It costs nothing while it waits."""

from __future__ import annotations

from collections.abc import Callable

from backspace_tui.core import commands as cmd
from backspace_tui.engine import rejections, user_commands
from backspace_tui.engine.job import Job, StageResult, WaitsForPerson
from backspace_tui.engine.review import accept_all
from backspace_tui.engine.turns import wait


def run(job: Job) -> StageResult:
    """Wait for what the human wants: a follow-up, a verdict, the commit or the pull request.

    With ``--accept all`` or ``verified`` everything is accepted at once, and the work goes on; a review that is
    opened again later is the human's.
    """
    started = job.started
    automatic = started.accept != "none" and not job.stage_data("review")
    if automatic and not wanted(job):
        accept_all(job)
        if job.state.accepted_tree == job.state.base_tree:
            return StageResult("failed", "the agent changed nothing, so there is nothing to accept")
        request = started.pull_request or job.parts.settings.github is not None
        return _publish(job, "accepted all", request=request)
    rest(job, lambda: wanted(job), "waiting for your review")
    with job.recorder.changed:
        if job.state.unheard is not None:
            job.control.work.clear()
            return StageResult("revise", "follow-up")
        command = job.control.work.pop(0)
    match command:
        case cmd.Verify():
            return StageResult("ok", "verify", {"publish": "verdict", "tree": job.state.accepted_tree})
        case cmd.Publish(pull_request=pull_request):
            return _publish(job, "publish", request=pull_request)


def wanted(job: Job) -> bool:
    """Whether the human has asked for something that is not done yet."""
    return bool(job.control.work) or job.state.unheard is not None


def rest(job: Job, ready: Callable[[], bool], reason: str) -> None:
    """Wait for the human until ``ready()``; undone rejections come back into the agent's files meanwhile.

    What the user wants to run there is run first.
    """
    while True:
        rejections.put_back(job)
        user_commands.serve(job)
        if ready():
            return
        if job.exit_when_waiting:
            raise WaitsForPerson(reason)
        wait(job, lambda: ready() or bool(job.state.restorations))


def _publish(job: Job, detail: str, *, request: bool) -> StageResult:
    data = {"publish": "request" if request else "commit", "tree": job.state.accepted_tree}
    return StageResult("ok", detail, data)
