"""Which model is asked when: breakers, waits, the cap of a turn, the budget's veto; with models told what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backspace_tui.core.protocols import (
    CancelToken,
    Estimate,
    Failure,
    ModelObserver,
    ModelReply,
    ModelRequest,
    ModelUnavailable,
    OverBudget,
)
from backspace_tui.models.chain import FallbackChain
from backspace_tui.models.faults import Fault, Kind
from tests.models.helpers import Recorder, Token, ask

FIVE: list[Kind] = ["server"] * 5


class Clock:
    """Time that passes while somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float, cancel: CancelToken) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Played:
    """A model that fails as told, one step a request, and answers once the steps are used up."""

    def __init__(self, name: str, *steps: Kind | Fault, on_request: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self.steps = list(steps)
        self.seconds: list[float] = []
        self._on_request = on_request

    def estimate(self, request: ModelRequest) -> Estimate:
        return Estimate(self.name, 10, 20, None, 30)

    def complete(
        self,
        request: ModelRequest,
        observer: ModelObserver,
        cancel: CancelToken,
        *,
        stream: bool = True,
        seconds: float = 0.0,
    ) -> ModelReply:
        self.seconds.append(seconds)
        self._on_request()
        if self.steps:
            step = self.steps.pop(0)
            raise step if isinstance(step, Fault) else Fault(step, f"told {step}")
        return ModelReply(self.name, "ok")


def chain_of(clock: Clock, *models: Played, chain_seconds: float = 1800.0) -> FallbackChain:
    return FallbackChain(models, clock=clock, sleep=clock.sleep, chain_seconds=chain_seconds)


def turn(models: FallbackChain, seen: Recorder | None = None) -> str:
    return models.complete(ask("x"), seen or Recorder(), Token()).model


def told(kind: Kind, retry_after: float) -> Fault:
    return Fault(kind, "asked to wait", retry_after)


def test_a_model_that_failed_is_spared_and_then_preferred_again() -> None:
    clock = Clock()
    first, second = Played("one", "server", "server", "server"), Played("two")
    models = chain_of(clock, first, second)
    assert turn(models) == "two"
    assert clock.waits == [1.0, 2.0]
    assert turn(models) == "two"
    assert len(first.seconds) == 3
    assert models.estimate(ask("x")).model == "two"
    clock.now += 15
    assert models.estimate(ask("x")).model == "one"
    assert turn(models) == "one"


def test_one_request_decides_whether_a_model_is_back_and_each_failure_doubles_the_time() -> None:
    clock = Clock()
    first, second = Played("one", *FIVE), Played("two")
    models = chain_of(clock, first, second)
    turn(models)
    for seconds in (15.0, 30.0):
        clock.now += seconds
        before = len(first.seconds)
        assert turn(models) == "two"
        assert len(first.seconds) == before + 1
        clock.now += seconds
        assert turn(models) == "two"
        assert len(first.seconds) == before + 1
        clock.now -= seconds
    clock.now += 60.0
    assert turn(models) == "one"
    # It is as good as new: waits again instead of leaving at once.
    first.steps.append("server")
    assert turn(models) == "one"


def test_a_spared_model_is_asked_when_nothing_else_is_left() -> None:
    clock = Clock()
    first, second = Played("one", "auth"), Played("two", "filter", "filter")
    models = chain_of(clock, first, second)
    assert turn(chain_of(clock, Played("one", "auth"), Played("two"))) == "two"
    with pytest.raises(ModelUnavailable, match="one: told auth; two: told filter"):
        turn(models)
    second.steps += ["quota"]
    assert turn(models) == "one"


def test_the_first_to_answer_again_is_waited_for_once() -> None:
    clock = Clock()
    models = chain_of(clock, Played("one", told("rate", 30.0)), Played("two", "auth", "auth"))
    seen = Recorder()
    assert turn(models, seen) == "one"
    assert seen.failures[-1] == ("one", "no model answers; asked to wait", 29.0)
    assert clock.waits == [1.0, 29.0]


def test_waits_that_are_too_long_are_not_waited_out() -> None:
    clock = Clock()
    models = chain_of(clock, Played("one", told("rate", 500.0)), Played("two", told("server", 90.0)))
    with pytest.raises(ModelUnavailable, match="asked to wait"):
        turn(models)
    assert clock.waits == []


def test_a_turn_ends_at_its_cap_whatever_is_left_to_try() -> None:
    clock = Clock()

    def late() -> None:
        clock.now += 40.0

    first, second = Played("one", "hang", "hang", on_request=late), Played("two", "hang", on_request=late)
    third = Played("three")
    with pytest.raises(ModelUnavailable, match="one: told hang; two: told hang"):
        turn(chain_of(clock, first, second, third, chain_seconds=100.0))
    assert [model.seconds for model in (first, second, third)] == [[100.0, 60.0], [20.0], []]


@pytest.mark.parametrize("allowed", [0, 1, 2, 3])
def test_the_budget_is_asked_before_each_request(allowed: int) -> None:
    class Strict(Recorder):
        def may_call(self, estimate: Estimate) -> None:
            super().may_call(estimate)
            if len(self.estimates) > allowed:
                raise OverBudget("usd")

    clock = Clock()
    first, second = Played("one", *FIVE[:3]), Played("two")
    seen = Strict()
    with pytest.raises(OverBudget):
        turn(chain_of(clock, first, second), seen)
    assert len(first.seconds) + len(second.seconds) == allowed
    assert [estimate.model for estimate in seen.estimates] == [*["one"] * 3, "two"][: allowed + 1]


def test_what_a_failure_cost_is_told() -> None:
    fault = Fault("cut", "broke")
    fault.tokens_in, fault.tokens_out, fault.usd = 7, 3, 0.5
    seen = Recorder()
    assert turn(chain_of(Clock(), Played("one", fault)), seen) == "one"
    assert seen.told == [Failure("one", "cut", "broke", 0.5, 7, 3, 0.5)]


def broken_calls() -> list[Fault]:
    faults = [Fault("call", "broken"), Fault("call", "broken")]
    for fault in faults:
        fault.reply = ModelReply("one", "", usd=0.25)
        fault.usd = 0.25
    return faults


def test_a_broken_call_that_comes_twice_is_accepted_of_the_only_model_and_charged_once() -> None:
    seen = Recorder()
    assert turn(chain_of(Clock(), Played("one", *broken_calls())), seen) == "one"
    assert [failure.retry_in for failure in seen.told] == [0.0]


def test_a_broken_call_that_comes_twice_goes_to_the_next_model_which_is_asked_first_from_then_on() -> None:
    clock = Clock()
    first, second = Played("one", *broken_calls(), *broken_calls()), Played("two")
    models = chain_of(clock, first, second)
    seen = Recorder()
    assert turn(models, seen) == turn(models) == "two"
    assert [(failure.kind, failure.retry_in) for failure in seen.told] == [("call", 0.0), ("call", None)]
    clock.now += 15.0
    # One more makes the doubt certain again.
    assert turn(models) == "two"
    assert len(first.seconds) == 3


def test_a_broken_call_is_better_than_no_answer_and_is_charged_once() -> None:
    seen = Recorder()
    models = chain_of(Clock(), Played("one", *broken_calls()), Played("two", "auth", "auth"))
    reply = models.complete(ask("x"), seen, Token())
    assert (reply.model, reply.usd) == ("one", 0.0)
    assert [(failure.model, failure.usd) for failure in seen.told] == [("one", 0.25)] * 2 + [("two", 0.0)] * 2


def test_a_refusal_of_tools_that_were_not_sent_is_asked_about_once_more() -> None:
    models = chain_of(Clock(), Played("one", "no_tools"))
    assert models.complete(ask("x", tools=False), Recorder(), Token()).text == "ok"
    assert models.text_form == set()
