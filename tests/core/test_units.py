"""Names of units: how they are read, what they mean in a hunk, and that spelling and reading are inverses."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backspace_tui.core import units
from backspace_tui.core.hunks import Hunk, file_hunks
from backspace_tui.core.trees import EXECUTABLE, REGULAR, Entry, FileChange
from backspace_tui.core.units import Unit
from tests.core.test_hunks_stage import blobs, unified

ID = "0123456789ab"
OLD = b"a\nb\nc\nd\ne\nf\n"
NEW = b"a\nB\nC\nd\nf\ng\nh\n"
# The lines of their one hunk, with their positions:
#   1 " a"  2 "-b"  3 "-c"  4 "+B"  5 "+C"  6 " d"  7 "-e"  8 " f"  9 "+g"  10 "+h"


def hunks(old: bytes, new: bytes, context: int = 3) -> tuple[Hunk, ...]:
    change = FileChange("f", Entry(REGULAR, "1" * 40), Entry(REGULAR, "2" * 40))
    return file_hunks(change, old, new, unified(old, new, context))


def sample() -> Hunk:
    (hunk,) = hunks(OLD, NEW)
    return hunk


def mode() -> Hunk:
    change = FileChange("f", Entry(REGULAR, "1" * 40), Entry(EXECUTABLE, "1" * 40))
    (hunk,) = file_hunks(change, OLD, OLD, b"")
    return hunk


@pytest.mark.parametrize(
    ("name", "part"),
    [(ID, ""), (ID + "/2", "/2"), (ID + "/1-2,4", "/1-2,4"), (ID + ":3-5,8", ":3-5,8"), (ID + ":1,1,1", ":1,1,1")],
)
def test_a_name_is_a_hunk_and_a_part(name: str, part: str) -> None:
    assert units.parse(name) == Unit(ID, part)


def test_a_hunk_with_a_number_of_its_own_has_parts_too() -> None:
    assert units.parse(ID + "-2:3-4") == Unit(ID + "-2", ":3-4")
    assert units.parse(ID + "-2") == Unit(ID + "-2", "")


@pytest.mark.parametrize(
    "name",
    [
        "", " ", "xyz", ID.upper(), ID + "/", ID + ":", ID + "/a", ID + ":1-", ID + ":-1", ID + ":1,,2", ID + ":1,",
        ID + ":1-2-3", ID + "/1:2", ID + "-", ID + "-2-3", ID + "\n", ID + ":1\n", " " + ID, ID + ":1 ", ID + ":\u0661",
        ID + ":1;2", "--all", "/2", ":3",
    ],
)  # fmt: skip
def test_what_names_no_unit_is_refused_in_a_line(name: str) -> None:
    with pytest.raises(ValueError, match="names no unit") as caught:
        units.parse(name)
    assert "\n" not in str(caught.value)


def test_a_refusal_does_not_repeat_a_long_name() -> None:
    with pytest.raises(ValueError, match="names no unit") as caught:
        units.parse("x" * 100_000)
    assert len(str(caught.value)) < 300


def test_blocks_are_the_runs_of_changed_lines() -> None:
    assert units.blocks(sample()) == (range(2, 6), range(7, 8), range(9, 11))


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("", {2, 3, 4, 5, 7, 9, 10}),
        ("/1", {2, 3, 4, 5}),
        ("/2", {7}),
        ("/1-3", {2, 3, 4, 5, 7, 9, 10}),
        ("/1,3", {2, 3, 4, 5, 9, 10}),
        ("/3,1", {2, 3, 4, 5, 9, 10}),
        ("/2,2", {7}),
        (":2", {2}),
        (":2,4", {2, 4}),
        (":5-9", {5, 7, 9}),
        (":1-10", {2, 3, 4, 5, 7, 9, 10}),
        (":1,3", {3}),
        (":10", {10}),
    ],
)
def test_positions_of_a_part(part: str, expected: set[int]) -> None:
    assert units.positions(sample(), part) == expected


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("/0", "has 3 change blocks"),
        ("/4", "has 3 change blocks"),
        ("/2-4", "has 3 change blocks"),
        ("/2-1", "has 3 change blocks"),
        (":0", "has 10 lines"),
        (":11", "has 10 lines"),
        (":1-99999999999", "has 10 lines"),
        (":9-8", "has 10 lines"),
        (":1", "context alone"),
        (":6,8", "context alone"),
    ],
)
def test_a_part_that_is_not_there_is_refused_in_a_line(part: str, text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        units.positions(sample(), part)
    assert "\n" not in str(caught.value)


def test_other_kinds_have_no_parts() -> None:
    whole = mode()
    assert units.positions(whole, "") == frozenset()
    assert units.part_of(whole, ()) == ""
    for part in ("/1", ":1"):
        with pytest.raises(ValueError, match="as a whole"):
            units.positions(whole, part)


@pytest.mark.parametrize(
    ("named", "part"),
    [
        ({2, 3, 4, 5, 7, 9, 10}, ""),
        ({2, 3, 4, 5}, "/1"),
        ({7}, "/2"),
        ({2, 3, 4, 5, 7}, "/1-2"),
        ({2, 3, 4, 5, 9, 10}, "/1,3"),
        ({2}, ":2"),
        ({2, 4}, ":2,4"),
        ({3, 4, 5, 7}, ":3-5,7"),
        ({7, 9}, ":7,9"),
    ],
)
def test_the_shortest_spelling(named: set[int], part: str) -> None:
    assert units.part_of(sample(), named) == part


def test_the_lines_behind_positions() -> None:
    hunk = sample()
    assert units.chosen(hunk, {2, 5, 7, 10}) == (frozenset({2, 5}), frozenset({3, 7}))
    assert units.chosen(hunk, {1, 6, 8}) == (frozenset(), frozenset())
    assert units.at(hunk, frozenset({2, 5}), frozenset({3, 7})) == {2, 5, 7, 10}
    # Context has old and new numbers as well, and is not meant.
    assert units.at(hunk, frozenset({1, 2, 4, 99}), frozenset({1, 4, 5})) == {2}


def test_what_a_decision_keeps_of_the_lines() -> None:
    assert units.shown_lines(sample()) == ("-b", "-c", "+B", "+C", "-e", "+g", "+h")
    assert units.shown_lines(sample(), {4, 7}) == ("+B", "-e")
    assert units.shown_lines(mode(), ()) == ("-mode 100644", "+mode 100755")
    (odd,) = hunks(b"\xff\n", b"caf\xe9\n")
    assert units.shown_lines(odd) == ("-\ufffd", "+caf\ufffd")


@settings(max_examples=300, deadline=None)
@given(blobs(), st.integers(0, 3), st.data())
def test_spelling_and_reading_are_inverses(pair: tuple[bytes, bytes], context: int, data: st.DataObject) -> None:
    found = hunks(*pair, context)
    assume(found)
    hunk = data.draw(st.sampled_from(found))
    every = units.changed(hunk)
    named = frozenset(data.draw(st.sets(st.sampled_from(sorted(every)), min_size=1)))
    part = units.part_of(hunk, named)
    assert units.parse(hunk.id + part) == Unit(hunk.id, part)
    assert units.positions(hunk, part) == named
    assert (part == "") == (named == every)

    deletions, additions = units.chosen(hunk, named)
    assert units.at(hunk, deletions, additions) == named
    assert (deletions <= hunk.deletions, additions <= hunk.additions) == (True, True)
    assert units.chosen(hunk, every) == (hunk.deletions, hunk.additions)
    assert len(units.shown_lines(hunk, named)) == len(named)
    others = [other for other in found if other is not hunk]
    assert all(not units.at(other, deletions, additions) for other in others)


@settings(max_examples=200, deadline=None)
@given(blobs(), st.integers(0, 3))
def test_blocks_part_the_changed_lines(pair: tuple[bytes, bytes], context: int) -> None:
    for hunk in hunks(*pair, context):
        found = units.blocks(hunk)
        assert [position for block in found for position in block] == sorted(units.changed(hunk))
        for number, block in enumerate(found, start=1):
            assert units.positions(hunk, f"/{number}") == frozenset(block)
            around = (block[0] - 1, block[-1] + 1)
            assert all(hunk.lines[p - 1][0] == " " for p in around if 1 <= p <= len(hunk.lines))
