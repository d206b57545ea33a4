"""Back to the files of an earlier step."""

from __future__ import annotations

from collections.abc import Iterable

from backspace_tui.core import events as ev
from backspace_tui.engine.job import Job

TOLD = "The user put all files back as they were at an earlier step. Read a file again before you change it."


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
