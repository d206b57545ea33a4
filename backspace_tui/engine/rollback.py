"""Back to the files of an earlier step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import SandboxError
from backspace_tui.core.stages import AGENT_STAGES, RESTING
from backspace_tui.core.terminal_text import clean
from backspace_tui.engine.job import Job
from backspace_tui.engine.talk import DecisionRefused
from backspace_tui.repository.errors import RepositoryError

PATIENCE: Final = 30.0
"""Seconds that a roll back waits for a paused agent's turn to end."""
TOLD = "The user put all files back as they were at an earlier step. Read a file again before you change it."


@dataclass
class RollBack:
    """A roll back to the step ``seq`` that waits for the workflow's thread; ``done`` is the ``seq`` of its event."""

    seq: int
    done: int = 0
    error: str = ""


def ask(job: Job, seq: int, *, driven: bool) -> int:
    """Have the agent's files put back between two steps; returns the ``seq`` of the event that tells of it.

    Raises:
        DecisionRefused: it is no step, the agent is at work, or the files cannot be put there.
    """
    asked, changed = RollBack(seq), job.recorder.changed
    try:
        snapshot_after(job.recorder.events, seq)
    except ValueError as problem:
        raise DecisionRefused(str(problem)) from None
    if not driven:
        # Nothing else runs yet.
        carry_out(job, asked)
    with changed:
        if driven:
            if refusal := _busy(job):
                raise DecisionRefused(refusal)
            job.control.user.append(asked)
            changed.notify_all()
        if not changed.wait_for(lambda: asked.done or asked.error or job.control.quit, PATIENCE):
            asked.error = "the agent's present turn has not ended; stop the agent, then roll back"
        if asked in job.control.user:
            job.control.user.remove(asked)
            asked.error = asked.error or "the session is ending; resume it, then roll back"
        # Its turn has come: it takes no more than copying what differs.
        changed.wait_for(lambda: asked.done or asked.error)
    if asked.error:
        raise DecisionRefused(asked.error)
    return asked.done


def _busy(job: Job) -> str:
    """Why nothing can be rolled back now, in one line, or nothing."""
    state = job.state
    if job.control.quit:
        return "the session is ending; resume it, then roll back"
    running = next((e for e in reversed(job.recorder.events) if isinstance(e, ev.ToolStarted | ev.ToolFinished)), None)
    if isinstance(running, ev.ToolStarted) and (state.stage_open or running.by == "user"):
        return f"a step is running ({running.title}); wait for its end or stop it, then roll back"
    if state.stage_now in AGENT_STAGES:
        return "" if state.paused else "the agent is working; pause or stop it, then roll back"
    return "" if state.stage_now in RESTING else f"{state.stage_now} is under way; wait for its end, then roll back"


def carry_out(job: Job, asked: RollBack) -> None:
    """Roll back, and say how it went to who asked; on the workflow's thread."""
    done, error = 0, "the roll back ended unexpectedly; see the session's log"
    try:
        done = roll_back(job, asked.seq).seq
    except (ValueError, SandboxError, RepositoryError) as problem:
        error = clean(str(problem))
    finally:
        with job.recorder.changed:
            asked.done, asked.error = done, "" if done else error
            job.recorder.changed.notify_all()


def roll_back(job: Job, seq: int) -> ev.GitOperation:
    """Put every file back as it was after the step ``seq``, and log it; on the workflow's thread, between two steps.

    What the user accepted stays accepted, and what he rejected stays rejected: where it was taken out after the step,
    it is taken out again at the agent's next turn. The agent hears of all this then.

    Raises:
        ValueError: no event of that number is a step; the text is one line.
        SandboxError: the files cannot be put there.
    """
    with job.review_lock:
        tree = snapshot_after(job.recorder.events, seq)
        before = job.state.work_tree
        taken = job.workspace.roll_back(tree)
        edits = job.workspace.edits(taken.tree, "user")
        operation = ev.GitOperation(
            operation="snapshot",
            before=before,
            tree=taken.tree,
            snapshot=taken.full,
            detail=f"rolled back to step {seq}",
            decisions=_carried_out_since(job, seq),
        )
        job.recorder.emit_all([*edits, operation, ev.Message(role="program", kind="steer", text=TOLD)])
    return next(event for event in reversed(job.recorder.events) if isinstance(event, ev.GitOperation))


def snapshot_after(events: Iterable[ev.AnyEvent], seq: int) -> str:
    """The tree of every file that stood after the step ``seq``, also where that step itself changed nothing.

    A step is a finished tool call, or an operation on the agent's files; an edit belongs to the one that made it.

    Raises:
        ValueError: there is no such step.
    """
    tree = ""
    for event in events:
        match event:
            case ev.GitOperation(operation="base", ok=True):
                tree = event.tree
            case ev.ToolFinished() | ev.GitOperation(ok=True):
                tree = event.snapshot or tree
            case _:
                pass
        if event.seq >= seq:
            if tree and isinstance(event, ev.ToolFinished | ev.GitOperation):
                return tree
            if not isinstance(event, ev.FileEdit):
                break
    raise ValueError(f"{seq} is no step of this session; sessions show prints the step of each edit")


def _carried_out_since(job: Job, seq: int) -> tuple[int, ...]:
    """The rejections that stand and were carried out after the step ``seq``."""
    done = {
        decision
        for event in job.recorder.events
        if isinstance(event, ev.GitOperation) and event.operation == "rejected" and event.seq > seq
        for decision in event.decisions
    }
    rejected = job.state.rejected
    return tuple(sorted(number for number in done if number in rejected and rejected[number].applied))
