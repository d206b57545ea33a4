"""Plan: a short numbered list, shown and, if the settings ask for it, approved, edited or made anew."""

from __future__ import annotations

import re
from collections.abc import Sequence

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ChatMessage, ModelRequest
from backspace_tui.core.terminal_text import clean
from backspace_tui.engine import questions
from backspace_tui.engine.job import Job, StageResult
from backspace_tui.engine.stages.analyze import briefing
from backspace_tui.engine.turns import ask, ask_again, ask_text

REPAIR = "Answer with the plan alone: a numbered list, one step a line, starting with '1. '."
ANEW = "Answer with the whole plan as it is to be now: a numbered list alone, starting with '1. '."
ABOUT = "About the plan: "
NOT_APPROVED = "the plan is not approved; say what you want instead"

_YES = re.compile(r"(?:yes|y|ok|okay)\b[\s,.;:!-]*", re.IGNORECASE)
_NO = re.compile(r"(?:no|n)[\s.!]*", re.IGNORECASE)


def run(job: Job) -> StageResult:
    """Ask for the plan; a reply in another shape gets one repair request, then the request is the only step.

    A plan that was made before a crash, or whose approval was waited for, is kept. Approval is a matter of its own:
    ``yes`` works by the plan (what follows it is told to the agent), ``no`` ends here, a numbered list takes the
    plan's place, and any other answer is a wish by which the plan is made anew and shown again.
    """
    if _last_plan(job) is None:
        _make(job)
    while job.parts.settings.workflow.approve_plan:
        plan = _last_plan(job)
        if plan is None or plan.role == "user":
            break
        answer = questions.ask(
            job, f"Work by this plan?\n{plan.text}", ("yes", "no"), about="plan", after=plan.seq
        ).strip()
        if _NO.fullmatch(answer):
            return _refused(job)
        if steps := numbered_steps(answer):
            job.recorder.emit(ev.Message(role="user", kind="plan", text=_numbered(steps)))
            break
        approved = _YES.match(answer)
        wish = answer[approved.end() :] if approved else answer
        if wish:
            _tell(job, ABOUT + wish, plan.seq)
        if approved:
            break
        _make_anew(job)
    return StageResult("ok")


def _last_plan(job: Job) -> ev.Message | None:
    """The newest plan that anybody made, if there is one."""
    for event in reversed(job.recorder.events):
        if isinstance(event, ev.Message) and event.kind == "plan" and event.text:
            return event
    return None


def _refused(job: Job) -> StageResult:
    if job.state.plan:
        # What is asked for next is not done by a plan that was refused.
        told = ev.Message(role="program", text=NOT_APPROVED)
        job.recorder.emit_all([ev.Message(role="user", kind="plan", text=""), told])
    return StageResult("stopped", "the plan is not approved")


def _tell(job: Job, text: str, since: int) -> None:
    """Say it to the agent, unless it was said before a crash."""
    for event in reversed(job.recorder.events):
        if event.seq <= since:
            break
        if isinstance(event, ev.Message) and event.kind == "steer" and event.text == text:
            return
    job.recorder.emit(ev.Message(role="user", kind="steer", text=text))


def _make(job: Job) -> None:
    (_, said), *_ = _talk(job)
    request = _request(job, said)
    answer = ask_text(job, "plan", request)
    steps = numbered_steps(answer)
    if not steps:
        steps = numbered_steps(ask_again(job, "plan", request, answer, REPAIR)) or [job.started.prompt]
    _emit(job, steps)


def _make_anew(job: Job) -> None:
    """Make the plan again, in one conversation with the plans and wishes so far; it stays if no list comes."""
    (_, before), *talk = _talk(job)
    messages = [ChatMessage("system", job.parts.prompts["plan"]), ChatMessage("user", _request(job, before))]
    for plan, said in talk:
        messages.append(ChatMessage("assistant", plan))
        messages.append(ChatMessage("user", "\n\n".join([*said, ANEW])))
    answer = ask(job, ModelRequest(tuple(messages), "plan")).text.strip()
    steps = numbered_steps(answer)
    if not steps:
        repair = [ChatMessage("assistant", answer or "(nothing)"), ChatMessage("user", REPAIR)]
        steps = numbered_steps(ask(job, ModelRequest((*messages, *repair), "plan")).text) or numbered_steps(talk[-1][0])
    _emit(job, steps)


def _request(job: Job, said: Sequence[str]) -> str:
    """The briefing with what the user has said meanwhile."""
    more = "\n\n# The user has added\n" + "\n\n".join(said) if said else ""
    return briefing(job) + more


def _talk(job: Job) -> list[tuple[str, list[str]]]:
    """Every plan so far with what the user said after it; before the first plan there is an empty one."""
    talk: list[tuple[str, list[str]]] = [("", [])]
    for event in job.recorder.events:
        match event:
            case ev.Message(kind="plan", text=text) if text:
                talk.append((text, []))
            case ev.Message(role="user", kind="steer", text=text):
                talk[-1][1].append(text)
            case _:
                pass
    return talk


def _emit(job: Job, steps: Sequence[str]) -> None:
    text = job.parts.redactor.redact(clean(_numbered(steps)))
    job.recorder.emit(ev.Message(role="agent", kind="plan", text=text))


def _numbered(steps: Sequence[str]) -> str:
    return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))


def numbered_steps(text: str) -> list[str]:
    """The steps of a numbered list; lines that follow a step without a number belong to it."""
    steps: list[str] = []
    for line in text.splitlines():
        if match := re.match(r"\s{0,3}\d{1,2}[.)]\s+(.+)", line):
            steps.append(match[1].strip())
        elif steps and line.strip():
            steps[-1] += " " + line.strip()
    return steps
