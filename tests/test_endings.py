"""How ``run`` and ``resume`` end: exit codes, signals, a full and a read-only disk. The real program, over HTTP."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState, fold
from backspace_tui.sessions import store
from backspace_tui.sessions.log import read_events
from tests.conftest import missing
from tests.crash import Script, nothing_left, resources, scene, steps
from tests.models.turns import Turn, call, fault
from tests.program import CART, TEST_CART, Program, git, make_repository, processes_of, wait_for

FIXED = call("edit_file", path="cart.py", old="price for", new="price * quantity for")
PASSING = {"cart.py": CART, "tests/test_cart.py": TEST_CART.replace("6", "2")}
FAILING = {"cart.py": CART, "tests/test_cart.py": TEST_CART.replace("6", "7")}
WITHOUT_TESTS = {"cart.py": CART}


@pytest.fixture
def program(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Program]:
    """The program with bubblewrap for its sandbox; nothing of it may be left at the end."""
    request.getfixturevalue("bubblewrap")
    with nothing_left("", "bubblewrap"):
        program = Program(tmp_path, OPENAI_API_KEY="sk-never-to-be-shown-0123456789")
        yield program
        wait_for(lambda: not any(map(processes_of, program.sessions)), "the session's process to be gone")


def options(program: Program, server: Script, *more: str, sandbox: str = "bubblewrap") -> list[str]:
    program.env["OPENAI_BASE_URL"] = server.url
    return ["-p", "Mend the total", "--model", "openai/test", "--sandbox", sandbox, *more]


def state(program: Program) -> SessionState:
    return fold(program.events())


def branches(repository: Path) -> list[str]:
    return git(repository, "for-each-ref", "--format=%(refname:short)").split()


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("backspace-tui:")]


@pytest.mark.parametrize(
    ("files", "accept", "exit_code", "said"),
    [
        (None, "all", 0, ""),
        (None, "verified", 0, ""),
        (PASSING, "all", 3, "make tests fail that passed before"),
        (PASSING, "verified", 3, "make tests fail that passed before"),
        (WITHOUT_TESTS, "all", 0, ""),
        (WITHOUT_TESTS, "verified", 3, "verdict: not verified"),
        (FAILING, "all", 0, ""),
        (FAILING, "verified", 3, "fails as before"),
        (None, "none", 4, "waiting for your review"),
    ],
)
def test_what_is_accepted_decides_the_exit_code(
    tmp_path: Path, files: dict[str, str] | None, accept: str, exit_code: int, said: str
) -> None:
    with scene(tmp_path, Script(steps(FIXED)), "process", files=files, accept=accept, headless=True) as human:
        human.start()
        ended = human.ended()
    assert ended.exit_code == exit_code
    assert said in ended.error
    assert bool(said) == bool(ended.error)
    assert branches(human.repository) == ([ended.branch] if exit_code == 0 else []) + ["main"]


@pytest.mark.bubblewrap
@pytest.mark.parametrize(("accept", "exit_code"), [("all", 3), ("none", 4)])
def test_a_run_ends_with_the_exit_code_and_one_line(
    tmp_path: Path, program: Program, accept: str, exit_code: int
) -> None:
    repository = make_repository(tmp_path / "repository", PASSING)
    with Script(steps(FIXED)) as server:
        done = program.run("run", str(repository), *options(program, server, "--accept", accept))
    assert done.returncode == exit_code, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert lines(done.stderr)
    assert branches(repository) == ["main"]


@pytest.mark.parametrize("sandbox", [pytest.param("docker", marks=pytest.mark.docker), "bubblewrap"])
@pytest.mark.bubblewrap
def test_a_killed_session_says_how_to_go_on(
    tmp_path: Path, program: Program, sandbox: str, request: pytest.FixtureRequest
) -> None:
    if sandbox == "docker":
        request.getfixturevalue("default_image")
    repository = make_repository(tmp_path / "repository")
    with Script(steps(FIXED, call("run_command", command="echo begun; sleep 1; echo end > end.txt"))) as server:
        run = program.start("run", str(repository), *options(program, server, "--accept", "all", sandbox=sandbox))
        wait_for(lambda: any(isinstance(event, ev.ToolOutput) for event in program.events()), "the command")
        os.kill(store.holder(program.session), signal.SIGKILL)
        _, errors = run.communicate(timeout=60)
        name = program.session.name
        assert run.returncode == 1
        assert lines(errors.decode()) == [
            f"backspace-tui: the session's process was killed; continue with: backspace-tui resume {name}"
        ]
        if sandbox == "docker":
            wait_for(lambda: not resources(name), "the container to be gone")
        done = program.run("resume", name)
        assert done.returncode == 0, done.stderr
        again = program.run("resume", name)
        assert again.returncode == 0, again.stderr
    branch = state(program).branch
    assert git(repository, "rev-list", "--count", f"main..{branch}") == "1\n"
    assert git(repository, "show", f"{branch}:end.txt") == "end\n"
    if sandbox == "docker":
        wait_for(lambda: not resources(name), "the containers to be gone")


@pytest.mark.bubblewrap
def test_a_killed_follower_does_not_end_the_session(tmp_path: Path, program: Program) -> None:
    repository = make_repository(tmp_path / "repository")
    with Script(steps(FIXED, call("run_command", command="echo held")), "echo held") as server:
        run = program.start("run", str(repository), *options(program, server, "--accept", "all"))
        wait_for(lambda: "cart.py" in state(program).edits, "the edit")
        run.kill()
        run.communicate()
        server.gates["echo held"].set()
        wait_for(lambda: not store.is_running(program.session), "the end")
    assert (state(program).status, len(branches(repository))) == ("done", 2)


@pytest.mark.bubblewrap
@pytest.mark.parametrize("when", ["command", "model", "start"])
def test_an_interrupt_stops_in_order_and_resuming_finishes(tmp_path: Path, program: Program, when: str) -> None:
    repository = make_repository(tmp_path / "repository")
    turns = steps(FIXED, call("run_command", command="echo begun; sleep 2; echo end > end.txt"))
    with Script(turns, *(["echo begun"] if when == "model" else [])) as server:
        run = program.start("run", str(repository), *options(program, server, "--accept", "all"))
        if when == "start":
            # The session's process exists and has not said yet that it is ready.
            wait_for(lambda: program.sessions and (program.session / "engine.log").exists(), "the process to start")
        elif when == "model":
            wait_for(lambda: len(server.bodies) >= 2 and "cart.py" in state(program).edits, "the model call")
            wait_for(lambda: isinstance(program.events()[-1], ev.ModelCalled), "the model call")
        else:
            wait_for(lambda: any(isinstance(event, ev.ToolOutput) for event in program.events()), "the command")
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=60)
        assert run.returncode == 130, errors
        assert b"Traceback" not in errors
        assert not store.is_running(program.session)
        last = program.events()[-1]
        assert isinstance(last, ev.SessionFinished)
        assert (last.outcome, last.exit_code) == ("stopped", 130)
        for gate in server.gates.values():
            gate.set()
        done = program.run("resume", program.session.name)
        assert done.returncode == 0, done.stderr
    assert git(repository, "show", f"{state(program).branch}:end.txt") == "end\n"
    results = [event.text for event in program.events() if isinstance(event, ev.ToolFinished)]
    assert not any("stopped by the user" in result for result in results)


@pytest.mark.bubblewrap
def test_without_an_answer_from_any_model_it_waits_and_can_go_on(tmp_path: Path, program: Program) -> None:
    repository = make_repository(tmp_path / "repository")
    broken = True

    def moody(body: Mapping[str, Any]) -> Turn:
        return fault("401") if broken else steps(FIXED)(body)

    with Script(moody) as server:
        done = program.run("run", str(repository), *options(program, server, "--accept", "all"))
        assert done.returncode == 4
        (line,) = lines(done.stderr)
        assert line.startswith("backspace-tui: models: no model answered: openai/test")
        assert "go on with: backspace-tui resume" in line
        assert "sk-never" not in done.stderr + done.stdout
        broken = False
        assert program.run("resume", "last").returncode == 0
    assert len(branches(repository)) == 2


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if done.returncode:
        missing("this user cannot mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.bubblewrap
def test_a_full_disk_is_said_in_a_line_and_work_goes_on_with_more_space(tmp_path: Path, program: Program) -> None:
    repository = make_repository(tmp_path / "repository")
    turns = steps(FIXED, call("run_command", command="echo held; seq 3000"), call("run_command", command="echo more"))
    with small_disk(tmp_path / "disk") as disk, Script(turns, "echo held") as server:
        program.data = disk / "data"
        program.env["BACKSPACE_TUI_DATA_DIR"] = str(program.data)
        run = program.start("run", str(repository), *options(program, server, "--accept", "all"))
        wait_for(lambda: "cart.py" in state(program).edits, "the edit")
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1024))
        server.gates["echo held"].set()
        _, errors = run.communicate(timeout=60)
        (line,) = lines(errors.decode())
        assert "no space left on the disk" in line
        assert "free some space" in line
        assert run.returncode == 1
        decided = read_events(program.session)
        assert [event.seq for event in decided] == list(range(1, len(decided) + 1))
        filler.unlink()
        done = program.run("resume", program.session.name)
        assert done.returncode == 0, done.stderr
        assert program.events()[: len(decided)] == decided
    assert len(branches(repository)) == 2


@pytest.mark.bubblewrap
def test_a_disk_that_is_full_from_the_start(tmp_path: Path, program: Program) -> None:
    repository = make_repository(tmp_path / "repository")
    with small_disk(tmp_path / "disk") as disk, Script(steps(FIXED)) as server:
        with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1024))
        program.data = disk / "data"
        program.env["BACKSPACE_TUI_DATA_DIR"] = str(program.data)
        done = program.run("run", str(repository), *options(program, server))
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "no space left" in line
        assert program.sessions == []


@pytest.mark.bubblewrap
def test_a_data_folder_that_cannot_be_written(tmp_path: Path, program: Program) -> None:
    repository = make_repository(tmp_path / "repository")
    with contextlib.ExitStack() as stack, Script(steps(FIXED)) as server:
        if os.geteuid():
            disk = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            disk.chmod(0o500)
        else:
            disk = stack.enter_context(small_disk(tmp_path / "disk"))
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        program.data = disk / "data"
        program.env["BACKSPACE_TUI_DATA_DIR"] = str(program.data)
        for command in (["run", str(repository), *options(program, server)], ["resume", "last"]):
            done = program.run(*command)
            assert done.returncode in (1, 2)
            (line,) = done.stderr.splitlines()
            assert line.startswith("backspace-tui: ")
        assert server.bodies == []
