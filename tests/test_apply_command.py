"""``sessions apply``: from a session that rests, from one that runs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.sessions import client, store
from tests.program import Program, git, make_repository

pytestmark = [pytest.mark.bubblewrap, pytest.mark.usefixtures("bubblewrap")]

FILES: dict[str, str | bytes] = {"a.txt": "one\n", "b.txt": "one\n"}
BRANCH = "backspace/replace-one-with-two-in-txt"


class Session(Program):
    """A run of the offline agent that ended in its review, with two hunks."""

    def __init__(self, folder: Path, files: dict[str, str | bytes] = FILES) -> None:
        super().__init__(folder)
        git_config = folder / "home" / ".gitconfig"
        git_config.write_text("[user]\n\tname = Uma User\n\temail = uma@example.com\n")
        self.repository = make_repository(folder / "repository", files)
        ran = self.run(
            "run", str(self.repository), "-p", "replace one with two in *.txt", "--model", "offline",
            "--sandbox", "bubblewrap",
        )  # fmt: skip
        assert ran.returncode == 4, ran.stderr

    def apply(self, *options: str, expect: int = 0) -> str:
        done = self.run("sessions", "apply", "last", *options)
        assert done.returncode == expect, done.stderr
        if expect:
            assert done.stdout == ""
            assert done.stderr.count("\n") == 1
        return done.stderr if expect else done.stdout

    def accept(self, *names: str) -> None:
        assert self.run("review", "last", "--accept", *names).returncode == 0

    @property
    def applied(self) -> list[ev.GitOperation]:
        return [e for e in self.events() if isinstance(e, ev.GitOperation) and e.operation == "apply"]

    def text(self, name: str) -> str:
        return (self.repository / name).read_text()


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path)


def test_merged_from_the_command_line(session: Session) -> None:
    log = (session.session / "events.jsonl").read_bytes()
    assert "nothing is accepted yet" in session.apply(expect=1)
    assert "nothing is accepted yet" in session.apply("--uncommitted", expect=1)
    assert (session.session / "events.jsonl").read_bytes() == log
    shown = json.loads(session.run("review", "last", "--json").stdout)
    first = shown["files"][0]["hunks"][0]["id"]
    session.accept(first)
    said = session.apply("--uncommitted")
    assert "wrote one file" in said
    assert sorted([session.text("a.txt"), session.text("b.txt")]) == ["one\n", "two\n"]
    assert git(session.repository, "rev-list", "--count", "main").strip() == "1"
    assert "already applied" in session.apply("--uncommitted")
    git(session.repository, "checkout", "-q", ".")
    # Accepted in part and not committed: that is done first.
    said = session.apply()
    assert f"merged {BRANCH} into main" in said
    assert sorted([session.text("a.txt"), session.text("b.txt")]) == ["one\n", "two\n"]
    assert git(session.repository, "rev-parse", "main") == git(session.repository, "rev-parse", BRANCH)
    assert "already applied" in session.apply()
    assert [e.commit for e in session.applied][-2:] == [git(session.repository, "rev-parse", "main").strip()] * 2
    session.accept("all")
    (session.repository / "b.txt").write_text("mine\n")
    (session.repository / "a.txt").write_text("mine\n")
    assert "your uncommitted changes" in session.apply(expect=1)
    git(session.repository, "checkout", "-q", ".")
    assert "merge " in session.apply()
    assert (session.text("a.txt"), session.text("b.txt")) == ("two\n", "two\n")


def test_applied_by_a_session_that_runs(session: Session) -> None:
    session.accept("all")
    client.launch(cmd.HostRequest(directory=str(session.session)))
    try:
        log = len(session.events())
        assert "fast-forward" in session.apply()
        assert store.is_running(session.session)
    finally:
        with client.Client.connect(session.session) as window:
            window.send(cmd.Quit())
    (event,) = session.applied
    assert event.seq > log
    assert event.branch == "main"
    assert "apply: merged" in session.run("sessions", "show", "last").stdout


def test_a_checkout_that_is_gone(session: Session) -> None:
    session.accept("all")
    session.repository.rename(session.repository.with_name("moved"))
    assert "does not exist" in session.apply(expect=1)


def test_what_makes_tests_fail_is_not_applied(tmp_path: Path) -> None:
    test = "import unittest\n\n\nclass Test(unittest.TestCase):\n    def test(self):\n        "
    test += 'with open("a.txt") as file:\n            self.assertEqual(file.read(), "one\\n")\n'
    session = Session(tmp_path, FILES | {"test_a.py": test})
    shown = json.loads(session.run("review", "last", "--json").stdout)
    session.accept(shown["files"][0]["hunks"][0]["id"])
    done = session.run("sessions", "apply", "last")
    assert done.returncode == 3
    assert "make tests fail that passed before" in done.stderr
    assert session.text("a.txt") == "one\n"
    assert session.applied == []
