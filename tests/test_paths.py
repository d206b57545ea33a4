from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backspace_tui import paths


def test_one_variable_moves_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSPACE_TUI_DATA_DIR", str(tmp_path / "here"))
    assert paths.data_dir() == tmp_path / "here"
    assert paths.sessions_dir() == tmp_path / "here" / "sessions"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BACKSPACE_TUI_DATA_DIR", "relative")
    assert paths.data_dir() == tmp_path / "relative"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BACKSPACE_TUI_DATA_DIR", "~/there")
    assert paths.data_dir() == tmp_path / "there"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other folders")
def test_the_places_of_the_desktop_standard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BACKSPACE_TUI_DATA_DIR", "BACKSPACE_TUI_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name in ("DATA", "CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    assert paths.sessions_dir() == tmp_path / "DATA" / "backspace-tui" / "sessions"
    assert paths.config_file() == tmp_path / "CONFIG" / "backspace-tui" / "config.toml"
    assert paths.cache_dir() == tmp_path / "CACHE" / "backspace-tui"
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSPACE_TUI_CONFIG", str(tmp_path / "my.toml"))
    assert paths.config_file() == tmp_path / "my.toml"


@pytest.mark.parametrize("name", ["themes", "sandbox"])
def test_resources_lie_in_the_wheel_or_the_checkout(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "backspace_tui"
    package.mkdir()
    monkeypatch.setattr(paths, "__file__", str(package / "paths.py"))
    assert paths.resource_dir(name) == tmp_path / name  # type: ignore[arg-type]
    (package / "_data" / name).mkdir(parents=True)
    assert paths.resource_dir(name) == package / "_data" / name  # type: ignore[arg-type]


def test_importing_is_cheap() -> None:
    script = "import sys, backspace_tui.paths; print('platformdirs' in sys.modules, 'msgspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
