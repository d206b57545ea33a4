"""Refusals with a status that tells little: what they say decides, and each is one request."""

from __future__ import annotations

import pytest

from backspace_tui.core.protocols import BadRequest
from tests.models import anthropic_server, openai_server
from tests.models.anthropic_server import AnthropicServer
from tests.models.helpers import Recorder, Token, ask
from tests.models.openai_server import OpenAIServer
from tests.models.test_partial_turns import GOOD, MODES, SERVERS, Make, make_chain
from tests.models.turns import fault

LIMITS = "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."
FAILED = "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details."
TPM = "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 9000, please try again."


@MODES
@pytest.mark.parametrize(
    ("make", "status", "code", "message", "kinds"),
    [
        (AnthropicServer, 400, "invalid_request_error", LIMITS, ["quota"]),
        (AnthropicServer, 400, "invalid_request_error", "This organization has been disabled.", ["auth"]),
        (OpenAIServer, 400, "tool_use_failed", FAILED, ["call"] * 2),
        (OpenAIServer, 400, "model_decommissioned", "The model `x` has been decommissioned.", ["missing"]),
        (OpenAIServer, 413, "rate_limit_exceeded", TPM, ["rate"] * 3),
        (OpenAIServer, 422, "validation", "This model's maximum context length is 8191", ["context"] * 2),
        (OpenAIServer, 422, "insufficient_quota", "Insufficient credits: billing", ["quota"]),
        (AnthropicServer, 422, "invalid_request_error", "credit balance is too low", ["quota"]),
    ],
)
def test_what_a_refusal_says_decides(
    monkeypatch: pytest.MonkeyPatch, make: Make, status: int, code: str, message: str, kinds: list[str], streams: bool
) -> None:
    for module in (openai_server, anthropic_server):
        monkeypatch.setattr(module, "STATUS_FAULTS", {**module.STATUS_FAULTS, "400": (status, code, message)})
    with make([fault("400")] * len(kinds)) as first, OpenAIServer([GOOD]) as second:
        seen = Recorder()
        make_chain(first, second, streams=streams).complete(ask("hello"), seen, Token())
        assert [failure.kind for failure in seen.told] == kinds
        assert len(first.bodies) == len(kinds)
        assert len(second.bodies) == 1
    assert all(message[:20] in failure.reason or failure.kind == "context" for failure in seen.told)


@MODES
@SERVERS
def test_a_page_with_status_400_is_not_of_our_making(make: Make, streams: bool) -> None:
    with make([fault("html_400")] * 2) as first, OpenAIServer([GOOD]) as second:
        seen = Recorder()
        make_chain(first, second, streams=streams).complete(ask("hello"), seen, Token())
        assert [failure.kind for failure in seen.told] == ["garbled"] * 2
        assert len(second.bodies) == 1


@MODES
def test_a_422_of_our_making_is_asked_twice_and_tells_its_words(monkeypatch: pytest.MonkeyPatch, streams: bool) -> None:
    refusal = (422, "validation", "messages: roles must alternate")
    monkeypatch.setattr("tests.models.openai_server.STATUS_FAULTS", {"400": refusal})
    with OpenAIServer([fault("400")] * 2) as first, OpenAIServer([GOOD]) as second:
        with pytest.raises(BadRequest, match="roles must alternate"):
            make_chain(first, second, streams=streams).complete(ask("hello"), Recorder(), Token())
        assert len(first.bodies) == 2
        assert second.bodies == []
