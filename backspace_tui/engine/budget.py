"""When a session has spent what it may, or is about to."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from backspace_tui.config import BudgetSettings
from backspace_tui.core import events as ev
from backspace_tui.core.protocols import Estimate
from backspace_tui.core.spending import REASON, Limits, Spent, count, extended, money


class Refusal(NamedTuple):
    """Why a request may not be made, with the setting to raise; ``needs`` is what it may take of that limit."""

    reason: str
    limit: Literal["usd", "tokens", "minutes", "turns"]
    needs: float = 0.0

    def pause(self) -> ev.Paused:
        """The pause that it leads to."""
        return ev.Paused(reason=self.reason, limit=self.limit, needs=self.needs)


def refusal(budget: BudgetSettings, spent: Spent, estimate: Estimate, now: datetime) -> Refusal | None:
    """Why the request that ``estimate`` is of may not be made, or ``None``.

    A price that is not known counts nothing. Each time the user resumes after such a pause the session gets the same
    amount once more.
    """
    limits = extended(Limits(budget.usd, budget.tokens, budget.minutes, budget.turns), spent)
    usd, tokens = estimate.usd or 0.0, estimate.tokens_in + estimate.tokens_out
    if limits.usd is not None and _over(spent.usd, usd, limits.usd):
        what = f"{money(spent.usd)} spent of {money(limits.usd)}"
        return Refusal(_told(what, estimate, money(usd) if usd else "", "usd"), "usd", usd)
    if limits.tokens is not None and _over(spent.tokens, tokens, limits.tokens):
        what = f"{spent.tokens:,} tokens used of {limits.tokens:,.0f}"
        return Refusal(_told(what, estimate, f"{tokens:,}" if tokens else "", "tokens"), "tokens", tokens)
    if limits.turns is not None and spent.turns >= limits.turns:
        return Refusal(f"{REASON}{spent.turns} turns taken of {limits.turns:,.0f} ([budget] turns)", "turns")
    minutes = spent.minutes(now)
    if limits.minutes is not None and minutes >= limits.minutes:
        return Refusal(
            f"{REASON}{count(minutes)} minutes worked of {count(limits.minutes)} ([budget] minutes)", "minutes"
        )
    return None


def _over(spent: float, more: float, limit: float) -> bool:
    # What comes from adding up floats is no reason to stop.
    return spent >= limit or spent + more > limit * (1 + 1e-9)


def _told(what: str, estimate: Estimate, more: str, setting: str) -> str:
    request = f", and the next request to {estimate.model} may take {more}" if more else ""
    return f"{REASON}{what}{request} ([budget] {setting})"
