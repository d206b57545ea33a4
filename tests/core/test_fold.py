"""However a log is cut into pieces, its fold is the same, and no state that was handed out changes afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.spending import REASON
from backspace_tui.core.state import SessionState, apply, fold

seqs = st.integers(1, 40)
some = st.lists(seqs, max_size=3).map(tuple)
trees = st.sampled_from(["", "1" * 40, "2" * 40])
paths = st.sampled_from(["a", "b"])
stages = st.sampled_from(["prepare", "implement", "critique", "review", "done"])
texts = st.sampled_from(["", "x", "y"])

decisions = st.builds(
    ev.Decision,
    hunk=st.sampled_from(["h", "i"]),
    path=paths,
    action=st.sampled_from(["accept", "reject", "undo", "unstage", "review", "unreview", "comment", "edit", "redo"]),
    tree=trees,
    before=trees,
    group=st.integers(1, 4),
    undoes=st.integers(1, 4),
    voids=some,
)
kinds: dict[type[ev.Event], st.SearchStrategy[ev.AnyEvent]] = {
    ev.Decision: decisions,
    ev.SessionStarted: st.builds(
        ev.SessionStarted,
        session=texts,
        repository=texts,
        prompt=texts,
        version=texts,
        forked_at=st.sampled_from([0, 9]),
    ),
    ev.SessionFinished: st.builds(
        ev.SessionFinished, outcome=st.sampled_from(["done", "failed", "stopped", "waiting"]), reason=texts
    ),
    ev.StageStarted: st.builds(ev.StageStarted, stage=stages, attempt=st.integers(1, 3)),
    ev.StageFinished: st.builds(
        ev.StageFinished,
        stage=stages,
        outcome=st.sampled_from(["ok", "retry", "revise", "failed", "stopped"]),
        data=st.sampled_from([{}, {"sandbox": "docker"}, {"publish": "commit"}]),
    ),
    ev.Message: st.builds(
        ev.Message,
        role=st.sampled_from(["user", "program"]),
        text=texts,
        kind=st.sampled_from(["prompt", "steer", "plan", "notice"]),
        about=st.sampled_from(["", "redo"]),
    ),
    ev.Question: st.builds(ev.Question, question=texts),
    ev.Answer: st.builds(ev.Answer, question=seqs, text=texts),
    ev.Paused: st.builds(
        ev.Paused, reason=st.sampled_from(["user", f"{REASON}spent"]), limit=st.sampled_from(["", "usd"])
    ),
    ev.Resumed: st.just(ev.Resumed()),
    ev.StopAsked: st.just(ev.StopAsked()),
    ev.Error: st.builds(ev.Error, message=texts),
    ev.AgentThinking: st.builds(ev.AgentThinking, text=texts),
    ev.ModelCalled: st.builds(ev.ModelCalled, model=texts, heard=seqs),
    ev.ModelFailed: st.builds(ev.ModelFailed, model=texts, reason=texts, usd=st.sampled_from([None, 0.25])),
    ev.ModelReplied: st.builds(
        ev.ModelReplied, model=texts, text=texts, tokens_in=seqs, usd=st.sampled_from([None, 0.25])
    ),
    ev.ToolStarted: st.builds(ev.ToolStarted, call_id=texts, tool=texts),
    ev.ToolOutput: st.builds(ev.ToolOutput, call_id=texts, stream=st.just("stdout"), text=texts),
    ev.ToolFinished: st.builds(
        ev.ToolFinished, call_id=texts, tool=texts, ok=st.booleans(), text=texts, tree=trees, snapshot=trees
    ),
    ev.FileEdit: st.builds(ev.FileEdit, path=paths, added=seqs, removed=seqs, tree=trees, old=texts, new=texts),
    ev.Verification: st.builds(
        ev.Verification, tree=trees, verdict=st.sampled_from(["running", "baseline", "passes", "not verified"])
    ),
    ev.GitOperation: st.builds(
        ev.GitOperation,
        operation=st.sampled_from(["base", "snapshot", "rejected", "restored", "commit", "push"]),
        ok=st.booleans(),
        tree=trees,
        snapshot=trees,
        commit=texts,
        decisions=some,
        overtaken=some,
    ),
    ev.PrCreation: st.builds(
        ev.PrCreation, forge=texts, branch=texts, base=texts, title=texts, body=texts, commit=texts
    ),
    ev.Unknown: st.builds(ev.Unknown, raw=st.just({"type": "later"})),
}
events = st.one_of(decisions, *kinds.values())


def numbered(found: list[ev.AnyEvent]) -> list[ev.AnyEvent]:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [replace(event, seq=seq, time=start + timedelta(seconds=seq)) for seq, event in enumerate(found, 1)]


logs = st.lists(events, max_size=40).map(numbered)


def test_every_type_of_event_is_tried() -> None:
    assert set(kinds) == set(ev.AnyEvent.__args__)


@given(log=logs, data=st.data())
def test_one_by_one_at_once_and_in_two_parts_are_the_same(log: list[ev.AnyEvent], data: st.DataObject) -> None:
    whole = fold(log)
    step = SessionState()
    for event in log:
        step = apply(step, event)
    assert step == whole
    cut = data.draw(st.integers(0, len(log)))
    assert fold(log[cut:], fold(log[:cut])) == whole
    assert (whole.last_seq, whole.last_time) == (len(log), log[-1].time if log else ev.EPOCH)


@given(log=logs, data=st.data())
def test_a_state_does_not_change_when_more_is_folded_onto_it(log: list[ev.AnyEvent], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(log)))
    before = fold(log[:cut])
    looked = msgspec.json.encode(before)
    fold(log[cut:], before)
    for event in log[cut:]:
        apply(before, event)
    assert msgspec.json.encode(before) == looked
