"""Servers of language models on this machine: how they are found and offered, and a real one at work."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from backspace_tui import config
from backspace_tui.config import ModelSettings
from backspace_tui.core.protocols import Cancelled, ChatMessage, ModelRequest, ModelUnavailable, ToolCall, ToolSchema
from backspace_tui.doctor import checks as doctor
from backspace_tui.models import local_server, text_calls
from backspace_tui.models.chain import FallbackChain
from backspace_tui.models.choose import ChoiceError, build, choose
from backspace_tui.models.litellm_model import LiteLLMModel
from backspace_tui.models.local_server import servers
from tests.models.helpers import WRITE_FILE, Recorder, Token, ask
from tests.models.llama_server import CONTEXT, LlamaServer
from tests.models.openai_server import refused_url
from tests.program import wait_for
from tests.test_doctor import GOOD, found_by, run_doctor

OLLAMA: Mapping[str, Any] = {
    "/api/tags": {
        "models": [
            {"name": "nomic-embed-text:latest", "model": "nomic-embed-text:latest", "details": {"family": "bert"}},
            {"name": "qwen3:8b", "model": "qwen3:8b", "details": {"family": "qwen3"}},
            {"name": "gemma3:4b", "model": "gemma3:4b", "details": {"family": "gemma3"}},
        ]
    },
    "/v1/models": {"object": "list", "data": [{"id": "qwen3:8b", "object": "model", "owned_by": "library"}]},
}
VLLM: Mapping[str, Any] = {
    "/v1/models": {
        "object": "list",
        "data": [{"id": "Qwen/Qwen3-8B", "object": "model", "owned_by": "vllm", "max_model_len": 40960}],
    },
    "/version": {"version": "0.11.0"},
}
DRIP: Mapping[str, Any] = {"/v1/models": None}


class _Handler(BaseHTTPRequestHandler):
    """Answers with JSON by path, and with a web application's page elsewhere; ``None`` drips for ever."""

    server: _Listing

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        known = self.path in self.server.answers
        answer = self.server.answers.get(self.path)
        body = json.dumps(answer).encode() if known else b"<!DOCTYPE html><title>My application</title>"
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if known else "text/html")
        self.end_headers()
        try:
            while known and answer is None and not self.server.closing.is_set():
                self.wfile.write(b" ")
                self.server.closing.wait(0.05)
            self.wfile.write(body)
        except OSError:
            self.server.hung_up.set()


class _Listing(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.closing = threading.Event()
        self.hung_up = threading.Event()


@contextmanager
def listing(answers: Mapping[str, Any]) -> Iterator[_Listing]:
    """A server that lists models."""
    server = _Listing(answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts servers where Ollama, LM Studio, llama.cpp and vLLM are looked for; elsewhere nothing listens."""

    def put(ollama: _Listing | None = None, llama: int = 0, vllm: _Listing | None = None) -> list[int]:
        ports = [server.server_port if server else 0 for server in (ollama, None, None, vllm)]
        ports[2] = llama
        ports = [port or int(refused_url().split(":")[2][:-3]) for port in ports]
        monkeypatch.setattr(local_server, "PORTS", tuple(ports))
        return ports

    return put


def test_every_kind_of_server_is_found_with_its_models(machine: Any, local_model: LlamaServer) -> None:
    with listing(OLLAMA) as ollama, listing(VLLM) as vllm:
        ports = machine(ollama, local_model.port, vllm)
        found = list(servers({}))
        assert [(server.kind, server.names, server.address) for server in found] == [
            ("Ollama", ("ollama_chat/qwen3:8b", "ollama_chat/gemma3:4b"), f"http://127.0.0.1:{ports[0]}"),
            ("llama.cpp", ("openai/smollm2",), f"http://127.0.0.1:{ports[2]}/v1"),
            ("vLLM", ("openai/Qwen/Qwen3-8B",), f"http://127.0.0.1:{ports[3]}/v1"),
        ]
        # An Ollama that the environment names is not listed twice, nor one that binds to every address.
        for host in (f"127.0.0.1:{ports[0]}", f"http://0.0.0.0:{ports[0]}"):
            assert list(servers({"OLLAMA_HOST": host})) == found
        # Whatever is named without an address is found again.
        for model in (model for server in found for model in server.models if server.kind != "Ollama"):
            assert choose([model.name], [], {}).models == (model,)
        assert choose([], [], {}).names == ("ollama_chat/qwen3:8b",)


def test_what_is_no_server_of_models_is_passed_over(machine: Any) -> None:
    with listing({}) as application, listing(VLLM) as vllm:
        machine(application, application.server_port, vllm)
        assert [server.kind for server in servers({})] == ["vLLM"]
    machine()
    assert list(servers({})) == []


def test_an_answer_that_never_ends_is_given_up(machine: Any) -> None:
    with listing(DRIP) as dripping, listing(VLLM) as vllm:
        machine(None, dripping.server_port, vllm)
        assert [server.kind for server in servers({})] == ["vLLM"]
        assert dripping.hung_up.wait(30)


def test_the_doctor_offers_what_it_finds(
    machine: Any, local_model: LlamaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "folder with space" / "config.toml"
    monkeypatch.setenv("BACKSPACE_TUI_CONFIG", str(settings))
    machine(llama=local_model.port)
    facts = replace(GOOD, servers=tuple(servers({})))
    check = next(check for check in doctor.judge(facts) if check.name == "local")
    assert (check.status, check.detail) == ("ok", f"llama.cpp at {local_model.url}: openai/smollm2")
    # What it says to do is done as it says, twice, also after other settings.
    subprocess.run(["sh", "-c", check.fix], check=True)
    assert config.load().models == (ModelSettings("openai/smollm2", local_model.url),)
    settings.write_text("[budget]\nturns = 5")
    subprocess.run(["sh", "-c", check.fix], check=True)
    chosen = choose([], config.load().models, {})
    assert chosen.models == (ModelSettings("openai/smollm2", local_model.url),)
    # A server that is used already is not offered.
    used = next(check for check in doctor.judge(replace(facts, models=chosen)) if check.name == "local")
    assert (used.detail, used.fix) == (check.detail, "")
    assert "no server" in doctor.check_servers((), "no models").detail


def test_a_hostile_name_stays_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSPACE_TUI_CONFIG", str(tmp_path / "config.toml"))
    model = ModelSettings("""openai/x';touch${IFS}pwned;'"$(touch${IFS}pwned)\\%s""", "http://127.0.0.1:1/v1")
    subprocess.run(["sh", "-c", doctor.settings_for(model)], cwd=tmp_path, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]
    assert config.load().models == (model,)


def test_the_doctor_as_a_program(local_model: LlamaServer, tmp_path: Path) -> None:
    found = found_by(run_doctor(tmp_path, "--json", OPENAI_BASE_URL=local_model.url))
    assert found["local"]["detail"].startswith(f"llama.cpp at {local_model.url}")
    assert found["models"]["detail"] == f"openai/smollm2 (found on a server at {local_model.url})"


def test_passwords_in_addresses_are_not_shown() -> None:
    server = local_server.LocalServer("vLLM", (ModelSettings("openai/x", "http://u:secret@box/v1"),))
    check = doctor.check_servers((server,), "no models")
    assert "secret" not in check.detail + check.fix
    assert "http://box/v1" in check.detail


def test_who_lacks_a_key_is_told_of_the_local_server(machine: Any) -> None:
    with listing(VLLM) as vllm:
        machine(vllm=vllm)
        with pytest.raises(ChoiceError, match=r"needs a key.*; or --model openai/Qwen/Qwen3-8B, found at http://127"):
            choose(["claude-opus-5"], [], {})


# A real model


def local(server: LlamaServer, **options: Any) -> ModelSettings:
    return ModelSettings("openai/smollm2", server.url, **{"max_output_tokens": 24, **options})


def one(server: LlamaServer, **options: Any) -> LiteLLMModel:
    return LiteLLMModel(local(server, **options), "none")


@pytest.mark.parametrize("stream", [True, False])
def test_it_answers_and_says_what_that_took(local_model: LlamaServer, stream: bool) -> None:
    recorder = Recorder()
    reply = one(local_model).complete(ask("Say hello.", tools=False), recorder, Token(), stream=stream)
    assert reply.text.strip()
    assert recorder.text() == reply.text
    assert len(recorder.pieces) > 1 or not stream
    assert 10 < reply.tokens_in < 60
    assert 1 < reply.tokens_out <= 24
    assert reply.usd is None  # nobody knows a price for it
    assert (reply.model, reply.tool_calls, reply.thinking) == ("openai/smollm2", (), "")


def test_a_choice_is_built_and_answers(local_model: LlamaServer) -> None:
    env = {"OPENAI_BASE_URL": local_model.url}
    chain = build(choose([], [local(local_model)], env), env)
    recorder = Recorder()
    reply = chain.complete(ask("Say hello.", tools=False), recorder, Token())
    assert reply.text
    assert recorder.failures == []
    assert recorder.estimates[0].model == "openai/smollm2"
    assert recorder.estimates[0].tokens_in > 0


def test_a_cancelled_turn_frees_the_server(local_model: LlamaServer) -> None:
    token = Token()
    recorder = Recorder(on_text=token.cancel)
    with pytest.raises(Cancelled):
        one(local_model, max_output_tokens=3000).complete(
            ask("Count from one to one thousand, in words.", tools=False), recorder, token
        )
    assert recorder.pieces
    wait_for(local_model.idle, "the server to stop writing")
    assert token.registered == 0


def test_a_conversation_that_is_too_long_is_shortened(local_model: LlamaServer) -> None:
    messages = list(ask("Read all files, then say hello.").messages)
    for number in range(10):
        made = ToolCall(str(number), "write_file", {"path": f"{number}.txt", "content": "x"})
        messages.append(ChatMessage("assistant", "I look.", (made,)))
        messages.append(ChatMessage("tool", "word " * (1 if number else 2 * CONTEXT), tool_call_id=made.id))
    recorder = Recorder()
    request = ModelRequest(tuple(messages), "implement", (WRITE_FILE,))
    reply = FallbackChain([one(local_model)]).complete(request, recorder, Token())
    assert reply.model == "openai/smollm2"
    assert reply.tokens_in < CONTEXT
    assert "longer than the model takes" in recorder.failures[0][1]


def test_one_that_cannot_be_shortened_is_told(local_model: LlamaServer) -> None:
    request = ModelRequest((ChatMessage("system", "word " * 2 * CONTEXT), ChatMessage("user", "Say hello.")), "plan")
    with pytest.raises(ModelUnavailable, match="openai/smollm2: the conversation is longer than the model takes"):
        FallbackChain([one(local_model)]).complete(request, Recorder(), Token())
    assert local_model.idle()


PAINT = ToolSchema(
    "paint",
    "Paint something.",
    {
        "type": "object",
        "properties": {
            "colour": {"enum": ["red", "blue"]},
            "what": {"type": "array", "items": {"enum": ["wall", "door"]}, "minItems": 1, "maxItems": 2},
            "twice": {"type": "boolean"},
        },
        "required": ["colour", "what", "twice"],
        "additionalProperties": False,
    },
)


@pytest.mark.parametrize("stream", [True, False])
def test_a_form_that_the_server_enforces_is_a_call(local_model: LlamaServer, stream: bool) -> None:
    request = ModelRequest(ask("Paint the door red, once.").messages, "implement", (PAINT,))
    sent = text_calls.rewrite(request, enforced=True)
    reply = one(local_model, max_output_tokens=120).complete(sent, Recorder(), Token(), stream=stream)
    read = text_calls.read_reply(reply, request)
    [call] = read.tool_calls
    assert (call.name, call.problem, read.text) == ("paint", "", "")
    arguments = call.arguments or {}
    assert set(arguments) == {"colour", "what", "twice"}
    assert arguments["colour"] in ("red", "blue")
    assert set(arguments["what"]) <= {"wall", "door"}
    assert isinstance(arguments["twice"], bool)


def test_it_stays_small(local_model: LlamaServer) -> None:
    one(local_model).complete(ask("Say hello.", tools=False), Recorder(), Token())
    assert local_model.memory() < 1 << 30
