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


def decision(
    action: ev.Action,
    hunk: str,
    before: str,
    tree: str,
    group: int,
    undoes: int = 0,
    voids: tuple[int, ...] = (),
) -> ev.Decision:
    return ev.Decision(
        hunk=hunk, path="a", action=action, before=before, tree=tree, group=group, undoes=undoes, voids=voids
    )


def carried_out(*decisions: int, overtaken: tuple[int, ...] = ()) -> ev.GitOperation:
    return ev.GitOperation(
        operation="rejected", before=WORK, tree=BASE, snapshot=BASE, decisions=decisions, overtaken=overtaken
    )


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
        carried_out(5),
        decision("undo", "h", BASE, BASE, 2, undoes=1),
    ]
    assert [item.hunk for item in fold(numbered(*events)).restorations] == ["h"]
    back = ev.GitOperation(operation="restored", before=BASE, tree=WORK, snapshot=WORK, decisions=(5,))
    state = fold(numbered(*events, back))
    assert (state.restorations, state.work_tree) == ((), WORK)


def test_what_the_agent_was_faster_than_has_no_lines_to_bring_back() -> None:
    events = [*begin(), decision("reject", "h", BASE, BASE, 1), carried_out(5, overtaken=(5,))]
    (rejection,) = fold(numbered(*events)).rejected.values()
    assert (rejection.applied, rejection.overtaken) == (True, True)
    undone = fold(numbered(*events, decision("undo", "h", BASE, BASE, 2, undoes=1)))
    assert (undone.rejected, undone.restorations) == ({}, ())


def test_only_the_rejections_that_were_carried_out_do_not_wait() -> None:
    group = [decision("reject", "h", BASE, BASE, 1), decision("redo", "h", BASE, BASE, 2)]
    state = fold(numbered(*begin(), *group, carried_out(5)))
    assert [item.seq for item in state.pending_rejections] == [6]
    assert [item.redo for item in state.rejected.values()] == [False, True]


def test_an_accepted_rejection_is_over_until_that_is_undone() -> None:
    reject = decision("reject", "h", BASE, BASE, 1)
    accept = decision("accept", "h", BASE, ONE, 2, voids=(5,))
    state = fold(numbered(*begin(), reject, accept))
    assert (state.rejected, set(state.voided)) == ({}, {5})
    undone = fold(numbered(*begin(), reject, accept, decision("undo", "h", ONE, BASE, 3, undoes=2)))
    assert ([item.seq for item in undone.pending_rejections], undone.voided) == ([5], {})
    assert undone.accepted_tree == BASE


def test_part_of_an_accepted_rejection_stands() -> None:
    reject = decision("reject", "h", BASE, BASE, 1)
    group = [decision("accept", "h", BASE, ONE, 2, voids=(5,)), decision("reject", "h", BASE, ONE, 2)]
    assert set(fold(numbered(*begin(), reject, *group)).rejected) == {7}
    undo = [decision("undo", "h", ONE, BASE, 3, undoes=2)] * 2
    assert set(fold(numbered(*begin(), reject, *group, *undo)).rejected) == {5}


def test_marks_stand_until_they_are_taken_off_or_undone() -> None:
    review = decision("review", "h", BASE, BASE, 1)
    assert set(fold(numbered(*begin(), review)).marks) == {5}
    off = decision("unreview", "h", BASE, BASE, 2, voids=(5,))
    assert fold(numbered(*begin(), review, off)).marks == {}
    again = decision("undo", "h", BASE, BASE, 3, undoes=2)
    assert set(fold(numbered(*begin(), review, off, again)).marks) == {5}
    both = decision("undo", "h", BASE, BASE, 4, undoes=1)
    assert fold(numbered(*begin(), review, off, again, both)).marks == {}
    edit = decision("edit", "h", BASE, ONE, 1)
    edited = fold(numbered(*begin(), edit))
    assert (set(edited.marks), edited.accepted_tree) == ({5}, ONE)
    back = fold(numbered(*begin(), edit, decision("undo", "h", ONE, BASE, 2, undoes=1)))
    assert (back.marks, back.accepted_tree, back.standing) == ({}, BASE, ())


def test_an_undo_passes_over_comments() -> None:
    events = [*begin(), decision("accept", "h", BASE, ONE, 1), decision("comment", "h", ONE, ONE, 2)]
    state = fold(numbered(*events))
    assert ([group[0].action for group in state.standing], set(state.marks)) == (["accept"], {6})
    undone = fold(numbered(*events, decision("undo", "h", ONE, BASE, 3, undoes=1)))
    assert (undone.accepted_tree, set(undone.marks)) == (BASE, {6})


def test_what_was_sent_with_one_key_does_not_become_the_prompt() -> None:
    typed = fold(numbered(*begin(), ev.Message(role="user", kind="prompt", text="now this")))
    assert typed.prompt == "now this"
    sent = fold(numbered(*begin(), ev.Message(role="user", kind="prompt", text="again", about="redo")))
    assert sent.prompt == "fix it"
    assert sent.unheard is not None


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
