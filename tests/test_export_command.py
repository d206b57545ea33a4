"""``sessions export`` and ``import`` as a user runs them: files, refusals, and a session that moved."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from backspace_tui.sessions.log import read_events
from tests.program import Program, git, make_repository

pytestmark = [pytest.mark.bubblewrap, pytest.mark.usefixtures("bubblewrap")]

TOKEN = "tok-4f9a-8c21-77de-never-shown"


class Session(Program):
    """A run of the offline agent whose files hold a token of the environment."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        repository = make_repository(folder / "repository", {"a.txt": f"one\nkey {TOKEN}\n", "b.txt": "one\n"})
        ran = self.run(
            "run", str(repository), "-p", "replace one with two in *.txt", "--model", "offline",
            "--sandbox", "bubblewrap",
        )  # fmt: skip
        assert ran.returncode == 4, ran.stderr
        accepted = self.run("review", "last", "--accept", "all")
        assert accepted.returncode == 0, accepted.stderr
        self.env["MY_SERVICE_TOKEN"] = TOKEN

    def says(self, *arguments: str, expect: int = 0) -> str:
        done = self.run(*arguments)
        assert done.returncode == expect, done.stderr
        if expect:
            assert done.stderr.count("\n") == 1
        return done.stderr if expect else done.stdout


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path)


def test_every_format_goes_into_a_private_file_without_secrets(session: Session, tmp_path: Path) -> None:
    for kind in ("markdown", "html", "cast", "jsonl"):
        file = tmp_path / f"out.{kind}"
        session.says("sessions", "export", "last", "--format", kind, "-o", str(file))
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        text = file.read_text("utf-8")
        assert TOKEN not in text
        before = file.read_bytes()
        refused = session.says("sessions", "export", "last", "--format", kind, "-o", str(file), expect=2)
        assert "is there already: --force replaces it" in refused
        assert file.read_bytes() == before
        session.says("sessions", "export", "last", "--format", kind, "-o", str(file), "--force")
        if kind == "markdown":
            assert "+two" in text
            assert "[secret:" in text
            assert session.says("sessions", "export", "last", "-o", "-") == text
    assert "folder does not exist" in session.says("sessions", "export", "last", "-o", "/nowhere/x", expect=2)
    assert "is a folder" in session.says("sessions", "export", "last", "-o", str(tmp_path), expect=2)
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_fork_moves_as_well(session: Session, tmp_path: Path) -> None:
    session.says("sessions", "fork", session.session.name)
    fork = next(path for path in session.sessions if "forked_from" in (path / "events.jsonl").read_text())
    file = tmp_path / "fork.jsonl"
    session.says("sessions", "export", fork.name, "--format", "jsonl", "-o", str(file))
    other = Program(tmp_path / "other")
    done = other.run("sessions", "import", str(file))
    assert done.returncode == 0, done.stderr
    assert [event.seq for event in other.events()] == [event.seq for event in read_events(fork)]
    assert json.loads(other.run("review", "last", "--json").stdout)["files"]


def test_a_session_moves_to_another_machine(session: Session, tmp_path: Path) -> None:
    # Masked files would be other objects, which no clone shares.
    del session.env["MY_SERVICE_TOKEN"]
    file = tmp_path / "moved.jsonl"
    session.says("sessions", "export", "last", "--format", "jsonl", "-o", str(file))
    other = Program(tmp_path / "other")
    done = other.run("sessions", "import", str(file))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == other.session.name == session.session.name
    assert [type(event) for event in read_events(other.session)] == [type(event) for event in session.events()]
    shown = json.loads(other.run("review", "last", "--json").stdout)
    assert [item["path"] for item in shown["files"]] == ["a.txt", "b.txt"]
    assert "tool " in other.run("sessions", "show", "last").stdout
    again = tmp_path / "again.jsonl"
    assert other.run("sessions", "export", "last", "--format", "jsonl", "-o", str(again)).returncode == 0
    count = len(read_events(other.session)) + 1
    assert again.read_bytes().split(b"\n")[:count] == file.read_bytes().split(b"\n")[:count]
    log = (other.session / "events.jsonl").read_bytes()
    for command in (
        ["resume", "last"],
        ["review", "last", "--undo"],
        ["review", "last", "--verify"],
        ["sessions", "fork", "last"],
    ):
        refused = other.run(*command)
        assert refused.returncode == 1
        assert "was imported, so it can be read but not run" in refused.stderr
    refused = other.run("sessions", "apply", "last")
    assert refused.returncode == 1
    assert "was imported: in a clone of yours, git fetch " in refused.stderr
    assert (other.session / "events.jsonl").read_bytes() == log
    # The hint that it gives does what it says.
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(tmp_path / "repository"), str(clone))
    branch = "backspace/replace-one-with-two-in-txt"
    git(clone, "fetch", "-q", str(other.session / "repo.git"), branch)
    assert git(clone, "show", "FETCH_HEAD:b.txt") == "two\n"
    refused = other.run("sessions", "import", str(session.session / "events.jsonl"))
    assert refused.returncode == 2
    assert "is not the header of an exported session" in refused.stderr
