"""The chain over Anthropic's protocol: a good turn with thinking, and an answer that breaks at several places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from backspace_tui.core.protocols import CancelToken
from backspace_tui.models.chain import FallbackChain
from tests.models.anthropic_server import AnthropicServer
from tests.models.helpers import Recorder, Token, ask, model
from tests.models.openai_server import OpenAIServer
from tests.models.turns import BREAKS, Turn, call

GOOD = Turn(text="Done.", thinking="Let me think of it.", prompt_tokens=70, completion_tokens=30) + call(
    "write_file", path="a.txt", content="one\ntwo three four five six seven"
)
QUIET = sorted(BREAKS - {"hang_stream", "cut_call"})


def at_once(seconds: float, cancel: CancelToken) -> None:
    """No wait between two requests."""


def make_chain(server: OpenAIServer, *, streams: bool = True) -> FallbackChain:
    prefix = "anthropic/claude-" if isinstance(server, AnthropicServer) else "openai/"
    chain = FallbackChain([model(server.url, f"{prefix}one")], sleep=at_once)
    chain.unstreamed[0] = 0 if streams else 2
    return chain


@pytest.mark.parametrize("streams", [True, False])
def test_a_good_turn_comes_back_whole_with_usage(streams: bool) -> None:
    with AnthropicServer([GOOD]) as server:
        seen = Recorder()
        reply = make_chain(server, streams=streams).complete(ask("hello"), seen, Token())
    assert (reply.text, reply.thinking) == (seen.text(), seen.text("thinking")) == ("Done.", "Let me think of it.")
    assert [(made.name, made.arguments) for made in reply.tool_calls] == [("write_file", GOOD.calls[0].arguments)]
    assert (reply.tokens_in, reply.tokens_out) == (70, 30)
    assert (seen.failures, server.problems) == ([], [])
    [request] = server.requests
    assert request.streamed is streams
    assert request.path == "/v1/messages"
    assert request.body["tools"][0]["name"] == "write_file"


@pytest.mark.parametrize("make", [OpenAIServer, AnthropicServer])
@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("kind", QUIET)
def test_an_answer_that_breaks_anywhere_is_void(
    make: Callable[[list[Turn]], OpenAIServer], streams: bool, kind: str
) -> None:
    cuts = (0.1, 0.4, 0.7, 0.95)
    for cut in cuts:
        with make([replace(GOOD, fault=kind, cut=cut), GOOD]) as server:
            seen = Recorder()
            reply = make_chain(server, streams=streams).complete(ask("hello"), seen, Token())
        assert [made.arguments for made in reply.tool_calls] == [GOOD.calls[0].arguments]
        assert len(server.bodies) == len(seen.calls) == 2
        assert len(seen.failures) == 1
