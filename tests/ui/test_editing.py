"""Editing a hunk with real editors: what they leave is accepted, and what they spoil changes nothing."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Literal

import pexpect
import pytest

from backspace_tui.core import commands as cmd
from backspace_tui.core.hunks import Hunk
from backspace_tui.sessions.objects import Objects
from backspace_tui.ui.screens.editing import EditFailed, edited, editor, new_side
from tests.ui.sample import CART, WORK, Host, Sample
from tests.ui.test_units import PATH, accepted, settled
from tests.ui.windows import launch_of, opened, scenario

Lines = tuple[tuple[Literal[" ", "-", "+"], bytes], ...]


def script(folder: Path, text: str) -> str:
    """An editor that is a shell script; ``$1`` is the file."""
    file = folder / "editor"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o700)
    return str(file)


@pytest.fixture(autouse=True)
def no_other_editor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own editor stays out of it."""
    monkeypatch.delenv("VISUAL", raising=False)


def test_the_edited_text_is_accepted_and_the_agents_file_stays(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    @scenario
    async def look() -> None:
        sample = host.sample
        hunk = sample.review().files[0].hunks[1].hunk
        monkeypatch.setenv("EDITOR", "sed -i s/i.qty/i.amount/")
        async with opened(launch_of(sample)) as window:
            await window.ready()
            await window.press("]", "e")
            await settled(window, 1)
            assert window.workspace.diff.hunk is not None
            assert window.workspace.diff.hunk.undecided
        (command,) = host.commands
        assert isinstance(command, cmd.Edit)
        assert command.hunk == hunk.id
        assert command.result == new_side(hunk).replace(b"i.qty", b"i.amount", 1).replace(b"(i.qty", b"(i.amount")
        expected = CART.replace("sum(i.price for i in items)", "sum(i.price * i.amount for i in items)")
        assert accepted(sample) == expected.replace("return len(items)", "return sum(i.amount for i in items)")
        with Objects(sample.repository.path) as objects:
            entry = objects.entries(sample.state.work_tree)[PATH]
            assert objects.blob(entry.oid).decode() == WORK[PATH]

    look()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exit 1", "exit code 1: nothing was changed"),
        ("kill -9 $$", "signal 9: nothing was changed"),
        (': > "$1"', "the file is empty: nothing was changed"),
        ('rm "$1"', "the file is gone: nothing was changed"),
        ("exit 0", "the text is as it was: nothing was changed"),
        ('sed -i s/i.qty/i.amount/ "$1"; exit 3', "exit code 3: nothing was changed"),
    ],
)
def test_an_editor_that_spoils_it_changes_nothing(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    @scenario
    async def look() -> None:
        monkeypatch.setenv("EDITOR", script(tmp_path, body))
        async with opened(launch_of(host.sample)) as window:
            await window.ready()
            await window.press("]", "e")
            assert said in window.workspace.status.text
            assert window.workspace.diff.hunk_index == 1
            assert window.workspace.desk.busy == frozenset()
        assert host.commands == []
        assert host.sample.state.accepted_tree == host.sample.base

    look()


def test_what_a_session_refuses_is_kept(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @scenario
    async def look() -> None:
        monkeypatch.setenv("EDITOR", "sed -i s/i.qty/i.amount/")
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

        def refuse(_: cmd.Edit) -> int:
            raise ValueError("hunk is not there (any more)")

        monkeypatch.setattr(host.sample, "edit", refuse)
        async with opened(launch_of(host.sample)) as window:
            await window.ready()
            await window.press("]", "e")
            await window.until(lambda: "your text is kept in" in window.workspace.status.text, "the refusal")
            assert window.workspace.desk.busy == frozenset()
        (kept,) = tmp_path.glob("backspace-tui-*/hunk")
        assert b"i.amount" in kept.read_bytes()

    look()


def test_a_protected_file_is_confirmed_first(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @scenario
    async def look() -> None:
        path = ".github/workflows/ci.yml"
        monkeypatch.setenv("EDITOR", "sed -i s/push/workflow_dispatch/")
        risky = Sample(tmp_path / "20260102-1505-cafe", WORK | {path: "on: [push]\n"}).run_to_review()
        host = Host(risky)
        try:
            async with opened(launch_of(risky)) as window:
                await window.ready()
                await window.press("e")
                await window.until(lambda: "Edit .github" in window.text(), "the question")
                assert host.commands == []
                await window.press("y")
                await window.until(lambda: host.commands, "the edit")
                await settled(window, 1)
            (command,) = host.commands
            assert isinstance(command, cmd.Edit)
            assert command.accept_protected
            assert accepted(risky, path) == "on: [workflow_dispatch]\n"
        finally:
            host.close()

    look()


# The parts


def test_the_new_side_is_what_the_file_holds() -> None:
    lines: Lines = ((" ", b"a\r"), ("-", b"b"), ("+", b"\xff\x1b"), (" ", b"c"))
    assert new_side(Hunk("0", "p", "text", 1, 1, lines)) == b"a\r\n\xff\x1b\nc\n"
    assert new_side(Hunk("0", "p", "text", 1, 1, lines, new_open=True)) == b"a\r\n\xff\x1b\nc"
    assert new_side(Hunk("0", "p", "text", 1, 1, (("-", b"b"),))) == b""


def test_the_file_is_private_named_after_its_type_and_gone_afterwards(tmp_path: Path) -> None:
    told = tmp_path / "told"
    body = f'stat -c "%a %n" "$1" > {told}; stat -c %a "$(dirname "$1")" >> {told}; echo more >> "$1"'
    assert edited([script(tmp_path, body)], b"one\n", "src/a.py") == b"one\nmore\n"
    mode_and_name, folder = told.read_text().splitlines()
    mode, _, name = mode_and_name.partition(" ")
    assert (mode, folder) == ("600", "700")
    assert name.endswith("/hunk.py")
    assert not Path(name).parent.exists()


@pytest.mark.parametrize("path", ["a.\x1b[2J", "a.$(touch x)", "Makefile", "a." + "x" * 40, ".bashrc"])
def test_a_strange_name_does_not_get_to_the_editor(tmp_path: Path, path: str) -> None:
    told = tmp_path / "told"
    edited([script(tmp_path, f'basename "$1" > {told}')], b"one\n", path)
    assert told.read_text() == "hunk\n"


def test_which_editor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert editor({"VISUAL": "code --wait", "EDITOR": "nano"}) == ["code", "--wait"]
    assert editor({"VISUAL": " ", "EDITOR": "'my editor' -f"}) == ["my editor", "-f"]
    with pytest.raises(EditFailed, match="check its quotes"):
        editor({"EDITOR": "'vi"})
    with pytest.raises(EditFailed, match="no-such-editor is not there"):
        edited(["no-such-editor"], b"x", "a")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EditFailed, match="set EDITOR"):
        editor({})
    vi = tmp_path / "vi"
    vi.write_text("#!/bin/sh\n")
    vi.chmod(stat.S_IRWXU)
    assert editor({}) == [str(vi)]


_RUN = """
import sys
from backspace_tui.ui.app import run
from backspace_tui.ui.launch import Launch
sys.exit(run(Launch(repository="/nowhere", title="nowhere", session=sys.argv[1])))
"""


def test_in_a_terminal_the_editor_has_it_and_gives_it_back(host: Host, tmp_path: Path) -> None:
    body = 'echo "EDITOR HERE"; read -r answer; [ "$answer" = go ] || exit 1; sed -i s/i.qty/i.amount/ "$1"'
    env = os.environ | {"TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[2])}
    env["EDITOR"] = script(tmp_path, body)
    child: pexpect.spawn[str] = pexpect.spawn(
        sys.executable,
        ["-c", _RUN, str(host.sample.directory)],
        dimensions=(40, 140),
        env=env,
        encoding="utf-8",
        timeout=20,
    )
    try:
        child.expect("hunk 1 of 3")
        child.send("]")
        child.expect("hunk 2 of 3")
        child.send("e")
        child.expect("EDITOR HERE")
        child.sendintr()  # it is the editor's to deal with
        child.expect("exit code|signal 2")
        child.send("e")
        child.expect("EDITOR HERE")
        child.sendline("go")
        child.expect("[1-9] of [0-9]+ decided")
        child.send("q")
        child.expect("The session goes on")
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)
    (command,) = host.commands
    assert isinstance(command, cmd.Edit)
    assert b"i.amount" in command.result
