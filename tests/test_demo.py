"""The demo: its script on its repository, what it counts as success, and the whole job in each sandbox."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backspace_tui import demo
from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState
from backspace_tui.demo_data import DOUBTFUL, FAILING_TEST, SCRIPT, TEST_COMMAND, shop
from backspace_tui.models.scripted import Script
from backspace_tui.sessions import client, store
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.log import read_events
from tests.program import wait_for
from tests.terminal import Tmux

BASELINE = f"{FAILING_TEST} (t.C.{FAILING_TEST}) ... FAIL\nFAIL: {FAILING_TEST} (t.C.{FAILING_TEST})\n"
PASSED = f"{FAILING_TEST} (t.C.{FAILING_TEST}) ... ok\n"


def checkout(folder: Path) -> Path:
    for name, text in shop().files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def play(folder: Path, *, doubtful: bool) -> None:
    """The script's edits, without any of the program's parts."""
    for turn in msgspec.toml.decode(SCRIPT.read_bytes(), type=Script).turns:
        for call in turn.calls:
            arguments: dict[str, Any] = call.arguments
            if call.tool == "write_file":
                (folder / arguments["path"]).write_text(arguments["content"], "utf-8")
            elif call.tool == "edit_file" and (doubtful or DOUBTFUL not in arguments["new"]):
                path = folder / arguments["path"]
                text = path.read_text("utf-8")
                assert text.count(arguments["old"]) == 1, arguments["old"]
                path.write_text(text.replace(arguments["old"], arguments["new"]), "utf-8")


def run_tests(folder: Path) -> tuple[int, str]:
    done = subprocess.run(TEST_COMMAND, shell=True, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_exactly_one_test_fails_before_the_work(tmp_path: Path) -> None:
    code, output = run_tests(checkout(tmp_path))
    assert code != 0
    assert re.findall(r"^(\w+) \(.*\.\.\. FAIL$", output, re.M) == [FAILING_TEST]


@pytest.mark.parametrize("doubtful", [True, False])
def test_all_tests_pass_after_the_work_also_without_the_doubtful_hunk(tmp_path: Path, doubtful: bool) -> None:
    play(checkout(tmp_path), doubtful=doubtful)
    code, output = run_tests(tmp_path)
    assert code == 0, output
    assert ("return 0.0" in (tmp_path / "shop/tax.py").read_text()) == doubtful


def test_repository_is_clean_committed_and_in_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("HOME", str(tmp_path / "no-home"))
    first, second = demo.create_repository(tmp_path / "demo"), demo.create_repository(tmp_path / "demo")
    monkeypatch.delenv("GIT_DIR")
    assert (first.name, second.name) == ("shop-1", "shop-2")
    for folder in (first, second):
        git = ["git", "-C", str(folder)]
        assert subprocess.check_output([*git, "status", "--porcelain"], text=True) == ""
        log = subprocess.check_output([*git, "log", "--format=%an %s"], text=True)
        assert log == f"Demo {shop().commit}\n"


def test_repository_says_where_it_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("in the way")
    with pytest.raises(SessionError, match="demo"):
        demo.create_repository(tmp_path / "demo")


def verification(verdict: str, output: str, **fields: Any) -> ev.Verification:
    return ev.Verification(tree="a" * 40, verdict=verdict, output=output, **fields)  # type: ignore[arg-type]


def state(verdict: ev.Verification | None, baseline: ev.Verification | None) -> SessionState:
    verdicts = {"a" * 40: verdict} if verdict else {}
    return SessionState(accepted_tree="a" * 40, verdicts=verdicts, baseline=baseline)


@pytest.mark.parametrize(
    ("verdict", "baseline", "exit_code"),
    [
        (verification("passes", PASSED), verification("baseline", BASELINE), 0),
        (verification("passes", PASSED), verification("baseline", PASSED), 1),
        (verification("passes", "Ran 5 tests\nOK\n"), verification("baseline", BASELINE), 1),
        (verification("passes", PASSED.replace("quantity", "other")), verification("baseline", BASELINE), 1),
        (verification("fails as before", BASELINE), verification("baseline", BASELINE), 1),
        (verification("newly fails", PASSED), verification("baseline", BASELINE), 3),
        (verification("not verified", ""), None, 1),
        (None, verification("baseline", BASELINE), 1),
    ],
)
def test_success_is_the_named_test_failing_before_and_passing_after(
    verdict: ev.Verification | None, baseline: ev.Verification | None, exit_code: int
) -> None:
    problem, found = demo.judge(state(verdict, baseline))
    assert found == exit_code
    assert bool(problem) == bool(exit_code)


def run_demo(data: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "backspace_tui", "demo", *arguments],
        env=os.environ | {"BACKSPACE_TUI_DATA_DIR": str(data), "HOME": str(data)} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def check(data: Path, done: subprocess.CompletedProcess[str]) -> None:
    """The demo succeeded, named its branch, and nothing runs any more."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert check_branch(data) in done.stdout
    (session,) = (data / "sessions").iterdir()
    assert not store.is_running(session)


def check_branch(data: Path) -> str:
    """The branch holds the good hunks in one commit and nothing else, and the checkout is as it was; its name."""
    repository = data / "demo/shop-1"
    git = ["git", "-C", str(repository)]
    (branch,) = subprocess.check_output([*git, "for-each-ref", "--format=%(refname)", "refs/heads/backspace/"],
                                        text=True).split()  # fmt: skip
    expected = checkout(data / "expected")
    play(expected, doubtful=False)
    names = subprocess.check_output([*git, "ls-tree", "-r", "--name-only", branch], text=True).split()
    assert sorted(names) == sorted(str(path.relative_to(expected)) for path in expected.rglob("*") if path.is_file())
    for name in names:
        assert subprocess.check_output([*git, "show", f"{branch}:{name}"]) == (expected / name).read_bytes()
    assert subprocess.check_output([*git, "rev-list", "--count", f"main..{branch}"], text=True) == "1\n"
    assert subprocess.check_output([*git, "status", "--porcelain"], text=True) == ""
    (session,) = (data / "sessions").iterdir()
    kinds = [type(event) for event in read_events(session)]
    assert kinds.count(ev.PrCreation) == 1
    assert {"list_files", "search", "read_file", "edit_file", "write_file", "run_command", "finish"} == {
        event.tool for event in read_events(session) if isinstance(event, ev.ToolFinished) and event.tool
    }
    return branch.removeprefix("refs/heads/")


def no_engine(data: Path) -> dict[str, str]:
    return {"DOCKER_HOST": f"unix://{data}/nowhere.sock"}


@pytest.mark.docker
def test_whole_job_in_docker(tmp_path: Path, slim_image: str) -> None:
    done = run_demo(tmp_path, "--headless", "--sandbox", "docker")
    check(tmp_path, done)
    assert "docker" in done.stdout
    left = subprocess.check_output(["docker", "ps", "--all", "--no-trunc"], text=True)
    (session,) = (tmp_path / "sessions").iterdir()
    assert session.name not in left


@pytest.mark.bubblewrap
def test_whole_job_without_an_engine(tmp_path: Path, bubblewrap: str) -> None:
    done = run_demo(tmp_path, "--headless", **no_engine(tmp_path))
    check(tmp_path, done)
    assert "reduced isolation (docker: " in done.stdout


def test_whole_job_in_a_plain_process_and_without_a_terminal(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = run_demo(tmp_path, "--sandbox", "process", TMPDIR=str(temporary))
    check(tmp_path, done)
    assert "no terminal" in done.stdout
    assert "no isolation" in done.stdout
    assert list(temporary.iterdir()) == []


def test_forced_sandbox_that_does_not_work_is_an_error(tmp_path: Path) -> None:
    done = run_demo(tmp_path, "--headless", "--sandbox", "docker", **no_engine(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Docker" in done.stderr
    assert not (tmp_path / "sessions").exists()
    assert not (tmp_path / "demo").exists()


@pytest.mark.tmux
def test_whole_job_by_keyboard(tmp_path: Path, tmux: Tmux) -> None:
    """Somebody watches until the agent is done, takes all but the doubtful hunk, and opens the pull request."""
    environment = {
        "PATH": os.environ["PATH"],
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "HOME": str(tmp_path),
        "BACKSPACE_TUI_DATA_DIR": str(tmp_path),
        **no_engine(tmp_path),
    }
    tmux.start([sys.executable, "-m", "backspace_tui", "demo", "--sandbox", "process"], environment)
    tmux.wait_for("scripted")
    tmux.wait_for(" 0 of 9 decided", seconds=120)
    tmux.wait_for(" review ", seconds=60)
    for key, decided in (("a", 3), ("a", 5), ("x", 6), ("Space", 7), ("Space", 8), ("Space", 9)):
        tmux.keys(key)
        tmux.wait_for(f" {decided} of 9 decided")
    tmux.keys("V")
    tmux.wait_for("verified ok")
    tmux.wait_for(" review ")
    tmux.keys("P")
    wait_for(lambda: requested(tmp_path), "the request", 60)
    leave(tmux)
    check_branch(tmp_path)
    (session,) = (tmp_path / "sessions").iterdir()
    with client.Client.connect(session) as connection:
        connection.send(cmd.Quit())
    wait_for(lambda: not store.is_running(session), "the session's end", 30)


@pytest.mark.tmux
def test_a_session_is_replayed_without_its_repository(tmp_path: Path, tmux: Tmux) -> None:
    """No key, no engine, no repository any more: the replay plays, and offers to go on from a step."""
    done = run_demo(tmp_path, "--headless", "--sandbox", "process")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / "demo")
    (session,) = (tmp_path / "sessions").iterdir()
    log = (session / "events.jsonl").read_bytes()
    environment = {
        "PATH": os.environ["PATH"],
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "HOME": str(tmp_path),
        "BACKSPACE_TUI_DATA_DIR": str(tmp_path),
        **no_engine(tmp_path),
    }
    tmux.start([sys.executable, "-m", "backspace_tui", "replay", session.name, "--speed", "16"], environment, (120, 40))
    tmux.wait_for("16x")
    tmux.wait_for("9 of 9 decided")
    last = re.search(r"step (\d+) of \1 ", tmux.wait_for("done"))
    assert last is not None
    tmux.keys("^")
    tmux.wait_for("step 1 of ")
    tmux.wait_for("no changes yet")
    tmux.keys("&")
    tmux.wait_for("9 of 9 decided")
    tmux.keys("b", "b", "b", "b", "b", "M")
    tmux.wait_for("decisions")
    tmux.keys("F")
    tmux.wait_for("Fork at event")
    tmux.keys("Escape")
    wait_for(lambda: "Fork at event" not in tmux.screen(), "the dialog to close")
    assert list((tmp_path / "sessions").iterdir()) == [session]
    tmux.keys("F")
    tmux.wait_for("Fork at event")
    tmux.keys("Enter")
    # The window is the fork's from now on: there is a line for prompts, and no time line.
    fork = wait_for(lambda: [other for other in (tmp_path / "sessions").iterdir() if other != session], "the fork")[0]
    tmux.wait_for("(?: keys)")
    assert "decisions" not in tmux.screen()
    leave(tmux)
    assert f"attach {fork.name}" in tmux.screen()
    assert (session / "events.jsonl").read_bytes() == log
    assert not store.is_running(session)
    stop_host(fork)


def stop_host(session: Path) -> None:
    """End the process of a session as the system would at its shutdown."""
    if store.is_running(session):
        os.kill(store.holder(session), signal.SIGTERM)
    wait_for(lambda: not store.is_running(session), "the end of the session's process")


def leave(tmux: Tmux) -> None:
    """Close the window; a report that opens by itself just then takes the first key for itself."""

    def left() -> bool:
        if "EXIT=" not in tmux.screen():
            tmux.keys("Escape", "q")
        return "EXIT=" in tmux.screen()

    wait_for(left, "the window's end", 60)
    assert "EXIT=0" in tmux.screen()


def requested(data: Path) -> bool:
    (session,) = (data / "sessions").iterdir()
    return any(isinstance(event, ev.PrCreation) for event in read_events(session))
