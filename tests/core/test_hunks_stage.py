"""core.hunks.stage: a table worked out by hand from rule R, and the laws that hold for every pair of blobs."""

from __future__ import annotations

import difflib
import io
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backspace_tui.core.alignment import split_lines
from backspace_tui.core.hunks import added_removed, blocks, stage
from tests.growth import grows_linearly

NONE = frozenset[int]()


def unified(old: bytes, new: bytes, context: int = 3) -> bytes:
    """What GNU diff would print: difflib's alignment, byte for byte, with its end-of-file markers."""
    before = [line.decode("latin-1") for line in io.BytesIO(old).readlines()]
    after = [line.decode("latin-1") for line in io.BytesIO(new).readlines()]
    out = (
        line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
        for line in difflib.unified_diff(before, after, "a", "b", n=context)
    )
    return "".join(out).encode("latin-1")


# Each case: base, work, a -U0 diff written by hand, chosen deletions, chosen additions, expected.
REPLACED = b"@@ -1,4 +1,4 @@\n-a\n-b\n-c\n-d\n+w\n+x\n+y\n+z\n"
ABCD, WXYZ = b"a\nb\nc\nd\n", b"w\nx\ny\nz\n"
TABLE = [
    # One run each way: the additions stand where the deletions stood.
    ("first pair", ABCD, WXYZ, REPLACED, {1}, {1}, b"w\nb\nc\nd\n"),
    ("last pair", ABCD, WXYZ, REPLACED, {4}, {4}, b"a\nb\nc\nz\n"),
    ("middle pair", ABCD, WXYZ, REPLACED, {2, 3}, {2, 3}, b"a\nx\ny\nd\n"),
    ("two for one", ABCD, WXYZ, REPLACED, {2}, {1, 2}, b"a\nw\nx\nc\nd\n"),
    ("one for two", ABCD, WXYZ, REPLACED, {2, 3}, {4}, b"a\nz\nd\n"),
    # Two runs each way: the i-th goes to the i-th.
    ("two runs", ABCD, WXYZ, REPLACED, {1, 3}, {1, 3}, b"w\nb\ny\nd\n"),
    ("two runs, other lines", ABCD, WXYZ, REPLACED, {1, 4}, {2, 4}, b"x\nb\nc\nz\n"),
    ("long runs", ABCD, WXYZ, REPLACED, {1, 3, 4}, {1, 2, 4}, b"w\nx\nb\nz\n"),
    # Fewer runs of additions: later deletions just go.
    ("fewer additions", ABCD, WXYZ, REPLACED, {1, 3}, {2, 3}, b"x\ny\nb\nd\n"),
    ("no additions", ABCD, WXYZ, REPLACED, {2, 4}, NONE, b"a\nc\n"),
    # More runs of additions: the surplus follows the last one, before the lines kept after it.
    ("surplus", ABCD, WXYZ, REPLACED, {1}, {1, 3}, b"w\ny\nb\nc\nd\n"),
    ("surplus in the middle", ABCD, WXYZ, REPLACED, {2}, {1, 3}, b"a\nw\ny\nc\nd\n"),
    # No deletions: after everything that is kept.
    ("additions alone", ABCD, WXYZ, REPLACED, NONE, {1, 3}, b"a\nb\nc\nd\nw\ny\n"),
    ("everything", ABCD, WXYZ, REPLACED, {1, 2, 3, 4}, {1, 2, 3, 4}, WXYZ),
    ("nothing", ABCD, WXYZ, REPLACED, NONE, NONE, ABCD),
    # The end of the file.
    (
        "kept line gains its end",
        b"a\nb",
        b"a\nb\nc\n",
        b"@@ -2 +2,2 @@\n-b\n\\ No newline at end of file\n+b\n+c\n",
        NONE,
        {3},
        b"a\nb\nc\n",
    ),
    (
        "end of file alone",
        b"b",
        b"b\n",
        b"@@ -1 +1 @@\n-b\n\\ No newline at end of file\n+b\n",
        {1},
        {1},
        b"b\n",
    ),
    (
        "both open, both kept",
        b"a\nb",
        b"a\nc",
        b"@@ -2 +2 @@\n-b\n\\ No newline at end of file\n+c\n\\ No newline at end of file\n",
        NONE,
        {2},
        b"a\nb\nc",
    ),
    (
        "open line deleted",
        b"a\nb",
        b"a\nc",
        b"@@ -2 +2 @@\n-b\n\\ No newline at end of file\n+c\n\\ No newline at end of file\n",
        {2},
        NONE,
        b"a\n",
    ),
    (
        "open addition before kept lines",
        b"a\nb\n",
        b"x",
        b"@@ -1,2 +1 @@\n-a\n-b\n+x\n\\ No newline at end of file\n",
        {1},
        {1},
        b"x\nb\n",
    ),
    (
        "open addition stays last",
        b"a\nb\n",
        b"x",
        b"@@ -1,2 +1 @@\n-a\n-b\n+x\n\\ No newline at end of file\n",
        {2},
        {1},
        b"a\nx",
    ),
    (
        "the end gained is the file's own",
        b"a\r\nb",
        b"a\r\nb\r\nc\r\n",
        b"@@ -2 +2,2 @@\n-b\n\\ No newline at end of file\n+b\r\n+c\r\n",
        NONE,
        {3},
        b"a\r\nb\r\nc\r\n",
    ),
    (
        "a file of one open line takes the new side's end",
        b"b",
        b"b\r\nc\r\n",
        b"@@ -1 +1,2 @@\n-b\n\\ No newline at end of file\n+b\r\n+c\r\n",
        NONE,
        {2},
        b"b\r\nc\r\n",
    ),
    (
        "the base's line ends count before the new side's",
        b"a\r\nb",
        b"a\nb\nc\n",
        b"@@ -1,2 +1,3 @@\n-a\r\n-b\n\\ No newline at end of file\n+a\n+b\n+c\n",
        NONE,
        {3},
        b"a\r\nb\r\nc\n",
    ),
    (
        "the commoner of two line ends",
        b"a\r\nb\nc\nd",
        b"a\r\nb\nc\nd\r\ne\r\nf\r\n",
        b"@@ -4 +4,3 @@\n-d\n\\ No newline at end of file\n+d\r\n+e\r\n+f\r\n",
        NONE,
        {6},
        b"a\r\nb\nc\nd\nf\r\n",
    ),
    # Empty files and other characters that some call line ends.
    ("new file", b"", b"a\nb\n", b"@@ -0,0 +1,2 @@\n+a\n+b\n", NONE, {2}, b"b\n"),
    ("emptied", b"a\nb\n", b"", b"@@ -1,2 +0,0 @@\n-a\n-b\n", {1}, NONE, b"b\n"),
    (
        "other separators",
        b"a\x0cb\rc\xe2\x80\xa8d\n",
        b"\xff\x0c\x1c\x85\r\n",
        b"@@ -1 +1 @@\n-a\x0cb\rc\xe2\x80\xa8d\n+\xff\x0c\x1c\x85\r\n",
        NONE,
        {1},
        b"a\x0cb\rc\xe2\x80\xa8d\n\xff\x0c\x1c\x85\r\n",
    ),
    # Content that looks like headers.
    (
        "header-like lines",
        b"-- a\n@@ -1 +1 @@\n",
        b"++ b\ndiff --git a/x b/y\n",
        b"@@ -1,2 +1,2 @@\n--- a\n-@@ -1 +1 @@\n+++ b\n+diff --git a/x b/y\n",
        {2},
        {2},
        b"-- a\ndiff --git a/x b/y\n",
    ),
]


@pytest.mark.parametrize(
    ("base", "work", "diff", "deletions", "additions", "expected"),
    [case[1:] for case in TABLE],
    ids=[case[0] for case in TABLE],
)
def test_the_table_of_rule_r(
    base: bytes, work: bytes, diff: bytes, deletions: set[int], additions: set[int], expected: bytes
) -> None:
    assert stage(base, work, diff, frozenset(deletions), frozenset(additions)) == expected


def test_runs_do_not_reach_from_one_block_into_the_next() -> None:
    base, work = b"a\nsame\nb\n", b"x\nsame\ny\n"
    diff = b"@@ -1,3 +1,3 @@\n-a\n+x\n same\n-b\n+y\n"
    assert stage(base, work, diff, frozenset({3}), frozenset({1})) == b"a\nx\nsame\n"


def test_blocks_that_touch_without_context_are_one() -> None:
    diff = b"@@ -1 +1 @@\n-a\n+x\n@@ -2 +2 @@\n-b\n+y\n"
    (block,) = blocks(b"a\nb\n", b"x\ny\n", diff)
    assert (block.old, block.new) == ((b"a\n", b"b\n"), (b"x\n", b"y\n"))
    assert stage(b"a\nb\n", b"x\ny\n", diff, frozenset({2}), frozenset({1})) == b"a\nx\n"


HEADERS = [
    b"",
    b"diff --git a/x b/y b/x b/y\nindex 1..2 100644\n--- a/x b/y\n+++ b/x b/y\n",
    b'diff --git "a/caf\\303\\251" "b/caf\\303\\251"\nold mode 100644\nnew mode 100755\n--- "a/c"\t\n+++ "b/c"\n',
    b"diff --git a/n b/n\nnew file mode 100755\nindex 0000000..1\n--- /dev/null\n+++ b/n\n",
]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("tail", [b"", b"\n", b"-- \n2.39.5\n"])
def test_headers_and_trailers_are_ignored(header: bytes, tail: bytes) -> None:
    diff = header + b"@@ -1,2 +1,2 @@ def f\r():\n a\n-b\n+c\n" + tail
    assert stage(b"a\nb\n", b"a\nc\n", diff, frozenset({2}), frozenset({2})) == b"a\nc\n"


def test_empty_context_lines_may_lack_their_blank() -> None:
    diff = b"@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n"
    assert stage(b"a\n\nb\n", b"a\n\nc\n", diff, frozenset({3}), frozenset({3})) == b"a\n\nc\n"


GOOD = b"@@ -1,2 +1,2 @@\n a\n-b\n+c\n"


@pytest.mark.parametrize(
    ("base", "work", "diff", "deletions", "additions", "text"),
    [
        (b"a\nb\n", b"a\nc\n", GOOD, {1}, NONE, "no deletion at old line 1"),
        (b"a\nb\n", b"a\nc\n", GOOD, NONE, {7}, "no addition at new line 7"),
        (b"a\nb\n", b"a\nc\n", GOOD, {0}, NONE, "no deletion at old line 0"),
        (b"a\nB\n", b"a\nc\n", GOOD, NONE, NONE, "does not match"),
        (b"a\nb\n", b"a\nC\n", GOOD, NONE, NONE, "does not match"),
        (b"a\nb\nz\n", b"a\nc\n", GOOD, NONE, NONE, "does not match"),
        (b"a\nb", b"a\nc\n", b"", NONE, NONE, "does not match"),
        (b"a\nb\n", b"a\nc\n", b"@@ -1,3 +1,3 @@\n a\n-b\n+c\n", NONE, NONE, "cannot be read"),
        (b"a\nb\n", b"a\nc\n", b"@@ -1,2 +1,2 @@\n a\nb\n+c\n", NONE, NONE, "cannot be read"),
        (b"a\nb\n", b"a\nc\n", b"@@ -0,2 +1,2 @@\n a\n-b\n+c\n", NONE, NONE, "does not match"),
        (b"a\nb\n", b"a\nc\n", GOOD + b"--- a/o\n+++ b/o\n@@ -1 +1 @@\n-a\n+b\n", NONE, NONE, "more than one"),
        # A context line whose end differs would make "everything" differ from work.
        (b"x\nb", b"y\nb\n", b"@@ -1,2 +1,2 @@\n-x\n+y\n b\n", NONE, NONE, "does not match"),
        # A marker that is not true.
        (b"b\n", b"c\n", b"@@ -1 +1 @@\n-b\n\\ No newline at end of file\n+c\n", NONE, NONE, "does not match"),
        (b"a\n", b"a\n", b"@@ -1 +1,2 @@\n a\n+\n", NONE, NONE, "does not match"),
        (b"a\nb\n", b"a\nc\n", GOOD + GOOD, NONE, NONE, "does not match"),
    ],
)
def test_what_does_not_fit_is_refused(
    base: bytes, work: bytes, diff: bytes, deletions: set[int], additions: set[int], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        stage(base, work, diff, frozenset(deletions), frozenset(additions))


# Laws

LINES = [b"", b"a", b"b", b"a", b"\r", b"a\r", b"-- a", b"++ b", b"@@ -1 +1 @@", b"\x0c", b"x\x1c\x85y"]
LINES += [b"\xe2\x80\xa8", b"\xff\xfe", b"\\ No newline at end of file", b"diff --git a/x b/y", b" ", b"\t}"]


@st.composite
def blobs(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A nasty pair: the second is an edit of the first, line ends mixed, either may be open or empty."""
    old = draw(st.lists(st.sampled_from(LINES), max_size=14))
    new = list(old)
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(new)))
        new[at : at + draw(st.integers(0, 3))] = draw(st.lists(st.sampled_from(LINES), max_size=3))
    closed = draw(st.tuples(st.booleans(), st.booleans()))
    base, work = (
        b"\n".join(side) + (b"\n" if side and end else b"") for side, end in zip((old, new), closed, strict=True)
    )
    return base, work


def offered(base: bytes, work: bytes, diff: bytes) -> tuple[list[int], list[int]]:
    found = blocks(base, work, diff)
    return (
        [b.old_start + i for b in found for i in range(len(b.old))],
        [b.new_start + i for b in found for i in range(len(b.new))],
    )


def oracle(base: bytes, work: bytes, diff: bytes, deletions: frozenset[int], additions: frozenset[int]) -> bytes:
    """Rule R again, written differently: one walk over the lines of the diff itself.

    The chosen additions of a block are gathered into runs first; then each deletion line either stays or opens
    the slot of its run.
    """
    old, new = base.split(b"\n"), work.split(b"\n")
    old_open, new_open = old.pop(), new.pop()
    out: list[tuple[bytes, bool]] = []

    def old_line(n: int) -> tuple[bytes, bool]:
        return (old[n - 1], True) if n <= len(old) else (old_open, False)

    def new_line(n: int) -> tuple[bytes, bool]:
        return (new[n - 1], True) if n <= len(new) else (new_open, False)

    at = 1
    for block in blocks(base, work, diff):
        while at < block.old_start:
            out.append(old_line(at))
            at += 1
        slots: list[list[tuple[bytes, bool]]] = []
        previous = None
        for n in range(block.new_start, block.new_start + len(block.new)):
            if n in additions:
                if previous != n - 1:
                    slots.append([])
                slots[-1].append(new_line(n))
                previous = n
        here = [n for n in range(block.old_start, block.old_start + len(block.old)) if n in deletions]
        starts = [n for n in here if n - 1 not in here]
        for n in range(block.old_start, block.old_start + len(block.old)):
            if n in starts:
                index = starts.index(n)
                take = slots[index:] if n == starts[-1] else slots[index : index + 1]
                out += [line for slot in take for line in slot]
            if n not in deletions:
                out.append(old_line(n))
            at = n + 1
        if not here:
            out += [line for slot in slots for line in slot]
    total = len(old) + (1 if old_open else 0)
    while at <= total:
        out.append(old_line(at))
        at += 1
    crlf = ending(base) or ending(work) or b"\n"
    text = b""
    for index, (line, ended) in enumerate(out):
        text += line + (b"\n" if ended else b"" if index == len(out) - 1 else crlf)
    return text


def ending(data: bytes) -> bytes | None:
    ends = [line.endswith(b"\r") for line in data.split(b"\n")[:-1]]
    if ends.count(True) == ends.count(False):
        return None
    return b"\r\n" if ends.count(True) > ends.count(False) else b"\n"


@settings(max_examples=400, deadline=None)
@given(blobs(), st.integers(0, 4), st.data())
def test_stage_agrees_with_the_oracle(pair: tuple[bytes, bytes], context: int, data: st.DataObject) -> None:
    base, work = pair
    diff = unified(base, work, context)
    old, new = offered(base, work, diff)
    assert added_removed(diff) == (len(new), len(old))
    assert stage(base, work, diff, frozenset(old), frozenset(new)) == work
    assert stage(base, work, diff, NONE, NONE) == base
    deletions = frozenset(data.draw(st.sets(st.sampled_from(old)))) if old else NONE
    additions = frozenset(data.draw(st.sets(st.sampled_from(new)))) if new else NONE
    assert stage(base, work, diff, deletions, additions) == oracle(base, work, diff, deletions, additions)


def git_diff(folder: Path, base: bytes, work: bytes, *options: str) -> bytes:
    (folder / "a").write_bytes(base)
    (folder / "b").write_bytes(work)
    command = ["git", "diff", "--no-index", "--no-color", "--no-ext-diff", "--text", *options, "a", "b"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.mark.parametrize("seed", range(100))
def test_git_diffs_are_read_as_git_means_them(seed: int, tmp_path: Path) -> None:
    pick = random.Random(seed)
    old = [pick.choice(LINES) for _ in range(pick.randrange(30))]
    new = list(old)
    for _ in range(pick.randrange(6)):
        at = pick.randrange(len(new) + 1)
        new[at : at + pick.randrange(4)] = [pick.choice(LINES) for _ in range(pick.randrange(4))]
    base, work = (b"\n".join(side) + pick.choice([b"", b"\n"]) for side in (old, new))
    options = pick.choice([["-U0"], ["-U3"], ["--diff-algorithm=histogram"], ["--patience", "-U1"]])
    diff = git_diff(tmp_path, base, work, *options)
    dels, adds = offered(base, work, diff)
    assert stage(base, work, diff, frozenset(dels), frozenset(adds)) == work
    assert stage(base, work, diff, NONE, NONE) == base
    # Any one block alone must be what git itself makes of that block.
    for block in blocks(base, work, diff):
        d = frozenset(range(block.old_start, block.old_start + len(block.old)))
        a = frozenset(range(block.new_start, block.new_start + len(block.new)))
        lines = split_lines(base)
        expected = lines[: block.old_start - 1] + list(block.new) + lines[block.old_start - 1 + len(block.old) :]
        assert stage(base, work, diff, d, a) == b"".join(expected)
        chosen_d, chosen_a = (frozenset(n for n in side if pick.random() < 0.5) for side in (dels, adds))
        assert stage(base, work, diff, chosen_d, chosen_a) == oracle(base, work, diff, chosen_d, chosen_a)


def rewrite(size: int) -> tuple[bytes, bytes, bytes, frozenset[int]]:
    """Every line of a file is new: base, work, diff, and the number of every line."""
    base = b"".join(b"old %d\n" % n for n in range(size))
    work = b"".join(b"new %d\n" % n for n in range(size))
    diff = b"@@ -1,%d +1,%d @@\n" % (size, size) + b"".join(b"-old %d\n" % n for n in range(size))
    diff += b"".join(b"+new %d\n" % n for n in range(size))
    return base, work, diff, frozenset(range(1, size + 1))


def test_staging_a_large_rewrite_takes_linear_time() -> None:
    base, work, diff, every = rewrite(5000)
    assert stage(base, work, diff, every, every) == work

    def half(case: tuple[bytes, bytes, bytes, frozenset[int]]) -> bytes:
        base, work, diff, every = case
        odd = frozenset(number for number in every if number % 2)
        return stage(base, work, diff, odd, odd)

    grows_linearly(half, rewrite, 3000)
