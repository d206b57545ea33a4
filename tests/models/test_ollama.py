"""Ollama by its own protocol, through litellm and the chain."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backspace_tui.core.protocols import ChatMessage, Model, ModelReply, ModelRequest
from backspace_tui.models.choose import build, choose
from backspace_tui.models.litellm_model import ollama_window
from tests.models.helpers import WRITE_FILE, Recorder, Token, ask
from tests.models.ollama_server import MODEL, OllamaServer
from tests.models.turns import Turn, call, fault, text

MADE = ("write_file", {"path": "a", "content": "b"})


def found(server: OllamaServer) -> Model:
    """The chain for what the server is found to have."""
    env = {"OLLAMA_HOST": server.url}
    choice = choose([], [], env)
    assert choice.names == (f"ollama_chat/{MODEL}",)
    return build(choice, env)


def made(reply: ModelReply) -> list[tuple[str, Any]]:
    return [(call.name, call.arguments) for call in reply.tool_calls]


def test_text_thinking_and_usage() -> None:
    recorder = Recorder()
    with OllamaServer([Turn(text="Hello there, you.", thinking="They want a greeting.")]) as server:
        reply = found(server).complete(ask("Say hello.", tools=False), recorder, Token())
        # Nothing but the question itself goes to the server, neither for a price nor for its abilities.
        assert server.paths == ["/api/tags", "/api/chat"]
    assert (reply.text, reply.thinking) == ("Hello there, you.", "They want a greeting.")
    assert (reply.tokens_in, reply.tokens_out, reply.usd) == (100, 20, None)
    assert len(recorder.pieces) > 3
    assert recorder.failures == []


def test_calls_and_their_results() -> None:
    two = text("I do.") + call("write_file", path="a", content="b") + call("write_file", path="c", content="d")
    with OllamaServer([two, "Done."]) as server:
        chain = found(server)
        reply = chain.complete(ask("x"), Recorder(), Token())
        assert made(reply) == [MADE, ("write_file", {"path": "c", "content": "d"})]
        results = [ChatMessage("tool", "wrote it", (), call.id) for call in reply.tool_calls]
        history = (*ask("x").messages, ChatMessage("assistant", reply.text, reply.tool_calls), *results)
        assert chain.complete(ModelRequest(history, "implement", (WRITE_FILE,)), Recorder(), Token()).text == "Done."
    sent = server.bodies[1]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool", "tool"]
    assert [item["function"]["arguments"] for item in sent[2]["tool_calls"]] == [MADE[1], {"path": "c", "content": "d"}]


def test_a_model_without_tools_gets_the_text_form() -> None:
    block = '```tool\n{"tool": "write_file", "arguments": {"path": "a", "content": "b"}}\n```'
    with OllamaServer(lambda body: fault("no_tools") if "tools" in body else text(block)) as server:
        chain = found(server)
        for _ in range(2):
            assert made(chain.complete(ask("x"), Recorder(), Token())) == [MADE]
    assert ["tools" in body for body in server.bodies] == [True, False, False]


@pytest.mark.parametrize(("kind", "reason"), [("eof", "ended before"), ("500", "llama runner process")])
def test_faults_are_waited_out(kind: str, reason: str) -> None:
    recorder = Recorder()
    with OllamaServer([fault(kind), "Hello."]) as server:
        assert found(server).complete(ask("x", tools=False), recorder, Token()).text == "Hello."
    assert reason in recorder.failures[0][1]


def test_a_form_is_enforced() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    with OllamaServer(['{"a": 1}']) as server:
        request = msgspec.structs.replace(ask("x", tools=False), schema=schema)
        assert found(server).complete(request, Recorder(), Token()).text == '{"a": 1}'
    assert server.bodies[0]["format"] == schema


def test_a_conversation_is_not_cut_in_silence() -> None:
    long = ask("word " * 20_000, tools=False)
    with OllamaServer(["Hello.", "Hello.", "Hello."]) as server:
        chain = found(server)
        for request in (ask("x", tools=False), ask("y", tools=False), long):
            chain.complete(request, Recorder(), Token())
    windows = [body["options"]["num_ctx"] for body in server.bodies]
    # The same for all short ones: another would make the server load the model anew.
    assert windows[0] == windows[1] == 16_384
    assert windows[2] >= 20_000 + server.bodies[2]["options"]["num_predict"]
    assert [ollama_window(tokens) for tokens in (1, 16_385, 10**9)] == [16_384, 32_768, 131_072]
