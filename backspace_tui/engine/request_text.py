"""What a session's commit and pull request tell, gathered from its log and trees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from backspace_tui.core import events as ev
from backspace_tui.core.hunks import added_removed
from backspace_tui.core.request_text import ChangedFile, Work
from backspace_tui.core.state import SessionState
from backspace_tui.core.trees import FileChange
from backspace_tui.engine.job import Job
from backspace_tui.sessions.review import review


def work(job: Job, state: SessionState, events: list[ev.AnyEvent]) -> Work:
    """The accepted work as it stood in ``state``, after ``events``."""
    follow_ups = [
        event.text for event in events if isinstance(event, ev.Message) and event.kind == "prompt" and not event.about
    ]
    replies = [event.text for event in events if isinstance(event, ev.Message) and event.kind == "reply"]
    shown = review(job.objects, state)
    reasons = _reasons(events)
    accepted = sum(item.state == "accepted" for file in shown.files for item in file.hunks)
    verdict = state.verdict
    whys = {
        file.path: _joined(reasons.get(item.why, "") for item in file.hunks if item.state == "accepted")
        for file in shown.files
    }
    return Work(
        prompts=(job.started.prompt, *follow_ups),
        summary=replies[-1] if replies else "",
        files=tuple(
            _file(job, change, whys.get(change.path, ""))
            for change in job.objects.changes(state.base_tree, state.accepted_tree)
        ),
        verdict=verdict.verdict if verdict else "not verified",
        command=verdict.command if verdict else "",
        base_failed=state.baseline is not None and state.baseline.exit_code != 0,
        accepted=accepted,
        left_out=shown.total - accepted,
        models=tuple(dict.fromkeys(event.model for event in events if isinstance(event, ev.ModelReplied))),
        unseen=unattended(job.started, events),
    )


def unattended(started: ev.SessionStarted, events: Sequence[ev.AnyEvent]) -> bool:
    """Whether ``--accept`` alone ended the review; whoever reviews later decides for themselves."""
    reviews = [event for event in events if isinstance(event, ev.StageFinished) and event.stage == "review"]
    return started.accept != "none" and not started.interactive and len(reviews) == 1


def _file(job: Job, change: FileChange, why: str) -> ChangedFile:
    what = "added" if change.old is None else "deleted" if change.new is None else "changed"
    added, removed = added_removed(diff) if (diff := job.objects.sides(change)[2]) else (0, 0)
    return ChangedFile(change.path, what, added, removed, why)


def _joined(reasons: Iterable[str]) -> str:
    return " ".join(dict.fromkeys(reason for reason in reasons if reason))


def _reasons(events: list[ev.AnyEvent]) -> dict[int, str]:
    """By an edit's ``seq``, what the agent said in the turn that made it, as far as it said anything."""
    said = ""
    by_call: dict[str, str] = {}
    reasons: dict[int, str] = {}
    for event in events:
        match event:
            case ev.ModelReplied(stage="implement"):
                said = event.text.strip() or said
                by_call = {call.id: said for call in event.tool_calls}
            case ev.FileEdit() if event.by in by_call:
                reasons[event.seq] = by_call[event.by].split("\n\n")[0]
            case _:
                pass
    return reasons
