"""Which models a session uses: by flags, by settings, or by what the environment offers.

Light to import: names are checked here by their form alone; litellm looks closer in the session's process.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from backspace_tui.config import ModelSettings
from backspace_tui.core.protocols import Model

OFFLINE: Final = "offline"

DEFAULTS: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    # provider, the variables that may hold its key, the model that is used when nothing else is said
    ("anthropic", ("ANTHROPIC_API_KEY",), "anthropic/claude-sonnet-5"),
    ("openai", ("OPENAI_API_KEY",), "openai/gpt-5.6"),
    ("gemini", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), "gemini/gemini-3.8-flash"),
    ("groq", ("GROQ_API_KEY",), "groq/openai/gpt-oss-120b"),
    ("deepseek", ("DEEPSEEK_API_KEY",), "deepseek/deepseek-chat"),
    ("openrouter", ("OPENROUTER_API_KEY",), "openrouter/anthropic/claude-sonnet-4.5"),
)
_KEYS: Final = {provider: keys for provider, keys, _ in DEFAULTS} | {
    "mistral": ("MISTRAL_API_KEY",),
    "xai": ("XAI_API_KEY",),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY"),
    "fireworks_ai": ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
    "cerebras": ("CEREBRAS_API_KEY",),
    "perplexity": ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
}
_BASES: Final = {
    "openai": ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
    "anthropic": ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"),
    "ollama": ("OLLAMA_HOST", "OLLAMA_API_BASE"),
    "ollama_chat": ("OLLAMA_HOST", "OLLAMA_API_BASE"),
}

_MORE_PROVIDERS: Final = """
    ai21 aiml azure azure_ai baseten bedrock clarifai cloudflare codestral cohere cohere_chat custom_openai
    dashscope databricks deepinfra docker_model_runner featherless_ai friendliai galadriel github github_copilot
    gradient_ai hosted_vllm huggingface hyperbolic lambda_ai lemonade litellm_proxy llamafile lm_studio meta_llama
    minimax moonshot morph nano-gpt nebius novita nscale nvidia_nim oci ollama ollama_chat openai_like ovhcloud
    predibase replicate sagemaker sagemaker_chat sambanova scaleway snowflake synthetic vercel_ai_gateway vertex_ai
    vllm volcengine wandb watsonx xinference zai
"""
PROVIDERS: Final = frozenset(_KEYS) | frozenset(_MORE_PROVIDERS.split())
"""What may stand before the slash in a model's name."""

_WELL_KNOWN: Final = (
    (re.compile(r"claude-[\w.-]+"), "anthropic"),
    (re.compile(r"(gpt-|chatgpt-|o[1-9](-|$))[\w.-]*"), "openai"),
    (re.compile(r"gemini-[\w.-]+"), "gemini"),
    (re.compile(r"deepseek-(chat|reasoner|v\d[\w.-]*)"), "deepseek"),
    (re.compile(r"(mistral|codestral|devstral|magistral)-[\w.-]+"), "mistral"),
    (re.compile(r"grok-[\w.-]+"), "xai"),
)


class ChoiceError(ValueError):
    """The models named cannot be used; the text is one line that says what to do."""


class Choice(msgspec.Struct, frozen=True):
    """The models in order of preference, and why these, in words for the user. No model stands for ``offline``."""

    models: tuple[ModelSettings, ...]
    reason: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(model.name for model in self.models) or (OFFLINE,)

    @property
    def offline(self) -> bool:
        return not self.models


Probe = Callable[[Mapping[str, str]], ModelSettings | None]


def choose(
    names: Sequence[str], settings: Sequence[ModelSettings], env: Mapping[str, str], *, probe: Probe | None = None
) -> Choice:
    """The models to use: ``names`` (from flags), else ``settings``, else what ``env`` and ``probe`` offer.

    ``probe`` looks for a local server (default: :func:`backspace_tui.models.local_server.find`); it is asked only
    where nothing is named and no key is there.

    Raises:
        ChoiceError: a name is unknown by its form, or its key or address is missing.
    """
    if names:
        known = {model.name: model for model in settings}
        return _named([known.get(name, ModelSettings(name)) for name in names], env, "named with --model")
    if settings:
        return _named(settings, env, "from your settings")
    found = [(key, name) for _, keys, name in DEFAULTS for key in keys if env.get(key)]
    bases = _first(env, _BASES["openai"])
    if bases:
        # A key next to an address of its own is that server's, and the server knows what it has.
        found = [(key, name) for key, name in found if not name.startswith("openai/")]
    if found:
        chosen = {name: key for key, name in reversed(found)}
        ordered = [name for _, _, name in DEFAULTS if name in chosen]
        why = "chosen by the keys present: " + ", ".join(chosen[name] for name in ordered)
        return Choice(tuple(ModelSettings(name) for name in ordered), why)
    if probe is None:
        from backspace_tui.models.local_server import find

        probe = find
    if (local := probe(env)) is not None:
        return Choice((local,), f"found on a server at {without_userinfo(local.api_base)}")
    if bases:
        raise ChoiceError(
            f"the server at {without_userinfo(bases)} (OPENAI_BASE_URL) lists no model; "
            "name one with --model openai/NAME"
        )
    return Choice((), "no key and no local server was found, so the offline agent works (it is not a language model)")


def _named(models: Sequence[ModelSettings], env: Mapping[str, str], reason: str) -> Choice:
    if any(model.name == OFFLINE for model in models):
        if len(models) > 1:
            raise ChoiceError("offline is no language model and cannot stand in a list with others; name it alone")
        return Choice((), f"{reason}: the offline agent, which is not a language model")
    usable: list[ModelSettings] = []
    problems: list[str] = []
    for model in models:
        complete = msgspec.structs.replace(model, name=full_name(model.name))
        complete = _with_address(complete, env)
        problem = _missing(complete, env)
        if problem and complete.name.startswith("openai/") and (local := _local(complete, env)):
            usable.append(local)
        elif problem:
            problems.append(problem)
        else:
            usable.append(complete)
    if not usable:
        raise ChoiceError("; ".join(problems) + _offer(env))
    left_out = f" ({'; '.join(problems)}: left out)" if problems else ""
    return Choice(tuple(usable), reason + left_out)


def _local(model: ModelSettings, env: Mapping[str, str]) -> ModelSettings | None:
    """``model`` on a server of this machine, so that a choice made by looking for one can be named again."""
    if model.api_key_env:
        return None
    from backspace_tui.models.local_server import servers

    offered = (local for server in servers(env) for local in server.models)
    found = next((local for local in offered if local.name == model.name), None)
    return found and msgspec.structs.replace(model, api_base=found.api_base)


def _offer(env: Mapping[str, str]) -> str:
    from backspace_tui.models.local_server import find

    local = find(env)
    return f"; or --model {local.name}, found at {without_userinfo(local.api_base)}" if local else ""


def full_name(name: str) -> str:
    """``name`` with its provider. Raises :class:`ChoiceError` for what cannot be a model's name."""
    provider, slash, rest = name.partition("/")
    if name == OFFLINE or (slash and provider in PROVIDERS and rest and rest.isprintable() and " " not in rest):
        return name
    if not slash:
        for pattern, prefix in _WELL_KNOWN:
            if pattern.fullmatch(name):
                return f"{prefix}/{name}"
    hint = "name it PROVIDER/MODEL, such as anthropic/claude-sonnet-5, or openai/NAME with OPENAI_BASE_URL set"
    close = difflib.get_close_matches(provider, PROVIDERS, 1, 0.8) if slash and rest else []
    if close and provider not in PROVIDERS:
        hint = f"did you mean {close[0]}/{rest}?"
    elif not slash and name in PROVIDERS:
        hint = f"{name} is a provider; name a model of it: {name}/MODEL"
    raise ChoiceError(f"unknown model {name[:80]!r}: {hint}")


def _with_address(model: ModelSettings, env: Mapping[str, str]) -> ModelSettings:
    provider = model.name.partition("/")[0]
    base = model.api_base or _first(env, _BASES.get(provider, ()))
    if base and provider.startswith("ollama"):
        base = ollama_address(base)
    elif base and "://" not in base:
        base = f"http://{base}"
    return msgspec.structs.replace(model, api_base=base)


def ollama_address(host: str) -> str:
    """The URL of an ``OLLAMA_HOST``, which may be a bare host, a host with a port, a URL, or what a server binds to."""
    url = host if "://" in host else f"http://{host}"
    url = re.sub(r"(?<=//)0\.0\.0\.0(?=[:/]|$)", "127.0.0.1", url)
    if "://" not in host and not re.search(r":\d+$", host.rstrip("/")):
        url = f"{url.rstrip('/')}:11434"
    return url


def _missing(model: ModelSettings, env: Mapping[str, str]) -> str:
    """What keeps ``model`` from being asked at all, in one clause; empty if nothing is known to."""
    if model.api_key_env:
        return "" if env.get(model.api_key_env) else f"{model.name} needs {model.api_key_env}, which is not set"
    if model.api_base:
        return ""
    keys = _KEYS.get(model.name.partition("/")[0], ())
    if keys and not _first(env, keys):
        return f"{model.name} needs a key: set {' or '.join(keys)}"
    return ""


def api_key(model: ModelSettings, env: Mapping[str, str]) -> str:
    """The key for ``model``. Servers with an address of their own may need none, but litellm wants some text."""
    if model.api_key_env:
        return env.get(model.api_key_env, "")
    key = _first(env, _KEYS.get(model.name.partition("/")[0], ()))
    return key or ("none" if model.api_base else "")


def _first(env: Mapping[str, str], names: Sequence[str]) -> str:
    return next((value for name in names if (value := env.get(name, "").strip())), "")


def without_userinfo(url: str) -> str:
    """``url`` without the user and password that it may hold."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def build(choice: Choice, env: Mapping[str, str]) -> Model:
    """The model of a session. Imports nothing heavy; see :func:`backspace_tui.models.litellm_model.warm`."""
    if choice.offline:
        from backspace_tui.models.offline import OfflineModel

        return OfflineModel()
    from backspace_tui.models.chain import FallbackChain
    from backspace_tui.models.litellm_model import LiteLLMModel

    return FallbackChain([LiteLLMModel(model, api_key(model, env)) for model in choice.models], second_chance=True)
