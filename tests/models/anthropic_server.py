"""A server on loopback that speaks Anthropic's messages protocol; its scripts are those of the OpenAI server.

Streaming (typed events with thinking blocks, ``input_json_delta``, pings, usage in two parts) and not, with the same
faults. Scripts that are functions get each request's body as OpenAI's protocol would have it::

    with AnthropicServer([call("finish", summary="done")]) as server:
        ...  # point a client for "anthropic/NAME" at server.url
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from tests.models.openai_server import Handler, OpenAIServer, Request, cut_at, finish_reason, new_id, pieces
from tests.models.turns import Call, Turn

STATUS_FAULTS: Final[Mapping[str, tuple[int, str, str]]] = {
    "400": (400, "invalid_request_error", "temperature: Input should be less than or equal to 1"),
    "context": (400, "invalid_request_error", "prompt is too long: 213425 tokens > 200000 maximum"),
    "no_tools": (400, "invalid_request_error", "tools: this model does not support tools"),
    "filter_400": (400, "invalid_request_error", "Output blocked by content filtering policy"),
    "401": (401, "authentication_error", "invalid x-api-key: sk-test-key-0123456789abcdef"),
    "403": (403, "permission_error", "Your API key does not have permission to use the specified resource."),
    "404": (404, "not_found_error", "model: claude-test"),
    "408": (408, "timeout_error", "Request timed out."),
    "413": (413, "request_too_large", "Request exceeds the maximum size"),
    "429": (429, "rate_limit_error", "This request would exceed your organization's rate limit."),
    "quota": (
        400,
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API. "
        "Please go to Plans & Billing to upgrade or purchase credits.",
    ),
    "500": (500, "api_error", "Internal server error"),
    "502": (502, "api_error", "Bad gateway"),
    "503": (503, "api_error", "Service unavailable"),
    "504": (504, "timeout_error", "Gateway time-out"),
    "529": (529, "overloaded_error", "Overloaded"),
}
_STOPS: Final = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
    "none": None,
}
SIGNATURE: Final = "c2lnbmF0dXJl"
"""What proves a thinking block to be the provider's own."""


class AnthropicServer(OpenAIServer):
    """The server; see :class:`tests.models.openai_server.OpenAIServer`."""

    endpoint = "/v1/messages"

    def handler(self) -> type[Handler]:
        return _Messages

    @property
    def url(self) -> str:
        return super().url.removesuffix("/v1")

    def read(self, body: dict[str, Any]) -> dict[str, Any]:
        if problem := _problem(body):
            self.problems.append(f"request {len(self.requests)}: {problem}")
        read: dict[str, Any] = {"model": body["model"], "messages": _as_chat(body)}
        if body.get("tools"):
            read["tools"] = [{"type": "function", "function": {"name": tool["name"]}} for tool in body["tools"]]
        return read | {"stream": bool(body.get("stream"))}


def _problem(body: Mapping[str, Any]) -> str:
    """Why the provider would refuse a request for its form, or an empty string."""
    if "max_tokens" not in body:
        return "max_tokens is missing"
    roles = [message["role"] for message in body["messages"]]
    if not roles or roles[0] != "user":
        return "the first message is not the user's"
    if any(first == second for first, second in pairwise(roles)):
        return "roles do not alternate"
    texts = (part.get("text") for message in body["messages"] for part in _blocks(message) if part["type"] == "text")
    return "a text block is empty" if any(not value for value in texts) else ""


def _blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _text(content: Any) -> str:
    """The text of a content that is a string or a list of blocks."""
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content or () if block.get("type") == "text")


def _as_chat(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conversation as OpenAI's messages."""
    result: list[dict[str, Any]] = []
    if body.get("system"):
        result.append({"role": "system", "content": _text(body["system"])})
    for message in body["messages"]:
        text, calls = "", []
        for block in _blocks(message):
            if block["type"] == "text":
                text += block["text"]
            elif block["type"] == "tool_use":
                function = {"name": block["name"], "arguments": json.dumps(block["input"])}
                calls.append({"id": block["id"], "type": "function", "function": function})
            elif block["type"] == "tool_result":
                result.append(
                    {"role": "tool", "tool_call_id": block["tool_use_id"], "content": _text(block["content"])}
                )
        if text or calls:
            entry: dict[str, Any] = {"role": message["role"], "content": text or None}
            result.append(entry | ({"tool_calls": calls} if calls else {}))
    return result


class _Messages(Handler):
    """Anthropic's protocol."""

    def _refusal(self, kind: str) -> tuple[int, dict[str, Any]]:
        status, name, message = STATUS_FAULTS[kind]
        return status, _error(name, message)

    def _error(self, kind: str) -> dict[str, Any]:
        if kind == "rate_event":
            return _error("rate_limit_error", "This request would exceed your organization's rate limit.")
        return _error("overloaded_error", "Overloaded")

    def _document(self, turn: Turn, request: Request) -> dict[str, Any]:
        content: list[dict[str, Any]] = []
        if turn.thinking:
            content.append({"type": "thinking", "thinking": turn.thinking, "signature": SIGNATURE})
        if turn.text:
            content.append({"type": "text", "text": turn.text})
        content += [
            {"type": "tool_use", "id": new_id("toolu"), "name": made.name, "input": found}
            for made in turn.calls
            if turn.fault != "cut_call" and (found := _input(turn, made)) is not None
        ]
        if turn.fault == "empty":
            content = [{"type": "text", "text": ""}]
        if turn.fault == "empty_choices":
            content = []
        return {**_message(turn, request), "content": content, "stop_reason": _stop(turn), "usage": _usage(turn)}

    def _stream(self, turn: Turn, request: Request) -> None:
        self._head({"Content-Type": "text/event-stream; charset=utf-8", "Transfer-Encoding": "chunked"})
        if turn.fault == "hang_headers":
            self._wait(None)
        begun = _usage(turn) | {"output_tokens": 1}
        self._event("message_start", message=_message(turn, request) | {"usage": begun})
        events = [] if turn.fault in ("empty", "empty_choices") else list(_events(turn))
        stop = cut_at(turn, len(events))
        for number, event in enumerate(events[:stop]):
            if turn.delay:
                self._wait(turn.delay)
            self._event(**event)
            if number == 1:
                self._event("ping")
        match turn.fault:
            case "hang_stream":
                self._wait(None)
            case "reset_stream":
                self._reset()
            case "eof" | "cut_call":
                self._chunk("")
            case "eof_done":
                self._event("message_stop")
                self._chunk("")
            case "bad_chunk":
                self._chunk('event: content_block_delta\ndata: {"type": "content_block_del\n\n')
                self._chunk("")
            case "error_event" | "rate_event":
                error = self._error(turn.fault)
                self._chunk(f"event: error\ndata: {json.dumps(error)}\n\n")
                self._chunk("")
            case _:
                if turn.fault == "bad_chunk_on" and stop is not None:
                    for number, event in enumerate(events[stop:]):
                        self._event(**event, broken=not number)
                self._event("message_delta", delta={"stop_reason": _stop(turn), "stop_sequence": None},
                            usage={"output_tokens": turn.completion_tokens})  # fmt: skip
                self._event("message_stop")
                self._chunk("")

    def _event(self, type: str, *, broken: bool = False, **data: Any) -> None:
        text = json.dumps({"type": type, **data})
        self._chunk(f"event: {type}\ndata: {text[: len(text) // 2] if broken else text}\n\n")


def _error(name: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": name, "message": message}, "request_id": "req_1"}


def _message(turn: Turn, request: Request) -> dict[str, Any]:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": request.body.get("model", "")}
    return {**head, "content": [], "stop_reason": None, "stop_sequence": None}


def _usage(turn: Turn) -> dict[str, int]:
    return {"input_tokens": turn.prompt_tokens, "output_tokens": turn.completion_tokens}


def _stop(turn: Turn) -> str | None:
    told = finish_reason(turn)
    return _STOPS.get(told, told)


def _input(turn: Turn, made: Call) -> dict[str, Any] | None:
    """A call's input. A whole answer cannot hold half a JSON document: at the output limit the provider sends what it
    could read of it, as if it were whole; ``None`` (no call at all) stands for what is no JSON.
    """
    if made.raw is None:
        return dict(made.arguments)
    if turn.fault != "length":
        return None
    return {key: value[: len(value) // 2] if isinstance(value, str) else value for key, value in made.arguments.items()}


def _events(turn: Turn) -> Iterator[dict[str, Any]]:
    """The events of the content blocks."""
    index = 0

    def block(start: dict[str, Any], deltas: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        nonlocal index
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
        index += 1

    if turn.thinking:
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(turn.thinking)]
        deltas.append({"type": "signature_delta", "signature": SIGNATURE})
        yield from block({"type": "thinking", "thinking": "", "signature": ""}, deltas)
    if turn.text:
        yield from block(
            {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(turn.text)]
        )
    for made in turn.calls:
        arguments = json.dumps(dict(made.arguments)) if made.raw is None else made.raw
        start = {"type": "tool_use", "id": new_id("toolu"), "name": made.name, "input": {}}
        yield from block(start, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(arguments)])
