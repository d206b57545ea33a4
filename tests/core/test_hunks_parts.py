"""Parts of hunks, renames and edited lines: what the paths hold after any choice of lines."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backspace_tui.core import units
from backspace_tui.core.alignment import Lines, Mark, extent, signs, split_lines
from backspace_tui.core.hunks import Choices, Hunk, file_hunks, leave, replace_lines, take
from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, Entry, File, FileChange
from tests.core.test_hunks_stage import blobs, oracle, unified


def change(old: int | None, new: int | None, source: str = "") -> FileChange:
    return FileChange(
        "f", None if old is None else Entry(old, "1" * 40), None if new is None else Entry(new, "2" * 40), source
    )


TEXT = change(REGULAR, REGULAR)
OLD = b"".join(b"line %d\n" % n for n in range(1, 41))
NEW = OLD.replace(b"line 5\n", b"five\n").replace(b"line 20\n", b"").replace(b"line 35\n", b"line 35\nmore\n")


@st.composite
def some(draw: st.DrawFn, hunks: tuple[Hunk, ...]) -> dict[str, frozenset[int] | None]:
    """A choice among the units of these hunks: none, some lines or all of each."""
    found: dict[str, frozenset[int] | None] = {}
    for hunk in hunks:
        every = sorted(units.changed(hunk)) if hunk.kind == "text" else []
        match draw(st.sampled_from(["out", "whole", "all lines", "lines", "no lines"])):
            case "whole":
                found[hunk.id] = None
            case "all lines" if every:
                found[hunk.id] = frozenset(every)
            case "lines" if every:
                found[hunk.id] = frozenset(draw(st.sets(st.sampled_from(every))))
            case "no lines" if every:
                found[hunk.id] = frozenset()
            case _:
                pass
    return found


def lines_of(hunks: tuple[Hunk, ...], choices: Choices) -> tuple[frozenset[int], frozenset[int]]:
    deletions: set[int] = set()
    additions: set[int] = set()
    for hunk in hunks:
        if hunk.id in choices and hunk.kind == "text":
            named = choices[hunk.id]
            out, into = units.chosen(hunk, units.changed(hunk) if named is None else named)
            deletions |= out
            additions |= into
    return frozenset(deletions), frozenset(additions)


def rest(hunks: tuple[Hunk, ...], choices: Choices) -> dict[str, frozenset[int] | None]:
    """Every unit that is not chosen."""
    found: dict[str, frozenset[int] | None] = {}
    for hunk in hunks:
        if hunk.id not in choices:
            found[hunk.id] = None
        elif (named := choices[hunk.id]) is not None and hunk.kind == "text":
            found[hunk.id] = units.changed(hunk) - named
    return found


def every(hunks: tuple[Hunk, ...]) -> Choices:
    return {hunk.id: None for hunk in hunks}


@settings(max_examples=300, deadline=None)
@given(blobs(), st.integers(0, 4), st.data())
def test_any_lines_are_taken_and_left(pair: tuple[bytes, bytes], context: int, data: st.DataObject) -> None:
    old, new = pair
    diff = unified(old, new, context)
    hunks = file_hunks(TEXT, old, new, diff)
    choices = data.draw(some(hunks))
    expected = {"f": File(REGULAR, oracle(old, new, diff, *lines_of(hunks, choices)))}
    assert take(TEXT, old, new, diff, choices) == expected
    assert leave(TEXT, old, new, diff, rest(hunks, choices)) == expected
    assert take(TEXT, old, new, diff, rest(hunks, choices)) == leave(TEXT, old, new, diff, choices)
    assert take(TEXT, old, new, diff, every(hunks)) == leave(TEXT, old, new, diff, {}) == {"f": File(REGULAR, new)}
    assert take(TEXT, old, new, diff, {}) == leave(TEXT, old, new, diff, every(hunks)) == {"f": File(REGULAR, old)}


@settings(max_examples=200, deadline=None)
@given(blobs(), st.integers(0, 3), st.data())
def test_what_was_taken_leads_on_and_back(pair: tuple[bytes, bytes], context: int, data: st.DataObject) -> None:
    old, new = pair
    diff = unified(old, new, context)
    held = take(TEXT, old, new, diff, data.draw(some(file_hunks(TEXT, old, new, diff))))["f"]
    assert held is not None
    open_ = unified(held.data, new, context)
    offered = file_hunks(TEXT, held.data, new, open_)
    assert take(TEXT, held.data, new, open_, every(offered)) == {"f": File(REGULAR, new)}
    done = unified(old, held.data, context)
    accepted = file_hunks(TEXT, old, held.data, done)
    assert leave(TEXT, old, held.data, done, every(accepted)) == {"f": File(REGULAR, old)}
    # One unit taken from what is open, and left again, is where we were.
    assume(offered)
    choices = data.draw(some(offered))
    more = take(TEXT, held.data, new, open_, choices)["f"]
    assert more is not None
    between = unified(held.data, more.data, context)
    back = leave(TEXT, held.data, more.data, between, every(file_hunks(TEXT, held.data, more.data, between)))
    assert back == {"f": held}


@pytest.mark.parametrize("named", [frozenset({1}), frozenset({4, 99}), frozenset({0})])
def test_lines_that_are_no_change_are_refused(named: frozenset[int]) -> None:
    diff = unified(OLD, NEW)
    first = file_hunks(TEXT, OLD, NEW, diff)[0]
    for function in (take, leave):
        with pytest.raises(ValueError, match="has no changed line at"):
            function(TEXT, OLD, NEW, diff, {first.id: named})


def test_other_kinds_have_no_lines_to_choose() -> None:
    both = change(REGULAR, EXECUTABLE)
    (mode,) = file_hunks(both, OLD, OLD, b"")
    with pytest.raises(ValueError, match="has no changed line at 1"):
        take(both, OLD, OLD, b"", {mode.id: frozenset({1})})


# New files


@settings(max_examples=200, deadline=None)
@given(blobs(), st.sampled_from([REGULAR, EXECUTABLE]), st.data())
def test_a_new_file_in_parts(pair: tuple[bytes, bytes], mode: int, data: st.DataObject) -> None:
    _, new = pair
    assume(new)
    what, diff = change(None, mode), unified(b"", new)
    (hunk,) = file_hunks(what, b"", new, diff)
    lines = split_lines(new)
    named = frozenset(data.draw(st.sets(st.sampled_from(range(1, len(lines) + 1)))))
    expected = {"f": File(mode, oracle(b"", new, diff, frozenset(), named)) if named else None}
    others = units.changed(hunk) - named
    assert take(what, b"", new, diff, {hunk.id: named}) == expected
    assert leave(what, b"", new, diff, {hunk.id: others}) == expected
    for nothing in (take(what, b"", new, diff, {}), leave(what, b"", new, diff, {hunk.id: None})):
        assert nothing == {"f": None}


def test_an_empty_file_is_not_an_absent_one() -> None:
    what = change(None, EXECUTABLE)
    (hunk,) = file_hunks(what, b"", b"", b"")
    assert take(what, b"", b"", b"", {hunk.id: None}) == {"f": File(EXECUTABLE, b"")}
    assert leave(what, b"", b"", b"", {hunk.id: None}) == {"f": None}
    assert leave(what, b"", b"", b"", {}) == {"f": File(EXECUTABLE, b"")}
    # All lines of a file that was there: emptied, not removed.
    (emptied,) = file_hunks(TEXT, b"a\n", b"", unified(b"a\n", b""))
    assert take(TEXT, b"a\n", b"", unified(b"a\n", b""), {emptied.id: frozenset({1})}) == {"f": File(REGULAR, b"")}


# Renames


def test_a_pure_rename() -> None:
    what = change(REGULAR, REGULAR, "was")
    (hunk,) = file_hunks(what, OLD, OLD, b"")
    assert (hunk.kind, hunk.path, hunk.lines) == ("rename", "f", (("-", b"was"), ("+", b"f")))
    stays, moved = {"was": File(REGULAR, OLD), "f": None}, {"was": None, "f": File(REGULAR, OLD)}
    assert take(what, OLD, OLD, b"", {}) == leave(what, OLD, OLD, b"", {hunk.id: None}) == stays
    assert take(what, OLD, OLD, b"", {hunk.id: None}) == leave(what, OLD, OLD, b"", {}) == moved


def test_a_rename_with_edits_and_another_mode() -> None:
    what, diff = change(REGULAR, EXECUTABLE, "was"), unified(OLD, NEW)
    hunks = file_hunks(what, OLD, NEW, diff)
    rename, mode, first, second, _ = hunks
    assert [hunk.kind for hunk in hunks] == ["rename", "mode", "text", "text", "text"]
    five = OLD.replace(b"line 5\n", b"five\n")
    assert take(what, OLD, NEW, diff, {rename.id: None}) == {"was": None, "f": File(REGULAR, OLD)}
    # Without the rename the others stand under the old name.
    assert take(what, OLD, NEW, diff, {mode.id: None}) == {"was": File(EXECUTABLE, OLD), "f": None}
    assert take(what, OLD, NEW, diff, {first.id: None}) == {"was": File(REGULAR, five), "f": None}
    assert take(what, OLD, NEW, diff, {first.id: frozenset({4})}) == {
        "was": File(REGULAR, OLD.replace(b"line 5\n", b"")),
        "f": None,
    }
    assert take(what, OLD, NEW, diff, {rename.id: None, first.id: None}) == {"was": None, "f": File(REGULAR, five)}
    assert leave(what, OLD, NEW, diff, {second.id: None, mode.id: None}) == {
        "was": None,
        "f": File(REGULAR, NEW.replace(b"line 21\n", b"line 20\nline 21\n")),
    }
    assert leave(what, OLD, NEW, diff, {rename.id: None}) == {"was": File(EXECUTABLE, NEW), "f": None}


@pytest.mark.parametrize(
    ("mode", "old", "new", "kind"), [(REGULAR, b"\0a", b"\0b", "binary"), (SYMLINK, b"here", b"there", "symlink")]
)
def test_a_rename_of_what_has_no_lines(mode: int, old: bytes, new: bytes, kind: str) -> None:
    what = change(mode, mode, "was")
    rename, content = file_hunks(what, old, new, b"")
    assert (rename.kind, content.kind) == ("rename", kind)
    assert take(what, old, new, b"", {rename.id: None}) == {"was": None, "f": File(mode, old)}
    assert take(what, old, new, b"", {content.id: None}) == {"was": File(mode, new), "f": None}
    assert leave(what, old, new, b"", {content.id: None}) == {"was": None, "f": File(mode, old)}
    assert leave(what, old, new, b"", {rename.id: None}) == {"was": File(mode, new), "f": None}


def test_renames_from_other_paths_are_other_hunks() -> None:
    one, other = (file_hunks(change(REGULAR, REGULAR, source), OLD, OLD, b"")[0] for source in ("was", "had been"))
    assert one.id != other.id
    odd = file_hunks(change(REGULAR, REGULAR, "caf\udce9"), OLD, OLD, b"")[0]
    assert odd.lines[0] == ("-", b"caf\xe9")


@settings(max_examples=200, deadline=None)
@given(blobs(), st.sampled_from([REGULAR, EXECUTABLE]), st.integers(0, 3), st.data())
def test_any_lines_of_a_rename(pair: tuple[bytes, bytes], mode: int, context: int, data: st.DataObject) -> None:
    old, new = pair
    what, plain = change(REGULAR, mode, "was"), change(REGULAR, mode)
    diff = unified(old, new, context)
    hunks = file_hunks(what, old, new, diff)
    assert file_hunks(plain, old, new, diff) == hunks[1:]
    stays, moves = {"was": File(REGULAR, old), "f": None}, {"was": None, "f": File(mode, new)}
    assert take(what, old, new, diff, {}) == leave(what, old, new, diff, every(hunks)) == stays
    assert take(what, old, new, diff, every(hunks)) == leave(what, old, new, diff, {}) == moves

    choices = data.draw(some(hunks))
    beside = {name: named for name, named in choices.items() if name != hunks[0].id}
    for function, moved in ((take, hunks[0].id in choices), (leave, hunks[0].id not in choices)):
        held = function(plain, old, new, diff, beside)["f"]
        expected = {"was": None, "f": held} if moved else {"was": held, "f": None}
        assert function(what, old, new, diff, choices) == expected
    assert leave(what, old, new, diff, rest(hunks, choices)) == take(what, old, new, diff, choices)


# Edited lines


@pytest.mark.parametrize(
    ("data", "first", "after", "lines", "expected", "end"),
    [
        (b"a\nb\nc\n", 2, 3, b"B\n", b"a\nB\nc\n", 3),
        (b"a\nb\nc\n", 2, 3, b"B\nBB\n", b"a\nB\nBB\nc\n", 4),
        (b"a\nb\nc\n", 1, 4, b"x\n", b"x\n", 2),
        (b"a\nb\nc\n", 2, 2, b"x\n", b"a\nx\nb\nc\n", 3),
        (b"a\nb\nc\n", 4, 4, b"x\n", b"a\nb\nc\nx\n", 5),
        (b"a\nb\nc\n", 2, 3, b"", b"a\nc\n", 2),
        (b"a\n", 1, 2, b"", b"", 1),
        (b"", 1, 1, b"x\n", b"x\n", 2),
        (b"", 1, 1, b"x", b"x", 2),
        # The end of the last line is as the editor left it, but no two lines become one.
        (b"a\nb\nc\n", 2, 3, b"B", b"a\nB\nc\n", 3),
        (b"a\nb\nc\n", 3, 4, b"C", b"a\nb\nC", 4),
        (b"a\nb", 2, 3, b"B\n", b"a\nB\n", 3),
        (b"a\nb", 2, 3, b"B", b"a\nB", 3),
        (b"a\nb", 1, 2, b"A", b"A\nb", 2),
        (b"a\nb", 3, 3, b"c\n", b"a\nb\nc\n", 4),
        # A line that gains its end has that of the file, or of the new lines where the file has none.
        (b"a\r\nb\r\nc\r\n", 2, 3, b"B", b"a\r\nB\r\nc\r\n", 3),
        (b"a\r\nb", 3, 3, b"c\n", b"a\r\nb\r\nc\n", 4),
        (b"a", 2, 2, b"b\r\nc\r\n", b"a\r\nb\r\nc\r\n", 4),
        (b"a", 2, 2, b"b", b"a\nb", 3),
        (b"a\r\nb\nc\nd\n", 2, 3, b"B", b"a\r\nB\nc\nd\n", 3),
        # What the editor made of the line ends inside stays.
        (b"a\nb\nc\n", 2, 3, b"B\r\n", b"a\nB\r\nc\n", 3),
        # Only a line feed ends a line.
        (b"a\x0cA\rb\xe2\x80\xa8\nc\n", 1, 2, b"\xff\x1c\x85\r\x0b\n", b"\xff\x1c\x85\r\x0b\nc\n", 2),
    ],
)
def test_edited_lines(data: bytes, first: int, after: int, lines: bytes, expected: bytes, end: int) -> None:
    assert replace_lines(data, first, after, lines) == (expected, end)


@settings(max_examples=200, deadline=None)
@given(blobs(), st.integers(1, 3))
def test_a_hunk_that_nobody_edited_is_taken_as_it_is(pair: tuple[bytes, bytes], context: int) -> None:
    old, new = pair
    diff = unified(old, new, context)
    after = split_lines(new)
    for hunk in file_hunks(TEXT, old, new, diff):
        side = b"".join(after[hunk.new_start - 1 : hunk.new_end - 1])
        data, end = replace_lines(old, hunk.old_start, hunk.old_end, side)
        assert {"f": File(REGULAR, data)} == take(TEXT, old, new, diff, {hunk.id: None})
        assert end == hunk.old_start + hunk.new_end - hunk.new_start


# Lines that are made when they are asked for


@given(st.lists(st.tuples(st.sampled_from([" ", "-", "+"]), st.binary(max_size=4)), min_size=1, max_size=12))
def test_lines_are_like_the_tuple_of_their_pairs(pairs: list[tuple[Mark, bytes]]) -> None:
    expected = tuple((mark, text.replace(b"\n", b"")) for mark, text in pairs)
    marks = "".join(mark for mark, _ in expected)
    body = b"".join(mark.encode() + text + b"\n" for mark, text in expected)
    lines = Lines(marks, body)
    assert signs(lines) == signs(expected) == marks
    assert extent(lines) == extent(expected)
    assert len(lines) == len(expected)
    assert lines == expected
    assert expected == lines
    assert lines == Lines(marks, body)
    assert lines != expected[:-1]
    assert lines != Lines(marks + " ", body + b" \n")
    assert hash(lines) == hash(expected)
    assert tuple(lines) == expected
    assert (lines[0], lines[-1], lines[1:3]) == (expected[0], expected[-1], expected[1:3])


@pytest.mark.parametrize(
    ("old", "new", "diff", "lines"),
    [
        (b"a\nb\n", b"a\nc\n", b"@@ -1,2 +1,2 @@\n a\n+c\n-b\n", ((" ", b"a"), ("+", b"c"), ("-", b"b"))),
        (b"a\nb", b"a\nc\n", b"@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+c\n", None),
        (b"a\nb", b"a\nc\n", b"@@ -1,2 +1,2 @@\n a\n-b\n+c\n", None),
    ],
)
def test_a_hunk_holds_the_lines_of_both_sides_in_whatever_order_they_come(
    old: bytes, new: bytes, diff: bytes, lines: tuple[tuple[Mark, bytes], ...] | None
) -> None:
    (hunk,) = file_hunks(TEXT, old, new, diff)
    assert hunk.lines == (lines or ((" ", b"a"), ("-", b"b"), ("+", b"c")))
    assert (hunk.deletions, hunk.additions) == (frozenset({2}), frozenset({2}))
    assert (hunk.old_open, hunk.new_open) == (not old.endswith(b"\n"), False)
    assert take(TEXT, old, new, diff, {hunk.id: None}) == {"f": File(REGULAR, new)}
