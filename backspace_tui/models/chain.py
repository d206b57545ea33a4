"""The fallback chain: an ordered list of models that answers as long as one of them does."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from backspace_tui.core.protocols import (
    Cancelled,
    CancelToken,
    Estimate,
    Failure,
    ModelObserver,
    ModelReply,
    ModelRequest,
    ModelUnavailable,
)
from backspace_tui.models import text_calls
from backspace_tui.models.compact import compact
from backspace_tui.models.faults import AsText, Compact, Fault, GiveUp, Next, Wait, decide

CHAIN_SECONDS: Final = 1800.0
"""After so long in one turn no further request is started."""

MAX_REQUESTS: Final = 8
"""Requests to one model in one turn, whatever their faults."""


class OneModel(Protocol):
    """What the chain is made of: one request to one model."""

    @property
    def name(self) -> str: ...

    def estimate(self, request: ModelRequest) -> Estimate: ...

    def complete(
        self, request: ModelRequest, observer: ModelObserver, cancel: CancelToken, *, stream: bool = True
    ) -> ModelReply:
        """Raises :class:`Fault` or :class:`Cancelled`."""
        ...


class FallbackChain:
    """Implements :class:`backspace_tui.core.protocols.Model` over an ordered list.

    The first model is preferred. One that failed for good is asked last until its cooldown is over, so that a
    dead provider does not cost every turn its timeout; cooldowns live as long as this object.
    """

    def __init__(
        self,
        models: Sequence[OneModel],
        *,
        clock: Callable[[], float] = time.monotonic,
        chain_seconds: float = CHAIN_SECONDS,
    ) -> None:
        if not models:
            raise ValueError("a chain needs a model")
        self._models = tuple(models)
        self._clock = clock
        self._chain_seconds = chain_seconds
        self._cool_until: dict[int, float] = {}
        self._text_form: set[int] = set()
        self._unstreamed: Counter[int] = Counter()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(model.name for model in self._models)

    def estimate(self, request: ModelRequest) -> Estimate:
        """What the request will take of the model that is asked first now."""
        return self._models[self._order()[0]].estimate(request)

    def complete(self, request: ModelRequest, observer: ModelObserver, cancel: CancelToken) -> ModelReply:
        """Answer one turn; see :meth:`backspace_tui.core.protocols.Model.complete`."""
        reasons: list[str] = []
        deadline = self._clock() + self._chain_seconds
        for position in self._order():
            try:
                return self._ask(position, request, observer, cancel, deadline)
            except Fault as fault:
                reasons.append(f"{self._models[position].name}: {fault.reason}")
                if fault.kind == "request" or self._clock() >= deadline:
                    break
        raise ModelUnavailable("no model answered: " + "; ".join(reasons))

    def _order(self) -> list[int]:
        """Positions in order of preference, those that are cooling down last."""
        now = self._clock()
        return sorted(
            range(len(self._models)), key=lambda position: (self._cool_until.get(position, 0.0) > now, position)
        )

    def _ask(
        self, position: int, request: ModelRequest, observer: ModelObserver, cancel: CancelToken, deadline: float
    ) -> ModelReply:
        """Ask one model as often as makes sense; raises its last :class:`Fault`."""
        model = self._models[position]
        messages, level, attempt = request.messages, 0, 0
        # A server that answered without a stream alone, twice, is not asked for one any more.
        stream = self._unstreamed[position] < 2
        seen: Counter[str] = Counter()
        while True:
            attempt += 1
            if cancel.cancelled:
                raise Cancelled
            as_text = bool(request.tools) and position in self._text_form
            sent = msgspec.structs.replace(request, messages=messages)
            observer.may_call(model.estimate(sent))
            observer.called(model.name, attempt)
            try:
                reply = model.complete(text_calls.rewrite(sent) if as_text else sent, observer, cancel, stream=stream)
            except Fault as caught:
                fault = caught
            else:
                self._cool_until.pop(position, None)
                self._unstreamed[position] += not stream and attempt > 1
                return text_calls.read_reply(reply, request) if as_text else reply
            wait = 0.0
            seen[fault.kind] += 1
            match decide(fault, seen[fault.kind]) if attempt < MAX_REQUESTS else Next(60.0):
                case Wait(seconds) if self._clock() + seconds < deadline:
                    wait = seconds
                    # A server that ignores "stream" answers with what a stream reader takes for nothing.
                    stream = fault.kind not in ("empty", "garbled")
                case Compact() if (shorter := compact(messages, level + 1)) is not None:
                    messages, level = shorter, level + 1
                case AsText() if request.tools and not as_text:
                    self._text_form.add(position)
                case Next(cooldown):
                    self._give_up(position, cooldown, fault, observer)
                case GiveUp() | Wait() | Compact() | AsText():
                    self._give_up(position, 0.0, fault, observer)
            observer.failed(Failure(model.name, fault.kind, fault.reason, wait))
            _sleep(wait, cancel)

    def _give_up(self, position: int, cooldown: float, fault: Fault, observer: ModelObserver) -> None:
        if cooldown > 0:
            self._cool_until[position] = self._clock() + cooldown
        observer.failed(Failure(self._models[position].name, fault.kind, fault.reason))
        raise fault


def _sleep(seconds: float, cancel: CancelToken) -> None:
    """Wait; raises :class:`Cancelled` as soon as ``cancel`` is flipped."""
    wake = threading.Event()
    forget = cancel.on_cancel(wake.set)
    try:
        if wake.wait(seconds) or cancel.cancelled:
            raise Cancelled
    finally:
        forget()
