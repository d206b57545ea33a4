"""Undone rejections come back into the agent's files, each alone, also while the agent rests."""

from __future__ import annotations

from pathlib import Path

from backspace_tui.core import commands as cmd
from backspace_tui.core.state import SessionState
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import review
from tests.crash import Human, Script, scene, steps
from tests.models.turns import call

LINES = [f"line {number}\n" for number in range(30)]
FILES = {"a.txt": "".join(LINES)}
FIRST = call("edit_file", path="a.txt", old="line 2\n", new="first\n")
SECOND = call("edit_file", path="a.txt", old="line 25\n", new="second\n")


def content(human: Human) -> str:
    state = human.state()
    with Objects(human.directory / "repo.git") as objects:
        return objects.blob(objects.entries(state.work_tree)["a.txt"].oid).decode()


def hunk(human: Human, line: str) -> str:
    with Objects(human.directory / "repo.git") as objects:
        shown = review(objects, human.state())
    (found,) = [
        item.hunk.id
        for file in shown.files
        for item in file.hunks
        if ("+", line.encode()) in item.hunk.lines and item.state != "accepted"
    ]
    return found


def resting(state: SessionState) -> bool:
    return state.stage == "review" and state.stage_open


def test_one_of_two_rejections_of_a_file_comes_back_while_the_agent_rests(tmp_path: Path) -> None:
    server = Script(steps(FIRST + SECOND, call("run_command", command="echo on")), "echo on")
    with scene(tmp_path, server, "process", files=FILES) as human:
        human.start()
        human.until(lambda state: len(state.edits.get("a.txt", ())) == 2, "both edits")
        for line in ("first", "second"):
            assert not human.send(cmd.Decide(hunks=(hunk(human, line),), action="reject")).error
        server.gates["echo on"].set()
        human.until(resting, "the review")
        human.until(lambda state: not state.pending_rejections, "the rejections")
        assert content(human) == FILES["a.txt"]
        human.undo()
        human.until(lambda state: not state.restorations, "the way back")
        assert content(human) == FILES["a.txt"].replace("line 25\n", "second\n")
        assert [item.path for item in human.state().rejected.values()] == ["a.txt"]
        assert not human.send(cmd.Decide(hunks=(hunk(human, "second"),), action="accept")).error
        human.undo()
        human.undo()
        human.until(lambda state: not state.restorations, "the way back of the first")
        assert content(human) == FILES["a.txt"].replace("line 25\n", "second\n").replace("line 2\n", "first\n")
