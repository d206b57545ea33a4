"""Rolling back over whole sessions: from a script, in the review, while the agent is paused, and when it is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.sessions.objects import Objects
from tests.crash import Human, Script, scene, steps
from tests.models.turns import call
from tests.program import wait_for
from tests.test_control import in_review
from tests.test_review_command import Session, hunks, states

TURNS = (
    call("write_file", path="a.txt", content="1\n"),
    call("write_file", path="a.txt", content="2\n") + call("write_file", path="b.txt", content="2\n"),
    call("run_command", command="echo began; sleep 60 # held"),
)


def files(human: Human) -> dict[str, bytes]:
    with Objects(human.directory / "repo.git") as objects:
        entries = objects.entries(human.state().work_tree)
        return {path: objects.blob(entries[path].oid) for path in ("a.txt", "b.txt") if path in entries}


def edits(human: Human) -> list[int]:
    return [event.seq for event in human.events() if isinstance(event, ev.FileEdit)]


@pytest.mark.bubblewrap
def test_a_script_goes_back_and_forth(bubblewrap: str, tmp_path: Path) -> None:
    session = Session(tmp_path)
    before = hunks(session.review())
    first, second = (event for event in session.events() if isinstance(event, ev.FileEdit))
    shown = session.run("sessions", "show", "last").stdout
    assert f"edit       {second.path}  +{second.added} -{second.removed}  (step {second.seq})" in shown
    why = session.run("review", "last", "--why", before[second.path][0][0]).stdout
    assert re.search(rf"^step +{second.seq}$", why, re.M)

    back = session.review("--roll-back", str(first.seq))
    assert hunks(back) == {first.path: before[first.path]}
    assert session.branches == []
    # What is accepted stays accepted.
    taken = session.review("--roll-back", str(second.seq), "--accept", before[second.path][0][0])
    assert states(taken).count("accepted") == 1
    back = session.review("--roll-back", str(first.seq))
    assert states(back).count("accepted") == 1
    assert hunks(session.review("--roll-back", str(second.seq))) == hunks(taken)
    assert session.branches == []
    said = session.refused("--roll-back", "1", code=1)
    assert "1 is no step of this session; sessions show prints the step of each edit" in said


def test_in_the_review_of_a_running_session(tmp_path: Path) -> None:
    with scene(tmp_path, Script(steps(*TURNS[:2])), "process") as human:
        human.start()
        human.until(in_review, "the review")
        first, second, third = edits(human)
        for step, wanted in (
            (first, {"a.txt": b"1\n"}),
            (third, {"a.txt": b"2\n", "b.txt": b"2\n"}),
            (second, {"a.txt": b"2\n"}),
        ):
            reply = human.send(cmd.RollBack(seq=step))
            assert reply.error == ""
            operation = next(event for event in human.events() if event.seq == reply.seq)
            assert isinstance(operation, ev.GitOperation)
            assert operation.detail == f"rolled back to step {step}"
            assert files(human) == wanted
        refused = human.send(cmd.RollBack(seq=3))
        assert (refused.seq, "\n" in refused.error) == (0, False)
        assert refused.error.startswith("3 is no step of this session")
        human.quit()


def test_while_the_agent_works_it_is_refused_and_between_two_steps_it_is_not(tmp_path: Path) -> None:
    server = Script(steps(*TURNS), "held")
    with scene(tmp_path, server, "process") as human:
        human.start()
        wait_for(lambda: len(edits(human)) == 3, "the edits")
        first = edits(human)[0]
        # The model thinks about its next turn.
        assert human.send(cmd.RollBack(seq=first)).error == "the agent is working; pause or stop it, then roll back"
        server.gates["held"].set()
        wait_for(lambda: any(isinstance(event, ev.ToolOutput) for event in human.events()), "the command")
        assert human.send(cmd.Pause()).error == ""
        refused = human.send(cmd.RollBack(seq=first)).error
        assert (
            refused == "a step is running ($ echo began; sleep 60 # held); wait for its end or stop it, then roll back"
        )
        assert files(human) == {"a.txt": b"2\n", "b.txt": b"2\n"}
        human.send(cmd.Stop())
        human.until(in_review, "the review")
        assert human.send(cmd.RollBack(seq=first)).error == ""
        assert files(human) == {"a.txt": b"1\n"}
        human.quit()


def test_a_paused_agent_goes_on_from_the_earlier_files(tmp_path: Path) -> None:
    server = Script(steps(*TURNS[:2], call("run_command", command="cat a.txt; ls b.txt # held")), "held")
    with scene(tmp_path, server, "process") as human:
        human.start()
        wait_for(lambda: len(edits(human)) == 3, "the edits")
        wait_for(lambda: isinstance(human.events()[-1], ev.ModelCalled), "the agent's next turn")
        assert human.send(cmd.Pause()).error == ""
        first = edits(human)[0]
        server.gates["held"].set()
        wait_for(lambda: finished(human), "the command")
        assert human.send(cmd.RollBack(seq=first)).error == ""
        assert files(human) == {"a.txt": b"1\n"}
        assert human.send(cmd.Resume()).error == ""
        human.until(in_review, "the review")
        bodies = [request.body for request in server.requests if request.body.get("tools")]
        told = [message["content"] for message in bodies[-1]["messages"] if message["role"] == "user"]
        assert told[-1].startswith("The user put all files back as they were at an earlier step.")
        assert files(human) == {"a.txt": b"1\n"}
        human.quit()


def finished(human: Human) -> bool:
    return any(isinstance(event, ev.ToolFinished) and event.tool == "run_command" for event in human.events())
