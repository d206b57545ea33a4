"""Shorten a conversation that a model would not take. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from backspace_tui.core.protocols import ChatMessage

KEPT_TURNS: Final = (8, 3, 1)
"""How many of the newest assistant turns stay whole at each level."""

KEPT_CHARACTERS: Final = 160
"""How much of an older tool result or call argument stays."""


def compact(messages: tuple[ChatMessage, ...], level: int) -> tuple[ChatMessage, ...] | None:
    """``messages`` with older tool results and long call arguments cut; ``None`` if that gains nothing.

    ``level`` counts from 1, each keeps less. What the user and the program said stays, and so does every call with
    its result, so that the conversation remains one that providers accept.
    """
    kept = KEPT_TURNS[min(level, len(KEPT_TURNS)) - 1]
    turns = [index for index, message in enumerate(messages) if message.role == "assistant"]
    if len(turns) <= kept:
        return None
    border = turns[-kept]
    result = tuple(_shorten(message) if index < border else message for index, message in enumerate(messages))
    return result if result != messages else None


def _shorten(message: ChatMessage) -> ChatMessage:
    if message.role == "tool":
        return msgspec.structs.replace(message, text=_cut(message.text))
    if not message.tool_calls:
        return message
    calls = tuple(
        msgspec.structs.replace(
            call,
            arguments={
                name: _cut(value) if isinstance(value, str) else value for name, value in call.arguments.items()
            },
        )
        if call.arguments is not None
        else call
        for call in message.tool_calls
    )
    return msgspec.structs.replace(message, tool_calls=calls)


def _cut(text: str) -> str:
    marker = " characters left out]"
    if len(text) <= 2 * KEPT_CHARACTERS or text.endswith(marker):
        return text
    return f"{text[:KEPT_CHARACTERS]} [{len(text) - KEPT_CHARACTERS}{marker}"
