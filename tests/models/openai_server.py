"""A chat completions server on loopback that answers from a script and injects faults.

It speaks OpenAI's protocol over plain HTTP/1.1, streaming (SSE) and not, and is used by the tests of the
models, the engine and the whole program::

    with OpenAIServer([call("edit_file", path="a.py", old="1", new="2"), call("finish", summary="done")],
                      texts=["1. edit a.py", "APPROVE"]) as server:
        ...  # point the client at server.url
    assert server.requests[0].body["model"] == "test"

Each request takes the next turn; a fault is a turn of its own. With ``texts``, requests that offer no tools
(plan and critique) take from there instead. A request past the end of the script is answered with 400 and
noted in ``server.problems``.
"""

from __future__ import annotations

import itertools
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.models.turns import BREAKS, STATUS_FAULTS, Call, Script, Turn, text

STREAM_PIECE = 8
"""Characters of text or arguments in one streamed chunk."""


@dataclass(frozen=True)
class Request:
    """What a client sent; ``body`` is empty for requests other than chat completions."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def streamed(self) -> bool:
        return bool(self.body.get("stream"))


def refused_url() -> str:
    """An address at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


class OpenAIServer:
    """The server; starts on entering the context and has ended, with all its threads, after leaving it.

    ``turns`` is the script, or a function from a request's body to its turn. Strings are turns of plain text.
    ``texts``, when given, is the script of requests that offer no tools. With ``repeat_last`` the last turn is
    repeated for ever. Without ``streams`` every answer is one JSON document, whatever the client asks for.
    """

    endpoint = "/chat/completions"

    def __init__(
        self,
        turns: Script = (),
        *,
        texts: Script | None = None,
        repeat_last: bool = False,
        models: Sequence[str] = ("test",),
        streams: bool = True,
    ) -> None:
        self.requests: list[Request] = []
        self.problems: list[str] = []
        self.disconnects = 0
        self.closing = threading.Event()
        self.models = tuple(models)
        self.streams = streams
        self._scripts = {"turns": turns, "texts": turns if texts is None else texts}
        self._shared = texts is None
        self._taken = {"turns": 0, "texts": 0}
        self._repeat_last = repeat_last
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._http = _Server(("127.0.0.1", 0), self, self.handler())
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), name="openai-server")

    def handler(self) -> type[Handler]:
        """What speaks the protocol."""
        return Handler

    def read(self, body: dict[str, Any]) -> dict[str, Any]:
        """A request's body as OpenAI's protocol would have it, for scripts."""
        return body

    @property
    def url(self) -> str:
        """The ``api_base`` of this server."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of the chat requests so far."""
        return [request.body for request in self.requests if request.body]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def wait_for_requests(self, count: int, timeout: float = 20.0) -> None:
        """Return once ``count`` chat requests have arrived; raises :class:`TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.bodies) >= count, timeout):
                raise TimeoutError(f"{len(self.bodies)} of {count} requests arrived in {timeout} s")

    def wait_for_disconnects(self, count: int, timeout: float = 20.0) -> None:
        """Return once ``count`` clients have hung up during a fault or a slow turn."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.disconnects >= count, timeout):
                raise TimeoutError(f"{self.disconnects} of {count} clients hung up in {timeout} s")

    def take(self, request: Request) -> Turn:
        """Record a request and pick its turn."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
            body = self.read(request.body)
            if problem := conversation_problem(body["messages"]):
                self.problems.append(f"request {len(self.requests)}: {problem}")
            which = "turns" if self._shared or body.get("tools") else "texts"
            script = self._scripts[which]
            if callable(script):
                return script(body)
            index = self._taken[which]
            self._taken[which] += 1
            if index >= len(script):
                if not (self._repeat_last and script):
                    self.problems.append(f"request {len(self.requests)} is past the end of the script ({which})")
                    return Turn(fault="400")
                index = len(script) - 1
            turn = script[index]
            return text(turn) if isinstance(turn, str) else turn

    def note(self, request: Request) -> None:
        with self._changed:
            self.requests.append(request)

    def hung_up(self) -> None:
        with self._changed:
            self.disconnects += 1
            self._changed.notify_all()


def conversation_problem(messages: Sequence[Mapping[str, Any]]) -> str:
    """Why a strict provider would refuse these messages, or an empty string: every call has its result at once."""
    open_calls: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_calls:
                return f"a result without a call: {message.get('tool_call_id')}"
            open_calls.remove(message["tool_call_id"])
            continue
        if open_calls:
            return f"calls without a result: {', '.join(open_calls)}"
        open_calls = [made["id"] for made in message.get("tool_calls") or ()]
    return f"calls without a result: {', '.join(open_calls)}" if open_calls else ""


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], owner: OpenAIServer, handler: type[Handler]) -> None:
        self.owner = owner
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the tests."""


class _Gone(Exception):
    """The client hung up, or the server is closing."""


class Handler(BaseHTTPRequestHandler):
    """OpenAI's protocol."""

    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 30
    wbufsize = 0
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    @property
    def owner(self) -> OpenAIServer:
        return self.server.owner

    def handle_one_request(self) -> None:
        # A kept-alive connection must not hold the server open when it closes.
        while not self.owner.closing.is_set():
            if select.select([self.connection], [], [], 0.02)[0]:
                super().handle_one_request()
                return
        self.close_connection = True

    def do_GET(self) -> None:
        self.owner.note(Request(self.path, dict(self.headers), {}))
        if self.path.rstrip("/").endswith("/models"):
            data = [{"id": name, "object": "model"} for name in self.owner.models]
            self._answer(200, json.dumps({"object": "list", "data": data}))
        else:
            self._answer(404, "{}")

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if not self.path.partition("?")[0].endswith(self.owner.endpoint):
            self.owner.note(Request(self.path, dict(self.headers), {}))
            self._answer(404, json.dumps({"error": {"message": "no such path"}}))
            return
        request = Request(self.path, dict(self.headers), json.loads(raw))
        turn = self.owner.take(request)
        try:
            self._serve(turn, request)
        except (_Gone, ConnectionError):
            self.close_connection = True
            if not self.owner.closing.is_set():
                self.owner.hung_up()

    def _serve(self, turn: Turn, request: Request) -> None:
        if turn.fault in STATUS_FAULTS:
            headers = {} if turn.retry_after is None else {"Retry-After": turn.retry_after}
            status, body = self._refusal(turn.fault)
            self._answer(status, json.dumps(body), headers)
        elif turn.fault == "hang":
            self._wait(None)
        elif turn.fault == "reset":
            self._reset()
        elif turn.fault in ("html", "html_400"):
            page = "<!DOCTYPE html><html><body><h1>Welcome to the captive portal</h1></body></html>"
            self._answer(200 if turn.fault == "html" else 400, page, kind="text/html")
        elif turn.fault == "bad_json":
            self._answer(200, '{"id": "x", "object": "chat.completion", "choices": [{"index": 0, "mess')
        elif request.streamed and self.owner.streams:
            self._stream(turn, request)
        else:
            self._whole(turn, request)

    def _whole(self, turn: Turn, request: Request) -> None:
        if turn.fault == "hang_headers":
            self._head({"Content-Type": "application/json", "Content-Length": "1000"})
            self._wait(None)
        if turn.fault in ("filter_stop", "length", "cut_call"):
            turn = cut_off(turn)
        data = json.dumps(self._document(turn, request)).encode()
        if turn.fault not in BREAKS or turn.fault == "cut_call":
            self._answer(200, data.decode())
            return
        half = data[: int(len(data) * turn.cut)]
        match turn.fault:
            case "hang_stream" | "reset_stream" | "eof":
                self._head({"Content-Type": "application/json", "Content-Length": str(len(data))})
                self.wfile.write(half)
                if turn.fault == "hang_stream":
                    self._wait(None)
                if turn.fault == "reset_stream":
                    self._reset()
                self.close_connection = True
            case "error_event" | "rate_event":
                self._answer(200, json.dumps(self._error(turn.fault)))
            case _:
                self._answer(200, half.decode())

    def _refusal(self, kind: str) -> tuple[int, dict[str, Any]]:
        """Status and body of a fault that is a status."""
        status, code, message = STATUS_FAULTS[kind]
        return status, {"error": {"message": message, "type": code, "param": None, "code": code}}

    def _error(self, kind: str) -> dict[str, Any]:
        """The object that tells of an error in an answer with status 200."""
        if kind == "rate_event":
            return {"error": {"message": "Rate limit reached", "type": "tokens", "code": "rate_limit_exceeded"}}
        return {"error": {"message": "The server had an error", "type": "server_error"}}

    def _document(self, turn: Turn, request: Request) -> dict[str, Any]:
        """A whole answer."""
        message: dict[str, Any] = {"role": "assistant", "content": _content(turn, turn.text) or None}
        if turn.thinking:
            message["reasoning_content"] = turn.thinking
        if turn.calls:
            message["tool_calls"] = [_call_json(made) for made in turn.calls]
        if turn.fault == "empty":
            message = {"role": "assistant", "content": ""}
        choices = [{"index": 0, "message": message, "finish_reason": finish_reason(turn), "logprobs": None}]
        if turn.fault == "empty_choices":
            choices = []
        body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "choices": choices}
        return {**body, "model": request.body.get("model"), "usage": _usage(turn)}

    def _stream(self, turn: Turn, request: Request) -> None:
        self._head({"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        if turn.fault == "hang_headers":
            self._wait(None)
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
        base["model"] = request.body.get("model", "")

        def event(choices: list[dict[str, Any]], **more: Any) -> str:
            return f"data: {json.dumps({**base, 'choices': choices, **more})}\n\n"

        def delta(content: dict[str, Any], finish: str | None = None) -> str:
            return event([{"index": 0, "delta": content, "finish_reason": finish}])

        deltas = list(_deltas(turn))
        if turn.fault == "empty":
            deltas = []
        if turn.fault == "empty_choices":
            self._chunk(event([], usage=_usage(turn)))
            self._chunk("data: [DONE]\n\n")
            self._chunk("")
            return
        stop = cut_at(turn, len(deltas))
        self._chunk(delta({"role": "assistant", "content": ""}))
        for content in deltas[:stop]:
            if turn.delay:
                self._wait(turn.delay)
            self._chunk(delta(content))
        match turn.fault:
            case "hang_stream":
                self._wait(None)
            case "reset_stream":
                self._reset()
            case "eof" | "cut_call":
                self._chunk("")
            case "eof_done":
                self._chunk("data: [DONE]\n\n")
                self._chunk("")
            case "bad_chunk":
                self._chunk('data: {"id": "x", "choices": [{"ind\n\n')
                self._chunk("")
            case "error_event" | "rate_event":
                self._chunk(f"data: {json.dumps(self._error(turn.fault))}\n\n")
                self._chunk("")
            case _:
                if turn.fault == "bad_chunk_on" and stop is not None:
                    for number, content in enumerate(deltas[stop:]):
                        whole = delta(content)
                        self._chunk(whole if number else f"{whole[: len(whole) // 2]}\n\n")
                self._chunk(delta({}, finish_reason(turn)))
                if (request.body.get("stream_options") or {}).get("include_usage"):
                    self._chunk(event([], usage=_usage(turn)))
                self._chunk("data: [DONE]\n\n")
                self._chunk("")

    def _answer(
        self, status: int, body: str, headers: Mapping[str, str] | None = None, kind: str = "application/json"
    ) -> None:
        data = body.encode()
        fields = {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}
        self._head(fields, status)
        self.wfile.write(data)

    def _head(self, headers: Mapping[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _chunk(self, data: str) -> None:
        """One HTTP chunk; an empty one ends the body."""
        raw = data.encode()
        self.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")

    def _reset(self) -> None:
        """Close with a TCP reset instead of an orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _wait(self, seconds: float | None) -> None:
        """Wait (for ever if ``None``); raises :class:`_Gone` when the client hangs up or the server closes."""
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            left = 0.02 if end is None else max(0.0, min(0.02, end - time.monotonic()))
            readable = select.select([self.connection], [], [], left)[0]
            if self.owner.closing.is_set() or (readable and not self.connection.recv(1, socket.MSG_PEEK)):
                raise _Gone


_ids = itertools.count(1)


def new_id(prefix: str) -> str:
    """An id that no other call has."""
    return f"{prefix}_{next(_ids)}"


def _call_json(made: Call) -> dict[str, Any]:
    arguments = json.dumps(dict(made.arguments)) if made.raw is None else made.raw
    return {"id": new_id("call"), "type": "function", "function": {"name": made.name, "arguments": arguments}}


def _content(turn: Turn, value: str) -> str | list[dict[str, str]]:
    return [{"type": "text", "text": value}] if turn.parts else value


def _usage(turn: Turn) -> dict[str, int]:
    total = turn.prompt_tokens + turn.completion_tokens
    return {
        "prompt_tokens": turn.prompt_tokens,
        "completion_tokens": turn.completion_tokens,
        "total_tokens": total,
    }


def finish_reason(turn: Turn) -> str:
    """OpenAI's word for why the answer ended."""
    told = {"filter_stop": "content_filter", "length": "length"}.get(turn.fault, turn.finish_reason)
    return told or ("tool_calls" if turn.calls else "stop")


def cut_at(turn: Turn, pieces: int) -> int | None:
    """How many of the answer's streamed pieces arrive before its fault; ``None``: all."""
    if turn.fault in BREAKS or turn.fault in ("filter_stop", "length"):
        return max(1, int(pieces * turn.cut))
    return None


def cut_off(turn: Turn) -> Turn:
    """``turn`` with its last part cut: the arguments of its last call, or its text."""
    if not turn.calls:
        return replace(turn, text=turn.text[: int(len(turn.text) * turn.cut)])
    last = turn.calls[-1]
    arguments = json.dumps(dict(last.arguments)) if last.raw is None else last.raw
    return replace(turn, calls=(*turn.calls[:-1], replace(last, raw=arguments[: int(len(arguments) * turn.cut)])))


def pieces(value: str) -> Iterator[str]:
    for start in range(0, len(value), STREAM_PIECE):
        yield value[start : start + STREAM_PIECE]


def _deltas(turn: Turn) -> Iterator[dict[str, Any]]:
    for piece in pieces(turn.thinking):
        yield {"reasoning_content": piece}
    for piece in pieces(turn.text):
        yield {"content": _content(turn, piece)}
    for index, made in enumerate(turn.calls):
        whole = _call_json(made)
        function = whole.pop("function")
        head = {**whole, "index": index, "function": {"name": function["name"], "arguments": ""}}
        yield {"tool_calls": [head]}
        for piece in pieces(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
