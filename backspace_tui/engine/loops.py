"""An agent that goes round in circles, as its log shows: told once, and ended when it does not help. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ToolCall
from backspace_tui.engine.context import heard_text

REPEATS: Final = 3
"""The same call with the same result so often, without another state of the files, is a loop."""

IDLE_TURNS: Final = 10
"""So many turns without anything new to the agent, no edit, read or output, are one as well."""

_WATCHED: Final = frozenset({"ask_user", "finish"})
"""Calls that never make a loop: the human answers the one, the other ends the turn."""


class Loop(NamedTuple):
    """What the agent does over and over, in words, and whether it was told so before without effect."""

    what: str
    step: Literal["tell", "end"]

    @property
    def told(self) -> str:
        """What the agent is told, the first time."""
        return (
            f"You are going in circles: {self.what}. Do something else: read other code, change the files, or try "
            "another way. If you cannot go on, call finish and say what is missing; if it is done, call finish."
        )

    @property
    def closing(self) -> str:
        """What the human is told when the agent is ended."""
        return (
            f"The agent was ended because it went in circles: {self.what}. What it did until then is here for the "
            "review; say what it should do differently, and it goes on."
        )


class _Watch:
    """What is counted; everything but what was ever seen is forgotten when somebody says something."""

    def __init__(self) -> None:
        self.tree = ""
        self.calls: dict[str, ToolCall] = {}
        self.seen: set[str] = set()
        self.trees: set[str] = set()
        self.told = False
        self.forget()

    def forget(self) -> None:
        self.results: Counter[tuple[str, str]] = Counter()
        self.last = ""
        self.in_a_row = 0
        self.idle = 0
        self.fresh = True
        self.found = ""

    def replied(self, event: ev.ModelReplied) -> None:
        self.end_turn()
        self.calls = {call.id: call for call in event.tool_calls}
        self.fresh = False

    def end_turn(self) -> None:
        """A turn and its results are complete."""
        self.idle = 0 if self.fresh else self.idle + 1
        self.fresh = True
        if not self.found and self.idle >= IDLE_TURNS:
            self.found = f"{self.idle} turns brought no edit, nothing new that it read and no other output"

    def finished(self, event: ev.ToolFinished) -> None:
        call = self.calls.get(event.call_id)
        if call is None:
            return
        self.tree = event.tree or self.tree
        new_tree = bool(event.tree) and event.tree not in self.trees
        self.trees.add(event.tree)
        # Times and counters in an output do not make it another one.
        result = f"{event.tool} {re.sub(r'[0-9]+', '0', event.text) if event.tool == 'run_command' else event.text}"
        self.fresh = self.fresh or new_tree or call.name in _WATCHED or (event.ok and result not in self.seen)
        self.fresh = self.fresh or (event.tool == "run_command" and result not in self.seen)
        self.seen.add(result)
        if call.name not in _WATCHED:
            self._count(call, event)

    def _count(self, call: ToolCall, event: ev.ToolFinished) -> None:
        made = f"{call.name} {json.dumps(call.arguments, sort_keys=True)} {event.text}"
        self.in_a_row = self.in_a_row + 1 if made == self.last else 1
        self.last = made
        self.results[made, self.tree] += 1
        times = max(self.in_a_row, self.results[made, self.tree])
        if not self.found and times >= REPEATS:
            self.found = f"{_shown(call)} gave the same result {times} times"


def loop(events: Sequence[ev.AnyEvent]) -> Loop | None:
    """The loop that the agent is in now, if it is in one, after a turn whose calls are all answered.

    What anybody says to the agent, a critique's feedback as well, gives it a fresh start. Reading again what a
    shortened conversation does not hold any more is no loop by itself.
    """
    watch = _Watch()
    for event in events:
        match event:
            case ev.Message(kind="feedback", about="loop"):
                watch.forget()
                watch.told = True
            case ev.Message(kind="compacted"):
                watch.results.clear()
            case ev.ModelReplied(stage="implement"):
                watch.replied(event)
            case ev.ToolFinished(stage="implement", by="agent"):
                watch.finished(event)
            case ev.GitOperation(tree=tree) if tree and event.operation in ("snapshot", "rejected", "restored"):
                watch.tree = tree
            case _:
                pass
        if isinstance(event, ev.Answer) or (heard_text(event) and not _about_loop(event)):
            watch.forget()
            watch.told = False
    watch.end_turn()
    if not watch.found:
        return None
    return Loop(watch.found, "end" if watch.told else "tell")


def _about_loop(event: ev.AnyEvent) -> bool:
    return isinstance(event, ev.Message) and event.about == "loop"


def _shown(call: ToolCall) -> str:
    for name in ("command", "path", "pattern", "name"):
        value = (call.arguments or {}).get(name)
        if isinstance(value, str) and value:
            line = " ".join(value.split())
            return f"{call.name} {line if len(line) <= 80 else line[:76] + ' ...'}"
    return call.name or "a call that is not valid"
