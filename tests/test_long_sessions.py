"""Sessions that outgrow their model's window, and sessions that go in circles, from their request to their tree."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.core import events as ev
from tests.crash import Human, Script, scene
from tests.models.openai_server import OpenAIServer
from tests.models.turns import Turn, call, fault, text
from tests.program import Program, git, make_repository
from tests.test_control import in_review, is_done, work

WINDOW = 5_000
STEPS = 16
COMPACTED = "Message implement ('compacted'"
LOG = "".join(f"step {number}\n" for number in range(1, STEPS + 1))


def tokens(body: Mapping[str, Any]) -> int:
    return len(json.dumps(body["messages"])) // 4


def stepwise(body: Mapping[str, Any]) -> Turn:
    """Does one step after the other, each of which prints a lot, by what the conversation still tells of them."""
    if not body.get("tools"):
        return text("1. do it") if "# Changes" not in body["messages"][-1]["content"] else text("APPROVE")
    done = [int(number) for number in re.findall(r"echo step (\d+)", json.dumps(body["messages"]))]
    step = max(done, default=0) + 1
    if step > STEPS:
        return call("finish", summary="Did every step.")
    return text(f"Now step {step}.") + call(
        "run_command", command=f"echo step {step} >> log.txt; seq {step}000 {step}600"
    )


def narrow(agent: Callable[[Mapping[str, Any]], Turn], window: int = WINDOW) -> Callable[[Mapping[str, Any]], Turn]:
    """The same agent with a window: what is longer is refused as providers do it."""

    def limited(body: Mapping[str, Any]) -> Turn:
        return fault("context") if tokens(body) > window else agent(body)

    return limited


def marks(events: list[ev.AnyEvent]) -> list[ev.Message]:
    return [event for event in events if isinstance(event, ev.Message) and event.kind == "compacted"]


def refused(events: list[ev.AnyEvent]) -> int:
    return sum(isinstance(event, ev.ModelFailed) and event.kind == "context" for event in events)


def complete(messages: list[dict[str, Any]]) -> bool:
    """Whether every call of the request is followed by its results and nothing else, as providers demand."""
    open_calls: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                return False
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            return False
        open_calls |= {made["id"] for made in message.get("tool_calls", ())}
    return not open_calls


@contextmanager
def long_session(folder: Path, window: int, **more: Any) -> Iterator[tuple[Human, Script]]:
    server = Script(narrow(stepwise))
    with scene(folder, server, "process", **more) as human:
        human.env = {**human.env, "CRASH_WINDOW": str(window)}
        yield human, server


@pytest.mark.parametrize("window", [WINDOW, 0], ids=["known", "unknown"])
def test_a_session_longer_than_the_window_ends_with_its_tree(tmp_path: Path, window: int) -> None:
    with long_session(tmp_path, window) as (human, server):
        human.start()
        human.until(in_review, "the review")
        assert work(human) == {"log.txt": LOG}
        events = human.events()
    bodies = [body for body in server.bodies if body.get("tools")]
    answered = [body for body in bodies if tokens(body) <= WINDOW]
    assert len(marks(events)) >= 3
    # A window that is known is never overrun; one that is not is found by its refusals.
    assert refused(events) == (0 if window else len(bodies) - len(answered))
    assert all(complete(body["messages"]) for body in bodies)
    assert all("Mend the total" in body["messages"][1]["content"] for body in bodies)
    assert "[history]" in json.dumps(answered[-1])
    # Between two marks a request begins with all of the last one.
    sent = [body["messages"] for body in answered]
    kept = sum(after[: len(before)] == before for before, after in pairwise(sent))
    assert kept == len(answered) - 1 - len(marks(events))


@pytest.mark.parametrize("window", [WINDOW, 0], ids=["known", "unknown"])
@pytest.mark.parametrize("mode", ["after", "torn"])
def test_it_does_so_through_crashes_at_every_kind_of_moment(tmp_path: Path, mode: str, window: int) -> None:
    moments = ("compacted", "ModelFailed", "ModelCalled", "ModelReplied", "ToolFinished", "ToolStarted")
    only = "\n".join(f"{moment} implement" for moment in moments).replace("compacted implement", COMPACTED)
    with long_session(tmp_path, window, mode=mode, only=only) as (human, server):
        human.until(in_review, "the review")
        assert work(human) == {"log.txt": LOG}
        assert human.starts > 4
        assert all(complete(body["messages"]) for body in server.bodies)
        assert len(marks(human.events())) >= 3


def test_what_the_user_says_and_rejects_outlives_every_shortening(tmp_path: Path) -> None:
    """Steering, a rejection with its comment and a follow-up are in every request from then on, once each."""

    def agent(body: Mapping[str, Any]) -> Turn:
        turn = stepwise(body)
        if "and one more" in json.dumps(body["messages"]) and turn.calls and turn.calls[0].name == "finish":
            said = body["messages"][-1]["content"]
            return turn if said.startswith("wrote") else call("write_file", path="more.txt", content="more\n")
        return turn

    server = Script(narrow(agent), "echo step 4", "echo step 8")
    with scene(tmp_path, server, "process") as human:
        human.env = {**human.env, "CRASH_WINDOW": str(WINDOW)}
        human.start()
        human.until(lambda state: len(state.edits.get("log.txt", ())) == 3, "step 3")
        human.say("mind the gap")
        human.decide("reject", "log.txt", comment="never a log")
        server.gates["echo step 4"].set()
        human.until(lambda state: any(item.applied for item in state.rejected.values()), "the rejection")
        server.gates["echo step 8"].set()
        human.until(in_review, "the review")
        human.say("and one more")
        human.until(lambda state: "more.txt" in state.edits and in_review(state), "the follow-up")
        assert len(marks(human.events())) >= 3
    whole = json.dumps([body for body in server.bodies if body.get("tools")][-1]["messages"])
    for words in ("mind the gap", "never a log", "and one more"):
        assert whole.count(words) == 1
    assert "# Files that you changed" in whole
    assert "Did every step." in whole


@pytest.mark.bubblewrap
@pytest.mark.parametrize("model", ["openai/test", "openai/gpt-4"], ids=["unknown", "known"])
def test_the_real_chain_with_a_small_window(tmp_path: Path, bubblewrap: str, model: str) -> None:
    """The whole program: litellm, an engine's process, a server that counts, a branch with the right tree."""
    repository = make_repository(tmp_path / "repository")
    program = Program(tmp_path, OPENAI_API_KEY="sk-test-0123456789abcdef")
    # gpt-4 takes 8192 tokens; the server counts characters, the tools' schemas included.
    with OpenAIServer(real(narrow(stepwise, 7_000))) as server:
        program.env["OPENAI_BASE_URL"] = server.url
        done = program.run("run", str(repository), "-p", "Do the steps", "--model", model, "--sandbox", bubblewrap,
                           "--accept", "all")  # fmt: skip
        assert done.returncode == 0, done.stderr
    events = program.events()
    assert git(repository, "show", "backspace/do-the-steps:log.txt") == LOG
    assert len(marks(events)) >= 2
    # What litellm's table says of a window is kept to; another one is learnt from the refusal.
    assert refused(events) == (0 if model == "openai/gpt-4" else 1)
    assert all(complete(body["messages"]) for body in server.bodies)
    assert [event.text for event in events if isinstance(event, ev.Message) and event.kind == "reply"] == [
        "Did every step."
    ]


def test_an_opening_that_no_model_takes_is_told_in_short(tmp_path: Path) -> None:
    """Nothing of the conversation can go yet: what is known of the repository is cut, the request is not."""
    first: list[int] = []

    def agent(body: Mapping[str, Any]) -> Turn:
        if not body.get("tools"):
            return text("1. do it") if "# Changes" not in body["messages"][-1]["content"] else text("APPROVE")
        first.append(tokens(body))
        if tokens(body) > first[0] * 0.7:
            return fault("context")
        if any(message["role"] == "assistant" for message in body["messages"]):
            return call("finish", summary="Done.")
        return call("write_file", path="a.txt", content="a\n")

    server = Script(agent)
    files = {f"package/module_with_a_long_name_{number}.py": f"def function_{number}(): ...\n" for number in range(400)}
    with scene(tmp_path, server, "process", files=files) as human:
        human.start()
        human.until(in_review, "the review")
        events = human.events()
        assert human.state().edits.keys() == {"a.txt"}
    made = marks(events)
    assert made
    assert all(mark.opening for mark in made)
    # Once cut it stays so: no later turn is refused.
    assert refused(events) == len(made)
    opening = [body["messages"][1]["content"] for body in server.bodies if body.get("tools")][-1]
    assert opening.startswith("# Request\nMend the total\n")
    assert opening.endswith("# Plan\n1. do it")
    assert "characters left out" in opening


def real(agent: Callable[[Mapping[str, Any]], Turn]) -> Callable[[dict[str, Any]], Turn]:
    """The agent with an honest count of the tokens that it was sent."""
    return lambda body: replace(agent(body), prompt_tokens=tokens(body), completion_tokens=40)


# Circles


def circling(after: int, turn: Turn) -> Callable[[Mapping[str, Any]], Turn]:
    """Writes a file and then does the same over and over; after ``after`` words of the user's it finishes."""

    def agent(body: Mapping[str, Any]) -> Turn:
        if not body.get("tools"):
            return text("1. do it") if "# Changes" not in body["messages"][-1]["content"] else text("APPROVE")
        messages = body["messages"]
        if not any(message["role"] == "assistant" for message in messages):
            return call("write_file", path="a.txt", content="a\n")
        said = sum(message["role"] == "user" and message["content"].startswith("please") for message in messages)
        return call("finish", summary="Done.") if said >= after else turn

    return agent


@pytest.mark.parametrize(
    "turn",
    [
        call("read_file", path="cart.py"),
        call("edit_file", path="cart.py", old="not there", new="x"),
        call("run_command", command="date +%s%N"),
        call("no_such_tool"),
    ],
    ids=["read", "failing edit", "clock", "no tool"],
)
def test_an_agent_in_circles_is_told_and_then_ended(tmp_path: Path, turn: Turn) -> None:
    server = Script(circling(1, turn))
    with scene(tmp_path, server, "process") as human:
        human.start()
        human.until(in_review, "the review")
        events = human.events()
        told = [event for event in events if isinstance(event, ev.Message) and event.about == "loop"]
        assert [event.kind for event in told] == ["feedback", "notice"]
        assert told[1].text.startswith("The agent was ended because it went in circles: ")
        assert json.dumps(server.bodies[-2]["messages"]).count("You are going in circles") == 1
        assert sum(isinstance(event, ev.ModelReplied) for event in events) <= 25
        assert work(human) == {"a.txt": "a\n"}
        # The human goes on with it, and what was done by then is there to accept.
        human.say("please finish")
        state = human.until(lambda state: in_review(state) and state.unheard is None and state.turns > 0
                            and "Done." in str(human.events()[-8:]), "the review after it")  # fmt: skip
        human.decide("accept", "a.txt")
        human.publish()
        state = human.until(is_done, "the request")
        assert git(human.repository, "show", f"{state.branch}:a.txt") == "a\n"


def test_a_circle_ends_the_same_through_crashes(tmp_path: Path) -> None:
    server = Script(circling(1, call("read_file", path="cart.py")))
    only = "Message implement\nStageFinished implement\nToolFinished implement ('read_file'\nModelCalled implement"
    with scene(tmp_path, server, "process", mode="after", only=only) as human:
        human.until(in_review, "the review")
        told = [event for event in human.events() if isinstance(event, ev.Message) and event.about == "loop"]
        assert [event.kind for event in told] == ["feedback", "notice"]
        assert human.starts > 3


def test_a_word_of_the_user_breaks_the_circle(tmp_path: Path) -> None:
    server = Script(circling(1, call("read_file", path="tests/test_cart.py")), "test_cart")
    with scene(tmp_path, server, "process") as human:
        human.start()
        human.until(lambda state: "a.txt" in state.edits, "the file")
        human.say("please finish")
        server.gates["test_cart"].set()
        human.until(in_review, "the review")
        assert not [event for event in human.events() if isinstance(event, ev.Message) and event.about == "loop"]
