from __future__ import annotations

import pytest

from backspace_tui.core.stages import MAX_REVISIONS, NEXT, STAGES, after, backoff


def test_the_happy_path_visits_every_stage_once() -> None:
    visited = [STAGES[0]]
    while visited[-1] != "done":
        visited.append(after(visited[-1], "ok"))
    assert tuple(visited) == STAGES


def test_every_target_is_a_stage() -> None:
    assert set(NEXT.values()) <= set(STAGES)


def test_the_critique_sends_back_at_most_so_often() -> None:
    assert [after("critique", "revise", count) for count in range(MAX_REVISIONS + 1)] == [
        "implement",
        "implement",
        "implement",
        "review",
    ]


def test_a_retry_stays_where_it_is() -> None:
    assert all(after(stage, "retry") == stage for stage in STAGES)


def test_failure_has_no_next_stage() -> None:
    with pytest.raises(KeyError):
        after("implement", "failed")


def test_backoff_doubles() -> None:
    assert [backoff(attempt) for attempt in (1, 2, 3)] == [0.5, 1.0, 2.0]
