"""The pure parts of the window."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from backspace_tui.core import events as ev
from backspace_tui.core.stages import Stage
from backspace_tui.core.state import SessionState
from backspace_tui.core.terminal_text import visible
from backspace_tui.ui import keymap, themes
from backspace_tui.ui.diff_layout import Layout
from backspace_tui.ui.diff_rows import DiffRow
from backspace_tui.ui.feed import Feed
from backspace_tui.ui.file_tree import Badge, FileTree
from backspace_tui.ui.highlight import spans
from backspace_tui.ui.panes.bars import Part, fitting
from backspace_tui.ui.panes.transcript import broken
from backspace_tui.ui.present import hunk_views
from backspace_tui.ui.raw_lines import raw_lines, shown
from backspace_tui.ui.status import of_session
from tests.ui.diffs import one
from tests.ui.sample import CART, CART_NEW, Sample

# Rows of the diff

CART_LINES = CART_NEW.encode().split(b"\n")[:-1]


def _texts(rows: Iterable[DiffRow], sign: str) -> list[str]:
    return [row.text for row in rows if row.kind == "line" and row.sign in (" ", sign)]


def test_full_context_shows_both_files_line_by_line(sample: Sample) -> None:
    views = hunk_views(sample.review().files[0], {})
    rows = Layout(views, CART_LINES, 1000, set())
    assert _texts(rows, "+") == CART_NEW.splitlines()
    assert _texts(rows, "-") == CART.splitlines()
    numbered = [row for row in rows if row.kind == "line"]
    assert [row.new for row in numbered if row.new] == list(range(1, len(CART_NEW.splitlines()) + 1))
    assert [row.old for row in numbered if row.old] == list(range(1, len(CART.splitlines()) + 1))


def test_no_context_shows_changed_lines_and_what_lies_between_them_in_a_hunk(sample: Sample) -> None:
    views = hunk_views(sample.review().files[0], {})
    rows = Layout(views, CART_LINES, 0, set())
    changed = [row for row in rows if row.sign != " "]
    assert len(changed) == sum(sum(view.counts) for view in views)
    assert [row.kind for row in rows if row.kind == "gap"]


def test_without_the_file_the_hunks_bring_their_own_context(sample: Sample) -> None:
    views = hunk_views(sample.review().files[0], {})
    rows = Layout(views, None, 3, set())
    assert sum(row.kind == "line" for row in rows) == sum(len(view.lines) for view in views)


def test_accepted_hunks_stand_in_one_row_in_their_place(sample: Sample) -> None:
    from backspace_tui.core.commands import Decide

    hunk = sample.review().files[0].hunks[1].hunk
    sample.decide(Decide(hunks=(hunk.id,), action="accept"))
    views = hunk_views(sample.review().files[0], {})
    rows = Layout(views, CART_LINES, 1000, set())
    assert [row.kind for row in rows if row.hunk == 1] == ["fold"]
    # Both sides but for the lines that stand folded.
    start, end = views[1].extent
    folded = [line for sign, line in views[1].lines[start:end] if sign != "-"]
    assert len(_texts(rows, "+")) == len(CART_NEW.splitlines()) - len(folded)
    unfolded = Layout(views, CART_LINES, 1000, {hunk.id})
    assert _texts(unfolded, "+") == CART_NEW.splitlines()


def test_a_rejected_hunk_that_is_gone_takes_no_room_in_the_file() -> None:
    rows = Layout([one("-+", state="rejected", gone=True)], [b"one", b"two"], 3, set())
    assert [(row.old, row.new) for row in rows if row.hunk == 0 and row.kind == "line"] == [(0, 0), (0, 0)]


def test_nothing_invisible_is_left_in_shown_lines() -> None:
    assert [shown(line) for line in raw_lines(b"a\x1b[2Jb\r\n\xe9\tc\n")] == ["a<1B>[2Jb<0D>", "<E9>    c"]
    assert raw_lines(b"\0\1") == [b"binary file, 2 bytes"]
    assert raw_lines(b"a\x0cb\xe2\x80\xa8c\rd") == [b"a\x0cb\xe2\x80\xa8c\rd"]
    assert raw_lines(b"") == []


def test_the_end_of_a_long_test_output_stands_under_the_hunk(sample: Sample) -> None:
    file = sample.review().files[0]
    hunk = file.hunks[0].hunk.id
    output = [f"line {number}\x1b[31m" for number in range(40)]
    view = next(view for view in hunk_views(file, {}, {hunk: output}) if view.id == hunk)
    assert len(view.failing) == 12
    assert view.failing[0] == "... 29 lines above"
    assert view.failing[-1] == "line 39<1B>[31m"
    view = next(view for view in hunk_views(file, {}, {hunk: output[:3]}) if view.id == hunk)
    assert [line.partition("<")[0] for line in view.failing] == ["line 0", "line 1", "line 2"]


# Colours


def test_spans_name_columns_of_the_shown_text() -> None:
    text = 'def f():\n    """a\n    b"""\n    return 1\n'
    lines = spans("a.py", text)
    assert (0, 3, "syntax-keyword") in lines[0]
    assert lines[2][0][2] in ("syntax-string", "syntax-comment")
    assert spans("a.unknown-kind", text) == []


@given(st.text(alphabet="ab'\"#{}\n\t (", max_size=200))
def test_spans_stay_inside_their_lines(text: str) -> None:
    shown = [visible(line) for line in text.split("\n")]
    found = spans("a.py", "\n".join(shown))
    assert len(found) == len(shown)
    for line, pieces in zip(shown, found, strict=True):
        assert all(0 <= start < end <= len(line) for start, end, _ in pieces)


# Breaking lines


@given(st.text(alphabet=st.characters(exclude_categories=("C", "M")), max_size=120), st.integers(2, 30), st.booleans())
def test_broken_lines_fit_and_lose_nothing_but_blanks(line: str, width: int, words: bool) -> None:
    pieces = broken(line, width, words=words)
    assert all(cell_len(piece) <= width for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(line.split())


# Files


def test_folders_with_changes_come_first_and_stand_open() -> None:
    paths = ["a/one.py", "b/two.py", "b/c/d/three.py", "zzz.py"]
    tree = FileTree(paths, {"b/two.py": Badge(1, 2), "zzz.py": Badge(1, 1), "new.py": Badge(0, 1)})
    rows = tree.rows({})
    assert [row.name for row in rows] == ["b", "c/d", "two.py", "a", "new.py", "zzz.py"]
    assert [row.badge.text for row in rows if row.badge] == ["1/2", "0/1", "ok"]
    assert [row.path for row in tree.rows({}, "undecided") if not row.is_folder] == ["b/two.py", "new.py"]
    assert "a/one.py" in [row.path for row in tree.rows({"a": True})]
    assert "b/two.py" not in [row.path for row in tree.rows({"b": False})]


# Feed


def test_streamed_text_becomes_one_thought() -> None:
    feed = Feed()
    fed = feed.feed([ev.AgentThinking(text="It ign"), ev.AgentThinking(text="ores qty.")])
    assert fed.stream is not None
    assert fed.stream.text == "It ignores qty."
    fed = feed.feed([ev.ModelReplied(model="m", text="It ignores qty.")])
    assert fed.stream is None
    assert [entry.text for entry in fed.thinking] == ["It ignores qty."]


def test_void_text_leaves_nothing() -> None:
    feed = Feed()
    fed = feed.feed(
        [ev.AgentThinking(text="half"), ev.AgentThinking(void=True), ev.ModelFailed(model="claude", reason="529")]
    )
    assert fed.stream is None
    assert [(entry.label, entry.text) for entry in fed.thinking] == [("fall", "claude: 529; the next model is asked")]


def test_output_in_pieces_is_joined_to_lines() -> None:
    feed = Feed()
    pieces = [ev.ToolOutput(call_id="c", stream="stdout", text=text) for text in ("a", "b\nc", "\n", "d")]
    lines = [entry.text for entry in feed.feed(pieces).sandbox]
    done = ev.ToolFinished(call_id="c", tool="run_command", ok=False, text="", exit_code=3, seconds=1)
    lines += [entry.text for entry in feed.feed([done]).sandbox]
    assert lines == ["ab", "c", "d", "exit 3  1.0 s"]


def test_a_loop_is_told_as_one() -> None:
    told = [
        ev.Message(role="program", kind="feedback", about="loop", text="You are going in circles"),
        ev.Message(role="program", about="loop", text="The agent was ended"),
        ev.Message(role="program", kind="feedback", text="Mend the test"),
        ev.Message(role="program", kind="compacted", text="The agent's older turns are shortened"),
    ]
    assert [entry.label for entry in Feed().feed(told).thinking] == ["loop", "loop", "review", "note"]


# Status


def test_parts_of_low_rank_stay() -> None:
    parts = [Part("implement", rank=0), Part("claude", rank=4), Part("3 of 7 decided", rank=1)]
    assert [part.text for part in fitting(parts, 100)] == ["implement", "claude", "3 of 7 decided"]
    assert [part.text for part in fitting(parts, 28)] == ["implement", "3 of 7 decided"]
    assert [part.text for part in fitting(parts, 3)] == ["implement"]


@pytest.mark.parametrize(("stage", "shown"), [("review", "review"), ("implement", "implement 2/3")])
def test_the_number_of_the_attempt_is_told_of_work_alone(stage: Stage, shown: str) -> None:
    state = SessionState(stage=stage, stage_open=True, attempt=2, status="waiting" if stage == "review" else "running")
    parts = of_session(state, None)
    assert shown in [part.text for part in parts]


def test_reduced_isolation_stands_out() -> None:
    parts = of_session(SessionState(sandbox="bubblewrap, reduced isolation", status="running"), None)
    assert Part("bubblewrap, reduced isolation", "alert", 0) in parts
    parts = of_session(SessionState(sandbox="docker, no net", status="running"), None)
    assert Part("docker, no net", "muted", 3) in parts


# Keys


def test_default_keys_do_not_clash() -> None:
    for replay in (False, True):
        keys = [
            key for entry in keymap.KEYS if keymap.applies(entry, replay=replay) for key in keymap.split(entry.keys)
        ]
        assert len(keys) == len(set(keys))


def test_two_keys_may_change_places() -> None:
    keys, problems = keymap.resolve({"hunk.reject": "u", "decision.undo": "x"})
    assert (keys["hunk.reject"], keys["decision.undo"], problems) == ("u", "x", [])


@pytest.mark.parametrize("override", [{"nothing": "a"}, {"help": " , "}, {"help": "u"}, {"verify": "ctrl+p"}])
def test_a_key_that_cannot_be_is_said_and_the_default_stays(override: dict[str, str]) -> None:
    keys, problems = keymap.resolve(override)
    assert len(problems) == 1
    assert keys == keymap.resolve({})[0]


# Themes


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("primary = ", "Invalid value"),
        ("dark = true", "primary"),
        ("primary = '#123456'\ncolour = 1", "colour"),
        ("primary = 'chartreuse-ish'", "chartreuse-ish"),
        ("primary = '#123456'\n[variables]\nmuted = 7", "muted"),
        ("primary = '#123456'\nvariables = 3", "variables"),
        ("primary = 5", "primary"),
    ],
)
def test_broken_themes_say_what_is_wrong(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        themes.parse("mine", text)


def test_our_themes_load() -> None:
    from backspace_tui.paths import resource_dir

    found = themes.load([resource_dir("themes")])
    assert set(found.themes) >= {"backspace-dark", "backspace-light", "backspace-ansi"}
    assert found.problems == []
