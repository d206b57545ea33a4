"""Why a line of the agent's is there: the thought, the tool call and its result behind an edit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from backspace_tui.core import events as ev

KEPT: Final = 4000
"""Characters of a call's result that are kept; of a longer one its head and its tail."""


class Why(msgspec.Struct):
    """A tool call: the ``thought`` before it, its one-line ``title``, what it was, and what the model was told of it.

    It may be a command or shell of the user: then the title begins with ``you:``, and nobody thought before it.
    Nothing in it is cleaned for the screen beyond what the log is.
    """

    thought: str
    title: str
    tool: str
    arguments: dict[str, Any]
    result: str = ""


class Calls:
    """The tool calls of a log, found by the ``seq`` of the edits that they made; fed with its events in order."""

    def __init__(self) -> None:
        self._thinking: list[str] = []
        self._thoughts: dict[str, str] = {}
        self._calls: dict[str, Why] = {}
        self._edits: dict[int, Why] = {}
        self._users: Why | None = None

    def take(self, event: ev.AnyEvent) -> None:
        """This event happened."""
        match event:
            case ev.AgentThinking(void=True):
                self._thinking.clear()
            case ev.AgentThinking():
                self._thinking.append(event.text)
            case ev.ModelReplied():
                thought = event.text or "".join(self._thinking)
                self._thinking.clear()
                self._thoughts.update((call.id, thought) for call in event.tool_calls)
            case ev.ToolStarted(by="user"):
                self._users = Why("", f"you: {event.title}", event.tool, event.arguments)
            case ev.ToolFinished(by="user"):
                self._users = None
            case ev.ToolStarted():
                # Ids of calls may come again in later turns, so an edit is of the newest call with its id.
                thought = self._thoughts.pop(event.call_id, "")
                self._calls[event.call_id] = Why(thought, event.title, event.tool, event.arguments)
            case ev.ToolFinished():
                if (call := self._calls.get(event.call_id)) is not None:
                    call.result = _clipped(event.text)
            case ev.FileEdit():
                call = self._users if event.by == "user" else self._calls.get(event.by)
                if call is not None:
                    self._edits[event.seq] = call
            case _:
                pass

    def of(self, edit: int) -> Why | None:
        """The call that made the edit with this ``seq``; ``None`` where neither the agent nor a command did."""
        return self._edits.get(edit)


def why(events: Iterable[ev.AnyEvent], seq: int) -> Why | None:
    """The tool call behind the edit with this ``seq``, such as a hunk's ``why``; ``None`` where there is none."""
    calls = Calls()
    for event in events:
        calls.take(event)
    return calls.of(seq)


def _clipped(text: str) -> str:
    if len(text) <= KEPT:
        return text
    half = KEPT // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
