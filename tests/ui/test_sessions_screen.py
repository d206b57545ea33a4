"""The screen of sessions: what it lists, finds and does, and how it hands the terminal to another session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.widgets import Static

from backspace_tui.core import events as ev
from backspace_tui.sessions import store
from backspace_tui.sessions.store import Lock
from backspace_tui.ui import keymap
from backspace_tui.ui.launch import Launch
from backspace_tui.ui.screens.sessions import SessionsScreen
from tests.sessions.test_store import make
from tests.sessions.test_summaries import ASKED, BASE, REPLY, decision
from tests.ui.windows import Window, opened, scenario

NAMES = ("aaaa", "bbbb", "cccc", "dddd")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four sessions, newest last: done with a request, waiting with accepted work, interrupted, failed."""
    root = tmp_path / "data" / "sessions"
    a, b, c, d = (f"20261121-0915-{name}" for name in NAMES)
    commit = ev.GitOperation(operation="commit", tree="a1", commit="c1", branch="backspace/x")
    done = ev.SessionFinished(outcome="done")
    make(root, a, BASE, REPLY, decision("h", "accept", 1), commit, ASKED, done, prompt="Mend the tax", minute=1)
    make(root, b, BASE, decision("h", "accept", 1), ev.StageStarted(stage="review"), prompt="Add a cart", minute=2)
    output = ev.ToolOutput(call_id="c", stream="stdout", text="a Needle in the output")
    make(root, c, ev.StageStarted(stage="implement"), output, prompt="Rename it", minute=3)
    make(root, d, ev.SessionFinished(outcome="failed"), prompt="Evil \x1b]0;x\x07 one", minute=4)
    return root


@asynccontextmanager
async def listed(size: tuple[int, int] = (120, 30), **launch: str) -> AsyncIterator[tuple[Window, SessionsScreen]]:
    """A window without a session, with the screen open and its list read."""
    async with opened(Launch(repository="/nowhere", title="nowhere", **launch), size) as window:  # type: ignore[arg-type]
        await window.press("escape", "o")
        await window.until(lambda: isinstance(window.app.screen, SessionsScreen), "the screen")
        screen = window.app.screen
        assert isinstance(screen, SessionsScreen)
        await window.until(lambda: screen._loaded, "the list")
        await window.pilot.pause()
        yield window, screen


def ids(screen: SessionsScreen) -> list[str]:
    return [shown.info.id[-4:] for shown in screen.rows._rows]


def detail(screen: SessionsScreen) -> str:
    return str(screen.query_one("#sessions-detail", Static).render())


@scenario
async def test_all_are_listed_newest_first(root: Path) -> None:
    async with listed() as (window, screen):
        assert ids(screen) == ["dddd", "cccc", "bbbb", "aaaa"]
        text = window.text()
        for word in ("STATE", "interrupted", "failed", "waiting", "$0.25", "#7", "/src/shop", "Mend the tax"):
            assert word in text, word
        assert "\x1b" not in text
        await window.press("G")
        assert "https://h/7" in detail(screen)
        await window.press("k")
        assert "accepted work is in no commit" in detail(screen)


@scenario
async def test_a_narrow_window_keeps_state_and_title(root: Path) -> None:
    async with listed((60, 18)) as (window, _):
        text = window.text()
        assert "interrupted" in text
        assert "Mend the tax" in text
        assert "/src/shop" not in text


@scenario
async def test_filters_by_text_and_state(root: Path) -> None:
    async with listed() as (window, screen):
        await window.press("slash", *"cart")
        assert ids(screen) == ["bbbb"]
        await window.press("enter", "escape")
        assert len(ids(screen)) == 4
        with Lock(root / "20261121-0915-cccc"):
            shown = {}
            for _ in range(5):
                await window.until(lambda: "running" in window.text() or screen._state != "all", "the running one")
                shown[screen._state] = ids(screen)
                await window.press("f")
        assert shown == {
            "all": ["dddd", "cccc", "bbbb", "aaaa"],
            "running": ["cccc"],
            "waiting": ["bbbb"],
            "interrupted": [],
            "ended": ["dddd", "aaaa"],
        }


@scenario
async def test_the_logs_are_searched(root: Path) -> None:
    async with listed() as (window, screen):
        await window.press("s", *"needle", "enter")
        await window.until(lambda: "found in 1 session" in screen.bar.text, "the end of the search")
        assert ids(screen) == ["cccc"]
        assert "a Needle in the output" in detail(screen)
        await window.press("escape")
        assert len(ids(screen)) == 4
        await window.press("s", *"no such thing", "enter")
        await window.until(lambda: "found in 0 sessions" in screen.bar.text, "the end of the search")
        assert "no session fits" in window.text()


@scenario
async def test_a_session_is_renamed(root: Path) -> None:
    async with listed() as (window, screen):
        await window.press("G", "r", *"tax", "enter")
        await window.until(lambda: store.info(root / "20261121-0915-aaaa").name == "tax", "the name")
        await window.until(lambda: screen.rows._rows[-1].cells.title == "tax", "the new list")


@scenario
async def test_deleting_asks_first_and_spares_what_runs(root: Path) -> None:
    gone = root / "20261121-0915-bbbb"
    async with listed() as (window, screen):
        await window.press("j", "j", "d")
        assert "in no commit" in window.text()
        await window.press("n")
        assert gone.exists()
        await window.press("d", "y")
        await window.until(lambda: not gone.exists(), "the deletion")
        await window.until(lambda: len(ids(screen)) == 3, "the new list")
        with Lock(root / "20261121-0915-aaaa"):
            await window.press("G")
            await window.until(lambda: screen.rows.selected and screen.rows.selected.running, "the running one")
            await window.press("d")
            assert "it is running" in screen.bar.text
        assert len(list(root.glob("2*"))) == 3


@scenario
async def test_pruning_shows_what_goes(root: Path) -> None:
    async with listed() as (window, screen):
        await window.press("D", *"older soon", "enter")
        assert "is no time" in screen.bar.text
        await window.press("D", *"keep 1", "enter")
        text = window.text()
        assert "Remove 2 sessions for good?" in text
        assert "1 with accepted work" in text
        await window.press("y")
        await window.until(lambda: "2 removed" in screen.bar.text, "the removal")
    assert sorted(path.name[-4:] for path in root.glob("2*")) == ["bbbb", "dddd"]


@scenario
async def test_a_running_session_is_joined_in_this_terminal(root: Path) -> None:
    chosen = root / "20261121-0915-cccc"
    with Lock(chosen):
        async with listed(theme="") as (window, _):
            await window.press("j", "enter")
            await window.until(lambda: window.app.following, "the next window")
            following = window.app.following
            assert following is not None
            assert (following.session, following.replay, following.repository) == (str(chosen), False, "/src/shop")


@scenario
async def test_a_session_is_replayed(root: Path) -> None:
    async with listed() as (window, _):
        await window.press("j", "R")
        await window.until(lambda: window.app.following, "the next window")
        following = window.app.following
        assert following is not None
        assert following.replay
        assert following.session.endswith("cccc")


@scenario
async def test_the_same_key_leads_back(root: Path) -> None:
    async with listed() as (window, _):
        await window.press("question_mark")
        assert "remove many" in window.text()
        await window.press("escape", "q")
        assert window.app.screen is window.workspace
        assert window.app.following is None


@scenario
async def test_no_sessions_at_all(tmp_path: Path) -> None:
    async with listed() as (window, _):
        assert "no sessions yet" in window.text()
        await window.press("enter", "R", "r", "d", "G")
        assert "no sessions yet" in window.text()


def template(repository: str) -> ev.SessionStarted:
    return ev.SessionStarted(session="", repository=repository, prompt="", version="1", models=("offline",))


@scenario
async def test_starting_again_offers_what_is_unfinished(root: Path) -> None:
    launch = Launch(repository="/src/shop", title="shop", template=template("/src/shop"))
    async with opened(launch) as window:
        await window.until(lambda: "rejoin one of 2 sessions" in window.text(), "the offer")
        assert "Rename it" in window.pane("thinking")
        await window.press("ctrl+r")
        await window.until(lambda: isinstance(window.app.screen, SessionsScreen), "the screen")
        assert window.workspace.prompt.input.value == ""
    store.remove(root / "20261121-0915-bbbb")
    with Lock(root / "20261121-0915-cccc"):
        async with opened(launch) as window:
            await window.until(lambda: "rejoin 'Rename it', ● running" in window.text(), "the offer")
            await window.press("ctrl+r")
            await window.until(lambda: window.app.following, "the next window")
            assert window.app.following.session.endswith("cccc")  # type: ignore[union-attr]


@scenario
async def test_another_repository_is_offered_nothing(root: Path, tmp_path: Path) -> None:
    launch = Launch(repository=str(tmp_path), title="other", template=template(str(tmp_path)))
    async with opened(launch) as window:
        workspace = window.workspace
        await window.until(lambda: hasattr(workspace, "_offered"), "the look")
        looked: list[None] = []
        workspace.content_work.run(lambda: None, looked.append)
        await window.until(lambda: looked, "the look to be over")
        await window.press("ctrl+r")
        assert "no session is open" in window.text()
        assert "rejoin" not in window.text()


def test_keys_of_both_screens_may_be_the_same_and_not_those_of_one() -> None:
    assert keymap.resolve({"sessions.delete": "x"})[1] == []
    (problem,) = keymap.resolve({"sessions.delete": "j"})[1]
    assert "line.down" in problem
    (problem,) = keymap.resolve({"sessions.delete": "R"})[1]
    assert "sessions.replay" in problem
    bound = [binding.key for binding in keymap.session_bindings(keymap.resolve({})[0])]
    assert len(bound) == len(set(bound))
