"""The window as a whole: sizes, panes, searching, replay, themes, keys of the user, what it must survive."""

from __future__ import annotations

from pathlib import Path

import pytest

from backspace_tui.core import events as ev
from backspace_tui.core.events import SessionStarted
from backspace_tui.ui.feed import Fed
from backspace_tui.ui.launch import Launch
from backspace_tui.ui.panes.line_view import Drawn
from backspace_tui.ui.panes.transcript import MAX_LINES
from tests.ui.sample import WORK, Host, Sample
from tests.ui.windows import launch_of, opened, scenario


@scenario
async def test_before_a_session_the_repository_and_the_notice_show(tmp_path: Path) -> None:
    import subprocess

    subprocess.run(["git", "init", "-q", tmp_path / "shop"], check=True)
    (tmp_path / "shop" / "cart.py").write_text("x = 1\n")
    subprocess.run(["git", "-C", tmp_path / "shop", "add", "."], check=True)
    path = str(tmp_path / "shop")
    template = SessionStarted(session="", repository=path, prompt="", version="0", models=("offline",))
    notice = "2 uncommitted changes are left out (start with --include-dirty)"
    launch = Launch(repository=path, title="shop", template=template, notice=notice)
    async with opened(launch) as window:
        assert "Files" in window.text()
        await window.until(lambda: "cart.py" in window.pane("files"), "the files")
        await window.until(lambda: notice in window.workspace.status.text, "the notice")
        await window.press("escape", "1", "j", "enter")
        await window.until(lambda: "x = 1" in window.pane("diff"), "the file")


@pytest.mark.parametrize("size", [(80, 24), (119, 30), (120, 40), (160, 50), (200, 60)])
def test_every_size_shows_tabs_or_columns(sample: Sample, size: tuple[int, int]) -> None:
    @scenario
    async def look() -> None:
        async with opened(launch_of(sample), size) as window:
            await window.ready()
            text = window.text()
            assert "Files" in text
            assert "Sandbox" in text
            assert "hunk 1 of 3" in text
            assert "0 of 5 decided" in text
            lines = text.split("\n")
            assert len(lines) == size[1]
            side_by_side = "Files" in lines[0] and "Diff" in lines[0] and "╭" in lines[0]
            assert side_by_side == (size[0] >= 120)
            await window.press("4")
            await window.until(lambda: "2 passed in 0.31s" in window.text(), "the output")

    look()


@scenario
async def test_a_tiny_terminal_says_so_and_recovers(sample: Sample) -> None:
    async with opened(launch_of(sample), (20, 5)) as window:
        await window.pilot.pause()
        assert "20x5 is too small" in " ".join(window.text().split())
        await window.pilot.resize_terminal(120, 40)
        await window.until(lambda: "╭─ Files" in window.text(), "the panes")


@scenario
async def test_moving_between_hunks_files_and_panes(sample: Sample) -> None:
    async with opened(launch_of(sample)) as window:
        await window.ready()
        diff = window.workspace.diff
        at = diff.cursor
        await window.press("down", "j", "k", "down")
        assert diff.cursor == at + 2
        await window.press("end")
        assert diff.cursor == diff.line_count() - 1
        await window.press("home")
        assert diff.cursor == 0
        await window.press("]", "]")
        assert (diff.path, diff.hunk_index) == ("shop/cart.py", 2)
        await window.press("]")
        assert (diff.path, diff.hunk_index) == ("shop/tax.py", 0)
        await window.press("[")
        assert (diff.path, diff.hunk_index) == ("shop/cart.py", 2)
        await window.press("}", "}")
        assert diff.path == "tests/test_cart.py"
        await window.press("tab")
        assert diff.path == "shop/cart.py"
        await window.press("1", "j")
        await window.until(lambda: diff.path == "shop/tax.py", "the next file")
        await window.press("f")
        assert "README" not in window.pane("files")
        await window.press("2", "/", *"RATES", "enter")
        assert "RATES" in diff.plain(diff.cursor)
        before = diff.cursor
        await window.press("n")
        assert diff.cursor != before
        assert "RATES" in diff.plain(diff.cursor)
        await window.press("escape", "z")
        assert diff.line_count() == 1


@scenario
async def test_more_context_shows_the_whole_file(sample: Sample) -> None:
    async with opened(launch_of(sample)) as window:
        await window.ready()
        assert "lines" in window.pane("diff")
        await window.press(*"++++++")
        text = window.pane("diff")
        new = WORK["shop/cart.py"].splitlines()
        assert [line for line in text.split("\n") if line in new and line]
        assert all(line in text for line in new)


@scenario
async def test_replay_steps_back_and_forward_and_sends_nothing(sample: Sample) -> None:
    before = (sample.directory / "events.jsonl").read_bytes()
    async with opened(launch_of(sample, replay=True)) as window:
        await window.ready()
        workspace = window.workspace
        steps = len(workspace.timeline.steps()) if workspace.timeline else 0
        assert f"step {steps} of {steps}" in workspace.status.text
        await window.press("space", "x", "P", "V")
        assert workspace.desk.busy == frozenset()
        for _ in range(steps):
            await window.press("left")
        assert f"step 1 of {steps}" in workspace.status.text
        assert "pytest" not in window.pane("sandbox")
        await window.press("L", "L")
        await window.until(lambda: "plan" in window.pane("thinking"), "the plan")
        for _ in range(steps):
            await window.press("right")
        await window.until(lambda: "2 passed" in window.pane("sandbox"), "the end again")
        await window.until(lambda: workspace.desk.review and workspace.desk.review.total == 5, "the review")
    assert (sample.directory / "events.jsonl").read_bytes() == before
    assert not (sample.directory / "socket").exists()


@scenario
async def test_hostile_text_reaches_no_pane_raw(tmp_path: Path) -> None:
    evil = "\x1b]52;c;ZXZpbA==\x07\x1b[2J[bold red]\u202egnp"
    sample = Sample(tmp_path / "20260102-1504-beef", WORK | {f"shop/{'e' * 3}\x07.py": f"x = '{evil}'\n"})
    sample.begin()
    sample.work_on("c1", "shop/eee\x07.py", 1, 0, evil, sample.work)
    sample.command("c2", f"echo {evil}", evil + "\n", 1)
    sample.emit("review", ev.StageStarted(), ev.Error(message=evil), ev.Message(role="agent", text=evil, kind="reply"))
    async with opened(launch_of(sample)) as window:
        await window.ready()
        await window.press("}")
        for key in ("1", "3", "4", "w"):
            await window.press(key)
            await window.pilot.pause()
            screen = window.text()
            assert "\x1b" not in screen
            assert "\x07" not in screen
            assert "\u202e" not in screen
        assert "<U+202E>" in window.pane("diff") or "<1B>" in window.pane("diff")
        assert "[bold red]" in window.pane("thinking")


@scenario
async def test_a_hundred_thousand_lines_are_kept_and_drawn_as_far_as_they_are_seen(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        workspace, sandbox = window.workspace, window.workspace.sandbox
        drawn: list[int] = []
        shown: list[object] = []
        draw, take = sandbox.draw, sandbox.take

        def drawing(index: int) -> Drawn:
            drawn.append(index)
            return draw(index)

        def taking(fed: Fed) -> None:
            shown.append(fed)
            take(fed)

        sandbox.draw = drawing  # type: ignore[method-assign]
        sandbox.take = taking  # type: ignore[method-assign]
        text = "".join(f"line {number}\n" for number in range(1000))
        for _ in range(100):
            sample.emit("implement", ev.ToolOutput(call_id="c9", stream="stdout", text=text))
        await window.until(lambda: workspace.desk.state.last_seq == sample.log.last_seq, "all of it")
        await window.until(lambda: "line 999" in window.text(), "its end")
        assert sandbox.line_count() <= MAX_LINES + 1001
        # Beside these, what comes in redraws the page once at most.
        assert len(drawn) <= (len(shown) + 3) * sandbox.page_height + 2
        del drawn[:]
        await window.press("4", "g")
        await window.until(lambda: "earlier lines are in the log" in window.text(), "the note")
        assert len(drawn) <= 3 * sandbox.page_height


@scenario
async def test_user_keys_are_in_force_and_wrong_ones_are_said(sample: Sample) -> None:
    keys = {"pane.sandbox": "9", "hunk.accept": "]", "no.such": "q"}
    async with opened(launch_of(sample, keys=keys)) as window:
        await window.ready()
        await window.press("9")
        assert window.workspace.active_pane is window.workspace.sandbox
        await window.press("2", "]")
        assert window.workspace.diff.hunk_index == 1
        messages = [notification.message for notification in window.app._notifications]
        assert any("no.such" in message for message in messages)
        assert any("hunk.accept" in message and "hunk.next" in message for message in messages)


@scenario
async def test_a_broken_theme_is_a_notice(sample: Sample, tmp_path: Path) -> None:
    themes = tmp_path / "config" / "themes"
    themes.mkdir(parents=True)
    (themes / "broken.toml").write_text("primary = 'no colour'\n")
    (themes / "mine.toml").write_text("primary = '#ff8800'\ndark = true\n")
    async with opened(launch_of(sample, theme="mine")) as window:
        await window.ready()
        assert window.app.theme == "mine"
        assert any("broken.toml" in notification.message for notification in window.app._notifications)


@pytest.mark.parametrize("theme", ["backspace-light", "backspace-ansi", "textual-light", "ansi-dark", "unknown"])
def test_other_themes_draw(sample: Sample, theme: str) -> None:
    @scenario
    async def look() -> None:
        async with opened(launch_of(sample, theme=theme), (120, 40)) as window:
            await window.ready()
            assert "return sum(i.price * i.qty" in window.text()

    look()


@scenario
async def test_help_lists_every_key_that_works(sample: Sample) -> None:
    async with opened(launch_of(sample)) as window:
        await window.ready()
        await window.press("?")
        await window.until(lambda: "[hunk.accept]" in window.text(), "the help")
        await window.press("G")
        await window.until(lambda: "/verify" in window.text(), "the commands")


@scenario
async def test_the_palette_runs_commands(sample: Sample) -> None:
    async with opened(launch_of(sample)) as window:
        await window.ready()
        await window.press("ctrl+p", *"all keys")
        await window.until(lambda: "id: help" in window.text(), "the command")
        await window.press("enter")
        await window.until(lambda: "[hunk.accept]" in window.text(), "the help")


@pytest.mark.parametrize("key", ["q", "ctrl+q"])
def test_leaving(host: Host, key: str) -> None:
    @scenario
    async def leave() -> None:
        async with opened(launch_of(host.sample)) as window:
            await window.ready()
            await window.press(key)
            await window.until(lambda: window.app._exit, "the end")
            assert window.app.return_value in (None, 0)

    leave()
    assert host.commands == []


@scenario
async def test_a_damaged_repository_is_said_not_fatal(sample: Sample) -> None:
    import shutil

    shutil.rmtree(sample.directory / "repo.git" / "objects")
    async with opened(launch_of(sample)) as window:
        await window.until(lambda: "cannot be read" in window.workspace.status.text, "the error")
        assert "Thinking" in window.text()
