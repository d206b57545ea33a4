"""``review``: everything that the keys do, from a script, while the session runs and after its process ended."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.sessions.client import Client
from tests.models.openai_server import OpenAIServer
from tests.models.turns import Turn, call
from tests.program import Program, git, kept, make_repository, processes_of, tree, wait_for

pytestmark = [pytest.mark.bubblewrap, pytest.mark.usefixtures("bubblewrap")]

FILES: dict[str, str | bytes] = {
    "a.txt": "one\n" + "a\n" * 20 + "one\n",
    "b.txt": "one\n",
    "value.py": "VALUE = 1\n",
    "test_value.py": "import unittest\nfrom value import VALUE\n\n\nclass ValueTest(unittest.TestCase):\n"
    "    def test_value(self):\n        self.assertEqual(VALUE, 1)\n",
}
PROMPT = "replace one with two in *.txt"
BRANCH = "backspace/replace-one-with-two-in-txt"


class Session(Program):
    """A run that ended in its review: two hunks in ``a.txt`` and one in ``b.txt``, unless told otherwise."""

    def __init__(self, folder: Path, prompt: str = PROMPT, files: dict[str, str | bytes] | None = None) -> None:
        super().__init__(folder)
        self.repository = make_repository(folder / "repository", files or FILES)
        kept(self.repository)
        self.before = kept(self.repository)
        ran = self.run("run", str(self.repository), "-p", prompt, "--model", "offline", "--sandbox", "bubblewrap")
        assert ran.returncode == 4, ran.stderr
        assert f"see its hunks with: backspace-tui review {self.session.name}" in ran.stderr

    def review(self, *options: str, expect: int = 0) -> Any:
        """The review as JSON after the decisions that the options make."""
        done = self.run("review", "last", "--json", *options)
        assert done.returncode == expect, done.stderr
        self.said = done.stderr
        return json.loads(done.stdout)

    def refused(self, *options: str, code: int) -> str:
        """The one line that refuses the options; nothing is logged then."""
        before = (self.session / "events.jsonl").read_bytes()
        done = self.run("review", "last", *options)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        assert done.stderr.startswith("backspace-tui: ")
        assert done.stderr.count("\n") == 1
        assert (self.session / "events.jsonl").read_bytes() == before
        return done.stderr

    @property
    def branches(self) -> list[str]:
        return git(self.repository, "branch", "--list", "--format=%(refname:short)", "backspace/*").split()

    def content(self, path: str, branch: str = BRANCH) -> bytes:
        return tree(self.repository, branch)[path][1]


def hunks(shown: Any) -> dict[str, list[tuple[str, str]]]:
    """By path, the hunks' ids and states."""
    return {file["path"]: [(item["id"], item["state"]) for item in file["hunks"]] for file in shown["files"]}


def states(shown: Any) -> list[str]:
    return [item["state"] for file in shown["files"] for item in file["hunks"]]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path)


def test_the_json_has_the_documented_shape(session: Session) -> None:
    shown = session.review()
    assert shown.keys() == {"files", "verification"}
    assert shown["verification"].keys() == {"tree", "verdict"}
    assert [file["path"] for file in shown["files"]] == ["a.txt", "b.txt"]
    for file in shown["files"]:
        assert file.keys() == {"path", "state", "hunks"}
        assert file["state"] == "pending"
        for item in file["hunks"]:
            assert item.keys() == {"id", "state", "old_start", "new_start", "lines", "why"}
            edit = next(event for event in session.events() if event.seq == item["why"])
            assert isinstance(edit, ev.FileEdit)
            assert edit.path == file["path"]
    first, second = shown["files"][0]["hunks"]
    assert (first["old_start"], first["new_start"]) == (1, 1)
    assert first["lines"] == [["-", "one"], ["+", "two"], [" ", "a"], [" ", "a"], [" ", "a"]]
    assert (second["old_start"], second["new_start"]) == (19, 19)
    assert session.review() == shown


def test_decisions_are_recorded_and_taken_back(session: Session) -> None:
    (first, _), (second, _) = hunks(session.review())["a.txt"]
    (other, _) = hunks(session.review())["b.txt"][0]
    assert states(session.review("--accept", first)) == ["accepted", "pending", "pending"]
    assert states(session.review("--undo")) == ["pending", "pending", "pending"]
    assert states(session.review("--accept", first, "--reject", second)) == ["accepted", "rejected", "pending"]
    assert states(session.review("--unstage", first, "--comment", f"{other}=why = not?")) == [
        "pending", "rejected", "pending",
    ]  # fmt: skip
    shown = session.run("review", "last").stdout
    assert "(why = not?)" in shown
    assert "1 of 3 hunks decided" in shown
    assert session.branches == []
    assert processes_of(session.session) == []
    assert kept(session.repository) == session.before


def test_once_nothing_is_undecided_the_accepted_is_verified_and_committed(session: Session) -> None:
    (first, _), (second, _) = hunks(session.review())["a.txt"]
    session.review("--accept", first)
    assert session.branches == []
    shown = session.review("--reject", second, "--accept", "all")
    assert states(shown) == ["accepted", "rejected", "accepted"]
    assert shown["verification"]["verdict"] == "passes"
    assert session.branches == [BRANCH]
    expected = tree(session.repository, "HEAD")
    expected["a.txt"] = ("100644", ("two\n" + "a\n" * 20 + "one\n").encode())
    expected["b.txt"] = ("100644", b"two\n")
    assert tree(session.repository, BRANCH) == expected
    assert "verdict    passes" in session.said
    # Another decision reopens the review, and the branch still holds one commit.
    assert states(session.review("--unstage", first)) == ["pending", "rejected", "accepted"]
    assert session.content("a.txt").startswith(b"two")
    session.review("--reject", first)
    assert session.content("a.txt").startswith(b"one")
    assert session.content("b.txt") == b"two\n"
    assert len(git(session.repository, "rev-list", f"main..{BRANCH}").split()) == 1
    assert kept(session.repository) == session.before
    assert processes_of(session.session) == []


def test_what_makes_tests_fail_is_not_committed(tmp_path: Path) -> None:
    session = Session(tmp_path, "replace 1 with 2 in value.py then replace one with two in b.txt")
    shown = session.review("--accept", "all", expect=3)
    assert shown["verification"]["verdict"] == "newly fails"
    assert session.said.endswith("backspace-tui: the accepted changes make tests fail that passed before\n")
    assert session.branches == []
    (bad, _), *_ = hunks(shown)["value.py"]
    shown = session.review("--unstage", bad, "--verify")
    assert (states(shown), shown["verification"]["verdict"]) == (["accepted", "pending"], "passes")
    assert session.branches == []
    session.review("--reject", bad)
    (branch,) = session.branches
    assert session.content("value.py", branch) == b"VALUE = 1\n"
    assert session.content("b.txt", branch) == b"two\n"
    runs = [event.verdict for event in session.events() if isinstance(event, ev.Verification)]
    assert runs == ["baseline", "running", "newly fails", "running", "passes"]


def test_the_local_request_is_shown_and_stored(session: Session) -> None:
    (first, _), *_ = hunks(session.review())["a.txt"]
    done = session.run("review", "last", "--accept", first, "--pull-request")
    assert done.returncode == 0, done.stderr
    (request,) = (event for event in session.events() if isinstance(event, ev.PrCreation))
    assert (request.forge, request.branch, request.base) == ("local", BRANCH, "main")
    assert request.commit == git(session.repository, "rev-parse", BRANCH).strip()
    assert f"request    {request.title}" in done.stdout
    for line in request.body.splitlines():
        assert line in done.stdout
    assert "replace one with two" in request.body
    assert "a.txt" in request.body
    assert "2 were left out" in request.body
    assert session.content("a.txt") == ("two\n" + "a\n" * 20 + "one\n").encode()
    # Asked for again it is there already; more accepted brings it up to date.
    assert session.run("review", "last", "--pull-request").returncode == 0
    assert session.run("review", "last", "--accept", "all", "--pull-request").returncode == 0
    assert session.content("a.txt") == ("two\n" + "a\n" * 20 + "two\n").encode()
    assert len(git(session.repository, "rev-list", f"main..{BRANCH}").split()) == 1


def test_what_runs_on_someones_machine_needs_its_own_confirmation(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {".github/workflows/ci.yml": "run: one\n", "b.txt": "one\n"}
    session = Session(tmp_path, "replace one with two", files)
    shown = session.review("--accept", "all")
    assert states(shown) == ["pending", "accepted"]
    assert session.branches == []
    assert "1 of the undecided run on someone's machine" in session.run("review", "last").stdout
    (workflow, _), *_ = hunks(shown)[".github/workflows/ci.yml"]
    assert "own confirmation" in session.refused("--accept", workflow, code=1)
    session.review("--accept", workflow, "--accept-protected")
    (branch,) = session.branches
    assert session.content(".github/workflows/ci.yml", branch) == b"run: two\n"


def test_wrong_options_change_nothing(session: Session) -> None:
    (first, _), *_ = hunks(session.review())["a.txt"]
    assert "there is no hunk 0123456789ab" in session.refused("--accept", first, "0123456789ab", code=2)
    assert "there is no hunk" in session.refused("--comment", "0123456789ab=x", "--accept", first, code=2)
    assert "HUNK=TEXT" in session.refused("--comment", first, code=2)
    assert "nothing is accepted" in session.refused("--verify", code=1)
    assert "nothing is accepted" in session.refused("--pull-request", code=1)
    assert "is not accepted" in session.refused("--unstage", first, code=1)
    assert "no decision to undo" in session.refused("--undo", code=1)
    assert processes_of(session.session) == []


def test_the_review_works_while_the_agent_does(tmp_path: Path) -> None:
    program = Program(tmp_path, OPENAI_API_KEY="sk-0123456789")
    repository = make_repository(tmp_path / "repository", FILES)
    turns = [
        call("edit_file", path="b.txt", old="one", new="two"),
        Turn(fault="hang"),
    ]
    with OpenAIServer(turns, texts=["1. edit"]) as server:
        program.env["OPENAI_BASE_URL"] = server.url
        run = program.start("run", str(repository), "-p", "x", "--model", "openai/test", "--sandbox", "bubblewrap")
        server.wait_for_requests(3, 60)
        shown = json.loads(program.run("review", "last", "--json").stdout)
        ((hunk, state),) = hunks(shown)["b.txt"]
        assert state == "pending"
        decided = program.run("review", "last", "--json", "--accept", hunk)
        assert decided.returncode == 0, decided.stderr
        assert hunks(json.loads(decided.stdout))["b.txt"] == [(hunk, "accepted")]
        refused = program.run("review", "last", "--pull-request")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "the agent is still working" in refused.stderr
        with Client.connect(program.session) as connection:
            connection.send(cmd.Stop())
        assert run.wait(60) == 4
        run.communicate()
    assert json.loads(program.run("review", "last", "--json").stdout) == json.loads(decided.stdout)
    assert program.run("review", "last", "--pull-request").returncode == 0
    assert tree(repository, "backspace/x")["b.txt"] == ("100644", b"two\n")


def test_a_killed_session_is_reviewed_without_waking_its_agent(tmp_path: Path) -> None:
    program = Program(tmp_path, OPENAI_API_KEY="sk-0123456789")
    repository = make_repository(tmp_path / "repository", FILES)
    turns = [call("edit_file", path="b.txt", old="one", new="two"), Turn(fault="hang")]
    with OpenAIServer(turns, texts=["1. edit"]) as server:
        program.env["OPENAI_BASE_URL"] = server.url
        run = program.start("run", str(repository), "-p", "x", "--model", "openai/test", "--sandbox", "bubblewrap")
        server.wait_for_requests(3, 60)
        for process in processes_of(program.session):
            os.kill(process, signal.SIGKILL)
        assert run.wait(60) == 1
        _, err = run.communicate()
        assert b"was killed" in err
        wait_for(lambda: not processes_of(program.session), "the processes to be gone")
        asked = len(server.bodies)
        done = program.run("review", "last", "--json", "--accept", "all")
        assert done.returncode == 0, done.stderr
        assert states(json.loads(done.stdout)) == ["accepted"]
        assert len(server.bodies) == asked
        assert program.run("review", "last", "--pull-request").returncode == 0
        assert len(server.bodies) == asked
    assert tree(repository, "backspace/x")["b.txt"] == ("100644", b"two\n")


def test_one_of_two_same_hunks_is_rejected_while_the_agent_asks(tmp_path: Path) -> None:
    program = Program(tmp_path, OPENAI_API_KEY="sk-0123456789")
    repository = make_repository(tmp_path / "repository", FILES)
    turns = [
        call("edit_file", path="a.txt", old="one", new="two", replace_all=True),
        call("ask_user", question="Like this?"),
        call("finish", summary="Done."),
    ]
    with OpenAIServer(turns, texts=["1. edit", "APPROVE"]) as server:
        program.env["OPENAI_BASE_URL"] = server.url
        options = ("-p", "x", "--model", "openai/test", "--sandbox", "bubblewrap")
        assert program.run("run", str(repository), *options).returncode == 4
        shown = json.loads(program.run("review", "last", "--json").stdout)
        (_, _), (second, _) = hunks(shown)["a.txt"]
        decided = program.run("review", "last", "--json", "--reject", second)
        assert decided.returncode == 0, decided.stderr
        assert states(json.loads(decided.stdout)) == ["pending", "rejected"]
        resumed = program.run("resume", "last", "--answer", "no")
        assert resumed.returncode == 4, resumed.stderr
        told = json.dumps(server.bodies[-2]["messages"][-1])
    assert "The user rejected these changes" in told
    done = program.run("review", "last", "--accept", "all")
    assert done.returncode == 0, done.stderr
    assert tree(repository, "backspace/x")["a.txt"][1] == ("two\n" + "a\n" * 20 + "one\n").encode()
