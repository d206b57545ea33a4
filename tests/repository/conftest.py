"""Fixtures of the repository tests: a git user of their own, and a repository with a session's beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from backspace_tui.repository.bare import BareRepository
from tests.repository.helpers import make_repository


@pytest.fixture(autouse=True)
def git_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a git configuration of its own; returns that file."""
    home = tmp_path / "home"
    home.mkdir()
    config = home / ".gitconfig"
    config.write_text(
        "[user]\n\tname = Ada Lovelace\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n"
        '[protocol "file"]\n\tallow = always\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GITHUB_TOKEN", "GITHUB_PAT", "GIT_DIR", "GIT_CONFIG_GLOBAL", "GIT_ASKPASS", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return config


@pytest.fixture
def bare(tmp_path: Path) -> BareRepository:
    """A session's repository."""
    return BareRepository.create(tmp_path / "session" / "repo.git")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The user's repository, with one commit."""
    return make_repository(tmp_path / "user")
