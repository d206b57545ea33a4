"""The picture of the README: the real workspace on a real session of the demo. Run: python -m tests.ui.picture"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

TARGET = Path(__file__).with_name("workspace.svg")
SIZE = (140, 38)
SECONDS = 60.0


def session(data: Path) -> Path:
    """A session of the demo whose agent is done; its process runs."""
    from backspace_tui import demo
    from backspace_tui.core import commands as cmd
    from backspace_tui.core.state import SessionState, apply
    from backspace_tui.sessions import client, store

    ground = demo.choose_ground("", print)
    started = demo.first_event(demo.create_repository(data / "demo"), ground, interactive=False)
    directory = store.new_session()
    started = replace(started, session=directory.name)
    client.launch(cmd.HostRequest(directory=str(directory), started=started, idle_timeout=SECONDS))
    state = SessionState()
    for event in client.follow(directory):
        state = apply(state, event)
        if state.stage == "review":
            return directory
    raise SystemExit(f"the demo did not get to its review: {state.error}")


async def draw(directory: Path) -> str:
    """The workspace after a few decisions, as SVG."""
    from backspace_tui.core.state import SessionState, fold
    from backspace_tui.sessions.log import read_events
    from backspace_tui.ui.launch import Launch
    from backspace_tui.ui.window import BackspaceApp

    app = BackspaceApp(Launch(repository="", title="shop", session=str(directory)))
    async with app.run_test(size=SIZE) as pilot:

        async def until(ready: Callable[[], bool]) -> None:
            end = time.monotonic() + SECONDS
            while not ready():
                if time.monotonic() > end:
                    raise SystemExit("the window did not get there in time")
                await pilot.pause(0.05)

        def current() -> SessionState:
            return fold(read_events(directory))

        def decided() -> int:
            return sum(len(group) for group in current().standing)

        await until(lambda: "hunk 1 of" in app.export_screenshot(simplify=True).replace("&#160;", " "))
        for number, key in enumerate(("space", "space", "space"), 1):
            await pilot.press(key)
            await until(lambda wanted=number: decided() >= wanted)  # type: ignore[misc]
        await pilot.press("V")
        await until(lambda: current().verdict is not None)
        await until(lambda: current().stage == "review")
        await pilot.press("escape")
        await pilot.pause(1.0)
        return app.export_screenshot(title="backspace-tui")


def main() -> None:
    from backspace_tui.core import commands as cmd
    from backspace_tui.sessions import client

    with tempfile.TemporaryDirectory() as folder:
        os.environ["BACKSPACE_TUI_DATA_DIR"] = folder
        directory = session(Path(folder))
        svg = asyncio.run(draw(directory))
        with client.Client.connect(directory) as connection:
            connection.send(cmd.Quit())
        for _ in client.follow(directory):
            pass
    # Browsers keep the spaces that the screenshot is made of, other renderers only when they are told.
    svg = svg.replace("<svg ", '<svg xml:space="preserve" ', 1)
    # A picture in a README loads no fonts from elsewhere.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.S)
    TARGET.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", "utf-8")
    print(TARGET)


if __name__ == "__main__":
    main()
