"""What the screen looks like. Look at a difference before accepting it: ``pytest tests/ui --snapshot-update``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import pytest
from textual.pilot import Pilot

from backspace_tui.core import events as ev
from backspace_tui.ui.window import BackspaceApp
from tests.ui.sample import Host, Sample
from tests.ui.windows import Window, launch_of


class Compare(Protocol):
    """The plugin's fixture."""

    def __call__(
        self, app: Any, *, terminal_size: tuple[int, int], run_before: Callable[[Pilot[int]], Awaitable[None]]
    ) -> bool: ...


def _pressed(*keys: str) -> Callable[[Pilot[int]], Awaitable[None]]:
    async def run(pilot: Pilot[int]) -> None:
        window = Window(pilot)
        await window.ready()
        await window.press(*keys)
        await pilot.pause(0.05)

    return run


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])
def test_review(sample: Sample, snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(BackspaceApp(launch_of(sample)), terminal_size=size, run_before=_pressed("]", "j"))


def test_light_theme_with_decisions(host: Host, snap_compare: Compare) -> None:
    async def run(pilot: Pilot[int]) -> None:
        window = Window(pilot)
        await window.ready()
        await window.press("space", "x")
        review = window.workspace.desk
        await window.until(lambda: review.review and review.review.decided == 2 and not review.busy, "two decisions")
        window.workspace.status.unsay()
        await window.press("[")
        await window.until(lambda: "2/3" in window.pane("files"), "the badge")
        await pilot.pause(0.05)

    app = BackspaceApp(launch_of(host.sample, theme="backspace-light"))
    assert snap_compare(app, terminal_size=(140, 40), run_before=run)


def test_pull_request(sample: Sample, snap_compare: Compare) -> None:
    body = "## What\n\nCounts quantities.\n\n## Verified\n\n`pytest -q`: passes\n\n2 hunks were left out."
    request = ev.PrCreation(
        forge="local", branch="backspace/quantities", base="main", title="Count quantities", body=body, commit="2" * 40
    )
    commit = ev.GitOperation(operation="commit", commit="2" * 40, tree=sample.base, branch="backspace/quantities")
    sample.emit("pull_request", commit, request)
    assert snap_compare(BackspaceApp(launch_of(sample)), terminal_size=(120, 40), run_before=_pressed("P"))


def test_replay_three_steps_back(sample: Sample, snap_compare: Compare) -> None:
    app = BackspaceApp(launch_of(sample, replay=True))
    assert snap_compare(app, terminal_size=(120, 40), run_before=_pressed("left", "left", "left"))
