"""A stricter reading of streams than litellm's, which skips pieces that it cannot parse for most providers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from backspace_tui.models.endings import Told
from backspace_tui.models.faults import Fault
from backspace_tui.models.unstreamed import error_told, plain_text


def guard(response: Any) -> Told:
    """Let the lines of litellm's streamed ``response`` be checked as they arrive; returns what they tell of its end.

    A piece that is not JSON, or an error, raises :class:`Fault` where it stands. The end mark is not passed on:
    litellm takes it for a finish reason, which only the model gives.
    """
    told = Told()
    source: Any = getattr(response, "completion_stream", None)
    if type(source).__module__.partition(".")[0] == "openai" and hasattr(source, "_iterator"):
        source._iterator = _with_plain_text(source._iterator)
    lines: Any = getattr(source, "streaming_response", None)
    if source is None or not hasattr(lines, "__aiter__") or not type(source).__module__.startswith("litellm.llms."):
        return told
    checked = _checked(lines, told)
    source.streaming_response = source.response_iterator = checked
    if hasattr(source, "async_response_iterator"):
        source.async_response_iterator = checked
    return told


async def _with_plain_text(chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """``chunks`` of OpenAI's client with text alone, which litellm takes any content for."""
    async for chunk in chunks:
        for choice in getattr(chunk, "choices", None) or ():
            delta: Any = getattr(choice, "delta", None)
            if isinstance(getattr(delta, "content", None), list):
                delta.content = plain_text(delta.content)
        yield chunk


async def _checked(lines: AsyncIterator[Any], told: Told) -> AsyncIterator[Any]:
    async for line in lines:
        if isinstance(line, str) and line.startswith("data:"):
            data = line[len("data:") :].strip()
            if data == "[DONE]":
                return
            if data:
                told.note(_checked_piece(data))
        yield line


def _checked_piece(data: str) -> Any:
    try:
        piece = json.loads(data)
    except (ValueError, RecursionError):
        raise Fault("cut", "the stream broke: a piece of it is not JSON") from None
    if isinstance(piece, dict) and piece.get("error"):
        raise error_told(piece["error"], "the stream broke", "cut")
    return piece
