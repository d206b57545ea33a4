from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backspace_tui.core.pruning import Candidate, Rule, parse_rule, plan

DAY = 86400.0
SESSIONS = (
    Candidate("new", DAY, 10),
    Candidate("middle", 5 * DAY, 1000),
    Candidate("old", 40 * DAY, 20),
    Candidate("works", 50 * DAY, 5000, running=True),
    Candidate("accepted", 60 * DAY, 5000, unsaved=True),
)


def names(rule: Rule) -> list[str]:
    return [item.id for item in plan(SESSIONS, rule).doomed]


@pytest.mark.parametrize(
    ("rule", "doomed"),
    [
        (Rule(), []),
        (Rule(older_than=30 * DAY), ["old"]),
        (Rule(older_than=30 * DAY, force=True), ["old", "accepted"]),
        (Rule(larger_than=100), ["middle"]),
        (Rule(older_than=DAY, larger_than=15), ["middle", "old"]),
        (Rule(keep=2), ["old"]),
        (Rule(keep=0), ["new", "middle", "old"]),
        (Rule(keep=9), []),
    ],
)
def test_every_criterion_has_to_be_met(rule: Rule, doomed: list[str]) -> None:
    assert names(rule) == doomed


def test_what_stays_is_named_and_what_goes_is_counted() -> None:
    chosen = plan(SESSIONS, Rule(larger_than=100))
    assert [item.id for item in chosen.running] == ["works"]
    assert [item.id for item in chosen.unsaved] == ["accepted"]
    assert chosen.size == 1000


candidates = st.builds(
    Candidate,
    id=st.uuids().map(str),
    age=st.floats(0, 1e9),
    size=st.integers(0, 1 << 40),
    running=st.booleans(),
    unsaved=st.booleans(),
)
rules = st.builds(
    Rule,
    older_than=st.none() | st.floats(1, 1e9),
    larger_than=st.none() | st.integers(1, 1 << 40),
    keep=st.none() | st.integers(0, 20),
    force=st.booleans(),
)


@given(st.lists(candidates, max_size=12), rules)
def test_nothing_that_runs_or_is_unsaved_goes_and_the_newest_stay(sessions: list[Candidate], rule: Rule) -> None:
    chosen = plan(sessions, rule)
    assert not any(item.running for item in chosen.doomed)
    assert rule.force or not any(item.unsaved for item in chosen.doomed)
    assert len({item.id for item in (*chosen.doomed, *chosen.running, *chosen.unsaved)}) <= len(sessions)
    if rule.keep is not None:
        newest = sorted(sessions, key=lambda item: (item.age, item.id))[: rule.keep]
        assert not {item.id for item in newest} & {item.id for item in chosen.doomed}


def test_a_rule_is_read_from_a_line() -> None:
    assert parse_rule("older 30d larger 500m keep 20") == Rule(30 * DAY, 500 << 20, 20)
    assert parse_rule("force keep 0") == Rule(keep=0, force=True)
    for wrong in ("", "force", "older", "older soon", "30d", "keep x", "larger -1"):
        with pytest.raises(ValueError, match="like"):
            parse_rule(wrong)
