"""When a session has spent what it may."""

from __future__ import annotations

from collections.abc import Iterable

from backspace_tui.config import BudgetSettings
from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState

REASON = "budget: "


def exceeded(budget: BudgetSettings, state: SessionState, events: Iterable[ev.AnyEvent]) -> str:
    """Why no further model call may be made, with the setting to raise, or an empty string.

    Each time the user resumes after such a pause the session gets the same amount once more. Minutes count the
    time in which the agent worked.
    """
    times = 1
    paused_for_budget = False
    minutes = 0.0
    working_since = None
    for event in events:
        match event:
            case ev.Paused(reason=reason):
                paused_for_budget = reason.startswith(REASON)
            case ev.Resumed():
                times += paused_for_budget
                paused_for_budget = False
            case ev.ModelCalled():
                working_since = event.time
            case ev.ToolStarted(by="user"):
                working_since = None
            case ev.ModelReplied() | ev.ToolFinished():
                if working_since is not None:
                    minutes += (event.time - working_since).total_seconds() / 60
                    working_since = event.time
            case ev.StageFinished() | ev.SessionFinished():
                working_since = None
            case _:
                pass
    if budget.usd and state.usd >= budget.usd * times:
        return f"{REASON}${state.usd:.2f} spent of ${budget.usd * times:.2f} ([budget] usd)"
    if budget.tokens and state.tokens >= budget.tokens * times:
        return f"{REASON}{state.tokens} tokens used of {budget.tokens * times} ([budget] tokens)"
    if budget.turns and state.turns >= budget.turns * times:
        return f"{REASON}{state.turns} turns taken of {budget.turns * times} ([budget] turns)"
    if budget.minutes and minutes >= budget.minutes * times:
        return f"{REASON}{minutes:.0f} minutes worked of {budget.minutes * times:g} ([budget] minutes)"
    return ""
