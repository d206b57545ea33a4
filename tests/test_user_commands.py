"""Commands of the user in the agent's sandbox, over whole sessions."""

from __future__ import annotations

from pathlib import Path

import pytest

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import review
from backspace_tui.sessions.why import why
from tests.crash import Script, scene, steps
from tests.models.turns import call
from tests.program import wait_for
from tests.test_control import conversation, in_review, work
from tests.user import BACKENDS, WRITE, needs, of, resting


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return needs(request, request.param)


def test_a_command_of_the_user(tmp_path: Path, backend: str) -> None:
    with resting(tmp_path, backend) as (human, server):
        reply = human.send(cmd.RunForUser(command="echo mine >> a.txt; echo sa''id; echo new > b.txt; exit 3"))
        (finished,) = wait_for(lambda: of(human.events(), ev.ToolFinished, by="user"), "the command")
        events = human.events()
        (started,) = of(events, ev.ToolStarted, by="user")
        assert (reply.error, reply.seq) == ("", started.seq)
        assert (started.tool, started.title.startswith("$ echo mine")) == ("run_command", True)
        assert [event.text for event in of(events, ev.ToolOutput, call_id=started.call_id)] == ["said\n"]
        assert (finished.exit_code, finished.ok) == (3, False)
        audit = finished.audit
        assert (audit.user, audit.exit_code, audit.command) == ("user", 3, started.arguments["command"])
        assert audit.started is not None
        assert [event.path for event in of(events, ev.FileEdit, by="user")] == ["a.txt", "b.txt"]
        (snapshot,) = of(events, ev.GitOperation, operation="snapshot")
        assert (snapshot.detail, snapshot.snapshot) == ("user", human.state().snapshot)
        assert work(human) == {"a.txt": "a\nmine\n", "b.txt": "new\n"}
        with Objects(human.directory / "repo.git") as objects:
            shown = {file.path: file.hunks[0].why for file in review(objects, human.state()).files}
        found = why(events, shown["b.txt"])
        assert found is not None
        assert found.title.startswith("you: $ echo mine")
        # It is no prompt: the agent rests, and hears of it with the next one.
        assert human.state().stage == "review"
        human.say("now write c")
        wait_for(lambda: len(conversation(server)) > 4 and conversation(server)[-1] == "now write c", "the next turn")
        assert (
            conversation(server)[-2]
            == f"[user] ran: {started.arguments['command']} (exit code 3); changed: a.txt, b.txt"
        )
        assert "said" not in str(conversation(server))


def test_a_command_that_changes_nothing_leaves_no_edit(tmp_path: Path) -> None:
    with resting(tmp_path) as (human, _):
        before = human.state()
        assert human.send(cmd.RunForUser(command="  ")).error == "name the command to run"
        human.send(cmd.RunForUser(command="true"))
        (finished,) = wait_for(lambda: of(human.events(), ev.ToolFinished, by="user"), "the command")
        assert finished.text == "[user] ran: true (exit code 0)"
        assert not of(human.events(), ev.FileEdit, by="user")
        assert human.state().snapshot == before.snapshot


def test_stop_ends_the_users_command_and_not_the_session(tmp_path: Path) -> None:
    with resting(tmp_path) as (human, _):
        human.send(cmd.RunForUser(command="echo half > h.txt; echo begun; sleep 1000"))
        wait_for(lambda: any("begun" in piece.text for piece in of(human.events(), ev.ToolOutput)), "its output")
        assert human.send(cmd.Stop()).error == ""
        (finished,) = wait_for(lambda: of(human.events(), ev.ToolFinished, by="user"), "its end")
        assert (finished.exit_code, finished.audit.ended) == (None, "cancelled")
        assert "stopped by the user" in finished.text
        assert work(human)["h.txt"] == "half\n"
        assert human.send(cmd.Ping()).error == ""


def test_a_command_while_the_agent_asks(tmp_path: Path) -> None:
    server = Script(steps(call("ask_user", question="which?"), WRITE))
    with scene(tmp_path, server, "process") as human:
        human.start()
        human.until(lambda state: state.question is not None, "the question")
        human.send(cmd.RunForUser(command="echo mine > mine.txt"))
        wait_for(lambda: of(human.events(), ev.ToolFinished, by="user"), "the command")
        state = human.state()
        assert (state.status, state.question is not None) == ("waiting", True)
        human.answer("that")
        human.until(in_review, "the review")
        assert work(human) == {"a.txt": "a\n", "mine.txt": "mine\n"}
    told = conversation(server, 1)
    assert told[-1] == "[user] ran: echo mine > mine.txt (exit code 0); changed: mine.txt"
    assert "that" in told[-2]
