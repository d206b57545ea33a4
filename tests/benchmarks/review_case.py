"""One process that opens one review in one program and uses it. Prints seconds as JSON.

Run by the benchmark: python -m tests.benchmarks.review_case ours|floor|widget FOLDER WARM start|use|accept. WARM is
the folder of a small session that is opened first, so that imports and style sheets are not what is measured; but with
``start`` all of it is, from the start of the process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from rich.segment import Segment
from textual._compositor import CompositorUpdate
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

FACTS = "facts.json"
NEEDLE = "the_needle"
BEGAN = "REVIEW_CASE_BEGAN"
SIZE = (160, 50)
SECONDS = 600.0
WARMING, STARTING, USING, ACCEPTING = "warm", "start", "use", "accept"
PAGES = 25
ACCEPTS = 9

Facts = dict[str, str]
Seen = Callable[[], object]


class Frames:
    """Tells when an application's frames are done, as far as the bytes for the terminal."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._display = app._display
        self._came = asyncio.Event()
        self.last = 0.0
        app._display = self._displayed  # type: ignore[method-assign]

    def _displayed(self, screen: Any, renderable: Any) -> None:
        self._display(screen, renderable)
        if isinstance(renderable, CompositorUpdate):
            renderable.render_segments(self._app.console)
        self.last = time.perf_counter()
        self._came.set()

    async def until(self, seen: Seen, what: str) -> float:
        """When the first frame was done after which ``seen`` is true."""
        while True:
            self._came.clear()
            await asyncio.wait_for(self._came.wait(), SECONDS)
            if seen():
                return self.last

    async def key(self, name: str, seen: Seen) -> float:
        """How long it takes from a key until a frame shows what it does."""
        began = time.perf_counter()
        self._app.simulate_key(name)
        return await self.until(seen, name) - began

    def text(self) -> str:
        return "\n".join(strip.text for strip in self._app.screen._compositor.render_strips())


def git(facts: Facts, *arguments: str, data: bytes | None = None) -> bytes:
    env = os.environ | {"GIT_DIR": os.path.join(facts["directory"], "repo.git"), "GIT_OPTIONAL_LOCKS": "0"}
    return subprocess.run(["git", *arguments], env=env, check=True, stdout=subprocess.PIPE, input=data).stdout


class Plain(ScrollView, can_focus=True):
    """The floor: a text in a virtual list, without cursor, numbers or colours of syntax."""

    BINDINGS: ClassVar[list[BindingType]] = [("pagedown", "page", ""), ("end", "last", ""), ("n", "search", "")]

    def set(self, text: str) -> None:
        self.lines = text.split("\n")
        self.virtual_size = Size(SIZE[0], len(self.lines))

    def render_line(self, y: int) -> Strip:
        index = y + self.scroll_offset.y
        text = self.lines[index] if index < len(self.lines) else ""
        style = {"+": "green", "-": "red"}.get(text[:1], "white")
        from rich.style import Style

        return Strip([Segment(text, Style.parse(style))]).adjust_cell_length(self.size.width)

    def action_page(self) -> None:
        self.scroll_to(y=self.scroll_offset.y + self.size.height, animate=False)

    def action_last(self) -> None:
        self.scroll_to(y=len(self.lines), animate=False)

    def action_search(self) -> None:
        at = next(index for index, line in enumerate(self.lines) if NEEDLE in line.casefold())
        self.scroll_to(y=at - 5, animate=False)


class Floor(App[None]):
    """Shows what a bare ``git diff`` prints."""

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        self.facts = facts

    def compose(self) -> ComposeResult:
        yield Plain()

    def on_mount(self) -> None:
        plain = self.query_one(Plain)
        plain.set(git(self.facts, "diff", self.facts["base"], self.facts["work"]).decode())
        plain.focus()


async def floor(facts: Facts, measured: dict[str, float], mode: str) -> None:
    began = time.perf_counter()
    app = Floor(facts)
    frames = Frames(app)
    async with app.run_test(size=SIZE):
        plain = app.query_one(Plain)
        first = facts["first"]
        if first not in frames.text():
            await frames.until(lambda: first in frames.text(), "the diff")
        measured["at"], measured["open"] = frames.last, frames.last - began
        if mode in (WARMING, STARTING):
            return
        await use(frames, lambda: plain.scroll_offset.y, len(plain.lines), measured)
        measured["end"] = await frames.key("end", lambda: plain.scroll_offset.y + plain.size.height >= len(plain.lines))
        plain.scroll_to(y=0, animate=False)
        await asyncio.sleep(0.2)
        measured["search"] = await frames.key("n", lambda: NEEDLE in frames.text())


async def use(frames: Frames, top: Callable[[], int], rows: int, measured: dict[str, float]) -> None:
    """Page through lines that were not shown yet, where there are enough."""
    if rows < (PAGES + 2) * SIZE[1]:
        return
    times = []
    for _ in range(PAGES):
        before = top()
        times.append(await frames.key("pagedown", lambda before=before: top() != before))  # type: ignore[misc]
    measured["page"] = statistics.median(times[3:])


async def ours(facts: Facts, measured: dict[str, float], mode: str) -> None:
    from backspace_tui.ui.launch import Launch
    from backspace_tui.ui.screens.workspace import Workspace
    from backspace_tui.ui.window import BackspaceApp

    began = time.perf_counter()
    app = BackspaceApp(Launch(repository="/home/me/shop", title="shop", session=facts["directory"]))
    frames = Frames(app)
    async with app.run_test(size=SIZE):
        workspace = app.screen_stack[0]
        assert isinstance(workspace, Workspace)
        diff, desk = workspace.diff, workspace.desk
        first = facts["first"]
        shown = await frames.until(lambda: diff.hunks and first in frames.text(), "the review")
        measured["at"], measured["open"] = shown, shown - began
        whole = shown if desk.review is not None else await frames.until(lambda: desk.review is not None, "all of it")
        measured["whole"] = whole - began
        while not diff.coloured:
            await asyncio.sleep(0.05)
        if mode in (WARMING, STARTING):
            return
        if mode == ACCEPTING:
            await accepting(frames, workspace, measured)
            return
        # A page is fresh: the pane keeps the last 2000 lines that it drew.
        await use(frames, lambda: diff.scroll_offset.y, diff.line_count(), measured)
        measured["end"] = await frames.key("G", lambda: diff.cursor == diff.line_count() - 1)
        app.simulate_key("g")
        await asyncio.sleep(0.3)
        paths = desk.changed_paths()
        app.simulate_key("slash")
        await asyncio.sleep(0.2)
        text = f"{NEEDLE} = {len(paths) - 1}"
        workspace.prompt.input.value = text
        await asyncio.sleep(0.2)
        row = re.compile(rf"\+.*{re.escape(text)}\b")
        measured["search"] = await frames.key(
            "enter", lambda: diff.path == paths[-1] and row.search(frames.text()) is not None
        )


async def accepting(frames: Frames, workspace: Any, measured: dict[str, float]) -> None:
    """Accept one hunk after the other, each when what became of the one before has come from the session."""
    desk, diff = workspace.desk, workspace.diff
    frame, session = [], []
    for _ in range(ACCEPTS + 2):
        diff.first_hunk()
        await asyncio.sleep(0.3)
        name, path, decided = diff.hunk.id, diff.path, desk.review.decided
        began = time.perf_counter()

        def right(name: str = name, path: str = path, decided: int = decided) -> bool:
            item = desk.item(path, name)
            drawn = next((view for view in diff.hunks if view.id == name), None)
            settled = item is not None and item.state == "accepted" and drawn is not None and drawn.settled
            return settled and desk.review.decided == decided + 1 and name not in diff.busy

        frame.append(await frames.key("space", right))
        while desk.busy or desk.review_seq < desk.state.last_seq:
            await asyncio.sleep(0.002)
        session.append(time.perf_counter() - began)
        while workspace._content[1] == "" or not diff.coloured:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
    measured["accept"], measured["carried out"] = statistics.median(frame[2:]), statistics.median(session[2:])


async def widget(facts: Facts, measured: dict[str, float], mode: str) -> None:
    from textual_diff_view import DiffView  # type: ignore[import-not-found,unused-ignore]

    old, new = (git(facts, "cat-file", "blob", facts[side]).decode() for side in ("old", "new"))

    class Widget(App[None]):
        def compose(self) -> ComposeResult:
            from textual.containers import VerticalScroll

            with VerticalScroll():
                yield DiffView("a.py", "a.py", old, new, split=False)

    began = time.perf_counter()
    app = Widget()
    frames = Frames(app)
    first = facts["first"]
    async with app.run_test(size=SIZE):
        if first not in frames.text():
            await frames.until(lambda: first in frames.text(), "the diff")
        measured["at"], measured["open"] = frames.last, frames.last - began


def main() -> None:
    kind, folder, warm, mode = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    run = {"ours": ours, "floor": floor, "widget": widget}[kind]
    measured: dict[str, float] = {}
    if mode == STARTING:
        began = time.perf_counter() - (time.time() - float(os.environ[BEGAN]))
        asyncio.run(run(json.loads((folder / FACTS).read_text()), measured, mode))
        print(json.dumps({"start": measured["at"] - began}), flush=True)
        os._exit(0)
    asyncio.run(run(json.loads((warm / FACTS).read_text()), {}, WARMING))
    gc.collect()
    asyncio.run(run(json.loads((folder / FACTS).read_text()), measured, mode))
    print(json.dumps(measured), flush=True)
    os._exit(0)  # the background threads may still be at work


if __name__ == "__main__":
    main()
