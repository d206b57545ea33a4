"""The window's process: what it imports, how it starts, how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from backspace_tui.sessions.store import is_running
from tests.ui.sample import Host, Sample

FORBIDDEN = ("litellm", "docker", "git", "github")
LATE = ("pygments.lexers", "unidiff", "textual.widgets._markdown", "textual.widgets._text_area")

_IMPORTS = f"""
import asyncio, sys
from backspace_tui.ui.app import run
from backspace_tui.ui.launch import Launch
assert "textual" not in sys.modules, "importing the entry point is light"
from backspace_tui.ui.window import BackspaceApp

async def main():
    app = BackspaceApp(Launch(repository="/nowhere", title="nowhere"))
    async with app.run_test(size=(120, 40)) as pilot:
        text = "".join(strip.text for strip in app.screen._compositor.render_strips())
        assert "Files" in text
        late = [name for name in {LATE!r} if name in sys.modules]
        await pilot.pause()
    loaded = [name for name in sys.modules if name.partition(".")[0] in {FORBIDDEN!r}]
    print(loaded, late)

asyncio.run(main())
"""

_RUN = """
import sys
from backspace_tui.ui.app import run
from backspace_tui.ui.launch import Launch
sys.exit(run(Launch(repository="/nowhere", title="nowhere", session=sys.argv[1], debug="--debug" in sys.argv)))
"""

_CRASH = """
import sys
from backspace_tui.ui.app import run
from backspace_tui.ui.launch import Launch
from backspace_tui.ui.screens.workspace import Workspace

def broken(self):
    raise RuntimeError("no such luck")

Workspace._begin = broken
sys.exit(run(Launch(repository="/nowhere", title="nowhere", session=sys.argv[1], debug="--debug" in sys.argv)))
"""


def test_the_first_frame_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", _IMPORTS], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[] []"


@pytest.fixture
def terminal(sample: Sample) -> Iterator[pexpect.spawn[str]]:
    """The window in a real terminal."""
    yield from _spawned(_RUN, sample)


@pytest.fixture
def crashing(sample: Sample) -> Iterator[pexpect.spawn[str]]:
    """A window that crashes as soon as it stands."""
    yield from _spawned(_CRASH, sample)


def _spawned(program: str, sample: Sample, *arguments: str) -> Iterator[pexpect.spawn[str]]:
    env = os.environ | {"TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[2])}
    child: pexpect.spawn[str] = pexpect.spawn(
        sys.executable,
        ["-c", program, str(sample.directory), *arguments],
        dimensions=(40, 140),
        env=env,
        encoding="utf-8",
        timeout=20,
    )
    yield child
    child.close(force=True)


def test_leaving_says_that_the_session_goes_on(host: Host, terminal: pexpect.spawn[str]) -> None:
    terminal.expect("Files")
    terminal.expect("decided")
    terminal.send("q")
    terminal.expect(f"The session goes on. Come back with: backspace-tui attach {host.sample.directory.name}")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert is_running(host.sample.directory)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_hangup_ends_the_window_alone(host: Host, terminal: pexpect.spawn[str], number: signal.Signals) -> None:
    terminal.expect("decided")
    terminal.kill(number)
    deadline = time.monotonic() + 10
    while terminal.isalive():
        assert time.monotonic() < deadline
        with contextlib.suppress(pexpect.TIMEOUT, pexpect.EOF):
            terminal.read_nonblocking(65536, timeout=0.05)
    assert terminal.exitstatus == 0
    assert is_running(host.sample.directory)
    assert host.commands == []


def test_a_crash_of_the_window_is_one_line(host: Host, crashing: pexpect.spawn[str]) -> None:
    crashing.expect("backspace-tui: the window crashed")
    rest = crashing.read()
    assert f"backspace-tui attach {host.sample.directory.name}" in rest
    assert "Traceback" not in rest
    crashing.close()
    assert crashing.exitstatus == 1
