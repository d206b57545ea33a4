"""What the window and the headless run say of costs, limits, failed requests and changes of the model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState, fold
from backspace_tui.headless import Teller
from backspace_tui.ui.feed import Feed
from backspace_tui.ui.status import budget, of_session

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
FIRST, SECOND = "anthropic/claude-sonnet-5", "openai/gpt-5.6"
LIMITS: dict[str, Any] = {"usd": 3.0, "tokens": 100_000, "minutes": 30, "turns": 60}


def session(limits: object, *events: ev.AnyEvent) -> SessionState:
    started = ev.SessionStarted(
        session="s", repository="/r", prompt="p", version="0", models=(FIRST, SECOND), settings={"budget": limits}
    )
    everything = [started, ev.StageStarted(stage="implement"), *events]
    return fold(
        replace(event, seq=seq, time=BEGAN + timedelta(minutes=seq), stage="implement")
        for seq, event in enumerate(everything, 1)
    )


def turn(usd: float | None, tokens: int = 12_000) -> list[ev.AnyEvent]:
    return [ev.ModelCalled(model=FIRST), ev.ModelReplied(model=FIRST, text="", tokens_in=tokens, usd=usd)]


def line(state: SessionState) -> list[str]:
    return [part.text for part in budget(state)]


def test_everything_that_is_limited_is_shown() -> None:
    state = session(LIMITS, *turn(0.12))
    assert line(state) == ["$0.12 of $3.00", "12,000 of 100,000 tokens", "1 of 60 turns", "1 of 30 min"]
    assert line(session({**LIMITS, "tokens": None}, *turn(0.12))) == ["$0.12 of $3.00", "1 of 60 turns", "1 of 30 min"]
    assert line(session(LIMITS)) == []


def test_what_failed_counts_and_what_was_granted_is_the_limit() -> None:
    failed = ev.ModelFailed(model=FIRST, reason="cut", tokens_in=500, usd=0.5)
    asked: list[ev.AnyEvent] = [ev.Paused(reason="budget: spent", limit="usd", needs=0.2), ev.Resumed()]
    assert line(session(LIMITS, *turn(0.12), failed))[0] == "$0.62 of $3.00"
    assert line(session(LIMITS, *turn(0.12), *asked))[0] == "$0.12 of $6.00"


def test_what_has_no_price_is_said() -> None:
    assert line(session({}, *turn(None))) == ["12,000 tokens"]
    assert line(session({}, *turn(None), *turn(0.1)))[0] == "$0.10 + 1 unpriced"
    assert line(session({"usd": 0.05}, *turn(0.0012)))[0] == "$0.0012 of $0.05"


@pytest.mark.parametrize("limits", [{"usd": "much"}, {"usd": -1, "turns": 0}, [], None, "x"])
def test_a_log_with_other_settings_is_shown_too(limits: object) -> None:
    assert line(session(limits, *turn(0.12)))[0].startswith("$0.12")


def test_what_is_nearly_used_up_stays_longest() -> None:
    parts = {part.text: part for part in budget(session(LIMITS, *turn(0.1, 90_000)))}
    assert (parts["90,000 of 100,000 tokens"].style, parts["$0.10 of $3.00"].style) == ("warn", "muted")
    assert parts["90,000 of 100,000 tokens"].rank < parts["$0.10 of $3.00"].rank


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("user", "implement paused"),
        ("budget: $3 spent", "implement paused: budget"),
        ("models: none", "implement paused: no model answers"),
    ],
)
def test_why_it_is_paused(reason: str, shown: str) -> None:
    paused = ev.Paused(reason=reason)
    assert of_session(session(LIMITS, paused), None)[0].text == shown
    waits = ev.SessionFinished(outcome="waiting", reason=reason, exit_code=4)
    assert of_session(session(LIMITS, paused, waits), None)[0].text == shown


ATTEMPTS: list[tuple[ev.AnyEvent, str]] = [
    (ev.SessionStarted(session="s", repository="/r", prompt="p", version="0", models=(FIRST, SECOND)), ""),
    (ev.ModelCalled(model=FIRST), ""),
    (
        ev.ModelFailed(model=FIRST, reason="529: Overloaded.", retry_in=2.0, kind="server"),
        f"{FIRST}: 529: Overloaded; again in 2 s",
    ),
    (ev.ModelCalled(model=FIRST, attempt_of_model=2), ""),
    (
        ev.ModelFailed(model=FIRST, reason="the stream broke", kind="cut", tokens_in=900, usd=0.0123),
        f"{FIRST}: the stream broke; the next model is asked (cost $0.0123)",
    ),
    (ev.ModelCalled(model=SECOND), f"{SECOND} is asked"),
    (
        ev.ModelFailed(model=SECOND, reason="too long", kind="context", retry_in=0.0),
        f"{SECOND}: too long; asked again with less of the conversation",
    ),
    (ev.ModelReplied(model=SECOND, text=""), ""),
    (ev.ModelCalled(model=FIRST), f"back to {FIRST}"),
    (
        ev.ModelFailed(model=FIRST, reason="no tools", kind="no_tools", retry_in=0.0),
        f"{FIRST}: no tools; asked again with the tools as text",
    ),
    (ev.ModelFailed(model=FIRST, reason="401", kind="auth"), f"{FIRST}: 401; the next model is asked"),
    (ev.ModelCalled(model=SECOND), f"{SECOND} is asked"),
    (
        ev.ModelFailed(model=SECOND, reason="cut", kind="cut", tokens_in=1200, usd=None),
        f"{SECOND}: cut; no other model is left (cost 1,200 tokens)",
    ),
    (
        ev.ModelFailed(model=SECOND, reason="400: no", kind="request"),
        f"{SECOND}: 400: no; no other model would take it either",
    ),
]


def test_each_attempt_is_one_line_in_the_thinking_log() -> None:
    feed = Feed()
    for event, said in ATTEMPTS:
        assert [entry.text for entry in feed.feed([event]).thinking] == ([said] if said else [])


def test_and_one_line_of_a_run_without_a_window(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller()
    for event, _ in ATTEMPTS:
        teller(event)
    printed = [row for row in capsys.readouterr().out.splitlines() if not row.startswith(("session", "models"))]
    assert printed == [f"model      {said}" for _, said in ATTEMPTS if said]
