"""The diff pane by itself: keeping its place, units, both sides beside each other, what is drawn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.style import Style
from textual.content import Content

from backspace_tui.ui.diff_rows import HunkView
from backspace_tui.ui.highlight import MAX_BYTES, Span, line_spans, moved
from backspace_tui.ui.panes.diff import DiffView
from backspace_tui.ui.panes.line_view import Drawn
from backspace_tui.ui.raw_lines import MAX_COLUMNS, shown, shown_part
from tests.ui.diffs import DiffApp, one, views
from tests.ui.windows import scenario

OLD = [b"line %d" % number for number in range(1, 61)]
NEW = [*OLD[:9], b"ten", b"ten and a half", *OLD[10:29], *OLD[30:49], b"line fifty", *OLD[50:]]


@asynccontextmanager
async def pane(
    found: Sequence[HunkView], work: Sequence[bytes] | None, size: tuple[int, int] = (100, 20)
) -> AsyncIterator[DiffView]:
    """The pane with one file, as it is after it was read."""
    app = DiffApp()
    async with app.run_test(size=size) as pilot:
        app.diff.show("f.py", found)
        if work is not None:
            app.diff.load("f.py", work, {})
        await pilot.pause()
        yield app.diff
        await pilot.pause()


def _screen(diff: DiffView) -> list[str]:
    """The rows that are on the screen."""
    return [diff.render_line(y).text.rstrip() for y in range(diff.page_height)]


def _title(diff: DiffView) -> str:
    return Content.from_markup(diff.border_title or "").plain


def _at_cursor(diff: DiffView) -> str:
    return diff.plain(diff.cursor)


def _go(diff: DiffView, text: str) -> None:
    diff.go_to(next(index for index in range(diff.line_count()) if diff.plain(index) == text))


# Keeping the place


@scenario
async def test_the_same_views_again_change_nothing() -> None:
    async with pane(views(OLD, OLD, NEW), NEW) as diff:
        layout = diff._layout
        diff.show("f.py", views(OLD, OLD, NEW))
        assert diff._layout is layout
        diff.show("f.py", [view._replace(comment="no") for view in views(OLD, OLD, NEW)])
        assert diff._layout is not layout


@scenario
async def test_the_cursor_stays_on_its_line_when_a_hunk_before_it_is_decided() -> None:
    async with pane(views(OLD, OLD, NEW), NEW) as diff:
        for text in ("ten and a half", "line 30", "line fifty", "line 52"):
            diff.show("f.py", views(OLD, OLD, NEW))
            diff.load("f.py", NEW, {})
            _go(diff, text)
            above = diff.cursor - diff.scroll_offset.y
            accepted = [*OLD[:9], b"ten", b"ten and a half", *OLD[10:]]
            found = views(OLD, accepted, NEW)
            assert [view.settled for view in found] == [True, False, False]
            if text == "ten and a half":
                diff.unfolded.add(found[0].id)
            diff.show("f.py", found)
            assert _at_cursor(diff) == text
            assert diff.cursor - diff.scroll_offset.y == above or diff.scroll_offset.y == 0
            diff.unfolded.clear()


@scenario
async def test_the_cursor_stays_on_its_line_when_its_hunk_became_another() -> None:
    async with pane(views(OLD, OLD, NEW), NEW) as diff:
        _go(diff, "ten and a half")
        assert diff.hunk is not None
        other = [
            view._replace(hunk=replace(view.hunk, id=f"c{number:011x}"))
            for number, view in enumerate(views(OLD, [*OLD[:9], b"ten", *OLD[9:]], NEW))
            if not view.settled
        ]
        diff.show("f.py", other)
        assert _at_cursor(diff) == "ten and a half"
        _go(diff, "line 30")
        work = [b"above", *NEW]
        diff.show("f.py", views(OLD, OLD, work)[1:])
        diff.load("f.py", work, {})
        assert _at_cursor(diff) == "line 30"


@scenario
async def test_more_context_and_folding_keep_the_line() -> None:
    async with pane(views(OLD, OLD, NEW), NEW) as diff:
        _go(diff, "line 28")
        diff.change_context(12)
        assert _at_cursor(diff) == "line 28"
        diff.change_context(-12)
        assert _at_cursor(diff) == "line 28"
        _go(diff, "line 30")
        diff.fold()
        assert "undecided +0 -1" in _screen(diff)[diff.cursor - diff.scroll_offset.y]
        diff.unfold(["no such hunk"])
        assert diff._layout[diff.cursor].kind == "fold"
        diff.unfold(view.id for view in diff.hunks)
        assert not any(row.kind == "fold" for row in diff._layout)
        assert diff.hunk_index == 1
        diff.fold()
        diff.fold()
        assert diff.hunk_index == 1


# Units


@scenario
async def test_units_by_key() -> None:
    async with pane([one(" -+ +-+ ")], None) as diff:
        assert diff.unit == "abc"
        assert diff.cycle_unit() == "block"
        assert (diff.unit, _at_cursor(diff)) == ("abc/1", "b")
        assert [y for y, line in enumerate(_screen(diff)) if line.startswith("▌")] == [2, 3]
        assert diff.cycle_unit() == "line"
        assert diff.unit == "abc:2"
        assert "by line" in _title(diff)
        diff.move(1)
        assert diff.unit == "abc:3"
        diff.move(1)
        assert diff.unit == "abc:5"
        assert diff.cycle_unit() == "hunk"
        assert diff.unit == "abc"


@scenario
async def test_a_range_grows_with_the_cursor_and_ends() -> None:
    found = [one(" -+ +-+ "), one("-+")._replace(hunk=replace(one("-+").hunk, id="def"))]
    async with pane(found, None) as diff:
        assert not diff.end_range()
        diff.go_to(3)
        assert diff.start_range()
        assert (diff.mode, diff.unit) == ("line", "abc:3")
        diff.move(2)
        assert diff.unit == "abc:3,5"
        assert "lines" in _title(diff)
        diff.show("f.py", [found[0]._replace(comment="why?"), found[1]])
        assert diff.unit == "abc:3,5"
        diff.go_to(diff.line_count() - 1)
        assert diff.hunk is not None
        assert (diff.hunk.id, diff.unit) == ("abc", "abc:3,5-7")
        assert diff.end_range()
        assert not diff.in_range
        assert diff.unit == "def:2"
        diff.start_range()
        assert not diff.start_range()
        diff.start_range()
        diff.show("f.py", found[:1])
        assert not diff.in_range
        assert diff.unit.startswith("abc")


@scenario
async def test_after_a_decision_the_next_open_line_of_the_hunk() -> None:
    async with pane([one("-- ++", rejected=frozenset({2}))], None) as diff:
        assert not diff.advance_unit()
        diff.cycle_unit()
        diff.cycle_unit()
        assert diff.unit == "abc:1"
        assert diff.advance_unit()
        assert diff.unit == "abc:4"
        diff.mark_busy(frozenset({"abc:4"}))
        diff.go_to(1)
        assert diff.advance_unit()
        assert diff.unit == "abc:5"
        assert not diff.advance_unit()


# What is drawn


def _styles(diff: DiffView, y: int) -> dict[str, Style]:
    """The pieces of a row with their styles."""
    return {segment.text: segment.style or Style() for segment in diff.render_line(y)}


@scenario
async def test_words_that_differ_stand_out_until_they_shall_not() -> None:
    async with pane([one("-+", "one,two,three one,2,three")], None) as diff:
        styles = diff.styles_of_app
        assert _styles(diff, 1)["two"].bgcolor == styles["removed-word"].bgcolor
        assert _styles(diff, 2)["2"].bgcolor == styles["added-word"].bgcolor
        assert not diff.toggle_emphasis()
        assert "two" not in _styles(diff, 1)
        assert diff.toggle_emphasis()
        assert diff.toggle_side_by_side()
        assert _styles(diff, 1)["two"].bgcolor == styles["removed-word"].bgcolor
        assert _styles(diff, 1)["2"].bgcolor == styles["added-word"].bgcolor


@scenario
async def test_both_sides_stand_beside_each_other() -> None:
    async with pane(views(OLD, OLD, NEW), NEW) as diff:
        _go(diff, "ten and a half")
        assert diff.toggle_side_by_side()
        assert "side by side" in _title(diff)
        lines = [line for line in _screen(diff) if "ten" in line or "line 11" in line]
        assert [line.split() for line in lines] == [
            ["▌", "10-│line", "10", "│", "10+│ten"],
            ["▌", "│", "11+│ten", "and", "a", "half"],
            ["11", "│line", "11", "│", "12", "│line", "11"],
        ]
        assert "ten and a half" in _at_cursor(diff)
        assert all(diff.render_line(y).cell_length == diff.render_line(0).cell_length for y in range(diff.page_height))
        diff.toggle_side_by_side()
        assert "ten" in _at_cursor(diff)


@scenario
async def test_a_narrow_pane_shows_both_sides_below_each_other_and_says_so() -> None:
    app = DiffApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.diff.show("f.py", views(OLD, OLD, NEW))
        await pilot.pause()
        _go(app.diff, "ten")
        assert not app.diff.toggle_side_by_side()
        assert "too narrow" in _title(app.diff)
        assert not any(row.kind == "pair" for row in app.diff._layout)
        await pilot.resize_terminal(100, 20)
        await pilot.pause()
        assert any(row.kind == "pair" for row in app.diff._layout)
        assert "ten" in _at_cursor(app.diff)


@scenario
async def test_lines_that_wait_to_be_rejected_are_struck_in_their_place() -> None:
    async with pane([one("-+ +", rejected=frozenset({2}))], None) as diff:
        struck = [bool(style.strike) for y in range(1, 5) for text, style in _styles(diff, y).items() if text in "abcd"]
        assert struck == [False, True, False, False]
        assert "1 line rejected" in _screen(diff)[0]


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (one("+", state="changed", changed="seen"), "changed since you looked"),
        (one("+", state="changed", changed="accepted"), "changes lines you accepted"),
        (one("+", state="changed", changed="rejected"), "made again after you rejected it"),
        (one("+", kept=True), "the agent's version; yours is accepted"),
        (one("+", failing=("E  assert 1 == 2", "FAILED a.py")), "tests: E  assert 1 == 2"),
        (one("+", note="renamed from a.py"), "renamed from a.py"),
    ],
)
def test_what_became_of_a_hunk_is_said(view: HunkView, words: str) -> None:
    @scenario
    async def look() -> None:
        async with pane([view], None) as diff:
            assert any(words in line for line in _screen(diff))

    look()


@scenario
async def test_progress_and_place_stand_in_the_title() -> None:
    found = views(OLD, [*OLD[:9], b"ten", b"ten and a half", *OLD[10:]], NEW)
    async with pane(found, NEW) as diff:
        assert _title(diff) == "Diff  f.py  hunk 2 of 3  1/3 decided"


@scenario
async def test_one_endless_line_is_drawn_as_far_as_it_can_be_seen() -> None:
    async with pane([one("+", "x" * 3_000_000)], None) as diff:
        assert len(diff._layout[1].text) < 10 * MAX_COLUMNS
        assert len(_screen(diff)[1]) == diff.size.width


# Much of it


class _Counting(list[bytes]):
    """Lines that count how many of them are read."""

    read = 0

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        self.read += 1
        return super().__getitem__(index)


@pytest.mark.parametrize("count", [1_000, 100_000])
def test_a_page_key_reads_and_draws_what_is_shown_and_no_more(count: int) -> None:
    @scenario
    async def look() -> None:
        work = [b"added %d" % number for number in range(count)]
        lines = tuple(("+", b"added %d" % number) for number in range(count))
        hunk = replace(one("+").hunk, lines=lines, additions=frozenset(range(1, count + 1)))
        async with pane([HunkView(hunk, "pending")], work) as diff:
            drawn: list[int] = []
            draw = diff.draw

            def drawing(index: int) -> Drawn:
                drawn.append(index)
                return draw(index)

            diff.draw = drawing  # type: ignore[method-assign]
            shown_part.cache_clear()
            diff.go_to(diff.line_count() - 1)
            _screen(diff)
            for _ in range(5):
                diff.move(-diff.page_height)
                _screen(diff)
            assert 5 * diff.page_height <= len(drawn) <= 8 * diff.page_height
            assert shown_part.cache_info().misses <= len(drawn)

    look()


@scenario
async def test_searching_stops_at_the_first_match() -> None:
    work = _Counting(b"line %d" % number for number in range(50_000))
    async with pane([], work) as diff:
        assert diff.line_count() == 50_000
        work.read = 0
        assert diff.find("LINE 77", 1, again=False)
        assert _at_cursor(diff) == "line 77"
        assert work.read < 1000
        assert diff.find("line 77", 1, again=True)
        assert _at_cursor(diff) == "line 770"
        assert diff.find("line 77", -1, again=True, wrap=False)
        assert _at_cursor(diff) == "line 77"
        assert not diff.find("line 77", -1, again=True, wrap=False)
        assert not diff.find("nowhere", 1, again=True)
        assert _at_cursor(diff) == "line 77"


# Colours


@pytest.mark.parametrize(
    ("line", "pieces"),
    [
        (b"x =\t1  # a", {"1": "number", "# a": "comment", "=": "operator"}),
        (b'if\tx == "a\tb":', {"if": "keyword", "==": "operator", "a    b": "string"}),
        (b"x = 1\r", {"1": "number"}),
        (b'x = "caf\xe9" + 1', {"1": "number", "caf<E9>": "string"}),
        (b"x = 1 # \xe2\x80\xae a", {"1": "number", "# <U+202E> a": "comment"}),
    ],
)
def test_colours_stand_at_the_columns_that_are_shown(line: bytes, pieces: dict[str, str]) -> None:
    lines = [b'"""several', b"lines", b'of text"""', line, b"y = 2"]
    found = line_spans("a.py", lines)
    assert len(found) == len(lines)
    assert {name for at in range(3) for _, _, name in found[at]} <= {"syntax-comment", "syntax-string"}
    assert all(found[at] for at in range(3))
    coloured = {shown(line)[start:end]: name.removeprefix("syntax-") for start, end, name in found[3]}
    assert pieces.items() <= coloured.items()
    assert found[4][-1] == (4, 5, "syntax-number")


def test_what_is_too_large_or_of_no_known_kind_stays_plain() -> None:
    assert not line_spans("a.py", [b"x = 1"] * (MAX_BYTES // 5))
    assert not line_spans("a.unknown-kind", [b"x = 1"])


@given(
    st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=12),
    st.lists(st.sampled_from([b"a", b"x"]), max_size=3),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_colours_follow_lines_that_move(old: list[bytes], lines: list[bytes], start: int, end: int) -> None:
    new = [*old[:start], *lines, *old[max(start, end) :]]
    colours: list[list[Span]] = [[(0, 1, f"{number}")] for number in range(len(old))]
    found = moved(colours, old, new)
    assert len(found) == len(new)
    assert [found[at] for at in range(-len(new), len(new))] == [*found, *found[:]]
    kept = [(number, int(spans[0][2])) for number, spans in enumerate(found) if spans]
    assert all(old[was] == new[number] for number, was in kept)
    assert [was for _, was in kept] == sorted({was for _, was in kept})
    assert len(kept) >= len(new) - len(lines)
    assert not moved([], old, new)
