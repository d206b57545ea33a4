"""How long the workspace takes until its pane title "Files" shows, against an empty Textual app, both in tmux.

Run: python -m tests.benchmarks.first_frame [--runs N]. Prints rows for the table in CONTRIBUTING.md; exit code 1
where the ratio is above the limit.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

LIMIT = 1.5
SECONDS = 30.0
POLL = 0.004
EMPTY = """
from textual.app import App
from textual.widgets import Label
class Empty(App):
    def compose(self):
        yield Label("Files")
Empty().run()
"""


class Tmux:
    """A tmux server of our own; each command gets a session in it."""

    def __init__(self, folder: Path) -> None:
        self._prefix = ["tmux", "-S", str(folder / "tmux"), "-f", os.devnull]
        self._run("new-session", "-d", "-s", "keep", "-x", "120", "-y", "40", "sleep 1000")

    def _run(self, *arguments: str) -> str:
        return subprocess.run([*self._prefix, *arguments], check=True, capture_output=True, text=True).stdout

    def seconds_until(self, text: str, command: Sequence[str]) -> float:
        """The time from starting ``command`` until ``text`` is on its screen."""
        began = time.monotonic()
        self._run("new-session", "-d", "-s", "run", "-x", "120", "-y", "40", shlex.join(command))
        try:
            while text not in self._run("capture-pane", "-p", "-t", "run"):
                if time.monotonic() - began > SECONDS:
                    raise SystemExit(f"{text!r} did not show within {SECONDS:.0f} s")
                time.sleep(POLL)
            return time.monotonic() - began
        finally:
            self._run("kill-session", "-t", "run")

    def close(self) -> None:
        self._run("kill-server")


def sample_repository(folder: Path) -> Path:
    (folder / "main.py").write_text("print('hello')\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.update(
            HOME=name, BACKSPACE_TUI_DATA_DIR=str(folder / "data"), TERM="xterm-256color", OPENAI_API_KEY="none"
        )
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        (folder / "shop").mkdir()
        repository = sample_repository(folder / "shop")
        (folder / "empty.py").write_text(EMPTY)
        ours = [str(Path(sys.executable).with_name("backspace-tui")), "--model", "openai/x", str(repository)]
        empty = [sys.executable, str(folder / "empty.py")]
        times: dict[str, list[float]] = {"ours": [], "empty": []}
        tmux = Tmux(folder)
        try:
            # The first two runs only warm the caches; the others take turns, so that both see the same load.
            for number in range(runs + 1):
                for kind, command in (("ours", ours), ("empty", empty)):
                    seconds = tmux.seconds_until("Files", command)
                    if number:
                        times[kind].append(seconds)
        finally:
            tmux.close()
    medians = {kind: statistics.median(values) for kind, values in times.items()}
    ratio = medians["ours"] / medians["empty"]
    print(
        f"| first frame, 120x40, tmux | {medians['ours']:.2f} s (min {min(times['ours']):.2f}) | "
        f"empty Textual app {medians['empty']:.2f} s (min {min(times['empty']):.2f}) | {ratio:.2f} |"
    )
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
