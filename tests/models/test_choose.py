from __future__ import annotations

import subprocess
import sys

import pytest

from backspace_tui.config import ModelSettings
from backspace_tui.models import choose as choosing
from backspace_tui.models.choose import DEFAULTS, PROVIDERS, ChoiceError, api_key, build, choose, full_name
from backspace_tui.models.local_server import find
from tests.models.helpers import Recorder, Token, ask
from tests.models.openai_server import OpenAIServer, refused_url
from tests.models.turns import text


def nothing(env: object) -> None:
    return None


def test_a_name_with_a_server_in_the_environment() -> None:
    for variable in ("OPENAI_API_BASE", "OPENAI_BASE_URL"):
        with OpenAIServer([text("hi")]) as server:
            env = {variable: server.url}
            choice = choose(["openai/whatever-1.5:x"], [], env)
            assert choice.names == ("openai/whatever-1.5:x",)
            reply = build(choice, env).complete(ask("x"), Recorder(), Token())
            assert reply.text == "hi"
            assert server.bodies[0]["model"] == "whatever-1.5:x"


def test_flags_before_settings_and_settings_before_keys() -> None:
    entry = ModelSettings("openai/mine", "http://localhost:1/v1", "MY_KEY", 5.0, 100)
    env = {"ANTHROPIC_API_KEY": "a", "MY_KEY": "m"}
    assert choose([], [entry], env).models == (entry,)
    assert choose(["openai/mine"], [entry], env).models == (entry,)
    chosen = choose(["claude-opus-5"], [entry], env)
    assert chosen.names == ("anthropic/claude-opus-5",)
    assert "--model" in chosen.reason
    assert api_key(entry, env) == "m"


def test_keys_present_choose_in_a_fixed_order() -> None:
    env = {"DEEPSEEK_API_KEY": "d", "GOOGLE_API_KEY": "g", "OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": "a"}
    choice = choose([], [], env, probe=nothing)
    assert [name.partition("/")[0] for name in choice.names] == ["anthropic", "gemini", "deepseek"]
    assert choice.reason == "chosen by the keys present: ANTHROPIC_API_KEY, GOOGLE_API_KEY, DEEPSEEK_API_KEY"
    assert api_key(choice.models[1], env) == "g"


def test_offline_only_when_named_or_when_there_is_nothing() -> None:
    assert choose([], [], {}, probe=nothing).names == ("offline",)
    assert choose(["offline"], [], {"OPENAI_API_KEY": "x"}).offline
    with pytest.raises(ChoiceError, match="cannot stand in a list"):
        choose(["offline", "gpt-5.6"], [], {"OPENAI_API_KEY": "x"})
    assert build(choose(["offline"], [], {}), {}).names == ("offline",)


def test_a_server_in_the_environment_is_asked_what_it_has() -> None:
    with OpenAIServer(models=["qwen-local", "other"]) as server:
        env = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "k"}
        choice = choose([], [], env)
    assert choice.models == (ModelSettings("openai/qwen-local", server.url),)
    assert server.url in choice.reason
    with pytest.raises(ChoiceError, match="--model openai/NAME"):
        choose([], [], {"OPENAI_BASE_URL": refused_url()})


def test_local_servers_are_found_on_known_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(models=["local"]) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        monkeypatch.setattr("backspace_tui.models.local_server.PORTS", (int(refused_url().split(":")[2][:-3]), port))
        found = find({})
        # A resumed session names what was found.
        assert choose(["openai/local"], [], {}).models == (found,)
        with pytest.raises(ChoiceError, match="OPENAI_API_KEY"):
            choose(["openai/other"], [], {})
    assert found == ModelSettings("openai/local", f"http://127.0.0.1:{port}/v1")


def test_ollama_addresses() -> None:
    assert choosing.ollama_address("127.0.0.1") == "http://127.0.0.1:11434"
    assert choosing.ollama_address("box:9") == "http://box:9"
    assert choosing.ollama_address("https://box") == "https://box"
    assert choose(["ollama_chat/x"], [], {"OLLAMA_HOST": "box"}).models[0].api_base == "http://box:11434"


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("gpt-4o", "openai/gpt-4o"),
        ("o3", "openai/o3"),
        ("claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("gemini-3.1-pro-preview", "gemini/gemini-3.1-pro-preview"),
        ("openrouter/a/b", "openrouter/a/b"),
    ],
)
def test_well_known_names_get_their_provider(name: str, full: str) -> None:
    assert full_name(name) == full


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nosuchmodel", "PROVIDER/MODEL"),
        ("opneai/gpt-4o", "did you mean openai/gpt-4o"),
        ("nosuch/model", "PROVIDER/MODEL"),
        ("openai", "openai/MODEL"),
        ("openai/", "PROVIDER/MODEL"),
        ("openai/a b", "PROVIDER/MODEL"),
        ("", "PROVIDER/MODEL"),
        ("openai/a\nb", "PROVIDER/MODEL"),
    ],
)
def test_unknown_names_are_refused_in_one_line(name: str, hint: str) -> None:
    with pytest.raises(ChoiceError, match="unknown model") as caught:
        choose([name], [], {"OPENAI_API_KEY": "k"})
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named_and_others_go_on() -> None:
    with pytest.raises(ChoiceError, match="ANTHROPIC_API_KEY"):
        choose(["claude-opus-5"], [], {})
    with pytest.raises(ChoiceError, match="MY_KEY, which is not set"):
        choose([], [ModelSettings("openai/x", "http://localhost:1", "MY_KEY")], {})
    choice = choose(["claude-opus-5", "gpt-5.6"], [], {"OPENAI_API_KEY": "k"})
    assert choice.names == ("openai/gpt-5.6",)
    assert "ANTHROPIC_API_KEY" in choice.reason


def test_litellm_knows_every_default_and_provider() -> None:
    import litellm

    for _, _, name in DEFAULTS:
        info = litellm.get_model_info(name)
        assert info["supports_function_calling"], name
    known = {str(getattr(provider, "value", provider)) for provider in litellm.provider_list}
    assert set(PROVIDERS) <= known


def test_the_light_modules_import_nothing_heavy() -> None:
    code = """
import sys
import backspace_tui.models.choose, backspace_tui.models.offline, backspace_tui.models.grammar
import backspace_tui.models.scripted, backspace_tui.models.prompts
from backspace_tui.models.choose import choose, build
build(choose(["openai/x"], [], {"OPENAI_API_KEY": "k"}), {})
print(sorted({"litellm", "openai", "httpx", "http.client", "docker", "git"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
