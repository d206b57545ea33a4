"""Any point of a session's past, forward and back: what replay shows."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState, fold

_INTERVAL: Final = 256
_KEPT: Final = 100
"""States kept at most, unless an interval is given: a seek folds a hundredth of a long session."""

_STEPS: Final = (
    ev.SessionStarted, ev.SessionFinished, ev.StageStarted, ev.ModelReplied, ev.ToolFinished, ev.Decision,
    ev.Question, ev.Answer, ev.Message, ev.Error, ev.GitOperation, ev.PrCreation,
)  # fmt: skip


class Timeline:
    """The events of a session and the state after each of them.

    Making one folds them all, so it belongs into a background thread; states are kept at regular intervals, so that a
    jump folds at most ``interval`` events, also the first one. Without an ``interval`` about a hundred states are kept,
    which share what did not change between them. Indices count the events from 0; -1 is the time before the first.
    """

    def __init__(self, events: Sequence[ev.AnyEvent], interval: int = 0) -> None:
        self.events = list(events)
        self._interval = interval or max(_INTERVAL, -(-len(self.events) // _KEPT))
        self._states = [SessionState()]
        for start in range(0, len(self.events) - self._interval + 1, self._interval):
            self._states.append(fold(self.events[start : start + self._interval], self._states[-1]))
        self._steps = [index for index, event in enumerate(self.events) if _is_step(event)]
        if self.events and (not self._steps or self._steps[-1] != len(self.events) - 1):
            self._steps.append(len(self.events) - 1)

    def __len__(self) -> int:
        return len(self.events)

    def state_at(self, index: int) -> SessionState:
        """The state after the event at ``index``.

        Raises:
            IndexError: there is no such event.
        """
        if not -1 <= index < len(self.events):
            raise IndexError(index)
        count = index + 1
        nearest = count // self._interval
        return fold(self.events[nearest * self._interval : count], self._states[nearest])

    def steps(self) -> list[int]:
        """The indices worth stopping at, ascending: stages, replies, tool results, decisions, verdicts, the end."""
        return list(self._steps)

    def next_step(self, index: int) -> int | None:
        """The first step after ``index``, or ``None`` at the end."""
        at = bisect_right(self._steps, index)
        return self._steps[at] if at < len(self._steps) else None

    def previous_step(self, index: int) -> int | None:
        """The last step before ``index``, or ``None`` at the beginning."""
        at = bisect_left(self._steps, index)
        return self._steps[at - 1] if at else None


def _is_step(event: ev.AnyEvent) -> bool:
    if isinstance(event, ev.Verification):
        return event.verdict != "running"
    return isinstance(event, _STEPS)
