"""``backspace-tui sessions`` from a script and in a terminal: listing, searching and pruning what real runs left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backspace_tui.core import events as ev
from backspace_tui.sessions.log import EventLog
from backspace_tui.sessions.store import is_running
from tests.program import Program, make_repository, wait_for
from tests.terminal import Tmux

OFFLINE = ("--model", "offline", "--sandbox", "bubblewrap")
PROMPTS = ("replace Helo with Hello", "create notes.txt with a note", "create more.txt with more")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, bubblewrap: str) -> Program:
    """Three runs: one in its review, one committed, one with accepted work that is not."""
    folder = tmp_path_factory.mktemp("ran")
    repository = make_repository(folder / "repository", {"README.md": "# Helo\n"})
    program = Program(folder)
    first, second, third = PROMPTS
    assert program.run("run", str(repository), "-p", first, *OFFLINE).returncode == 4
    assert program.run("run", str(repository), "-p", second, "--accept", "all", *OFFLINE).returncode == 0
    # Ids of one second are in no order.
    before = set(program.sessions)
    assert program.run("run", str(repository), "-p", third, *OFFLINE).returncode == 4
    (newest,) = set(program.sessions) - before
    with EventLog.open(newest) as log:
        tree = "f" * 40
        log.append(ev.Decision(hunk="h", path="more.txt", action="accept", tree=tree, before="", group=1))
    return program


def rows(program: Program, *arguments: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(program.run("sessions", "--json", *arguments).stdout)
    return found


def test_the_list_tells_hunks_work_and_size(ran: Program) -> None:
    found = {row["title"]: row for row in rows(ran)}
    facts = [
        (found[prompt]["status"], found[prompt]["accepted"], found[prompt]["hunks"], found[prompt]["uncommitted"])
        for prompt in PROMPTS
    ]
    assert facts == [("waiting", 0, 1, False), ("done", 1, 1, False), ("waiting", 1, 1, True)]
    assert all(isinstance(row["size"], int) and row["size"] > 10_000 for row in found.values())
    text = ran.run("sessions").stdout
    assert "1/1" in text
    assert "untested" in text


def test_sessions_are_searched(ran: Program) -> None:
    assert [row["title"] for row in rows(ran, "--search", "HELO")] == [PROMPTS[0]]
    assert {row["title"] for row in rows(ran, "--search", "repository")} == set(PROMPTS)
    # Only the log says which file it was.
    assert [row["title"] for row in rows(ran, "--search", "readme.MD")] == [PROMPTS[0]]
    assert rows(ran, "--search", "no such thing") == []
    assert ran.run("sessions", "--search", "no such thing").stdout == "no session holds 'no such thing'\n"


@pytest.mark.tmux
def test_the_list_fits_the_terminal(ran: Program, tmux: Tmux) -> None:
    tmux.start(ran.command("sessions"), ran.env, size=(80, 24))
    screen = tmux.wait_for("EXIT=0")
    lines = [line for line in screen.splitlines() if line.startswith("20")]
    assert len(lines) == len(PROMPTS)
    assert screen.splitlines()[0].split()[:3] == ["ID", "STATE", "AGE"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--older-than"),
        (("--older-than", "soon"), "is no time"),
        (("--larger-than", "-1"), "--larger-than"),
        (("--keep", "-1"), "0 or more"),
        (("--keep", "0"), "--yes"),
    ],
)
def test_a_prune_that_says_nothing_or_nonsense_is_wrong_usage(
    ran: Program, arguments: tuple[str, ...], said: str
) -> None:
    before = ran.sessions
    done = ran.run("sessions", "prune", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert ran.sessions == before


def test_pruning_spares_accepted_work_until_it_is_forced(ran: Program) -> None:
    before = ran.sessions
    looked = ran.run("sessions", "prune", "--keep", "0", "--dry-run")
    assert "2 sessions would be removed" in looked.stdout
    assert ran.sessions == before
    done = ran.run("sessions", "prune", "--keep", "0", "--yes")
    assert "2 sessions removed, 0." in done.stdout
    assert "--force takes it too" in done.stdout
    assert [row["title"] for row in rows(ran)] == [PROMPTS[2]]
    assert "1 session removed" in ran.run("sessions", "prune", "--keep", "0", "--yes", "--force").stdout
    assert ran.sessions == []


@pytest.mark.tmux
@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
def test_from_one_session_to_another_in_one_terminal(tmp_path: Path, tmux: Tmux) -> None:
    repository = make_repository(tmp_path / "shop", {"README.md": "# Helo\n"})
    program = Program(tmp_path)
    assert program.run("run", str(repository), "-p", "replace Helo with Hello", *OFFLINE).returncode == 4
    rests = program.session
    assert program.run("sessions", "rename", "last", "greeting").returncode == 0
    started = program.start("run", str(repository), "-p", "run 'sleep 600'", *OFFLINE)
    try:
        (worker,) = wait_for(lambda: set(program.sessions) - {rests}, "the second session")
        wait_for(lambda: is_running(worker), "its process")
        tmux.start(program.command(str(repository), *OFFLINE), program.env, size=(120, 30))
        tmux.wait_for("ctrl+r: rejoin one of 2 sessions")
        tmux.keys("C-r")
        tmux.wait_for("● running")
        tmux.wait_for("greeting")
        tmux.keys("Enter")
        tmux.wait_for("sleep 600")
        tmux.wait_for("steer the agent")
        tmux.keys("o")
        tmux.wait_for("Sessions  2")
        tmux.keys("G", "R")
        tmux.wait_for("step ")
        tmux.wait_for("Hello")
        tmux.keys("q")
        tmux.wait_for("EXIT=0")
        assert is_running(worker)
    finally:
        started.terminate()
        assert started.wait(60) == 130
        started.communicate()
