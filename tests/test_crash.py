"""SIGKILL anywhere, then resume: no decision is lost, nothing is done or said twice, the branch ends the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from backspace_tui.sessions import store
from tests.crash import (
    ROOT,
    GatedServer,
    Human,
    adopt_orphans,
    check_branch,
    check_log,
    check_requests,
    children,
    first_event,
    play,
)  # fmt: skip
from tests.program import CART, TEST_CART, make_repository, wait_for

BASE = {"cart.py": CART, "tests/test_cart.py": TEST_CART}
FIXTURES = {"docker": "default_image", "bubblewrap": "bubblewrap"}


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """No process of ours outlives a test, however its parents died."""
    adopt_orphans()
    before = set(children())
    yield
    wait_for(lambda: not set(children()) - before, "every process to be gone", 20)


def tell(tmp_path: Path, backend: str, mode: str = "", only: str = "") -> Human:
    """Play the whole story, killed as ``mode`` says, and check everything that must hold."""
    repository = make_repository(tmp_path / "repository", BASE)
    directory = store.new_session(tmp_path / "sessions")
    plan, scratch = tmp_path / "plan", tmp_path / "scratch"
    plan.mkdir()
    scratch.mkdir()
    (plan / "mode").write_text(mode)
    if only:
        (plan / "only").write_text(only)
    with GatedServer() as server:
        env = dict(os.environ, PYTHONPATH=str(ROOT), CRASH_URL=server.url, TMPDIR=str(scratch))
        if mode:
            env["CRASH_PLAN"] = str(plan)
        human = Human(directory, first_event(directory, repository, backend), env)
        play(human, server)
        wait_for(lambda: not store.is_running(directory), "the process to end")
    assert not server.problems
    check_log(human)
    check_branch(repository, human.state(), BASE)
    check_requests(server.bodies)
    wait_for(lambda: not list(scratch.iterdir()), "temporary folders to be gone", 20)
    return human


@pytest.mark.bubblewrap
def test_the_story_without_a_crash(tmp_path: Path, bubblewrap: str) -> None:
    human = tell(tmp_path, bubblewrap)
    assert human.starts == 1


@pytest.mark.bubblewrap
@pytest.mark.parametrize("mode", ["after", "torn"])
def test_a_kill_at_every_kind_of_write(tmp_path: Path, bubblewrap: str, mode: str) -> None:
    human = tell(tmp_path, bubblewrap, mode)
    assert human.starts > 60
