"""Look for language model servers on this machine: Ollama, llama.cpp, vLLM, LM Studio."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from backspace_tui.config import ModelSettings
from backspace_tui.models.choose import ollama_address

PORTS: Final = (11434, 1234, 8080, 8000)
"""Ollama, LM Studio, llama.cpp, vLLM."""

PROBE_SECONDS: Final = 0.3
"""How long a port of this machine may take to answer, from the first byte to the last."""

_NAMED_SECONDS: Final = 5.0
_ANSWER_LIMIT: Final = 1_000_000
_KINDS: Final = {"library": "Ollama", "llamacpp": "llama.cpp", "vllm": "vLLM", "organization_owner": "LM Studio"}
_NO_CHAT: Final = re.compile(r"embed|rerank|whisper|(^|[-_/])(bge|tts|clip)[-_]", re.I)


class LocalServer(msgspec.Struct, frozen=True):
    """A server that answers: what it is (``Ollama``, ``llama.cpp``, ...), and its models as they are named here."""

    kind: str
    models: tuple[ModelSettings, ...]

    @property
    def address(self) -> str:
        """The ``api_base`` of its models."""
        return self.models[0].api_base

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(model.name for model in self.models)


def find(env: Mapping[str, str]) -> ModelSettings | None:
    """The first model of the first server in :func:`servers`."""
    return next((model for server in servers(env) for model in server.models), None)


def servers(env: Mapping[str, str]) -> Iterator[LocalServer]:
    """The server that OPENAI_BASE_URL names, else OLLAMA_HOST's and those on known ports; only what has a model."""
    named = next((env[name] for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE") if env.get(name)), "")
    if named:
        yield from _openai(named if "://" in named else f"http://{named}", _NAMED_SECONDS)
        return
    known = [f"http://127.0.0.1:{port}" for port in PORTS]
    ollama = known[0]
    if env.get("OLLAMA_HOST"):
        ollama = ollama_address(env["OLLAMA_HOST"])
        yield from _ollama(ollama, _NAMED_SECONDS)
        known = [base for base in known if base != ollama]
    for base in known:
        if _listens(base):
            found = _ollama(base, PROBE_SECONDS) if base == ollama else []
            yield from found or _openai(f"{base}/v1", PROBE_SECONDS)


def _listens(base: str) -> bool:
    # Asked first, because an HTTP client takes longer to import than a window has time.
    with socket.socket() as probe:
        probe.settimeout(PROBE_SECONDS)
        return probe.connect_ex(("127.0.0.1", urlsplit(base).port or 80)) == 0


def _ollama(base: str, seconds: float) -> list[LocalServer]:
    base = base.rstrip("/")
    names = _names(_get(f"{base}/api/tags", seconds), "models", "name")
    return _server("Ollama", [ModelSettings(f"ollama_chat/{name}", base) for name in names])


def _openai(base: str, seconds: float) -> list[LocalServer]:
    answer = _get(f"{base.rstrip('/')}/models", seconds)
    names = _names(answer, "data", "id")
    owners = _names(answer, "data", "owned_by")
    kind = next((_KINDS[owner] for owner in owners if owner in _KINDS), "an OpenAI-compatible server")
    return _server(kind, [ModelSettings(f"openai/{name}", base) for name in names])


def _server(kind: str, models: list[ModelSettings]) -> list[LocalServer]:
    chat = tuple(model for model in models if not _NO_CHAT.search(model.name))
    return [LocalServer(kind, chat)] if chat else []


def _names(answer: Any, listed: str, field: str) -> list[str]:
    entries = answer.get(listed) if isinstance(answer, dict) else None
    if not isinstance(entries, list):
        return []
    names = [entry.get(field) for entry in entries if isinstance(entry, dict)]
    return [name for name in names if isinstance(name, str) and name.isprintable() and name and " " not in name]


def _get(url: str, seconds: float) -> Any:
    """The JSON at ``url``, without proxies; ``None`` for anything else, and for what takes longer than ``seconds``."""
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    try:
        parts = urlsplit(url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=seconds)
        try:
            connection.connect()
            # The timeout counts from byte to byte; this one ends an answer that drips.
            with _hung_up_after(seconds, connection.sock):
                connection.request("GET", parts.path, headers={"Accept": "application/json"})
                response = connection.getresponse()
                return json.loads(response.read(_ANSWER_LIMIT)) if response.status == 200 else None
        finally:
            connection.close()
    except (OSError, ValueError, RecursionError, HTTPException):
        return None


@contextmanager
def _hung_up_after(seconds: float, connected: socket.socket) -> Iterator[None]:
    def hang_up() -> None:
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
