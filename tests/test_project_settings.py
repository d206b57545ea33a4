"""A repository's own settings: used once the user trusts that very content, and only [project]."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backspace_tui.core import events as ev
from backspace_tui.sessions.log import read_events
from tests.program import Program, git, make_repository

SETTINGS = '[project]\ntest = "grep -q two a.txt"\ndeny_paths = ["generated"]\n'
FILES = {"a.txt": "one\n", "generated/b.txt": "one\n", ".backspace.toml": SETTINGS}
PROMPT = "replace one with two"


@pytest.fixture
def program(tmp_path: Path, bubblewrap: str) -> Program:
    return Program(tmp_path)


def run(program: Program, repository: Path, *options: str) -> tuple[int, str, list[ev.AnyEvent]]:
    before = set(program.sessions)
    done = program.run("run", str(repository), "-p", PROMPT, "--model", "offline", "--sandbox", "bubblewrap", *options)
    new = set(program.sessions) - before
    return done.returncode, done.stderr, read_events(new.pop()) if new else []


def verdicts(events: list[ev.AnyEvent]) -> list[tuple[str, str]]:
    return [(event.command, event.verdict) for event in events if isinstance(event, ev.Verification)]


@pytest.mark.bubblewrap
def test_they_are_used_once_that_content_is_trusted(program: Program, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "shop", FILES)
    code, said, events = run(program, repository, "--accept", "all")
    assert code == 0
    assert "backspace-tui: the repository's .backspace.toml is not used: read it, then start once with --trust" in said
    assert verdicts(events) == [("", "not verified")]

    _, said, events = run(program, repository, "--accept", "all", "--trust")
    assert said == ""
    assert verdicts(events)[-1] == ("grep -q two a.txt", "passes")
    shown = json.loads(program.run("review", "last", "--json").stdout)
    states = {file["path"]: [hunk["state"] for hunk in file["hunks"]] for file in shown["files"]}
    assert states == {"a.txt": ["accepted"], "generated/b.txt": ["pending"]}

    _, said, events = run(program, repository, "--accept", "all")
    assert (said, verdicts(events)[-1][1]) == ("", "passes")

    (repository / ".backspace.toml").write_text(SETTINGS.replace("two", "three"))
    git(repository, "commit", "-qam", "other tests")
    _, said, events = run(program, repository)
    assert "--trust" in said


@pytest.mark.bubblewrap
def test_the_users_own_settings_come_first(program: Program, tmp_path: Path) -> None:
    Path(program.env["BACKSPACE_TUI_CONFIG"]).write_text('[project]\ntest = "true"\n')
    _, _, events = run(program, make_repository(tmp_path / "shop", FILES), "--accept", "all", "--trust")
    assert verdicts(events)[-1] == ("true", "passes")


@pytest.mark.bubblewrap
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[sandbox]\nmemory = '9g'\n", ".backspace.toml: sandbox cannot be set by a repository; only [project] can"),
        (None, "--trust: the repository has no .backspace.toml in its last commit"),
    ],
)
def test_anything_else_is_refused(program: Program, tmp_path: Path, content: str | None, expected: str) -> None:
    files = {"a.txt": "one\n"} | ({".backspace.toml": content} if content else {})
    code, said, events = run(program, make_repository(tmp_path / "shop", files), "--trust")
    assert (code, said, events) == (2, f"backspace-tui: {expected}\n", [])
