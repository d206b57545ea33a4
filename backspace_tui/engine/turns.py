"""One model turn: called, streamed, logged; and the plain text calls of the stages without tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NoReturn

import msgspec

from backspace_tui.core import events as ev
from backspace_tui.core.masked_stream import MaskedStream
from backspace_tui.core.protocols import (
    BadRequest,
    Cancelled,
    ChatMessage,
    Estimate,
    Failure,
    ModelReply,
    ModelRequest,
    ModelUnavailable,
    OverBudget,
)
from backspace_tui.core.spending import MODELS, REASON
from backspace_tui.core.terminal_text import clean, clip
from backspace_tui.engine import budget, user_commands
from backspace_tui.engine.job import Job, Stopped, TurnPaused, WaitsForPerson
from backspace_tui.engine.masking import masked_message

LEAST: Final = 1_000
"""Characters to which a text is cut at most when no model takes it for its length."""


class _Observer:
    def __init__(self, job: Job, heard: int) -> None:
        self._job = job
        self._heard = heard
        self._streamed = False
        self._masked: dict[Literal["text", "thinking"], MaskedStream] = {}
        self.refused: budget.Refusal | None = None
        self.overflowed = False

    def called(self, model: str, attempt: int) -> None:
        self._job.recorder.emit(ev.ModelCalled(model=model, attempt_of_model=attempt, heard=self._heard))

    def may_call(self, estimate: Estimate) -> None:
        job = self._job
        self.refused = budget.refusal(job.parts.settings.budget, job.state.spent, estimate, job.now())
        if self.refused is not None:
            raise OverBudget(self.refused.reason)
        if estimate.usd is None:
            _tell_unpriced(job, estimate.model)

    def failed(self, failure: Failure) -> None:
        self.overflowed = self.overflowed or failure.kind == "context"
        if self._streamed:
            self._job.recorder.emit(ev.AgentThinking(void=True))
            self._streamed = False
            self._masked.clear()
        told = ev.ModelFailed(
            model=failure.model,
            reason=self._job.parts.redactor.redact(clean(failure.reason)),
            retry_in=failure.retry_in,
            kind=failure.kind,
            tokens_in=failure.tokens_in,
            tokens_out=failure.tokens_out,
            usd=failure.usd,
        )
        self._job.keep_account(self._job.recorder.emit(told))

    def streamed(self, kind: Literal["text", "thinking"], text: str) -> None:
        self._streamed = True
        for other in set(self._masked) - {kind}:
            self._tell(other, self._masked.pop(other).flush())
        stream = self._masked.setdefault(kind, MaskedStream(self._job.parts.redactor.redact, words=True))
        self._tell(kind, stream.feed(clean(text)))

    def ended(self) -> None:
        """Tell the rest of what was streamed."""
        for kind, stream in self._masked.items():
            self._tell(kind, stream.flush())

    def _tell(self, kind: Literal["text", "thinking"], text: str) -> None:
        if text:
            self._job.recorder.stream(ev.AgentThinking(text=text, kind=kind))


Shorter = Callable[[], tuple[ModelRequest, int] | None]
"""Makes a request shorter that no model took for its length, with its ``heard``; ``None`` where that cannot be."""


def ask(job: Job, request: ModelRequest, heard: int = 0, shorter: Shorter | None = None) -> ModelReply:
    """Let the model answer ``request`` and log the turn; ``heard`` is the last event that the request tells of.

    Raises:
        Stopped: the user stopped it; nothing of the turn is kept.
        TurnPaused: no model answered, or the budget does not allow the request; the session is paused with the reason.
        BadRequest, RequestRefused: as the model says.
    """
    boundary(job)
    # Names that are not UTF-8 hold lone surrogates, which no model's protocol can carry.
    redact = job.parts.redactor.redact
    messages = tuple(
        masked_message(msgspec.structs.replace(item, text=_encodable(item.text)), redact) for item in request.messages
    )
    request = msgspec.structs.replace(request, messages=messages)
    observer = _Observer(job, heard)
    try:
        reply = job.parts.model.complete(request, observer, job.control.cancel)
    except Cancelled:
        job.check_stop()
        raise Stopped(quit=False) from None
    except OverBudget as problem:
        _pause(job, observer.refused.pause() if observer.refused else ev.Paused(reason=f"{REASON}{problem}"))
    except BadRequest:
        raise
    except ModelUnavailable as problem:
        again = shorter() if shorter is not None and observer.overflowed else None
        if again is not None:
            return ask(job, *again, shorter)
        _pause(job, ev.Paused(reason=f"{MODELS}{problem}"))
    observer.ended()
    replied = job.recorder.emit(
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
    job.keep_account(replied)
    return reply


def _pause(job: Job, paused: ev.Paused) -> NoReturn:
    # What looks like a failure while the session ends is the end itself.
    job.check_stop()
    reason = job.parts.redactor.redact(clean(paused.reason))
    job.recorder.emit(msgspec.structs.replace(paused, reason=" ".join(reason.split())))
    raise TurnPaused


def _tell_unpriced(job: Job, model: str) -> None:
    """Say once a session that dollars cannot be counted."""
    text = f"the price of {clean(model)} is not known, so [budget] usd does not count it; the other limits hold"
    if not any(isinstance(event, ev.Message) and event.text == text for event in job.recorder.events):
        job.recorder.emit(ev.Message(role="program", text=text))


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def ask_text(job: Job, purpose: str, user: str, cut: Callable[[int], str] | None = None) -> str:
    """A turn without tools; returns its text.

    Where no model takes ``user`` for its length, ``cut(limit)`` makes it again in about so many characters; without it
    the middle is left out.
    """
    return _ask_plainly(job, purpose, user, (), cut)


def ask_again(
    job: Job, purpose: str, user: str, answer: str, repair: str, cut: Callable[[int], str] | None = None
) -> str:
    """The one repair request for a reply in the wrong shape."""
    more = (ChatMessage("assistant", answer or "(nothing)"), ChatMessage("user", repair))
    return _ask_plainly(job, purpose, user, more, cut)


def _ask_plainly(
    job: Job, purpose: str, user: str, more: tuple[ChatMessage, ...], cut: Callable[[int], str] | None
) -> str:
    text = user

    def request() -> ModelRequest:
        opening = (ChatMessage("system", job.parts.prompts[purpose]), ChatMessage("user", text))
        return ModelRequest(opening + more, purpose)

    def shorter() -> tuple[ModelRequest, int] | None:
        nonlocal text
        limit = len(text) // 2
        if limit < LEAST:
            return None
        made = cut(limit) if cut is not None else user
        text = made if len(made) <= limit else clip(made, limit)
        return request(), 0

    return ask(job, request(), shorter=shorter).text.strip()


def boundary(job: Job) -> None:
    """What happens between two turns: stopping, the user's own commands, pausing, the budget."""
    job.check_stop()
    user_commands.serve(job, pause=True)
    job.check_stop()
    refused = budget.refusal(job.parts.settings.budget, job.state.spent, Estimate(""), job.now())
    if refused is not None and not job.state.paused:
        job.recorder.emit(refused.pause())
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
