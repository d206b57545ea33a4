"""One turn of one language model through litellm.

Each turn runs in an event loop of its own on the calling thread, so that a cancelled turn closes its connection at
once and nothing (thread, socket, task) outlives a turn.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any, Final

from backspace_tui.config import ModelSettings
from backspace_tui.core.protocols import Cancelled, CancelToken, Estimate, ModelObserver, ModelReply, ModelRequest
from backspace_tui.models import prices, unstreamed, wire
from backspace_tui.models.classify import classify
from backspace_tui.models.faults import Fault, one_line
from backspace_tui.models.library import load
from backspace_tui.models.library import warm as warm
from backspace_tui.models.stream_guard import guard

TURN_SECONDS: Final = 900.0
"""Longest time for one request, however steadily it streams."""

OLLAMA: Final = ("ollama/", "ollama_chat/")

_SIGNED_IDS: Final = ("gemini/", "vertex_ai/")
"""Providers whose calls carry signatures in their ids, which they want back unchanged."""

_CLOSING_SECONDS: Final = 2.0
_CANCELS: Final = 20

_TOKENS_A_CHARACTER: Final = 0.3
"""What is assumed until a provider has reported tokens."""

_LEAST_OUTPUT: Final = 1024
"""Tokens that a reply may have however little room the conversation leaves; a refusal then shortens that."""


def ollama_window(tokens: int) -> int:
    """The context to ask of Ollama for so many tokens, which otherwise cuts what goes beyond a few thousand.

    In few steps, because it loads the model anew for each.
    """
    return next((window for window in (16_384, 32_768, 65_536) if tokens <= window), 131_072)


class LiteLLMModel:
    """One model behind litellm; holds no connection between turns."""

    def __init__(self, settings: ModelSettings, api_key: str = "", *, turn_seconds: float = TURN_SECONDS) -> None:
        """``api_key`` is the key itself, empty to let litellm find it; ``turn_seconds`` caps one request."""
        self.settings = settings
        self._api_key = api_key
        self._turn_seconds = turn_seconds
        self._density = _TOKENS_A_CHARACTER
        self._window = 0

    @property
    def name(self) -> str:
        return self.settings.name

    def estimate(self, request: ModelRequest) -> Estimate:
        """What the request will take, by its characters and what the provider reported of earlier ones."""
        card = prices.card(self.name)
        tokens_in = self._tokens(request)
        tokens_out = self._most_output(tokens_in)
        return Estimate(self.name, tokens_in, tokens_out, card.cost(tokens_in, tokens_out), self._window or card.window)

    def complete(
        self,
        request: ModelRequest,
        observer: ModelObserver,
        cancel: CancelToken,
        *,
        stream: bool = True,
        seconds: float = TURN_SECONDS,
    ) -> ModelReply:
        """Answer one turn with one request that takes ``seconds`` at most.

        Raises:
            Fault: the request failed, with what it cost; what was streamed is void.
            Cancelled: ``cancel`` was flipped; the connection is closed.
        """
        if cancel.cancelled:
            raise Cancelled
        litellm = load(cancel)
        if request.tools and not self._takes_tools(litellm):
            raise Fault("no_tools", "this model has no native tool calls")
        turn = wire.Assembly(request)
        seconds = min(seconds, self._turn_seconds)
        try:
            reply = _run(self._turn(litellm, request, turn, observer, cancel, stream, seconds))
        except Fault as fault:
            self._learn_limit(fault, request)
            self._charge(litellm, fault, turn, request)
            raise
        self._calibrate(turn, request)
        return reply

    def _tokens(self, request: ModelRequest) -> int:
        return math.ceil(wire.size(request) * self._density)

    def _most_output(self, tokens_in: int) -> int:
        """Tokens that a reply may have: as set, and no more than the model gives or its window has room for."""
        most = self.settings.max_output_tokens
        if limit := prices.card(self.name).max_output:
            most = min(most, limit)
        if self._window:
            room = self._window - math.ceil(tokens_in * 1.1) - 64
            most = min(most, max(room, min(_LEAST_OUTPUT, self._window // 4)))
        return most

    def _calibrate(self, turn: wire.Assembly, request: ModelRequest) -> None:
        tokens_in, _ = turn.reported()
        if tokens_in:
            self._density = min(1.5, max(0.15, tokens_in / max(1, wire.size(request))))
        if tokens_in > self._window:
            self._window = 0  # what it said of its limit was not so

    def _learn_limit(self, fault: Fault, request: ModelRequest) -> None:
        """Remember the limit that a refusal names, and whether a shorter reply would keep the request below it.

        A refusal that counts far more tokens than there can be is not believed; of its limit that alone is kept
        which says that there is room.
        """
        if not fault.window or fault.window == self._window:
            return
        tokens_in = self._tokens(request)
        if fault.counted > 3 * tokens_in + 1000:
            fault.fits = True
            if 2 * tokens_in < fault.window:
                self._window = fault.window
            return
        self._window = fault.window
        fault.fits = tokens_in + _LEAST_OUTPUT < fault.window

    def _charge(self, litellm: Any, fault: Fault, turn: wire.Assembly, request: ModelRequest) -> None:
        """Put on ``fault`` what it cost: the usage told so far, or an estimate once the model had begun to answer."""
        tokens_in, tokens_out = turn.reported()
        if turn.begun:
            tokens_in = tokens_in or self._tokens(request)
            tokens_out = max(tokens_out, math.ceil(turn.characters * self._density))
        fault.tokens_in, fault.tokens_out = tokens_in, tokens_out
        fault.usd = self._price(litellm, tokens_in, tokens_out, None) if tokens_in or tokens_out else 0.0

    async def _turn(
        self,
        litellm: Any,
        request: ModelRequest,
        turn: wire.Assembly,
        observer: ModelObserver,
        cancel: CancelToken,
        stream: bool,
        seconds: float,
    ) -> ModelReply:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, _context: None)
        stopped = asyncio.Event()

        def stop() -> None:
            with suppress(RuntimeError):  # the turn has ended meanwhile
                loop.call_soon_threadsafe(stopped.set)

        forget = cancel.on_cancel(stop)
        stopping = loop.create_task(stopped.wait())
        work = loop.create_task(self._work(litellm, request, turn, observer, stream))
        try:
            await asyncio.wait({work, stopping}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if stopped.is_set():
                raise Cancelled
            if not work.done():
                raise Fault("slow", f"the turn took longer than {seconds:.3g} s")
            return work.result()
        finally:
            forget()
            stopping.cancel()
            await _end(work)
            await self._close_clients(litellm)

    async def _work(
        self, litellm: Any, request: ModelRequest, turn: wire.Assembly, observer: ModelObserver, stream: bool
    ) -> ModelReply:
        started = time.monotonic()
        async for text, thinking in self._receive(litellm, request, turn, stream):
            if thinking:
                observer.streamed("thinking", wire.well_formed(thinking))
            if text:
                observer.streamed("text", wire.well_formed(text))
        tokens_in, tokens_out = turn.tokens()
        usd = self._price(litellm, tokens_in, tokens_out, turn.usage)
        reply = turn.reply(self.name, usd=usd, seconds=time.monotonic() - started)
        broken = next((call for call in reply.tool_calls if call.problem), None)
        if broken is None:
            return reply
        reply = wire.hold_back(reply)
        if turn.finish == "length" and tokens_out >= 0.9 * self._most_output(tokens_in):
            return reply  # our own limit cut it, which would cut it again
        fault = Fault("call", f"a broken call of {one_line(broken.name) or 'no tool'}: {one_line(broken.problem)}")
        fault.reply = reply
        raise fault

    async def _receive(
        self, litellm: Any, request: ModelRequest, turn: wire.Assembly, stream: bool
    ) -> AsyncIterator[tuple[str, str]]:
        """Feed ``turn`` and pass its pieces on; raises :class:`Fault` unless the model finished properly."""
        silence = self.settings.timeout
        hung = Fault("hang", f"no answer within {silence:g} s")
        try:
            response = await _within(silence, litellm.acompletion(**self._parameters(request, stream)), hung)
            document = await _within(silence, unstreamed.document(response), hung) if stream else None
            if not stream:
                yield turn.whole(response)
            elif document is not None:
                yield turn.whole(unstreamed.read(litellm, document))
            else:
                told = guard(response)
                try:
                    async with aclosing(_closing(response)) as chunks:
                        while (chunk := await _within(silence, anext(chunks, None), hung)) is not None:
                            yield turn.add(chunk)
                            hung = Fault("hang", f"silent for {silence:g} s in mid-stream")
                finally:
                    turn.account(getattr(response, "chunks", ()))
                # litellm's chunks say "stop" of a stream that just ended.
                turn.end(told.word(getattr(response, "received_finish_reason", None)))
        except Fault:
            raise
        except Exception as error:
            raise classify(error, where=self._where(), silence=silence, secrets=[self._api_key]) from None
        turn.check()

    def _parameters(self, request: ModelRequest, stream: bool) -> dict[str, Any]:
        settings = self.settings
        tokens_in = self._tokens(request)
        parameters: dict[str, Any] = {
            "model": settings.name,
            "messages": wire.messages(request.messages, any_id=settings.name.startswith(_SIGNED_IDS)),
            "max_tokens": self._most_output(tokens_in),
            "max_retries": 0,
            "num_retries": 0,
            # Ours are the timeouts that count; these only make sure that litellm's are not shorter.
            "timeout": settings.timeout + 5.0,
            "stream_timeout": settings.timeout + 5.0,
            "stream": stream,
        }
        if stream:
            parameters["stream_options"] = {"include_usage": True}
        if request.tools:
            parameters["tools"] = wire.tools(request.tools)
            if settings.name.startswith("anthropic/"):
                # Requests with tools are followed by others with the same beginning.
                parameters["messages"] = wire.mark_for_cache(parameters["messages"])
        if request.schema:
            form = {"name": "reply", "schema": request.schema}
            parameters["response_format"] = {"type": "json_schema", "json_schema": form}
        if settings.api_base:
            parameters["api_base"] = settings.api_base
            if settings.name.startswith("anthropic/"):
                # litellm puts the version there itself.
                parameters["api_base"] = settings.api_base.rstrip("/").removesuffix("/v1")
        if settings.name.startswith(OLLAMA):
            parameters["num_ctx"] = ollama_window(math.ceil(tokens_in * 1.1) + parameters["max_tokens"])
        if self._api_key:
            parameters["api_key"] = self._api_key
        return parameters

    def _takes_tools(self, litellm: Any) -> bool:
        """False only where litellm says so outright: it would leave the tools out of the request without a word."""
        with suppress(Exception):
            bare, provider, _, _ = litellm.get_llm_provider(self.name)
            info = litellm.model_cost.get(self.name) or litellm.model_cost.get(bare) or {}
            known = litellm.get_supported_openai_params(bare, custom_llm_provider=provider)
            return info.get("supports_function_calling") is not False and (known is None or "tools" in known)
        return True

    def _where(self) -> str:
        return one_line(self.settings.api_base) if self.settings.api_base else "the provider"

    def _price(self, litellm: Any, tokens_in: int, tokens_out: int, usage: Any) -> float | None:
        """Dollars by litellm's table; ``None`` for a model that is not in it, of which litellm says 0."""
        counts = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}
        total = 0.0
        with suppress(Exception):
            total = sum(litellm.cost_per_token(model=self.name, usage_object=usage, **counts))
        return total if total > 0 else prices.card(self.name).cost(tokens_in, tokens_out)

    async def _close_clients(self, litellm: Any) -> None:
        """litellm caches its HTTP clients by event loop, and ours ends with this turn."""
        with suppress(Exception):
            await asyncio.wait_for(litellm.close_litellm_async_clients(), _CLOSING_SECONDS)
        with suppress(Exception):
            litellm.in_memory_llm_clients_cache.flush_cache()
        # Made anew when it is asked for.
        vars(litellm).pop("module_level_aclient", None)


def _run(turn: Coroutine[Any, Any, ModelReply]) -> ModelReply:
    """Run ``turn`` in a loop of its own.

    Unlike ``asyncio.run`` this does not wait for the loop's helper threads: one of them may be stuck for long in a
    name lookup, and a cancelled turn ends at once.
    """
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(turn)
    finally:
        try:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=_CLOSING_SECONDS))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


async def _end(task: asyncio.Task[ModelReply]) -> None:
    """Cancel ``task`` until it has ended: some of litellm's code swallows a cancellation that comes early."""
    for _ in range(_CANCELS):
        if task.done():
            break
        task.cancel()
        await asyncio.wait({task}, timeout=0.1)
    if task.done() and not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not complain


async def _within(seconds: float, awaitable: Any, hung: Fault) -> Any:
    try:
        return await asyncio.wait_for(awaitable, seconds)
    except TimeoutError:
        raise hung from None


async def _closing(response: Any) -> AsyncGenerator[Any, None]:
    """The chunks of litellm's stream, whose connection is closed however the reading ends."""
    try:
        async for chunk in response:
            yield chunk
    finally:
        close: Callable[[], Any] | None = getattr(response, "aclose", None)
        if close is not None:
            with suppress(Exception):
                await close()
