"""Turns that broke off inside a call, or whose provider says that they did: none of their calls is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from backspace_tui.core.protocols import CancelToken
from backspace_tui.models import endings
from backspace_tui.models.chain import FallbackChain
from tests.models.anthropic_server import AnthropicServer
from tests.models.helpers import Recorder, Token, ask, model
from tests.models.openai_server import OpenAIServer
from tests.models.turns import Turn, call, raw_call, text

GOOD = text("Done.") + call("write_file", path="a.txt", content="one\ntwo")
FIRST = call("write_file", path="first.txt", content="whole")
CUT = FIRST + raw_call("write_file", '{"path": "a.txt", "content": "on')
MISSING = FIRST + raw_call("write_file", "")
Make = Callable[[list[Turn]], OpenAIServer]
SERVERS = pytest.mark.parametrize("make", [OpenAIServer, AnthropicServer])
MODES = pytest.mark.parametrize("streams", [True, False])


def at_once(seconds: float, cancel: CancelToken) -> None:
    """No wait between two requests."""


def make_chain(*servers: OpenAIServer, streams: bool = True) -> FallbackChain:
    models = [
        model(server.url, f"{'anthropic/claude' if isinstance(server, AnthropicServer) else 'openai/gpt'}-{number}")
        for number, server in enumerate(servers)
    ]
    chain = FallbackChain(models, sleep=at_once)
    for position in range(len(models)):
        chain.unstreamed[position] = 0 if streams else 2
    return chain


@SERVERS
@pytest.mark.parametrize("reason", ["", "stop", "length"])
@pytest.mark.parametrize("turn", [CUT, MISSING], ids=["cut", "missing"])
def test_a_call_that_is_cut_twice_goes_to_the_next_model_streamed(make: Make, turn: Turn, reason: str) -> None:
    goes_to_the_next(make, replace(turn, finish_reason=reason), streams=True)


@pytest.mark.parametrize(
    ("make", "turn"),
    [
        (OpenAIServer, CUT),
        (OpenAIServer, MISSING),
        (OpenAIServer, replace(CUT, finish_reason="stop")),
        (OpenAIServer, replace(CUT, finish_reason="length")),
        # A document holds what could be read of the call.
        (AnthropicServer, replace(FIRST + call("write_file"), finish_reason="stop")),
        (AnthropicServer, FIRST + call("write_file")),
        (AnthropicServer, replace(FIRST + call("write_file", path="a.txt"), finish_reason="length")),
    ],
)
def test_a_call_that_is_cut_twice_goes_to_the_next_model_whole(make: Make, turn: Turn) -> None:
    goes_to_the_next(make, turn, streams=False)


def goes_to_the_next(make: Make, turn: Turn, *, streams: bool) -> None:
    with make([turn, turn]) as first, OpenAIServer([GOOD, GOOD]) as second:
        models = make_chain(first, second, streams=streams)
        seen = Recorder()
        reply = models.complete(ask("hello"), seen, Token())
        assert [made.arguments for made in reply.tool_calls] == [GOOD.calls[0].arguments]
        assert [(failure.kind, failure.retry_in) for failure in seen.told] == [("call", 0.0), ("call", None)]
        assert len(seen.calls) == 3
        # It is spared from then on.
        assert models.complete(ask("hello"), Recorder(), Token()).model == "openai/gpt-1"


@SERVERS
@MODES
@pytest.mark.parametrize("ours", [True, False])
def test_no_call_of_a_turn_with_a_broken_one_is_run(make: Make, streams: bool, ours: bool) -> None:
    cut = replace(FIRST + call("write_file", path="a"), finish_reason="length")
    turns = [replace(cut, completion_tokens=8192)] if ours else [cut, cut]
    with make(turns) as server:
        reply = make_chain(server, streams=streams).complete(ask("hello"), Recorder(), Token())
    assert [made.arguments for made in reply.tool_calls] == [None, None]
    whole, broken = (made.problem for made in reply.tool_calls)
    assert "not run" in whole
    assert "length limit" in broken


BROKEN_OFF = [
    (AnthropicServer, "model_context_window_exceeded", "context"),
    (AnthropicServer, "pause_turn", "cut"),
    (AnthropicServer, "no_such_reason", "cut"),
    (OpenAIServer, "insufficient_system_resource", "cut"),
    (OpenAIServer, "function_call_filter: MALFORMED_FUNCTION_CALL", "call"),
]


@MODES
@pytest.mark.parametrize(("make", "word", "kind"), BROKEN_OFF)
@pytest.mark.parametrize("partial", [text("Let me th"), FIRST], ids=["text", "call"])
def test_a_reply_that_the_provider_says_it_broke_off_is_void(
    make: Make, word: str, kind: str, partial: Turn, streams: bool
) -> None:
    with make([replace(partial, finish_reason=word), GOOD]) as server:
        seen = Recorder()
        reply = make_chain(server, streams=streams).complete(ask("hello"), seen, Token())
    assert [made.arguments for made in reply.tool_calls] == [GOOD.calls[0].arguments]
    [failure] = seen.told
    assert (failure.kind, failure.reason) == (kind, f"the reply broke off: {word}")
    assert failure.tokens_in == 100
    assert len(server.bodies) == 2


@pytest.mark.parametrize(("make", "word", "kind"), BROKEN_OFF)
def test_a_document_instead_of_a_stream_is_read_as_strictly(
    make: Callable[..., OpenAIServer], word: str, kind: str
) -> None:
    with make([replace(FIRST, finish_reason=word), GOOD], streams=False) as server:
        seen = Recorder()
        make_chain(server).complete(ask("hello"), seen, Token())
    assert [failure.kind for failure in seen.told] == [kind]


@pytest.mark.parametrize("name", ["deepseek/deepseek-chat", "openrouter/x", "groq/x", "hosted_vllm/x"])
def test_other_providers_handlers_do_not_mend_the_reason(name: str) -> None:
    with OpenAIServer([replace(FIRST, finish_reason="insufficient_system_resource"), GOOD]) as server:
        seen = Recorder()
        FallbackChain([model(server.url, name)], sleep=at_once).complete(ask("hello"), seen, Token())
    assert [failure.kind for failure in seen.told] == ["cut"]


@pytest.mark.parametrize(
    "word", ["end_turn", "STOP", "eos_token", "tool_use", "MAX_TOKENS", "refusal", "function_call"]
)
def test_words_that_end_a_turn_properly(word: str) -> None:
    assert endings.proper(word)


def test_the_word_that_was_sent_counts_where_the_received_one_hides_it() -> None:
    told = endings.Told()
    assert (told.word("stop"), told.word(None)) == ("stop", None)
    told.note({"type": "message_start", "message": {}})
    assert told.word("stop") is None
    told.note({"type": "message_delta", "delta": {"stop_reason": "tool_use"}})
    # A schema is asked for by a tool whose call litellm makes text of.
    assert told.word("stop") == "stop"
    told.note({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]})
    assert endings.meaning(told.word("stop") or "") == "call"


@pytest.mark.parametrize("partial", [text("Let me th"), FIRST, CUT], ids=["text", "call", "cut"])
def test_a_stream_that_tells_no_reason_is_cut_although_it_tells_its_usage_and_its_end(partial: Turn) -> None:
    with AnthropicServer([replace(partial, finish_reason="none"), GOOD]) as server:
        seen = Recorder()
        reply = make_chain(server).complete(ask("hello"), seen, Token())
    assert [made.arguments for made in reply.tool_calls] == [GOOD.calls[0].arguments]
    assert [(failure.kind, failure.tokens_in) for failure in seen.told] == [("cut", 100)]


def test_a_piece_with_an_empty_delta_tells_no_reason() -> None:
    told = endings.Told()
    told.note({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5}})
    assert told.word("stop") is None
    told.note({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    told.note({"type": "message_delta", "delta": {"stop_reason": None}})
    assert told.word("stop") == "stop"
