"""Look for a language model server on this machine: Ollama, llama.cpp, vLLM, LM Studio."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from backspace_tui.config import ModelSettings
from backspace_tui.models.choose import ollama_address

PORTS: Final = (11434, 1234, 8080, 8000)
"""Ollama, LM Studio, llama.cpp, vLLM."""

PROBE_SECONDS: Final = 0.3
_ANSWER_LIMIT: Final = 1_000_000


def find(env: Mapping[str, str]) -> ModelSettings | None:
    """The first model of the first server in :func:`servers`."""
    return next(servers(env), None)


def servers(env: Mapping[str, str]) -> Iterator[ModelSettings]:
    """Every model of the server that the environment names, else of those on known ports of loopback."""
    named = next((env[name] for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE") if env.get(name)), "")
    if named:
        yield from _openai(named, 5.0)
    elif env.get("OLLAMA_HOST"):
        yield from _ollama(ollama_address(env["OLLAMA_HOST"]), 2.0)
    else:
        for port in PORTS:
            if not _listens(port):
                continue
            base = f"http://127.0.0.1:{port}"
            found = _ollama(base, PROBE_SECONDS) if port == PORTS[0] else []
            yield from found or _openai(f"{base}/v1", PROBE_SECONDS)


def _listens(port: int) -> bool:
    # Asked first, because an HTTP client takes longer to import than a window has time.
    with socket.socket() as probe:
        probe.settimeout(PROBE_SECONDS)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _ollama(base: str, timeout: float) -> list[ModelSettings]:
    names = _names(_get(f"{base.rstrip('/')}/api/tags", timeout), "models", "name")
    return [ModelSettings(f"ollama_chat/{name}", base) for name in names]


def _openai(base: str, timeout: float) -> list[ModelSettings]:
    names = _names(_get(f"{base.rstrip('/')}/models", timeout), "data", "id")
    return [ModelSettings(f"openai/{name}", base) for name in names]


def _names(answer: Any, listed: str, field: str) -> list[str]:
    entries = answer.get(listed) if isinstance(answer, dict) else None
    if not isinstance(entries, list):
        return []
    names = [entry.get(field) for entry in entries if isinstance(entry, dict)]
    return [name for name in names if isinstance(name, str) and name.isprintable() and name and " " not in name]


def _get(url: str, timeout: float) -> Any:
    """The JSON at ``url``, without proxies; ``None`` for anything else."""
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    try:
        parts = urlsplit(url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=timeout)
        try:
            connection.request("GET", parts.path, headers={"Accept": "application/json"})
            response = connection.getresponse()
            return json.loads(response.read(_ANSWER_LIMIT)) if response.status == 200 else None
        finally:
            connection.close()
    except (OSError, ValueError, HTTPException):
        return None
