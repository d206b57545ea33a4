"""Playing a log: marks, the bar, time and search."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core import playback as pb

MARKED: list[tuple[ev.AnyEvent, tuple[str, ...]]] = [
    (ev.StageStarted(stage="plan"), ("stage",)),
    (ev.FileEdit(path="a", added=1, removed=0, tree="t"), ("edit",)),
    (ev.ToolFinished(call_id="c", tool="run_command", ok=True, text="", exit_code=0), ("command",)),
    (ev.ToolFinished(call_id="c", tool="run_command", ok=True, text="", exit_code=2), ("command", "failure")),
    (ev.ToolFinished(call_id="c", tool="run_command", ok=False, text=""), ("command", "failure")),
    (ev.ToolFinished(call_id="c", tool="edit_file", ok=False, text="not found"), ("failure",)),
    (ev.ToolFinished(call_id="c", tool="read_file", ok=True, text="x"), ()),
    (ev.Verification(tree="t", verdict="running"), ()),
    (ev.Verification(tree="t", verdict="passes"), ("command",)),
    (ev.Verification(tree="t", verdict="newly fails"), ("command", "failure")),
    (ev.ModelFailed(model="m", reason="529"), ("failure",)),
    (ev.Error(message="no space"), ("failure",)),
    (ev.StageFinished(outcome="ok"), ()),
    (ev.StageFinished(outcome="failed"), ("failure",)),
    (ev.Decision(hunk="h", path="a", action="accept", tree="t", before="b"), ("decision",)),
    (ev.Answer(question=1, text="yes"), ("decision",)),
    (ev.AgentThinking(text="x"), ()),
]
kinds = st.sampled_from([event for event, _ in MARKED])
logs = st.lists(kinds, max_size=60).map(lambda events: [replace(event, seq=n) for n, event in enumerate(events, 1)])


@pytest.mark.parametrize(("event", "expected"), MARKED)
def test_an_event_is_marked_as_what_it_is(event: ev.AnyEvent, expected: tuple[str, ...]) -> None:
    assert pb.kinds_of(event) == expected


def test_an_edit_is_marked_where_its_call_ends() -> None:
    def edit(path: str) -> ev.AnyEvent:
        return ev.FileEdit(path=path, added=1, removed=0, tree="t")

    done = ev.ToolFinished(call_id="c", tool="run_command", ok=True, text="", exit_code=1)
    events: list[ev.AnyEvent] = [
        edit("a"), edit("b"), done, done, ev.Resumed(), edit("c"), ev.GitOperation(operation="snapshot", tree="t"),
        ev.Decision(hunk="h", path="d", action="accept", tree="t", before="b"), edit("e"), ev.Paused(),
    ]  # fmt: skip
    assert [tuple(mark) for mark in pb.marks(events)] == [
        (2, "edit"), (2, "command"), (2, "failure"), (3, "command"), (3, "failure"), (6, "edit"), (7, "decision"),
        (8, "edit"),
    ]  # fmt: skip
    assert [pb.path_at(events, index) for index in (2, 3, 6, 7, 8)] == ["a", "", "c", "d", "e"]


@given(events=logs, kind=st.sampled_from(["", *pb.KINDS]), start=st.integers(-1, 60))
def test_jumping_finds_the_nearest_mark_of_a_kind(events: list[ev.AnyEvent], kind: str, start: int) -> None:
    found = pb.marks(events)
    assert [mark.at for mark in found] == sorted(mark.at for mark in found)
    marks = pb.Marks(found)
    places = sorted({mark.at for mark in found if kind in ("", mark.kind)})
    after = [place for place in places if place > start]
    before = [place for place in places if place < start]
    assert marks.next(start, kind, 1) == (after[0] if after else None)  # type: ignore[arg-type]
    assert marks.next(start, kind, -1) == (before[-1] if before else None)  # type: ignore[arg-type]


@given(events=logs.filter(bool), columns=st.integers(1, 200))
def test_the_bar_shows_every_kind_that_nothing_louder_hides(events: list[ev.AnyEvent], columns: int) -> None:
    total = len(events)
    bar = pb.Marks(pb.marks(events)).bar(total, columns)
    assert len(bar) == columns
    rising = ("stage", "command", "edit", "decision", "failure")
    for column, shown in enumerate(bar):
        here = {mark.kind for mark in pb.marks(events) if pb.column_of(mark.at, total, columns) == column}
        assert shown == max(here, key=rising.index, default="")


@given(total=st.integers(1, 5000), columns=st.integers(1, 300), data=st.data())
def test_a_column_leads_to_an_event_that_it_shows(total: int, columns: int, data: st.DataObject) -> None:
    column = data.draw(st.integers(0, columns - 1))
    index = pb.index_at(column, total, columns)
    assert 0 <= index < total
    shown = pb.column_of(index, total, columns)
    assert shown == column or total < columns or columns == 1
    assert pb.column_of(0, total, columns) == 0
    assert pb.column_of(total - 1, total, columns) == (columns - 1 if total > 1 else 0)
    assert pb.index_at(columns - 1, total, columns) == total - 1 or columns == 1


def test_pauses_are_as_long_as_they_were_but_never_long() -> None:
    seconds = [0.0, 0.5, 60.5, 30.0, 31.0]
    played = pb.moments([ev.EPOCH + timedelta(seconds=at) for at in seconds])
    assert played == [0.0, 0.5, 2.5, 2.5, 3.5]
    assert pb.moments([]) == []


@pytest.mark.parametrize(("speed", "factor"), [(0.5, 2.0), (1.0, 1.0), (16.0, 1 / 16)])
def test_speed_divides_the_time_until_the_next_event(speed: float, factor: float) -> None:
    played = [0.0, 0.5, 2.5, 2.5]
    assert pb.until_next(played, 0, 0, 0.0, speed) == 0.5 * factor
    assert pb.until_next(played, 1, 1, 0.0, speed) == 2.0 * factor
    assert pb.until_next(played, 2, 2, 0.0, speed) == 0.0
    assert pb.until_next(played, 3, 3, 0.0, speed) == 0.0


@given(
    gaps=st.lists(st.floats(-5, 100, allow_nan=False), max_size=40),
    speed=st.sampled_from(pb.SPEEDS),
    seconds=st.floats(0, 500),
    data=st.data(),
)
def test_what_is_shown_is_the_last_event_that_is_due(
    gaps: list[float], speed: float, seconds: float, data: st.DataObject
) -> None:
    times = [ev.EPOCH]
    for gap in gaps:
        times.append(times[-1] + timedelta(seconds=gap))
    played = pb.moments(times)
    assert played == sorted(played)
    start = data.draw(st.integers(0, len(times) - 1))
    shown = pb.playing_at(played, start, seconds, speed)
    due = [n for n in range(start, len(times)) if played[n] <= played[start] + seconds * speed]
    assert shown == due[-1]
    if shown + 1 < len(times):
        wait = pb.until_next(played, start, shown, seconds, speed)
        assert pb.playing_at(played, start, seconds + wait + 1e-6, speed) > shown


def test_speeds_end_at_both_ends() -> None:
    up = [0.5]
    while (speed := pb.faster(up[-1], 1)) != up[-1]:
        up.append(speed)
    assert tuple(up) == pb.SPEEDS == (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    assert [pb.faster(speed, -1) for speed in pb.SPEEDS] == [0.5, 0.5, 1.0, 2.0, 4.0, 8.0]


def test_an_event_is_found_by_its_number() -> None:
    events: list[ev.AnyEvent] = [ev.Resumed(seq=seq) for seq in (1, 2, 4)]
    assert [pb.index_of(events, seq) for seq in range(6)] == [0, 0, 1, 1, 2, 2]


def test_a_text_is_found_in_everything_that_is_told() -> None:
    events: list[ev.AnyEvent] = [
        ev.SessionStarted(session="s", repository="/home/me/shop", prompt="Mend the TOTAL", version="1"),
        ev.AgentThinking(text="a secret th", kind="thinking"),
        ev.AgentThinking(text="ought", kind="thinking"),
        ev.ModelReplied(model="m", text="I read first"),
        ev.ToolStarted(call_id="c", tool="write_files", arguments={"files": [{"path": "b.py", "content": "x = tax"}]}),
        ev.ToolFinished(call_id="c", tool="write_files", ok=True, text="written"),
        ev.ToolOutput(call_id="d", stream="stdout", text="1 fai"),
        ev.ToolOutput(call_id="d", stream="stderr", text="warning"),
        ev.ToolOutput(call_id="d", stream="stdout", text="led"),
        ev.FileEdit(path="src/cart.py", added=1, removed=1, tree="t"),
        ev.Decision(hunk="h", path="p", action="reject", tree="t", before="b", comment="too slow"),
        ev.Verification(tree="t", verdict="passes", command="pytest -q", output="2 passed"),
        ev.PrCreation(forge="local", branch="br", base="main", title="Title", body="Body", commit="c"),
    ]
    texts = pb.Texts(events)
    found = {
        text: texts.find(text, 0, 1)
        for text in ("total", "shop", "secret thought", "READ", "x = tax", "failed", "warning", "cart.py", "too slow",
                     "pytest", "2 passed", "body", "nowhere", "")
    }  # fmt: skip
    assert found == {
        "total": 0, "shop": 0, "secret thought": 2, "READ": 3, "x = tax": 4, "failed": 8, "warning": 7, "cart.py": 9,
        "too slow": 10, "pytest": 11, "2 passed": 11, "body": 12, "nowhere": None, "": None,
    }  # fmt: skip


def test_a_streamed_text_is_one_match_and_the_search_goes_around() -> None:
    events: list[ev.AnyEvent] = [
        ev.AgentThinking(text="look at"),
        ev.AgentThinking(text=" the cart"),
        ev.ModelReplied(model="m", text="look at the cart"),
        ev.Resumed(),
        ev.Message(role="user", text="the cart again"),
        ev.AgentThinking(text="the cart, cut off"),
    ]
    texts = pb.Texts(events)
    assert [texts.find("the cart", start, 1) for start in (0, 3, 5)] == [2, 4, 5]
    assert texts.find("the cart", 6, 1) == 2
    assert texts.find("the cart", 1, -1) == 5
    assert pb.Texts([]).find("x", 0, 1) is None
