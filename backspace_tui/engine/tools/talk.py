"""Asking the human, and ending the work."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from backspace_tui.engine.tools.base import Tool, ToolContext, ToolOutcome


class AskUserArguments(msgspec.Struct, frozen=True):
    question: Annotated[str, Meta(min_length=1)]
    options: Annotated[list[str], Meta(max_length=9)] = []


class AskUser(Tool[AskUserArguments]):
    name = "ask_user"
    description = "Ask the user what you cannot find out yourself; options are offered to choose from."
    Arguments = AskUserArguments

    def title(self, arguments: AskUserArguments) -> str:
        return f"ask    {arguments.question}"

    def run(self, arguments: AskUserArguments, context: ToolContext) -> ToolOutcome:
        return ToolOutcome(context.ask(arguments.question, tuple(arguments.options)))


class FinishArguments(msgspec.Struct, frozen=True):
    summary: Annotated[str, Meta(description="what you did and why, for the user, in a few sentences")]


class Finish(Tool[FinishArguments]):
    name = "finish"
    description = "End your work when the request is done and checked."
    Arguments = FinishArguments
    ends_turn = True

    def title(self, arguments: FinishArguments) -> str:
        return "finish"

    def run(self, arguments: FinishArguments, context: ToolContext) -> ToolOutcome:
        # A last look at every file finds what a service wrote meanwhile.
        return ToolOutcome(arguments.summary, touched=None)
