"""Typed settings: the user's ``config.toml``, then the environment; a repository's own file only when trusted.

``BACKSPACE_TUI_<SECTION>_<KEY>`` overrides one setting (``BACKSPACE_TUI_SANDBOX_MEMORY=4g``), ``BACKSPACE_TUI_MODELS``
names the models in order, separated by commas.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from backspace_tui import paths, private

_SIZE: Final = r"^[0-9]+(\.[0-9]+)?[kmgKMG]$"
_TIME: Final = r"^[0-9]+(\.[0-9]+)?[smhd]$"
Size = Annotated[str, Meta(pattern=_SIZE)]
Time = Annotated[str, Meta(pattern=_TIME)]
Positive = Annotated[float, Meta(gt=0)]
PositiveInt = Annotated[int, Meta(gt=0)]
VariableName = Annotated[str, Meta(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")]

_SECRET_NAMES: Final = (
    "TOKEN", "SECRET", "PASSWORD", "PASSWD", "API_KEY", "PRIVATE_KEY", "CREDENTIAL", "GITHUB_PAT",
)  # fmt: skip


class ConfigError(Exception):
    """Settings that cannot be used: one line that names the file (or variable), the key and what is allowed."""

    exit_code = 2


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ``[[models]]`` entry.

    ``api_base`` is the address of an OpenAI-compatible server, ``api_key_env`` the name of the environment variable
    that holds its key (never the key itself), ``timeout`` the longest silence in seconds, ``max_output_tokens`` the
    cap of one reply.
    """

    name: Annotated[str, Meta(min_length=1)]
    api_base: str = ""
    api_key_env: VariableName = ""
    timeout: Positive = 120.0
    max_output_tokens: PositiveInt = 8192


class SandboxSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[sandbox]``: sizes are docker's (``512m``, ``2g``); an empty ``image`` is the program's own.

    ``profile = "strict"`` changes the defaults of the limits to 512m, 0.5 cpus, 100 pids, a workspace of 200m and a
    home of 100m. ``network = "setup"`` lets the project's setup reach the network, and nothing else; ``dockerfile`` is
    a path inside the repository that the image is built from. ``home`` is the size of the home folder.
    ``repository`` is the largest base that is copied in, ``timeout`` the seconds that the project's tests may take;
    ``max_sandboxes`` sessions may hold sandboxes at once, none of them older than ``max_age``.
    """

    backend: Literal["docker", "bubblewrap"] = "docker"
    image: str = ""
    memory: Size = "2g"
    cpus: Positive = 2.0
    pids: PositiveInt = 512
    workspace: Size = "1g"
    home: Size = "512m"
    network: Literal["none", "setup"] = "none"
    dockerfile: str = ""
    profile: Literal["default", "strict"] = "default"
    repository: Size = "100m"
    timeout: Positive = 900.0
    max_sandboxes: PositiveInt = 5
    max_age: Time = "24h"


STRICT: Final[dict[str, Any]] = {"memory": "512m", "cpus": 0.5, "pids": 100, "workspace": "200m", "home": "100m"}
"""The limits of the profile ``strict``, where the settings name no others."""


class ProjectSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[project]``: shell commands, and glob patterns of paths that the agent may or may not change.

    Empty ``test`` and ``lint`` mean: found by looking at the repository.
    """

    setup: tuple[str, ...] = ()
    setup_root: tuple[str, ...] = ()
    test: str = ""
    lint: str = ""
    allow_paths: tuple[str, ...] = ()
    deny_paths: tuple[str, ...] = ()


class BudgetSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[budget]``: where the agent pauses. US dollars, tokens, minutes, turns of the model.

    ``None`` is no limit; ``usd = inf`` and ``minutes = inf`` say so in a file.
    """

    usd: Positive | None = 3.0
    tokens: PositiveInt | None = None
    minutes: Positive | None = 30.0
    turns: PositiveInt = 60


class GithubSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[github]``: its presence means that accepted work ends in a pull request."""

    api_url: Annotated[str, Meta(pattern=r"^https?://")] = "https://api.github.com"
    draft: bool = True
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()


class UiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[ui]``: an empty ``theme`` is the program's own."""

    theme: str = ""


class WorkflowSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[workflow]``: with ``approve_plan`` the plan waits for the user's word."""

    approve_plan: bool = False


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set. ``keys`` maps a binding's id to its keys, separated by commas."""

    models: tuple[ModelSettings, ...] = ()
    sandbox: SandboxSettings = SandboxSettings()
    project: ProjectSettings = ProjectSettings()
    budget: BudgetSettings = BudgetSettings()
    github: GithubSettings | None = None
    keys: dict[str, str] = {}
    ui: UiSettings = UiSettings()
    workflow: WorkflowSettings = WorkflowSettings()


_SECTIONS: Final[dict[str, type[msgspec.Struct]]] = {
    "sandbox": SandboxSettings,
    "project": ProjectSettings,
    "budget": BudgetSettings,
    "github": GithubSettings,
    "ui": UiSettings,
    "workflow": WorkflowSettings,
}


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in force, without the flags of the command line.

    ``path`` defaults to :func:`backspace_tui.paths.config_file`; only the default one may be absent.

    Raises:
        ConfigError: they cannot be read or are wrong.
    """
    environ = os.environ if environ is None else environ
    named = path is not None or bool(environ.get("BACKSPACE_TUI_CONFIG"))
    if path is None:
        path = Path(environ["BACKSPACE_TUI_CONFIG"]).expanduser() if named else paths.config_file()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if named:
            raise ConfigError(f"{path}: there is no such file; create it, or name another") from None
        data = b""
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    document = _parse(data, str(path))
    _check(document, str(path))
    _overlay(document, environ)
    sandbox = document.get("sandbox", {})
    if sandbox.get("profile") == "strict":
        document["sandbox"] = STRICT | sandbox
    if "budget" in document:
        # JSON, which a session's log is, has no such number.
        document["budget"] = {key: None if value == math.inf else value for key, value in document["budget"].items()}
    return msgspec.convert(document, type=Settings)


def repository_settings(data: bytes) -> ProjectSettings:
    """What a ``.backspace.toml`` sets; it is a stranger's file and may hold ``[project]`` alone.

    Raises:
        ConfigError: it is wrong, or holds anything else.
    """
    name = ".backspace.toml"
    document = _parse(data, name)
    for key in document:
        if key != "project":
            raise ConfigError(f"{name}: {_shown(key)} cannot be set by a repository; only [project] can")
    _check(document, name)
    return msgspec.convert(document.get("project", {}), type=ProjectSettings)


def digest(data: bytes) -> str:
    """What identifies the content of a ``.backspace.toml`` in the trust store."""
    return hashlib.sha256(data).hexdigest()


def trusted(repository: str, digest: str) -> bool:
    """Whether the user trusted this very content of ``repository``'s ``.backspace.toml``."""
    return digest in _trust_store().get(repository, ())


def trust(repository: str, digest: str) -> None:
    """Remember that the user trusts it. Raises ConfigError when that cannot be written."""
    store = _trust_store()
    store[repository] = sorted({*store.get(repository, ()), digest})
    path = _trust_file()
    temporary = path.with_name(f".trust-{os.getpid()}")
    try:
        private.make_directory(path.parent)
        private.write(temporary, json.dumps(store, indent=1).encode("ascii"))
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def _trust_file() -> Path:
    return paths.data_dir() / "trust.json"


def _trust_store() -> dict[str, list[str]]:
    """What is trusted; a damaged file trusts nothing."""
    try:
        found = json.loads(_trust_file().read_bytes())
        return msgspec.convert(found, type=dict[str, list[str]])
    except (OSError, ValueError, RecursionError):
        return {}


def _parse(data: bytes, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{name}: line {line} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not valid TOML: {_shown(str(error), 200)}") from None
    except RecursionError:
        raise ConfigError(f"{name}: not valid TOML: nested too deeply") from None


def _check(document: dict[str, Any], name: str) -> None:
    """Raises ConfigError for the first unknown key or unfit value."""
    _known(document, [field.name for field in msgspec.structs.fields(Settings)], name, "")
    for section, kind in _SECTIONS.items():
        if section in document:
            _check_table(document[section], kind, name, section)
    models = document.get("models", [])
    if not isinstance(models, list):
        raise ConfigError(f"{name}: models must be a list of tables: [[models]]")
    for number, entry in enumerate(models, 1):
        _check_table(entry, ModelSettings, name, f"models {number}" if len(models) > 1 else "models")
    keys = document.get("keys", {})
    if not isinstance(keys, dict):
        raise ConfigError(f"{name}: keys must be a table: [keys]")
    for key, value in keys.items():
        if not isinstance(value, str):
            raise ConfigError(f'{name}: keys: {_shown(key)} must be text such as "space,y"')


def _check_table(table: Any, kind: type[msgspec.Struct], name: str, section: str) -> None:
    if not isinstance(table, dict):
        raise ConfigError(f"{name}: {section} must be a table: [{section}]")
    hints = get_type_hints(kind, include_extras=True)
    _known(table, hints, name, section)
    for key, value in table.items():
        try:
            msgspec.convert(value, type=hints[key])
        except msgspec.ValidationError:
            # The value stays out of the message: it may be a key that was pasted into the wrong place.
            raise ConfigError(f"{name}: {section}: {key} must be {_allowed(hints[key])}") from None
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in table:
            raise ConfigError(f"{name}: {section}: {field.name} is missing")


def _known(table: Mapping[str, Any], known: Iterable[str], name: str, section: str) -> None:
    known = list(known)
    for key in table:
        if key not in known:
            where = f"{name}: {section}: " if section else f"{name}: "
            close = difflib.get_close_matches(key, known, 1, 0.5)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise ConfigError(f"{where}unknown key {_shown(key)}; {hint}")


def _allowed(hint: Any) -> str:
    """In words what a setting's type allows."""
    if get_origin(hint) is Annotated:
        base, *metas = get_args(hint)
        meta = next((item for item in metas if isinstance(item, Meta)), None)
        if meta is not None and meta.pattern == _SIZE:
            return 'a size such as "512m" or "2g"'
        if meta is not None and meta.pattern == _TIME:
            return 'a time such as "90m" or "24h"'
        if hint == VariableName:
            return "the name of an environment variable (never a key itself)"
        if meta is not None and meta.gt == 0:
            return f"{_allowed(base)} above 0"
        if meta is not None and meta.pattern:
            return "an address that begins with https:// or http://"
        return f"{_allowed(base)}, not empty"
    if get_origin(hint) is Literal:
        return " or ".join(f'"{value}"' for value in get_args(hint))
    if get_origin(hint) in (Union, UnionType):
        return _allowed(next(item for item in get_args(hint) if item is not type(None)))
    if get_origin(hint) is tuple:
        return "a list of texts"
    return {str: "text", bool: "true or false", int: "a whole number", float: "a number"}[hint]


def _overlay(document: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Put what the environment sets into ``document``. Empty variables count as unset."""
    if names := [name.strip() for name in environ.get("BACKSPACE_TUI_MODELS", "").split(",") if name.strip()]:
        known = {entry["name"]: entry for entry in document.get("models", [])}
        document["models"] = [known.get(name, {"name": name}) for name in names]
    for section, kind in _SECTIONS.items():
        prefix = f"BACKSPACE_TUI_{section.upper()}_"
        found = {name: value for name, value in environ.items() if name.startswith(prefix) and value}
        if not found:
            continue
        hints = get_type_hints(kind, include_extras=True)
        table = document.setdefault(section, {})
        for name, value in found.items():
            key = name[len(prefix) :].lower()
            _known({key: None}, hints, name, "")
            try:
                table[key] = _from_text(value, hints[key])
            except ValueError:
                raise ConfigError(f"{name} must be {_allowed(hints[key])}") from None


def _from_text(value: str, hint: Any) -> Any:
    """The value of an environment variable; a list is one text, or a TOML array. Raises ``ValueError``."""
    base = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(base) is tuple:
        is_array = re.match(r"\s*\[", value)
        found = tomllib.loads(f"value = {value}")["value"] if is_array else [value]
        msgspec.convert(found, type=hint)
        return found
    return msgspec.to_builtins(msgspec.convert(value.strip(), type=hint, strict=False))


def _shown(text: str, length: int = 60) -> str:
    """Printable and short: settings files may be anyone's."""
    clean = "".join(char if char.isprintable() else "?" for char in text)
    return clean if len(clean) <= length else clean[: length - 3] + "..."


def secrets() -> list[str]:
    """Values of the environment that must never be shown: those whose names say so."""
    return [
        value
        for name, value in os.environ.items()
        if len(value) >= 8 and any(word in name.upper() for word in _SECRET_NAMES)
    ]
