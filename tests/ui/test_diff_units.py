"""Units under the cursor, and the words that differ."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backspace_tui.core import units
from backspace_tui.ui import selection
from backspace_tui.ui.diff_layout import Layout
from backspace_tui.ui.diff_shape import Shape
from backspace_tui.ui.emphasis import MAX_LENGTH, changed_words, mate
from backspace_tui.ui.selection import Mode
from tests.ui.diffs import one

SIGNS = st.text(alphabet=" -+", min_size=1, max_size=24)


def _names(signs: str, mode: Mode, *, paired: bool = False) -> list[str]:
    """The unit at each row of the hunk's lines."""
    layout = Layout([one(signs)], None, 0, (), paired=paired)
    return [
        selection.name(layout, 0, selection.rows(layout, 0, mode, row, row)).removeprefix("abc")
        for row in layout.body_of(0)
    ]


def test_a_line_is_named_by_its_position_and_context_means_the_next_one() -> None:
    #                     1234567
    assert _names(" -+ +- ", "line") == [":2", ":2", ":3", ":5", ":5", ":6", ":6"]
    assert _names(" -+ +- ", "block") == ["/1", "/1", "/1", "/2", "/2", "/2", "/2"]
    assert _names(" -+ +- ", "hunk") == [""] * 7
    assert _names(" -+ ", "block") == [""] * 4


def test_side_by_side_a_row_means_both_its_lines() -> None:
    #                      123456789
    names = _names(" --+ -++ ", "line", paired=True)
    assert names == [":2,4", ":2,4", ":3", ":6-7", ":6-7", ":8", ":8"]
    assert _names(" --+ -++ ", "block", paired=True) == ["/1"] * 3 + ["/2"] * 4


def _range(signs: str, first: int, last: int, mode: Mode, *, paired: bool = False) -> str:
    """The unit between two rows of the hunk's lines, from 1."""
    layout = Layout([one(signs)], None, 0, (), paired=paired)
    at = layout.body_of(0).start - 1
    return selection.name(layout, 0, selection.rows(layout, 0, mode, at + first, at + last)).removeprefix("abc")


@pytest.mark.parametrize(
    ("first", "last", "name"),
    [
        (2, 3, ":2-3"),
        (3, 2, ":2-3"),
        (2, 5, "/1,2"),
        (4, 7, ":5-6"),
        (1, 1, ":2"),
        (3, 5, ":3,5"),
        (1, 99, ""),
        (9, 9, "/3"),
    ],
)
def test_a_range_of_lines(first: int, last: int, name: str) -> None:
    found = _range(" -+ +- +", first, last, "line")
    hunk = one(" -+ +- +").hunk
    expected = units.part_of(hunk, units.positions(hunk, name.replace("/1,2", ":2-3,5")))
    assert found == expected


@settings(max_examples=400)
@given(SIGNS, st.booleans(), st.data())
def test_what_is_named_is_what_is_marked(signs: str, paired: bool, data: st.DataObject) -> None:
    view = one(signs)
    layout = Layout([view], None, 0, (), paired=paired)
    rows = st.integers(0, len(layout) - 1)
    mode = data.draw(st.sampled_from(selection.MODES))
    start, end = data.draw(rows), data.draw(rows)
    selected = selection.rows(layout, 0, mode, start, end)
    assert set(selected) <= set(layout.rows_of(0))
    name = selection.name(layout, 0, selected)
    if not signs.strip():
        assert name == "abc"
        return
    named = units.positions(view.hunk, units.parse(name).part)
    assert named == selection.positions(layout, 0, selected)
    whole = [set(block) for block in units.blocks(view.hunk)]
    assert mode != "block" or all(block <= named or not block & named for block in whole)
    assert mode != "line" or start != end or len(named) <= 1 + paired


@given(SIGNS, st.booleans(), st.sets(st.integers(1, 24)))
def test_advancing_visits_every_open_line_below_once(signs: str, paired: bool, rejected: set[int]) -> None:
    view = one(signs, rejected=frozenset(rejected))
    layout = Layout([view], None, 0, (), paired=paired)
    if not signs.strip():
        return
    row: int | None = layout.body_of(0).start
    visited: set[int] = set()
    first = True
    while row is not None:
        selected = selection.rows(layout, 0, "line", row, row)
        named = selection.positions(layout, 0, selected)
        assert not named & visited
        assert first or named - rejected
        visited |= named
        taken = selection.taken(layout, 0, frozenset())
        row, first = selection.following(layout, 0, "line", selected, taken), False
    assert visited | rejected >= units.changed(view.hunk)


def test_units_under_way_are_passed_over() -> None:
    layout = Layout([one("-+ -+ -+")], None, 0, ())
    first = layout.body_of(0).start
    selected = selection.rows(layout, 0, "block", first, first)
    busy = frozenset({"abc/2", "other/3", "nonsense"})
    assert selection.following(layout, 0, "block", selected, selection.taken(layout, 0, busy)) == first + 6
    busy = frozenset({"abc"})
    assert selection.following(layout, 0, "block", selected, selection.taken(layout, 0, busy)) is None


def test_what_has_no_parts_is_one_unit() -> None:
    from msgspec.structs import replace

    view = one("--++")
    for whole in (view._replace(hunk=replace(view.hunk, kind="deleted")), view._replace(gone=True)):
        layout = Layout([whole], None, 0, ())
        assert selection.name(layout, 0, selection.rows(layout, 0, "line", 2, 2)) == "abc"


@given(SIGNS)
def test_lines_that_stand_beside_each_other_do_so_from_both_sides(signs: str) -> None:
    shape = Shape(one(signs).lines)
    for position, sign in enumerate(signs):
        left, right = shape.at_row(shape.row_of(position))
        assert position in (left, right)
        assert left == right or ({"-": left, "+": right}[sign] == position)
        old, new = shape.change_at(position)
        assert {signs[at] for at in old} <= {"-"}
        assert {signs[at] for at in new} <= {"+"}
        assert sign == " " or position in (*old, *new)


@given(st.lists(st.sampled_from(["a = one", "b = two, x", "import os", "a = one, x", "y"]), max_size=9), st.data())
def test_lines_become_each_other_in_order(texts: list[str], data: st.DataObject) -> None:
    deleted = data.draw(st.integers(0, len(texts)))
    lines = [("-" if at < deleted else "+", text.encode()) for at, text in enumerate(texts)]
    old, new = range(deleted), range(deleted, len(texts))
    pairs = [(at, mate(lines, old, new, at)) for at in old]
    found = [(first, second) for first, second in pairs if second >= 0]
    assert [second for _, second in found] == sorted({second for _, second in found})
    for at in new:
        other = mate(lines, old, new, at)
        assert (other, at) in found if other >= 0 else at not in [second for _, second in found]


def test_a_line_that_came_in_between_takes_no_mate_away() -> None:
    lines = [("-", b"total = sum(prices)"), ("+", b"# with tax"), ("+", b"total = sum(prices) * 1.2")]
    assert [mate(lines, range(1), range(1, 3), at) for at in range(3)] == [2, -1, 0]


# Words that differ


def _marked(old: str, new: str) -> tuple[list[str], list[str]]:
    first, second = changed_words(old, new)
    return [old[start:end] for start, end in first], [new[start:end] for start, end in second]


def test_changed_words_are_found_whole() -> None:
    assert _marked("return sum(i.price for i in items)", "return sum(i.price * i.qty for i in items)") == (
        [],
        ["* i.qty "],
    )
    assert _marked("    rate = 0.2", "    rate = tax.rate(country)") == (["0.2"], ["tax.rate(country)"])
    assert _marked("foo(bar)", "foo(bars)") == (["bar"], ["bars"])


def test_lines_that_have_little_in_common_get_no_marks() -> None:
    assert _marked("import os", "def f(x): return x") == ([], [])
    assert _marked("x" * (MAX_LENGTH + 1), "x" * (MAX_LENGTH + 1) + " y") == ([], [])
    assert _marked("same", "same") == ([], [])
    assert _marked("", "something") == ([], [])


@given(st.text(alphabet="ab (.", max_size=40), st.text(alphabet="ab (.", max_size=40))
def test_without_the_marked_words_both_lines_are_the_same(old: str, new: str) -> None:
    first, second = changed_words(old, new)
    if not first and not second:
        return
    for text, ranges in ((old, first), (new, second)):
        assert all(0 <= start < end <= len(text) for start, end in ranges)
        assert list(ranges) == sorted(ranges)

    def rest(text: str, ranges: tuple[tuple[int, int], ...]) -> str:
        return "".join(char for at, char in enumerate(text) if not any(s <= at < e for s, e in ranges))

    assert rest(old, first) == rest(new, second)
