"""A repository of its own for each test, and its reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backspace_tui.sessions.objects import Objects
from tests.sessions.repository import Repository


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo.git")


@pytest.fixture
def objects(repo: Repository) -> Iterator[Objects]:
    with Objects(repo.path) as opened:
        yield opened
