"""SIGKILL anywhere, then resume: no decision is lost, nothing is done or said twice, the branch ends the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.config import BudgetSettings, Settings, WorkflowSettings
from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.sessions import store
from backspace_tui.sessions.errors import SessionError
from tests.crash import Human, Script, scene, steps
from tests.crash_story import agent, check_branch, check_log, check_requests, play
from tests.models.turns import Turn, call, fault
from tests.program import CART, TEST_CART

BASE = {"cart.py": CART, "tests/test_cart.py": TEST_CART}
BACKENDS = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
    "process",
]
FIXTURES = {"docker": "default_image", "bubblewrap": "bubblewrap"}


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name in FIXTURES:
        request.getfixturevalue(FIXTURES[name])
    return name


def tell(tmp_path: Path, backend: str, mode: str = "", only: str = "") -> Human:
    """Play the whole story, killed as ``mode`` says, and check everything that must hold."""
    server = Script(agent, "echo waiting")
    with scene(tmp_path, server, backend, mode=mode, only=only, files=BASE) as human:
        play(human, server)
    check_log(human)
    check_branch(human.repository, human.state(), BASE)
    check_requests(server.bodies)
    return human


@pytest.mark.parametrize("backend", BACKENDS[1:], indirect=True)
def test_the_story_without_a_crash(tmp_path: Path, backend: str) -> None:
    assert tell(tmp_path, backend).starts == 1


@pytest.mark.bubblewrap
@pytest.mark.parametrize("mode", ["after", "torn"])
def test_a_kill_at_every_kind_of_write(tmp_path: Path, bubblewrap: str, mode: str) -> None:
    assert tell(tmp_path, bubblewrap, mode).starts > 60


def test_a_full_disk_at_every_kind_of_write(tmp_path: Path) -> None:
    """Nothing dies here at once: the process ends by itself or refuses a command, and there is room again at once."""
    assert tell(tmp_path, "process", "full").starts > 30


@pytest.mark.docker
def test_kills_with_a_real_engine(tmp_path: Path, default_image: str) -> None:
    moments = ["ToolStarted implement ('run_command'", "ToolOutput", "Decision implement ('reject'",
               "Verification verify running", "GitOperation commit", "StageStarted done"]  # fmt: skip
    assert tell(tmp_path, "docker", "after", "\n".join(moments)).starts > len(moments)


@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_a_kill_in_the_middle_of_a_command(tmp_path: Path, backend: str) -> None:
    command = "echo begun; sleep 1; echo done > slow.txt"
    server = Script(steps(call("write_file", path="a.txt", content="a\n"), call("run_command", command=command)))
    with scene(tmp_path, server, backend) as human:
        human.until(lambda _: any(isinstance(event, ev.ToolOutput) for event in human.events()), "the command")
        human.kill()
        human.until(lambda state: state.stage == "review" and state.stage_open, "the review")
        human.decide("accept", "a.txt", "slow.txt")
        human.publish()
        human.until(lambda state: state.commit != "", "the commit")
    results = [event.text for event in human.events() if isinstance(event, ev.ToolFinished)]
    assert results[1] == "exit code 0\nbegun"
    check_pairs(server.bodies)


def check_pairs(bodies: list[dict[str, Any]]) -> None:
    """Each call that a request tells of has its one result."""
    for body in bodies:
        calls = [made["id"] for message in body["messages"] for made in message.get("tool_calls") or ()]
        assert calls == [m["tool_call_id"] for m in body["messages"] if m["role"] == "tool"]


def test_a_kill_in_the_middle_of_a_model_call(tmp_path: Path) -> None:
    hanging = True
    scripted = steps(call("write_file", path="a.txt", content="a\n"))

    def slow(body: Mapping[str, Any]) -> Turn:
        turn = scripted(body)
        return fault("hang") if hanging and turn.calls and turn.calls[0].name == "finish" else turn

    server = Script(slow)
    with scene(tmp_path, server, "process") as human:
        human.until(lambda state: "a.txt" in state.edits, "the edit")
        server.wait_for_requests(3)
        human.kill()
        server.wait_for_disconnects(1)
        hanging = False
        human.until(lambda state: state.stage == "review" and state.stage_open, "the review")
    first, again = [body for body in server.bodies if body.get("tools")][1:]
    assert first == again


def questions(body: Mapping[str, Any]) -> Turn:
    """Asks the human about a colour, and writes it down."""
    results = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    if not body.get("tools") or not results:
        return steps(call("ask_user", question="Which colour?", options=["red", "blue"]))(body)
    if len(results) == 1:
        return call("write_file", path="colour.txt", content=results[0] + "\n")
    return call("finish", summary="Done.")


@pytest.mark.parametrize("mode", ["", "after", "torn"])
def test_questions_plans_and_budgets_survive_kills(tmp_path: Path, mode: str) -> None:
    settings = Settings(budget=BudgetSettings(turns=2), workflow=WorkflowSettings(approve_plan=True))
    server = Script(questions)
    with scene(tmp_path, server, "process", mode=mode, settings=settings) as human:
        human.raises_budget = True
        human.until(lambda state: state.question is not None and state.question.about == "plan", "the plan")
        human.answer("yes, carefully please")
        human.until(lambda state: state.question is not None and state.question.about == "ask_user", "the question")
        human.answer("blue")
        human.until(lambda state: state.stage == "review" and state.stage_open, "the review")
        human.decide("accept", "colour.txt")
        human.publish()
        human.until(lambda state: state.stage == "done" and state.stage_open, "the request")
    events = human.events()
    assert [event.text for event in events if isinstance(event, ev.Answer)] == ["yes, carefully please", "blue"]
    assert sum(isinstance(event, ev.Question) for event in events) == 2
    pauses = [event.reason for event in events if isinstance(event, ev.Paused)]
    assert pauses
    assert len(pauses) == len(set(pauses)) == sum(isinstance(event, ev.Resumed) for event in events)
    last = [m["content"] for m in [body for body in server.bodies if body.get("tools")][-1]["messages"]]
    assert sum("About the plan: carefully please" in content for content in last) == 1
    assert sum(content == "blue" for content in last) == 1
    assert [e.new for e in events if isinstance(e, ev.FileEdit)] != []


def test_a_second_start_is_refused_and_a_signal_ends_in_order(tmp_path: Path) -> None:
    server = Script(steps(call("run_command", command="echo never")), "never")
    with scene(tmp_path, server, "process") as human:
        ready = human.start()
        human.until(lambda state: state.stage == "implement", "the agent")
        with pytest.raises(SessionError, match=rf"is running \(process {ready.pid}\): backspace-tui attach"):
            human.start()
        assert store.holder(human.directory) == ready.pid
        os.kill(ready.pid, signal.SIGTERM)
        state = human.ended()
        assert (state.status, state.exit_code) == ("stopped", 130)
        last = human.events()[-1]
        assert isinstance(last, ev.SessionFinished)
        assert not (human.directory / "socket").exists()
        server.gates["never"].set()
        human.until(lambda state: state.stage == "review" and state.stage_open, "the review")


def test_no_model_answers_and_then_one_does(tmp_path: Path) -> None:
    broken = True

    def moody(body: Mapping[str, Any]) -> Turn:
        return fault("500") if broken else steps(call("write_file", path="a.txt", content="a\n"))(body)

    with scene(tmp_path, Script(moody), "process", accept="all", headless=True) as human:
        human.start()
        state = human.ended()
        assert (state.status, state.exit_code, state.stage) == ("waiting", 4, "plan")
        assert state.error == state.paused
        assert state.paused.startswith("models: test: ")
        broken = False
        human.start(cmd.Resume())
        state = human.ended()
        assert (state.status, state.exit_code) == ("done", 0)
        assert state.commit


def test_the_story_with_a_clock_that_jumps_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = tmp_path / "clock"
    jumps.write_text("0")
    monkeypatch.setenv("CRASH_CLOCK", str(jumps))
    moments = ["ToolFinished implement ('edit_file'", "Decision implement ('reject'", "GitOperation commit"]
    human = tell(tmp_path, "process", "after", "\n".join(moments))
    assert human.starts > len(moments)
    times = [event.time for event in human.events()]
    assert sum(later < earlier for earlier, later in pairwise(times)) > 5
    assert human.state().spent.seconds >= 0
