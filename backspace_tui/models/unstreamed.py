"""Answers that come as one document although a stream was asked for: read as they are, not asked for again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, Final

from backspace_tui.models.classify import LONGEST_MESSAGE
from backspace_tui.models.faults import Fault, Kind, kind_by_words, kind_of, one_line, told_wait

_DOCUMENTS: Final = ("application/json", "text/html")
_LONGEST: Final = 16_000_000


async def document(response: Any) -> str | None:
    """The body of litellm's streamed ``response`` where the server sent no stream; ``None`` where it did.

    Raises:
        Fault: the body is longer than any reply.
    """
    headers = (getattr(response, "_hidden_params", None) or {}).get("additional_headers") or {}
    kind = str(headers.get("llm_provider-content-type", "")).partition(";")[0].strip().lower()
    source = getattr(response, "completion_stream", None)
    if kind not in _DOCUMENTS or source is None:
        return None
    raw = getattr(source, "response", None) or getattr(source, "http_response", None)
    if raw is not None and hasattr(raw, "aread"):
        # What has been read whole can be read again, should it be a stream under a wrong name.
        text = (await raw.aread()).decode("utf-8", "replace")
    elif type(source).__module__.startswith("litellm.llms.anthropic") and hasattr(source, "streaming_response"):
        lines = await _lines(source.streaming_response)
        source.streaming_response = source.response_iterator = _again(lines)
        text = "\n".join(lines)
    else:
        return None
    return None if text.lstrip().startswith(("data:", "event:", "id:", ":", "retry:")) else text


async def _lines(source: AsyncIterator[str]) -> list[str]:
    lines: list[str] = []
    size = 0
    async for line in source:
        lines.append(line)
        size += len(line)
        if size > _LONGEST:
            raise Fault("garbled", "the answer is longer than any reply")
    return lines


async def _again(lines: list[str]) -> AsyncIterator[str]:
    for line in lines:
        yield line


def read(litellm: Any, text: str) -> Any:
    """The answer in ``text`` in the shape of litellm's own, in OpenAI's protocol or Anthropic's.

    Raises:
        Fault: it is none.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        if text.lstrip()[:1] == "<":
            raise Fault("garbled", "the answer is a web page (not a model's server)") from None
        raise Fault("garbled", "the answer is not JSON as the protocol says") from None
    if not isinstance(body, dict):
        raise Fault("garbled", "the answer is not what the protocol says")
    if body.get("error"):
        raise error_told(body["error"], "the answer is an error", "garbled")
    if "choices" in body:
        return _openai(litellm, body)
    if isinstance(body.get("content"), list):
        return _anthropic(litellm, body)
    raise Fault("garbled", "the answer is not what the protocol says")


def error_told(error: Any, what: str, otherwise: Kind) -> Fault:
    """The fault that a provider tells of inside an answer with status 200; ``otherwise`` where its words say none."""
    words = json.dumps(error)[:LONGEST_MESSAGE]
    code = error.get("code") if isinstance(error, dict) else None
    kind = kind_of(code, words) if isinstance(code, int) and code >= 400 else kind_by_words(words) or otherwise
    fault = Fault(kind, f"{what}: {one_line(words)}")
    if kind in ("rate", "server"):
        fault.retry_after = told_wait({}, words, 0.0)
    return fault


def _openai(litellm: Any, body: dict[str, Any]) -> Any:
    choices = body["choices"]
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    usage = _usage(lambda: litellm.Usage(**body["usage"]))
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return SimpleNamespace(choices=[], usage=usage)
    calls = [_call(call.get("id"), call.get("function")) for call in _dicts(message.get("tool_calls"))]
    thinking = message.get("reasoning_content") or message.get("reasoning")
    return _answer(plain_text(message.get("content")), thinking, calls, choice.get("finish_reason"), usage)


def plain_text(content: Any) -> Any:
    """A message's ``content`` with the text of its parts in their place, where it is a list of such."""
    if not isinstance(content, list):
        return content
    texts = (part.get("text") for part in _dicts(content) if part.get("type") in (None, "text"))
    return "".join(text for text in texts if isinstance(text, str))


def _anthropic(litellm: Any, body: dict[str, Any]) -> Any:
    blocks = _dicts(body["content"])
    text = "".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")
    thinking = "".join(str(block.get("thinking", "")) for block in blocks if block.get("type") == "thinking")
    calls = [
        _call(block.get("id"), {"name": block.get("name"), "arguments": json.dumps(block.get("input"))})
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    usage = _usage(lambda: litellm.AnthropicConfig().calculate_usage(body["usage"], None))
    return _answer(text, thinking, calls, body.get("stop_reason"), usage)


def _usage(make: Any) -> Any:
    try:
        return make()
    except Exception:  # the server's numbers may be of any kind
        return None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _call(call_id: Any, function: Any) -> SimpleNamespace:
    function = function if isinstance(function, dict) else {}
    arguments = function.get("arguments")
    return SimpleNamespace(
        id=call_id,
        function=SimpleNamespace(
            name=function.get("name"), arguments=json.dumps(arguments) if isinstance(arguments, dict) else arguments
        ),
    )


def _answer(text: Any, thinking: Any, calls: list[SimpleNamespace], finish: Any, usage: Any) -> SimpleNamespace:
    # A whole document was not cut, whatever it leaves out.
    finish = finish or ("tool_calls" if calls else "stop")
    message = SimpleNamespace(content=text, reasoning_content=thinking, tool_calls=calls)
    return SimpleNamespace(choices=[SimpleNamespace(message=message, finish_reason=finish)], usage=usage)
