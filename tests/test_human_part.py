"""The human's part reaches the agent at its next turn: nothing is lost and nothing comes twice, whatever is killed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.config import Settings, WorkflowSettings
from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState
from backspace_tui.sessions.errors import SessionError
from tests.crash import Human, scene, steps
from tests.deliveries import Ear, Told, conversation_of
from tests.models.turns import Turn, call, text
from tests.program import wait_for

APPROVING = Settings(workflow=WorkflowSettings(approve_plan=True))
WRITES = (
    call("write_file", path="a.txt", content="a\n")
    + call("write_file", path="b.txt", content="b\n")
    + call("write_file", path="c.txt", content="c\n")
)
WAITING = call("run_command", command="echo waiting")
MODES = pytest.mark.parametrize("mode", ["", "after", "torn"])


@contextlib.contextmanager
def played(folder: Path, ear: Ear, mode: str, **more: Any) -> Iterator[tuple[Human, Told]]:
    """A session that dies nowhere until :func:`armed`."""
    with scene(folder, ear, "process", mode=mode, **more) as human:
        (folder / "plan" / "calm").touch()
        yield human, Told(human, ear)


def armed(human: Human, mode: str) -> None:
    """From now on its process dies at every kind of log write, each once; said again, at each of them again."""
    plan = human.directory.parent.parent / "plan"
    (plan / "calm").unlink(missing_ok=True)
    if mode == "after":
        with (plan / "before").open("a") as file:
            file.write("\n".join(_seen(plan, "seen")) + "\n")
        (plan / "seen").unlink(missing_ok=True)


def deaths(human: Human) -> int:
    plan = human.directory.parent.parent / "plan"
    return len(_seen(plan, "before") + _seen(plan, "seen"))


def _seen(plan: Path, name: str) -> list[str]:
    return [line for line in (plan / name).read_text().splitlines() if line] if (plan / name).exists() else []


def in_review(state: SessionState) -> bool:
    return state.stage == "review" and state.stage_open and state.unheard is None


def asks(human: Human, words: str) -> ev.Question:
    state = human.until(lambda state: state.question is not None and words in state.question.question, words)
    assert state.question is not None
    return state.question


def run_for_user(human: Human, line: str) -> None:
    """Run a command in the agent's sandbox; one that died with the process is run again, as a person would."""

    def ran() -> bool:
        mine = [event for event in human.events() if isinstance(event, ev.ToolStarted | ev.ToolFinished)]
        mine = [event for event in mine if event.by == "user"]
        if any(isinstance(event, ev.ToolFinished) and event.text for event in mine):
            return True
        human.keep_running()
        if not mine or isinstance(mine[-1], ev.ToolFinished):
            with contextlib.suppress(SessionError):
                human.send(cmd.RunForUser(command=line))
        return False

    wait_for(ran, "the user's command")


def once(human: Human, mode: str, least: int) -> None:
    """No reply, result or message of the log is there twice; it died often enough to mean something."""
    events = human.events()
    said = [event.text for event in events if isinstance(event, ev.Message) and event.role == "user"]
    assert len(said) == len(set(said))
    replies = [event for event in events if isinstance(event, ev.ModelReplied)]
    calls = [made.id for reply in replies for made in reply.tool_calls]
    results = [event for event in events if isinstance(event, ev.ToolFinished)]
    assert calls == [event.call_id for event in results if event.by == "agent"]
    assert sum(event.by == "user" and event.text != "" for event in results) <= 1
    assert deaths(human) >= (least if mode else 0)


@MODES
def test_what_is_said_and_decided_while_the_agent_works(tmp_path: Path, mode: str) -> None:
    ear = Ear(steps(WRITES, WAITING), "echo waiting")
    with played(tmp_path, ear, mode) as (human, told):
        human.until(lambda state: "c.txt" in state.edits, "the files")
        wait_for(lambda: len(ear.heard("implement")) == 2, "the next turn")
        armed(human, mode)
        human.say("Keep the names short.")
        told.note("Keep the names short.")
        armed(human, mode)
        human.decide("comment", "a.txt", comment="why such a name")
        told.note("why such a name")
        armed(human, mode)
        human.decide("reject", "b.txt", comment="no letters b")
        told.note("no letters b")
        armed(human, mode)
        human.decide("redo", "c.txt", comment="in capitals")
        told.note("Do your change in c.txt again", "The user's comment: in capitals")
        ear.gates["echo waiting"].set()
        human.until(in_review, "the review")
    told.check("implement", "critique")
    once(human, mode, 12)


@MODES
def test_plans_questions_and_answers(tmp_path: Path, mode: str) -> None:
    def agent(body: Mapping[str, Any]) -> Turn:
        if conversation_of(body) == "plan":
            return text(f"1. step {len(body['messages'])}\n2. test")
        return asking(body)

    asking = steps(
        call("ask_user", question="Which colour?", options=["ochre-7", "umber-8"]),
        call("ask_user", question="Which name?"),
    )
    own = "1. my own first step\n2. my own second step"
    ear = Ear(agent)
    with played(tmp_path, ear, mode, settings=APPROVING) as (human, told):
        assert asks(human, "step 2").options == ("yes", "no")
        armed(human, mode)
        human.answer("with less text please")
        told.note("About the plan: with less text please")
        told.note("About the plan: with less text please", conversation="plan")
        asks(human, "step 4")
        armed(human, mode)
        human.answer(own)
        told.note(own)
        asks(human, "Which colour?")
        armed(human, mode)
        human.answer("umber-8")
        told.note("umber-8")
        asks(human, "Which name?")
        armed(human, mode)
        human.say("By the way.")
        told.note("By the way.")
        armed(human, mode)
        human.answer("neither of them")
        told.note("neither of them")
        human.until(in_review, "the review")
    told.check("plan", "implement")
    assert human.state().plan == own
    answers = [event.question for event in human.events() if isinstance(event, ev.Answer)]
    questions = [event.seq for event in human.events() if isinstance(event, ev.Question)]
    assert answers == questions
    assert len(answers) == 4
    last = [item for item in ear.heard("implement")[-1] if item["role"] != "assistant"]
    assert [item["content"] for item in last[3:]] == ["umber-8", "neither of them", "By the way."]
    once(human, mode, 15)


@MODES
def test_what_waits_for_the_next_request_of_the_human(tmp_path: Path, mode: str) -> None:
    def agent(body: Mapping[str, Any]) -> Turn:
        return steps(WRITES, call("finish", summary="First."), call("finish", summary="Second."))(body)

    ear = Ear(agent)
    with played(tmp_path, ear, mode) as (human, told):
        human.until(in_review, "the review")
        armed(human, mode)
        human.decide("comment", "a.txt", comment="a remark")
        armed(human, mode)
        human.decide("reject", "b.txt", comment="no letters b")
        armed(human, mode)
        human.say("And now more.")
        told.note("a remark", "no letters b", "And now more.")
        human.until(lambda state: in_review(state) and len(ear.heard("implement")) >= 3, "the follow-up")
        armed(human, mode)
        run_for_user(human, "true")
        told.note("[user] ran: true")
        armed(human, mode)
        human.undo()
        human.until(lambda state: not state.restorations, "the file to be back")
        armed(human, mode)
        human.say("And even more.")
        told.note("The user took rejections back", "And even more.")
        human.until(in_review, "the second follow-up")
    told.check("implement")
    once(human, mode, 12)


@MODES
def test_what_is_said_while_other_stages_ask_the_model(tmp_path: Path, mode: str) -> None:
    ear = Ear(steps(WRITES))
    ear.held |= {"plan", "critique"}
    with played(tmp_path, ear, mode) as (human, told):
        human.keep_running()
        wait_for(lambda: ear.heard("plan"), "the plan's request")
        armed(human, mode)
        human.say("Early words.")
        told.note("Early words.")
        ear.held.discard("plan")
        human.until(lambda _: bool(ear.heard("critique")), "the critique's request")
        armed(human, mode)
        human.say("Late words.")
        told.note("Late words.")
        ear.held.discard("critique")
        human.until(lambda state: in_review(state) and state.revisions == 0, "the review")
        human.until(lambda _: "Late words." in str(ear.heard("implement")[-1]), "the late words' turn")
    told.check("implement")
    for request in ear.heard("plan"):
        assert str(request).count("Early words.") <= 1
    once(human, mode, 10)


@MODES
def test_answers_given_when_the_session_is_started(tmp_path: Path, mode: str) -> None:
    ear = Ear(steps(call("ask_user", question="Which colour?"), call("ask_user", question="Which name?")))
    with played(tmp_path, ear, mode, headless=True) as (human, told):
        human.start()
        state = human.ended()
        assert (state.status, state.exit_code, state.error) == ("waiting", 4, "the agent asks: Which colour?")
        for question, words in (("Which colour?", "ochre-7"), ("Which name?", "umber-8")):
            open_question = asks(human, question)
            human.ended()
            armed(human, mode)

            def answered(words: str = words, seq: int = open_question.seq) -> bool:
                if not any(isinstance(event, ev.Answer) and event.text == words for event in human.events()):
                    with contextlib.suppress(SessionError):
                        human.start(cmd.Answer(text=words, question=seq))
                human.ended()
                return any(isinstance(event, ev.Answer) and event.text == words for event in human.events())

            sent = len(ear.heard("implement"))
            wait_for(answered, "the answer")
            told.note(words, since=sent)
        human.until(in_review, "the review")
    told.check("implement")
    once(human, mode, 8)
