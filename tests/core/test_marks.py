"""Where lines are after further changes: legs against difflib's own opcodes and git's diffs, and what is carried."""

from __future__ import annotations

import difflib
import random
import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backspace_tui.core import units
from backspace_tui.core.alignment import leg, split_lines
from backspace_tui.core.hunks import Hunk, file_hunks
from backspace_tui.core.marks import (
    LOST,
    Accepted,
    Carried,
    Leg,
    Spot,
    accepted_of,
    carry,
    numbers,
    overtakes,
    ranges,
    spot_of,
    touches,
)
from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, Entry, FileChange
from tests.core.test_hunks_stage import LINES, blobs, git_diff, unified

TEXT = FileChange("f", Entry(REGULAR, "1" * 40), Entry(REGULAR, "2" * 40))


def hunks(old: bytes, new: bytes, context: int = 3, change: FileChange = TEXT) -> tuple[Hunk, ...]:
    return file_hunks(change, old, new, unified(old, new, context))


def text(*items: object) -> bytes:
    return b"".join(str(item).encode() + b"\n" for item in items)


class Reference(NamedTuple):
    """The lines that two blobs share by difflib's opcodes, and for each old line the place of what replaced it."""

    same: dict[int, int]
    places: dict[int, int]

    @classmethod
    def of(cls, old: bytes, new: bytes) -> Reference:
        same, places = {}, {}
        matcher = difflib.SequenceMatcher(None, split_lines(old), split_lines(new))
        for tag, i1, i2, j1, j2 in matcher.get_opcodes():
            for i in range(i1, i2):
                if tag == "equal":
                    same[i + 1] = j1 + i - i1 + 1
                replacement = list(range(j1 + 1, j2 + 1)) or [j1 + 1]
                places[i + 1] = replacement[min(i - i1, len(replacement) - 1)]
        return cls(same, places)


@settings(max_examples=400, deadline=None)
@given(blobs(), st.integers(1, 4))
def test_a_leg_agrees_with_difflib(pair: tuple[bytes, bytes], context: int) -> None:
    old, new = pair
    found, reference = leg(unified(old, new, context)), Reference.of(old, new)
    count = len(split_lines(old))
    assert {n: found.line(n) for n in range(1, count + 1)} == {
        n: reference.same.get(n) for n in range(1, count + 1)
    }  # fmt: skip
    assert {n: found.place(n) for n in range(1, count + 1)} == reference.places
    # The place after the last line, where something may be added.
    assert found.line(count + 1) == len(split_lines(new)) + 1
    assert all(found.until(n + 1) == found.place(n) + 1 for n in range(1, count + 1))
    assert found.until(1) == 1


@pytest.mark.parametrize("seed", range(60))
def test_a_leg_leads_along_gits_diffs(seed: int, tmp_path: Path) -> None:
    pick = random.Random(seed)
    old = [pick.choice(LINES) for _ in range(pick.randrange(40))]
    new = list(old)
    for _ in range(pick.randrange(6)):
        at = pick.randrange(len(new) + 1)
        new[at : at + pick.randrange(4)] = [pick.choice(LINES) for _ in range(pick.randrange(4))]
    base, work = (b"\n".join(side) + pick.choice([b"", b"\n"]) for side in (old, new))
    options = pick.choice([["-U0"], ["-U3"], ["-U3", "--diff-algorithm=histogram"], ["--patience", "-U1"]])
    diff = git_diff(tmp_path, base, work, *options)
    found = leg(diff)
    before, after = split_lines(base), split_lines(work)
    gone = _deleted(diff)
    led = {n: found.line(n) for n in range(1, len(before) + 1)}
    assert {n for n, line in led.items() if line is None} == gone
    kept = [(n, line) for n, line in led.items() if line is not None]
    assert all(before[n - 1] == after[line - 1] for n, line in kept)
    assert all(left < right for (_, left), (_, right) in pairwise(kept))
    # Whatever is not led to was added.
    assert len(after) - len(kept) == sum(line[:1] == b"+" for line in _body(diff))
    places = [found.place(n) for n in range(1, len(before) + 2)]
    assert all(left <= right for left, right in pairwise(places))


def _body(diff: bytes) -> list[bytes]:
    start = re.search(rb"^@@ ", diff, re.MULTILINE)
    return diff[start.start() :].split(b"\n")[:-1] if start else []


def _deleted(diff: bytes) -> set[int]:
    found: set[int] = set()
    at = 0
    for line in _body(diff):
        if header := re.match(rb"@@ -(\d+)(?:,\d+)? \+", line):
            at = int(header[1])
        elif line[:1] == b"-":
            found.add(at)
            at += 1
        elif line[:1] == b" ":
            at += 1
    return found


def test_no_leg_and_a_lost_one() -> None:
    assert [Leg().line(n) for n in (1, 7)] == [1, 7]
    assert [Leg().place(n) for n in (1, 7)] == [1, 7]
    assert [LOST.line(n) for n in (1, 7)] == [None, None]
    assert [LOST.place(n) for n in (1, 7)] == [1, 1]


def test_a_malformed_diff_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        leg(b"@@ -1,3 +1,3 @@\n a\n")


@given(st.sets(st.integers(1, 60)))
def test_runs_of_numbers(found: set[int]) -> None:
    made = ranges(found)
    assert numbers(made) == sorted(found)
    assert all(left[1] + 1 < right[0] for left, right in pairwise(made))


def edited(data: st.DataObject, old: bytes) -> bytes:
    """A further edit of ``old``."""
    lines = split_lines(old)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(lines)))
        new = data.draw(st.lists(st.sampled_from(LINES), max_size=3))
        lines[at : at + data.draw(st.integers(0, 2))] = [line + b"\n" for line in new]
    return b"".join(lines)


@settings(max_examples=200, deadline=None)
@given(blobs(), st.integers(0, 3), st.data())
def test_what_is_carried_is_where_the_lines_are(pair: tuple[bytes, bytes], context: int, data: st.DataObject) -> None:
    accepted, work = pair
    found = hunks(accepted, work, context)
    assume(found)
    hunk = data.draw(st.sampled_from(found))
    named = data.draw(st.sets(st.sampled_from(sorted(units.changed(hunk))), min_size=1))
    spot = spot_of(TEXT, hunk, named)
    deletions, additions = units.chosen(hunk, named)
    assert (spot.kind, spot.old, spot.new) == ("text", "1" * 40, "2" * 40)
    assert numbers(spot.deletions) == sorted(deletions)
    assert numbers(spot.additions) == sorted(additions)
    assert carry(spot, Leg(), Leg()) == Carried(deletions, additions, True, spot.old_at)

    later_accepted, later_work = edited(data, accepted), edited(data, work)
    old, new = Reference.of(accepted, later_accepted), Reference.of(work, later_work)
    carried = carry(spot, leg(unified(accepted, later_accepted)), leg(unified(work, later_work)))
    assert carried.deletions == {old.same[n] for n in deletions if n in old.same}
    assert carried.additions == {new.same[n] for n in additions if n in new.same}
    assert carried.intact == all(n in new.same for n in additions)
    first, after = carried.old_at
    assert 1 <= first <= after <= len(split_lines(later_accepted)) + 2


def test_changes_elsewhere_leave_a_spot_intact() -> None:
    base = text(*range(30))
    work = base.replace(b"9\n10\n11\n", b"9\nten\n11\nmore\n")
    (hunk,) = hunks(base, work)
    spot = spot_of(TEXT, hunk, units.changed(hunk))
    assert (spot.deletions, spot.additions, spot.old_at) == (((11, 11),), ((11, 11), (13, 13)), (11, 13))
    above = text("new", "newer")
    carried = carry(spot, leg(unified(base, above + base)), leg(unified(work, above + work + above)))
    assert carried == Carried(frozenset({13}), frozenset({13, 15}), True, (13, 15))
    # The agent changes one of the lines.
    lost = carry(spot, Leg(), leg(unified(work, work.replace(b"ten\n", b"TEN\n"))))
    assert lost == Carried(frozenset({11}), frozenset({13}), False, (11, 13))
    # The user accepts the deletion: nothing of the agent's changed.
    half = carry(spot, leg(unified(base, base.replace(b"10\n", b""))), Leg())
    assert half == Carried(frozenset(), frozenset({11, 13}), True, (11, 12))


def test_a_spot_of_other_kinds_is_the_whole() -> None:
    gone = FileChange("f", Entry(REGULAR, "1" * 40), None)
    (deleted,) = file_hunks(gone, b"a\n", b"", b"")
    assert spot_of(gone, deleted, ()) == Spot("deleted", "1" * 40, "")
    new = FileChange("f", None, Entry(REGULAR, "2" * 40))
    (added,) = file_hunks(new, b"", b"a\nb\n", unified(b"", b"a\nb\n"))
    assert spot_of(new, added, {2}) == Spot("text", "", "2" * 40, (), ((2, 2),), (1, 1))


def place(first: int, after: int, deletions: tuple[int, ...], position: int) -> bool:
    """Whether the hunk that replaces these lines of thirty touches the place."""
    base = text(*range(1, 31))
    lines = [b"" if n in deletions else b"%d\n" % n for n in range(1, 31)]
    lines.insert(position - 1, b"new\n")
    (hunk,) = hunks(base, b"".join(lines))
    return touches(hunk, (first, after))


@pytest.mark.parametrize(
    ("where", "deletions", "position", "expected"),
    [
        ((10, 12), (10, 11), 10, True),
        ((10, 12), (11,), 11, True),
        # Next to it, on both sides.
        ((10, 12), (12,), 12, True),
        ((10, 12), (9,), 9, True),
        ((10, 12), (), 10, True),
        ((10, 12), (), 12, True),
        # With a line in between, though in the same hunk's context.
        ((10, 12), (13,), 13, False),
        ((10, 12), (8,), 8, False),
        ((10, 12), (), 13, False),
        ((10, 12), (), 9, False),
        # An insertion's place has no lines.
        ((10, 10), (), 10, True),
        ((10, 10), (10,), 10, True),
        ((10, 10), (9,), 9, True),
        ((10, 10), (11,), 11, False),
        ((10, 10), (), 11, False),
    ],
)
def test_what_touches_a_place(
    where: tuple[int, int], deletions: tuple[int, ...], position: int, expected: bool
) -> None:
    assert place(*where, deletions, position) == expected


BASE = text("a", "b", "c", "d", "e", "f", "g", "h")


B12 = BASE.replace(b"b\n", b"B1\nB2\n")
NO_B = BASE.replace(b"b\n", b"")
NO_H = BASE.replace(b"h\n", b"")


@pytest.mark.parametrize(
    ("accepted", "work", "expected"),
    [
        (B12, B12.replace(b"B2", b"X"), True),
        (B12, BASE, True),
        (B12, NO_B, True),
        # Between two accepted lines; before and after them is another change.
        (B12, B12.replace(b"B2", b"x\nB2"), True),
        (B12, B12.replace(b"B2", b"B2\nx"), False),
        (B12, B12.replace(b"B1", b"x\nB1"), False),
        (B12, B12.replace(b"c", b"C"), False),
        # A deletion is accepted; it comes back, or something else comes there, or all around it goes.
        (NO_B, BASE, True),
        (NO_B, text("a", "x", "c", "d", "e", "f", "g", "h"), True),
        (NO_B, text("d", "e", "f", "g", "h"), True),
        (NO_B, NO_B.replace(b"h", b"H"), False),
        (NO_B, NO_B.replace(b"c", b"c\nx"), False),
        (NO_H, BASE, True),
        (NO_H, NO_H.replace(b"a", b"A"), False),
    ],
)
def test_what_overtakes_accepted_lines(accepted: bytes, work: bytes, expected: bool) -> None:
    (pending,) = hunks(accepted, work)
    assert overtakes(pending, accepted_of(hunks(BASE, accepted))) == expected


def test_what_was_accepted_is_lines_cuts_and_wholes() -> None:
    found = accepted_of(hunks(BASE, text("a", "B", "c", "e", "f", "g", "h", "i")))
    assert found == Accepted(frozenset({2, 8}), frozenset({4}), frozenset())


@settings(max_examples=200, deadline=None)
@given(blobs(), st.data())
def test_what_deletes_an_accepted_line_overtakes_it(pair: tuple[bytes, bytes], data: st.DataObject) -> None:
    base, accepted = pair
    work = edited(data, accepted)
    made = accepted_of(hunks(base, accepted))
    assert made.lines == {n for hunk in hunks(base, accepted) for n in hunk.additions}
    for hunk in hunks(accepted, work):
        if hunk.deletions & made.lines:
            assert overtakes(hunk, made)
    if base == accepted:
        assert not any(overtakes(hunk, made) for hunk in hunks(accepted, work))


def whole(old: int, new: int | None, before: bytes = b"a\n", after: bytes = b"a\n") -> Hunk:
    change = FileChange("f", Entry(old, "1" * 40), None if new is None else Entry(new, "2" * 40))
    (hunk,) = file_hunks(change, before, after, unified(before, after))
    return hunk


TEXT_UNIT = whole(REGULAR, REGULAR, b"a\n", b"b\n")
MODE = whole(REGULAR, EXECUTABLE)
BINARY = whole(REGULAR, REGULAR, b"\0", b"b")
DELETED = whole(REGULAR, None, b"b\n", b"")
LINK = whole(SYMLINK, SYMLINK, b"here", b"there")
TYPE = whole(REGULAR, SYMLINK, b"b\n", b"there")
RENAME = file_hunks(
    FileChange("f", Entry(REGULAR, "1" * 40), Entry(REGULAR, "1" * 40), "g"), b"a\n", b"a\n", b""
)[0]  # fmt: skip


@pytest.mark.parametrize(
    ("accepted", "pending", "expected"),
    [
        ((TEXT_UNIT,), DELETED, True),
        ((TEXT_UNIT,), BINARY, True),
        ((TEXT_UNIT,), TYPE, True),
        ((TEXT_UNIT,), MODE, False),
        ((TEXT_UNIT,), RENAME, False),
        ((MODE,), MODE, True),
        ((MODE,), TEXT_UNIT, False),
        ((MODE,), BINARY, False),
        ((MODE,), DELETED, True),
        ((MODE,), TYPE, True),
        ((RENAME,), RENAME, True),
        ((RENAME,), TEXT_UNIT, False),
        ((RENAME,), BINARY, False),
        ((RENAME,), LINK, False),
        ((RENAME,), MODE, False),
        ((BINARY,), BINARY, True),
        ((LINK,), LINK, True),
        ((), BINARY, False),
        ((), DELETED, False),
    ],
)
def test_whole_units_overtake_each_other(accepted: tuple[Hunk, ...], pending: Hunk, expected: bool) -> None:
    assert overtakes(pending, accepted_of(accepted)) == expected
