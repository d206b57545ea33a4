"""litellm, which takes seconds to import: done once, in a thread, and in a session's process alone."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import warnings
from contextlib import suppress
from importlib import import_module
from typing import Any

from backspace_tui.core.protocols import Cancelled, CancelToken
from backspace_tui.models.endings import proper
from backspace_tui.models.faults import Fault, one_line
from backspace_tui.models.unstreamed import plain_text


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
            _make_each_request_once()
            _drop_nothing_from_a_refused_request()
            _ask_no_server_for_prices()
            _keep_the_word_for_the_end()
            _take_the_text_of_parts()
            warnings.filterwarnings("ignore", module=r"litellm(\.|$)")
            warnings.filterwarnings("ignore", message="Pydantic serializer warnings")
            for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "httpx", "openai"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            with suppress(Exception):
                asyncio.run(_rehearse(litellm))
            self.module = litellm
        except Exception as error:
            self.problem = f"litellm cannot be imported ({one_line(str(error))}): reinstall backspace-tui"
        finally:
            self.loaded.set()


async def _rehearse(litellm: Any) -> None:
    """Load what litellm puts off until the first request, whose silence would else be taken for the provider's."""
    for module in ("anyio._backends._asyncio", "httpcore", "openai.resources.chat.completions"):
        import_module(module)
    said = {"messages": [{"role": "user", "content": "x"}], "mock_response": "x", "stream": True, "api_key": "x"}
    async for _ in await litellm.acompletion(model="openai/x", **said):
        pass


def _make_each_request_once() -> None:
    """Keep litellm's HTTP client from repeating a request whose connection broke: log and budget would not see it."""
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    async def refuse(*_args: Any, **_options: Any) -> Any:
        # Called in the clause that handles the broken connection.
        raise sys.exception() or RuntimeError("the request was made already")

    AsyncHTTPHandler.single_connection_post_request = refuse


def _drop_nothing_from_a_refused_request() -> None:
    """Keep litellm from repeating a request after a 422 with fewer parameters, and from losing what was said of it."""
    from litellm.llms.openai import openai

    def refuse(error: Any, _data: Any) -> Any:
        raise openai.OpenAIError(
            status_code=422, message=str(error), headers=error.response.headers, body=error.body
        ) from error

    openai.drop_params_from_unprocessable_entity_error = refuse


def _ask_no_server_for_prices() -> None:
    """Keep litellm from asking an Ollama about each model, in the middle of a turn and however long that takes."""
    from litellm.llms.ollama.common_utils import OllamaModelInfo

    OllamaModelInfo.get_model_info = lambda *_args, **_options: None


def _keep_the_word_for_the_end() -> None:
    """Keep litellm from making "stop" of Anthropic's reasons that it does not know, in answers that are no streams."""
    from litellm.llms.anthropic.chat import transformation

    known = transformation.map_finish_reason
    transformation.map_finish_reason = lambda word: known(word) if not word or proper(word) else word


def _take_the_text_of_parts() -> None:
    """Let litellm read answers whose content is a list of parts, of which it says that they are none."""
    from litellm.llms.openai.chat.gpt_transformation import OpenAIGPTConfig

    def plain(_self: Any, answer: dict[str, Any]) -> dict[str, Any]:
        for choice in answer.get("choices") or ():
            if isinstance(message := choice.get("message"), dict):
                message["content"] = plain_text(message.get("content"))
        return answer

    OpenAIGPTConfig.transform_parsed_response_dict = plain


_library = _Library()


def warm() -> None:
    """Start importing litellm in the background; returns at once and may be called again."""
    _library.start()


def load(cancel: CancelToken) -> Any:
    """The imported library; waits for it.

    Raises:
        Cancelled: ``cancel`` was flipped.
        Fault: it cannot be imported.
    """
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
