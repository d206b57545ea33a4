"""Critique: the work against the request and the plan, before the human's review."""

from __future__ import annotations

from pathlib import PurePosixPath

from backspace_tui.core import events as ev
from backspace_tui.core.stages import MAX_REVISIONS
from backspace_tui.core.terminal_text import clean, clip
from backspace_tui.core.trees import EXECUTABLE, REGULAR
from backspace_tui.engine.job import Job, StageResult
from backspace_tui.engine.tools.base import shown
from backspace_tui.engine.turns import ask_again, ask_text

DIFF_LIMIT = 60_000
REPAIR = "Answer again. The first line is APPROVE or REVISE and nothing else; after REVISE say what to mend."


def run(job: Job) -> StageResult:
    """Approve, or send the work back with feedback; without any change there is nothing to send back."""
    if job.state.work_tree == job.state.base_tree:
        return StageResult("ok", "nothing was changed")
    if feedback := _given(job):
        return StageResult("revise", feedback[:200])
    request = _request(job)
    answer = ask_text(job, "critique", request)
    approved, feedback = verdict(answer)
    if approved is None:
        approved, feedback = verdict(ask_again(job, "critique", request, answer, REPAIR))
    if approved is False and job.state.revisions < MAX_REVISIONS:
        job.recorder.emit(ev.Message(role="program", kind="feedback", text=job.parts.redactor.redact(clean(feedback))))
        return StageResult("revise", feedback[:200])
    return StageResult("ok", "approved" if approved else "not approved; the review is yours")


def _given(job: Job) -> str:
    """The feedback that this critique gave before a crash, or an empty string."""
    for event in reversed(job.recorder.events):
        if isinstance(event, ev.StageFinished):
            break
        if isinstance(event, ev.Message) and event.kind == "feedback":
            return event.text
    return ""


def verdict(answer: str) -> tuple[bool | None, str]:
    """Whether the first line says APPROVE or REVISE (``None``: neither), and the text after it."""
    first, _, rest = answer.strip().partition("\n")
    word = first.strip(" *#.:`").upper()
    if word.startswith("APPROVE"):
        return True, rest.strip()
    if word.startswith("REVISE"):
        return False, (first[len("REVISE") :].strip(" *:.") + "\n" + rest).strip() or "revise the work"
    return None, answer


def _request(job: Job) -> str:
    state = job.state
    diff, new_files = [], []
    for change in job.objects.changes(state.base_tree, state.work_tree):
        if change.old is None:
            new_files.append(change.path)
        diff.append(f"--- {shown(change.path)}\n" + clean(job.objects.sides(change)[2]))
    prompts = [
        event.text
        for event in job.recorder.events
        if isinstance(event, ev.Message) and event.kind == "prompt" and not event.about
    ]
    parts = [
        "# Request\n" + "\n\n".join([job.started.prompt, *prompts]),
        f"# Plan\n{state.plan or '(none)'}",
        f"# Changes\n{clip(''.join(diff), DIFF_LIMIT)}",
    ]
    if new_files:
        parts.append("# New files, and which files mention them\n" + _mentions(job, new_files))
    return job.parts.redactor.redact("\n\n".join(parts))


def _mentions(job: Job, new_files: list[str]) -> str:
    """Whether anything uses a new file, as far as its name tells: for the critique to judge."""
    texts = {
        path: job.objects.blob(entry.oid)
        for path, entry in job.objects.entries(job.state.work_tree).items()
        if entry.mode in (REGULAR, EXECUTABLE) and job.objects.size(entry.oid) < 200_000
    }
    lines = []
    for path in new_files[:50]:
        stem = PurePosixPath(path).stem.encode("utf-8", "surrogateescape")
        users = [other for other, data in texts.items() if other != path and stem in data]
        named = ", ".join(shown(other) for other in users[:5])
        lines.append(f"{shown(path)}: {named or 'no other file mentions it'}")
    return clean("\n".join(lines))
