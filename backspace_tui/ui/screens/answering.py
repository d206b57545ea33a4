"""Answering what the agent asks, and editing a plan that waits for the user's word."""

from __future__ import annotations

import os
import re
import time
from typing import Final

from textual import events
from textual.widgets import Input

from backspace_tui.core import commands as cmd
from backspace_tui.ui.keymap import TO_THE_LINE, split
from backspace_tui.ui.panes.question import QuestionBar
from backspace_tui.ui.screens.editing import EditFailed, Editing, edited, editor, released

_AT_WORK: Final = 2.0
"""Seconds after a key of the panes in which a question does not take the focus: the next key is not meant for it."""

_MARK: Final = re.compile(r"(?:\d{1,2}[.)]|[-*+•])(?:\s+|$)")


class Answering(Editing):
    """The question takes the focus unless the user is busy; ``i`` gets to it."""

    _chosen = False

    def question_changed(self) -> None:
        question = self.desk.state.question
        there = self.focused is self.question or (self.focused is self.prompt.input and self.prompt.purpose == "answer")
        at_work = time.monotonic() - self.backspace.pressed_at < _AT_WORK
        in_line = self.focused is self.prompt.input and self.prompt.purpose == "prompt"
        writing = in_line and (at_work or bool(self.prompt.input.value))
        self.question.edit_key = split(self.keys["hunk.edit"])[0]
        self.question.prompt_keys = split(self.keys["prompt"])
        self.question.fit()
        self.prompt.expect(question.seq if question is not None else 0, now=not writing)
        if question is None:
            if there:
                self.set_focus(self.active_pane)  # at once: the next key is for the pane
        elif writing:
            self.say("the agent asks: send or clear your line, then answer", "alert")
        elif at_work and self.backspace.pressed_in_pane and not there:
            self.say(f"the agent asks: {split(self.keys['prompt'])[0]} answers", "alert")
        else:
            self._go_to_question()

    def _go_to_question(self) -> None:
        asks = self.question.question
        chooses = asks is not None and asks.options and not self.prompt.input.value
        self.set_focus(self.question if chooses else self.prompt.input)

    def action_prompt(self) -> None:
        chosen, self._chosen = self._chosen, False
        if chosen and self.backspace.pressed == "enter":
            return  # the number alone has chosen
        if self.question.question is not None and self.focused is not self.question:
            self.prompt.use_for(self.prompt.home)
            self._go_to_question()
        elif self.focused is self.question:
            self.set_focus(self.prompt.input)
        else:
            super().action_prompt()

    def on_question_bar_chosen(self, message: QuestionBar.Chosen) -> None:
        message.stop()
        self._chosen = True
        self.answer(message.text)

    def before_key(self, event: events.Key) -> None:
        """A key is about to go to what has the focus: text is for the prompt line, this key and all after it."""
        if self.focused is self.question and self.question.is_text(event):
            self.set_focus(self.prompt.input)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that lead to the prompt line are text in it, and enter chooses in the question."""
        if action in TO_THE_LINE and self.backspace.in_key:
            if isinstance(self.focused, Input):
                return False
            if self.focused is self.question and self.backspace.pressed == "enter":
                return False
        return super().check_action(action, parameters)

    def on_question_bar_pasted(self, message: QuestionBar.Pasted) -> None:
        message.stop()
        self.set_focus(self.prompt.input)
        self.prompt.input.insert_text_at_cursor(message.text)

    def answer(self, text: str) -> None:
        """Answer the question that is shown."""
        question = self.question.question
        if question is not None:
            self.send(cmd.Answer(text=text, question=question.seq))
            self.active_pane.focus()

    # The plan

    def action_edit(self) -> None:
        if self.question.is_plan and (self.focused is self.question or self.diff.hunk is None):
            self.edit_plan()
        else:
            super().action_edit()

    def edit_plan(self) -> None:
        """Open the plan in the user's editor; what is left of it takes its place and is worked by."""
        if not self.question.is_plan:
            self.say("no plan waits for your word ([workflow] approve_plan asks for it)", "muted")
            return
        before = self.desk.state.plan.strip() + "\n"
        try:
            command = editor(os.environ)
            with released(self.app):
                after = edited(command, before.encode(), "plan.md").decode(errors="replace")
        except EditFailed as problem:
            self.say(f"{problem}: nothing was answered", "warn")
            return
        if after.strip() == before.strip():
            self.say("the plan is as it was: nothing was answered", "muted")
        else:
            self.answer(numbered(after))
            self.say("the agent works by your plan", "accent")


def numbered(text: str) -> str:
    """``text`` as a numbered list: every line is a step, numbered or not; an indented one goes on with its step."""
    steps: list[str] = []
    for line in text.splitlines():
        if steps and line.startswith((" ", "\t")) and not _MARK.match(line.strip()):
            steps[-1] += f" {line.strip()}".rstrip()
        elif step := _MARK.sub("", line.strip()):
            steps.append(step)
    return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1))
