"""A project's setup in whole sessions: who has it, and what it is run with."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from backspace_tui.config import ProjectSettings, SandboxSettings, Settings
from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState
from backspace_tui.sessions.log import read_events
from tests.crash import Human, Script, scene, steps
from tests.models.turns import call
from tests.program import Program, git, make_repository
from tests.sandbox.support import remove_setup_images

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("default_image")]

INSTALL: Final = "mkdir -p ~/installed node_modules; cp requirements.txt ~/installed; cp requirements.txt node_modules"
CHECK: Final = "cmp requirements.txt ~/installed/requirements.txt && cmp requirements.txt node_modules/requirements.txt"
FILES: Final = {"requirements.txt": "old\n", "a.txt": "a\n"}
SETTINGS: Final = Settings(
    project=ProjectSettings(setup=(INSTALL,), test=CHECK), sandbox=SandboxSettings(image="default")
)
WRITE: Final = call("write_file", path="requirements.txt", content="new\n")


def verdicts(human: Human) -> list[str]:
    return [event.verdict for event in human.events() if isinstance(event, ev.Verification)]


def notices(human: Human) -> list[str]:
    return [event.text for event in human.events() if isinstance(event, ev.Message) and event.role == "program"]


def asked(state: SessionState) -> bool:
    return state.question is not None and "Run setup again" in state.question.question


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_setup_runs_again_for_changed_dependencies_only_where_the_human_says_so(tmp_path: Path, answer: str) -> None:
    server = Script(steps(call("run_command", command=CHECK), WRITE))
    with scene(tmp_path, server, "docker", files=FILES, settings=SETTINGS) as human:
        human.start()
        human.until(lambda state: state.stage == "review" and state.stage_open, "the review")
        # node_modules is there, and is nobody's change.
        assert set(human.state().edits) == {"requirements.txt"}
        human.decide("accept", "requirements.txt")
        human.publish()
        state = human.until(asked, "the question")
        assert state.question is not None
        assert state.question.options == ("yes", "no")
        human.answer(answer)
        wanted = "passes" if answer == "yes" else "newly fails"
        human.until(lambda _: verdicts(human)[-1:] == [wanted], "the verdict")
    results = [event for event in human.events() if isinstance(event, ev.ToolFinished) and event.tool == "run_command"]
    assert [event.exit_code for event in results] == [0]
    assert verdicts(human) == ["baseline", "running", wanted]
    assert any("dependencies of the base" in text for text in notices(human)) == (answer == "no")


def test_without_anybody_to_ask_the_dependencies_of_the_base_are_used(tmp_path: Path) -> None:
    server = Script(steps(WRITE))
    with scene(tmp_path, server, "docker", files=FILES, settings=SETTINGS, headless=True, accept="all") as human:
        human.start()
        state = human.ended()
    assert (state.exit_code, verdicts(human)[-1]) == (3, "newly fails")
    assert any("dependencies of the base" in text for text in notices(human))
    assert not [event for event in human.events() if isinstance(event, ev.Question)]


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a repository whose images are gone after the test."""
    made = f"shown-{uuid.uuid4().hex[:8]}"
    yield made
    remove_setup_images(made)


def test_a_run_shows_setup_and_stops_where_it_fails(tmp_path: Path, name: str) -> None:
    repository = make_repository(tmp_path / name, FILES | {".backspace.toml": f"""
[project]
setup = ["echo installing the tools of {name}", "{INSTALL}"]
test = "{CHECK}"
"""})  # fmt: skip
    program = Program(tmp_path)
    task = ("run", str(repository), "-p", "replace a with b in a.txt", "--model", "offline", "--accept", "verified")
    untrusted = program.run(*task)
    assert f"installing the tools of {name}" not in untrusted.stdout
    assert untrusted.returncode == 3
    done = program.run(*task, "--trust")
    assert done.returncode == 0, done.stderr
    assert f"program    installing the tools of {name}" in done.stdout
    audits = [event.audit for event in read_events(program.sessions[-1]) if isinstance(event, ev.Message)]
    kept = [(audit.user, audit.command, audit.uid, audit.exit_code) for audit in audits if audit is not None]
    assert kept == [("setup", f"echo installing the tools of {name}", 1000, 0), ("setup", INSTALL, 1000, 0)]
    assert "verdict    passes" in done.stdout
    assert git(repository, "branch", "--list", "backspace/*").count("\n") == 1
    (tmp_path / "config.toml").write_text('[project]\nsetup = ["echo no luck; exit 5"]\n')
    failed = program.run(*task)
    assert failed.returncode == 1
    (line,) = [line for line in failed.stderr.splitlines() if "setup" in line]
    assert "setup line 1 (echo no luck; exit 5) failed with exit code 5: no luck; mend it, or give setup the" in line


def test_setup_needs_docker(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", FILES)
    program = Program(tmp_path, BACKSPACE_TUI_PROJECT_SETUP="true")
    done = program.run(
        "run", str(repository), "-p", "replace a with b", "--model", "offline", "--sandbox", "bubblewrap"
    )
    assert done.returncode == 1
    assert "[project] setup needs the docker backend, not bubblewrap" in done.stderr
