"""Review: the human's stage. It costs nothing while it waits."""

from __future__ import annotations

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.terminal_text import clean
from backspace_tui.engine.job import Job, StageResult, WaitsForPerson
from backspace_tui.engine.review import accept_all
from backspace_tui.engine.turns import wait


def run(job: Job) -> StageResult:
    """Wait for what the human wants: a follow-up, a verdict, the commit or the pull request.

    With ``--accept all`` or ``verified`` everything is accepted at once, and the work goes on.
    """
    started = job.started
    if started.accept != "none" and not job.control.work and not job.state.verdict:
        accept_all(job)
        if job.state.accepted_tree == job.state.base_tree:
            return StageResult("failed", "the agent changed nothing, so there is nothing to accept")
        wants_request = started.pull_request or job.parts.settings.github is not None
        return StageResult("ok", "accepted all", {"publish": "request" if wants_request else "commit"})
    return next_work(job)


def next_work(job: Job) -> StageResult:
    """The outcome of the review that the next command asks for."""
    if job.exit_when_waiting and not job.control.work:
        raise WaitsForPerson("waiting for your review")
    wait(job, lambda: bool(job.control.work))
    with job.recorder.changed:
        command = job.control.work.pop(0)
    match command:
        case cmd.Say(text=text):
            job.recorder.emit(ev.Message(role="user", kind="prompt", text=job.parts.redactor.redact(clean(text))))
            return StageResult("revise", "follow-up")
        case cmd.Verify():
            return StageResult("ok", "verify", {"publish": "verdict"})
        case cmd.Publish(pull_request=pull_request):
            return StageResult("ok", "publish", {"publish": "request" if pull_request else "commit"})
