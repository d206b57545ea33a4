"""An agent that goes round in circles is told once, and ended when that was in vain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ToolCall
from backspace_tui.engine.context import conversation
from backspace_tui.engine.loops import IDLE_TURNS, REPEATS, Loop, loop


class Agent:
    """A log that an agent writes; it is told of its loops as the implement stage does."""

    def __init__(self) -> None:
        self.log: list[ev.AnyEvent] = []

    def add(self, event: ev.AnyEvent) -> None:
        self.log.append(replace(event, seq=len(self.log) + 1, time=datetime(2026, 1, 1, tzinfo=UTC), stage="implement"))

    def turn(self, name: str, result: str, *, ok: bool = True, tree: str = "", **arguments: Any) -> Loop | None:
        self.add(ev.ModelCalled(model="m", heard=len(self.log)))
        call = ToolCall(f"c{len(self.log)}", name, arguments)
        self.add(ev.ModelReplied(model="m", text="", tool_calls=(call,)))
        self.add(ev.ToolFinished(call_id=call.id, tool=name, ok=ok, text=result, tree=tree))
        found = loop(self.log)
        # Whoever reads the log again finds the same.
        assert loop(list(self.log)) == found
        if found and found.step == "tell":
            self.add(ev.Message(role="program", kind="feedback", about="loop", text=found.told))
            assert loop(self.log) is None
        return found

    def say(self, text: str = "Try the other one") -> None:
        self.add(ev.Message(role="user", kind="steer", text=text))


def steps(found: list[Loop | None]) -> list[str]:
    return [item.step if item else "" for item in found]


def test_the_same_call_with_the_same_result_is_told_and_then_ended() -> None:
    agent = Agent()
    found = [agent.turn("read_file", "one", path="a.py") for _ in range(2 * REPEATS)]
    assert steps(found) == ["", "", "tell", "", "", "end"]
    assert found[2] is not None
    assert found[2].what == "read_file a.py gave the same result 3 times"
    told = [message.text for message in conversation(agent.log).messages if message.role == "user"]
    assert len(told) == 1
    assert told[0].startswith("[feedback] You are going in circles: read_file a.py gave the same result 3 times.")


def test_two_calls_by_turns_are_a_loop_as_well() -> None:
    agent = Agent()
    found = [agent.turn("read_file", name, path=name) for name in ("a", "b") * 6]
    assert steps(found).index("tell") == 4
    assert steps(found).index("end") == 9


def test_calls_that_cannot_be_read_are_a_loop_as_well() -> None:
    agent = Agent()
    found = []
    for _ in range(6):
        agent.add(ev.ModelCalled(model="m", heard=len(agent.log)))
        call = ToolCall(f"c{len(agent.log)}", "", None, "the arguments were not a JSON object")
        agent.add(ev.ModelReplied(model="m", text="", tool_calls=(call,)))
        agent.add(ev.ToolFinished(call_id=call.id, tool="", ok=False, text=call.problem))
        found.append(loop(agent.log))
        if found[-1] and found[-1].step == "tell":
            agent.add(ev.Message(role="program", kind="feedback", about="loop", text="x"))
    assert steps(found) == ["", "", "tell", "", "", "end"]


def test_calls_of_one_turn_count_each() -> None:
    agent = Agent()
    agent.add(ev.ModelCalled(model="m"))
    calls = tuple(ToolCall(f"c{number}", "read_file", {"path": "a"}) for number in range(3))
    agent.add(ev.ModelReplied(model="m", text="", tool_calls=calls))
    for call in calls:
        agent.add(ev.ToolFinished(call_id=call.id, tool="read_file", ok=True, text="one"))
    found = loop(agent.log)
    assert found is not None
    assert found.step == "tell"


def test_the_same_test_run_after_each_edit_is_none() -> None:
    agent = Agent()
    for number in range(20):
        assert agent.turn("edit_file", f"edited {number}", tree=f"t{number}", path="a.py", old=str(number)) is None
        assert agent.turn("run_command", "exit code 1\n1 failed", ok=False, command="pytest -q") is None


def test_an_edit_to_and_fro_is_one() -> None:
    agent = Agent()
    found = []
    for number in range(16):
        old, new = ("a", "b") if number % 2 == 0 else ("b", "a")
        found.append(agent.turn("edit_file", "edited a.py", tree=f"tree of {new}", path="a.py", old=old, new=new))
    assert "tell" in steps(found)
    assert "end" in steps(found)


def test_work_with_something_new_in_it_is_none() -> None:
    agent = Agent()
    for number in range(60):
        match number % 4:
            case 0:
                found = agent.turn("read_file", f"text {number}", path=f"{number}.py")
            case 1:
                found = agent.turn("search", "(no match)", pattern=f"word{number}")
            case 2:
                found = agent.turn("edit_file", "edited a.py", tree=f"t{number}", path="a.py", old=f"{number}")
            case _:
                found = agent.turn("run_command", f"exit code 0\n{'x' * number}", command=f"make {number}")
        assert found is None


def test_many_turns_without_anything_new_are_one() -> None:
    agent = Agent()
    agent.turn("run_command", "exit code 0\nrun 0 took 0.1 s", command="date 0")
    found = [
        agent.turn("run_command", f"exit code 0\nrun {number} took 0.{number} s", command=f"date {number}")
        for number in range(1, 2 * IDLE_TURNS + 1)
    ]
    assert steps(found) == [*[""] * (IDLE_TURNS - 1), "tell", *[""] * (IDLE_TURNS - 1), "end"]
    last = found[-1]
    assert last is not None
    assert last.closing.startswith("The agent was ended because it went in circles: 10 turns brought no edit")


def test_failing_edits_are_nothing_new() -> None:
    agent = Agent()
    found = [
        agent.turn("edit_file", f"old does not stand in a.py ({number})", ok=False, path="a.py", old=str(number))
        for number in range(2 * IDLE_TURNS)
    ]
    assert steps(found).count("tell") == 1
    assert steps(found)[-1] == "end"


@pytest.mark.parametrize(
    "said",
    [
        ev.Message(role="user", kind="steer", text="go on"),
        ev.Message(role="user", kind="prompt", text="and now this"),
        ev.Message(role="program", kind="feedback", text="not done yet"),
        ev.Decision(hunk="h", path="a", action="comment", tree="t", before="t", comment="why?"),
        ev.GitOperation(operation="rejected", detail="rejected this"),
        ev.Answer(question=1, text="blue"),
    ],
)
def test_what_anybody_says_gives_a_fresh_start(said: ev.AnyEvent) -> None:
    agent = Agent()
    for _ in range(2 * REPEATS - 1):
        agent.turn("read_file", "one", path="a.py")
    agent.add(said)
    assert loop(agent.log) is None
    found = [agent.turn("read_file", "one", path="a.py") for _ in range(2 * REPEATS)]
    assert steps(found) == ["", "", "tell", "", "", "end"]


def test_a_notice_for_the_human_gives_none() -> None:
    agent = Agent()
    for _ in range(2):
        agent.turn("read_file", "one", path="a.py")
    agent.add(ev.Message(role="program", text="12 files"))
    agent.add(ev.StageStarted(attempt=2))
    assert steps([agent.turn("read_file", "one", path="a.py")]) == ["tell"]


def test_reading_again_what_was_left_out_of_a_shortened_conversation_is_none_by_itself() -> None:
    agent = Agent()
    for number in range(4):
        assert agent.turn("read_file", "one", path="a.py") is None
        assert agent.turn("read_file", f"other {number}", path=f"{number}.py") is None
        agent.add(ev.Message(role="program", kind="compacted", text="", until=len(agent.log)))


def test_asking_the_human_is_none() -> None:
    agent = Agent()
    for _ in range(8):
        assert agent.turn("ask_user", "yes", question="Again?") is None
