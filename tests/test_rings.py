"""The import rings, by their contracts and by what the window's process really imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("litellm", "docker", "git", "github")

WINDOW = """
import asyncio, sys
from pathlib import Path
from backspace_tui import cli, opening
from backspace_tui.core.events import SessionStarted
from backspace_tui.ui import app
from backspace_tui.ui.launch import Launch

async def draw(launch):
    from backspace_tui.ui.window import BackspaceApp
    window = BackspaceApp(launch)
    async with window.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        assert "Files" in window.export_screenshot(simplify=True)

opening.check_terminal = lambda: None
app.run = lambda launch: asyncio.run(draw(launch)) or 0
sys.argv = ["backspace-tui", *sys.argv[1:]]
assert cli.main() == 0
print("\\n".join(sorted(sys.modules)))
"""


def test_contracts_are_kept() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " kept, 0 broken" in done.stdout


@pytest.mark.parametrize("arguments", [["--model", "openai/x"], ["--model", "offline"]])
def test_window_imports_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    """The real command line up to a drawn window; only the terminal is replaced by Textual's own for tests."""
    for command in (["init", "-q"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty",
                                     "-m", "x"]):  # fmt: skip
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    done = subprocess.run(
        [sys.executable, "-c", WINDOW, *arguments, str(tmp_path)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OPENAI_API_KEY": "none", "TERM": "xterm-256color"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules = done.stdout.split()
    assert "textual.app" in modules
    assert [name for name in modules if name.split(".")[0] in HEAVY] == []


@pytest.mark.parametrize("command", [["--version"], ["--help"], ["sessions"]])
def test_small_commands_do_not_wait_for_the_window(tmp_path: Path, command: list[str]) -> None:
    script = f"""
import sys
from backspace_tui import cli
try:
    cli.main({command!r})
except SystemExit:
    pass
print("textual" in sys.modules, *(name in sys.modules for name in {HEAVY!r}), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": "/usr/bin:/bin", "BACKSPACE_TUI_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "False" + " False" * len(HEAVY) + "\n"
