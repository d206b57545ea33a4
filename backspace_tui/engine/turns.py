"""One model turn: called, streamed, logged; and the plain text calls of the stages without tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import Cancelled, ChatMessage, Estimate, Failure, ModelReply, ModelRequest
from backspace_tui.core.terminal_text import clean
from backspace_tui.engine import budget, user_commands
from backspace_tui.engine.job import Job, Stopped, WaitsForPerson


class _Observer:
    def __init__(self, job: Job, heard: int) -> None:
        self._job = job
        self._heard = heard
        self._streamed = False

    def called(self, model: str, attempt: int) -> None:
        self._job.recorder.emit(ev.ModelCalled(model=model, attempt_of_model=attempt, heard=self._heard))

    def may_call(self, estimate: Estimate) -> None:
        pass

    def failed(self, failure: Failure) -> None:
        if self._streamed:
            self._job.recorder.emit(ev.AgentThinking(void=True))
            self._streamed = False
        told = ev.ModelFailed(
            model=failure.model,
            reason=self._job.parts.redactor.redact(clean(failure.reason)),
            retry_in=failure.retry_in,
            kind=failure.kind,
            tokens_in=failure.tokens_in,
            tokens_out=failure.tokens_out,
            usd=failure.usd,
        )
        self._job.recorder.emit(told)

    def streamed(self, kind: Literal["text", "thinking"], text: str) -> None:
        self._streamed = True
        text = self._job.parts.redactor.redact(clean(text))
        if text:
            self._job.recorder.stream(ev.AgentThinking(text=text, kind=kind))


def ask(job: Job, request: ModelRequest, heard: int = 0) -> ModelReply:
    """Let the model answer ``request`` and log the turn; ``heard`` is the last event that the request tells of.

    Raises:
        Stopped: the user stopped it; nothing of the turn is kept.
        ModelUnavailable, RequestRefused: as the model says.
    """
    boundary(job)
    # Names that are not UTF-8 hold lone surrogates, which no model's protocol can carry.
    messages = tuple(msgspec.structs.replace(item, text=_encodable(item.text)) for item in request.messages)
    request = msgspec.structs.replace(request, messages=messages)
    try:
        reply = job.parts.model.complete(request, _Observer(job, heard), job.control.cancel)
    except Cancelled:
        job.check_stop()
        raise Stopped(quit=False) from None
    job.recorder.emit(
        ev.ModelReplied(
            model=reply.model,
            text=clean(reply.text),
            tool_calls=reply.tool_calls,
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            usd=reply.usd,
            seconds=reply.seconds,
            tokens_cached=reply.tokens_cached,
        )
    )
    return reply


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def ask_text(job: Job, purpose: str, user: str) -> str:
    """A turn without tools; returns its text."""
    messages = (ChatMessage("system", job.parts.prompts[purpose]), ChatMessage("user", user))
    return ask(job, ModelRequest(messages, purpose)).text.strip()


def ask_again(job: Job, purpose: str, user: str, answer: str, repair: str) -> str:
    """The one repair request for a reply in the wrong shape."""
    messages = (
        ChatMessage("system", job.parts.prompts[purpose]),
        ChatMessage("user", user),
        ChatMessage("assistant", answer or "(nothing)"),
        ChatMessage("user", repair),
    )
    return ask(job, ModelRequest(messages, purpose)).text.strip()


def boundary(job: Job) -> None:
    """What happens between two turns: stopping, the user's own commands, pausing, the budget."""
    job.check_stop()
    user_commands.serve(job, pause=True)
    job.check_stop()
    limit = budget.exceeded(job.parts.settings.budget, job.state, job.recorder.events)
    if limit and not job.state.paused:
        job.recorder.emit(ev.Paused(reason=limit))
    while job.state.paused:
        reason = job.state.paused
        # Whoever pauses from a window that stays open is there to go on.
        if job.exit_when_waiting and not (reason == "user" and job.control.windows):
            raise WaitsForPerson("paused" if reason == "user" else reason)
        wait(job, lambda: not job.state.paused or (job.exit_when_waiting and not job.control.windows))


def wait(job: Job, ready: Callable[[], bool]) -> None:
    """Block until ``ready()`` holds, and carry out meanwhile what the user wants in the sandbox.

    Raises :class:`Stopped`, or :class:`WaitsForPerson` after the idle timeout.
    """
    while not _waited(job, ready):
        user_commands.serve(job)


def _waited(job: Job, ready: Callable[[], bool]) -> bool:
    """Whether ``ready()`` holds; false where the user wants something first."""
    with job.recorder.changed:
        while not ready():
            job.check_stop()
            if job.control.user:
                return False
            notified = job.recorder.changed.wait(job.idle_timeout)
            if not notified and not ready() and not job.control.windows:
                raise WaitsForPerson("nobody was there; attach or resume it to go on")
        return True
