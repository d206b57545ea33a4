"""Tokens, prices, windows and costs of failures; and answers that come whole although a stream was asked for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from backspace_tui.config import ModelSettings
from backspace_tui.core.protocols import ChatMessage, ModelRequest
from backspace_tui.models import prices, unstreamed, wire
from backspace_tui.models.chain import FallbackChain
from backspace_tui.models.faults import Fault
from backspace_tui.models.litellm_model import LiteLLMModel
from tests.models.anthropic_server import AnthropicServer
from tests.models.helpers import WRITE_FILE, Recorder, Token, ask, chain, model
from tests.models.openai_server import OpenAIServer
from tests.models.turns import STATUS_FAULTS, Turn, call, fault, text

GOOD = text("Done.") + call("write_file", path="a.txt", content="one\ntwo")
PROTOCOLS = pytest.mark.parametrize(
    ("server", "name"), [(OpenAIServer, "openai/gpt-4o"), (AnthropicServer, "anthropic/claude-sonnet-4-5")]
)


def test_cards_of_known_and_unknown_models() -> None:
    known = prices.card("openai/gpt-4o")
    assert (known.window, known.max_output) == (128_000, 16_384)
    assert known.cost(1000, 1000) == pytest.approx(0.0125)
    assert prices.card("groq/openai/gpt-oss-120b").window > 100_000
    assert prices.card("openai/no-such-model") == prices.Card()
    assert prices.card("openai/no-such-model").cost(1, 1) is None
    # The name alone is another provider's.
    assert prices.card("groq/gpt-4o") == prices.Card()
    assert prices.card("ollama/llama2").cost(10, 10) == 0.0


def test_the_table_is_read_without_importing_litellm() -> None:
    code = "import sys; from backspace_tui.models.prices import card; print(card('openai/gpt-4o').window, 'litellm' in "
    code += "sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["128000", "False"]


def test_long_requests_cost_more_where_the_table_says_so() -> None:
    card = prices.Card(input=1.0, output=2.0, tiers=((200, 10.0, 20.0), (100, 5.0, 7.0)))
    assert [card.cost(tokens, 1) for tokens in (100, 101, 201)] == [102.0, 512.0, 2030.0]
    assert [above for above, _, _ in prices.card("openai/gpt-5.6").tiers] == [272_000]


def test_an_estimate_is_made_before_anything_is_known_and_learns_from_reports() -> None:
    request = ask("x" * 10_000)
    with OpenAIServer([Turn(text="x", prompt_tokens=2 * wire.size(request) // 4)]) as server:
        asked = model(server.url, "openai/gpt-4o")
        before = asked.estimate(request)
        assert 2_500 < before.tokens_in < 4_000
        assert (before.tokens_out, before.window) == (8192, 128_000)
        assert before.usd == pytest.approx(before.tokens_in * 2.5e-6 + 8192 * 1e-5)
        asked.complete(request, Recorder(), Token())
    assert asked.estimate(request).tokens_in == pytest.approx(wire.size(request) / 2, rel=0.01)
    assert asked.estimate(ask("x" * 20_000)).tokens_in == pytest.approx(10_000, rel=0.1)
    assert model("http://localhost", "openai/unknown").estimate(request).usd is None


def test_a_reply_is_never_asked_for_longer_than_the_model_gives() -> None:
    small = LiteLLMModel(ModelSettings("anthropic/claude-sonnet-4-5", max_output_tokens=1_000_000))
    assert small.estimate(ask("x")).tokens_out == 64_000


def test_the_window_is_learned_from_a_refusal_and_forgotten_when_it_was_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    # vLLM's words for a request whose reply might be too long.
    words = (
        "'max_tokens' is too large: 8192. This model's maximum context length is 4096 tokens and your request has 60"
    )
    monkeypatch.setitem(STATUS_FAULTS, "context", (400, "BadRequestError", f"{words} input tokens (8192 > 4096 - 60)."))
    with OpenAIServer(
        [fault("context"), Turn(text="x", prompt_tokens=50), Turn(text="x", prompt_tokens=5000)]
    ) as server:
        models = chain(server.url)
        assert models.estimate(ask("x")).window == 0
        models.complete(ask("x"), Recorder(), Token())
        assert models.estimate(ask("x")).window == 4096
        models.complete(ask("x"), Recorder(), Token())
        assert models.estimate(ask("x")).window == 0
    first, again, _ = (body["max_tokens"] for body in server.bodies)
    assert first == 8192
    assert again < 4096


@PROTOCOLS
@pytest.mark.parametrize("kind", ["reset_stream", "hang_stream", "error_event", "eof", "filter_stop", "cut_call"])
def test_a_failure_inside_the_stream_has_a_cost(server: type[OpenAIServer], name: str, kind: str) -> None:
    with server([fault(kind), GOOD]) as first, OpenAIServer([GOOD]) as second:
        seen = Recorder()
        models = FallbackChain([model(first.url, name, 0.5), model(second.url, "openai/two")])
        models.complete(ask("hello"), seen, Token())
    [failure] = seen.told
    assert failure.tokens_in > 0
    assert failure.tokens_out > 0
    assert failure.usd is not None
    assert failure.usd > 0


@PROTOCOLS
@pytest.mark.parametrize("kind", ["429", "500", "reset", "hang", "html", "bad_json"])
def test_a_failure_before_the_stream_has_none(server: type[OpenAIServer], name: str, kind: str) -> None:
    with server([fault(kind), GOOD]) as first:
        seen = Recorder()
        FallbackChain([model(first.url, name, 0.5)]).complete(ask("hello"), seen, Token())
    assert [(failure.tokens_in, failure.tokens_out, failure.usd) for failure in seen.told] == [(0, 0, 0.0)]


def test_a_failure_of_a_model_without_a_price_has_an_unknown_cost() -> None:
    with OpenAIServer([fault("reset_stream"), GOOD]) as server:
        seen = Recorder()
        chain(server.url).complete(ask("hello"), seen, Token())
    assert [failure.usd for failure in seen.told] == [None]


@PROTOCOLS
def test_an_answer_that_was_not_streamed_is_taken_as_it_is(server: type[OpenAIServer], name: str) -> None:
    turns = [Turn(text="Done.", calls=GOOD.calls, thinking="hm", prompt_tokens=70, completion_tokens=30)] * 2
    with server(turns, streams=False) as first:
        seen = Recorder()
        models = FallbackChain([model(first.url, name)])
        for _ in turns:
            reply = models.complete(ask("hello"), seen, Token())
            assert (reply.text, reply.thinking) == ("Done.", "hm")
            assert [(made.name, made.arguments) for made in reply.tool_calls] == [
                ("write_file", {"path": "a.txt", "content": "one\ntwo"})
            ]
            assert (reply.tokens_in, reply.tokens_out) == (70, 30)
            assert reply.usd == pytest.approx(prices.card(name).cost(70, 30))
    assert seen.failures == []
    assert [request.streamed for request in first.requests] == [True, True]


@PROTOCOLS
@pytest.mark.parametrize(
    "kind", ["empty_choices", "empty", "error_event", "bad_json", "html", "eof", "cut_call", "length", "429", "reset"]
)
def test_faults_of_a_server_that_does_not_stream(server: type[OpenAIServer], name: str, kind: str) -> None:
    with server([fault(kind), GOOD], streams=False) as first:
        seen = Recorder()
        models = FallbackChain([model(first.url, name)], sleep=lambda seconds, cancel: None)
        reply = models.complete(ask("hello"), seen, Token())
    assert [(made.name, made.arguments) for made in reply.tool_calls] == [
        ("write_file", {"path": "a.txt", "content": "one\ntwo"})
    ]
    assert len(seen.failures) == 1
    assert len(first.bodies) == 2


@PROTOCOLS
def test_no_request_is_made_that_the_observer_does_not_see(server: type[OpenAIServer], name: str) -> None:
    with server([fault("reset"), GOOD], streams=False) as first:
        seen = Recorder()
        models = FallbackChain([model(first.url, name)], sleep=lambda seconds, cancel: None)
        models.unstreamed[0] = 2
        models.complete(ask("hello"), seen, Token())
    assert len(first.bodies) == len(seen.calls) == len(seen.estimates) == 2


@PROTOCOLS
def test_turns_follow_one_another_without_a_failure(server: type[OpenAIServer], name: str) -> None:
    with server([GOOD] * 5) as first:
        seen = Recorder()
        models = FallbackChain([model(first.url, name)])
        for _ in range(5):
            models.complete(ask("hello"), seen, Token())
    assert seen.failures == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("<html>", "garbled"),
        ("{", "garbled"),
        ("[]", "garbled"),
        ("{}", "garbled"),
        ('{"choices": null}', "empty"),
        ('{"error": {"code": 429, "message": "x"}}', "rate"),
        ('{"error": {"type": "overloaded_error", "message": "Overloaded"}}', "server"),
        ('{"error": "the prompt is too long"}', "context"),
        ('{"error": {"message": "sorry"}}', "garbled"),
    ],
)
def test_documents_that_are_no_answer(body: str, kind: str) -> None:
    with pytest.raises(Fault) as caught:
        wire.Assembly(ask("x")).whole(unstreamed.read(None, body))
    assert caught.value.kind == kind


def test_a_reply_of_the_text_form_and_arguments_as_objects_are_read() -> None:
    body = {
        "choices": [
            {"message": {"content": None, "tool_calls": [{"function": {"name": "write_file", "arguments": {"a": 1}}}]}}
        ]
    }
    turn = wire.Assembly(ModelRequest((ChatMessage("user", "x"),), "implement", (WRITE_FILE,)))
    turn.whole(unstreamed.read(None, json.dumps(body)))
    turn.check()
    assert turn.reply("m", usd=None, seconds=0.0).tool_calls[0].arguments == {"a": 1}
