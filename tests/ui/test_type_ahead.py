"""Keys that come faster than they are handled, as over a slow line, mean what they would have meant one by one."""

from __future__ import annotations

from textual import events
from textual.keys import _character_to_key as character_to_key

from backspace_tui.core import commands as cmd
from tests.ui.sample import Host
from tests.ui.windows import Window, launch_of, opened, scenario


def burst(window: Window, *keys: str) -> None:
    """All keys at once; one that is no name of a key is typed, each character of it."""
    for key in keys:
        if key in ("enter", "escape", "tab", "up"):
            window.app.post_message(events.Key(key, {"enter": "\r", "escape": "\x1b", "tab": "\t"}.get(key)))
        else:
            for character in key:
                window.app.post_message(events.Key(character_to_key(character), character))


@scenario
async def test_a_key_for_a_pane_does_not_take_the_line_from_the_keys_after_it(host: Host) -> None:
    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        burst(window, "2", "!", "echo hi", "enter")
        await window.until(lambda: host.commands, "the command")
        assert window.workspace.prompt.input.value == ""
    assert host.commands == [cmd.RunForUser(command="echo hi")]


@scenario
async def test_keys_after_enter_are_for_the_pane(host: Host) -> None:
    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        burst(window, "i", "go on", "enter", "y")
        await window.until(lambda: len(host.commands) == 2, "both")
        assert window.workspace.prompt.input.value == ""
    said, decided = host.commands
    assert said == cmd.Say(text="go on")
    assert isinstance(decided, cmd.Decide)
    assert decided.action == "accept"


@scenario
async def test_text_after_a_key_that_opens_a_line_goes_there(host: Host) -> None:
    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        burst(window, "c", "xyz, please", "enter", "i", "next", "enter")
        await window.until(lambda: len(host.commands) == 2, "both")
    commented, said = host.commands
    assert isinstance(commented, cmd.Decide)
    assert (commented.action, commented.comment) == ("comment", "xyz, please")
    assert said == cmd.Say(text="next")


@scenario
async def test_a_paste_waits_for_the_keys_before_it(host: Host) -> None:
    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        burst(window, "c")
        window.app.post_message(events.Paste("pasted xyz"))
        burst(window, " more", "enter")
        await window.until(lambda: host.commands, "the comment")
    (commented,) = host.commands
    assert isinstance(commented, cmd.Decide)
    assert commented.comment == "pasted xyz more"


@scenario
async def test_many_keys_at_once_are_one_step_each(host: Host) -> None:
    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        first = window.workspace.diff.cursor
        burst(window, "j" * 6, "?", "jj", "escape", "j" * 3)
        await window.until(lambda: window.workspace.diff.cursor == first + 9, "nine lines down")
    assert host.commands == []


@scenario
async def test_keys_after_the_one_that_leaves_are_nothing(host: Host) -> None:
    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        burst(window, "q", "yyyy")
        await window.until(lambda: not window.app.is_running, "the end")
    assert host.commands == []
