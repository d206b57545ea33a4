"""One turn of one language model through litellm.

litellm takes seconds to import: only a session's process does it, in a thread started by :func:`warm`. Each turn
runs in an event loop of its own on the calling thread, so that a cancelled turn closes its connection at once and
nothing (thread, socket, task) outlives a turn.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from typing import Any, Final

from backspace_tui.config import ModelSettings
from backspace_tui.core.protocols import Cancelled, CancelToken, Estimate, ModelObserver, ModelReply, ModelRequest
from backspace_tui.models import wire
from backspace_tui.models.faults import Fault, kind_of, one_line, retry_after

TURN_SECONDS: Final = 900.0
"""Longest time for one request, however steadily it streams."""

_CLOSING_SECONDS: Final = 2.0
_CANCELS: Final = 20


class _Library:
    """litellm, imported once, in a thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.loaded = threading.Event()
        self.module: Any = None
        self.problem = ""

    def start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._load, name="import-litellm", daemon=True)
                self._thread.start()

    def _load(self) -> None:
        # Before the import: no price list from the network, no .env file of whatever folder we are in.
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        os.environ["LITELLM_MODE"] = "PRODUCTION"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import litellm
            litellm.suppress_debug_info = True
            litellm.telemetry = False
            litellm.disable_aiohttp_transport = True
            litellm.drop_params = True
            warnings.filterwarnings("ignore", module=r"litellm(\.|$)")
            for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "httpx", "openai"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            self.module = litellm
        except Exception as error:
            self.problem = f"litellm cannot be imported ({one_line(str(error))}): reinstall backspace-tui"
        finally:
            self.loaded.set()


_library = _Library()


def warm() -> None:
    """Start importing litellm in the background; returns at once and may be called again."""
    _library.start()


def _litellm(cancel: CancelToken) -> Any:
    """The imported library; waits for it, cancellably."""
    warm()
    if not _library.loaded.is_set():
        wake = threading.Event()
        forget = cancel.on_cancel(wake.set)
        try:
            while not _library.loaded.wait(0.05):
                if wake.is_set():
                    raise Cancelled
        finally:
            forget()
    if _library.problem:
        raise Fault("missing", _library.problem)
    return _library.module


class LiteLLMModel:
    """One model behind litellm; holds no connection between turns."""

    def __init__(self, settings: ModelSettings, api_key: str = "", *, turn_seconds: float = TURN_SECONDS) -> None:
        """``api_key`` is the key itself, empty to let litellm find it; ``turn_seconds`` caps one request."""
        self.settings = settings
        self._api_key = api_key
        self._turn_seconds = turn_seconds

    @property
    def name(self) -> str:
        return self.settings.name

    def estimate(self, request: ModelRequest) -> Estimate:
        """What the request will take: a token for four characters."""
        return Estimate(self.name, sum(len(message.text) for message in request.messages) // 4)

    def complete(
        self, request: ModelRequest, observer: ModelObserver, cancel: CancelToken, *, stream: bool = True
    ) -> ModelReply:
        """Answer one turn with one request.

        Raises:
            Fault: the request failed; what was streamed is void.
            Cancelled: ``cancel`` was flipped; the connection is closed.
        """
        if cancel.cancelled:
            raise Cancelled
        litellm = _litellm(cancel)
        if request.tools and not self._takes_tools(litellm):
            raise Fault("no_tools", "this model has no native tool calls")
        return _run(self._turn(litellm, request, observer, cancel, stream))

    async def _turn(
        self, litellm: Any, request: ModelRequest, observer: ModelObserver, cancel: CancelToken, stream: bool
    ) -> ModelReply:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, _context: None)
        stopped = asyncio.Event()

        def stop() -> None:
            with suppress(RuntimeError):  # the turn has ended meanwhile
                loop.call_soon_threadsafe(stopped.set)

        forget = cancel.on_cancel(stop)
        stopping = loop.create_task(stopped.wait())
        work = loop.create_task(self._work(litellm, request, observer, stream))
        try:
            await asyncio.wait({work, stopping}, timeout=self._turn_seconds, return_when=asyncio.FIRST_COMPLETED)
            if stopped.is_set():
                raise Cancelled
            if not work.done():
                raise Fault("slow", f"the turn took longer than {self._turn_seconds:g} s")
            return work.result()
        finally:
            forget()
            stopping.cancel()
            await _end(work)
            await self._close_clients(litellm)

    async def _work(self, litellm: Any, request: ModelRequest, observer: ModelObserver, stream: bool) -> ModelReply:
        started = time.monotonic()
        turn = wire.Assembly(request)
        async for text, thinking in self._receive(litellm, request, turn, stream):
            if thinking:
                observer.streamed("thinking", wire.well_formed(thinking))
            if text:
                observer.streamed("text", wire.well_formed(text))
        tokens_in, tokens_out = turn.tokens()
        return turn.reply(
            self.name, usd=self._price(litellm, tokens_in, tokens_out, turn), seconds=time.monotonic() - started
        )

    async def _receive(
        self, litellm: Any, request: ModelRequest, turn: wire.Assembly, stream: bool
    ) -> AsyncIterator[tuple[str, str]]:
        """Feed ``turn`` and pass its pieces on; raises :class:`Fault` unless the model finished properly."""
        silence = self.settings.timeout
        hung = Fault("hang", f"no answer within {silence:g} s")
        try:
            response = await _within(silence, litellm.acompletion(**self._parameters(request, stream)), hung)
            if not stream:
                yield turn.whole(response)
            else:
                hung = Fault("hang", f"silent for {silence:g} s in mid-stream")
                async with aclosing(_closing(response)) as chunks:
                    while (chunk := await _within(silence, anext(chunks, None), hung)) is not None:
                        yield turn.add(chunk)
                # litellm reports "stop" for a stream that just ended; only this tells what the model really sent.
                turn.finish = getattr(response, "received_finish_reason", None)
        except Fault:
            raise
        except Exception as error:
            raise self._fault(error) from None
        turn.check()

    def _parameters(self, request: ModelRequest, stream: bool) -> dict[str, Any]:
        settings = self.settings
        parameters: dict[str, Any] = {
            "model": settings.name,
            "messages": wire.messages(request.messages),
            "max_tokens": settings.max_output_tokens,
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
        if settings.api_base:
            parameters["api_base"] = settings.api_base
        if self._api_key:
            parameters["api_key"] = self._api_key
        return parameters

    def _fault(self, error: Exception) -> Fault:
        """Classify what litellm raised; it wraps network errors in statuses that no server sent."""
        chain = _causes(error)
        names = {type(cause).__name__ for cause in chain}
        message = one_line(str(error), [self._api_key])
        status = next((s for cause in chain if isinstance(s := getattr(cause, "status_code", None), int)), None)
        if "MidStreamFallbackError" in names:
            if names & {"ReadTimeout", "APITimeoutError"}:
                return Fault("hang", "silent in mid-stream")
            return Fault("cut", f"the stream broke{f': {message}' if message else ''}")
        if names & {"APITimeoutError", "ReadTimeout", "ConnectTimeout", "PoolTimeout"} or "Timeout" in names:
            return Fault("hang", f"no answer within {self.settings.timeout:g} s")
        if "ConnectError" in names:
            return Fault("refused", f"cannot connect to {self._where()}")
        if names & {"ReadError", "RemoteProtocolError", "WriteError"}:
            return Fault("refused", "the connection broke before an answer")
        if names & {"JSONDecodeError", "APIResponseValidationError"}:
            return Fault("garbled", "the answer is not JSON as the protocol says")
        if "ContextWindowExceededError" in names:
            return Fault("context", "the conversation is longer than the model takes")
        if "ContentPolicyViolationError" in names:
            return Fault("filter", f"refused by the content filter: {message}")
        found = (getattr(cause, "litellm_response_headers", None) for cause in chain)
        headers: Mapping[str, str] = next(filter(None, found), {})
        wait = retry_after(headers.get("retry-after"), time.time())
        if not any(getattr(cause, "response", None) is not None for cause in chain) and status in (None, 500):
            return Fault("garbled", f"the answer cannot be read: {message}")
        return Fault(kind_of(status, message), f"{status}: {message}" if status else message, wait)

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

    def _price(self, litellm: Any, tokens_in: int, tokens_out: int, turn: wire.Assembly) -> float | None:
        """Dollars by litellm's own table, which says 0 for models that it has no price of."""
        with suppress(Exception):
            if turn.usage is not None:
                prompt, completion = litellm.cost_per_token(
                    model=self.name,
                    prompt_tokens=tokens_in,
                    completion_tokens=tokens_out,
                    usage_object=turn.usage,
                )
            else:
                prompt, completion = litellm.cost_per_token(
                    model=self.name, prompt_tokens=tokens_in, completion_tokens=tokens_out
                )
            total = float(prompt + completion)
            return total if total > 0 else None
        return None

    async def _close_clients(self, litellm: Any) -> None:
        """litellm caches its HTTP clients by event loop, and ours ends with this turn."""
        with suppress(Exception):
            await asyncio.wait_for(litellm.close_litellm_async_clients(), _CLOSING_SECONDS)
        with suppress(Exception):
            litellm.in_memory_llm_clients_cache.flush_cache()


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


def _causes(error: BaseException) -> list[BaseException]:
    """``error`` and everything behind it, outermost first."""
    found: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        cause = todo.pop(0)
        if isinstance(cause, BaseException) and cause not in found and len(found) < 20:
            found.append(cause)
            todo += [getattr(cause, "original_exception", None), cause.__cause__, cause.__context__]
    return found
