"""A stricter reading of streams than litellm's, which skips pieces that it cannot parse for most providers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from backspace_tui.models.faults import Fault
from backspace_tui.models.unstreamed import told


def guard(response: Any) -> None:
    """Let the lines of litellm's streamed ``response`` be checked as they arrive.

    A piece that is not JSON, or an error, raises :class:`Fault` where it stands. The end mark is not passed on:
    litellm takes it for a finish reason, which only the model gives.
    """
    source: Any = getattr(response, "completion_stream", None)
    lines: Any = getattr(source, "streaming_response", None)
    if source is None or not hasattr(lines, "__aiter__") or not type(source).__module__.startswith("litellm.llms."):
        return
    checked = _checked(lines)
    source.streaming_response = source.response_iterator = checked
    if hasattr(source, "async_response_iterator"):
        source.async_response_iterator = checked


async def _checked(lines: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for line in lines:
        if isinstance(line, str) and line.startswith("data:"):
            data = line[len("data:") :].strip()
            if data == "[DONE]":
                return
            if data:
                _check(data)
        yield line


def _check(data: str) -> None:
    try:
        piece = json.loads(data)
    except (ValueError, RecursionError):
        raise Fault("cut", "the stream broke: a piece of it is not JSON") from None
    if isinstance(piece, dict) and piece.get("error"):
        raise told(piece["error"], "the stream broke", "cut")
