from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backspace_tui.sessions.past import Past

bounds = st.one_of(st.none(), st.integers(-12, 12))


@given(st.lists(st.integers()), st.lists(st.integers()), bounds, bounds, st.sampled_from([None, 1, 2, -1, -3]))
def test_it_is_the_list_of_its_moment(
    before: list[int], later: list[int], start: int | None, stop: int | None, step: int | None
) -> None:
    items = list(before)
    past = Past(items, len(items))
    items += later
    assert past == before
    assert (len(past), list(past), list(reversed(past))) == (len(before), before, before[::-1])
    assert past[start:stop:step] == before[start:stop:step]
    assert [past[index] for index in range(-len(before), len(before))] == before + before
    for index in (len(before), -len(before) - 1):
        try:
            past[index]
        except IndexError:
            continue
        raise AssertionError(index)
