from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState, fold
from backspace_tui.sessions.timeline import Timeline

kinds: st.SearchStrategy[ev.AnyEvent] = st.sampled_from(
    [
        ev.StageStarted(stage="plan"),
        ev.ToolOutput(call_id="c", stream="stdout", text="x"),
        ev.ModelReplied(model="m", text="t", tokens_in=3, usd=0.1),
        ev.FileEdit(path="a", added=1, removed=0, tree="t"),
        ev.Paused(),
        ev.Resumed(),
        ev.Verification(tree="t", verdict="running"),
        ev.Verification(tree="t", verdict="passes"),
    ]
)
logs = st.lists(kinds, max_size=60).map(lambda events: [replace(event, seq=n) for n, event in enumerate(events, 1)])


@given(events=logs, interval=st.integers(1, 9), data=st.data())
def test_any_state_is_the_fold_of_its_past(events: list[ev.AnyEvent], interval: int, data: st.DataObject) -> None:
    timeline = Timeline(events, interval)
    for index in data.draw(st.lists(st.integers(-1, len(events) - 1), max_size=8)):
        assert timeline.state_at(index) == fold(events[: index + 1])


@given(events=logs)
def test_steps_lead_through_forward_and_back(events: list[ev.AnyEvent]) -> None:
    timeline = Timeline(events)
    steps = timeline.steps()
    forward = []
    index = timeline.next_step(-1)
    while index is not None:
        forward.append(index)
        index = timeline.next_step(index)
    assert forward == steps == sorted(set(steps))
    back = []
    index = timeline.previous_step(len(events))
    while index is not None:
        back.append(index)
        index = timeline.previous_step(index)
    assert back == steps[::-1]
    assert not events or steps[-1] == len(events) - 1


def test_deltas_are_no_steps() -> None:
    events: list[ev.AnyEvent] = [
        ev.StageStarted(seq=1),
        ev.AgentThinking(seq=2, text="x"),
        ev.Verification(seq=3, tree="t", verdict="running"),
        ev.Verification(seq=4, tree="t", verdict="passes"),
        ev.ToolOutput(seq=5, call_id="c", stream="stdout", text="x"),
        ev.SessionFinished(seq=6, outcome="done"),
    ]
    assert Timeline(events).steps() == [0, 3, 5]


def test_nothing_lies_outside() -> None:
    timeline = Timeline([ev.Paused(seq=1)])
    assert timeline.state_at(-1) == SessionState()
    assert len(timeline) == 1
    for index in (-2, 1):
        with pytest.raises(IndexError):
            timeline.state_at(index)
