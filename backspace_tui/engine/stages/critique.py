"""Critique: the work against the request and the plan, before the human's review."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ChatMessage, ModelRequest
from backspace_tui.core.stages import MAX_REVISIONS
from backspace_tui.core.terminal_text import clean, clip
from backspace_tui.core.trees import EXECUTABLE, REGULAR, Entry, FileChange
from backspace_tui.engine.context import heard_text
from backspace_tui.engine.digest import section
from backspace_tui.engine.fitting import FULL, estimated
from backspace_tui.engine.job import Job, StageResult
from backspace_tui.engine.reached import Changed, reach
from backspace_tui.engine.tools.base import shown
from backspace_tui.engine.turns import ask_again, ask_text

DIFF_LIMIT: Final = 60_000
SAID_LIMIT: Final = 8_000
TEXTS_LIMIT: Final = 30_000_000
"""Bytes of the files in which new names are looked for."""

LEAST: Final = 300
"""Characters of a file's diff below which it is not worth showing."""

NAMED: Final = 50
REPAIR = "Answer again. The first line is APPROVE or REVISE and nothing else; after REVISE say what to mend."


def run(job: Job) -> StageResult:
    """Approve, or send the work back with feedback; without any change there is nothing to send back."""
    if job.state.work_tree == job.state.base_tree:
        return StageResult("ok", "nothing was changed")
    if feedback := _given(job):
        return StageResult("revise", feedback[:200])
    case = _Case(job)
    request = _fitting(job, case)
    answer = ask_text(job, "critique", request, case.text)
    approved, feedback = verdict(answer)
    if approved is None:
        approved, feedback = verdict(ask_again(job, "critique", request, answer, REPAIR, case.text))
    if approved is False and job.state.revisions < MAX_REVISIONS:
        job.recorder.emit(ev.Message(role="program", kind="feedback", text=job.parts.redactor.redact(clean(feedback))))
        return StageResult("revise", feedback[:200])
    return StageResult("ok", "approved" if approved else "not approved; the review is yours")


def _given(job: Job) -> str:
    """The feedback that this critique gave before a crash, or an empty string."""
    for event in reversed(job.recorder.events):
        if isinstance(event, ev.StageFinished):
            break
        if isinstance(event, ev.Message) and event.kind == "feedback" and not event.about:
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


class _Case:
    """What the critique is given; all of it but the diff is short."""

    def __init__(self, job: Job) -> None:
        state, redact = job.state, job.parts.redactor.redact
        changes = job.objects.changes(state.base_tree, state.work_tree)
        self._diffs = [(shown(change.path), redact(clean(job.objects.sides(change)[2]))) for change in changes]
        before = [
            f"# Request\n{_prompts(job)}",
            *section("# What the user said meanwhile", clip(_said(job), SAID_LIMIT)),
            f"# Plan\n{state.plan or '(none)'}",
            *section("# Your earlier feedback, which the agent has worked on since", _earlier(job)),
        ]
        after = section("# New files, functions and classes, and which files mention them", _reached(job, changes))
        self._before, self._after = redact("\n\n".join(before)), redact("\n\n".join(after))

    def text(self, limit: int = 0) -> str:
        """The request, in about ``limit`` characters if one is given: it is the diff that is cut."""
        others = len(self._before) + len(self._after)
        room = min(DIFF_LIMIT, max(limit - others, 0)) if limit else DIFF_LIMIT
        return "\n\n".join(filter(None, (self._before, f"# Changes\n{fair(self._diffs, room)}", self._after)))


def _fitting(job: Job, case: _Case) -> str:
    """The request, so long as the model's window allows."""
    text = case.text()
    opening = (ChatMessage("system", job.parts.prompts["critique"]), ChatMessage("user", text))
    estimate = estimated(job, ModelRequest(opening, "critique"))
    full = estimate.window * FULL
    return case.text(int(len(text) * full / estimate.tokens_in)) if 0 < full < estimate.tokens_in else text


def fair(diffs: Sequence[tuple[str, str]], limit: int) -> str:
    """The diffs of files (their paths and texts) in about ``limit`` characters.

    Short ones stay whole, and what they leave is shared by the long ones; where nothing much is left, files are only
    named.
    """
    share = limit
    left, count = limit, len(diffs)
    for length in sorted(len(text) for _, text in diffs):
        share = left // count
        if length > share:
            break
        left, count = left - length, count - 1
        share = max(share, length)
    told = list(diffs) if share >= LEAST else list(diffs[: limit // LEAST])
    parts = [f"--- {path}\n{clip(text, max(share, LEAST))}" for path, text in told]
    if rest := [path for path, _ in diffs[len(told) :]]:
        parts.append(
            f"({len(rest)} more files changed: {', '.join(rest[:NAMED])}{' ...' if len(rest) > NAMED else ''})"
        )
    return "\n".join(part.rstrip("\n") for part in parts)


def _prompts(job: Job) -> str:
    follow_ups = [
        event.text
        for event in job.recorder.events
        if isinstance(event, ev.Message) and event.kind == "prompt" and not event.about
    ]
    return "\n\n".join([job.started.prompt, *follow_ups])


def _said(job: Job) -> str:
    """What the user steered, rejected and commented."""
    said = []
    for event in job.recorder.events:
        match event:
            case ev.Message(role="user", kind="steer") | ev.Decision() | ev.GitOperation():
                said.append(clip(heard_text(event), 1_500))
            case _:
                pass
    return "\n\n".join(filter(None, said))


def _earlier(job: Job) -> str:
    """What the last critique of the same request found."""
    last = ""
    for event in job.recorder.events:
        match event:
            case ev.Message(kind="prompt"):
                last = ""
            case ev.Message(kind="feedback", about="", text=text):
                last = text
            case _:
                pass
    return clip(last, 4_000)


def _reached(job: Job, changes: Sequence[FileChange]) -> str:
    files, texts, left = [], {}, TEXTS_LIMIT
    for change in changes:
        if _plain(job, change.new):
            old = job.objects.blob(change.old.oid) if change.old is not None and _plain(job, change.old) else None
            new = job.objects.blob(change.new.oid) if change.new is not None else b""
            files.append(Changed(change.path, old, new))
    for path, entry in job.objects.entries(job.state.work_tree).items():
        if _plain(job, entry) and job.objects.size(entry.oid) <= left:
            texts[path] = job.objects.blob(entry.oid)
            left -= len(texts[path])
    return clean("\n".join(reach(files, texts)))


def _plain(job: Job, entry: Entry | None) -> bool:
    return entry is not None and entry.mode in (REGULAR, EXECUTABLE) and job.objects.size(entry.oid) < 200_000
