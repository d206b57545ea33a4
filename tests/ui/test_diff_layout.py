"""Where the rows of a diff stand, against a plain way of making all of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backspace_tui.core.hunks import Hunk
from backspace_tui.ui.diff_anchor import anchor, row_of
from backspace_tui.ui.diff_layout import Layout
from backspace_tui.ui.diff_rows import DiffRow, HunkView
from backspace_tui.ui.raw_lines import matcher, shown
from tests.ui.diffs import hunks, one, views

Plain = tuple[str, int, str, str, int, int]


def _plain(row: DiffRow) -> Plain:
    return row.kind, row.hunk, row.text, row.sign, row.old, row.new


def _reference(
    hunks: Sequence[HunkView], work: Sequence[bytes] | None, context: int, unfolded: Collection[str]
) -> list[Plain]:
    """All rows, one after the other, as simply as it can be said."""
    rows: list[Plain] = []
    following, shift, after = 1, 0, 0
    if not hunks and work is not None:
        return [("line", -1, shown(line), " ", number, number) for number, line in enumerate(work, start=1)]
    for index, hunk in enumerate(hunks):
        folded = (hunk.id in unfolded) != ((hunk.settled or hunk.kept) and not hunk.failing)
        if work is None or hunk.gone:
            rows += _all_of(index, hunk, 0, len(hunk.lines), folded)
            continue
        signs = [sign for sign, _ in hunk.lines]
        changed = [at for at, sign in enumerate(signs) if sign != " "]
        first, last = (changed[0], changed[-1] + 1) if changed else (0, 0)
        place = (hunk.hunk.new_start if hunk.settled else hunk.hunk.old_start) + first
        start, before = place + shift, 0 if folded else context
        until = min(start, len(work) + 1)
        rows += _between(work, list(range(following, until)), after, before, shift)
        following, after = max(following, until), before
        rows += _all_of(index, hunk, first, last, folded)
        length = sum(sign != "-" for sign in signs[first:last])
        others = [v for v in hunks[index + 1 :] if not v.settled and not v.gone]
        if not hunk.settled or not any(v.accepted_start < place + length for v in others):
            following = max(following, start + length)
        if not hunk.settled:
            shift += signs.count("+") - signs.count("-")
    if work is not None and hunks:
        rows += _between(work, list(range(following, len(work) + 1)), after, 0, shift)
    return rows


def _between(work: Sequence[bytes], numbers: list[int], after: int, before: int, shift: int) -> list[Plain]:
    def line(number: int) -> Plain:
        return "line", -1, shown(work[number - 1]), " ", number - shift, number

    hidden = numbers[after : max(after, len(numbers) - before)]
    if len(hidden) < 2:
        return [line(number) for number in numbers]
    head, tail = numbers[:after], numbers[after + len(hidden) :]
    return [*map(line, head), ("gap", -1, f"{len(hidden)} lines", " ", 0, 0), *map(line, tail)]


def _all_of(index: int, hunk: HunkView, first: int, last: int, folded: bool) -> list[Plain]:
    signs = [sign for sign, _ in hunk.lines]
    if folded:
        return [("fold", index, f"+{signs.count('+')} -{signs.count('-')}", " ", 0, 0)]
    rows: list[Plain] = [("head", index, "", " ", 0, 0)]
    if hunk.note:
        rows.append(("note", index, hunk.note, " ", 0, 0))
    old, new = hunk.hunk.old_start, hunk.hunk.new_start
    for at, (sign, text) in enumerate(hunk.lines):
        if first <= at < last:
            numbers = (0, 0) if hunk.gone else (old if sign != "+" else 0, new if sign != "-" else 0)
            rows.append(("line", index, shown(text), sign, *numbers))
        old += sign != "+"
        new += sign != "-"
    rows += [("tests", index, text, " ", 0, 0) for text in hunk.failing]
    rows += [(kind, index, text, " ", 0, 0) for kind, text in (("comment", hunk.comment), ("why", hunk.why)) if text]
    return rows


def _line(row: DiffRow) -> tuple[object, ...]:
    return row.kind, row.sign, row.raw, row.other_raw


@given(st.lists(st.tuples(st.integers(0, 39), st.integers(0, 3), st.integers(0, 3)), max_size=6), st.data())
def test_a_line_is_found_again_after_every_decision_and_further_edit(
    edits: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    base = [b"line %d" % number for number in range(40)]
    accepted, work, later = list(base), list(base), list(base)
    for number, (at, deleted, added) in enumerate(edits):
        lines = [b"edit %d.%d" % (number, count) for count in range(added)]
        work[at : at + deleted] = lines
        later[at : at + deleted] = lines
        if data.draw(st.booleans()):
            later[3:3] = [b"later %d" % number]
    taken = data.draw(st.sets(st.integers(0, 5)))
    for hunk in reversed([hunk for number, hunk in enumerate(hunks(base, work)) if number in taken]):
        accepted[hunk.old_start - 1 : hunk.old_end - 1] = [line for sign, line in hunk.lines if sign != "-"]
    paired, context = data.draw(st.booleans()), data.draw(st.integers(0, 50))
    newest = data.draw(st.sampled_from([work, later]))
    before, after = views(base, base, work), views(base, accepted, newest)
    first = Layout(before, work, context, set(), paired=paired)
    second = Layout(after, newest, 50, {view.id for view in after if view.quiet}, paired=paired)
    rows = [at for at, row in enumerate(first) if row.kind in ("line", "pair")]
    if not rows:
        return
    cursor = data.draw(st.sampled_from(rows))
    found = row_of(second, anchor(first, cursor, 0))
    assert 0 <= found < len(second)
    if _line(first[cursor]) in map(_line, second):
        assert _line(second[found]) == _line(first[cursor])


LINES = st.lists(st.sampled_from([b"a", b"b", b"\tc", b"d\x1b", b"e", b"f", b""]), max_size=30)


@st.composite
def files(draw: st.DrawFn) -> tuple[list[HunkView], list[bytes]]:
    """The hunks of a file with a history, and the file in W."""
    base = draw(LINES)
    versions = [base]
    for _ in range(2):
        lines = list(versions[-1])
        for _ in range(draw(st.integers(0, 4))):
            at = draw(st.integers(0, len(lines)))
            lines[at : at + draw(st.integers(0, 3))] = draw(st.lists(st.sampled_from([b"x", b"y", b"a"]), max_size=3))
        versions.append(lines)
    found = []
    for view in views(*versions):
        if draw(st.booleans()):
            view = view._replace(note="n", comment="c")
        if draw(st.booleans()):
            view = view._replace(why="w", failing=("1", "2"))
        found.append(view._replace(kept=draw(st.booleans()) and not view.settled))
    if draw(st.booleans()):
        found.append(one("-+-", gone=True, state="rejected"))
    return found, versions[-1]


@given(files(), st.integers(0, 5), st.integers(0, 7), st.booleans())
def test_rows_made_on_demand_are_those_made_at_once(
    file: tuple[list[HunkView], list[bytes]], context: int, unfolding: int, loaded: bool
) -> None:
    hunks, work = file
    unfolded = {view.id for at, view in enumerate(hunks) if unfolding >> at & 1}
    layout = Layout(hunks, work if loaded else None, context, unfolded)
    expected = _reference(hunks, work if loaded else None, context, unfolded)
    assert [_plain(row) for row in layout] == expected
    assert len(layout) == len(expected)
    assert [_plain(layout[at]) for at in range(len(layout) - 1, -1, -1)] == expected[::-1]
    owner = len(hunks) - 1
    for at in range(len(layout) - 1, -1, -1):
        owner = expected[at][1] if expected[at][1] >= 0 else owner
        assert layout.owner(at) == owner
    for at in range(len(hunks)):
        assert [number for number, row in enumerate(expected) if row[1] == at] == list(layout.rows_of(at))


@given(files(), st.integers(0, 5))
def test_side_by_side_shows_the_same_lines_each_once_and_in_order(
    file: tuple[list[HunkView], list[bytes]], context: int
) -> None:
    hunks, work = file
    unfolded = {view.id for view in hunks if view.quiet}
    below = Layout(hunks, work, context, unfolded)
    beside = Layout(hunks, work, context, unfolded, paired=True, previous=below)
    assert len(list(beside)) == len(beside) <= len(below)
    for sign in "-+":
        lines = [(row.hunk, row.raw) for row in below if row.kind == "line" and row.sign in (" ", sign)]
        sides = []
        for row in beside:
            if row.kind == "line" and row.sign == " ":
                sides.append((row.hunk, row.raw))
            elif row.kind == "pair" and (row.position if sign == "-" else row.other):
                sides.append((row.hunk, row.raw if sign == "-" else row.other_raw))
        assert sides == lines
    for index, view in enumerate(hunks):
        body = beside.body_of(index)
        for at in body:
            for position in beside.positions(index, at):
                assert position < 0 or beside.row_at(index, position) == at
        if body:
            shown_ones = {position for at in body for position in beside.positions(index, at)}
            assert shown_ones - {-1} == set(range(*(view.extent if not view.gone else (0, len(view.lines)))))
            spans = beside.positions_between(index, body.start, body.stop - 1)
            assert {position for span in spans for position in span} == shown_ones - {-1}


@given(files(), st.booleans())
def test_every_line_of_the_file_is_found_by_its_number(file: tuple[list[HunkView], list[bytes]], paired: bool) -> None:
    hunks, work = file
    layout = Layout([view for view in hunks if not view.settled and not view.kept], work, 2, (), paired=paired)
    if not layout.hunks:
        return
    for number in range(1, len(work) + 1):
        row = layout[layout.row_of_number(number)]
        assert row.kind == "gap" or row.new == number
        assert row.kind == "gap" or layout.number(layout.row_of_number(number)) == number


@given(files(), st.sampled_from(["a", "X", "<1B>", "    c", "lines", "zz", "n"]), st.booleans(), st.data())
def test_searching_goes_to_the_next_row_that_shows_the_text(
    file: tuple[list[HunkView], list[bytes]], text: str, paired: bool, data: st.DataObject
) -> None:
    hunks, work = file
    layout = Layout(hunks, work, 2, (), paired=paired)
    if not layout:
        return
    rows = list(layout)
    start, step = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.sampled_from([1, -1]))

    def shows(row: DiffRow) -> bool:
        if row.kind == "gap":
            return False
        texts = [shown(row.raw), shown(row.other_raw)] if row.kind == "pair" else [row.text]
        return any(text.casefold() in part.casefold() for part in texts)

    order = [(start + step * at) % len(rows) for at in range(len(rows))]
    expected = next((at for at in order if shows(rows[at])), None)
    assert layout.find(matcher(text), start, step, wrap=True) == expected
    ahead = order[: len(rows) - start if step > 0 else start + 1]
    expected = next((at for at in ahead if shows(rows[at])), None)
    assert layout.find(matcher(text), start, step, wrap=False) == expected


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("signs", ["+" * 3000, "-" * 1500 + "+" * 1500, " -+" * 1000])
def test_searching_far_finds_the_one_line_from_either_side(signs: str, paired: bool) -> None:
    texts = " ".join("needle" if at == 2101 else f"hay{at}" for at in range(3000))
    for work in (None, [b"hay"] * 4000):
        layout = Layout([one(signs, texts)], work, 3, (), paired=paired)
        row = layout.row_at(0, 2101)
        for step in (1, -1):
            for start in (0, row, len(layout) - 1):
                assert layout.find(matcher("NEEDLE"), start, step, wrap=True) == row
        assert layout.find(matcher("needle"), row + 1, 1, wrap=False) is None
        assert layout.find(matcher("hay0 hay1"), 0, 1, wrap=True) is None
    layout = Layout([], [b"hay"] * 2000 + [b"needle"] + [b"hay"] * 2000, 3, ())
    assert [layout.find(matcher("needle"), start, -1, wrap=True) for start in (0, 2000, 4000)] == [2000] * 3


@given(
    st.text(alphabet="aB<>1bu+20\t éß€\x1b\u202e", min_size=1, max_size=4),
    st.text(alphabet="aAbB<>1\t éÉß€\x1b\u202e"),
)
def test_a_line_matches_as_it_is_shown(query: str, line: str) -> None:
    expected = query.casefold() in shown(line.encode()).casefold()
    if "\t" not in query and "\x1b" not in query and "\u202e" not in query:
        assert matcher(query)(line.encode()) == expected


def test_bytes_that_are_no_text_are_found_as_they_are_spelled() -> None:
    assert matcher("<e9>")(b"caf\xe9")
    assert matcher("F<E9>")(b"caf\xe9")
    assert not matcher("é")(b"caf\xe9")


class _Counted(tuple):  # type: ignore[type-arg]
    """Lines that count how many of them are read."""

    read = 0

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        type(self).read += 1
        return super().__getitem__(index)

    def __iter__(self):  # type: ignore[no-untyped-def]
        for line in super().__iter__():
            type(self).read += 1
            yield line


def test_making_it_reads_the_ends_of_a_hunk_alone() -> None:
    count = 100_000
    lines = _Counted([(" ", b"a"), *[("+", b"line %d" % at) for at in range(count)], (" ", b"z")])
    hunk = Hunk("abc", "f.py", "text", 1, 1, lines, frozenset(), frozenset(range(2, count + 2)))
    _Counted.read = 0
    layout = Layout([HunkView(hunk, "pending")], [b"a", *[b""] * count, b"z"], 3, ())
    assert len(layout) == count + 3
    assert _Counted.read < 50
    last = [layout[at].text for at in range(len(layout) - 3, len(layout))]
    assert last == [f"line {count - 2}", f"line {count - 1}", "z"]
    # One reading of the signs, and then the lines that were asked for.
    assert _Counted.read < count + 50
    read = _Counted.read
    assert layout[len(layout) // 2].text == f"line {count // 2 - 1}"
    assert _Counted.read < read + 5
