"""The workspace as a person uses it: in a real terminal, by keyboard alone, and over SSH."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState, fold
from backspace_tui.sessions.store import is_running
from tests.program import Program, git, wait_for
from tests.terminal import Sshd, Tmux

PROMPT = (
    'replace "price for" with "price * quantity for" in cart.py '
    'then replace "import unittest" with "import unittest  # standard" in tests/*.py then run sleep 1'
)


def state(program: Program) -> SessionState:
    return fold(program.events())


def workspace(program: Program, repository: Path) -> list[str]:
    return program.command(str(repository), "--model", "offline", "--sandbox", "bubblewrap")


def ask(tmux: Tmux, prompt: str) -> None:
    tmux.wait_for("Files", 30)
    tmux.type(prompt)
    tmux.keys("Enter")


@pytest.mark.tmux
@pytest.mark.bubblewrap
@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
def test_the_whole_job_by_keyboard(tmux: Tmux, program: Program, repository: Path, size: tuple[int, int]) -> None:
    index = (repository / ".git/index").read_bytes()
    tmux.start(workspace(program, repository), program.env, size)
    ask(tmux, PROMPT)
    wait_for(lambda: state(program).stage == "review", "the review")
    tmux.keys("Escape", "2")
    tmux.wait_for("0 of 2 decided")
    tmux.keys("Space")
    tmux.wait_for("1 of 2 decided")
    tmux.keys("x")
    tmux.wait_for("2 of 2 decided")
    tmux.keys("u")
    tmux.wait_for("1 of 2 decided")
    tmux.keys("V")
    tmux.wait_for("verified ok")
    tmux.keys("P")
    tmux.wait_for("will be left out")
    tmux.keys("y")
    tmux.wait_for("What was asked")
    wait_for(lambda: state(program).stage == "done", "the end")

    branch = state(program).branch
    assert git(repository, "diff", "--stat", "main", branch).count("|") == 1
    assert "price * quantity for" in git(repository, "show", f"{branch}:cart.py")
    assert git(repository, "rev-list", "--count", f"main..{branch}").strip() == "1"
    assert git(repository, "status", "--porcelain") == ""
    assert (repository / ".git/index").read_bytes() == index

    tmux.keys("Escape", "q")
    tmux.wait_for("EXIT=0")


@pytest.mark.tmux
def test_what_the_offline_agent_cannot_do_is_refused_with_its_grammar(
    tmux: Tmux, tmp_path: Path, repository: Path
) -> None:
    program = Program(tmp_path)
    tmux.start(workspace(program, repository), program.env, (120, 40))
    ask(tmux, "make it better")
    assert "ANTHROPIC_API_KEY" in tmux.wait_for("It understands")
    assert program.sessions == []
    tmux.keys("Escape")
    tmux.keys("C-c", "C-c")
    tmux.wait_for("EXIT=0")


@pytest.mark.tmux
@pytest.mark.bubblewrap
def test_a_killed_window_does_not_end_the_run(tmux: Tmux, program: Program, repository: Path) -> None:
    tmux.start(workspace(program, repository), program.env)
    ask(tmux, PROMPT)
    wait_for(lambda: any(isinstance(event, ev.FileEdit) for event in program.events()), "an edit")
    (window,) = subprocess.run(
        ["pgrep", "-P", str(tmux.pid())], check=True, capture_output=True, text=True
    ).stdout.split()
    os.kill(int(window), signal.SIGKILL)
    tmux.wait_for("EXIT=137")
    wait_for(lambda: state(program).stage == "review", "the review without a window")
    assert is_running(program.session)

    again = Tmux()
    try:
        again.start(program.command("attach", "last"), program.env)
        again.wait_for("0 of 2 decided")
        again.keys("Escape", "2", "Space")
        again.wait_for("1 of 2 decided")
    finally:
        again.close()


@pytest.mark.tmux
@pytest.mark.ssh
@pytest.mark.bubblewrap
def test_a_lost_ssh_connection_does_not_end_the_run(tmux: Tmux, sshd: Sshd, program: Program, repository: Path) -> None:
    local = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "HOME": program.env["HOME"]}
    tmux.start(sshd.command(workspace(program, repository), program.env), local, (120, 40))
    ask(tmux, PROMPT)
    wait_for(lambda: any(isinstance(event, ev.FileEdit) for event in program.events()), "an edit")
    tmux.close()
    wait_for(lambda: state(program).stage == "review", "the review without a connection")

    again = Tmux()
    try:
        again.start(sshd.command(program.command("attach", "last"), program.env), local, (120, 40))
        again.wait_for("0 of 2 decided")
        again.keys("Escape", "2", "y")
        again.wait_for("1 of 2 decided")
        again.keys("q")
        again.wait_for("EXIT=0")
    finally:
        again.close()
    # The session goes on without a window.
    assert is_running(program.session)


@pytest.mark.tmux
@pytest.mark.bubblewrap
def test_a_session_is_replayed_forward_and_back(tmux: Tmux, program: Program, repository: Path) -> None:
    done = program.run(
        "run", str(repository), "-p", PROMPT, "--model", "offline", "--sandbox", "bubblewrap", "--accept", "all"
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(repository)
    log = (program.session / "events.jsonl").read_bytes()
    tmux.start(program.command("replay", "last"), program.env, (120, 40))
    shown = re.search(r"step (\d+) of (\d+)", tmux.wait_for("verified ok"))
    assert shown is not None
    total = int(shown[2])
    assert shown[1] == shown[2]
    for step in range(total - 1, 0, -1):
        tmux.keys("Left")
        tmux.wait_for(f"step {step} of {total}")
    assert "price * quantity for" not in tmux.screen()
    for step in range(2, total + 1):
        tmux.keys("Right")
        tmux.wait_for(f"step {step} of {total}")
    tmux.wait_for("verified ok")
    tmux.keys("q")
    tmux.wait_for("EXIT=0")
    assert (program.session / "events.jsonl").read_bytes() == log
    assert not is_running(program.session)


@pytest.mark.tmux
@pytest.mark.bubblewrap
def test_the_users_own_commands_and_shell_in_the_sandbox(tmux: Tmux, program: Program, repository: Path) -> None:
    tmux.start(workspace(program, repository), program.env)
    ask(tmux, PROMPT)
    wait_for(lambda: state(program).stage == "review", "the review")
    tmux.keys("Escape", "2")
    tmux.wait_for("0 of 2 decided")
    tmux.keys("!")
    tmux.type("echo mine > mine.txt; echo $((40 + 2)) said")
    tmux.keys("Enter")
    tmux.wait_for("42 said")
    tmux.wait_for("0 of 3 decided")
    tmux.keys("2", "$")
    wait_for(lambda: "hunk" not in tmux.screen(), "the shell")
    tmux.type("rm mine.txt; echo in the $((1 + 1))nd shell")
    tmux.keys("Enter")
    tmux.wait_for("in the 2nd shell")
    tmux.type("exit")
    tmux.keys("Enter")
    tmux.wait_for("0 of 2 decided")
    edits = [event for event in program.events() if isinstance(event, ev.FileEdit) and event.by == "user"]
    assert [event.path for event in edits] == ["mine.txt", "mine.txt"]
    tmux.keys("q")
    tmux.wait_for("EXIT=0")
