"""A real sandbox for a module of tests, and an agent in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backspace_tui.core.protocols import Sandbox, SandboxSpec
from backspace_tui.sandbox.factory import Factory
from tests.engine.agent import BACKENDS, FILES, Agent


@pytest.fixture(scope="module", params=BACKENDS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """One sandbox for the module; each test loads its files anew."""
    request.getfixturevalue("default_image" if request.param == "docker" else "bubblewrap")
    box = Factory(SandboxSpec(backend=request.param)).open({}, session="tools", purpose="agent")
    yield box
    box.close()


@pytest.fixture
def agent(sandbox: Sandbox) -> Agent:
    sandbox.load(FILES)
    return Agent(sandbox)
