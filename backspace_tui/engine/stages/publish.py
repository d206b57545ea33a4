"""Commit, push and pull request: each finds what it already did, however often it is run."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core import request_text
from backspace_tui.core.protocols import Forge, ForgeError, PullRequest
from backspace_tui.core.state import SessionState, fold
from backspace_tui.core.terminal_text import clean
from backspace_tui.engine.job import Job, StageFailed, StageResult
from backspace_tui.engine.request_text import work
from backspace_tui.repository.deliver import deliver
from backspace_tui.repository.errors import RepositoryError
from backspace_tui.repository.slug import fork_branch


def commit(job: Job) -> StageResult:
    """One commit of the accepted tree on our branch, in the session's repository and in the user's.

    It is made of the log up to the verification that allowed it, so that doing it again after a crash makes the same
    object, also when more was decided meanwhile.
    """
    state, events = _verified(job)
    prepared = job.stage_data("prepare")
    if state.accepted_tree == state.base_tree:
        raise StageFailed("nothing is accepted, so there is nothing to commit; accept a hunk first", exit_code=4)
    decisions = [event for event in events if isinstance(event, ev.Decision)]
    branch = prepared["branch"]
    if job.started.forked_from:
        branch = fork_branch(branch, job.started.session)
    made = job.repository.commit(
        state.accepted_tree,
        (state.base_commit,),
        request_text.commit_message(work(job, state, events)),
        prepared["author_name"],
        prepared["author_email"],
        decisions[-1].time,
    )
    detail = f"{made[:10]} on {branch} in {job.repository.path}"
    job.repository.update_ref(f"refs/heads/{branch}", made)
    if source := prepared["source_path"]:
        try:
            detail = deliver(Path(source), job.repository.path, made, branch, previous=job.state.commits)
        except RepositoryError as problem:
            raise StageFailed(str(problem)) from None
    job.recorder.emit(
        ev.GitOperation(operation="commit", commit=made, tree=state.accepted_tree, branch=branch, detail=detail)
    )
    return StageResult("ok", detail)


def push(job: Job) -> StageResult:
    """Bring the branch to the forge, where a pull request is wanted."""
    if job.state.publishing != "request":
        return StageResult("ok", "not asked for")
    state = job.state
    try:
        done = _forge(job).push(str(job.repository.path), state.commit, state.branch, state.commits[:-1])
    except ForgeError as problem:
        raise StageFailed(str(problem), retryable=problem.retryable) from None
    job.recorder.emit(ev.GitOperation(operation="push", commit=state.commit, branch=state.branch, detail=done))
    return StageResult("ok", done)


def pull_request(job: Job) -> StageResult:
    """Open the request, or bring the open one up to date, and write down what it says."""
    if job.state.publishing != "request":
        return StageResult("ok", "not asked for")
    state, forge, told = job.state, _forge(job), work(job, *_verified(job))
    settings = job.parts.settings.github
    request = PullRequest(
        title=request_text.title(told),
        body=request_text.body(told),
        branch=state.branch,
        base=job.stage_data("prepare")["base_branch"],
        draft=settings.draft if settings else True,
        labels=settings.labels if settings else (),
        reviewers=settings.reviewers if settings else (),
    )
    try:
        opened = forge.open_request(request)
    except ForgeError as problem:
        raise StageFailed(str(problem), retryable=problem.retryable) from None
    job.recorder.emit(
        ev.PrCreation(
            forge=forge.name,
            branch=request.branch,
            base=request.base,
            title=request.title,
            body=request.body,
            commit=state.commit,
            url=opened.url,
            number=opened.number,
            created=opened.created,
        )
    )
    for note in opened.notes:
        job.recorder.emit(ev.Message(role="program", text=job.parts.redactor.redact(clean(note))))
    return StageResult("ok", opened.url)


def _verified(job: Job) -> tuple[SessionState, list[ev.AnyEvent]]:
    """What the session was when what is published had been verified; later decisions are for the next commit."""
    events = list(job.recorder.events)
    while events and not (
        isinstance(last := events[-1], ev.StageFinished) and (last.stage, last.outcome) == ("verify", "ok")
    ):
        events.pop()
    return replace(fold(events), accepted_tree=job.published), events


def _forge(job: Job) -> Forge:
    prepared = job.stage_data("prepare")
    source = Path(prepared["source_path"]) if prepared["source_path"] else None
    return job.parts.forge(prepared["remote_url"] or None, source)
