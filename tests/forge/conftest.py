"""Fixtures of the forge tests: one git server for all, an API of its own for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forge.github_api import GithubApi, github_api
from tests.forge.gitserver import GitServer, git_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """The git server."""
    # Unix socket paths are short.
    with git_server(tmp_path_factory.mktemp("g")) as running:
        yield running


@pytest.fixture
def api() -> Iterator[GithubApi]:
    """The API."""
    with github_api() as running:
        yield running


@pytest.fixture(autouse=True)
def git_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git user of this test alone."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GITHUB_TOKEN", "GITHUB_PAT", "GIT_DIR", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
