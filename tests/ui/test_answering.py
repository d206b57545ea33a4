"""Answering the agent in the window: by number, by arrows, in one's own words; and editing the plan."""

from __future__ import annotations

import pytest
from textual import events
from textual.keys import _character_to_key as character_to_key

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.ui.panes.question import rows_of
from backspace_tui.ui.screens.answering import numbered
from tests.ui.sample import Host
from tests.ui.windows import Window, launch_of, opened, scenario

PLAN = "1. look\n2. mend cart.py\n3. test"
CURRENCY = ev.Question(question="Which currency?", options=("euro", "dollar", "pound"))
APPROVAL = ev.Question(question=f"Work by this plan?\n{PLAN}", options=("yes", "no"), about="plan")


def answers(host: Host) -> list[str]:
    return [command.text for command in host.commands if isinstance(command, cmd.Answer)]


def said(host: Host) -> list[str]:
    return [command.text for command in host.commands if isinstance(command, cmd.Say)]


async def asked(window: Window, host: Host, *events: ev.AnyEvent) -> None:
    """The question is shown, and the window has dealt with it."""
    host.sample.emit("implement", *events)
    await window.until(lambda: window.workspace.question.display, "the question")
    await window.pilot.pause()


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        (["2"], "dollar"),
        (["2", "enter"], "dollar"),
        (["down", "down", "up", "enter"], "euro"),
        (["up", "enter"], "pound"),
        ([*"francs", "enter"], "francs"),
        (["i", *"42 francs", "enter"], "42 francs"),
        (["i", "3", "enter"], "pound"),
        (["9", *"0 pesos", "enter"], "90 pesos"),
    ],
)
def test_an_option_by_its_number_or_own_words(host: Host, keys: list[str], answer: str) -> None:
    @scenario
    async def look() -> None:
        async with opened(launch_of(host.sample)) as window:
            await window.ready()
            await asked(window, host, CURRENCY)
            assert window.workspace.focused is window.workspace.question
            await window.press(*keys)
            await window.until(lambda: answers(host), "the answer")
            await window.until(lambda: not window.workspace.question.display, "the question to go")
            await window.press("x")
            await window.until(lambda: host.decisions(), "a key for the pane")
        assert answers(host) == [answer]
        (question,) = [event for event in host.sample.log.events if isinstance(event, ev.Question)]
        assert [command.question for command in host.commands if isinstance(command, cmd.Answer)] == [question.seq]
        assert said(host) == []

    look()


@scenario
async def test_a_line_that_was_begun_before_the_question_is_no_answer(host: Host) -> None:
    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        await window.press("i", *"also the")
        await asked(window, host, CURRENCY)
        await window.press(*" docs", "enter")
        await window.until(lambda: said(host) == ["also the docs"], "the message")
        assert window.workspace.question.display
        await window.press("i", "1")
        await window.until(lambda: answers(host) == ["euro"], "the answer")


@scenario
async def test_keys_of_the_panes_are_no_answer_to_a_question_that_has_just_come(host: Host) -> None:
    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        await window.press("j")
        await asked(window, host, CURRENCY)
        assert "i answers" in window.workspace.status.text
        await window.press("2")
        assert answers(host) == []
        await window.press("i", "2")
        await window.until(lambda: answers(host) == ["dollar"], "the answer")


@scenario
async def test_an_answer_begun_for_one_question_does_not_answer_the_next(host: Host) -> None:
    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        await asked(window, host, CURRENCY)
        await window.press(*"eur")
        first = host.sample.state.question
        assert first is not None
        then = ev.Question(question="Which name?")
        host.sample.emit("implement", ev.Answer(question=first.seq, text="from elsewhere"), then)
        await window.until(lambda: "Which name?" in window.text(), "the next question")
        assert window.workspace.prompt.input.value == ""
        await window.press(*"Uma", "enter")
        await window.until(lambda: answers(host) == ["Uma"], "the answer")


@scenario
async def test_commands_and_searches_work_while_a_question_is_open(host: Host) -> None:
    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        await asked(window, host, ev.Question(question="Which name?"))
        await window.press(*"/pause", "enter")
        await window.until(lambda: cmd.Pause() in host.commands, "the command")
        await window.until(lambda: "paused" in window.workspace.status.text, "the pause")
        await window.press("/", *"price", "enter")
        await window.press("i", *"Uma", "enter")
        await window.until(lambda: answers(host) == ["Uma"], "the answer")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_the_plan_is_edited_in_the_users_editor(
    host: Host, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    @scenario
    async def look() -> None:
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", r"sed -i -e s/look/read/ -e '$a log the total'")
        async with opened(launch_of(host.sample), size) as window:
            await window.until(lambda: window.workspace.desk.review is not None, "the review")
            await asked(window, host, ev.Message(role="agent", kind="plan", text=PLAN), APPROVAL)
            screen = window.text()
            assert "3. test" in screen
            assert "2 no" in screen
            assert "e: edit the plan" in screen
            await window.press("e")
            await window.until(lambda: answers(host), "the answer")
        assert answers(host) == ["1. read\n2. mend cart.py\n3. test\n4. log the total"]

    look()


@pytest.mark.parametrize(
    ("editor", "words"),
    [("true", "the plan is as it was: nothing was answered"), ("false", "exit code 1: nothing was answered")],
)
def test_an_editor_that_leaves_the_plan_answers_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch, editor: str, words: str
) -> None:
    @scenario
    async def look() -> None:
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", editor)
        async with opened(launch_of(host.sample)) as window:
            await window.ready()
            await asked(window, host, ev.Message(role="agent", kind="plan", text=PLAN), APPROVAL)
            await window.press("i", *"/plan", "enter")
            await window.until(lambda: words in window.workspace.status.text, "the word")
            assert window.workspace.question.display
        assert answers(host) == []

    look()


@scenario
async def test_what_is_refused_stands_in_the_line_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("It understands: replace ...")

    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        monkeypatch.setattr(host.sample, "emit", refuse)
        await window.press("i", *"make it better", "enter")
        await window.until(lambda: "It understands" in window.workspace.status.text, "the refusal")
        assert window.workspace.prompt.input.value == "make it better"


# The parts


def test_every_option_stays_and_a_long_question_is_cut() -> None:
    words = "word " * 200
    rows = rows_of(words, ["first", "second " * 30], 40, 12)
    assert len(rows) == 12
    assert [row.option for row in rows if row.first and row.option] == [1, 2]
    assert [row for row in rows if not row.option][-1].text.endswith(" …")
    assert all(len(row.text) <= 40 for row in rows)
    options = [f"option {number} " * 9 for number in range(9)]
    assert [row.option for row in rows_of(words, options, 40, 10)] == [0, *range(1, 10)]
    assert [row.text for row in rows_of(words, options, 40, 6)][-1] == "… 9"
    assert len(rows_of(words, options, 40, 6)) == 6
    assert rows_of("short", (), 40, 6) == [("short", 0, True)]


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("1. a\n2. b", "1. a\n2. b"),
        ("3) a\n\n1. b\n   and more\n- c\nd\n", "1. a\n2. b and more\n3. c\n4. d"),
        ("a\n1.\n", "1. a"),
        ("  1. a\n  2. b", "1. a\n2. b"),
    ],
)
def test_what_the_editor_leaves_is_a_numbered_list(text: str, plan: str) -> None:
    assert numbered(text) == plan


@pytest.mark.parametrize(("keys", "line"), [("ixyx", "xyx"), ("!e x", "!e x"), ("/xa", "xa")])
def test_a_burst_of_keys_goes_where_its_first_key_leads(host: Host, keys: str, line: str) -> None:
    @scenario
    async def look() -> None:
        async with opened(launch_of(host.sample)) as window:
            await window.ready()
            for key in keys:
                window.app.post_message(events.Key(character_to_key(key), key))
            await window.until(lambda: window.workspace.prompt.input.value == line, "the line")
        assert host.commands == []

    look()
