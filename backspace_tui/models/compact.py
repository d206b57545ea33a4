"""Shorten a conversation that a model would not take. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from backspace_tui.core.protocols import ChatMessage

KEPT_TURNS: Final = (8, 3, 1)
"""How many of the newest assistant turns stay whole at each level but the last."""

LEVELS: Final = len(KEPT_TURNS) + 1
"""The last level also cuts what the newest turns and the user's messages hold in their middle."""

KEPT_CHARACTERS: Final = 160
"""How much of an older tool result or call argument stays."""

KEPT_NEWEST: Final = 6_000
"""How much of one message stays at the last level, half of it from its end."""


def compact(messages: tuple[ChatMessage, ...], level: int) -> tuple[ChatMessage, ...] | None:
    """``messages`` with older tool results and long call arguments cut; ``None`` if that gains nothing.

    ``level`` counts from 1, each keeps less. Up to the last level what the user and the program said stays, and at
    every level so does every call with its result, so that the conversation remains one that providers accept.
    """
    kept = KEPT_TURNS[min(level, len(KEPT_TURNS)) - 1]
    turns = [index for index, message in enumerate(messages) if message.role == "assistant"]
    border = turns[-kept] if len(turns) > kept else 0
    result = tuple(_shorten(message) if index < border else message for index, message in enumerate(messages))
    if level >= LEVELS:
        result = tuple(_halved(message) for message in result)
    return result if result != messages else None


def _halved(message: ChatMessage) -> ChatMessage:
    """``message`` without its middle, unless it is a system message or short."""
    left_out = len(message.text) - KEPT_NEWEST
    if message.role == "system" or left_out <= KEPT_NEWEST // 10:
        return message
    half = KEPT_NEWEST // 2
    text = f"{message.text[:half]}\n[{left_out} characters left out]\n{message.text[-half:]}"
    return msgspec.structs.replace(message, text=text)


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
