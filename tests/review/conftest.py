"""Scenes that close themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.review.scene import Content, Scene, Store, scene

Make = Callable[..., Scene]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One repository for all sessions: making one takes longer than most tests."""
    made = Store.make(tmp_path_factory.mktemp("store"))
    yield made
    made.objects.close()
    made.repository.close()


@pytest.fixture
def make(tmp_path: Path, store: Store) -> Iterator[Make]:
    """Makes a session on a base, and lets its agent leave ``work`` behind where that is given."""
    with ExitStack() as stack:
        made = 0

        def make_one(base: Mapping[str, Content], work: Mapping[str, Content | None] | None = None) -> Scene:
            nonlocal made
            made += 1
            found = stack.enter_context(scene(tmp_path / str(made), base, store))
            if work is not None:
                found.agent(work)
            return found

        yield make_one
