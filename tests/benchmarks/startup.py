"""How long small commands and the whole job take. Run: python -m tests.benchmarks.startup [--runs N]

Prints rows for the table in CONTRIBUTING.md; each limit is what the same machine needs at the least.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

PROGRAM = (sys.executable, "-m", "backspace_tui")
BARE = (sys.executable, "-c", "import argparse")


def seconds(command: Sequence[str], data: Path) -> float:
    """The wall time of one run, which must succeed."""
    environment = os.environ | {"BACKSPACE_TUI_DATA_DIR": str(data)}
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, env=environment)
    return time.monotonic() - began


def row(name: str, command: Sequence[str], against: str, bare: Sequence[str], runs: int) -> str:
    """A row of the table: medians of ``runs`` after one to warm up, taken in turns."""
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(runs + 1):
            mine, least = seconds(command, Path(folder)), seconds(bare, Path(folder))
            if number:
                ours.append(mine)
                theirs.append(least)
    mine, least = statistics.median(ours), statistics.median(theirs)
    return f"| {name} | {mine:.2f} s (min {min(ours):.2f}) | {against} {least:.2f} s | {mine / least:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    bare = "Python with argparse"
    print(row("`backspace-tui --version`", (*PROGRAM, "--version"), bare, BARE, runs))
    print(row("`backspace-tui sessions`", (*PROGRAM, "sessions"), bare, BARE, runs))
    for sandbox in ("docker", "bubblewrap"):
        command = (*PROGRAM, "demo", "--headless", "--sandbox", sandbox)
        with tempfile.TemporaryDirectory() as folder:
            times = [seconds(command, Path(folder)) for _ in range(max(2, runs // 3))][1:]
        print(f"| the demo's whole job, {sandbox} | {statistics.median(times):.2f} s (min {min(times):.2f}) | | |")


if __name__ == "__main__":
    main()
