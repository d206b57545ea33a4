"""A session's process without its windows: how it ends, and what two windows on one session see."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState, fold
from backspace_tui.sessions import client
from backspace_tui.sessions.store import is_running
from tests.crash import HOST, Human, Script, _environment, scene, steps
from tests.models.turns import call
from tests.program import Program, processes_of, wait_for
from tests.terminal import Sshd, Tmux
from tests.test_terminal import PROMPT, ask, workspace

WRITE = call("write_file", path="a.txt", content="a\n")


def in_review(state: SessionState) -> bool:
    return state.stage == "review" and state.stage_open


# The process


@contextlib.contextmanager
def left_alone(folder: Path, server: Script, **more: Any) -> Iterator[Human]:
    """A session that ends after half a second without a window."""
    with scene(folder, server, "process", **more) as human:
        request = cmd.HostRequest(directory=str(human.directory), started=human.started, idle_timeout=0.5)
        with _environment(human.env):
            client.launch(request, argv=HOST)
        yield human


def test_a_question_that_nobody_answers_ends_the_process(tmp_path: Path) -> None:
    with left_alone(tmp_path, Script(steps(WRITE, call("ask_user", question="Really?")))) as human:
        state = human.ended()
    assert (state.status, "nobody was there" in state.error) == ("waiting", True)
    assert state.question is not None


def test_a_pause_that_nobody_ends_ends_the_process(tmp_path: Path) -> None:
    server = Script(steps(WRITE, call("run_command", command="echo one")), "echo one")
    with left_alone(tmp_path, server) as human:
        human.until(lambda state: "a.txt" in state.edits, "the edit")
        assert human.send(cmd.Pause()).seq
        server.gates["echo one"].set()
        state = human.ended()
        assert (state.status, state.paused) == ("waiting", "user")
        human.start(cmd.Resume())
        human.until(in_review, "the review")


def test_done_work_ends_the_process(tmp_path: Path) -> None:
    with left_alone(tmp_path, Script(steps(WRITE)), accept="all") as human:
        state = human.ended()
    assert (state.status, state.exit_code, len(state.commits)) == ("done", 0, 1)


def test_a_window_that_stays_keeps_the_process_and_its_end_does_not(tmp_path: Path) -> None:
    with left_alone(tmp_path, Script(steps(WRITE))) as human:
        with client.Client.connect(human.directory) as window:
            human.until(in_review, "the review")
            first = human.state().last_time
            wait_for(lambda: window.send(cmd.Ping()).seq and _later(first, 1.5), "more than the idle timeout")
            assert is_running(human.directory)
        assert human.ended().status == "waiting"


def resumed(human: Human, *options: str) -> subprocess.CompletedProcess[str]:
    """``backspace-tui resume --headless`` of the session, while its process runs."""
    env = {**human.env, "BACKSPACE_TUI_DATA_DIR": str(human.directory.parent.parent)}
    command = [sys.executable, "-P", "-m", "backspace_tui", "resume", human.directory.name, "--headless", *options]
    return subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


def test_resuming_without_a_window_ends_the_pause_of_a_process_that_runs(tmp_path: Path) -> None:
    server = Script(steps(WRITE, call("run_command", command="echo one")), "echo one")
    with scene(tmp_path, server, "process") as human:
        human.start()
        human.until(lambda state: "a.txt" in state.edits, "the edit")
        assert human.send(cmd.Pause()).seq
        server.gates["echo one"].set()
        wait_for(lambda: human.state().status == "paused", "the pause")
        done = resumed(human)
        assert (done.returncode, is_running(human.directory)) == (4, True), done.stderr
        assert "your review" in done.stderr
        assert [event for event in human.events() if isinstance(event, ev.Resumed)] != []
        # There is nothing to wait for: it says so at once.
        last = human.state().last_seq
        assert resumed(human).returncode == 4
        assert human.state().last_seq == last


def _later(first: datetime, seconds: float) -> bool:
    return (datetime.now(UTC) - first).total_seconds() > seconds


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_running_command_and_the_process_in_order(tmp_path: Path, number: signal.Signals) -> None:
    server = Script(steps(WRITE, call("run_command", command="echo begun; sleep 600")))
    with scene(tmp_path, server, "process") as human:
        ready = human.start()
        human.until(lambda _: any(isinstance(event, ev.ToolOutput) for event in human.events()), "the command")
        os.kill(ready.pid, signal.SIGHUP)
        assert not human.send(cmd.Ping()).error
        os.kill(ready.pid, number)
        state = human.ended()
        assert (state.status, state.exit_code) == ("stopped", 130)
        assert not (human.directory / "socket").exists()
        human.kill()
    assert processes_of(human.directory) == []


# Windows


@pytest.fixture
def second() -> Iterator[Tmux]:
    terminal = Tmux()
    yield terminal
    terminal.close()


def rested(program: Program, repository: Path) -> None:
    """A session in its review, whose process has ended."""
    done = program.run("run", str(repository), "-p", PROMPT, "--model", "offline", "--sandbox", "bubblewrap")
    assert done.returncode == 4, done.stderr


@pytest.mark.tmux
@pytest.mark.bubblewrap
def test_two_windows_and_one_that_only_looks(tmux: Tmux, second: Tmux, program: Program, repository: Path) -> None:
    rested(program, repository)
    log = (program.session / "events.jsonl").read_bytes()
    second.start(program.command("attach", "last", "--read-only"), program.env, (160, 40))
    second.wait_for("read only")
    second.wait_for("0 of 2 decided")
    second.keys("Space")
    second.wait_for("asks nothing of the session")
    assert not is_running(program.session)
    assert (program.session / "events.jsonl").read_bytes() == log

    third = Tmux()
    try:
        tmux.start(program.command("attach", "last"), program.env, (160, 40))
        third.start(program.command("attach", "last"), program.env, (100, 30))
        tmux.wait_for("0 of 2 decided")
        third.wait_for("0 of 2 decided")
        tmux.keys("2", "Space")
        for window in (tmux, second, third):
            window.wait_for("1 of 2 decided")
        # The same hunk, which is accepted here as well.
        third.keys("2", "x")
        for window in (tmux, second, third):
            window.wait_for("0 of 2 decided")
        tmux.keys("u")
        for window in (tmux, second, third):
            window.wait_for("1 of 2 decided")
        second.keys("C-c")
        second.wait_for("EXIT=0")
        assert "The session goes on" not in second.screen()
        third.keys("C-q")
        third.wait_for("EXIT=0")
        tmux.keys("C-c")
        tmux.wait_for("q leaves")
        tmux.keys("C-c")
        tmux.wait_for("EXIT=0")
    finally:
        third.close()
    assert is_running(program.session)


@pytest.mark.tmux
@pytest.mark.bubblewrap
def test_ctrl_c_pauses_then_offers_to_stop(tmux: Tmux, program: Program, repository: Path) -> None:
    tmux.start(workspace(program, repository), program.env)
    ask(tmux, PROMPT.replace("run sleep 1", "run sleep 600"))

    def at_work() -> bool:
        return any(isinstance(event, ev.ToolStarted) and event.tool == "run_command" for event in program.events())

    wait_for(at_work, "the command")
    tmux.wait_for("sleep 600")
    tmux.keys("C-c")
    wait_for(lambda: fold(program.events()).paused == "user", "the pause")
    tmux.wait_for("again: stop or leave")
    tmux.keys("C-c")
    tmux.wait_for("escape: stay paused")
    tmux.keys("s")
    wait_for(lambda: in_review(fold(program.events())), "the review of what there is")
    tmux.wait_for("0 of 2 decided")
    assert fold(program.events()).paused == ""


@pytest.mark.tmux
@pytest.mark.ssh
@pytest.mark.bubblewrap
def test_a_cut_connection_leaves_a_run_that_two_others_join(
    tmux: Tmux,
    second: Tmux,
    sshd: Sshd,
    program: Program,
    repository: Path,
) -> None:
    local = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "HOME": program.env["HOME"]}
    tmux.start(sshd.command(workspace(program, repository), program.env), local, (160, 40))
    ask(tmux, PROMPT)
    wait_for(lambda: any(isinstance(event, ev.FileEdit) for event in program.events()), "an edit")
    # Both ends at once: neither can tell the other.
    (connection,) = subprocess.run(
        ["pgrep", "-P", str(tmux.pid())], check=True, capture_output=True, text=True
    ).stdout.split()
    for pid in (int(connection), *sshd.connections()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    tmux.wait_for("Killed")
    wait_for(lambda: in_review(fold(program.events())), "the review without a connection")

    again = Tmux()
    try:
        again.start(sshd.command(program.command("attach", "last"), program.env), local, (160, 40))
        looking = program.command("attach", "last", "--read-only")
        second.start(sshd.command(looking, program.env), local, (160, 40))
        for window in (again, second):
            window.wait_for("0 of 2 decided")
            # What was done while nobody looked.
            window.wait_for("sleep 1")
        second.keys("2", "y")
        second.wait_for("asks nothing of the session")
        again.keys("2", "y")
        for window in (again, second):
            window.wait_for("1 of 2 decided")
        again.keys("q")
        again.wait_for("EXIT=0")
        second.keys("q")
        second.wait_for("EXIT=0")
    finally:
        again.close()
    assert is_running(program.session)
