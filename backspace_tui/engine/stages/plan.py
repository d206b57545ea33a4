"""Plan: a short numbered list, shown and, if the settings ask for it, approved."""

from __future__ import annotations

import re

from backspace_tui.core import events as ev
from backspace_tui.engine import questions
from backspace_tui.engine.job import Job, StageResult
from backspace_tui.engine.stages.analyze import briefing
from backspace_tui.engine.turns import ask_again, ask_text

REPAIR = "Answer with the plan alone: a numbered list, one step a line, starting with '1. '."
ABOUT = "About the plan: "


def run(job: Job) -> StageResult:
    """Ask for the plan; a reply in another shape gets one repair request, then the request is the only step.

    A plan that was made before a crash, or whose approval was waited for, is kept.
    """
    if not job.state.plan:
        _make(job)
    if job.parts.settings.workflow.approve_plan:
        verdict = questions.ask(job, f"Work by this plan?\n{job.state.plan}", ("yes", "no"), about="plan")
        said = any(isinstance(event, ev.Message) and event.kind == "steer" and event.text.startswith(ABOUT)
                   for event in job.recorder.events)  # fmt: skip
        if verdict.strip().lower() not in ("y", "yes", "") and not said:
            job.recorder.emit(ev.Message(role="user", kind="steer", text=ABOUT + verdict))
    return StageResult("ok")


def _make(job: Job) -> None:
    request = briefing(job)
    answer = ask_text(job, "plan", request)
    steps = numbered_steps(answer)
    if not steps:
        steps = numbered_steps(ask_again(job, "plan", request, answer, REPAIR)) or [job.started.prompt]
    plan = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    job.recorder.emit(ev.Message(role="agent", kind="plan", text=job.parts.redactor.redact(plan)))


def numbered_steps(text: str) -> list[str]:
    """The steps of a numbered list; lines that follow a step without a number belong to it."""
    steps: list[str] = []
    for line in text.splitlines():
        if match := re.match(r"\s{0,3}\d{1,2}[.)]\s+(.+)", line):
            steps.append(match[1].strip())
        elif steps and line.strip():
            steps[-1] += " " + line.strip()
    return steps
