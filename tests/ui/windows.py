"""Windows over fixture sessions, the same on every machine."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from backspace_tui.ui.launch import Launch
from backspace_tui.ui.screens.workspace import Workspace
from backspace_tui.ui.window import BackspaceApp
from tests.ui.sample import Sample

DEADLINE = 10.0


class Window:
    """A window under test."""

    def __init__(self, pilot: Pilot[int]) -> None:
        self.pilot = pilot
        assert isinstance(pilot.app, BackspaceApp)
        self.app: BackspaceApp = pilot.app

    @property
    def workspace(self) -> Workspace:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, Workspace)
        return screen

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Wait for a condition, not for a time."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, f"in vain: {what}\n{self.text()}"
            await self.pilot.pause(0.01)

    async def ready(self) -> None:
        """The review is shown, with the file's colours."""
        workspace = self.workspace
        await self.until(lambda: workspace.desk.review is not None and workspace.diff.hunks, "the review")
        await self.until(lambda: workspace.diff.coloured, "the colours")
        await self.until(lambda: workspace.files.selected == workspace.diff.path, "the file in the tree")
        await self.pilot.pause()

    def text(self) -> str:
        """The screen as plain text."""
        return "\n".join(strip.text for strip in self.app.screen._compositor.render_strips())

    def pane(self, name: str) -> str:
        """All lines of a pane."""
        pane = self.workspace.pane(name)
        return "\n".join(pane.plain(index) for index in range(pane.line_count()))

    def pane_text(self, name: str) -> str:
        """All lines of a pane as they are drawn, with what is not searched."""
        pane = self.workspace.pane(name)
        return "\n".join(
            "".join(segment.text for segment in pane.draw(index).segments) for index in range(pane.line_count())
        )


@asynccontextmanager
async def opened(launch: Launch, size: tuple[int, int] = (160, 50)) -> AsyncIterator[Window]:
    """A window of this size, closed at the end; a crash in it fails the test."""
    app = BackspaceApp(launch)
    async with app.run_test(size=size) as pilot:
        window = Window(pilot)
        await pilot.pause()
        yield window
    if app.crash is not None:
        raise app.crash


def scenario(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test to its end."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


def launch_of(sample: Sample, **changes: Any) -> Launch:
    """A launch that attaches to ``sample``."""
    from msgspec.structs import replace

    launch = Launch(repository="/home/me/shop", title="shop", session=str(sample.directory))
    return replace(launch, **changes)
