"""What the user ran in the sandbox, as the conversation, the budget and the question "why" see it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from backspace_tui.config import BudgetSettings
from backspace_tui.core import events as ev
from backspace_tui.core.protocols import Estimate, ToolCall
from backspace_tui.core.state import fold
from backspace_tui.engine.budget import refusal
from backspace_tui.engine.context import conversation
from backspace_tui.sessions.why import why

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
TOLD = "[user] ran: make (exit code 0); changed: a.py"


def numbered(*events: ev.AnyEvent, minutes: int = 0) -> list[ev.AnyEvent]:
    return [
        replace(event, seq=seq, time=BEGAN + timedelta(minutes=seq * minutes), stage="implement")
        for seq, event in enumerate(events, 1)
    ]


def replied(*calls: str) -> ev.ModelReplied:
    return ev.ModelReplied(model="m", text="t", tool_calls=tuple(ToolCall(call, "x", {}) for call in calls))


def mine(text: str = TOLD, call_id: str = "user-9", tool: str = "run_command") -> tuple[ev.AnyEvent, ...]:
    return (
        ev.ToolStarted(call_id=call_id, tool=tool, title="$ make", by="user"),
        ev.ToolOutput(call_id=call_id, stream="stdout", text="printed"),
        ev.FileEdit(path="a.py", added=1, removed=0, tree="t", by="user"),
        ev.GitOperation(operation="snapshot", tree="t", snapshot="s", detail="user"),
        ev.ToolFinished(call_id=call_id, tool=tool, ok=True, text=text, by="user"),
    )


def done(call_id: str) -> ev.ToolFinished:
    return ev.ToolFinished(call_id=call_id, tool="x", ok=True, text="done")


def told(*events: ev.AnyEvent) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in conversation(numbered(*events)).messages]


def test_the_agent_hears_of_it_as_of_the_user() -> None:
    called = ev.ModelCalled(model="m")
    assert told(called, replied("1"), done("1"), *mine()) == [("assistant", "t"), ("tool", "done"), ("user", TOLD)]
    assert told(*mine("")) == []
    # While a call of its own is open its result comes first.
    assert told(called, replied("1"), *mine(), done("1"))[-2:] == [("tool", "done"), ("user", TOLD)]


def test_it_is_no_answer_to_a_call_of_the_models() -> None:
    called = ev.ModelCalled(model="m")
    found = conversation(numbered(called, replied("user-9"), *mine(call_id="user-9")))
    assert [call.id for call in found.open_calls] == ["user-9"]
    assert all(message.role == "assistant" for message in found.messages)


def test_its_time_is_not_the_agents() -> None:
    tool = ev.ToolStarted(call_id="1", tool="x")
    events = numbered(ev.ModelCalled(model="m"), replied("1"), tool, done("1"), *mine(), minutes=10)
    state = fold(events)
    request, now = Estimate("m"), state.last_time + timedelta(hours=1)
    assert refusal(BudgetSettings(minutes=21), state.spent, request, now) is None
    refused = refusal(BudgetSettings(minutes=19), state.spent, request, now)
    assert refused is not None
    assert refused.reason == "budget: 20 minutes worked of 19 ([budget] minutes)"


def test_why_names_the_user() -> None:
    events = numbered(*mine(), ev.FileEdit(path="b.py", added=1, removed=0, tree="u", by="user"))
    found = why(events, 3)
    assert found is not None
    assert (found.title, found.thought) == ("you: $ make", "")
    assert why(events, 6) is None
