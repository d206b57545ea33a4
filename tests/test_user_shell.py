"""The user in a shell in the agent's sandbox, over whole sessions and from real terminals."""

from __future__ import annotations

import os
import signal
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.terminal_filter import RESTORE
from backspace_tui.engine.user_commands import IN_SHELL
from backspace_tui.sessions import client, store
from tests.crash import HOST, Human, Script, _environment, kill_container, scene, steps
from tests.models.turns import call
from tests.program import Program, make_repository, wait_for
from tests.terminal import Tmux
from tests.test_control import conversation, in_review, work
from tests.user import BACKENDS, SLOW, WRITE, needs, of, resting

PROMPT = r"[#$] "


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return needs(request, request.param)


if TYPE_CHECKING:
    Spawn = pexpect.spawn[bytes]
else:
    Spawn = pexpect.spawn


def environment(human: Human) -> dict[str, str]:
    """The sessions of a scene lie in its folder, as those of a user in the data folder."""
    return {**human.env, "BACKSPACE_TUI_DATA_DIR": str(human.directory.parent.parent), "TERM": "xterm"}


def command(human: Human) -> list[str]:
    return [sys.executable, "-P", "-m", "backspace_tui", "sandbox", "shell", human.directory.name]


class Terminal(Spawn):
    """``backspace-tui sandbox shell`` in a terminal of its own."""

    def __init__(self, human: Human, **env: str) -> None:
        values, (program, *arguments) = {**environment(human), **env}, command(human)
        super().__init__(program, arguments, env=values, dimensions=(33, 101), timeout=30, echo=True)

    def ended(self) -> tuple[int | None, str]:
        """The exit code, and what was printed last."""
        self.expect(pexpect.EOF)
        rest = (self.before or b"").decode()
        self.close()
        return self.exitstatus, rest


def test_both_wait_for_the_agents_step(tmp_path: Path) -> None:
    server = Script(steps(WRITE, SLOW, call("run_command", command="cat mine.txt")), "slow", "mine")
    with scene(tmp_path, server, "process") as human:
        human.start()
        human.until(lambda state: "a.txt" in state.edits, "the edit")
        reply = human.send(cmd.RunForUser(command="echo mine > mine.txt"))
        (notice,) = of(human.events(), ev.Message, seq=reply.seq)
        assert (
            notice.text == "your command runs when the agent's present step (implement) has ended: echo mine > mine.txt"
        )
        terminal = Terminal(human)
        terminal.expect("the shell opens when the agent's present step \\(implement\\) has ended; Ctrl-C gives up")
        assert not of(human.events(), ev.ToolStarted, by="user")
        server.gates["slow"].set()
        terminal.expect(PROMPT)
        state = human.until(lambda state: bool(state.paused), "the pause")
        assert (state.paused, state.status) == (IN_SHELL, "paused")
        assert human.send(cmd.Resume()).error == "you are in the sandbox's shell; leave it first"
        terminal.sendline("cat mine.txt && exit")
        assert terminal.ended()[0] == 0
        server.gates["mine"].set()
        human.until(in_review, "the review")
        events = human.events()
    kinds = [type(event).__name__ for event in events]
    assert "ModelCalled" not in kinds[kinds.index("Paused") : kinds.index("Resumed")]
    order = [(event.tool, event.by) for event in of(events, ev.ToolFinished)]
    user = [("run_command", "user"), ("shell", "user")]
    assert order[:5] == [("write_file", "agent"), ("run_command", "agent"), *user, ("run_command", "agent")]
    assert conversation(server)[-2:] != []
    told = "[user] ran: echo mine > mine.txt (exit code 0); changed: mine.txt"
    assert conversation(server).count(told) == 1
    assert of(events, ev.ToolFinished, tool="run_command", by="agent")[1].text == "exit code 0\nmine"


def test_a_shell_from_a_real_terminal(tmp_path: Path, backend: str) -> None:
    with resting(tmp_path, backend) as (human, _):
        terminal = Terminal(human)
        before = termios.tcgetattr(terminal.fileno())
        terminal.expect(PROMPT)
        terminal.sendline("stty size")
        terminal.expect("33 101")
        terminal.setwinsize(45, 140)
        terminal.sendline("sleep 0.5; stty size")
        terminal.expect("45 140")
        terminal.sendline("printf 'a\\033]52;c;Zm9v\\007b\\033]0;title\\007c\\033[31mred\\n'")
        terminal.expect("abc\x1b\\[31mred")
        terminal.sendline("sh -c 'echo begun; exec sleep 1000'")
        terminal.expect("begun\r")
        terminal.sendintr()
        terminal.sendline("echo code=$?")
        terminal.expect("code=130")
        terminal.sendline("echo mine > m.txt; exit 5")
        terminal.expect_exact(RESTORE.decode())
        # The modes come back behind the screen.
        wait_for(lambda: termios.tcgetattr(terminal.fileno()) == before, "the terminal's modes")
        code, said = terminal.ended()
        assert (code, said.strip()) == (5, "the shell ended with exit code 5: you changed m.txt")
        events = human.events()
        assert [event.path for event in of(events, ev.FileEdit, by="user")] == ["m.txt"]
        (finished,) = of(events, ev.ToolFinished, tool="shell")
        assert (finished.text, finished.ok) == ("[user] worked in a shell in your sandbox; changed: m.txt", True)
        assert (finished.audit.user, finished.audit.command, finished.audit.exit_code) == ("user", "shell", 5)
        assert human.state().status == "waiting"
        assert not of(events, ev.Paused)


def test_there_is_one_shell_at_a_time(tmp_path: Path) -> None:
    with resting(tmp_path) as (human, _):
        first = Terminal(human)
        first.expect(PROMPT)
        code, said = Terminal(human).ended()
        assert (code, said.strip()) == (
            1,
            "backspace-tui: another window is in the sandbox's shell; leave it there first",
        )
        first.sendline("exit")
        assert first.ended()[0] == 0
        second = Terminal(human)
        second.expect(PROMPT)
        second.sendeof()
        assert second.ended()[0] == 0


@pytest.mark.parametrize("deaf", [False, True])
def test_a_window_that_is_killed_ends_its_shell(tmp_path: Path, *, deaf: bool) -> None:
    with resting(tmp_path) as (human, _):
        terminal = Terminal(human)
        terminal.expect(PROMPT)
        terminal.sendline("echo kept > kept.txt; stty raw -echo; echo de''af; sleep 1000")
        terminal.expect("deaf")
        if deaf:
            # More than the shell ever takes: the session reads nothing of the window any more.
            with pytest.raises(pexpect.TIMEOUT):
                _fill(terminal)
        assert terminal.pid is not None
        os.kill(terminal.pid, signal.SIGKILL)
        (finished,) = wait_for(lambda: of(human.events(), ev.ToolFinished, tool="shell"), "the end of the shell")
        assert finished.audit.ended == "cancelled"
        assert work(human)["kept.txt"] == "kept\n"
        assert human.send(cmd.RunForUser(command="cat kept.txt")).error == ""
        terminal.close(force=True)


def _fill(terminal: Terminal) -> None:
    os.set_blocking(terminal.fileno(), False)
    waited = 0
    while waited < 20:
        try:
            os.write(terminal.fileno(), b"y" * 4096)
            waited = 0
        except BlockingIOError:
            waited += 1
            terminal.expect(["never"], timeout=0.1)


def test_giving_up_leaves_nothing_behind(tmp_path: Path) -> None:
    server = Script(steps(WRITE, SLOW), "slow")
    with scene(tmp_path, server, "process") as human:
        human.start()
        human.until(lambda state: "a.txt" in state.edits, "the edit")
        terminal = Terminal(human)
        terminal.expect("Ctrl-C gives up")
        terminal.sendintr()
        code, said = terminal.ended()
        assert (code, "you gave up waiting for the shell" in said) == (1, True)
        server.gates["slow"].set()
        human.until(in_review, "the review")
        assert not of(human.events(), ev.ToolStarted, by="user")
        again = Terminal(human)
        again.expect(PROMPT)
        again.sendline("exit")
        assert again.ended()[0] == 0


def test_the_terminal_is_given_back_after_a_signal(tmp_path: Path) -> None:
    with resting(tmp_path) as (human, _):
        terminal = Terminal(human)
        before = termios.tcgetattr(terminal.fileno())
        terminal.expect(PROMPT)
        assert termios.tcgetattr(terminal.fileno()) != before
        terminal.sendline("printf '\\033[?1049h\\033[?1000h'; echo in$((1 + 1))")
        terminal.expect("in2")
        terminal.kill(signal.SIGTERM)
        terminal.expect_exact("\x1b[?1049l" + RESTORE.decode())
        terminal.expect(pexpect.EOF)
        assert termios.tcgetattr(terminal.fileno()) == before
        terminal.close()
        assert terminal.signalstatus == signal.SIGTERM
        wait_for(lambda: of(human.events(), ev.ToolFinished, tool="shell"), "the end of the shell")


def test_a_crash_of_the_session_is_told_and_gone_on_from(tmp_path: Path) -> None:
    server = Script(steps(WRITE, SLOW), "slow")
    with scene(tmp_path, server, "process") as human:
        human.start()
        human.until(lambda state: "a.txt" in state.edits, "the edit")
        terminal = Terminal(human)
        terminal.expect("Ctrl-C gives up")
        server.gates["slow"].set()
        terminal.expect(PROMPT)
        human.kill()
        code, said = terminal.ended()
        assert code == 1
        assert said.strip().endswith(
            "backspace-tui: the session's process went away, and the shell with it: resume the session"
        )
        assert human.state().paused == IN_SHELL
        # Nobody is in the shell any more, so the agent goes on by itself.
        assert human.until(in_review, "the review").paused == ""
        (closed,) = of(human.events(), ev.ToolFinished, tool="shell")
        assert (closed.ok, closed.text) == (False, "")
        lost = "your shell died with the session's process; what it changed is lost"
        assert len(of(human.events(), ev.Message, text=lost)) == 1


def test_a_command_that_waited_for_a_process_that_died_is_told_once(tmp_path: Path) -> None:
    server = Script(steps(WRITE, SLOW), "slow")
    with scene(tmp_path, server, "process") as human:
        human.start()
        human.until(lambda state: "a.txt" in state.edits, "the edit")
        human.send(cmd.RunForUser(command="echo one: two"))
        human.send(cmd.RunForUser(command="echo three"))
        human.kill()
        server.gates["slow"].set()
        human.until(in_review, "the review")
        human.kill()
        human.start()
        reply = human.send(cmd.RunForUser(command="echo three"))
        wait_for(lambda: of(human.events(), ev.ToolFinished, by="user"), "the command")
        events = human.events()
    assert of(events, ev.ToolStarted, by="user")[0].seq == reply.seq
    lost = "your command did not run, since the session's process ended before; give it again: "
    told = [event.text for event in of(events, ev.Message, role="program") if event.text.startswith(lost)]
    assert told == [f"{lost}echo one: two", f"{lost}echo three"]


@pytest.mark.docker
def test_a_container_that_dies_is_told_and_replaced(tmp_path: Path, slim_image: str) -> None:
    with resting(tmp_path, "docker") as (human, _):
        human.send(cmd.RunForUser(command="echo kept > kept.txt"))
        wait_for(lambda: "kept.txt" in work(human), "the snapshot")
        terminal = Terminal(human)
        terminal.expect(PROMPT)
        terminal.sendline("echo lost > lost.txt; echo in$((1 + 1))")
        terminal.expect("in2")
        kill_container(human.directory.name)
        code, said = terminal.ended()
        assert code == 1
        assert "backspace-tui: the shell is over: the sandbox is gone" in said
        assert not of(human.events(), ev.ToolFinished, tool="shell")[0].ok
        human.send(cmd.RunForUser(command="cat kept.txt; ls"))
        wait_for(lambda: len(of(human.events(), ev.ToolFinished, by="user")) == 3, "the next command")
        outputs = "".join(event.text for event in of(human.events(), ev.ToolOutput))
        assert "kept\n" in outputs
        assert "lost" not in outputs


def test_quitting_ends_the_shell_and_keeps_its_changes(tmp_path: Path) -> None:
    with resting(tmp_path) as (human, _):
        terminal = Terminal(human)
        terminal.expect(PROMPT)
        terminal.sendline("echo kept > kept.txt; echo in$((1 + 1))")
        terminal.expect("in2")
        human.send(cmd.Quit())
        code, said = terminal.ended()
        assert (code, "the shell was killed: you changed kept.txt" in said) == (137, True)
        human.ended()
        assert work(human)["kept.txt"] == "kept\n"


def test_an_open_shell_keeps_the_session_from_idling_out(tmp_path: Path) -> None:
    server = Script(steps(WRITE))
    with scene(tmp_path, server, "process") as human:
        request = cmd.HostRequest(directory=str(human.directory), started=human.started, idle_timeout=0.5)
        with _environment(human.env):
            client.launch(request, argv=HOST)
            connection = client.Client.connect(human.directory)
        wait_for(lambda: in_review(human.state()), "the review")
        terminal = Terminal(human)
        terminal.expect(PROMPT)
        connection.close()
        terminal.sendline("sleep 2; echo awa''ke")
        terminal.expect("awake")
        terminal.sendline("exit")
        assert terminal.ended()[0] == 0
        state = human.ended()
        assert (state.status, "nobody was there" in state.error) == ("waiting", True)


def test_a_shell_needs_a_terminal(tmp_path: Path) -> None:
    with resting(tmp_path) as (human, _):
        program = Program(tmp_path / "program", BACKSPACE_TUI_DATA_DIR=str(tmp_path))
        done = program.run("sandbox", "shell", human.directory.name)
        assert done.returncode == 2
        assert done.stderr.startswith("backspace-tui: a shell needs a terminal;")
        refused = human.send(cmd.RunForUser(command=""))
        assert refused.error


@pytest.mark.docker
@pytest.mark.tmux
def test_a_pager_on_a_real_screen(tmp_path: Path, default_image: str, tmux: Tmux) -> None:
    server = Script(steps(WRITE))
    with scene(tmp_path, server, "docker") as human:
        human.start()
        human.until(in_review, "the review")
        tmux.start(command(human), environment(human), (100, 20))
        tmux.wait_for("/workspace$")
        tmux.type("seq 1000 2000 > numbers; printf '\\033]2;owned\\007'; less numbers")
        tmux.keys("Enter")
        wait_for(lambda: tmux.screen().startswith("1000\n1001\n"), "the pager")
        tmux.type("/1500")
        tmux.keys("Enter")
        wait_for(lambda: tmux.screen().startswith("1500\n"), "the found line at the top")
        tmux.keys("q")
        tmux.wait_for("less numbers")
        tmux.type("exit 6")
        tmux.keys("Enter")
        screen = tmux.wait_for("EXIT=6")
        assert "the shell ended with exit code 6: you changed numbers" in screen
        assert tmux._tmux("display-message", "-p", "#{pane_title}") != "owned\n"
        tmux.close()


IN_A_THREAD = """
import sys, threading
from pathlib import Path
from backspace_tui.sessions.shell import run_shell
lines = []
thread = threading.Thread(target=lambda: lines.append(run_shell(Path(sys.argv[1]), stdin=0, stdout=1)))
thread.start()
thread.join()
print("line:", *lines)
"""


def test_a_window_may_wait_for_it_in_any_thread(tmp_path: Path) -> None:
    with resting(tmp_path) as (human, _):
        arguments = ["-c", IN_A_THREAD, str(human.directory)]
        window = pexpect.spawn(sys.executable, arguments, env=environment(human), dimensions=(20, 60), timeout=30)
        window.expect(PROMPT)
        window.setwinsize(22, 66)
        window.sendline("until [ \"$(stty size)\" = '22 66' ]; do sleep 0.05; done; echo follo''wed")
        window.expect("followed")
        window.sendline("exit 1")
        window.expect_exact("line: the shell ended with exit code 1: nothing changed")
        window.expect(pexpect.EOF)
        window.close()
        assert not of(human.events(), ev.FileEdit, by="user")


@pytest.mark.bubblewrap
def test_a_session_that_rests_is_started_for_its_shell(tmp_path: Path, bubblewrap: str) -> None:
    program = Program(tmp_path)
    folder = make_repository(tmp_path / "repository")
    arguments = ("-p", "create x.txt with y", "--model", "offline", "--sandbox", "bubblewrap")
    assert program.run("run", str(folder), *arguments).returncode == 4
    name, *options = program.command("sandbox", "shell", "last")
    terminal = pexpect.spawn(name, options, env=program.env, timeout=60)
    terminal.expect(PROMPT)
    terminal.sendline("cat x.txt; echo more >> x.txt; rm cart.py; exit 4")
    terminal.expect_exact("the shell ended with exit code 4: you changed cart.py, x.txt")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 4
    edits = of(program.events(), ev.FileEdit, by="user")
    assert [(event.path, event.added > 0) for event in edits] == [("cart.py", False), ("x.txt", True)]
    session = program.session
    os.kill(store.holder(session), signal.SIGTERM)
    wait_for(lambda: not store.is_running(session), "the session to end")
