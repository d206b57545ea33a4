"""Questions to the human that the workflow waits for."""

from __future__ import annotations

from typing import Literal

from backspace_tui.core import events as ev
from backspace_tui.core.terminal_text import clean
from backspace_tui.engine.job import Job, WaitsForPerson
from backspace_tui.engine.turns import wait


def ask(
    job: Job,
    question: str,
    options: tuple[str, ...],
    *,
    about: Literal["ask_user", "plan", "budget"] = "ask_user",
    call_id: str = "",
    after: int = 0,
) -> str:
    """Log the question, unless it stands already behind the event ``after``, and wait for its answer.

    Raises:
        WaitsForPerson: the process does not wait; the question stays open in the log.
    """
    asked = _asked(job, about, call_id, question, after)
    if asked is None:
        asked = job.recorder.emit(
            ev.Question(
                question=clean(question), options=tuple(clean(option) for option in options), about=about,
                call_id=call_id,
            )
        )  # fmt: skip
    answer = _answer(job, asked.seq)
    if answer is None:
        if job.exit_when_waiting:
            raise WaitsForPerson(f"the agent asks: {' '.join(_short(asked).split())}")
        wait(job, lambda: _answer(job, asked.seq) is not None)
        answer = _answer(job, asked.seq)
    return answer or ""


def _short(question: ev.Question) -> str:
    """The question in one line; a plan has been shown before its question."""
    return question.question.partition("\n")[0] if question.about == "plan" else question.question


def _asked(job: Job, about: str, call_id: str, question: str, after: int) -> ev.Question | None:
    for event in reversed(job.recorder.events):
        if event.seq <= after:
            return None
        # Models reuse the ids of their calls from turn to turn.
        if isinstance(event, ev.ModelReplied) and call_id:
            return None
        if isinstance(event, ev.Question) and (event.about, event.call_id) == (about, call_id):
            return event if call_id or event.question == clean(question) else None
    return None


def _answer(job: Job, seq: int) -> str | None:
    for event in reversed(job.recorder.events):
        if event.seq < seq:
            return None
        if isinstance(event, ev.Answer) and event.question == seq:
            return event.text
    return None
