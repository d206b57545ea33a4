"""One sandbox of each backend, so that the same tests hold for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from backspace_tui.core.protocols import SandboxSpec
from backspace_tui.core.trees import File
from backspace_tui.sandbox.client import SupervisedSandbox
from backspace_tui.sandbox.factory import Factory

Opener = Callable[..., SupervisedSandbox]
ISOLATED = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
]


@pytest.fixture(autouse=True, scope="module")
def own_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Sessions are counted by user and place: what other tests hold at the same time does not count here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BACKSPACE_TUI_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture
def opener(request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Open sandboxes of any backend; they are closed after the test."""
    opened: list[SupervisedSandbox] = []

    def open_one(backend: str, files: dict[str, File] | None = None, **fields: object) -> SupervisedSandbox:
        if backend == "docker":
            request.getfixturevalue("default_image")
        elif backend == "bubblewrap":
            request.getfixturevalue("bubblewrap")
        spec = SandboxSpec(backend=backend, **fields)  # type: ignore[arg-type]
        box = Factory(spec).open(files or {}, session="test", purpose="agent")
        opened.append(box)
        return box

    yield open_one
    for box in opened:
        box.close()


@pytest.fixture(params=[*ISOLATED, "process"])
def box(request: pytest.FixtureRequest, opener: Opener) -> SupervisedSandbox:
    """An empty sandbox of every backend."""
    return opener(request.param)


@pytest.fixture(params=ISOLATED)
def isolated(request: pytest.FixtureRequest, opener: Opener) -> SupervisedSandbox:
    """An empty sandbox of the backends that isolate."""
    return opener(request.param)
