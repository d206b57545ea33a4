"""What the tests of the user in the agent's sandbox share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.config import SandboxSettings, Settings
from backspace_tui.core import events as ev
from tests.crash import Human, Script, scene, steps
from tests.models.turns import call
from tests.test_control import in_review

WRITE = call("write_file", path="a.txt", content="a\n")
SLOW = call("run_command", command="echo slow")
BACKENDS = [
    "process",
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
    pytest.param("docker", marks=pytest.mark.docker),
]


def of(events: list[ev.AnyEvent], kind: type[Any], **fields: object) -> list[Any]:
    return [
        event
        for event in events
        if isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items())
    ]


@contextmanager
def resting(folder: Path, backend: str = "process", *turns: Any, **more: Any) -> Iterator[tuple[Human, Script]]:
    """A session in its review, in which the agent wrote a.txt."""
    server = Script(steps(WRITE, *turns))
    settings = Settings(sandbox=SandboxSettings(image="slim")) if backend == "docker" else Settings()
    with scene(folder, server, backend, settings=settings, **more) as human:
        human.start()
        human.until(in_review, "the review")
        yield human, server


def needs(request: pytest.FixtureRequest, backend: str) -> str:
    """``backend``, with what it needs to be there."""
    if backend == "docker":
        request.getfixturevalue("slim_image")
    elif backend == "bubblewrap":
        request.getfixturevalue("bubblewrap")
    return backend
