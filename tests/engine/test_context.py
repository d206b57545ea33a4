from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ToolCall
from backspace_tui.core.state import fold
from backspace_tui.engine.context import conversation


def numbered(*events: ev.AnyEvent) -> list[ev.AnyEvent]:
    return [
        replace(event, seq=seq, time=datetime(2026, 1, 1, tzinfo=UTC), stage="implement")
        for seq, event in enumerate(events, 1)
    ]


def call(name: str, id: str) -> ToolCall:
    return ToolCall(id, name, {})


def called() -> ev.ModelCalled:
    return ev.ModelCalled(model="m")


def replied(*calls: ToolCall, text: str = "t") -> ev.ModelReplied:
    return ev.ModelReplied(model="m", text=text, tool_calls=calls)


def finished(id: str, text: str = "done") -> ev.ToolFinished:
    return ev.ToolFinished(call_id=id, tool="x", ok=True, text=text)


def roles(*events: ev.AnyEvent) -> list[str]:
    return [message.role for message in conversation(numbered(*events)).messages]


def test_a_turn_is_followed_by_its_results() -> None:
    talk = conversation(numbered(called(), replied(call("a", "1"), call("b", "2")), finished("1"), finished("2")))
    assert [message.role for message in talk.messages] == ["assistant", "tool", "tool"]
    assert (talk.open_calls, talk.turns) == ((), 1)


def test_calls_without_a_result_are_open_and_hold_messages_back() -> None:
    said = ev.Message(role="user", kind="steer", text="hurry")
    talk = conversation(numbered(called(), replied(call("a", "1"), call("b", "2")), finished("1"), said))
    assert [item.id for item in talk.open_calls] == ["2"]
    assert [message.role for message in talk.messages] == ["assistant", "tool"]


def test_what_is_said_during_a_turn_comes_after_its_results() -> None:
    said = ev.Message(role="user", kind="steer", text="hurry")
    assert roles(called(), said, replied(call("a", "1")), finished("1")) == ["assistant", "tool", "user"]


def test_what_was_said_before_a_call_stands_before_its_reply() -> None:
    said = ev.Message(role="user", kind="steer", text="hurry")
    assert roles(said, called(), replied(call("a", "1")), finished("1")) == ["user", "assistant", "tool"]


def test_ids_may_come_again_in_later_turns() -> None:
    events = (called(), replied(call("a", "1")), finished("1"), called(), replied(call("a", "1")))
    talk = conversation(numbered(*events))
    assert [item.id for item in talk.open_calls] == ["1"]


def test_rejections_are_told_once_and_notices_never() -> None:
    rejected = ev.GitOperation(operation="rejected", detail="The user rejected this", hunks=("h",))
    notice = ev.Message(role="program", text="12 files")
    talk = conversation(numbered(called(), replied(call("a", "1")), finished("1"), rejected, notice))
    assert [message.text for message in talk.messages[2:]] == ["[review] The user rejected this"]


def test_other_stages_turns_are_no_part_of_it() -> None:
    events = [replace(event, stage="plan") for event in numbered(called(), replied())]
    assert conversation(events).messages == ()


def test_what_is_said_between_two_tries_of_a_call_was_not_part_of_it() -> None:
    events = numbered(
        ev.ModelCalled(stage="implement", model="m", heard=1),
        ev.ModelFailed(stage="implement", model="m", reason="busy"),
        ev.Message(role="user", kind="steer", text="wait"),
        ev.ModelCalled(stage="implement", model="m", attempt_of_model=2, heard=1),
        ev.ModelReplied(stage="implement", model="m", text="done"),
    )
    assert [message.text for message in conversation(events).messages] == ["done", "wait"]
    assert fold(events).unheard is not None
    heard = numbered(*events, ev.ModelCalled(stage="implement", model="m", heard=5))
    assert fold(heard).unheard is None
