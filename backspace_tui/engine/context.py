"""The agent's conversation as a projection of the log, the same before and after a crash."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ChatMessage, ToolCall
from backspace_tui.core.terminal_text import clip

LINES_LIMIT = 4_000
HEARD = ("prompt", "steer", "feedback")


class Conversation(msgspec.Struct, frozen=True):
    """The messages after the opening, and the tool calls of the last turn that are not answered yet."""

    messages: tuple[ChatMessage, ...]
    open_calls: tuple[ToolCall, ...]
    turns: int
    last_reply: ev.ModelReplied | None


def conversation(events: Iterable[ev.AnyEvent]) -> Conversation:
    """The implement stage's conversation so far.

    A message that arrives while a turn is being made was not part of that turn's request (its ``heard`` says which
    were), so it stands after the turn's tool results. The first prompt stands in the opening, not here.
    """
    messages: list[ChatMessage] = []
    waiting: list[tuple[int, str]] = []
    open_calls: list[ToolCall] = []
    heard = 0
    turns = 0
    last: ev.ModelReplied | None = None

    def deliver(until: int | None) -> None:
        while waiting and (until is None or waiting[0][0] <= until):
            messages.append(ChatMessage("user", waiting.pop(0)[1]))

    for event in events:
        match event:
            case ev.Message(role="user" | "program", kind=kind) if kind in HEARD:
                waiting.append((event.seq, _heard(event)))
            case ev.Decision(action="comment"):
                waiting.append((event.seq, _commented(event)))
            case ev.GitOperation(operation="rejected" | "restored", detail=detail) if detail:
                waiting.append((event.seq, f"[review] {detail}"))
            case ev.ModelCalled(stage="implement"):
                heard = event.heard or event.seq
            case ev.ModelReplied(stage="implement"):
                deliver(heard)
                messages.append(ChatMessage("assistant", event.text, event.tool_calls))
                open_calls = list(event.tool_calls)
                turns += 1
                last = event
            case ev.ToolFinished(by="user", text=text):
                if text:
                    waiting.append((event.seq, text))
            case ev.ToolFinished(stage="implement"):
                if any(call.id == event.call_id for call in open_calls):
                    messages.append(ChatMessage("tool", event.text, tool_call_id=event.call_id))
                    open_calls = [call for call in open_calls if call.id != event.call_id]
            case _:
                pass
    if not open_calls:
        deliver(None)
    return Conversation(tuple(messages), tuple(open_calls), turns, last)


def _heard(event: ev.Message) -> str:
    if event.kind == "feedback":
        return f"[feedback] {event.text}"
    return event.text


def _commented(event: ev.Decision) -> str:
    lines = clip("\n".join(event.lines), LINES_LIMIT)
    return f"[review] The user's comment on your change in {event.path}:\n{lines}\n{event.comment}"
