"""Keeping the conversation inside the model's window: shortened for good before that is full, or when it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import Cancelled, ChatMessage, Estimate, ModelRequest, ToolSchema
from backspace_tui.core.terminal_text import clip
from backspace_tui.engine.compaction import compacted, last_mark, proposals, size
from backspace_tui.engine.context import conversation
from backspace_tui.engine.job import Job, Stopped

FULL: Final = 0.75
"""The part of the window from which on a conversation is shortened."""

TARGET: Final = 0.4
"""The part of the window that it takes afterwards, if what must stay allows it."""

GAIN: Final = 0.9
"""A shortening that leaves more of the conversation than this is not worth the prompt cache that it costs."""


LEAST: Final = 1_000
"""Characters of what is known of the repository that the opening keeps in any case."""


class Frame(NamedTuple):
    """What every request of the agent's begins with; of it the ``material`` alone may be cut."""

    system: str
    request: str
    material: str
    plan: str
    tools: tuple[ToolSchema, ...]

    def opening(self, limit: int) -> tuple[ChatMessage, ...]:
        """The first messages, with at most ``limit`` characters of the material (0: all of it)."""
        material = clip(self.material, limit) if limit else self.material
        parts = (self.request, material, self.plan)
        return ChatMessage("system", self.system), ChatMessage("user", "\n\n".join(part for part in parts if part))

    @property
    def tools_size(self) -> int:
        return sum(len(tool.description) + len(json.dumps(tool.parameters)) for tool in self.tools)


class Draft(NamedTuple):
    """The next turn's request, and the ``seq`` of the last event that it tells of."""

    request: ModelRequest
    heard: int


def drafted(job: Job, frame: Frame) -> Draft:
    """The next turn's request; where the conversation has grown too long, a mark that shortens it is logged first."""
    while True:
        events = job.recorder.events
        draft = _draft(frame, events)
        if not any(isinstance(event, ev.ModelReplied) and event.stage == "implement" for event in events):
            return draft
        estimate = estimated(job, draft.request)
        # One refusal of what has ample room is not believed.
        ample = bool(estimate.window) and estimate.tokens_in < estimate.window / 2
        mark = choose(frame, events, estimate, refused=overflowed(events) and not ample)
        if mark is None:
            return draft
        job.recorder.emit(mark)


def shorter(job: Job, frame: Frame) -> Draft | None:
    """The request once more in short, after no model took it; ``None`` where nothing more can be left out."""
    events = job.recorder.events
    estimate = estimated(job, _draft(frame, events).request)
    mark = choose(frame, events, estimate, refused=True) or cut_opening(frame, last_mark(events))
    if mark is None:
        return None
    job.recorder.emit(mark)
    return _draft(frame, job.recorder.events)


def _draft(frame: Frame, events: Sequence[ev.AnyEvent]) -> Draft:
    mark = last_mark(events)
    opening = frame.opening(mark.opening if mark else 0)
    return Draft(ModelRequest(opening + conversation(events).messages, "implement", frame.tools), events[-1].seq)


def estimated(job: Job, request: ModelRequest) -> Estimate:
    """What ``request`` will take. Raises :class:`Stopped` where the user ended the wait for it."""
    try:
        return job.parts.model.estimate(request)
    except Cancelled:
        job.check_stop()
        raise Stopped(quit=False) from None


def overflowed(events: Sequence[ev.AnyEvent]) -> bool:
    """Whether a model refused the last turn for its length, and the conversation was not shortened since."""
    replies = 0
    for event in reversed(events):
        match event:
            case ev.Message(kind="compacted"):
                return False
            case ev.ModelReplied(stage="implement"):
                replies += 1
                if replies > 1:
                    return False
            case ev.ModelFailed(stage="implement", kind="context"):
                return True
            case _:
                pass
    return False


def choose(frame: Frame, events: Sequence[ev.AnyEvent], estimate: Estimate, refused: bool) -> ev.Message | None:
    """The gentlest mark that makes enough room, or ``None`` where none is needed or none helps.

    ``estimate`` is of the request as it is. Where the conversation has nothing to give and the window is known to be
    full, the opening's material is cut.
    """
    talk, last = conversation(events), last_mark(events)
    fixed = size(frame.opening(last.opening if last else 0)) + frame.tools_size
    characters = max(fixed + size(talk.messages), 1)
    tokens = estimate.tokens_in or characters / 4
    full = _full(estimate)
    if refused:
        full, target = min(full, tokens * FULL), min(estimate.window * TARGET or tokens, tokens / 2)
    elif tokens > full:
        target = estimate.window * TARGET
    else:
        return None
    found = []
    for mark in proposals(talk.entries, last, events[-1].seq + 1 if events else 1):
        needed = (fixed + size(compacted(talk.entries, events, mark))) * tokens / characters
        if needed <= tokens * GAIN:
            found.append((needed, mark))
    if not found:
        return None if refused else cut_opening(frame, last)
    # The model has not seen the results of the newest turn yet.
    newest = max(entry.turn for entry in talk.entries)
    unseen_whole = [(needed, mark) for needed, mark in found if mark.until < newest]
    if unseen_whole and min(needed for needed, _ in unseen_whole) <= full:
        found = unseen_whole
    smallest = min(needed for needed, _ in found)
    if smallest > target:
        # What must stay is large: at its edge the conversation would be shortened again at every turn.
        target = max(smallest, (smallest + full) / 2 if smallest < full else 0.0)
    return next(mark for needed, mark in found if needed <= target)


def cut_opening(frame: Frame, last: ev.Message | None) -> ev.Message | None:
    """A mark that leaves half of the material that the opening holds now."""
    now = min(last.opening or len(frame.material), len(frame.material)) if last else len(frame.material)
    if now <= LEAST:
        return None
    text = "What is known of the repository is told in short from here on, so that it fits what the model can take."
    mark = last or ev.Message(role="program", kind="compacted", text=text)
    return replace(mark, text=text, opening=max(LEAST, now // 2))


def _full(estimate: Estimate) -> float:
    if not estimate.window:
        return float("inf")
    room = estimate.window - estimate.tokens_out
    return min(estimate.window * FULL, room) if room > estimate.window / 2 else estimate.window * FULL
