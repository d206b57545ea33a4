"""What becomes of errors as litellm raises them, wrapped in one another."""

from __future__ import annotations

import pytest

from backspace_tui.models.classify import classify
from backspace_tui.models.faults import Fault


class Answer:
    """A response that an exception carries."""

    def __init__(self, **headers: str) -> None:
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Sent(Exception):
    """What a provider's client raises for a status."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status_code = status
        self.response = Answer(**headers)


class ReadError(Exception):
    pass


class MidStreamFallbackError(Exception):
    pass


def fault_of(error: BaseException, *causes: BaseException) -> Fault:
    inner = error
    for cause in causes:
        inner.__cause__ = cause
        inner = cause
    return classify(error, where="the provider", silence=5.0, secrets=["hunter2secret"])


@pytest.mark.parametrize(
    ("message", "kind", "wait"),
    [
        ("You exceeded your current quota. Please retry in 17.5s.", "rate", 17.5),
        ("You exceeded your current quota, please check your plan and billing details.", "quota", None),
        ("insufficient_quota: You exceeded your current quota. Please try again in 5s", "quota", None),
        ("Rate limit reached. Please try again in 250ms.", "rate", 0.25),
    ],
)
def test_a_quota_that_says_when_it_is_filled_again_is_a_limit(message: str, kind: str, wait: float | None) -> None:
    fault = fault_of(Sent(429, message))
    assert (fault.kind, fault.retry_after) == (kind, wait)


def test_the_status_that_was_sent_counts_not_the_one_that_it_was_wrapped_in() -> None:
    outer = type("InternalServerError", (Sent,), {"__module__": "litellm.exceptions"})(500, "Overloaded")
    fault = fault_of(outer, Sent(529, "Overloaded", retry_after="90"))
    assert (fault.kind, fault.reason, fault.retry_after) == ("server", "529: Overloaded (retry after 90 s)", 90.0)


def test_a_connection_that_broke_is_told_by_where_it_did() -> None:
    assert fault_of(Sent(500, "Connection error."), ReadError()).kind == "refused"
    assert fault_of(MidStreamFallbackError("x"), ReadError()).kind == "cut"
    assert fault_of(MidStreamFallbackError("x"), Fault("rate", "slow down")).reason == "slow down"


def test_an_error_in_mid_stream_is_told_by_its_words() -> None:
    for words, kind in (("Overloaded", "server"), ("prompt is too long", "context"), ("odd", "cut")):
        assert fault_of(MidStreamFallbackError(words)).kind == kind


def test_reasons_hold_no_key_and_no_endless_text() -> None:
    fault = fault_of(Sent(400, "bad hunter2secret " + "x" * 3_000_000))
    assert fault.kind == "request"
    assert "hunter2secret" not in fault.reason
    assert len(fault.reason) < 250
