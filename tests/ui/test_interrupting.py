"""Ctrl-C in the window, and a window that only looks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.ui import keymap
from tests.ui.sample import Host, Sample
from tests.ui.windows import Window, launch_of, opened, scenario


@pytest.fixture
def working(tmp_path: Path) -> Iterator[Host]:
    """A session whose agent works."""
    sample = Sample(tmp_path / "20260102-1504-abcd").run_to_review()
    sample.emit("review", ev.StageFinished(outcome="revise", detail="follow-up"))
    sample.emit("implement", ev.StageStarted(), ev.ModelCalled(model="openai/gpt-5"))
    host = Host(sample)
    yield host
    host.close()


async def interrupted(window: Window, host: Host) -> None:
    """Paused by one press, asked by a second."""
    await window.ready()
    await window.press("ctrl+c")
    await window.until(lambda: host.commands == [cmd.Pause()], "the pause")
    assert "again: stop or leave" in window.workspace.status.text
    await window.until(lambda: window.workspace.desk.state.paused == "user", "the paused state")
    await window.press("ctrl+c")
    await window.until(lambda: "The agent is paused" in window.text(), "the dialog")
    assert host.commands == [cmd.Pause()]
    assert not window.app._exit


@pytest.mark.parametrize(
    ("key", "command", "leaves"),
    [
        ("s", cmd.Stop(), False),
        ("g", cmd.Resume(), False),
        ("l", None, True),
        ("ctrl+c", None, True),
        ("escape", None, False),
    ],
)
def test_an_agent_at_work_is_paused_then_asked_about(
    working: Host, key: str, command: cmd.AnyCommand | None, leaves: bool
) -> None:
    @scenario
    async def press() -> None:
        async with opened(launch_of(working.sample)) as window:
            await interrupted(window, working)
            await window.press(key)
            if leaves:
                await window.until(lambda: window.app._exit, "the end")
                return
            await window.until(lambda: "The agent is paused" not in window.text(), "the dialog to close")
            if command is not None:
                await window.until(lambda: command in working.commands, "the command")
            assert not window.app._exit

    press()
    assert working.commands == [cmd.Pause(), *([command] if command else [])]


def test_a_paused_agent_is_not_paused_again(working: Host) -> None:
    working.sample.emit("implement", ev.Paused())

    @scenario
    async def press() -> None:
        async with opened(launch_of(working.sample)) as window:
            await window.ready()
            await window.press("ctrl+c")
            assert "the agent is paused" in window.workspace.status.text
            await window.press("ctrl+c")
            await window.until(lambda: "stay paused" in window.text(), "the dialog")

    press()
    assert working.commands == []


def test_where_nothing_works_a_second_press_leaves(host: Host) -> None:
    @scenario
    async def press() -> None:
        async with opened(launch_of(host.sample)) as window:
            await window.ready()
            await window.press("i", *"half a line", "ctrl+c")
            await window.until(lambda: "q leaves" in window.workspace.status.text, "the line that says how")
            assert window.workspace.prompt.input.value == ""
            assert not window.app._exit
            await window.press("ctrl+c")
            await window.until(lambda: window.app._exit, "the end")

    press()
    assert host.commands == []


def test_much_later_is_not_a_second_press(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backspace_tui.ui.screens.interrupting.AGAIN", 0.0)

    @scenario
    async def press() -> None:
        async with opened(launch_of(host.sample)) as window:
            await window.ready()
            await window.press("ctrl+c", "ctrl+c", "ctrl+c")
            await window.pilot.pause()
            assert not window.app._exit

    press()


@scenario
async def test_a_dialog_and_the_palette_are_closed(sample: Sample) -> None:
    async with opened(launch_of(sample)) as window:
        await window.ready()
        for key in ("?", "ctrl+p"):
            await window.press(key)
            await window.until(lambda: len(window.app.screen_stack) == 2, "the dialog")
            await window.press("ctrl+c")
            await window.until(lambda: len(window.app.screen_stack) == 1, "the dialog to close")
        assert not window.app._exit


def test_a_window_that_is_read_only_sends_nothing(working: Host) -> None:
    @scenario
    async def press() -> None:
        async with opened(launch_of(working.sample, read_only=True)) as window:
            await window.ready()
            assert window.workspace.status.text.strip().startswith("read only")
            assert not window.workspace.prompt.display
            asking = [key for key in keymap.KEYS if key.mode in ("review", "live") and key.id != "interrupt"]
            assert len(asking) > 10
            await window.press("o")
            assert "asks nothing of the session" in window.workspace.status.text
            assert len(window.app.screen_stack) == 1
            for key in asking:
                window.workspace.status.unsay()
                await window.press(keymap.split(key.keys)[0])
                assert "asks nothing of the session" in window.workspace.status.text, key
                # By whatever way it is reached.
                await window.workspace.run_action(key.action)
                assert len(window.app.screen_stack) == 1, key
            await window.press("i", *"hello", "enter", "/", *"total", "enter")
            window.workspace.send(cmd.Stop())
            assert window.workspace.sender is None
            # What others decide shows here.
            before = window.workspace.desk.state.last_seq
            working.sample.emit("implement", ev.Paused())
            await window.until(lambda: window.workspace.desk.state.last_seq > before, "the event")
            await window.until(lambda: "paused" in window.workspace.status.text, "the pause")
            await window.press("ctrl+c")
            await window.until(lambda: window.app._exit, "the end")

    press()
    assert working.commands == []


def test_a_question_in_a_window_that_is_read_only_is_only_shown(working: Host) -> None:
    working.sample.emit("implement", ev.Question(question="Which one?", options=("left", "right")))

    @scenario
    async def press() -> None:
        async with opened(launch_of(working.sample, read_only=True)) as window:
            await window.ready()
            await window.until(lambda: "waits for your answer" in window.workspace.status.text, "the question")
            await window.press("1", "enter", "i", "2", "enter")
            assert "Which one?" in window.pane_text("thinking")

    press()
    assert working.commands == []
