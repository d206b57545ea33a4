"""The agent's conversation as a projection of the log, the same before and after a crash."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ChatMessage, ToolCall
from backspace_tui.core.terminal_text import clip
from backspace_tui.engine.compaction import Entry, compacted, last_mark

LINES_LIMIT = 4_000
HEARD = ("prompt", "steer", "feedback")


class Conversation(msgspec.Struct, frozen=True):
    """The messages after the opening, and the tool calls of the last turn that are not answered yet.

    ``entries`` are the same messages before older turns were shortened, each with the event that brought it.
    """

    messages: tuple[ChatMessage, ...]
    open_calls: tuple[ToolCall, ...]
    turns: int
    last_reply: ev.ModelReplied | None
    entries: tuple[Entry, ...] = ()


def conversation(events: Sequence[ev.AnyEvent]) -> Conversation:
    """The implement stage's conversation so far, as short as the newest mark in the log wants it.

    A message that arrives while a turn is being made was not part of that turn's request (its ``heard`` says which
    were), so it stands after the turn's tool results. The first prompt stands in the opening, not here.
    """
    entries: list[Entry] = []
    waiting: list[Entry] = []
    open_calls: list[ToolCall] = []
    heard = 0
    turns = 0
    last: ev.ModelReplied | None = None

    def deliver(until: int | None) -> None:
        while waiting and (until is None or waiting[0].event.seq <= until):
            entries.append(waiting.pop(0))

    for event in events:
        if text := heard_text(event):
            waiting.append(Entry(ChatMessage("user", text), event))
        match event:
            case ev.ModelCalled(stage="implement"):
                heard = event.heard or event.seq
            case ev.ModelReplied(stage="implement"):
                deliver(heard)
                entries.append(Entry(ChatMessage("assistant", event.text, event.tool_calls), event, event.seq))
                open_calls = list(event.tool_calls)
                turns += 1
                last = event
            case ev.ToolFinished(stage="implement", by="agent") if last is not None:
                if any(call.id == event.call_id for call in open_calls):
                    told = ChatMessage("tool", event.text, tool_call_id=event.call_id)
                    entries.append(Entry(told, event, last.seq))
                    open_calls = [call for call in open_calls if call.id != event.call_id]
            case _:
                pass
    if not open_calls:
        deliver(None)
    messages = compacted(entries, events, last_mark(events))
    return Conversation(messages, tuple(open_calls), turns, last, tuple(entries))


def heard_text(event: ev.AnyEvent) -> str:
    """What an event tells the agent besides the results of its own calls; empty for most."""
    match event:
        case ev.Message(role="user" | "program", kind="feedback", text=text):
            return f"[feedback] {text}"
        case ev.Message(role="user" | "program", kind=kind, text=text) if kind in HEARD:
            return text
        case ev.Decision(action="comment"):
            lines = clip("\n".join(event.lines), LINES_LIMIT)
            return f"[review] The user's comment on your change in {event.path}:\n{lines}\n{event.comment}"
        case ev.GitOperation(operation="rejected" | "restored", detail=detail) if detail:
            return f"[review] {detail}"
        case ev.ToolFinished(by="user", text=text):
            return text
        case _:
            return ""
