"""Shared parts of the models' tests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from backspace_tui.config import ModelSettings
from backspace_tui.core.protocols import ChatMessage, Estimate, Failure, ModelRequest, ToolSchema
from backspace_tui.models.chain import FallbackChain
from backspace_tui.models.litellm_model import LiteLLMModel

WRITE_FILE = ToolSchema(
    "write_file",
    "Create a file.",
    {
        "type": "object",
        "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
        "required": ["path", "content"],
    },
)


class Token:
    """A cancel token."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self.cancelled = False

    def cancel(self) -> None:
        with self._lock:
            self.cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        with self._lock:
            if not self.cancelled:
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def _forget(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

    @property
    def registered(self) -> int:
        return len(self._callbacks)


class Recorder:
    """An observer that writes down what it hears."""

    def __init__(self, on_text: Callable[[], None] | None = None) -> None:
        self.estimates: list[Estimate] = []
        self.calls: list[tuple[str, int]] = []
        self.failures: list[tuple[str, str, float | None]] = []
        self.told: list[Failure] = []
        self.pieces: list[tuple[str, str]] = []
        self._on_text = on_text

    def may_call(self, estimate: Estimate) -> None:
        self.estimates.append(estimate)

    def called(self, model: str, attempt: int) -> None:
        self.calls.append((model, attempt))

    def failed(self, failure: Failure) -> None:
        self.told.append(failure)
        self.failures.append((failure.model, failure.reason, failure.retry_in))

    def streamed(self, kind: Literal["text", "thinking"], text: str) -> None:
        self.pieces.append((kind, text))
        if self._on_text is not None:
            self._on_text()

    def text(self, kind: str = "text") -> str:
        return "".join(piece for of, piece in self.pieces if of == kind)


def ask(*texts: str, tools: bool = True, purpose: str = "implement") -> ModelRequest:
    """A request with a system message and user messages."""
    messages = (ChatMessage("system", "You are a test."), *(ChatMessage("user", text) for text in texts))
    return ModelRequest(messages, purpose, (WRITE_FILE,) if tools else ())


def model(url: str, name: str = "openai/test", timeout: float = 20.0, **options: float) -> LiteLLMModel:
    return LiteLLMModel(ModelSettings(name, url, timeout=timeout), "sk-test-key-0123456789abcdef", **options)


def chain(*urls: str, timeout: float = 20.0) -> FallbackChain:
    """A chain of models named openai/one, openai/two, ..."""
    names = ("one", "two", "three")
    return FallbackChain([model(url, f"openai/{name}", timeout) for name, url in zip(names, urls, strict=False)])
