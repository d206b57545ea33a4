from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ChatMessage, ToolCall
from backspace_tui.core.state import fold
from backspace_tui.engine.context import LINES_LIMIT, conversation
from backspace_tui.sessions.log import read_events
from tests.review.scene import Scene, lines, scene


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


def comment(text: str, *shown: str) -> ev.Decision:
    return ev.Decision(hunk="h", path="a.py", action="comment", tree="t", before="t", comment=text, lines=shown)


def test_a_comment_is_told_with_its_lines() -> None:
    talk = conversation(numbered(comment("Why a list?", "-a = ()", "+a = []"), called(), replied()))
    assert [message.text for message in talk.messages] == [
        "[review] The user's comment on your change in a.py:\n-a = ()\n+a = []\nWhy a list?",
        "t",
    ]


def test_a_comment_on_many_lines_is_told_in_short() -> None:
    talk = conversation(numbered(comment("Too long.", *[f"+line {number}" for number in range(10_000)])))
    (told,) = talk.messages
    assert told.text.endswith("\nToo long.")
    assert len(told.text) < LINES_LIMIT + 300


def test_a_comment_during_a_turn_comes_after_its_results() -> None:
    assert roles(called(), comment("Why?"), replied(call("a", "1")), finished("1")) == ["assistant", "tool", "user"]
    waiting = conversation(numbered(called(), comment("Why?"), replied(call("a", "1"))))
    assert [message.role for message in waiting.messages] == ["assistant"]


def test_other_decisions_are_not_told_by_themselves() -> None:
    actions: tuple[ev.Action, ...] = ("accept", "reject", "undo", "unstage", "review", "unreview", "edit", "redo")
    told = (ev.Decision(hunk="h", path="a", action=action, tree="t", before="t", comment="x") for action in actions)
    assert conversation(numbered(*told)).messages == ()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_was_told_once_stays_where_it_was_told(data: st.DataObject) -> None:
    """Whenever the process dies: the same log gives the same conversation, and nothing in it twice."""
    log: list[ev.AnyEvent] = []
    told: list[tuple[ChatMessage, ...]] = []
    said: list[str] = []

    def add(event: ev.AnyEvent) -> None:
        log.append(numbered(*log, event)[-1])

    def interrupt() -> None:
        for kind in data.draw(st.lists(st.sampled_from(["comment", "steer", "rejected"]), max_size=2)):
            said.append(f"<{len(said)}>")
            match kind:
                case "comment":
                    add(comment(said[-1]))
                case "steer":
                    add(ev.Message(role="user", kind="steer", text=said[-1]))
                case _:
                    add(ev.GitOperation(operation="rejected", detail=said[-1]))

    for crash in data.draw(st.lists(st.sampled_from(["", "before the reply", "before the results"]), max_size=5)):
        interrupt()
        before = conversation(log)
        if before.open_calls:
            for open_call in before.open_calls:
                add(finished(open_call.id))
            before = conversation(log)
        add(ev.ModelCalled(model="m", heard=log[-1].seq if log else 0))
        interrupt()
        if crash == "before the reply":
            continue
        told.append(before.messages)
        names = [f"{len(log)}-{number}" for number in range(data.draw(st.integers(0, 2)))]
        add(replied(*(call("x", name) for name in names), text=f"turn {len(log)}"))
        for name in names if not crash else ():
            interrupt()
            add(finished(name))
    for open_call in conversation(log).open_calls:
        add(finished(open_call.id))

    final = conversation(log).messages
    assert all(final[: len(messages)] == messages for messages in told)
    everything = "\n".join(message.text for message in final)
    assert all(everything.count(text) == 1 for text in said)


# What the review tells the agent

BASE = {"a.txt": lines(*range(40))}
WORK = BASE["a.txt"].replace(b"5\n6\n", b"5\nsix\n").replace(b"30\n", b"thirty\n")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path, BASE) as made:
        made.agent({"a.txt": WORK})
        yield made


def told(session: Scene) -> list[str]:
    """What the agent's next request says of the review; the same after a crash."""
    messages = conversation(session.events).messages
    assert conversation(read_events(session.directory)).messages == messages
    return [message.text for message in messages if message.role == "user"]


def test_rejections_are_told_with_their_comments(session: Scene) -> None:
    session.decide("reject", session.unit("-6", "+six"), comment="Keep the number.")
    assert told(session) == []
    session.boundary()
    assert told(session) == [
        "[review] The user rejected these changes. They are out of your files; do not make them again.\n\n"
        "a.txt:\n-6\n+six\nThe user's comment: Keep the number."
    ]
    session.boundary()
    session.agent({"b.txt": b"b\n"})
    session.boundary()
    assert len(told(session)) == 1


def test_a_redo_asks_for_another_version(session: Scene) -> None:
    session.decide("redo", session.unit("+thirty"), comment="In capitals.")
    session.boundary()
    request, version = told(session)
    assert request == "Do your change in a.txt again, in another way: In capitals."
    assert version.startswith("[review] The user wants another version of these changes. They are out of your files;")
    assert version.endswith("a.txt:\n+thirty\nThe user's comment: In capitals.")


def test_what_the_agent_was_faster_than_is_not_called_removed(session: Scene) -> None:
    session.decide("reject", session.unit("-6", "+six"), comment="no")
    session.decide("reject", session.unit("-30", "+thirty"))
    session.agent({"a.txt": WORK.replace(b"six\n", b"sechs\n")})
    session.boundary()
    (text,) = told(session)
    removed, _, overtaken = text.partition("\n\nThe user rejected these changes, but you changed the lines meanwhile.")
    assert removed.endswith("a.txt:\n-30\n+thirty")
    assert overtaken.endswith("a.txt:\n-6\n+six\nThe user's comment: no")
    assert session.work("a.txt") == BASE["a.txt"].replace(b"6\n", b"sechs\n", 1)


def test_a_rejection_taken_back_is_told_when_the_lines_are_there_again(session: Scene) -> None:
    session.decide("reject", session.unit("-6", "+six"))
    session.boundary()
    session.undo()
    session.boundary()
    assert told(session)[1:] == [
        "[review] The user took rejections back. These changes are in your files again:\n\na.txt:\n-6\n+six"
    ]
    assert session.work("a.txt") == WORK


def test_a_rejection_undone_before_the_boundary_is_never_told(session: Scene) -> None:
    session.decide("reject", session.unit("-6", "+six"), comment="no")
    session.undo()
    session.boundary()
    assert told(session) == []
    assert session.work("a.txt") == WORK


def test_comments_reach_the_agent_once(session: Scene) -> None:
    session.decide("comment", session.unit("-6", "+six"), comment="Why in words?")
    expected = "[review] The user's comment on your change in a.txt:\n-6\n+six\nWhy in words?"
    assert told(session) == [expected]
    session.agent({"b.txt": b"b\n"})
    session.boundary()
    assert told(session) == [expected]
