"""The budget: what counts, what is refused before it is asked for, and the pause that lets a person decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backspace_tui.config import BudgetSettings, Settings, load
from backspace_tui.core import events as ev
from backspace_tui.core.protocols import BadRequest, ChatMessage, Estimate, ModelReply, ModelRequest
from backspace_tui.core.redact import Redactor
from backspace_tui.core.spending import Limits, Spent, count, extended, money
from backspace_tui.core.state import SessionState, fold
from backspace_tui.engine import driver
from backspace_tui.engine.budget import refusal
from backspace_tui.engine.job import Control, Job, Parts, StageResult, TurnPaused, WaitsForPerson
from backspace_tui.engine.recorder import Recorder
from backspace_tui.engine.turns import ask, boundary
from backspace_tui.models.chain import FallbackChain
from backspace_tui.models.faults import Fault
from backspace_tui.sessions.codec import from_json, to_json

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST = ModelRequest((ChatMessage("user", "go"),), "implement")


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.time = BEGAN

    def pass_(self, minutes: float) -> None:
        self.time += timedelta(minutes=minutes)

    def __call__(self) -> datetime:
        return self.time


class Log:
    """A log in memory whose events have times."""

    def __init__(self, clock: Clock) -> None:
        self.events: list[ev.AnyEvent] = []
        self.clock = clock

    def append(self, event: ev.AnyEvent) -> ev.AnyEvent:
        self.events.append(replace(event, seq=len(self.events) + 1, time=self.clock()))
        return self.events[-1]

    def extend(self, events: Iterable[ev.AnyEvent]) -> list[ev.AnyEvent]:
        return [self.append(event) for event in events]


class Priced:
    """A model of the chain that takes ``minutes``, and answers or fails, at a price."""

    def __init__(
        self,
        name: str,
        usd: float | None,
        *faults: Fault,
        may: float | None = None,
        clock: Clock | None = None,
        minutes: float = 0.0,
    ) -> None:
        self.name = name
        self.usd, self.faults = usd, list(faults)
        self.may = usd if may is None else may
        self.clock, self.minutes = clock, minutes
        self.asked = 0

    def estimate(self, request: ModelRequest) -> Estimate:
        return Estimate(self.name, 80, 20, self.may)

    def complete(self, *_: object, **__: object) -> ModelReply:
        self.asked += 1
        if self.clock is not None:
            self.clock.pass_(self.minutes)
        if self.faults:
            raise self.faults.pop(0)
        return ModelReply(self.name, "done", tokens_in=80, tokens_out=10, usd=self.usd)


def broken(kind: Any, usd: float | None = 0.0, tokens: int = 0) -> Fault:
    """A fault that cost something all the same."""
    fault = Fault(kind, "it broke")
    fault.usd, fault.tokens_in = usd, tokens
    return fault


Make = Callable[..., Job]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Make:
    """A session that asks these models within this budget; nobody is there to wait for."""

    def made(budget: BudgetSettings, *models: Priced) -> Job:
        recorder = Recorder(Log(clock))
        nothing: Any = None
        settings = Settings(budget=budget)
        started = ev.SessionStarted(
            session="s", repository="/r", prompt="p", version="0", models=tuple(model.name for model in models),
            settings=msgspec.to_builtins(settings),
        )  # fmt: skip
        recorder.emit(started)
        recorder.enter(ev.StageStarted(stage="implement"))
        chain = FallbackChain(models, clock=lambda: clock().timestamp(), sleep=lambda s, _: clock.pass_(s / 60))
        parts = Parts(
            model=chain, sandboxes=nothing, forge=nothing, prompts={}, settings=settings, redactor=Redactor([])
        )
        return Job(
            tmp_path, recorder, nothing, nothing, nothing, parts, Control(), exit_when_waiting=True, idle_timeout=1.0,
            now=clock,
        )  # fmt: skip

    return made


def resume(job: Job) -> None:
    job.recorder.emit(ev.Resumed())


def refused(job: Job) -> str:
    """The reason of the pause that the next request ends in."""
    with pytest.raises(TurnPaused):
        ask(job, REQUEST)
    return job.state.paused


def test_what_failed_counts_and_the_fallback_is_too_dear_for_what_is_left(make: Make) -> None:
    first = Priced("cheap", 0.01, *(broken("cut", 0.3) for _ in range(3)), may=0.01)
    second = Priced("dear", 0.2)
    job = make(BudgetSettings(usd=1.0), first, second)
    told = refused(job)
    assert told == "budget: $0.90 spent of $1.00, and the next request to dear may take $0.20 ([budget] usd)"
    assert (first.asked, second.asked) == (3, 0)
    assert job.state.usd == pytest.approx(0.9)
    resume(job)
    # The first one rests after its faults.
    assert ask(job, REQUEST).model == "dear"
    assert job.state.usd == pytest.approx(1.1)


def test_dollars_are_never_gone_past(make: Make) -> None:
    model = Priced("m", 0.1, may=0.3)
    job = make(BudgetSettings(usd=0.75), model)
    for _ in range(5):
        ask(job, REQUEST)
    assert refused(job) == "budget: $0.50 spent of $0.75, and the next request to m may take $0.30 ([budget] usd)"
    assert model.asked == 5


def test_what_a_person_was_asked_about_is_allowed_then(make: Make) -> None:
    model = Priced("m", 0.6, may=0.65)
    job = make(BudgetSettings(usd=0.05), model)
    assert "may take $0.65" in refused(job)
    resume(job)
    ask(job, REQUEST)
    assert "$0.60 spent of $0.81" in refused(job)


def test_a_dearer_model_than_the_one_that_was_asked_about_is_not(make: Make) -> None:
    job = make(BudgetSettings(usd=0.05), Priced("m", 0.1, broken("auth"), broken("auth")), Priced("dear", 0.5))
    assert "request to m may take $0.10" in refused(job)
    resume(job)
    assert "request to dear may take $0.50" in refused(job)
    assert job.state.usd == 0


def test_tokens_count_both_ways_and_those_of_failed_requests(make: Make) -> None:
    job = make(BudgetSettings(tokens=400), Priced("m", 0.0, broken("cut", None, 150)))
    ask(job, REQUEST)
    assert (job.state.tokens, job.state.unpriced) == (240, 1)
    ask(job, REQUEST)
    told = refused(job)
    assert told == "budget: 330 tokens used of 400, and the next request to m may take 100 ([budget] tokens)"


def test_turns_are_those_that_were_answered(make: Make) -> None:
    model = Priced("m", 0.0, broken("cut"), broken("cut"))
    job = make(BudgetSettings(turns=2), model)
    ask(job, REQUEST)
    ask(job, REQUEST)
    assert model.asked == 4
    with pytest.raises(WaitsForPerson, match=r"budget: 2 turns taken of 2 \(\[budget\] turns\)"):
        ask(job, REQUEST)
    resume(job)
    ask(job, REQUEST)
    assert job.state.turns == 3


def test_minutes_are_those_of_work_and_end_a_turn_between_two_tries(make: Make, clock: Clock) -> None:
    slow = Priced("slow", 0.0, broken("hang"), broken("hang"), clock=clock, minutes=3)
    job = make(BudgetSettings(minutes=5), slow, Priced("m", 0.0))
    clock.pass_(600)
    assert refused(job) == "budget: 6 minutes worked of 5 ([budget] minutes)"
    assert slow.asked == 2
    clock.pass_(600)
    resume(job)
    assert ask(job, REQUEST).model == "slow"
    assert job.state.spent.minutes(clock()) == 9


def test_a_price_that_is_not_known_counts_nothing_and_is_said_once(make: Make) -> None:
    job = make(BudgetSettings(usd=0.01), Priced("m", None))
    for _ in range(3):
        ask(job, REQUEST)
    (said,) = [event.text for event in job.recorder.events if isinstance(event, ev.Message)]
    assert said == "the price of m is not known, so [budget] usd does not count it; the other limits hold"
    assert (job.state.usd, job.state.unpriced) == (0, 3)


def test_no_answer_pauses_with_every_reason_and_resuming_asks_again(make: Make) -> None:
    models = [Priced(name, 0.0, *(broken("auth"),) * 9) for name in ("a", "b")]
    job = make(BudgetSettings(), *models)
    told = refused(job)
    assert told.startswith("models: no model answered: a: it broke; b: it broke")
    with pytest.raises(WaitsForPerson, match="models: no model answered"):
        boundary(job)
    resume(job)
    refused(job)
    resume(job)
    for model in models:
        model.faults.clear()
    assert ask(job, REQUEST).text == "done"


def test_a_request_that_is_wrong_fails_the_stage(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make(BudgetSettings(), Priced("a", 0.0, broken("request"), broken("request")), Priced("b", 0.0))
    monkeypatch.setitem(driver.RUN, "implement", lambda job: StageResult("ok", ask(job, REQUEST).text))
    with pytest.raises(BadRequest):
        ask(job, REQUEST)
    job = make(BudgetSettings(), Priced("a", 0.0, broken("request"), broken("request")), Priced("b", 0.0))
    assert driver._run(job, "implement", 0).outcome == "failed"
    assert not job.state.paused
    assert job.state.exit_code == 1


def test_the_stage_goes_on_from_its_log_after_the_pause(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person did during the pause is part of the request that follows."""
    model = Priced("m", 0.4)
    job = make(BudgetSettings(usd=1.0), model)
    job.exit_when_waiting = False
    seen: list[int] = []

    def stage(job: Job) -> StageResult:
        while job.state.turns < 4:
            seen.append(len([event for event in job.recorder.events if isinstance(event, ev.Message)]))
            ask(job, REQUEST, heard=job.recorder.events[-1].seq)
        return StageResult("ok")

    def person(job: Job, ready: Callable[[], bool]) -> None:
        assert job.state.paused.startswith("budget: ")
        job.recorder.emit(ev.Message(role="user", kind="steer", text="mind this"))
        resume(job)
        assert ready()

    monkeypatch.setitem(driver.RUN, "implement", stage)
    monkeypatch.setattr("backspace_tui.engine.turns.wait", person)
    assert driver._run(job, "implement", 0).outcome == "ok"
    assert seen == [0, 0, 0, 1, 1]
    assert job.state.unheard is None
    assert sum(isinstance(event, ev.Paused) for event in job.recorder.events) == 1


# The fold


def timed(*events: tuple[float, ev.AnyEvent]) -> SessionState:
    """The state after events at these minutes."""
    return fold(
        replace(event, seq=seq, time=BEGAN + timedelta(minutes=at), stage="implement")
        for seq, (at, event) in enumerate(events, 1)
    )


CALLED, REPLIED = ev.ModelCalled(model="m"), ev.ModelReplied(model="m", text="", usd=0.0)
TOOL, ENDED = ev.ToolStarted(call_id="1", tool="x"), ev.ToolFinished(call_id="1", tool="x", ok=True, text="")


@pytest.mark.parametrize(
    ("events", "minutes"),
    [
        ([(0, CALLED), (2, REPLIED), (2, TOOL), (5, ENDED), (9, CALLED)], 5),
        # The wait between two tries is the agent's.
        ([(0, CALLED), (2, ev.ModelFailed(model="m", reason="r", retry_in=60)), (3, CALLED), (4, REPLIED)], 4),
        # A question is the person's.
        ([(0, TOOL), (1, ev.Question(question="q")), (60, ev.Answer(question=2, text="a")), (60, ENDED)], 1),
        ([(0, CALLED), (2, REPLIED), (2, ev.Paused()), (60, ev.Resumed()), (61, CALLED), (62, REPLIED)], 3),
        # A pause in the middle of a call waits for its end.
        ([(0, CALLED), (1, ev.Paused()), (2, REPLIED), (60, ev.Resumed())], 2),
        ([(0, CALLED), (2, ev.Paused(reason="models: none")), (60, ev.Resumed())], 2),
        # Its process died.
        ([(0, TOOL), (3, ev.ToolOutput(call_id="1", stream="stdout", text="t")), (90, ev.StageStarted())], 3),
        ([(0, CALLED), (2, ev.SessionFinished(outcome="stopped"))], 2),
        ([(0, ev.ToolStarted(call_id="1", tool="shell", by="user")), (50, replace(ENDED, by="user"))], 0),
    ],
)
def test_minutes(events: list[tuple[float, ev.AnyEvent]], minutes: float) -> None:
    state = timed(*events)
    assert state.spent.minutes(state.last_time) == minutes


def test_an_old_log_without_costs_of_failures_is_read() -> None:
    state = timed((0, CALLED), (1, ev.ModelFailed(model="m", reason="529")), (1, ev.Paused(reason="budget: old")))
    assert (state.usd, state.tokens, state.unpriced) == (0.0, 0, 0)
    resumed = timed((0, ev.Paused(reason="budget: old")), (1, ev.Resumed())).spent
    assert extended(Limits(1.0, 100, 30.0, 60), resumed) == Limits(2.0, 200, 60.0, 120)


def test_a_person_extends_the_limit_that_was_reached_and_no_other() -> None:
    limits = Limits(1.0, 100, 30.0, 60)
    spent = timed((0, ev.Paused(reason="budget: t", limit="turns")), (1, ev.Resumed())).spent
    assert extended(limits, spent) == Limits(1.0, 100, 30.0, 120)
    paid = ev.ModelReplied(model="m", text="", usd=0.5, tokens_in=50)
    asked = ev.Paused(reason="budget: u", limit="usd", needs=4.0)
    spent = timed((0, CALLED), (1, paid), (1, asked), (2, ev.Resumed())).spent
    assert extended(limits, spent) == Limits(5.5, 100, 30.0, 60)
    late = ev.Paused(reason="budget: m", limit="minutes")
    spent = timed((0, CALLED), (100, paid), (100, late), (200, ev.Resumed())).spent
    assert extended(limits, spent) == Limits(1.0, 100, 130.0, 60)
    stopped = ev.StageFinished(outcome="stopped")
    spent = timed((0, CALLED), (1, paid), (1, asked), (2, stopped), (2, ev.Paused()), (3, ev.Resumed())).spent
    assert extended(limits, spent) == limits


@given(
    st.floats(0, 10), st.floats(0, 10), st.integers(1, 4),
    st.one_of(st.none(), st.floats(0, 5)), st.integers(0, 5000), st.integers(0, 5000),
)  # fmt: skip
def test_what_is_allowed_stays_within(
    spent: float, limit: float, times: int, usd: float | None, tokens: int, used: int
) -> None:
    limit = limit or 0.01
    names = ("usd", "tokens")
    state = Spent(
        usd=spent, tokens=used, extra=dict.fromkeys(names, times - 1), granted=dict.fromkeys(names, (0.0, 0.0))
    )
    told = refusal(BudgetSettings(usd=limit, tokens=4000), state, Estimate("m", tokens, 0, usd), BEGAN)
    fits = spent < limit * times and spent + (usd or 0) <= limit * times * (1 + 1e-9)
    fits = fits and used < 4000 * times and used + tokens <= 4000 * times
    assert (told is None) == fits


def test_no_limit_can_be_set(tmp_path: Path, make: Make) -> None:
    (tmp_path / "config.toml").write_text("[budget]\nusd = inf\n")
    settings = load(tmp_path / "config.toml", {"BACKSPACE_TUI_BUDGET_MINUTES": "inf"})
    assert settings.budget == BudgetSettings(usd=None, minutes=None)
    job = make(settings.budget, Priced("m", 1e6))
    ask(job, REQUEST)
    ask(job, REQUEST)
    again = msgspec.convert(from_json(to_json(msgspec.to_builtins(settings)), Any), Settings)
    assert again == settings


def test_amounts_for_people() -> None:
    amounts = [0, 0.00001, 0.0012, 0.01, 0.05, 0.0999, 0.1, 1.239, 30]
    shown = ["$0.00", "under $0.0001", "$0.0012", "$0.01", "$0.05", "$0.0999", "$0.10", "$1.24", "$30.00"]
    assert [money(amount) for amount in amounts] == shown
    assert [count(number) for number in (0.01, 6.0, 12.345, 130.2, 1300, 1e6)] == [
        "0.01", "6", "12.3", "130", "1,300", "1,000,000",
    ]  # fmt: skip
