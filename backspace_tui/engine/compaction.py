"""How a conversation is made shorter: a mark in the log says how far, and everything else follows from the log. Pure.

Between two marks the messages of a conversation only grow at their end, so that a provider's prompt cache keeps what
it has. A mark never makes anything longer again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ChatMessage, ToolCall
from backspace_tui.core.terminal_text import clip
from backspace_tui.engine.digest import digest

STEPS: Final[tuple[tuple[int, int | None], ...]] = (
    (8, None), (8, 16), (4, None), (4, 16), (4, 8), (2, 8), (2, 4), (1, 4), (1, 0), (0, 2), (0, 1), (0, 0),
)  # fmt: skip
"""From gentle to hard: how many of the newest turns stay whole, and how many before them are shortened (``None``: all).
What is older is folded into one message of notes."""

RESULT_LIMIT: Final = 400
"""Characters of a tool's result, of an argument and of the agent's text in a shortened turn."""

NEWEST_LIMIT: Final = 2_000
"""The same in the newest turn, where even that is shortened."""


class Entry(NamedTuple):
    """A message of the conversation, the event that brought it, and the ``seq`` of the reply whose turn it is part of.

    ``turn`` is 0 for what others than the agent said.
    """

    message: ChatMessage
    event: ev.AnyEvent
    turn: int = 0


def last_mark(events: Sequence[ev.AnyEvent]) -> ev.Message | None:
    """The newest mark, which alone counts."""
    for event in reversed(events):
        if isinstance(event, ev.Message) and event.kind == "compacted":
            return event
    return None


def compacted(
    entries: Sequence[Entry], events: Sequence[ev.AnyEvent], mark: ev.Message | None
) -> tuple[ChatMessage, ...]:
    """The messages of ``entries`` as ``mark`` wants them; every call keeps its result.

    What a message becomes depends on nothing that came after the mark.
    """
    if mark is None:
        return tuple(entry.message for entry in entries)
    border = 0
    newest = 0
    for index, entry in enumerate(entries):
        if entry.turn and entry.turn <= mark.folded:
            border = index + 1
        if entry.turn < mark.seq:
            newest = max(newest, entry.turn)
    calls = {(entry.turn, call.id): call.name for entry in entries for call in entry.message.tool_calls}
    kept = [
        _shortened(entry, calls, NEWEST_LIMIT if entry.turn == newest else RESULT_LIMIT)
        if 0 < entry.turn <= mark.until
        else entry.message
        for entry in entries[border:]
    ]
    if border:
        known = [event for event in events if event.seq <= mark.seq]
        notes = digest([(entry.message, entry.event) for entry in entries[:border]], known)
        kept.insert(0, ChatMessage("user", notes))
    return tuple(kept)


def _shortened(entry: Entry, calls: dict[tuple[int, str], str], limit: int) -> ChatMessage:
    message = entry.message
    if message.role == "tool":
        # An answer of the user's is the user's word.
        if calls.get((entry.turn, message.tool_call_id)) == "ask_user":
            return message
        return replace(message, text=clip(message.text, limit))
    cut = tuple(_cut_call(call, limit) for call in message.tool_calls)
    return replace(message, text=clip(message.text, limit), tool_calls=cut)


def _cut_call(call: ToolCall, limit: int) -> ToolCall:
    if call.arguments is None:
        return call
    return replace(call, arguments={name: _cut(value, limit) for name, value in call.arguments.items()})


def _cut(value: Any, limit: int) -> Any:
    match value:
        case str():
            return clip(value, limit)
        case list():
            return [_cut(item, limit) for item in value]
        case dict():
            return {name: _cut(item, limit) for name, item in value.items()}
        case _:
            return value


def proposals(entries: Sequence[Entry], mark: ev.Message | None, seq: int) -> Iterator[ev.Message]:
    """Marks that shorten more and more, each at least as much as ``mark`` does; as events with this ``seq``."""
    turns = sorted({entry.turn for entry in entries if entry.turn})
    last = (mark.until, mark.folded) if mark else (0, 0)
    least = last
    opening = mark.opening if mark else 0
    for whole, shortened in STEPS:
        until = max(least[0], _before(turns, whole))
        folded = 0 if shortened is None else _before(turns, whole + shortened)
        folded = max(least[1], folded)
        if (until, folded) != last:
            last = (until, folded)
            text = "The agent's older turns are shortened from here on, so that they fit what the model can take."
            yield ev.Message(
                role="program", kind="compacted", text=text, until=until, folded=folded, opening=opening, seq=seq
            )


def _before(turns: Sequence[int], kept: int) -> int:
    """The last turn before the ``kept`` newest, or 0."""
    return turns[-kept - 1] if len(turns) > kept else 0


def size(messages: Sequence[ChatMessage]) -> int:
    """The characters of ``messages``, calls included: a measure to compare conversations by."""
    return sum(
        len(message.text) + sum(len(call.name) + len(json.dumps(call.arguments)) for call in message.tool_calls)
        for message in messages
    )
