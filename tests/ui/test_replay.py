"""Replay: every pane at every point as it was, playing by a clock, marks, searching, and that nothing is decided."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pytest

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.playback import column_of, index_at, marks, moments, playing_at
from backspace_tui.core.state import fold
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import review
from backspace_tui.ui.feed import Feed
from backspace_tui.ui.panes.timebar import TimeBar
from backspace_tui.ui.panes.transcript import Entry
from backspace_tui.ui.status import of_session
from tests.ui.sample import Sample
from tests.ui.windows import Window, launch_of, opened, scenario


def story(sample: Sample) -> list[ev.AnyEvent]:
    """A run with a decision, a failed verification, more work and an end; its log."""
    first = sample.review().files[0].hunks[0].hunk.id
    sample.decide(cmd.Decide(hunks=(first,), action="accept"))
    tree = sample.state.accepted_tree
    sample.emit("verify", ev.StageStarted(), ev.Verification(tree=tree, verdict="running", command="pytest -q"))
    output = "shop/cart.py:15: AssertionError\n"
    sample.emit("verify", ev.Verification(tree=tree, verdict="newly fails", command="pytest -q", output=output))
    sample.change("docs/usage.md", "Call `total` with quantities.\n")
    sample.command("c10", "make docs", "no rule to make\n", 2)
    sample.emit("review", ev.StageStarted(), ev.SessionFinished(outcome="waiting"))
    return list(sample.log.events)


def squeezed(entries: Sequence[Entry]) -> str:
    return "".join("".join(f"{entry.label} {entry.text}".split()) for entry in entries)


async def check(window: Window, events: list[ev.AnyEvent], index: int) -> None:
    """The panes hold what a live window would show when the event at ``index`` was the last one."""
    workspace, desk = window.workspace, window.workspace.desk
    state = fold(events[: index + 1])
    assert workspace.index == index
    assert desk.state == state
    fed = Feed().feed(events[: index + 1])
    told = fed.thinking if fed.stream is None else [*fed.thinking, fed.stream]
    assert "".join(window.pane_text("thinking").split()) == squeezed(told)
    assert "".join(window.pane_text("sandbox").split()) == squeezed(fed.sandbox)
    shown = workspace.status.text
    for part in of_session(state, None):
        assert part.text in shown or "…" in shown
    if not state.work_tree:
        assert desk.review is None
        assert not desk.places
        assert not workspace.diff.hunks
        await window.until(lambda: "no files yet" in window.pane_text("files"), "no files")
        return
    with Objects(workspace.directory / "repo.git") as objects:  # type: ignore[operator]
        expected = review(objects, state)
        names = {path.rpartition("/")[2] for path in objects.entries(state.work_tree)}
    await window.until(lambda: desk.review == expected and desk.work_tree == state.work_tree, f"the review at {index}")
    path = workspace.diff.path
    if (file := desk.file(path)) is not None:
        assert [view.id for view in workspace.diff.hunks] == [item.hunk.id for item in file.hunks]
    else:
        assert not workspace.diff.hunks
    # Closed folders hide their files.
    await window.until(lambda: all(row.name in names for row in workspace.files._rows if not row.is_folder), "files")


@scenario
async def test_every_pane_shows_at_every_point_what_it_showed(sample: Sample) -> None:
    events = story(sample)
    async with opened(launch_of(sample, replay=True)) as window:
        await window.ready()
        last = len(events) - 1
        await check(window, events, last)
        # Back, on, and in jumps.
        for index in (*range(last - 1, -1, -2), *range(1, last, 2), 0, last, 3, last // 2, 1):
            window.workspace.show_at(index)
            await check(window, events, index)


@scenario
async def test_a_place_left_at_once_loses_no_review(sample: Sample) -> None:
    events = story(sample)
    async with opened(launch_of(sample, replay=True)) as window:
        await window.ready()
        workspace, last = window.workspace, len(events) - 1
        for first, then in ((last, last - 1), (0, last), (last, 0), (last - 2, last - 5), (0, last - 1)):
            workspace.show_at(first)
            workspace.show_at(then)
            await check(window, events, then)


@scenario
async def test_playing_goes_by_the_clock_and_the_speed_and_starts_over_from_the_end(sample: Sample) -> None:
    events = story(sample)
    played = moments([event.time for event in events])
    now = [100.0]
    async with opened(launch_of(sample, replay=True)) as window:
        await window.ready()
        workspace, bar = window.workspace, window.workspace.time_bar
        workspace.clock = lambda: now[0]
        await window.press("space")
        assert workspace.playing
        assert workspace.index <= playing_at(played, 0, 0.0, 1.0)
        now[0] += 5.0
        await window.until(lambda: workspace.index == playing_at(played, 0, 5.0, 1.0), "five seconds on")
        here = workspace.index
        assert "▶ 1x" in workspace.status.text
        assert "▶" in bar.render().plain
        await window.press(".", ".")
        now[0] += 2.5
        there = playing_at(played, here, 10.0, 1.0)
        assert there > here + 3
        await window.until(lambda: workspace.index == there, "ten seconds on at four times the speed")
        await window.press(",", ",", ",", ",")
        assert "▶ 0.5x" in workspace.status.text
        await window.press("space")
        assert not workspace.playing
        now[0] += 1000
        await window.press("left")
        assert workspace.index < there
        here = workspace.index
        await window.press("space", "ctrl+right")
        assert workspace.playing
        assert workspace.index > here
        now[0] += 1000
        await window.until(lambda: not workspace.playing, "the end")
        await check(window, events, len(events) - 1)


@scenario
async def test_marks_lead_by_kind_and_to_the_file(sample: Sample) -> None:
    events = story(sample)
    async with opened(launch_of(sample, replay=True)) as window:
        await window.ready()
        workspace, status = window.workspace, window.workspace.status
        for kind in ("stage", "edit", "command", "failure", "decision"):
            await window.press("b", "ctrl+home")
            assert f"{kind[:-1]}" in status.text
            places = sorted({mark.at for mark in marks(events) if mark.kind == kind})
            assert places, kind
            seen = [0] if places[0] == 0 else []
            for _ in places[len(seen) :]:
                await window.press("m")
                seen.append(workspace.index)
            assert seen == places
            await window.press("m")
            assert "further on" in status.text
            status.unsay()
            if kind == "edit":
                assert workspace.diff.path == "docs/usage.md"
                await check(window, events, places[-1])
            await window.press("M")
            assert workspace.index == (places[-2] if len(places) > 1 else places[0])
        assert sorted({mark.kind for mark in marks(events)}) == ["command", "decision", "edit", "failure", "stage"]


@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=["80x24", "160x50"])
@scenario
async def test_the_bar_is_drawn_and_a_click_leads_there(sample: Sample, size: tuple[int, int]) -> None:
    events = story(sample)
    async with opened(launch_of(sample, replay=True), size) as window:
        await window.ready()
        workspace, bar = window.workspace, window.workspace.time_bar
        line = next(line for line in window.text().split("\n") if "█" in line and "━" in line)
        assert line.rstrip().endswith("█")
        assert {"┃", "+", "$", "x"} <= set(line)
        total, columns = len(events), bar.columns
        for column in (0, columns // 3, columns - 1):
            await window.pilot.click(TimeBar, offset=(4 + column, 0))
            wanted = index_at(column, total, columns)
            await window.until(functools.partial(lambda at: workspace.index == at, wanted), "there")
            assert bar.render().plain[4 + column_of(workspace.index, total, columns)] == "█"
        assert workspace.index == total - 1
        for words in ("step ", "15:0", "1x", "marks"):
            assert words in workspace.status.text


@scenario
async def test_a_search_covers_the_whole_session(sample: Sample) -> None:
    story(sample)
    async with opened(launch_of(sample, replay=True)) as window:
        await window.ready()
        workspace, events = window.workspace, sample.log.events
        await window.press("/", *"Quantities were", "enter")
        await window.until(lambda: workspace.index < len(events) - 1, "the place")
        assert isinstance(events[workspace.index], ev.ModelReplied)
        assert "Quantities were ignored" in window.pane("thinking")
        assert "wrapped" in workspace.status.text
        await window.press("/", *"make docs", "enter")
        await window.until(lambda: isinstance(events[workspace.index], ev.ToolStarted), "the command")
        first = workspace.index
        assert "$ make docs" in window.pane("sandbox")
        await window.press("/", *"pytest", "enter")
        await window.until(lambda: workspace.index < first, "around the end")
        seen = {workspace.index}
        while len(seen) < 3:
            here = workspace.index
            await window.press("n")
            await window.until(lambda at=here: workspace.index != at, "the next")  # type: ignore[misc]
            seen.add(workspace.index)
        await window.press("N")
        await window.until(lambda: workspace.index in seen, "the one before")
        await window.press("/", *"not in here", "enter")
        await window.until(lambda: "nowhere in this session" in workspace.status.text, "the note")


@scenario
async def test_opens_where_it_is_told_to_and_plays_at_once(sample: Sample) -> None:
    events = story(sample)
    async with opened(launch_of(sample, replay=True, at=12)) as window:
        await window.until(lambda: window.workspace.index == 11, "the event 12")
        await check(window, events, 11)
        assert not window.workspace.playing
    async with opened(launch_of(sample, replay=True, speed=16.0)) as window:
        await window.until(lambda: window.workspace.playing, "playing")
        assert "▶ 16x" in window.workspace.status.text
        await window.until(lambda: not window.workspace.playing, "the end")
        await check(window, events, len(events) - 1)


@scenario
async def test_no_key_of_the_review_does_anything(sample: Sample) -> None:
    story(sample)
    before = (sample.directory / "events.jsonl").read_bytes()
    async with opened(launch_of(sample, replay=True)) as window:
        await window.ready()
        await window.press("y", "x", "u", "a", "c", "e", "r", "T", "V", "P", "p", "S", "!", "$")
        assert window.workspace.desk.busy == frozenset()
        assert window.workspace.sender is None
        assert len(window.app.screen_stack) == 1
        assert not window.workspace.prompt.display
    assert (sample.directory / "events.jsonl").read_bytes() == before


@scenario
async def test_a_long_session_is_stepped_through_without_going_through_all_of_it(sample: Sample) -> None:
    for number in range(1200):
        call = f"d{number}"
        sample.command(call, f"echo {number}", f"line {number}\n", 0)
    sample.emit("review", *[ev.ToolOutput(call_id="z", stream="stdout", text=f"{n}\n") for n in range(7000)])
    fed: list[int] = []
    feed = Feed.feed
    async with opened(launch_of(sample, replay=True)) as window:
        await window.ready()
        workspace = window.workspace
        assert workspace.timeline is not None
        count = len(workspace.timeline)
        assert count > 10_000

        def counting(self: Feed, events: list[ev.AnyEvent]) -> object:
            fed.append(len(events))
            return feed(self, events)

        Feed.feed = counting  # type: ignore[method-assign, assignment]
        try:
            workspace.show_at(2000)
            assert sum(fed) <= 3001
            fed.clear()
            await window.press("right", "right", "right")
            assert sum(fed) <= 12
            fed.clear()
            await window.press("left")
            assert sum(fed) <= 3001
            await window.press("ctrl+end")
            assert workspace.index == count - 1
            assert "6999" in window.pane("sandbox")
            assert "earlier lines are at earlier steps" in window.pane("sandbox")
        finally:
            Feed.feed = feed  # type: ignore[method-assign]
