"""How late the window's event loop is while ``yes`` runs in the sandbox, and what the session's log keeps of it.

Run by hand: python -m tests.benchmarks.flood [--sandbox docker|bubblewrap]. The session is a real one, with its own
process; only the terminal is Textual's headless one. The loop at rest is measured first, in the same window.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from backspace_tui.core import events as ev
from backspace_tui.engine.output import LOGGED_OUTPUT
from backspace_tui.sessions.log import read_events
from backspace_tui.ui.launch import Launch
from tests.program import Program, make_repository, wait_for
from tests.ui.windows import Window, opened

SECONDS = 5.0
TICK = 0.005


async def lateness(seconds: float) -> list[float]:
    """By how many seconds a timer of this loop came late, every few milliseconds."""
    late = []
    until = time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        await asyncio.sleep(TICK)
        late.append(time.monotonic() - began - TICK)
    return late


def row(what: str, late: list[float]) -> str:
    """Median, 95th percentile and the worst, in milliseconds."""
    worst = sorted(late)
    p95 = worst[int(len(worst) * 0.95)]
    return f"| {what} | {statistics.median(late) * 1e3:.1f} ms | {p95 * 1e3:.1f} ms | {worst[-1] * 1e3:.1f} ms |"


async def measure(directory: Path) -> None:
    """Rest, then flood, in one window."""
    launch = Launch(repository="/", title="flood", session=os.fspath(directory))
    async with opened(launch) as window:
        await window.until(lambda: window.workspace.desk.review is not None, "the review")
        print("| event loop | median late | p95 | worst |\n|---|---|---|---|")
        print(row("at rest", await lateness(SECONDS)))
        before = (directory / "events.jsonl").stat().st_size
        await command(window, f"timeout {SECONDS:g} yes")
        await window.until(lambda: "$ timeout" in window.pane("sandbox"), "the command")
        print(row("while `yes` runs", await lateness(SECONDS - 0.5)))
        await window.until(lambda: finished(directory), "the end of the command")
        grown = (directory / "events.jsonl").stat().st_size - before
        print(
            f"\nThe log grew by {grown / 1e3:.0f} kB; the cap on one command's output is {LOGGED_OUTPUT / 1e3:.0f} kB."
        )


async def command(window: Window, line: str) -> None:
    """Enter a command of the user's on the prompt line."""
    await window.press("!")
    window.workspace.prompt.input.value = f"!{line}"
    await window.press("enter")


def finished(directory: Path) -> bool:
    """Whether the user's command ended."""
    return any(isinstance(event, ev.ToolFinished) and event.by == "user" for event in read_events(directory))


def main() -> None:
    """Make the session, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sandbox", choices=("docker", "bubblewrap"), default="docker")
    sandbox = parser.parse_args().sandbox
    with tempfile.TemporaryDirectory() as folder:
        program = Program(Path(folder))
        repository = make_repository(Path(folder) / "shop")
        prompt = 'replace "price for" with "price * quantity for" in cart.py'
        program.run("run", str(repository), "-p", prompt, "--model", "offline", "--sandbox", sandbox)
        wait_for(lambda: bool(program.sessions), "the session")
        os.environ.update(program.env)
        asyncio.run(measure(program.session))


if __name__ == "__main__":
    main()
