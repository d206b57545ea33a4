"""The workflow's driver: one stage after the other by the transition table, from wherever the log ends."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ModelUnavailable, RequestRefused, SandboxError, SandboxGone
from backspace_tui.core.stages import AGENT_STAGES, MAX_ATTEMPTS, Stage, backoff
from backspace_tui.core.terminal_text import clean
from backspace_tui.engine import found_secrets, user_commands
from backspace_tui.engine.job import Job, StageFailed, StageResult, Stopped, TurnPaused, WaitsForPerson
from backspace_tui.engine.stages import analyze, critique, done, implement, plan, prepare, publish, review, verify
from backspace_tui.engine.turns import boundary
from backspace_tui.repository.errors import RepositoryError
from backspace_tui.sessions.errors import SessionError, storage_error

RUN: Final[dict[Stage, Callable[[Job], StageResult]]] = {
    "prepare": prepare.run,
    "analyze": analyze.run,
    "plan": plan.run,
    "implement": implement.run,
    "critique": critique.run,
    "review": review.run,
    "verify": verify.run,
    "commit": publish.commit,
    "push": publish.push,
    "pull_request": publish.pull_request,
    "done": done.run,
}

STOPPABLE: Final = AGENT_STAGES[1:]
"""What a stop ends at once; it waits for the base to be there."""


def drive(job: Job) -> int:
    """Run stages until the session ends, stops, or waits for a person who is not there; returns the exit code."""
    try:
        user_commands.recover(job)
        failures = 0
        while True:
            stage = job.state.next_stage
            again = job.state.attempt + 1 if stage == job.state.stage else 1
            job.recorder.enter(ev.StageStarted(stage=stage, attempt=again))
            result = _run(job, stage, failures)
            _finish_stage(job, result)
            failures = failures + 1 if result.outcome == "retry" else 0
            if result.outcome == "failed":
                return _finish(job, "failed", result.detail, job.state.exit_code or 1)
            if result.outcome == "retry":
                # A stop ends the wait, and the stage itself finds it.
                job.control.cancel.wait(backoff(failures))
            refused = result.data.get("exit_code", 0)
            if refused and job.exit_when_waiting:
                return _finish(job, "failed", result.detail, refused)
    except Stopped:
        return _finish(job, "stopped", "stopped by the user", 130)
    except WaitsForPerson as waits:
        if job.state.stage == "done":
            return _finish(job, "done", "", 0)
        return _finish(job, "waiting", waits.reason, 4)


def _run(job: Job, stage: Stage, failures: int) -> StageResult:
    if stage not in AGENT_STAGES:
        # A stop that came when the agent had just ended has nothing left to stop.
        job.end_stop()
    try:
        if stage != "prepare":
            job.check_stop()
            found_secrets.learn(job)
        while True:
            try:
                return RUN[stage](job)
            except TurnPaused:
                boundary(job)
    except Stopped as stop:
        if stop.quit or stage not in STOPPABLE:
            raise
        if stage == "implement":
            implement.abandon(job)
        return StageResult("stopped", "stopped by the user")
    except WaitsForPerson:
        raise
    except (StageFailed, ModelUnavailable, RequestRefused, SandboxError, SessionError, RepositoryError) as problem:
        return _failed(job, problem, failures)
    except OSError as problem:
        return _failed(job, storage_error(problem, Path(os.fsdecode(problem.filename or job.directory))), failures)
    except Exception as problem:
        job.check_stop()
        traceback.print_exc()
        text = f"unexpected {type(problem).__name__}: {problem} (see {job.directory / 'engine.log'})"
        return _failed(job, StageFailed(text), failures)


def _failed(job: Job, problem: Exception, failures: int) -> StageResult:
    # What looks like a failure while the session ends is the end itself.
    job.check_stop()
    retryable = isinstance(problem, SandboxGone) or (isinstance(problem, StageFailed) and problem.retryable)
    retry = retryable and failures + 1 < MAX_ATTEMPTS
    exit_code = problem.exit_code if isinstance(problem, StageFailed | SessionError) else 1
    if isinstance(problem, RequestRefused):
        exit_code = 2
    message = job.parts.redactor.redact(clean(str(problem)))
    if isinstance(problem, SandboxError):
        job.workspace.discard()
    job.recorder.emit(ev.Error(message=message, exit_code=exit_code, retryable=retry))
    return StageResult("retry" if retry else "failed", message)


def _finish_stage(job: Job, result: StageResult) -> None:
    detail = job.parts.redactor.redact(clean(result.detail))
    with job.recorder.changed:
        job.recorder.emit(ev.StageFinished(outcome=result.outcome, detail=detail, data=result.data))
        if result.outcome == "stopped":
            job.end_stop()


def _finish(job: Job, outcome: str, reason: str, exit_code: int) -> int:
    job.recorder.emit(
        ev.SessionFinished(outcome=outcome, reason=reason, exit_code=exit_code)  # type: ignore[arg-type]
    )
    return exit_code
