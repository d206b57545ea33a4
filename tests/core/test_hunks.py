"""Hunks of every kind: what is offered, what its id depends on, and what a path holds after each decision."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backspace_tui.core.hunks import Choices, Hunk, file_hunks, leave, locate, take
from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, Entry, File, FileChange
from tests.core.test_hunks_stage import blobs, unified

OLD = b"".join(b"line %d\n" % n for n in range(1, 41))
NEW = OLD.replace(b"line 5\n", b"five\n").replace(b"line 20\n", b"").replace(b"line 35\n", b"line 35\nmore\n")


def change(old: int | None, new: int | None, path: str = "f") -> FileChange:
    return FileChange(
        path, None if old is None else Entry(old, "1" * 40), None if new is None else Entry(new, "2" * 40)
    )


TEXT = change(REGULAR, REGULAR)


def hunks(old: bytes, new: bytes, what: FileChange = TEXT) -> tuple[Hunk, ...]:
    return file_hunks(what, old, new, unified(old, new))


def whole(ids: Iterable[str]) -> Choices:
    return dict.fromkeys(ids)


def taken(what: FileChange, old: bytes, new: bytes, diff: bytes, ids: Iterable[str]) -> File | None:
    """What the one path holds with these hunks."""
    found = take(what, old, new, diff, whole(ids))
    assert found.keys() == {what.path}
    return found[what.path]


def left(what: FileChange, old: bytes, new: bytes, diff: bytes, ids: Iterable[str]) -> File | None:
    """What the one path holds without these hunks."""
    found = leave(what, old, new, diff, whole(ids))
    assert found.keys() == {what.path}
    return found[what.path]


def test_text_has_a_hunk_for_each_group() -> None:
    first, second, third = hunks(OLD, NEW)
    assert {h.kind for h in (first, second, third)} == {"text"}
    assert [(set(h.deletions), set(h.additions)) for h in (first, second, third)] == [
        ({5}, {5}),
        ({20}, set()),
        (set(), {35}),
    ]
    assert (first.old_start, first.old_end, third.new_start, third.new_end) == (2, 9, 32, 39)
    assert first.lines[3:5] == (("-", b"line 5"), ("+", b"five"))


def test_ids_depend_on_path_and_changed_lines_alone() -> None:
    first, second, third = (h.id for h in hunks(OLD, NEW))
    moved = b"new top\n" * 30 + OLD, b"new top\n" * 30 + NEW
    assert [h.id for h in hunks(*moved)] == [first, second, third]
    assert [h.id for h in hunks(OLD, NEW, change(REGULAR, REGULAR, "g"))] != [first, second, third]
    # Content that another decision has brought in around a hunk does not touch it.
    after = taken(TEXT, OLD, NEW, unified(OLD, NEW), [first])
    assert after is not None
    assert [h.id for h in hunks(after.data, NEW)] == [second, third]
    assert all(len(h) == 12 for h in (first, second, third))


def test_identical_hunks_are_numbered() -> None:
    old = b"x\n" + b"same\n" * 10 + b"x\n" + b"same\n" * 10 + b"x\n"
    ids = [h.id for h in hunks(old, old.replace(b"x", b"y"))]
    assert ids == [ids[0], f"{ids[0]}-2", f"{ids[0]}-3"]


def test_lines_that_only_differ_in_their_end_have_other_ids() -> None:
    (gained,) = hunks(b"a", b"a\n")
    (lost,) = hunks(b"a\n", b"a")
    assert gained.id != lost.id
    assert gained.lines == lost.lines == (("-", b"a"), ("+", b"a"))
    assert (gained.old_open, gained.new_open, lost.old_open, lost.new_open) == (True, False, False, True)


def test_mode_and_content_are_decided_apart() -> None:
    both = change(REGULAR, EXECUTABLE)
    diff = unified(b"a\n", b"b\n")
    mode, text = file_hunks(both, b"a\n", b"b\n", diff)
    assert (mode.kind, text.kind) == ("mode", "text")
    assert mode.lines == (("-", b"mode 100644"), ("+", b"mode 100755"))
    assert taken(both, b"a\n", b"b\n", diff, [mode.id]) == File(EXECUTABLE, b"a\n")
    assert taken(both, b"a\n", b"b\n", diff, [text.id]) == File(REGULAR, b"b\n")
    assert taken(both, b"a\n", b"b\n", diff, [mode.id, text.id]) == File(EXECUTABLE, b"b\n")
    assert left(both, b"a\n", b"b\n", diff, [mode.id]) == File(REGULAR, b"b\n")
    assert taken(both, b"a\n", b"b\n", diff, []) == File(REGULAR, b"a\n")


def test_a_new_file_comes_with_its_mode_and_in_parts() -> None:
    new = change(None, EXECUTABLE)
    diff = b"diff --git a/f b/f\nnew file mode 100755\n--- /dev/null\n+++ b/f\n@@ -0,0 +1,2 @@\n+a\n+b\n"
    (hunk,) = file_hunks(new, b"", b"a\nb\n", diff)
    assert (hunk.kind, hunk.old_start, set(hunk.additions)) == ("text", 1, {1, 2})
    assert taken(new, b"", b"a\nb\n", diff, [hunk.id]) == File(EXECUTABLE, b"a\nb\n")
    assert taken(new, b"", b"a\nb\n", diff, []) is None
    assert left(new, b"", b"a\nb\n", diff, [hunk.id]) is None
    assert left(new, b"", b"a\nb\n", diff, []) == File(EXECUTABLE, b"a\nb\n")


def test_an_emptied_file_is_text_and_a_deleted_one_a_unit() -> None:
    (emptied,) = hunks(b"a\n", b"")
    assert emptied.kind == "text"
    assert taken(TEXT, b"a\n", b"", unified(b"a\n", b""), [emptied.id]) == File(REGULAR, b"")
    gone = change(EXECUTABLE, None)
    (deleted,) = file_hunks(gone, b"a\n", b"", b"")
    assert (deleted.kind, deleted.lines, deleted.deletions) == ("deleted", (("-", b"a"),), frozenset())
    assert taken(gone, b"a\n", b"", b"", [deleted.id]) is None
    assert left(gone, b"a\n", b"", b"", [deleted.id]) == File(EXECUTABLE, b"a\n")


@pytest.mark.parametrize(
    ("what", "old", "new", "kind"),
    [
        (change(None, REGULAR), b"", b"", "added"),
        (change(None, SYMLINK), b"", b"target", "symlink"),
        (change(SYMLINK, SYMLINK), b"here", b"there", "symlink"),
        (change(SYMLINK, REGULAR), b"same", b"same", "type"),
        (change(REGULAR, SYMLINK), b"text\n", b"target", "type"),
        (change(REGULAR, REGULAR), b"\0a", b"b", "binary"),
        (change(REGULAR, REGULAR), b"a", b"x" * 7999 + b"\0", "binary"),
        (change(None, EXECUTABLE), b"", b"\0", "binary"),
        (change(REGULAR, None), b"\0", b"", "deleted"),
        (change(SYMLINK, None), b"target", b"", "deleted"),
        (change(REGULAR, None), b"", b"", "deleted"),
    ],
)
def test_atomic_units(what: FileChange, old: bytes, new: bytes, kind: str) -> None:
    (hunk,) = file_hunks(what, old, new, b"")
    assert hunk.kind == kind
    before = None if what.old is None else File(what.old.mode, old)
    after = None if what.new is None else File(what.new.mode, new)
    assert taken(what, old, new, b"", [hunk.id]) == after
    assert taken(what, old, new, b"", []) == before
    assert left(what, old, new, b"", [hunk.id]) == before
    assert left(what, old, new, b"", []) == after


def test_a_nul_beyond_what_git_sniffs_is_text() -> None:
    (hunk,) = hunks(b"a\n", b"x" * 8000 + b"\0\n")
    assert hunk.kind == "text"


def test_a_type_change_and_its_reverse_are_not_the_same_hunk() -> None:
    (there,) = file_hunks(change(SYMLINK, REGULAR), b"x", b"x", b"")
    (back,) = file_hunks(change(REGULAR, SYMLINK), b"x", b"x", b"")
    assert there.id != back.id


def test_paths_that_are_not_utf8_have_ids() -> None:
    (hunk,) = hunks(b"a\n", b"b\n", change(REGULAR, REGULAR, "caf\udce9"))
    assert hunk.path == "caf\udce9"


def test_unknown_ids_are_named() -> None:
    with pytest.raises(ValueError, match="no such hunk now: beef"):
        locate(hunks(OLD, NEW), ["beef"])
    with pytest.raises(ValueError, match="no such hunk"):
        taken(TEXT, OLD, NEW, unified(OLD, NEW), ["beef"])


def test_a_path_absent_on_both_sides_is_an_error() -> None:
    with pytest.raises(ValueError, match="absent on both sides"):
        file_hunks(change(None, None), b"", b"", b"")


@settings(max_examples=200, deadline=None)
@given(blobs(), st.integers(0, 3), st.data())
def test_decisions_are_consistent(pair: tuple[bytes, bytes], context: int, data: st.DataObject) -> None:
    old, new = pair
    diff = unified(old, new, context)
    found = file_hunks(TEXT, old, new, diff)
    ids = [h.id for h in found]
    assert len(set(ids)) == len(ids)
    chosen = data.draw(st.sets(st.sampled_from(ids))) if ids else set()
    rest = set(ids) - chosen
    held = taken(TEXT, old, new, diff, chosen)
    assert held is not None
    # Leaving the others leads to the same content.
    assert left(TEXT, old, new, diff, rest) == held
    assert taken(TEXT, old, new, diff, ids) == left(TEXT, old, new, diff, []) == File(REGULAR, new)
    assert taken(TEXT, old, new, diff, []) == left(TEXT, old, new, diff, ids) == File(REGULAR, old)
    # What is left to decide leads to the new side, and what was taken leads back to the old one.
    open_ = unified(held.data, new, context)
    more = taken(TEXT, held.data, new, open_, [h.id for h in file_hunks(TEXT, held.data, new, open_)])
    assert more == File(REGULAR, new)
    done = unified(old, held.data, context)
    back = left(TEXT, old, held.data, done, [h.id for h in file_hunks(TEXT, old, held.data, done)])
    assert back == File(REGULAR, old)


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(1, 40), min_size=2, max_size=4), st.integers(0, 1))
def test_hunks_may_be_accepted_in_any_order(numbers: set[int], context: int) -> None:
    # Every line is unlike the others, so that each new diff aligns as the one before.
    old = OLD
    new = b"".join(
        b"changed %d\n" % n if n in numbers else line for n, line in enumerate(OLD.splitlines(keepends=True), 1)
    )
    first = file_hunks(TEXT, old, new, unified(old, new, context))
    together = taken(TEXT, old, new, unified(old, new, context), [h.id for h in first])
    for order in itertools.permutations(h.id for h in first):
        at = old
        for name in order:
            diff = unified(at, new, context)
            held = taken(TEXT, at, new, diff, [name])
            assert held is not None
            # Taking it straight back leads to where we were.
            undo = unified(at, held.data, context)
            (only,) = file_hunks(TEXT, at, held.data, undo)
            assert left(TEXT, at, held.data, undo, [only.id]) == File(REGULAR, at)
            at = held.data
        assert together == File(REGULAR, at)
