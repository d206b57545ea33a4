"""What a session's models cost so far, and how far its budget goes: a fold over its events."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from backspace_tui.core import events as ev

REASON: Final = "budget: "
"""How the reason of a pause begins that the budget is the cause of."""

MODELS: Final = "models: "
"""How the reason of a pause begins when no model answered."""

LIMITS: Final = ("usd", "tokens", "minutes", "turns")

SLACK: Final = 1.25
"""A request that was asked about may have grown by so much when the person lets it go on."""


class Spent(msgspec.Struct, frozen=True):
    """What was spent: ``usd``, ``tokens`` (both ways, failed attempts included), ``turns`` that were answered.

    ``unpriced`` counts calls whose price is not known. ``seconds`` are those in which the agent worked, waits between
    two tries included and waits for a person not; ``since`` is when the piece of work that goes on began. Of each
    limit, ``extra`` is how often a person granted it once more, and ``granted`` what was spent when they last did and
    what more they were asked for; ``asked`` is the limit that the pause which stands is about, and how much of it the
    next request may take.
    """

    usd: float = 0.0
    unpriced: int = 0
    tokens: int = 0
    turns: int = 0
    seconds: float = 0.0
    since: datetime | None = None
    extra: dict[str, int] = {}
    granted: dict[str, tuple[float, float]] = {}
    asked: tuple[str, float] | None = None

    def minutes(self, now: datetime) -> float:
        """The minutes worked until ``now``."""
        going_on = (now - self.since).total_seconds() if self.since is not None else 0.0
        return (self.seconds + max(0.0, going_on)) / 60


class Limits(msgspec.Struct, frozen=True):
    """Where a session pauses; ``None`` is no limit."""

    usd: float | None = None
    tokens: float | None = None
    minutes: float | None = None
    turns: float | None = None


COUNTED: Final = frozenset({
    ev.ModelCalled, ev.ModelFailed, ev.ModelReplied, ev.ToolStarted, ev.ToolFinished, ev.Question, ev.Paused,
    ev.Resumed, ev.StageStarted, ev.StageFinished, ev.SessionFinished,
})  # fmt: skip
"""The events that change what was spent."""


def spend(spent: Spent, event: ev.AnyEvent, before: datetime) -> Spent:
    """What is spent after ``event``; ``before`` is the time of the event in front of it."""
    match event:
        case ev.ModelCalled() | ev.ToolStarted(by="agent"):
            return spent if spent.since is not None else replace(spent, since=event.time)
        case ev.ModelFailed():
            unknown = event.usd is None and bool(event.tokens_in or event.tokens_out)
            return _paid(spent, event.usd, event.tokens_in + event.tokens_out, unknown)
        case ev.ModelReplied():
            paid = _paid(spent, event.usd, event.tokens_in + event.tokens_out, event.usd is None)
            return _rested(replace(paid, turns=spent.turns + 1), event.time)
        case ev.ToolFinished(by="agent") | ev.Question() | ev.SessionFinished():
            return _rested(spent, event.time)
        case ev.StageStarted():
            # What was going on in a process that died ended with its last event.
            return _rested(spent, before)
        case ev.StageFinished():
            return replace(_rested(spent, event.time), asked=None if event.outcome == "stopped" else spent.asked)
        case ev.Paused() if event.reason != "user":
            asked = (event.limit, event.needs) if event.reason.startswith(REASON) else None
            return replace(_rested(spent, event.time), asked=asked)
        case ev.Resumed() if spent.asked is not None:
            return _extended(spent, *spent.asked)
        case _:
            return spent


def _paid(spent: Spent, usd: float | None, tokens: int, unknown: bool) -> Spent:
    return replace(spent, usd=spent.usd + (usd or 0.0), tokens=spent.tokens + tokens, unpriced=spent.unpriced + unknown)


def _rested(spent: Spent, time: datetime) -> Spent:
    if spent.since is None:
        return spent
    return replace(spent, seconds=spent.seconds + max(0.0, (time - spent.since).total_seconds()), since=None)


def _extended(spent: Spent, limit: str, needs: float) -> Spent:
    # Older logs do not say which limit it was.
    names = (limit,) if limit else LIMITS
    extra = {**spent.extra, **{name: spent.extra.get(name, 0) + 1 for name in names}}
    taken = {"usd": spent.usd, "tokens": spent.tokens, "minutes": spent.seconds / 60, "turns": spent.turns}
    granted = {**spent.granted, **{name: (taken[name], needs * SLACK) for name in names}}
    return replace(spent, extra=extra, granted=granted, asked=None)


def extended(limits: Limits, spent: Spent) -> Limits:
    """The limits in force: each time a person lets a session go on it gets the same of what it had used up once more.

    That reaches at least as far as the request that was asked about then.
    """

    def far(name: str, limit: float | None) -> float | None:
        if not limit or name not in spent.granted:
            return limit or None
        taken, needs = spent.granted[name]
        return max(limit * (1 + spent.extra[name]), taken + max(limit, needs))

    return Limits(
        usd=far("usd", limits.usd),
        tokens=far("tokens", limits.tokens),
        minutes=far("minutes", limits.minutes),
        turns=far("turns", limits.turns),
    )


def limits_of(settings: dict[str, Any]) -> Limits:
    """The limits in the settings that a session was started with; what cannot be read is no limit."""
    try:
        return msgspec.convert(settings.get("budget", {}), Limits)
    except msgspec.ValidationError:
        return Limits()


def count(number: float) -> str:
    """A number for people: three digits, or all of a whole number's."""
    return f"{number:.3g}" if number < 100 else f"{number:,.0f}"


def money(usd: float) -> str:
    """An amount for people: cents, and more digits only of what is less than ten."""
    if usd <= 0 or usd >= 0.1:
        return f"${usd:.2f}"
    if usd < 0.0001:
        return "under $0.0001"
    digits = f"{usd:.4f}".rstrip("0")
    return f"${digits}" if len(digits) > len("0.0") + 1 else f"${usd:.2f}"
