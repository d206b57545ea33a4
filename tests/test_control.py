"""Pause, steer, stop, decide and undo over the socket while the agent works; what ends a session, and how."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.config import BudgetSettings, Settings
from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState
from backspace_tui.sessions import client
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.store import is_running
from tests.crash import Human, Script, scene, steps
from tests.models.turns import Turn, call, fault, text
from tests.program import git, wait_for

WRITE = call("write_file", path="a.txt", content="a\n")


def in_review(state: SessionState) -> bool:
    return state.stage == "review" and state.stage_open


def is_done(state: SessionState) -> bool:
    return state.stage == "done" and state.stage_open


def work(human: Human) -> dict[str, str]:
    """The agent's files as the log knows them."""
    state = human.state()
    with Objects(human.directory / "repo.git") as objects:
        return {
            path: objects.blob(entry.oid).decode()
            for path, entry in objects.entries(state.work_tree).items()
            if path not in ("cart.py", "tests/test_cart.py")
        }


def conversation(server: Script, turn: int = -1) -> list[str]:
    return [m["content"] for m in [body for body in server.bodies if body.get("tools")][turn]["messages"]]


def test_pause_steer_and_go_on(tmp_path: Path) -> None:
    server = Script(steps(WRITE, call("run_command", command="echo one")), "echo one")
    with scene(tmp_path, server, "process", headless=True) as human:
        human.start()
        human.until(lambda state: "a.txt" in state.edits, "the edit")
        with client.Client.connect(human.directory) as window:
            assert window.send(cmd.Pause()).seq
            assert window.send(cmd.Pause()).error == "the agent is not working, so there is nothing to pause"
            server.gates["echo one"].set()
            human.until(lambda _: "one" in str(human.events()[-1]), "the end of the turn")
            assert window.send(cmd.Say(text="mind the gap")).seq
            assert window.send(cmd.Resume()).seq
            human.until(in_review, "the review")
        state = human.ended()
    assert (state.status, state.exit_code) == ("waiting", 4)
    kinds = [type(event).__name__ for event in human.events()]
    assert "ModelCalled" not in kinds[kinds.index("Paused") : kinds.index("Resumed")]
    assert conversation(server).count("mind the gap") == 1


def test_a_paused_run_without_a_window_waits_for_a_person(tmp_path: Path) -> None:
    server = Script(steps(WRITE, call("run_command", command="echo one")), "echo one")
    with scene(tmp_path, server, "process", headless=True) as human:
        human.start()
        human.until(lambda state: "a.txt" in state.edits, "the edit")
        assert human.send(cmd.Pause()).seq
        server.gates["echo one"].set()
        state = human.ended()
        assert (state.status, state.exit_code, state.error) == ("waiting", 4, "paused")
        human.start(cmd.Resume())
        state = human.ended()
    assert (state.stage, state.status, state.exit_code) == ("review", "waiting", 4)


@pytest.mark.parametrize("while_in", ["command", "model"])
def test_stop_keeps_the_work_and_a_prompt_goes_on(tmp_path: Path, while_in: str) -> None:
    def slow(body: Mapping[str, Any]) -> Turn:
        said = [message["content"] for message in body["messages"]]
        if "go on" in said and "echo more" not in str(body["messages"]):
            return call("run_command", command="echo more > more.txt")
        turn = steps(WRITE, call("run_command", command="echo begun; sleep 600") + call("list_files"))(body)
        hangs = while_in == "model" and turn.calls and turn.calls[0].arguments.get("command")
        return fault("hang") if hangs and "go on" not in said else turn

    server = Script(slow)
    with scene(tmp_path, server, "process") as human:
        human.start()
        if while_in == "command":
            human.until(lambda _: any(isinstance(event, ev.ToolOutput) for event in human.events()), "the command")
        else:
            server.wait_for_requests(3)
        assert not human.send(cmd.Stop()).error
        state = human.until(in_review, "the review")
        assert work(human) == {"a.txt": "a\n"}
        assert state.question is None
        human.decide("accept", "a.txt")
        human.say("go on")
        human.until(lambda state: "more.txt" in state.edits, "the follow-up")
        human.until(in_review, "the review after it")
        human.decide("accept", "more.txt")
        human.publish()
        human.until(is_done, "the request")
        branch = human.state().branch
        assert git(human.repository, "show", f"{branch}:more.txt") == "more\n"
        assert git(human.repository, "rev-list", "--count", f"main..{branch}") == "1\n"
    results = [event.text for event in human.events() if isinstance(event, ev.ToolFinished)]
    if while_in == "command":
        assert results[1].startswith("stopped by the user")
        assert results[2] == "not run: the user stopped the work"
    stops = [e for e in human.events() if isinstance(e, ev.StageFinished) and e.outcome == "stopped"]
    assert [event.stage for event in stops] == ["implement"]


def test_stop_takes_an_open_question_away(tmp_path: Path) -> None:
    server = Script(steps(WRITE, call("ask_user", question="Really?")))
    with scene(tmp_path, server, "process") as human:
        human.start()
        human.until(lambda state: state.question is not None and state.status == "waiting", "the question")
        assert not human.send(cmd.Stop()).error
        state = human.until(in_review, "the review")
        assert state.question is None
        assert human.send(cmd.Answer(text="yes")).error == "nothing is being asked"
        assert work(human) == {"a.txt": "a\n"}


def test_what_is_said_while_a_turn_is_the_last_is_not_lost(tmp_path: Path) -> None:
    def listening(body: Mapping[str, Any]) -> Turn:
        if "one more thing" in [message["content"] for message in body["messages"]]:
            return call("finish", summary="Heard it.")
        return steps(WRITE, call("finish", summary="Done at last."))(body)

    server = Script(listening, "Done at last")
    with scene(tmp_path, server, "process", headless=True) as human:
        human.start()
        human.until(lambda state: "a.txt" in state.edits, "the edit")
        wait_for(lambda: isinstance(human.events()[-1], ev.ModelCalled), "the last turn")
        assert human.send(cmd.Say(text="one more thing")).seq
        server.gates["Done at last"].set()
        human.ended()
    assert conversation(server).count("one more thing") == 1
    assert human.state().unheard is None


def test_what_is_said_while_it_is_published_comes_after(tmp_path: Path) -> None:
    heard = "and b.txt"

    def listening(body: Mapping[str, Any]) -> Turn:
        said = [message["content"] for message in body["messages"]]
        if heard in said and "wrote b.txt" not in str(body["messages"]):
            return call("write_file", path="b.txt", content="b\n")
        return steps(WRITE)(body)

    server = Script(listening)
    with scene(tmp_path, server, "process") as human:
        human.start()
        human.until(in_review, "the review")
        human.decide("accept", "a.txt")
        with client.Client.connect(human.directory) as window:
            assert window.send(cmd.Publish()).seq
            # Whatever stage it is by now, it is past the review that took up the command.
            assert window.send(cmd.Say(text=heard)).seq
        human.until(lambda state: "b.txt" in state.edits and in_review(state), "the follow-up")
        assert len(human.state().commits) == 1
        assert human.state().request is not None


def test_decisions_while_it_is_verified_are_for_the_next_commit(tmp_path: Path) -> None:
    files = {"cart.py": "one\n", "Makefile": "test:\n\techo begun; sleep 1\n"}
    server = Script(steps(WRITE, call("write_file", path="b.txt", content="b\n")))
    with scene(tmp_path, server, "process", files=files) as human:
        human.start()
        human.until(in_review, "the review")
        human.decide("accept", "a.txt")
        asked = human.state().accepted_tree
        human.publish()
        human.until(lambda state: bool(state.verifying), "the verification")
        human.decide("accept", "b.txt")
        assert human.state().commit == ""
        state = human.until(lambda state: state.request is not None and in_review(state), "the reopened review")
        assert (state.committed_tree, state.request_stale) == (asked, True)
        assert git(human.repository, "ls-tree", "--name-only", f"{state.branch}:").split() == [
            "Makefile", "a.txt", "cart.py",
        ]  # fmt: skip
        human.publish()
        state = human.until(lambda state: is_done(state) and len(state.commits) == 2, "the second commit")
        assert not state.request_stale
        assert git(human.repository, "rev-list", "--count", f"main..{state.branch}") == "1\n"
        assert set(state.verdicts) == {asked, state.accepted_tree}


def test_undo_of_accept_reject_and_groups(tmp_path: Path) -> None:
    files = call("write_file", path="debug.txt", content="x\n") + call("write_file", path="keep.txt", content="k\n")
    gates = ("echo one", "echo two", "echo three")
    turns = [call("run_command", command=f"{gate}; ls") for gate in gates]
    server = Script(steps(files, *turns), *gates)
    with scene(tmp_path, server, "process") as human:
        human.start()
        human.until(lambda state: "keep.txt" in state.edits, "the files")
        base = human.state().accepted_tree
        human.decide("reject", "debug.txt")
        human.undo()
        assert human.state().rejected == {}
        human.decide("reject", "debug.txt", comment="no debugging")
        server.gates["echo one"].set()
        human.until(lambda state: any(item.applied for item in state.rejected.values()), "the rejection")
        assert work(human) == {"keep.txt": "k\n"}
        human.undo()
        server.gates["echo two"].set()
        human.until(lambda state: "debug.txt" in work(human), "the way back")
        assert human.state().restorations == ()
        human.decide("accept", "debug.txt", "keep.txt")
        human.undo()
        assert human.state().accepted_tree == base
        server.gates["echo three"].set()
        human.until(in_review, "the review")
        human.decide("accept", "keep.txt")
        assert human.send(cmd.Decide(hunks=human.hunks("keep.txt"), action="reject")).error
        human.publish()
        state = human.until(is_done, "the request")
        assert git(human.repository, "ls-tree", "--name-only", f"{state.branch}:").split() == [
            "cart.py", "keep.txt", "tests",
        ]  # fmt: skip
    said = "\n".join(conversation(server))
    assert said.count("no debugging") == 1
    assert said.count("took rejections back") == 1
    listings = [event.text for event in human.events() if isinstance(event, ev.ToolFinished)][2:5]
    assert ["debug.txt" in listing for listing in listings] == [True, False, True]


def test_an_accepted_rejection_is_rejected_again_when_that_is_undone(tmp_path: Path) -> None:
    with scene(tmp_path, Script(steps(WRITE)), "process") as human:
        human.start()
        human.until(in_review, "the review")
        human.decide("reject", "a.txt", comment="not this")
        human.decide("accept", "a.txt")
        assert human.state().rejected == {}
        human.undo()
        assert [item.comment for item in human.state().rejected.values()] == ["not this"]


def test_a_budget_stops_a_headless_run_and_resuming_gives_as_much_again(tmp_path: Path) -> None:
    settings = Settings(budget=BudgetSettings(turns=2))
    server = Script(steps(WRITE, call("run_command", command="echo one"), call("run_command", command="echo two")))
    with scene(tmp_path, server, "process", settings=settings, headless=True) as human:
        human.start()
        state = human.ended()
        assert (state.status, state.exit_code) == ("waiting", 4)
        assert state.error == "budget: 2 turns taken of 2 ([budget] turns)"
        human.start(cmd.Resume())
        state = human.ended()
        assert (state.exit_code, state.turns) == (4, 4)
        human.start(cmd.Resume())
        assert human.ended().stage == "review"


def test_an_automatic_acceptance_is_made_once(tmp_path: Path) -> None:
    with scene(tmp_path, Script(steps(WRITE)), "process", accept="all", headless=True) as human:
        human.start()
        state = human.ended()
        assert (state.status, len(state.commits)) == ("done", 1)
        human.headless = False
        human.start()
        human.decide("unstage", "a.txt")
        state = human.until(in_review, "the reopened review")
        assert state.request_stale
        assert state.accepted_tree == state.base_tree
        assert "nothing is accepted" in human.send(cmd.Publish()).error


def test_commands_that_make_no_sense_are_answered_in_a_line(tmp_path: Path) -> None:
    server = Script(steps(WRITE, text("Thinking.") + call("run_command", command="echo one")), "echo one")
    with scene(tmp_path, server, "process") as human:
        human.start()
        human.until(lambda state: "a.txt" in state.edits, "the edit")
        errors = {
            type(command).__name__: human.send(command).error
            for command in (
                cmd.Say(text=" "),
                cmd.Answer(text="x"),
                cmd.Resume(),
                cmd.Undo(),
                cmd.Decide(hunks=(), action="accept"),
                cmd.Publish(),
            )
        }
        assert errors == {
            "Say": "say something",
            "Answer": "nothing is being asked",
            "Resume": "the session is not paused",
            "Undo": "there is no decision to undo",
            "Decide": "name a hunk",
            "Publish": "nothing is accepted yet; accept a hunk first",
        }
        human.decide("accept", "a.txt")
        assert "still working" in human.send(cmd.Publish()).error


def test_a_stop_survives_the_death_of_the_process_that_took_it(tmp_path: Path) -> None:
    server = Script(steps(WRITE, call("run_command", command="echo begun; trap '' TERM; sleep 600")))
    (tmp_path / "died").mkdir()
    with scene(tmp_path / "died", server, "process", mode="after", only="StopAsked") as human:
        human.start()
        human.until(lambda _: any(isinstance(event, ev.ToolOutput) for event in human.events()), "the command")
        # The process dies when the stop stands in its log, and before it is carried out.
        with pytest.raises(SessionError):
            human.send(cmd.Stop())
        wait_for(lambda: not is_running(human.directory), "the process to die")
        assert human.state().stopping
        asked = len(server.bodies)
        human.start(cmd.Say(text="go on"))
        human.until(lambda state: "go on" in [m["content"] for m in server.bodies[-1]["messages"]], "the prompt")
        state = human.until(in_review, "the review")
        assert not state.stopping
    assert len(server.bodies) > asked
    stops = [e for e in human.events() if isinstance(e, ev.StageFinished) and e.outcome == "stopped"]
    assert [event.stage for event in stops] == ["implement"]
    results = [event.text for event in human.events() if isinstance(event, ev.ToolFinished)]
    assert results[1] == "not run: the user stopped the work"
    assert sum(isinstance(event, ev.StopAsked) for event in human.events()) == 1
