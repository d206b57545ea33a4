"""The fallback chain: an ordered list of models that answers as long as one of them does."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from backspace_tui.core.protocols import (
    BadRequest,
    Cancelled,
    CancelToken,
    ChatMessage,
    Estimate,
    Failure,
    ModelObserver,
    ModelReply,
    ModelRequest,
    ModelUnavailable,
)
from backspace_tui.models import text_calls
from backspace_tui.models.breaker import Breakers
from backspace_tui.models.compact import LEVELS, compact
from backspace_tui.models.faults import LAST_WAIT, Accept, AsText, Compact, Decision, Fault, Next, Wait, decide
from backspace_tui.models.forms import Forms, wrote_call

CHAIN_SECONDS: Final = 1800.0
"""So long one turn takes at most, over all requests and models."""

MAX_REQUESTS: Final = 8
"""Requests to one model in one turn, whatever their faults."""


class OneModel(Protocol):
    """What the chain is made of: one request to one model."""

    @property
    def name(self) -> str: ...

    def estimate(self, request: ModelRequest) -> Estimate: ...

    def complete(
        self,
        request: ModelRequest,
        observer: ModelObserver,
        cancel: CancelToken,
        *,
        stream: bool = True,
        seconds: float = CHAIN_SECONDS,
    ) -> ModelReply:
        """Answer within ``seconds``; raises :class:`Fault` or :class:`Cancelled`."""
        ...


class FallbackChain:
    """Implements :class:`backspace_tui.core.protocols.Model` over an ordered list.

    The first model is preferred. One that failed for good is asked last until its cooldown is over, so that a
    dead provider does not cost every turn its timeout; then one request decides whether it is the preferred one
    again. Cooldowns live as long as this object.
    """

    def __init__(
        self,
        models: Sequence[OneModel],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float, CancelToken], None] | None = None,
        chain_seconds: float = CHAIN_SECONDS,
        second_chance: bool = False,
    ) -> None:
        """``clock`` counts seconds, ``sleep`` waits for them or raises :class:`Cancelled`.

        With ``second_chance`` a model that seems not to know of its tools is asked once more, in the text form.
        """
        if not models:
            raise ValueError("a chain needs a model")
        self.models = tuple(models)
        self.clock = clock
        self.breakers = Breakers(len(self.models), clock)
        self.text_form: set[int] = set()
        self.unstreamed: Counter[int] = Counter()
        self.forms = Forms(enabled=second_chance)
        self._sleep = sleep
        self._chain_seconds = chain_seconds

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(model.name for model in self.models)

    def estimate(self, request: ModelRequest) -> Estimate:
        """What the request will take of the model that is asked first now."""
        return self.models[self.breakers.order()[0]].estimate(request)

    def complete(self, request: ModelRequest, observer: ModelObserver, cancel: CancelToken) -> ModelReply:
        """Answer one turn; see :meth:`backspace_tui.core.protocols.Model.complete`."""
        return _Turn(self, request, observer, cancel, self.clock() + self._chain_seconds).run()

    def wait(self, seconds: float, cancel: CancelToken) -> None:
        """Wait; raises :class:`Cancelled` as soon as ``cancel`` is flipped."""
        (self._sleep or _sleep)(seconds, cancel)


class _Turn:
    """One turn that goes from model to model."""

    def __init__(
        self,
        chain: FallbackChain,
        request: ModelRequest,
        observer: ModelObserver,
        cancel: CancelToken,
        deadline: float,
    ) -> None:
        self._chain = chain
        self._request = request
        self._observer = observer
        self._cancel = cancel
        self._deadline = deadline
        self._reasons: dict[int, str] = {}
        self._due: dict[int, tuple[float, Fault]] = {}
        self._waited: set[int] = set()
        self._partial: ModelReply | None = None

    def run(self) -> ModelReply:
        order = self._chain.breakers.order()
        while order:
            for position in order:
                if self._left() <= 0:
                    break
                try:
                    return self._ask(position, last=position == order[-1])
                except Fault as fault:
                    name = self._chain.models[position].name
                    self._reasons[position] = f"{name}: {fault.reason}"
                    if fault.kind == "request":
                        raise BadRequest(f"the request was refused: {self._told()}") from None
                    self._partial = self._partial or fault.reply
                    if fault.retry_after is not None:
                        self._due[position] = (self._chain.clock() + fault.retry_after, fault)
            order = self._await_one()
        if self._partial is not None:
            # A model that answers badly is told so, rather than none asked; what it cost is told already.
            return msgspec.structs.replace(self._partial, tokens_in=0, tokens_out=0, usd=0.0, tokens_cached=0)
        raise ModelUnavailable(f"no model answered: {self._told()}")

    def _told(self) -> str:
        return "; ".join(self._reasons.values())

    def _left(self) -> float:
        return self._deadline - self._chain.clock()

    def _await_one(self) -> list[int]:
        """Wait once for the first model whose provider said when it will answer again; empty if that is too long."""
        if not self._due:
            return []
        position, (at, fault) = min(self._due.items(), key=lambda item: item[1][0])
        self._due.clear()
        seconds = max(0.1, at - self._chain.clock())
        if seconds > LAST_WAIT or seconds >= self._left() or position in self._waited:
            return []
        self._waited.add(position)
        name = self._chain.models[position].name
        self._observer.failed(Failure(name, fault.kind, f"no model answers; {fault.reason}", seconds))
        self._chain.wait(seconds, self._cancel)
        return [position]

    def _ask(self, position: int, *, last: bool) -> ModelReply:
        """Ask one model as often as makes sense; raises its last :class:`Fault`."""
        chain = self._chain
        messages, level, attempt = self._request.messages, 0, 0
        # A server that answered without a stream alone, twice, is not asked for one any more.
        stream = chain.unstreamed[position] < 2
        probing = chain.breakers.half_open(position)
        seen: Counter[str] = Counter()
        kept: ModelReply | None = None
        while True:
            attempt += 1
            as_text = bool(self._request.tools) and (position in chain.text_form or kept is not None)
            sent = msgspec.structs.replace(self._request, messages=messages)
            if as_text:
                sent = text_calls.rewrite(sent, enforced=kept is not None and bool(kept.tool_calls))
            try:
                reply = self._request_once(position, attempt, sent, stream)
            except Fault as caught:
                fault = caught
            else:
                reply, doubt = chain.forms.read(position, reply, self._request, as_text=as_text, kept=kept)
                if doubt is None:
                    if as_text and wrote_call(reply):
                        chain.text_form.add(position)
                    return self._answered(position, reply, stream=stream, attempt=attempt)
                self._fail(position, doubt, 0.0)
                kept = reply
                continue
            seen[fault.kind] += 1
            wait = 0.0
            decision = self._decide(fault, seen[fault.kind], attempt, last=last, probing=probing)
            if kept is not None and (fault.kind == "request" or not isinstance(decision, Wait | Compact)):
                self._fail(position, fault, None)
                return self._answered(position, chain.forms.settle(position, kept), stream=stream, attempt=attempt)
            match decision:
                case Accept() if fault.reply is not None:
                    return self._answered(position, fault.reply, stream=stream, attempt=attempt)
                case Wait(seconds) if seconds < self._left():
                    wait = seconds
                    if fault.kind in ("empty", "garbled"):
                        # A server that ignores "stream" may answer with what a stream reader takes for nothing.
                        stream = not stream
                case Compact() if (shorter := self._shorter(position, messages, level)) is not None:
                    messages, level = shorter
                case Compact() if seen["context"] == 1:
                    pass  # Nothing can go, so what it said is doubtful: once more.
                case AsText() if self._request.tools and not as_text:
                    chain.text_form.add(position)
                case AsText() if seen["no_tools"] == 1 and not as_text:
                    pass  # No tools were sent: once more.
                case Next(cooldown):
                    self._give_up(position, fault, cooldown)
                case _:
                    self._give_up(position, fault, 0.0)
            self._fail(position, fault, wait)
            chain.wait(wait, self._cancel)

    def _request_once(self, position: int, attempt: int, sent: ModelRequest, stream: bool) -> ModelReply:
        if self._cancel.cancelled:
            raise Cancelled
        model = self._chain.models[position]
        self._observer.may_call(model.estimate(sent))
        self._observer.called(model.name, attempt)
        return model.complete(sent, self._observer, self._cancel, stream=stream, seconds=max(0.1, self._left()))

    def _decide(self, fault: Fault, times: int, attempt: int, *, last: bool, probing: bool) -> Decision:
        if attempt >= MAX_REQUESTS:
            return Next(60.0)
        decision = decide(fault, times, last=last)
        if probing and not last and isinstance(decision, Wait) and fault.kind not in ("request", "context"):
            # It failed before and was given another chance: others answer sooner.
            return Next(15.0)
        return decision

    def _answered(self, position: int, reply: ModelReply, *, stream: bool, attempt: int) -> ModelReply:
        self._chain.breakers.close(position)
        if stream:
            self._chain.unstreamed[position] = 0
        elif attempt > 1:
            self._chain.unstreamed[position] += 1
        return reply

    def _shorter(
        self, position: int, messages: tuple[ChatMessage, ...], level: int
    ) -> tuple[tuple[ChatMessage, ...], int] | None:
        """The conversation at the next level that gains anything, and that the model's window has room for."""
        found = None
        for deeper in range(level + 1, LEVELS + 1):
            if (shorter := compact(messages, deeper)) is not None:
                found = shorter, deeper
                told = self._chain.models[position].estimate(msgspec.structs.replace(self._request, messages=shorter))
                if not told.window or told.tokens_in < told.window or deeper == LEVELS - 1:
                    break
        return found

    def _give_up(self, position: int, fault: Fault, cooldown: float) -> None:
        if cooldown > 0:
            self._chain.breakers.open(position, cooldown, fault.retry_after or 0.0)
        self._fail(position, fault, None)
        raise fault

    def _fail(self, position: int, fault: Fault, wait: float | None) -> None:
        name = self._chain.models[position].name
        cost = (fault.tokens_in, fault.tokens_out, fault.usd)
        self._observer.failed(Failure(name, fault.kind, fault.reason, wait, *cost))


def _sleep(seconds: float, cancel: CancelToken) -> None:
    """Wait; raises :class:`Cancelled` as soon as ``cancel`` is flipped."""
    wake = threading.Event()
    forget = cancel.on_cancel(wake.set)
    try:
        if wake.wait(seconds) or cancel.cancelled:
            raise Cancelled
    finally:
        forget()
