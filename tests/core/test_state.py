from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState, fold

BASE, ONE, TWO, WORK = "b" * 40, "1" * 40, "2" * 40, "f" * 40


def numbered(*events: ev.AnyEvent) -> list[ev.AnyEvent]:
    time = datetime(2026, 1, 1, tzinfo=UTC)
    return [replace(event, seq=seq, time=time) for seq, event in enumerate(events, 1)]


def begin() -> list[ev.AnyEvent]:
    return [
        ev.SessionStarted(session="s", repository="/r", prompt="fix it", version="0"),
        ev.StageStarted(stage="prepare"),
        ev.GitOperation(operation="base", commit="c" * 40, tree=BASE, branch="main"),
        ev.StageFinished(stage="prepare", outcome="ok", data={"sandbox": "docker, no net"}),
    ]


def decision(action: ev.Action, hunk: str, before: str, tree: str, group: int, undoes: int = 0) -> ev.Decision:
    return ev.Decision(hunk=hunk, path="a", action=action, before=before, tree=tree, group=group, undoes=undoes)


def test_the_base_is_where_all_three_trees_start() -> None:
    state = fold(numbered(*begin()))
    assert (state.accepted_tree, state.work_tree, state.snapshot) == (BASE, BASE, BASE)
    assert (state.sandbox, state.prompt, state.last_seq) == ("docker, no net", "fix it", 4)


def test_accept_and_undo_are_inverses() -> None:
    accept = decision("accept", "h", BASE, ONE, 1)
    accepted = fold(numbered(*begin(), accept))
    assert (accepted.accepted_tree, len(accepted.standing)) == (ONE, 1)
    undone = fold(numbered(*begin(), accept, decision("undo", "h", ONE, BASE, 2, undoes=1)))
    assert (undone.accepted_tree, undone.standing) == (BASE, ())


def test_a_group_is_undone_as_one() -> None:
    group = [decision("reject", name, BASE, BASE, 1) for name in ("h1", "h2")]
    undo = [decision("undo", name, BASE, BASE, 2, undoes=1) for name in ("h2", "h1")]
    state = fold(numbered(*begin(), *group))
    assert [item.hunk for item in state.pending_rejections] == ["h1", "h2"]
    assert fold(numbered(*begin(), *group, *undo)).rejected == {}


def test_undoing_a_rejection_that_was_carried_out_asks_for_its_lines_back() -> None:
    events = [
        *begin(),
        decision("reject", "h", BASE, BASE, 1),
        ev.GitOperation(operation="rejected", before=WORK, tree=BASE, snapshot=BASE, hunks=("h",)),
        decision("undo", "h", BASE, BASE, 2, undoes=1),
    ]
    assert [item.hunk for item in fold(numbered(*events)).restorations] == ["h"]
    back = ev.GitOperation(operation="restored", before=BASE, tree=WORK, snapshot=WORK, hunks=("h",))
    state = fold(numbered(*events, back))
    assert (state.restorations, state.work_tree) == ((), WORK)


def test_the_verdict_is_that_of_the_accepted_tree() -> None:
    checked = ev.Verification(tree=ONE, verdict="passes", command="make test", exit_code=0)
    state = fold(numbered(*begin(), decision("accept", "h", BASE, ONE, 1), checked))
    assert state.verdict is not None
    assert state.verdict.verdict == "passes"
    later = fold(
        numbered(*begin(), decision("accept", "h", BASE, ONE, 1), checked, decision("accept", "i", ONE, TWO, 2))
    )
    assert later.verdict is None


def test_decisions_after_the_commit_make_the_request_stale() -> None:
    commit = ev.GitOperation(operation="commit", commit="d" * 40, tree=ONE, branch="backspace/fix-it")
    events = [*begin(), decision("accept", "h", BASE, ONE, 1), commit]
    assert not fold(numbered(*events)).request_stale
    assert fold(numbered(*events, decision("accept", "i", ONE, TWO, 2))).request_stale


def test_the_same_commit_counts_once() -> None:
    commit = ev.GitOperation(operation="commit", commit="d" * 40, tree=ONE, branch="backspace/fix-it")
    assert fold(numbered(*begin(), commit, commit)).commits == ("d" * 40,)


def test_an_unknown_event_only_counts() -> None:
    state = fold(numbered(*begin()))
    after = fold(numbered(*begin(), ev.Unknown(raw={"type": "from the future"})))
    assert after == replace(state, last_seq=5)


def test_a_pause_lasts_until_it_is_ended() -> None:
    paused = [*begin(), ev.Paused(reason="budget: spent"), ev.SessionFinished(outcome="waiting", exit_code=4)]
    assert fold(numbered(*paused)).paused == "budget: spent"
    assert fold(numbered(*paused, ev.StageStarted(stage="implement"))).paused == "budget: spent"
    assert fold(numbered(*paused, ev.Resumed())).paused == ""


@given(st.integers(min_value=0, max_value=8))
def test_folding_in_two_parts_is_folding_at_once(cut: int) -> None:
    events = numbered(
        *begin(),
        decision("accept", "h", BASE, ONE, 1),
        decision("reject", "i", ONE, ONE, 2),
        ev.ModelReplied(model="m", text="", usd=0.5, tokens_in=10, tokens_out=5),
        decision("undo", "i", ONE, ONE, 3, undoes=2),
    )
    assert fold(events[cut:], fold(events[:cut], SessionState())) == fold(events)
