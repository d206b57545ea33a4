from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from backspace_tui import config
from backspace_tui.config import ConfigError, GithubSettings, ModelSettings, ProjectSettings, Settings

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    path = tmp_path / "config.toml"

    def load(text: str | bytes, **environ: str) -> Settings:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return config.load(path, {f"BACKSPACE_TUI_{name}": value for name, value in environ.items()})

    return load


def failure(load: Load, text: str | bytes, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, **environ)
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    return message


def test_the_defaults_are_the_design(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BACKSPACE_TUI_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = config.load(environ={})
    assert settings == Settings()
    sandbox = settings.sandbox
    assert (sandbox.backend, sandbox.image, sandbox.network, sandbox.profile) == ("docker", "", "none", "default")
    assert (sandbox.memory, sandbox.cpus, sandbox.pids, sandbox.workspace) == ("2g", 2, 512, "1g")
    budget = settings.budget
    assert (budget.usd, budget.tokens, budget.minutes, budget.turns) == (3.0, None, 30, 60)
    assert settings.github is None
    assert settings.models == ()
    assert settings.workflow.approve_plan is False


def test_everything_the_design_names_can_be_set(load: Load) -> None:
    settings = load(
        """
        [[models]]
        name = "anthropic/claude-sonnet-4-5"
        [[models]]
        name = "openai/local"
        api_base = "http://127.0.0.1:8080/v1"
        api_key_env = "LOCAL_KEY"
        timeout = 5
        max_output_tokens = 100
        [sandbox]
        backend = "bubblewrap"
        image = "mine"
        memory = "1.5g"
        cpus = 0.5
        pids = 64
        workspace = "300m"
        network = "none"
        profile = "default"
        [project]
        setup = ["pip install -e ."]
        setup_root = ["apt-get install -y libpq-dev"]
        test = "pytest -q"
        lint = "ruff check"
        allow_paths = ["src/**"]
        deny_paths = ["secrets/**"]
        [budget]
        usd = 1
        tokens = 1000
        minutes = 2.5
        turns = 6
        [github]
        api_url = "http://localhost:3000"
        draft = false
        labels = ["bot"]
        reviewers = ["ada"]
        [keys]
        "hunk.accept" = "space,y"
        [ui]
        theme = "dusk"
        [workflow]
        approve_plan = true
        """
    )
    assert settings.models == (
        ModelSettings("anthropic/claude-sonnet-4-5"),
        ModelSettings("openai/local", "http://127.0.0.1:8080/v1", "LOCAL_KEY", 5.0, 100),
    )
    assert (settings.sandbox.cpus, settings.sandbox.memory) == (0.5, "1.5g")
    assert settings.project.setup_root == ("apt-get install -y libpq-dev",)
    assert settings.budget.tokens == 1000
    assert settings.github == GithubSettings("http://localhost:3000", False, ("bot",), ("ada",))
    assert settings.keys == {"hunk.accept": "space,y"}
    assert settings.ui.theme == "dusk"
    assert settings.workflow.approve_plan


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[sandbox]\nmemroy = '2g'", "sandbox: unknown key memroy; did you mean memory?"),
        ("[sandbx]\nmemory = '2g'", "unknown key sandbx; did you mean sandbox?"),
        ("[budget]\nzzz = 1", "budget: unknown key zzz; known are usd, tokens, minutes, turns"),
        ("[[models]]\nnam = 'x'", "models: unknown key nam; did you mean name?"),
        ("[[models]]\nname = 'x'\n[[models]]\nname = 'y'\ntimeout = 'z'", "models 2: timeout must be a number above 0"),
        ("[[models]]\ntimeout = 5", "models: name is missing"),
        ("[[models]]\nname = ''", "models: name must be text, not empty"),
        ("[models]\nname = 'x'", "models must be a list of tables: [[models]]"),
        ("models = ['x']", "models must be a table"),
        ("sandbox = 5", "sandbox must be a table: [sandbox]"),
        ("[sandbox]\nmemory = 2", 'sandbox: memory must be a size such as "512m" or "2g"'),
        ("[sandbox]\nmemory = 'lots'", 'sandbox: memory must be a size such as "512m" or "2g"'),
        ("[sandbox]\ncpus = 0", "sandbox: cpus must be a number above 0"),
        ("[sandbox]\npids = 1.5", "sandbox: pids must be a whole number above 0"),
        ("[sandbox]\nbackend = 'podman'", 'sandbox: backend must be "docker" or "bubblewrap"'),
        ("[sandbox]\nnetwork = 'bridge'", 'sandbox: network must be "none" or "setup"'),
        ("[sandbox]\nmax_age = '24'", 'sandbox: max_age must be a time such as "90m" or "24h"'),
        ("[sandbox]\nmax_sandboxes = 0", "sandbox: max_sandboxes must be a whole number above 0"),
        ("[sandbox]\nrepository = 100", 'sandbox: repository must be a size such as "512m" or "2g"'),
        ("[sandbox]\ntimeout = 0", "sandbox: timeout must be a number above 0"),
        ("[sandbox]\nhome = 'large'", 'sandbox: home must be a size such as "512m" or "2g"'),
        ("[project]\nsetup = 'make'", "project: setup must be a list of texts"),
        ("[project]\ntest = ['make']", "project: test must be text"),
        ("[budget]\ntokens = -5", "budget: tokens must be a whole number above 0"),
        ("[github]\ndraft = 'yes'", "github: draft must be true or false"),
        ("[github]\napi_url = 'ftp://x'", "github: api_url must be an address that begins with https:// or http://"),
        ("keys = 3", "keys must be a table: [keys]"),
        ("[keys]\n'hunk.accept' = 3", 'keys: hunk.accept must be text such as "space,y"'),
        ("[sandbox]\nmemory = = 2", "line 2"),
        ("a = 1\na = 2\n", "line 2"),
        (b"[ui]\ntheme = '\xff'", "line 2 is not UTF-8"),
        ("x = " + "[" * 5000, "not valid TOML"),
        ('"a\\u001b[31m" = 1', "unknown key"),
    ],
)
def test_wrong_settings_get_one_line(load: Load, tmp_path: Path, text: str | bytes, expected: str) -> None:
    message = failure(load, text)
    assert message.startswith(str(tmp_path / "config.toml"))
    assert expected in message


def test_a_key_in_the_wrong_place_is_not_repeated(load: Load) -> None:
    message = failure(load, "[[models]]\nname = 'x'\napi_key_env = 'sk-secret-123'")
    assert "sk-secret" not in message
    assert "name of an environment variable" in message


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        config.load(tmp_path / "none.toml", {})
    with pytest.raises(ConfigError, match="no such file"):
        config.load(environ={"BACKSPACE_TUI_CONFIG": str(tmp_path / "none.toml")})
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path, {})


def test_the_environment_goes_over_the_file(load: Load) -> None:
    settings = load(
        "[sandbox]\nmemory = '1g'\npids = 5\n[[models]]\nname = 'b'\ntimeout = 7",
        SANDBOX_MEMORY="4g",
        SANDBOX_CPUS="1.5",
        SANDBOX_IMAGE="",
        BUDGET_TURNS="9",
        BUDGET_TOKENS="1000",
        GITHUB_DRAFT="false",
        PROJECT_SETUP="pip install a, b",
        PROJECT_DENY_PATHS='["x", "y"]',
        WORKFLOW_APPROVE_PLAN="true",
        MODELS="a, b",
        DEBUG="1",
        DATA_DIR="/tmp",
    )
    assert (settings.sandbox.memory, settings.sandbox.pids, settings.sandbox.cpus) == ("4g", 5, 1.5)
    assert (settings.budget.turns, settings.budget.tokens) == (9, 1000)
    assert settings.github is not None
    assert settings.github.draft is False
    assert settings.project.setup == ("pip install a, b",)
    assert settings.project.deny_paths == ("x", "y")
    assert settings.workflow.approve_plan
    assert settings.models == (ModelSettings("a"), ModelSettings("b", timeout=7.0))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SANDBOX_MEMROY", "2g", "BACKSPACE_TUI_SANDBOX_MEMROY: unknown key memroy; did you mean memory?"),
        ("SANDBOX_MEMORY", "much", 'BACKSPACE_TUI_SANDBOX_MEMORY must be a size such as "512m" or "2g"'),
        ("BUDGET_USD", "free", "BACKSPACE_TUI_BUDGET_USD must be a number above 0"),
        ("GITHUB_DRAFT", "maybe", "BACKSPACE_TUI_GITHUB_DRAFT must be true or false"),
        ("PROJECT_SETUP", "[1, 2]", "BACKSPACE_TUI_PROJECT_SETUP must be a list of texts"),
        ("PROJECT_SETUP", "[", "BACKSPACE_TUI_PROJECT_SETUP must be a list of texts"),
    ],
)
def test_wrong_variables_are_named(load: Load, name: str, value: str, expected: str) -> None:
    assert failure(load, "", **{name: value}) == expected


def test_the_strict_profile_changes_what_nobody_set(load: Load) -> None:
    sandbox = load("[sandbox]\nprofile = 'strict'\npids = 50").sandbox
    assert (sandbox.memory, sandbox.cpus, sandbox.pids, sandbox.workspace) == ("512m", 0.5, 50, "200m")
    sandbox = load("", SANDBOX_PROFILE="strict", SANDBOX_MEMORY="1g").sandbox
    assert (sandbox.memory, sandbox.cpus, sandbox.pids, sandbox.workspace) == ("1g", 0.5, 100, "200m")


def test_a_repository_sets_only_its_project() -> None:
    assert config.repository_settings(b"[project]\ntest = 'make check'\n") == ProjectSettings(test="make check")
    assert config.repository_settings(b"") == ProjectSettings()
    for data, expected in (
        (b"[sandbox]\nnetwork = 'setup'", "sandbox cannot be set by a repository"),
        (b"[sandbox]\ndockerfile = 'Dockerfile'", "sandbox cannot be set by a repository"),
        (b"[project]\ntests = 'x'", "unknown key tests; did you mean test?"),
        (b"project = 5", "project must be a table"),
        (b"\xff", "not UTF-8"),
        (b"'\x1b[2J' = 1", "not valid TOML"),
    ):
        with pytest.raises(ConfigError, match=r"^\.backspace\.toml: ") as caught:
            config.repository_settings(data)
        assert expected in str(caught.value)
        assert str(caught.value).isprintable()


def test_trust_is_for_one_content_of_one_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSPACE_TUI_DATA_DIR", str(tmp_path / "data"))
    one, two = config.digest(b"[project]"), config.digest(b"[project]\ntest = 'rm -rf'")
    assert not config.trusted("/src/a", one)
    config.trust("/src/a", one)
    assert config.trusted("/src/a", one)
    assert not config.trusted("/src/a", two)
    assert not config.trusted("/src/b", one)
    config.trust("/src/a", two)
    assert config.trusted("/src/a", one)
    assert config.trusted("/src/a", two)
    path = tmp_path / "data" / "trust.json"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(json.dumps(["nonsense"]))
    assert not config.trusted("/src/a", one)


def test_trust_that_cannot_be_kept_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").touch()
    monkeypatch.setenv("BACKSPACE_TUI_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(ConfigError, match=r"trust\.json: cannot be written"):
        config.trust("/src/a", "d")
