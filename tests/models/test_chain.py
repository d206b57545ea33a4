"""The chain over real HTTP, with faults injected by a real server."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from backspace_tui.core.protocols import (
    BadRequest,
    Cancelled,
    ChatMessage,
    ModelRequest,
    ModelUnavailable,
    ToolCall,
)
from backspace_tui.models import wire
from backspace_tui.models.chain import FallbackChain
from tests.models.anthropic_server import AnthropicServer
from tests.models.helpers import WRITE_FILE, Recorder, Token, ask, chain, model
from tests.models.openai_server import OpenAIServer, refused_url
from tests.models.turns import Turn, call, fault, raw_call, text

GOOD = text("Done.") + call("write_file", path="a.txt", content="one\ntwo")
SAME_MODEL = [
    "429", "500", "502", "503", "529", "reset", "reset_stream", "eof", "eof_done", "cut_call",
    "bad_chunk", "error_event", "bad_json", "html", "empty_choices", "empty",
]  # fmt: skip
NEXT_MODEL = ["401", "403", "404", "quota", "filter_400"]


def assert_good(reply: object) -> None:
    assert getattr(reply, "text", None) == "Done."
    calls = getattr(reply, "tool_calls", ())
    assert [(made.name, made.arguments) for made in calls] == [("write_file", {"path": "a.txt", "content": "one\ntwo"})]


def test_a_good_turn_comes_back_whole_with_usage() -> None:
    with OpenAIServer([Turn(text="Hi ✓", thinking="hm", calls=GOOD.calls, prompt_tokens=7, completion_tokens=3)]) as s:
        seen = Recorder()
        reply = chain(s.url).complete(ask("hello"), seen, Token())
    assert reply.text == "Hi ✓" == seen.text()
    assert reply.thinking == "hm" == seen.text("thinking")
    assert (reply.tokens_in, reply.tokens_out, reply.usd, reply.model) == (7, 3, None, "openai/one")
    assert reply.seconds > 0
    assert seen.calls == [("openai/one", 1)]
    assert seen.failures == []
    body = s.bodies[0]
    assert body["stream"] is True
    assert body["tools"][0]["function"]["name"] == "write_file"
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_the_price_comes_from_the_local_table() -> None:
    with OpenAIServer([Turn(text="x", prompt_tokens=1000, completion_tokens=1000)]) as s:
        reply = model(s.url, "openai/gpt-4o").complete(ask("hello"), Recorder(), Token())
    assert reply.usd == pytest.approx(0.0125)


@pytest.mark.parametrize("kind", SAME_MODEL)
def test_a_passing_fault_is_repeated_on_the_same_model(kind: str) -> None:
    with OpenAIServer([fault(kind), GOOD]) as first, OpenAIServer([GOOD]) as second:
        seen = Recorder()
        reply = chain(first.url, second.url).complete(ask("hello"), seen, Token())
    assert_good(reply)
    assert reply.model == "openai/one"
    assert len(first.bodies) == 2
    assert second.bodies == []
    [(name, reason, wait)] = seen.failures
    assert name == "openai/one"
    assert wait is not None
    assert reason == reason.strip() != ""
    assert "litellm" not in reason.lower()
    assert "\n" not in reason


@pytest.mark.parametrize("name", ["deepseek/deepseek-chat", "openrouter/x", "groq/x", "hosted_vllm/x"])
@pytest.mark.parametrize("kind", ["bad_chunk", "bad_chunk_on", "eof_done", "error_event", "rate_event"])
def test_other_providers_handlers_pass_no_broken_stream_on(name: str, kind: str) -> None:
    broken = [replace(GOOD, fault=kind, cut=cut) for cut in (0.5, 0.9)]
    with OpenAIServer([broken[0], GOOD, broken[1], GOOD]) as server:
        models = FallbackChain([model(server.url, name)], sleep=lambda seconds, cancel: None)
        seen = Recorder()
        for _ in broken:
            assert_good(models.complete(ask("hello"), seen, Token()))
    assert len(seen.failures) == 2


def test_ids_of_calls_are_short_except_where_they_are_signed() -> None:
    long = "call_1__thought__" + "a+/=" * 100
    turn = ChatMessage("assistant", "", (ToolCall(long, "write_file", {}),))
    conversation = (turn, ChatMessage("tool", "x", tool_call_id=long))
    first, second = wire.messages(conversation)
    assert first["tool_calls"][0]["id"] == second["tool_call_id"]
    assert len(second["tool_call_id"]) == 40
    assert wire.messages(conversation, any_id=True)[1]["tool_call_id"] == long


@pytest.mark.parametrize("kind", NEXT_MODEL)
def test_a_hopeless_fault_goes_to_the_next_model_at_once(kind: str) -> None:
    with OpenAIServer([fault(kind)]) as first, OpenAIServer([GOOD]) as second:
        seen = Recorder()
        reply = chain(first.url, second.url).complete(ask("hello"), seen, Token())
    assert_good(reply)
    assert reply.model == "openai/two"
    [(name, reason, wait)] = seen.failures
    assert (name, wait) == ("openai/one", None)
    assert "sk-test" not in reason


@pytest.mark.parametrize("kind", ["hang", "hang_headers", "hang_stream"])
def test_a_hang_is_tried_twice_and_leaves_for_the_next(kind: str) -> None:
    with OpenAIServer([fault(kind), fault(kind)]) as first, OpenAIServer([GOOD]) as second:
        seen = Recorder()
        reply = chain(first.url, second.url, timeout=0.5).complete(ask("hello"), seen, Token())
        first.wait_for_disconnects(2)
    assert_good(reply)
    assert [wait for _, _, wait in seen.failures] == [0.0, None]


def test_retry_after_is_waited_out_when_short_and_not_when_long() -> None:
    with OpenAIServer([fault("429", retry_after=0.3), GOOD]) as server:
        seen = Recorder()
        assert_good(chain(server.url).complete(ask("hello"), seen, Token()))
        assert [wait for _, _, wait in seen.failures] == [0.3]
    with OpenAIServer([fault("429", retry_after=120)]) as first, OpenAIServer([GOOD, GOOD]) as second:
        models = chain(first.url, second.url)
        assert models.complete(ask("hello"), Recorder(), Token()).model == "openai/two"
        # Cooling down: not asked again.
        assert models.complete(ask("hello"), Recorder(), Token()).model == "openai/two"
        assert len(first.bodies) == 1


def test_nothing_listens() -> None:
    with OpenAIServer([GOOD]) as second:
        seen = Recorder()
        assert_good(chain(refused_url(), second.url).complete(ask("hello"), seen, Token()))
    assert "cannot connect" in seen.failures[-1][1]


def test_a_plain_400_is_not_carried_to_the_next_model() -> None:
    with OpenAIServer([fault("400"), fault("400")]) as first, OpenAIServer([GOOD]) as second:
        with pytest.raises(BadRequest, match="temperature"):
            chain(first.url, second.url).complete(ask("hello"), Recorder(), Token())
        assert len(first.requests) == 2
        assert second.requests == []


def test_when_all_fail_each_reason_is_told_and_no_key() -> None:
    with (
        OpenAIServer([fault("401")]) as first,
        OpenAIServer([fault("quota"), fault("quota")]) as second,
        pytest.raises(ModelUnavailable) as caught,
    ):
        chain(first.url, second.url).complete(ask("hello"), Recorder(), Token())
    message = str(caught.value)
    assert "openai/one: 401: Incorrect API key" in message
    assert "openai/two: 429: You exceeded" in message
    assert "sk-test" not in message
    assert "\n" not in message


def test_context_overflow_shortens_old_results_and_asks_again() -> None:
    turns: list[ChatMessage] = []
    for number in range(12):
        turns.append(ChatMessage("assistant", "", (ToolCall(f"c{number}", "write_file", {"path": "x" * 900}),)))
        turns.append(ChatMessage("tool", "y" * 5000, tool_call_id=f"c{number}"))
    request = ModelRequest((ChatMessage("user", "keep me " * 100), *turns), "implement", (WRITE_FILE,))
    with OpenAIServer([fault("context"), GOOD]) as server:
        assert_good(chain(server.url).complete(request, Recorder(), Token()))
    before, after = server.bodies
    assert len(after["messages"]) == len(before["messages"])
    assert len(str(after)) < len(str(before)) * 0.8
    assert after["messages"][0] == before["messages"][0]
    assert after["messages"][-1] == before["messages"][-1]


def test_context_overflow_that_nothing_helps_goes_on_to_the_next() -> None:
    with OpenAIServer([fault("context")] * 2) as first, OpenAIServer([GOOD]) as second:
        seen = Recorder()
        assert_good(chain(first.url, second.url).complete(ask("hello"), seen, Token()))
        # It counts more than there can be: asked once more as it was.
        assert first.bodies[0]["messages"] == first.bodies[1]["messages"]
    assert [failure.kind for failure in seen.told] == ["context", "context"]


def test_an_anthropic_conversation_is_marked_for_the_cache_and_has_ids_that_every_provider_takes() -> None:
    turns: list[ChatMessage] = [ChatMessage("system", "S"), ChatMessage("user", "do")]
    for number in range(2):
        turns.append(ChatMessage("assistant", "", (ToolCall(f"functions.x:{number}", "write_file", {"path": "a"}),)))
        turns.append(ChatMessage("tool", f"result {number}", tool_call_id=f"functions.x:{number}"))
    request = ModelRequest(tuple(turns), "implement", (WRITE_FILE,))
    with AnthropicServer([GOOD, GOOD]) as server:
        asked = model(server.url, "anthropic/claude-sonnet-4-5")
        asked.complete(request, Recorder(), Token())
        asked.complete(ask("hello", tools=False), Recorder(), Token())
        assert server.problems == []
    blocks = [block for message in server.bodies[0]["messages"] for block in message["content"]]
    assert [block["id"] for block in blocks if block["type"] == "tool_use"] == ["functions_x_0", "functions_x_1"]
    results = [block for block in blocks if block["type"] == "tool_result"]
    assert [block["tool_use_id"] for block in results] == ["functions_x_0", "functions_x_1"]
    assert all("cache_control" in block for block in (*results, *server.bodies[0]["system"]))
    assert "cache_control" not in str(server.bodies[1])


def test_a_model_without_tools_gets_them_as_text_from_then_on() -> None:
    answer = 'Sure.\n```tool\n{"tool": "write_file", "arguments": {"path": "a", "content": "b"}}\n```\n'
    with OpenAIServer([fault("no_tools"), text(answer), text(answer)]) as server:
        models = chain(server.url)
        for _ in range(2):
            reply = models.complete(ask("hello"), Recorder(), Token())
            assert reply.text == "Sure."
            assert [(made.name, made.arguments) for made in reply.tool_calls] == [
                ("write_file", {"path": "a", "content": "b"})
            ]
    assert ["tools" in body for body in server.bodies] == [True, False, False]
    assert "write_file" in server.bodies[1]["messages"][0]["content"]


def test_a_model_that_litellm_knows_to_have_no_tools_gets_them_as_text() -> None:
    with OpenAIServer([text("fine")]) as server:
        seen = Recorder()
        models = FallbackChain([model(server.url, "openai/o1-mini"), model(server.url, "openai/two")])
        with pytest.MonkeyPatch.context() as patch:
            import litellm

            patch.setitem(litellm.model_cost, "openai/o1-mini", {"supports_function_calling": False})
            assert models.complete(ask("hello"), seen, Token()).text == "fine"
    [body] = server.bodies
    assert "tools" not in body
    assert "write_file" in str(body["messages"])
    assert seen.failures == [("openai/o1-mini", "this model has no native tool calls", 0.0)]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [('{"path": "a', "not valid JSON"), ("[1]", "JSON object"), ('{"a": NaN}', "NaN"), ('{"a": "\n"}', "valid JSON")],
)
def test_broken_arguments_are_a_problem_and_never_arguments(arguments: str, problem: str) -> None:
    with OpenAIServer([raw_call("write_file", arguments)] * 2) as server:
        seen = Recorder()
        [made] = chain(server.url).complete(ask("hello"), seen, Token()).tool_calls
    assert made.arguments is None
    assert problem in made.problem
    # Asked once more before the model is told.
    assert [(reason.partition(":")[0], wait) for _, reason, wait in seen.failures] == [
        ("a broken call of write_file", 0.0)
    ]


@pytest.mark.parametrize("arguments", ['{"path": "a.txt", "content": "on', ""])
def test_a_broken_call_is_void_when_the_turn_is_made_again(arguments: str) -> None:
    good = call("write_file", path="b.txt", content="x")
    with OpenAIServer([good + raw_call("write_file", arguments), GOOD]) as server:
        seen = Recorder()
        assert_good(chain(server.url).complete(ask("hello"), seen, Token()))
    assert [failure.tokens_in for failure in seen.told] == [100]


def test_a_reply_cut_by_its_length_is_never_a_call_nor_the_last_word() -> None:
    cut = replace(raw_call("write_file", '{"path": "a", "content": "x'), finish_reason="length")
    cut = replace(cut, completion_tokens=8192)
    words = text("I will now", finish_reason="length", completion_tokens=8192)
    with OpenAIServer([cut, words]) as server:
        models = chain(server.url)
        for _ in range(2):
            # Our own limit cut it, which would cut it again: the model is told at once.
            [made] = models.complete(ask("hello"), Recorder(), Token()).tool_calls
            assert made.arguments is None
            assert "length limit" in made.problem


def test_a_length_limit_that_is_not_ours_is_tried_once_more() -> None:
    cut = replace(raw_call("write_file", '{"path": "a", "content": "x'), finish_reason="length")
    with OpenAIServer([cut, GOOD]) as server:
        assert_good(chain(server.url).complete(ask("hello"), Recorder(), Token()))


def test_names_that_a_model_made_up_do_not_spoil_the_conversation() -> None:
    turn = ChatMessage("assistant", "", (ToolCall("c", "no such tool!", None, "x"), ToolCall("d", "", None, "x")))
    results = (ChatMessage("tool", "e", tool_call_id="c"), ChatMessage("tool", "e", tool_call_id="d"))
    request = ModelRequest((ChatMessage("user", "x"), turn, *results), "implement", (WRITE_FILE,))
    with OpenAIServer([GOOD]) as server:
        chain(server.url).complete(request, Recorder(), Token())
    names = [made["function"]["name"] for made in server.bodies[0]["messages"][1]["tool_calls"]]
    assert names == ["no_such_tool_", "unknown"]


def test_ids_of_calls_are_unique_in_a_conversation() -> None:
    earlier = ChatMessage("assistant", "", (ToolCall("call_1", "write_file", {}),))
    request = ModelRequest(
        (ChatMessage("user", "x"), earlier, ChatMessage("tool", "ok", tool_call_id="call_1")),
        "implement",
        (WRITE_FILE,),
    )
    both = call("write_file", path="a", content="") + call("write_file", path="b", content="")
    with OpenAIServer([both]) as server:
        calls = chain(server.url).complete(request, Recorder(), Token()).tool_calls
    assert [made.arguments and made.arguments["path"] for made in calls] == ["a", "b"]
    assert len({"call_1", *(made.id for made in calls)}) == 3


def test_a_turn_that_never_ends_is_cut_off() -> None:
    endless = text("word " * 2000, delay=0.02)
    with OpenAIServer([endless]) as first, OpenAIServer([GOOD]) as second:
        models = FallbackChain([model(first.url, "openai/one", turn_seconds=0.5), model(second.url, "openai/two")])
        seen = Recorder()
        assert_good(models.complete(ask("hello"), seen, Token()))
        first.wait_for_disconnects(1)
    assert "longer than" in seen.failures[0][1]


def test_a_turn_is_capped_over_all_its_requests() -> None:
    with OpenAIServer([fault("429", retry_after=0.1), fault("hang")]) as first, OpenAIServer([GOOD]) as second:
        models = FallbackChain([model(first.url), model(second.url)], chain_seconds=1.0)
        seen = Recorder()
        with pytest.raises(ModelUnavailable, match="longer than"):
            models.complete(ask("hello"), seen, Token())
        first.wait_for_disconnects(1)
        assert second.requests == []
    assert [failure.kind for failure in seen.told] == ["rate", "slow"]


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_the_address_of_an_anthropic_server_may_name_the_version(suffix: str) -> None:
    with AnthropicServer([GOOD]) as server:
        assert_good(model(server.url + suffix, "anthropic/claude-x").complete(ask("hello"), Recorder(), Token()))


def cancelled(url: str, token: Token, when: threading.Event) -> None:
    """Run a turn, cancel it when ``when`` is set, and see it end long before the server is done."""
    seen = Recorder(on_text=when.set)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(lambda: chain(url, url).complete(ask("hello"), seen, token))
        assert when.wait(20)
        token.cancel()
        with pytest.raises(Cancelled):
            future.result(10)
    assert token.registered == 0


def test_cancelling_in_mid_stream_closes_the_connection() -> None:
    model(refused_url())  # nothing is imported by making one
    with OpenAIServer([text("word " * 2000, delay=0.02)]) as server:
        cancelled(server.url, Token(), threading.Event())
        server.wait_for_disconnects(1)
        assert len(server.bodies) == 1


@pytest.mark.parametrize("turn", [fault("hang"), fault("hang_headers"), fault("429", retry_after=15)])
def test_cancelling_while_waiting(turn: Turn) -> None:
    with OpenAIServer([turn]) as server:
        arrived = threading.Event()

        def watch() -> None:
            server.wait_for_requests(1)
            arrived.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        cancelled(server.url, Token(), arrived)
        watcher.join()
        assert len(server.bodies) == 1


def test_cancelled_before_it_begins() -> None:
    token = Token()
    token.cancel()
    with OpenAIServer([GOOD]) as server, pytest.raises(Cancelled):
        chain(server.url).complete(ask("hello"), Recorder(), token)
    assert server.requests == []


@pytest.mark.parametrize(
    ("protocol", "name"), [(OpenAIServer, "openai/one"), (AnthropicServer, "anthropic/claude-sonnet-4-5")]
)
def test_no_thread_and_no_socket_is_left_behind(protocol: type[OpenAIServer], name: str) -> None:
    with protocol([GOOD] * 3 + [fault("reset_stream"), fault("hang"), GOOD]) as server:
        models = FallbackChain([model(server.url, name, 0.5)])
        models.complete(ask("hello"), Recorder(), Token())
        threads, files = left_behind()
        for _ in range(3):
            models.complete(ask("hello"), Recorder(), Token())
        deadline = time.monotonic() + 5
        while (left := left_behind()) != (threads, files) and time.monotonic() < deadline:
            if left[0] <= threads and left[1] <= files:
                break
        assert left[0] <= threads
        assert left[1] <= files


def left_behind() -> tuple[set[str], int]:
    """Threads other than the test server's, and open files."""
    names = {thread.name for thread in threading.enumerate() if "process_request_thread" not in thread.name}
    return names, len(os.listdir("/proc/self/fd"))


def test_a_server_that_never_streams_is_soon_not_asked_to() -> None:
    def answer(body: dict[str, Any]) -> Turn:
        return fault("empty_choices") if body.get("stream") else GOOD

    with OpenAIServer(answer) as server:
        models = chain(server.url)
        for _ in range(4):
            assert_good(models.complete(ask("hello"), Recorder(), Token()))
    assert [request.streamed for request in server.requests] == [True, False, True, False, False, False]
