"""Ollama's own protocol on loopback: its list of models, and ``/api/chat`` as lines of JSON.

::

    with OllamaServer([call("finish", summary="done"), "plain text"]) as server:
        ...  # point the client at server.url; the model is "ollama_chat/qwen3:8b"

Of the faults of :mod:`tests.models.openai_server` it knows ``no_tools``, ``eof`` and ``500``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from tests.models.turns import Turn, text

MODEL: Final = "qwen3:8b"
_ERRORS: Final[Mapping[str, tuple[int, str]]] = {
    "no_tools": (400, f"registry.ollama.ai/library/{MODEL} does not support tools"),
    "500": (500, "llama runner process has terminated"),
}


class OllamaServer:
    """The server; answers from a script, or by a function of a request's body."""

    def __init__(self, turns: Sequence[Turn | str] | Callable[[dict[str, Any]], Turn]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self._turns = turns
        self._http = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """The ``api_base`` of this server."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def take(self, body: dict[str, Any]) -> Turn:
        """Record a chat request and pick its turn."""
        self.bodies.append(body)
        if callable(self._turns):
            return self._turns(body)
        turn = self._turns[len(self.bodies) - 1]
        return text(turn) if isinstance(turn, str) else turn


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], owner: OllamaServer) -> None:
        self.owner = owner
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.server.owner.paths.append(self.path)
        if self.path == "/api/tags":
            self._answer(200, [{"models": [{"name": MODEL, "model": MODEL, "details": {"family": "qwen3"}}]}])
        else:
            self._answer(404, [{"error": "not found"}])

    def do_POST(self) -> None:
        self.server.owner.paths.append(self.path)
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        if self.path != "/api/chat":
            self._answer(404, [{"error": "not found"}])
            return
        turn = self.server.owner.take(body)
        if turn.fault in _ERRORS:
            status, message = _ERRORS[turn.fault]
            self._answer(status, [{"error": message}])
        elif body.get("stream", True):
            self._answer(200, _lines(turn))
        else:
            self._answer(200, [_line(_message(turn), turn, done=True)])

    def _answer(self, status: int, lines: Sequence[Mapping[str, Any]] | Iterator[Mapping[str, Any]]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-ndjson" if status == 200 else "application/json")
        self.end_headers()
        for line in lines:
            self.wfile.write(json.dumps(line).encode() + b"\n")


def _message(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": turn.text}
    if turn.thinking:
        message["thinking"] = turn.thinking
    if turn.calls:
        message["tool_calls"] = [{"function": {"name": it.name, "arguments": dict(it.arguments)}} for it in turn.calls]
    return message


def _line(message: dict[str, Any], turn: Turn, *, done: bool) -> dict[str, Any]:
    line = {"model": MODEL, "created_at": "2026-01-02T03:04:05.6Z", "message": message, "done": done}
    if done:
        line |= {
            "done_reason": turn.finish_reason or "stop",
            "total_duration": 1,
            "prompt_eval_count": turn.prompt_tokens,
            "eval_count": turn.completion_tokens,
        }
    return line


def _lines(turn: Turn) -> Iterator[dict[str, Any]]:
    for at in range(0, len(turn.thinking), 8):
        yield _line({"role": "assistant", "content": "", "thinking": turn.thinking[at : at + 8]}, turn, done=False)
    for at in range(0, len(turn.text), 8):
        yield _line({"role": "assistant", "content": turn.text[at : at + 8]}, turn, done=False)
    for made in turn.calls:
        yield _line(_message(Turn(calls=(made,))), turn, done=False)
    if turn.fault != "eof":
        yield _line({"role": "assistant", "content": ""}, turn, done=True)
