"""The human's word on plans and questions, in a session and from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.config import Settings, WorkflowSettings
from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState, fold
from backspace_tui.opening import option
from tests.crash import Human, scene, steps
from tests.deliveries import Ear, conversation_of
from tests.models.openai_server import OpenAIServer
from tests.models.turns import Turn, call, text
from tests.program import Program, make_repository

APPROVING = Settings(workflow=WorkflowSettings(approve_plan=True))
WRITE = call("write_file", path="a.txt", content="a\n")


def planner(*plans: str) -> Ear:
    """An agent that makes these plans in turn, and then one file."""
    made = iter(plans)

    def agent(body: Mapping[str, Any]) -> Turn:
        if conversation_of(body) == "plan":
            return text(said.setdefault(str(body["messages"]), next(made, "")))
        return steps(WRITE)(body)

    said: dict[str, str] = {}
    return Ear(agent)


def plan_asked(human: Human, words: str) -> SessionState:
    return human.until(lambda state: state.question is not None and words in state.question.question, words)


def in_review(state: SessionState) -> bool:
    return state.stage == "review" and state.stage_open and state.unheard is None


def plan_questions(human: Human) -> int:
    return sum(isinstance(event, ev.Question) and event.about == "plan" for event in human.events())


def contents(ear: Ear, kind: str) -> list[str]:
    return [str(item["content"]) for item in ear.heard(kind)[-1]]


@pytest.mark.parametrize(("answer", "told"), [("yes", ""), ("Y", ""), ("yes, but keep it short", "keep it short")])
def test_an_approved_plan_is_worked_by(tmp_path: Path, answer: str, told: str) -> None:
    ear = planner("1. write a.txt")
    with scene(tmp_path, ear, "process", settings=APPROVING) as human:
        plan_asked(human, "write a.txt")
        human.answer(answer)
        human.until(in_review, "the review")
        assert plan_questions(human) == 1
    opening, *rest = contents(ear, "implement")[1:]
    assert "# Plan\n1. write a.txt" in opening
    assert [item for item in rest if item.startswith("About the plan: ")] == (
        [f"About the plan: but {told}"] if told else []
    )


def test_a_plan_that_is_not_approved_is_not_worked_by(tmp_path: Path) -> None:
    ear = planner("1. write a.txt")
    with scene(tmp_path, ear, "process", settings=APPROVING) as human:
        plan_asked(human, "write a.txt")
        human.answer("No.")
        state = human.until(in_review, "the review")
        assert ear.heard("implement") == []
        assert (state.plan, state.edits) == ("", {})
        human.say("Write something else.")
        human.until(lambda state: in_review(state) and "a.txt" in state.edits, "the follow-up")
    assert not any("# Plan" in item for item in contents(ear, "implement")[1:])
    assert contents(ear, "implement")[2] == "Write something else."


def test_a_wish_makes_another_plan_which_is_asked_about_again(tmp_path: Path) -> None:
    ear = planner("1. write a.txt", "no list at all", "1. write a.txt\n2. test it", "Sorry?", "I cannot.")
    with scene(tmp_path, ear, "process", settings=APPROVING) as human:
        plan_asked(human, "write a.txt")
        human.answer("with a test")
        # The reply was no list; the repair is one.
        plan_asked(human, "test it")
        human.answer("with two tests")
        # Neither is one: the plan stays as it is, and is asked about again.
        human.until(lambda state: plan_questions(human) == 3 and state.question is not None, "the third question")
        human.answer("2) my own\n3) second")
        human.until(in_review, "the review")
        assert plan_questions(human) == 3
        assert human.state().plan == "1. my own\n2. second"
    assert "# Plan\n1. my own\n2. second" in contents(ear, "implement")[1]
    assert "# Plan\n1. my own\n2. second" in contents(ear, "critique")[1]
    wishes = [item for item in contents(ear, "implement") if item.startswith("About the plan: ")]
    assert wishes == ["About the plan: with a test", "About the plan: with two tests"]


def test_answers_that_cannot_be_taken_are_refused(tmp_path: Path) -> None:
    ear = planner("1. write a.txt")
    with scene(tmp_path, ear, "process", settings=APPROVING) as human:
        question = plan_asked(human, "write a.txt").question
        assert question is not None
        assert human.send(cmd.Answer(text=" \n")).error == "the answer is empty"
        assert human.send(cmd.Answer(text="yes", question=question.seq - 1)).error == (
            "that question is answered already; another one is open"
        )
        assert human.send(cmd.Answer(text="yes", question=question.seq)).error == ""
        human.until(in_review, "the review")
        assert human.send(cmd.Answer(text="yes", question=question.seq)).error == "nothing is being asked"


def test_a_pause_outlasts_an_answer_and_a_question_outlasts_a_pause() -> None:
    started = ev.SessionStarted(session="s", repository="r", prompt="p", version="0")
    question = ev.Question(seq=2, question="?")
    state = fold([started, question, ev.Paused(), ev.Answer(question=2, text="a")])
    assert (state.status, state.question) == ("paused", None)
    assert fold([started, question, ev.Paused(), ev.Resumed()]).status == "waiting"
    assert fold([started, question, ev.Paused(), ev.Answer(question=2, text="a"), ev.Resumed()]).status == "running"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("2", "blue"), ("Red", "red"), ("blue", "blue"), ("3", "3"), ("0", "0"), ("reddish", "reddish"), ("²", "²")],
)
def test_an_option_is_named_by_its_number_or_its_text(typed: str, meant: str) -> None:
    assert option(("red", "blue"), typed) == meant


def test_an_option_that_is_a_number_means_itself() -> None:
    assert option(("4", "2", "1"), "2") == "2"


@pytest.mark.bubblewrap
def test_a_run_asks_and_is_answered_from_the_command_line(tmp_path: Path, bubblewrap: str) -> None:
    program = Program(tmp_path, OPENAI_API_KEY="sk-test")
    (tmp_path / "config.toml").write_text("[workflow]\napprove_plan = true\n")
    repository = make_repository(tmp_path / "repository")
    agent = steps(call("ask_user", question="Which colour?", options=["red", "blue"]), WRITE)
    with OpenAIServer(agent) as server:
        program.env["OPENAI_BASE_URL"] = server.url
        options = ("-p", "Paint it", "--model", "openai/test", "--sandbox", "bubblewrap")
        first = program.run("run", str(repository), *options)
        name = program.session.name
        assert first.returncode == 4
        assert "question   Work by this plan? [yes / no]\n" in first.stdout
        assert first.stderr.splitlines() == [
            "backspace-tui: the agent asks: Work by this plan?; "
            f"answer with: backspace-tui resume {name} --answer TEXT (one of: yes, no; or your own words)"
        ]
        empty = program.run("resume", name, "--answer", " ")
        assert (empty.returncode, empty.stderr) == (2, "backspace-tui: --answer: the answer is empty\n")
        planned = program.run("resume", name, "--answer", "1")
        assert planned.returncode == 4
        assert "the agent asks: Which colour?; answer with: " in planned.stderr
        done = program.run("resume", name, "--answer", "2")
        assert done.returncode == 4
        assert "answer     blue\n" in done.stdout
        assert "see its hunks with" in done.stderr
        late = program.run("resume", name, "--answer", "red")
        assert (late.returncode, late.stderr) == (2, f"backspace-tui: --answer: session {name} asks nothing\n")
    answers = [event.text for event in program.events() if isinstance(event, ev.Answer)]
    assert answers == ["yes", "blue"]
    results = [m["content"] for m in server.bodies[-2]["messages"] if m["role"] == "tool"]
    assert results[0] == "blue"
